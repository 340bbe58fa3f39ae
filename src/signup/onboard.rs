//! The operator's doors: a tenant for somebody, who gets a letter to take it over. No kill switch applies.

use super::{Error, LookedUp, Means, NewTenant, Owner, Provisioned, look_up, provision_tenant};
use crate::{
    audit,
    billing::Payment,
    clock::Now,
    db::{Db, Tx},
    http::{FieldError, line},
    identity::email::Email,
    tenants::{
        Door,
        slugs::{self, Slug},
    },
};

/// Whom to make a tenant for.
#[derive(Clone, Debug)]
pub struct Onboarding {
    email: Email,
    tenant_name: String,
    plan: String,
    slug: Slug,
    slug_is_explicit: bool,
    name: Option<String>,
}

impl Onboarding {
    /// Reads every field, and tells of every one that is refused.
    pub fn read(
        email: &str,
        tenant_name: &str,
        plan: &str,
        slug: Option<&str>,
        name: Option<&str>,
    ) -> Result<Self, Error> {
        let mut errors = Vec::new();
        let mut keep = |error: FieldError| errors.push(error);
        let email = Email::parse(email).map_err(|e| keep(FieldError::new("email", e.code(), e.to_string()))).ok();
        let tenant_name = line("tenant_name", tenant_name, 100).map_err(&mut keep).ok();
        let name = name.filter(|name| !name.trim().is_empty()).map(|name| line("name", name, 100));
        let name = name.transpose().map_err(&mut keep).ok().flatten();
        let slug_is_explicit = slug.is_some();
        let slug = match slug {
            Some(slug) => Slug::parse(slug).map_err(|e| keep(FieldError::new("slug", e.code(), e.to_string()))).ok(),
            None => tenant_name.as_deref().map(slugs::derive),
        };
        match (email, tenant_name, slug) {
            (Some(email), Some(tenant_name), Some(slug)) if errors.is_empty() => {
                Ok(Self { email, tenant_name, plan: plan.to_owned(), slug, slug_is_explicit, name })
            }
            _ => Err(Error::Invalid(errors)),
        }
    }

    /// The owner's address, for logs.
    pub fn email(&self) -> &str {
        self.email.as_str()
    }

    /// The slug asked for or derived, for logs.
    pub fn slug(&self) -> &str {
        self.slug.as_str()
    }

    /// Looks up what [`Onboarding::make`] needs.
    pub async fn look_up(&self, db: &Db) -> Result<LookedUp, Error> {
        Ok(look_up(db.read(), &self.plan, self.email.as_str(), &self.slug).await?)
    }

    /// Makes the tenant. The owner has no password until the letter was followed.
    pub async fn make(
        self,
        tx: &Tx,
        now: &Now,
        means: &Means<'_>,
        found: LookedUp,
        (door, actor, request_id): (Door, audit::Actor, Option<String>),
    ) -> Result<Provisioned, Error> {
        if found.user.is_some() {
            return Err(Error::EmailTaken);
        }
        let slug = found.slug_for(&self.slug, self.slug_is_explicit, now)?;
        let new = NewTenant {
            door,
            name: self.tenant_name,
            slug,
            owner: Owner {
                email: self.email,
                name: self.name,
                password_hash: None,
                email_verified: false,
                role_at_signup: None,
            },
            plan: found.plan.ok_or_else(Error::unknown_plan)?,
            payment: Payment::None,
            billing_email: None,
            session: None,
            actor,
            request_id,
        };
        provision_tenant(tx, now, means, new).await
    }
}
