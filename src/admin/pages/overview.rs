//! The console's first page: the kill switch, how provisioning goes, and the tenants.

use askama::Template;
use axum::{Extension, extract::State, http::StatusCode, response::Response};
use chrono::{DateTime, TimeDelta, Utc};
use serde::Deserialize;

use super::{address, run_word, status_word};
use crate::{
    admin::api,
    app::App,
    http::{Form, Listing, PageQuery, Problem, Query, RequestId, Visit, go_to},
    identity::SignedInAdmin,
    plans::{self, PlanView, flags, thousands},
    provisioning::{self, Stats, shown},
    signup::start,
    tenants::{self, ProvisionState, TenantRow},
};

/// How far back runs are counted.
const COUNTED: TimeDelta = TimeDelta::days(30);

/// What runs can be asked for by, the most urgent first.
const RUNS: [ProvisionState; 4] =
    [ProvisionState::Failed, ProvisionState::Processing, ProvisionState::Pending, ProvisionState::Complete];

/// Which tenants, and whether a button has just been pressed.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Wanted {
    q: String,
    run: String,
    cursor: Option<String>,
    switched: Option<String>,
}

impl Wanted {
    /// The state that runs are asked for in; nothing for all.
    fn state(&self) -> Option<ProvisionState> {
        RUNS.into_iter().find(|state| state.as_str() == self.run)
    }

    fn is_narrow(&self) -> bool {
        !self.q.trim().is_empty() || self.state().is_some()
    }

    /// The same list from another place on.
    fn link(&self, cursor: Option<&str>) -> String {
        address("/admin", &[("q", Some(self.q.trim())), ("run", Some(&self.run)), ("cursor", cursor)])
    }
}

/// A tenant in the list.
struct Row {
    slug: String,
    name: String,
    owner: String,
    plan: String,
    status: &'static str,
    run: ProvisionState,
    run_word: &'static str,
    signed_up: String,
}

impl Row {
    fn of(tenant: TenantRow, plans: &[PlanView]) -> Self {
        let plan = plans.iter().find(|plan| plan.slug == tenant.plan).map(|plan| plan.name.clone());
        Self {
            slug: tenant.slug,
            name: tenant.name,
            owner: tenant.owner_email,
            plan: plan.unwrap_or(tenant.plan),
            status: status_word(tenant.status),
            run: tenant.provision_state,
            run_word: run_word(tenant.provision_state),
            signed_up: tenant.created_at.format("%-d %b %Y, %H:%M").to_string(),
        }
    }
}

#[derive(Template)]
#[template(path = "admin/pages/overview.html")]
struct Page<'a> {
    is_open: bool,
    switched_at: Option<DateTime<Utc>>,
    self_serve: bool,
    figures: Vec<(&'static str, String)>,
    rows: Vec<Row>,
    next: Option<String>,
    asked: Wanted,
    base_domain: &'a str,
    visit: &'a Visit,
}

impl Page<'_> {
    /// What can be asked for: its name, what it is called, and whether it is.
    fn runs(&self) -> [(&'static str, &'static str, bool); 4] {
        let asked = self.asked.state();
        RUNS.map(|state| (state.as_str(), run_word(state), asked == Some(state)))
    }
}

/// What provisioning comes to, each figure with what it counts.
fn figures(stats: &Stats) -> Vec<(&'static str, String)> {
    let mut figures = vec![
        ("tenants", thousands(stats.tenants)),
        ("complete", thousands(stats.complete)),
        ("under way", thousands(stats.under_way())),
        ("failed", thousands(stats.failed)),
    ];
    let success = stats.success_permille().map(|permille| format!("{}.{}%", permille / 10, permille % 10));
    figures.extend(success.map(|success| ("of runs succeed, last 30 days", success)));
    figures.extend(stats.p95_ms.map(|millis| ("P95 of a run, last 30 days", shown::seconds(millis))));
    figures
}

/// The page.
pub(super) async fn page(
    State(app): State<App>,
    _: SignedInAdmin,
    Query(asked): Query<Wanted>,
    visit: Visit,
) -> Result<Response, Problem> {
    let db = app.db.read();
    let page = PageQuery { limit: None, cursor: asked.cursor.clone() }.page()?;
    let found = tenants::list(db, page, Some(asked.q.trim()), asked.state()).await?;
    let found = Listing::of(found, page, |row| row.id);
    let plans = plans::all(db, true).await?;
    let page = Page {
        is_open: start::kill_switch(&app).await.is_ok(),
        switched_at: flags::switched_at(db, flags::SIGNUP_ENABLED).await?,
        self_serve: app.config.signup.self_serve_enabled,
        figures: figures(&provisioning::stats(db, app.clock.now().at - COUNTED).await?),
        next: found.next_cursor.as_deref().map(|cursor| asked.link(Some(cursor))),
        rows: found.data.into_iter().map(|tenant| Row::of(tenant, &plans)).collect(),
        asked,
        base_domain: &app.config.base_domain,
        visit: &visit,
    };
    visit.show(StatusCode::OK, &page)
}

/// Where the kill switch is to stand.
#[derive(Deserialize)]
pub(super) struct Sent {
    enabled: String,
}

/// Moves the kill switch.
pub(super) async fn switch(
    State(app): State<App>,
    SignedInAdmin(admin): SignedInAdmin,
    Extension(request_id): Extension<RequestId>,
    Form { body: Sent { enabled }, .. }: Form<Sent>,
) -> Result<Response, Problem> {
    let enabled = enabled.parse().map_err(|_| Problem::malformed("enabled has to be true or false."))?;
    api::switch(&app, admin, request_id, flags::SIGNUP_ENABLED, enabled).await?;
    Ok(go_to("/admin?switched=1", []))
}
