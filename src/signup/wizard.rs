//! The wizard's steps after the first, as verbs: branding, then the plan's own set-up, which queues the run.
//!
//! Where a wizard stands is not kept anywhere: it follows from the tenant's branding, its plan and its run ([`next`]).

use sea_orm::ConnectionTrait;
use serde::{Deserialize, Serialize};
use url::Url;
use utoipa::ToSchema;
use uuid::Uuid;

use super::{Error, Means, steps, trial_of};
use crate::{
    billing::{self, credits},
    clock::Now,
    db::{Tx, sql},
    identity::email::Email,
    plans::{self, PlanRow},
    provisioning::{self, NewRun, Queued, RunStatus},
    tenants::{self, Branding, TenantRow},
    webhooks,
};

/// What a wizard asks for next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Next {
    /// Colours and a logo.
    Brand,
    /// A Make.com webhook.
    Make,
    /// A confirmation.
    Confirm,
    /// Nothing but to go on.
    Finish,
    /// To watch provisioning.
    Status,
    /// Nothing more.
    Done,
}

/// The plans that `make` keeps; it puts any other on the first.
const MAKE: [&str; 2] = ["starter", "growth"];
/// The plans that `confirm` keeps; it puts any other on the first.
const CONFIRM: [&str; 2] = ["pro", "scale"];

/// Where the wizard of a tenant stands.
pub fn next(tenant: &TenantRow, queued: bool) -> Next {
    if tenant.provisioned_at.is_some() {
        Next::Done
    } else if queued {
        Next::Status
    } else if tenant.branding().primary_color.is_none() {
        Next::Brand
    } else {
        after_branding(&tenant.plan)
    }
}

/// The last step of a plan's wizard.
pub(super) fn after_branding(plan: &str) -> Next {
    match plan {
        plan if MAKE.contains(&plan) => Next::Make,
        plan if CONFIRM.contains(&plan) => Next::Confirm,
        _ => Next::Finish,
    }
}

/// How a wizard ends.
#[derive(Clone, Debug)]
pub enum Ending {
    /// `starter/make`
    Make(Url),
    /// `pro/confirm`
    Confirm(Option<Url>),
    /// `finish`
    Finish,
}

impl Ending {
    fn webhook(&self) -> Option<&Url> {
        match self {
            Self::Make(url) => Some(url),
            Self::Confirm(url) => url.as_ref(),
            Self::Finish => None,
        }
    }

    /// The plan that this way of ending needs in place of `current`.
    fn switch(&self, current: &str) -> Option<&'static str> {
        let kept = match self {
            Self::Make(_) => MAKE,
            Self::Confirm(_) => CONFIRM,
            Self::Finish => return None,
        };
        (!kept.contains(&current)).then_some(kept[0])
    }
}

/// Chooses how the tenant looks.
pub async fn brand(tx: &Tx, now: &Now, tenant_id: Uuid, branding: &Branding) -> Result<(), Error> {
    Ok(tenants::set_branding(tx, now, tenant_id, branding).await?)
}

/// Ends the wizard: puts the tenant on the plan that was chosen, keeps its webhook, and queues the run. A repeat answers
/// the same run.
///
/// # Errors
/// [`Error::ProvisionAlreadyStarted`] where a run that started or completed would need another webhook; [`Error::Gone`].
pub async fn end(tx: &Tx, now: &Now, means: &Means<'_>, tenant_id: Uuid, ending: &Ending) -> Result<Queued, Error> {
    let tenant = tenants::lock(tx, tenant_id).await?.ok_or(Error::Gone)?;
    let run = provisioning::current(tx, tenant_id).await?.ok_or(Error::Gone)?;
    let is_queued = run.queued_at.is_some();
    let wants = ending.webhook().map(Url::as_str);
    let had = webhooks::signup_url(tx, tenant_id).await?;
    let is_other = wants.is_some() && wants != had.as_deref();
    if is_queued && is_other && !matches!(run.status, RunStatus::Pending | RunStatus::Failed) {
        return Err(Error::ProvisionAlreadyStarted);
    }
    if let (true, Some(url)) = (is_other, wants) {
        webhooks::set_signup_endpoint(tx, now, means.sealer, tenant_id, url).await?;
    }
    match (is_queued, ending.switch(&tenant.plan)) {
        (true, _) if is_other => {
            let plan = plan(tx, &run.plan).await?;
            let steps = steps(&plan, means)?;
            let run = NewRun { tenant_id, plan: &plan.slug, steps: &steps, queued: true, dry_run: means.dry_run };
            provisioning::supersede(tx, now, run).await.map_err(Error::Provisioning)
        }
        (false, Some(slug)) => {
            let plan = plan(tx, slug).await?;
            let (status, _) = billing::first_status(&plan, &billing::Payment::None, means.trial_days, now.at);
            let owner = owner(tx, tenant_id).await?;
            let trial_days = trial_of(tx, now, means, (tenant_id, &owner), status).await?;
            billing::switch_plan(tx, now, tenant_id, &plan, trial_days).await.map_err(switched)?;
            provisioning::replace_steps(tx, now, tenant_id, &plan.slug, &steps(&plan, means)?)
                .await
                .map_err(Error::Provisioning)?;
            provisioning::queue(tx, now, tenant_id).await.map_err(Error::Provisioning)
        }
        _ => provisioning::queue(tx, now, tenant_id).await.map_err(Error::Provisioning),
    }
}

/// Whose sign-up it is.
async fn owner(tx: &Tx, tenant_id: Uuid) -> Result<Email, Error> {
    let query = "select u.email from memberships m join users u on u.id = m.user_id where m.tenant_id = $1 and m.role = 'owner'";
    let row = tx.query_one_raw(sql(tx, query, [tenant_id.into()])).await?.ok_or(Error::Gone)?;
    let email: String = row.try_get("", "email")?;
    Email::parse(&email).map_err(|_| Error::Gone)
}

fn switched(error: credits::Error) -> Error {
    match error {
        credits::Error::Database(error) => Error::Database(error),
        other => Error::failed("credit_transactions", sea_orm::DbErr::Custom(other.to_string())),
    }
}

async fn plan(tx: &impl ConnectionTrait, slug: &str) -> Result<PlanRow, Error> {
    let found = plans::by_slug(tx, slug).await?;
    found.ok_or_else(|| Error::failed("plans", sea_orm::DbErr::RecordNotFound(format!("plan {slug}"))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_ending_keeps_its_own_plans_and_switches_the_others() {
        let url = || Url::parse("https://hook.eu1.make.com/x").unwrap();
        for (plan, make, confirm) in [
            ("free", Some("starter"), Some("pro")),
            ("starter", None, Some("pro")),
            ("growth", None, Some("pro")),
            ("pro", Some("starter"), None),
            ("scale", Some("starter"), None),
        ] {
            assert_eq!(Ending::Make(url()).switch(plan), make, "make on {plan}");
            assert_eq!(Ending::Confirm(None).switch(plan), confirm, "confirm on {plan}");
            assert_eq!(Ending::Finish.switch(plan), None, "finish on {plan}");
        }
    }

    #[test]
    fn after_branding_each_plan_has_its_own_last_step() {
        let steps = ["starter", "growth", "pro", "scale", "free"].map(after_branding);
        assert_eq!(steps, [Next::Make, Next::Make, Next::Confirm, Next::Confirm, Next::Finish]);
    }
}
