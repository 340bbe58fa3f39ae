//! What every door asks for: an address, a tenant's name, perhaps a slug and the person's name.

use super::Error;
use crate::{
    http::{FieldError, line},
    identity::email::Email,
    tenants::slugs::{self, Slug},
};

/// The answers as they were sent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fields<'a> {
    pub email: &'a str,
    /// The field's name, which differs from door to door, and its text.
    pub tenant_name: (&'static str, &'a str),
    pub slug: Option<&'a str>,
    pub name: Option<&'a str>,
}

/// Answers that read well.
#[derive(Clone, Debug)]
pub struct Asked {
    /// The owner's address.
    pub email: Email,
    /// The tenant's name.
    pub tenant_name: String,
    /// The slug asked for, or the one that the name leads to.
    pub slug: Slug,
    /// Whether it was asked for.
    pub slug_is_explicit: bool,
    /// The owner's name.
    pub name: Option<String>,
}

impl Asked {
    /// Reads every field, and tells of every one that is refused; `more` finds what else is wrong, knowing what a guesser of
    /// passwords would know.
    pub(super) fn read(fields: Fields<'_>, more: impl FnOnce(&[&str]) -> Vec<FieldError>) -> Result<Self, Error> {
        let mut errors = Vec::new();
        let mut keep = |error: FieldError| errors.push(error);
        let email =
            Email::parse(fields.email).map_err(|e| keep(FieldError::new("email", e.code(), e.to_string()))).ok();
        let (field, text) = fields.tenant_name;
        let tenant_name = line(field, text, 100).map_err(&mut keep).ok();
        let name = fields.name.filter(|name| !name.trim().is_empty()).map(|name| line("name", name, 100));
        let name = name.transpose().map_err(&mut keep).ok().flatten();
        let slug = match fields.slug {
            Some(slug) => Slug::parse(slug).map_err(|e| keep(FieldError::new("slug", e.code(), e.to_string()))).ok(),
            None => tenant_name.as_deref().map(slugs::derive),
        };
        let known = [email.as_ref().map(Email::as_str), tenant_name.as_deref(), name.as_deref()];
        errors.extend(more(&known.into_iter().flatten().collect::<Vec<_>>()));
        match (email, tenant_name, slug) {
            (Some(email), Some(tenant_name), Some(slug)) if errors.is_empty() => {
                Ok(Self { email, tenant_name, slug, slug_is_explicit: fields.slug.is_some(), name })
            }
            _ => Err(Error::Invalid(errors)),
        }
    }
}
