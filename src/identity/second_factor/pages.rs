//! The second factor's settings: off, set up, on.

use askama::Template;
use axum::{
    Extension, Router,
    extract::State,
    http::StatusCode,
    response::Response,
    routing::{get, post},
};
use secrecy::SecretString;
use serde::Deserialize;

use super::{Authenticator, Status, api, signin, status, waiting};
use crate::{
    app::App,
    http::{Form, NoFields, Problem, Refused, Reply, RequestId, Visit, go_to},
    identity::{Error, SignedIn, codes, reauth},
};

const HOME: &str = "/settings/second-factor";

pub(in crate::identity) fn routes() -> Router<App> {
    Router::new()
        .route(HOME, get(home))
        .route("/settings/second-factor/set-up", get(show_secret).post(make_secret))
        .route("/settings/second-factor/confirm", post(confirm))
        .route("/settings/second-factor/recovery-codes", get(ask_for_codes).post(new_codes))
        .route("/settings/second-factor/switch-off", get(ask_to_switch_off).post(switch_off))
}

#[derive(Template)]
#[template(path = "identity/second_factor/home.html")]
struct HomePage<'a> {
    /// Which of the settings this is.
    here: &'static str,
    factor: Status,
    /// Whoever left the session open, or stole it, is not to lock its user out.
    needs_sign_in: bool,
    visit: &'a Visit,
}

async fn home(State(app): State<App>, SignedIn(user): SignedIn, visit: Visit) -> Result<Response, Problem> {
    let factor = status(app.db.read(), user.user_id).await?;
    let needs_sign_in = !factor.enabled && reauth::fresh(&app, &user).await.is_err();
    visit.show(StatusCode::OK, &HomePage { here: HOME, factor, needs_sign_in, visit: &visit })
}

#[derive(Template)]
#[template(path = "identity/second_factor/set_up.html")]
struct SetUpPage<'a> {
    /// Which of the settings this is.
    here: &'static str,
    authenticator: Authenticator,
    refused: Refused,
    visit: &'a Visit,
}

impl SetUpPage<'_> {
    /// The secret as it is typed by hand.
    fn secret(&self) -> String {
        codes::in_fours(&self.authenticator.secret(), " ")
    }
}

async fn make_secret(State(app): State<App>, SignedIn(user): SignedIn, _: Form<NoFields>) -> Result<Response, Problem> {
    let now = app.clock.now();
    match api::new_secret(&app, &now, &user).await {
        Ok((tx, _)) => {
            tx.commit().await?;
            Ok(go_to("/settings/second-factor/set-up", []))
        }
        Err(Error::TotpAlreadyOn | Error::ReauthenticationRequired) => Ok(go_to(HOME, [])),
        Err(error) => Err(error.into()),
    }
}

async fn show_secret(State(app): State<App>, SignedIn(user): SignedIn, visit: Visit) -> Result<Response, Problem> {
    let Some(authenticator) = waiting(app.db.read(), &app.sealer, user.user_id).await? else {
        return Ok(go_to(HOME, []));
    };
    visit.show(StatusCode::OK, &SetUpPage { here: HOME, authenticator, refused: Refused::default(), visit: &visit })
}

/// A code.
#[derive(Deserialize)]
struct Code {
    #[serde(default)]
    totp: SecretString,
}

async fn confirm(
    State(app): State<App>,
    Extension(request): Extension<RequestId>,
    SignedIn(user): SignedIn,
    visit: Visit,
    Form { body: Code { totp }, key }: Form<Code>,
) -> Result<Response, Problem> {
    let refused = match api::make_codes(&app, &key, api::Occasion::SwitchOn, (&user, &totp), &request).await {
        Ok(reply) => return show_codes(&visit, reply, true),
        Err(refused) if ["TOTP_ALREADY_ON", "TOTP_OFF"].contains(&refused.code) => return Ok(go_to(HOME, [])),
        Err(refused) => signin::wrong(refused)?,
    };
    let Some(authenticator) = waiting(app.db.read(), &app.sealer, user.user_id).await? else {
        return Ok(go_to(HOME, []));
    };
    visit.show(refused.status, &SetUpPage { here: HOME, authenticator, refused, visit: &visit })
}

#[derive(Template)]
#[template(path = "identity/second_factor/codes.html")]
struct CodesPage<'a> {
    /// Which of the settings this is.
    here: &'static str,
    codes: &'a [String],
    /// Whether the second factor has just been switched on; else these take the place of others.
    is_first: bool,
    visit: &'a Visit,
}

impl CodesPage<'_> {
    /// All of them as a file, within the link itself: they are nowhere to be fetched from.
    fn file(&self) -> String {
        let lines = self.codes.iter().map(|code| format!("{code}%0D%0A"));
        format!("data:text/plain;charset=utf-8,Tenantry%20recovery%20codes%0D%0A%0D%0A{}", lines.collect::<String>())
    }
}

fn show_codes(visit: &Visit, reply: Reply, is_first: bool) -> Result<Response, Problem> {
    let made: api::RecoveryCodes = reply.read()?;
    visit.show(StatusCode::OK, &CodesPage { here: HOME, codes: &made.recovery_codes, is_first, visit })
}

/// A form that asks for a code before it does something.
#[derive(Template)]
#[template(path = "identity/second_factor/ask.html")]
struct AskPage<'a> {
    /// Which of the settings this is.
    here: &'static str,
    heading: &'static str,
    text: &'static str,
    action: &'static str,
    button: &'static str,
    is_danger: bool,
    refused: Refused,
    visit: &'a Visit,
}

impl<'a> AskPage<'a> {
    fn for_codes(visit: &'a Visit, refused: Refused) -> Self {
        Self {
            here: HOME,
            heading: "Make new recovery codes",
            text: "The ones you have now are good for nothing any more then.",
            action: "/settings/second-factor/recovery-codes",
            button: "Make new codes",
            is_danger: false,
            refused,
            visit,
        }
    }

    fn to_switch_off(visit: &'a Visit, refused: Refused) -> Self {
        Self {
            here: HOME,
            heading: "Switch the second factor off",
            text: "Your password or a mailed link is enough to sign in then.",
            action: "/settings/second-factor/switch-off",
            button: "Switch it off",
            is_danger: true,
            refused,
            visit,
        }
    }
}

async fn ask_for_codes(State(app): State<App>, SignedIn(user): SignedIn, visit: Visit) -> Result<Response, Problem> {
    if !status(app.db.read(), user.user_id).await?.enabled {
        return Ok(go_to(HOME, []));
    }
    visit.show(StatusCode::OK, &AskPage::for_codes(&visit, Refused::default()))
}

async fn new_codes(
    State(app): State<App>,
    Extension(request): Extension<RequestId>,
    SignedIn(user): SignedIn,
    visit: Visit,
    Form { body: Code { totp }, key }: Form<Code>,
) -> Result<Response, Problem> {
    match api::make_codes(&app, &key, api::Occasion::Renew, (&user, &totp), &request).await {
        Ok(reply) => show_codes(&visit, reply, false),
        Err(refused) if refused.code == "TOTP_OFF" => Ok(go_to(HOME, [])),
        Err(refused) => {
            let refused = signin::wrong(refused)?;
            visit.show(refused.status, &AskPage::for_codes(&visit, refused))
        }
    }
}

async fn ask_to_switch_off(
    State(app): State<App>,
    SignedIn(user): SignedIn,
    visit: Visit,
) -> Result<Response, Problem> {
    if !status(app.db.read(), user.user_id).await?.enabled {
        return Ok(go_to(HOME, []));
    }
    visit.show(StatusCode::OK, &AskPage::to_switch_off(&visit, Refused::default()))
}

async fn switch_off(
    State(app): State<App>,
    Extension(request): Extension<RequestId>,
    SignedIn(user): SignedIn,
    visit: Visit,
    Form { body: Code { totp }, .. }: Form<Code>,
) -> Result<Response, Problem> {
    match api::leave(&app, (&user, &totp), &request).await {
        Ok(()) | Err(Error::TotpOff) => Ok(go_to(HOME, [])),
        Err(refused) => {
            let refused = signin::wrong(refused)?;
            visit.show(refused.status, &AskPage::to_switch_off(&visit, refused))
        }
    }
}
