//! The operator's doors: a tenant for somebody, who gets a letter to take it over. No kill switch applies.

use super::{Asked, Error, LookedUp, Means, NewTenant, Owner, Provisioned, asked::Fields, look_up, provision_tenant};
use crate::{
    audit,
    billing::Payment,
    clock::Now,
    db::{Db, Tx},
    tenants::Door,
};

/// Whom to make a tenant for.
#[derive(Clone, Debug)]
pub struct Onboarding {
    asked: Asked,
    plan: String,
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
        let fields = Fields { email, tenant_name: ("tenant_name", tenant_name), slug, name };
        Ok(Self { asked: Asked::read(fields, |_| Vec::new())?, plan: plan.to_owned() })
    }

    /// The owner's address, for logs.
    pub fn email(&self) -> &str {
        self.asked.email.as_str()
    }

    /// The slug asked for or derived, for logs.
    pub fn slug(&self) -> &str {
        self.asked.slug.as_str()
    }

    /// Looks up what [`Onboarding::make`] needs.
    pub async fn look_up(&self, db: &Db) -> Result<LookedUp, Error> {
        Ok(look_up(db.read(), &self.plan, self.asked.email.as_str(), &self.asked.slug).await?)
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
        let slug = found.slug_for(&self.asked, now)?;
        let new = NewTenant {
            door,
            name: self.asked.tenant_name,
            slug,
            owner: Owner {
                email: self.asked.email,
                name: self.asked.name,
                password_hash: None,
                email_verified: false,
                role_at_signup: None,
                person: None,
            },
            plan: found.plan.ok_or_else(|| Error::unknown_plan("plan"))?,
            payment: Payment::None,
            billing_email: None,
            session: None,
            actor,
            request_id,
        };
        provision_tenant(tx, now, means, new).await
    }
}
