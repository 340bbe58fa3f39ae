//! Proving an address that somebody else may have signed up with: the page asks first whether it was oneself.

use askama::Template;
use axum::{http::HeaderMap, response::Response};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

use crate::{
    app::App,
    http::{Problem, Refused, Visit},
    identity::{
        Error, browser,
        claim::{self, Before},
        one_time::{self, Consumed, Purpose},
        reauth,
    },
};

/// The token of a link, and what shows that the account is one's own, or that it is not.
#[derive(Deserialize)]
pub(super) struct Proof {
    #[serde(default)]
    pub token: SecretString,
    #[serde(default)]
    password: SecretString,
    /// The button of whoever did not sign up.
    claim: Option<String>,
}

/// A kind of link that proves an address, and the words of its page.
pub(super) struct Account {
    pub purpose: Purpose,
    pub action: &'static str,
    pub heading: &'static str,
    pub label: &'static str,
}

#[derive(Template)]
#[template(path = "identity/claim.html")]
struct Page<'a> {
    action: &'static str,
    heading: &'static str,
    label: &'static str,
    token: &'a str,
    email: &'a str,
    has_password: bool,
    refused: Refused,
    visit: &'a Visit,
}

impl Account {
    /// The page that asks, where there is something to ask. It changes nothing.
    pub async fn asks(
        &self,
        app: &App,
        headers: &HeaderMap,
        visit: &Visit,
        token: &SecretString,
    ) -> Result<Option<Response>, Problem> {
        match self.owner(app, headers, token).await? {
            Some(owner) => self.page(app, visit, token, &owner, Refused::default()).await.map(Some),
            None => Ok(None),
        }
    }

    /// What is to become of what was there before, or the page again.
    pub async fn before(
        &self,
        app: &App,
        headers: &HeaderMap,
        visit: &Visit,
        proof: &Proof,
    ) -> Result<Result<Before, Response>, Problem> {
        let Some(owner) = self.owner(app, headers, &proof.token).await? else { return Ok(Ok(Before::Stays)) };
        if proof.claim.is_some() {
            return Ok(Ok(Before::Ends));
        }
        let refused = match reauth::by_password(app, owner.user_id, &proof.password).await {
            Ok(_) => return Ok(Ok(Before::Stays)),
            Err(error @ Error::InvalidCredentials) => Refused::at(
                "password",
                &error.into(),
                "That is not the one",
                "This is not the password that was chosen.",
            ),
            Err(error) => Refused::usual(error.into())?,
        };
        Ok(Err(self.page(app, visit, &proof.token, &owner, refused).await?))
    }

    /// Whose account the link would open to somebody who has not shown that it is theirs. Nobody where one click is enough, and where the
    /// link is good for nothing, which its use says.
    async fn owner(&self, app: &App, headers: &HeaderMap, token: &SecretString) -> Result<Option<Consumed>, Problem> {
        let owner = match one_time::peek(app.db.read(), &app.clock.now(), self.purpose, token).await {
            Ok(owner) => owner,
            Err(Error::TokenExpired | Error::TokenInvalid) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        if !claim::is_due(app.db.read(), owner.user_id).await? {
            return Ok(None);
        }
        let is_signed_in = browser::user(app, headers).await?.is_some_and(|user| user.user_id == owner.user_id);
        Ok((!is_signed_in).then_some(owner))
    }

    async fn page(
        &self,
        app: &App,
        visit: &Visit,
        token: &SecretString,
        owner: &Consumed,
        refused: Refused,
    ) -> Result<Response, Problem> {
        let page = Page {
            action: self.action,
            heading: self.heading,
            label: self.label,
            token: token.expose_secret(),
            email: &owner.email,
            has_password: reauth::has_password(app.db.read(), owner.user_id).await?,
            refused,
            visit,
        };
        visit.show(page.refused.status, &page)
    }
}
