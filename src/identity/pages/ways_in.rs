//! The providers that somebody signs in with: adding one, and taking one away.

use askama::Template;
use axum::{
    Extension, Router,
    extract::State,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::Response,
    routing::{get, post},
};

use crate::{
    app::App,
    http::{Form, NoFields, Path, Problem, RequestId, Visit, go_to},
    identity::{
        CurrentUser, SignedIn,
        api::oauth::{configured, set_out, unlink},
        oauth::{self, IdentityView, flow::Aim, provider::label},
        reauth,
    },
};

const PAGE: &str = "/settings/sign-in";

pub(super) fn routes() -> Router<App> {
    Router::new()
        .route(PAGE, get(page))
        .route("/settings/sign-in/{provider}", post(add))
        .route("/settings/sign-in/{provider}/remove", post(remove))
}

/// One way in.
struct Way {
    name: String,
    label: String,
    /// Where it is linked.
    linked: Option<IdentityView>,
}

#[derive(Template)]
#[template(path = "identity/ways-in.html")]
struct Page<'a> {
    here: &'static str,
    ways: Vec<Way>,
    /// The last way in, which was to be taken away.
    is_last: bool,
    /// Whoever left the session open, or stole it, is not to stay.
    needs_sign_in: bool,
    visit: &'a Visit,
}

async fn render(app: &App, visit: &Visit, user: &CurrentUser, is_last: bool) -> Result<Response, Problem> {
    let mut linked = oauth::linked(app.db.read(), user.user_id).await?;
    let mut ways: Vec<Way> = Vec::new();
    for (name, label) in app.providers.labels() {
        let own = linked.iter().position(|each| each.provider == name).map(|at| linked.remove(at));
        ways.push(Way { name, label, linked: own });
    }
    // What the operator no longer configures can still be taken away.
    ways.extend(linked.into_iter().map(|own| Way {
        name: own.provider.clone(),
        label: label(&own.provider),
        linked: Some(own),
    }));
    let status = if is_last { StatusCode::CONFLICT } else { StatusCode::OK };
    let needs_sign_in = reauth::fresh(app, user).await.is_err();
    visit.show(status, &Page { here: PAGE, ways, is_last, needs_sign_in, visit })
}

async fn page(State(app): State<App>, SignedIn(user): SignedIn, visit: Visit) -> Result<Response, Problem> {
    render(&app, &visit, &user, false).await
}

#[derive(Template)]
#[template(path = "identity/leaving.html")]
struct Leaving {
    label: String,
    url: String,
}

/// Sends somebody to a provider, by a page of its own: a form may lead to our own pages alone (CSP, `form-action`).
async fn add(
    State(app): State<App>,
    SignedIn(user): SignedIn,
    Path(provider): Path<String>,
    headers: HeaderMap,
    visit: Visit,
    _: Form<NoFields>,
) -> Result<Response, Problem> {
    let provider = configured(&app, &provider)?;
    if reauth::fresh(&app, &user).await.is_err() {
        return Ok(go_to(PAGE, []));
    }
    let aim = Aim::Link { user_id: user.user_id, session_id: user.session_id };
    let (url, cookie): (_, HeaderValue) = set_out(&app, &headers, provider, aim).await?;
    let mut response = visit.show(StatusCode::OK, &Leaving { label: provider.label(), url: url.into() })?;
    response.headers_mut().append(header::SET_COOKIE, cookie);
    Ok(response)
}

async fn remove(
    State(app): State<App>,
    Extension(request): Extension<RequestId>,
    SignedIn(user): SignedIn,
    Path(provider): Path<String>,
    visit: Visit,
    _: Form<NoFields>,
) -> Result<Response, Problem> {
    match unlink(&app, &user, &provider, &request).await.map_err(Problem::from) {
        Ok(()) => Ok(go_to(PAGE, [])),
        Err(refused) if refused.code == "LAST_WAY_IN" => render(&app, &visit, &user, true).await,
        // Sent twice: it is gone already. Or the page says what is needed first.
        Err(refused) if ["NOT_FOUND", "REAUTHENTICATION_REQUIRED"].contains(&refused.code) => Ok(go_to(PAGE, [])),
        Err(refused) => Err(refused),
    }
}
