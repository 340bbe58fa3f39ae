//! Name, address and tenants.

use askama::Template;
use axum::{
    Extension,
    extract::{Query, State},
    response::Response,
};
use serde::Deserialize;
use uuid::Uuid;

use super::Done;
use crate::{
    app::App,
    http::{Form, Problem, Refused, RequestId, Visit, go_to},
    identity::{
        Client, CurrentUser, SignedIn, api,
        pages::cookies,
        users::{self, MembershipView, UserView},
    },
};

#[derive(Template)]
#[template(path = "identity/settings/profile.html")]
struct Page<'a> {
    here: &'static str,
    user: &'a UserView,
    name: &'a str,
    memberships: Vec<MembershipView>,
    tenant_id: Uuid,
    said: Option<(&'static str, &'static str)>,
    refused: Refused,
    visit: &'a Visit,
}

async fn render(
    app: &App,
    visit: &Visit,
    who: &CurrentUser,
    typed: Option<&str>,
    (refused, done): (Refused, Done),
) -> Result<Response, Problem> {
    let user = users::by_id(app.db.read(), who.user_id).await?;
    let said = match done.done.as_deref() {
        Some("saved") => Some(("Saved", "Your name is changed.")),
        Some("asked") => {
            Some(("A link is on its way", "Open it in the mailbox of the new address. Until then nothing changes."))
        }
        Some("sent") => Some(("The mail is on its way", "Use the link in it to verify your address.")),
        Some("soon") => Some(("We sent one a moment ago", "Look into your mailbox, or try again in a minute.")),
        _ => None,
    };
    let page = Page {
        here: "/settings",
        name: typed.or(user.name.as_deref()).unwrap_or_default(),
        memberships: users::memberships(app.db.read(), who.user_id).await?,
        user: &user,
        tenant_id: who.tenant_id,
        said,
        refused,
        visit,
    };
    visit.show(page.refused.status, &page)
}

pub(super) async fn page(
    State(app): State<App>,
    SignedIn(who): SignedIn,
    visit: Visit,
    Query(done): Query<Done>,
) -> Result<Response, Problem> {
    render(&app, &visit, &who, None, (Refused::default(), done)).await
}

/// A name.
#[derive(Deserialize)]
pub(super) struct Name {
    #[serde(default)]
    name: String,
}

pub(super) async fn rename(
    State(app): State<App>,
    SignedIn(who): SignedIn,
    visit: Visit,
    Form { body: Name { name }, .. }: Form<Name>,
) -> Result<Response, Problem> {
    match api::rename(&app, &who, name.clone()).await {
        Ok(()) => Ok(go_to("/settings?done=saved", [])),
        Err(refused) => render(&app, &visit, &who, Some(&name), (Refused::usual(refused)?, Done::default())).await,
    }
}

/// Another tenant.
#[derive(Deserialize)]
pub(super) struct Switch {
    tenant_id: Uuid,
}

/// Goes to another tenant. A browser is in one at a time, so the session in the other ends.
pub(super) async fn switch(
    State(app): State<App>,
    Extension(request): Extension<RequestId>,
    SignedIn(who): SignedIn,
    client: Client,
    Form { body: Switch { tenant_id }, .. }: Form<Switch>,
) -> Result<Response, Problem> {
    let (tx, _, opened) = api::switch(&app, &who, tenant_id, client, &request).await?;
    tx.commit().await?;
    api::sign_out(&app, &who, &request).await?;
    Ok(go_to("/dashboard", cookies(&app, &opened)))
}
