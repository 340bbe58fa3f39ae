//! `tenant`: looking at tenants, making one for somebody, and setting provisioning going again.

use anyhow::Context;
use chrono::SecondsFormat;
use serde::Serialize;
use serde_json::json;
use uuid::Uuid;

use super::{
    Failure,
    args::{TenantCreate, TenantList},
    output,
    progress::{Board, Shown},
    provision, word,
};
use crate::{
    admin::{AdminTenant, TenantWithRun},
    app::App,
    audit,
    db::{Batch, Wake},
    http::{Listing, PageQuery, Problem},
    provisioning::{self, Status, StepState},
    signup::{self, Provisioned, api::UserView, onboard::Onboarding, start::means},
    tenants::{self, Door, TenantRow, TenantView},
};

/// A page of tenants.
pub(super) async fn list(app: &App, args: &TenantList) -> Result<(), Failure> {
    let page = PageQuery { limit: Some(args.limit), cursor: args.cursor.clone() }.page()?;
    let rows = tenants::list(app.db.read(), page, args.search.as_deref(), None).await?;
    let listing = Listing::of(rows.into_iter().map(AdminTenant::from).collect(), page, |row| row.tenant.id);
    if args.json {
        return output::json(&listing);
    }
    let rows: Vec<_> = listing.data.iter().map(row).collect();
    output::rows(["slug", "name", "plan", "status", "provisioning", "owner", "created"], &rows)?;
    if let Some(cursor) = &listing.next_cursor {
        eprintln!("There are more: --cursor {cursor}");
    }
    Ok(())
}

fn row(row: &AdminTenant) -> [String; 7] {
    let created = row.created_at.to_rfc3339_opts(SecondsFormat::Secs, true);
    let (status, state) = (word(&row.tenant.status), word(&row.tenant.provision_state));
    [
        row.tenant.slug.clone(),
        row.tenant.name.clone(),
        row.plan.clone(),
        status,
        state,
        row.owner.email.clone(),
        created,
    ]
}

/// One tenant with its last run.
pub(super) async fn show(app: &App, name: &str, json: bool) -> Result<(), Failure> {
    let tenant = AdminTenant::from(find(app, name).await?);
    let provision = provisioning::current(app.db.read(), tenant.tenant.id).await?;
    if json {
        return output::json(&TenantWithRun { tenant, provision });
    }
    let mut facts = facts(&tenant);
    facts.extend(tenant.provision_reason.map(|reason| ["reason".to_owned(), reason]));
    output::rows(["fact", "value"], &facts)?;
    let steps: Vec<_> = provision.iter().flat_map(|run| &run.steps).map(step).collect();
    output::line("")?;
    output::rows(["step", "status", "tries", "time", "error"], &steps)
}

fn facts(of: &AdminTenant) -> Vec<[String; 2]> {
    let AdminTenant { tenant, owner, .. } = of;
    let plan = format!("{} ({})", of.plan, of.subscription_status);
    let facts = [
        ("id", tenant.id.to_string()),
        ("slug", tenant.slug.clone()),
        ("name", tenant.name.clone()),
        ("owner", owner.email.clone()),
        ("plan", plan),
        ("status", word(&tenant.status)),
        ("door", of.door.as_str().to_owned()),
        ("created", of.created_at.to_rfc3339_opts(SecondsFormat::Secs, true)),
        ("provisioning", word(&tenant.provision_state)),
    ];
    facts.into_iter().map(|(name, value)| [name.to_owned(), value]).collect()
}

fn step(step: &StepState) -> [String; 5] {
    let took = step.duration_ms.map_or_else(String::new, |took| format!("{took} ms"));
    let (name, status) = (step.name.as_str().to_owned(), step.status.as_str().to_owned());
    [name, status, step.attempts.to_string(), took, step.error.clone().unwrap_or_default()]
}

pub(super) async fn find(app: &App, name: &str) -> Result<TenantRow, Failure> {
    if let Ok(id) = Uuid::parse_str(name)
        && let Some(tenant) = tenants::by_id(app.db.read(), id).await?
    {
        return Ok(tenant);
    }
    let found = tenants::by_slug(app.db.read(), name).await?;
    found.ok_or_else(|| Failure::refused(format!("there is no tenant with the slug or id {name}")))
}

/// A tenant that was made, with its run.
#[derive(Serialize)]
struct Made {
    tenant: TenantView,
    user: UserView,
    provision: Status,
}

/// Makes a tenant for somebody, and waits for it where asked to.
pub(super) async fn create(app: &App, args: &TenantCreate) -> Result<(), Failure> {
    let made = match make(app, args).await {
        Ok(made) => made,
        Err(refused) => return Err(tell(refused.into(), args.json)?),
    };
    if !args.json {
        let (name, slug, email) = (&made.tenant.name, &made.tenant.slug, made.email.as_str());
        output::line(&format!("Made {name} ({slug}, {}) for {email}", made.tenant.id))?;
    }
    let provision = follow(app, made.tenant.id, args.wait, args.json).await?;
    if args.json {
        let tenant = tenants::by_id(app.db.read(), made.tenant.id).await?.map_or(made.tenant, |row| row.view());
        let user = UserView { id: made.user_id, email: made.email.as_str().to_owned() };
        output::json(&Made { tenant, user, provision: provision.clone() })?;
    }
    if args.wait { provision::ended(&provision) } else { Ok(()) }
}

async fn make(app: &App, args: &TenantCreate) -> Result<Provisioned, signup::Error> {
    let (slug, name) = (args.slug.as_deref(), args.owner_name.as_deref());
    let asked = Onboarding::read(&args.email, &args.name, &args.plan, slug, name)?;
    let (email, slug) = (asked.email().to_owned(), asked.slug().to_owned());
    let made: Result<Provisioned, signup::Error> = async {
        let found = asked.look_up(&app.db).await?;
        let now = app.clock.now();
        let tx = app.db.begin().await?;
        let made = asked.make(&tx, &now, &means(app), found, (Door::Cli, audit::Actor::Cli, None)).await?;
        let commit = |source| signup::Error::Failed { part: "commit".into(), source };
        tx.commit().await.map_err(commit)?;
        signup::committed(Door::Cli, &made.tenant);
        Ok(made)
    }
    .await;
    made.inspect_err(|error| error.log(Door::Cli, &email, &slug))
}

/// The refusal; for a program on standard output too.
fn tell(problem: Problem, as_json: bool) -> Result<Failure, Failure> {
    if as_json {
        let mut body = problem.body("");
        body.as_object_mut().map(|body| body.remove("request_id"));
        output::json(&body)?;
    }
    Ok(problem.into())
}

/// Sets a tenant's failed run going again, and waits for it where asked to.
pub(super) async fn retry(app: &App, name: &str, wait: bool, as_json: bool) -> Result<(), Failure> {
    let tenant = find(app, name).await?;
    let now = app.clock.now();
    let tx = app.db.begin().await?;
    let queued = provisioning::retry(&tx, &now, tenant.id).await.map_err(Problem::from)?;
    let mut batch = Batch::default();
    let (actor, action) = (audit::Actor::Cli, "tenant.provision_retried");
    let detail = json!({"run_id": queued.run_id});
    let tenant_id = Some(tenant.id);
    audit::append(&mut batch, &now, audit::Event { actor, tenant_id, action, request_id: None, detail });
    batch.send(&tx).await.map_err(|refused| refused.source)?;
    tx.commit().await?;
    if !as_json {
        output::line(&format!("Queued the provisioning of {} again", tenant.slug))?;
    }
    let provision = follow(app, tenant.id, wait, as_json).await?;
    if as_json {
        output::json(&provision)?;
    }
    if wait { provision::ended(&provision) } else { Ok(()) }
}

/// Tells workers elsewhere of the queued run; with `wait` until it has ended, otherwise as it is now.
async fn follow(app: &App, tenant_id: Uuid, wait: bool, as_json: bool) -> Result<Status, Failure> {
    if let Some(pool) = app.db.postgres()
        && let Err(error) = Wake::notify(pool).await
    {
        tracing::debug!(%error, "Could not notify the workers; their timers will find the work");
    }
    if !wait {
        let status = provisioning::current(app.db.read(), tenant_id).await?;
        return Ok(status.context("the tenant has no provisioning run")?);
    }
    let board = Board::new(if as_json { Shown::Not } else { Shown::Aside });
    let status = provision::until_ended(app, tenant_id, &board).await?;
    if !as_json && status.status == provisioning::RunStatus::Complete {
        output::line(&format!("Provisioned in {} ms", status.duration_ms.unwrap_or_default()))?;
    }
    Ok(status)
}
