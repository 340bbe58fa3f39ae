//! Who sends a request: what handlers take as arguments, so that nobody forgets to ask.
//!
//! A token's signature says who its bearer was when it was made; one query says whether that still holds.

use std::collections::HashMap;

use axum::{
    RequestPartsExt,
    extract::{FromRequestParts, OptionalFromRequestParts, Path},
    http::{StatusCode, request::Parts},
};
use chrono::{DateTime, Utc};
use sea_orm::{ConnectionTrait, FromQueryResult};
use secrecy::{ExposeSecret, SecretString};
use uuid::Uuid;

use super::{
    Error,
    keys::{self, Audience, TokenError},
    sessions::AccessClaims,
    signup_token::{READS_STATUS_FOR, SignupClaims},
    users,
};
use crate::{
    app::App,
    audit::Actor,
    clock::Now,
    db::{Tx, for_update, sql},
    http::{Bearer, Client, Problem},
    tenants::Role,
};

/// A member of a tenant, by access token, whose session is open and who is a member still.
#[derive(Clone, Debug)]
pub struct CurrentUser {
    /// The user.
    pub user_id: Uuid,
    /// The tenant that the token is for.
    pub tenant_id: Uuid,
    /// The user's role in it now.
    pub role: Role,
    /// The session.
    pub session_id: Uuid,
    /// Whether the user is one of the platform's own people.
    pub is_platform_admin: bool,
}

#[derive(FromQueryResult)]
struct Member {
    user_id: Uuid,
    tenant_id: Uuid,
    role: Role,
    is_platform_admin: bool,
}

impl CurrentUser {
    async fn of(app: &App, token: &SecretString) -> Result<Self, Problem> {
        let now = app.clock.now();
        let claims: AccessClaims =
            app.keys.verify(token.expose_secret(), Audience::Access, &now).await.map_err(|refused| {
                let detail = match refused {
                    TokenError::Expired => "This access token has expired. Refresh it.",
                    TokenError::Invalid => "This is not a valid access token.",
                };
                Problem { detail: detail.into(), ..Problem::unauthenticated() }
            })?;
        let member = Self::of_session(app, claims.sid).await?;
        member.filter(|member| (member.user_id, member.tenant_id) == (claims.sub, claims.tid)).ok_or_else(|| {
            let detail = "This session has ended. Log in again.";
            Problem { detail: detail.into(), ..Problem::unauthenticated() }
        })
    }

    /// Looks again whether the session is open, and keeps it so until the transaction ends. What ends sessions holds the user's row too, so
    /// whatever an ended session had begun comes to nothing. Call it first in what gives a way in, or takes one.
    ///
    /// # Errors
    /// [`Error::SessionEnded`].
    pub async fn hold(&self, tx: &Tx, now: &Now) -> Result<(), Error> {
        let query =
            "select 1 as one from sessions where id = $1 and user_id = $2 and revoked_at is null and expires_at > $3";
        let is_known = users::hold(tx, self.user_id).await?;
        // By itself, so that it sees what was committed while it waited for the row.
        let values = [self.session_id.into(), self.user_id.into(), now.at.into()];
        let is_open = tx.query_one_raw(sql(tx, query, values)).await?.is_some();
        if is_known && is_open { Ok(()) } else { Err(Error::SessionEnded) }
    }

    /// The member whose session it is, while it is open.
    pub(super) async fn of_session(app: &App, session_id: Uuid) -> Result<Option<Self>, Problem> {
        let query = "select s.user_id, s.tenant_id, m.role, u.is_platform_admin from sessions s join users u on u.id = s.user_id \
             join memberships m on m.user_id = s.user_id and m.tenant_id = s.tenant_id \
             where s.id = $1 and s.revoked_at is null and s.expires_at > $2 and u.disabled_at is null";
        let values = [session_id.into(), app.clock.now().at.into()];
        let member = Member::find_by_statement(sql(app.db.read(), query, values)).one(app.db.read()).await?;
        Ok(member.map(|Member { user_id, tenant_id, role, is_platform_admin }| Self {
            user_id,
            tenant_id,
            role,
            session_id,
            is_platform_admin,
        }))
    }
}

impl FromRequestParts<App> for CurrentUser {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        let Bearer(token) = parts.extract().await?;
        Self::of(app, &token).await
    }
}

/// Nobody where no token was sent; one that is not valid is refused.
impl OptionalFromRequestParts<App> for CurrentUser {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Option<Self>, Problem> {
        match sent(parts).await {
            Some(Bearer(token)) => Self::of(app, &token).await.map(Some),
            None => Ok(None),
        }
    }
}

/// A member whose address is proved, or who still has time to prove it (`identity.verification_grace`). For what is worth keeping from
/// somebody who signed up with an address that is not theirs.
#[derive(Clone, Debug)]
pub struct Verified(pub CurrentUser);

impl FromRequestParts<App> for Verified {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        let user = <CurrentUser as FromRequestParts<App>>::from_request_parts(parts, app).await?;
        let grace = app.config.identity.verification_grace;
        let ended = users::grace_ends(app.db.read(), user.user_id, grace).await?;
        match ended.filter(|ended| *ended <= app.clock.now().at) {
            None => Ok(Self(user)),
            Some(ended) => {
                let detail = "Prove your email address first: the link is in your mailbox, and another can be sent.";
                let refused = Problem::new(StatusCode::FORBIDDEN, "EMAIL_VERIFICATION_REQUIRED", detail);
                Err(refused.with("grace_ended_at", serde_json::json!(ended)))
            }
        }
    }
}

fn invalid(detail: &str) -> Problem {
    Problem::new(StatusCode::UNAUTHORIZED, "TOKEN_INVALID", detail)
}

/// Somebody whose sign-up is not finished, by sign-up token.
#[derive(Clone, Copy, Debug)]
pub struct SignupToken {
    /// The owner to be.
    pub user_id: Uuid,
    /// The tenant.
    pub tenant_id: Uuid,
    issued_at: DateTime<Utc>,
}

impl SignupToken {
    /// Looks again whether the token opens anything, and keeps it so until the transaction ends, as [`CurrentUser::hold`] does: whoever
    /// proves the address ends the sign-up tokens from before.
    ///
    /// # Errors
    /// [`Error::TokenInvalid`].
    pub async fn hold(&self, tx: &Tx) -> Result<(), Error> {
        let query = format!(
            "select 1 as one from users where id = $1 and disabled_at is null and (claimed_at is null or claimed_at < $2){}",
            for_update(tx)
        );
        let held = tx.query_one_raw(sql(tx, &query, [self.user_id.into(), self.issued_at.into()])).await?;
        held.map(drop).ok_or(Error::TokenInvalid)
    }
}

/// Somebody whose sign-up is not finished, or has been for less than a day, by sign-up token. For what changes nothing then.
#[derive(Clone, Copy, Debug)]
pub struct SignupReader {
    /// The owner.
    pub user_id: Uuid,
    /// The tenant.
    pub tenant_id: Uuid,
    /// When provisioning completed, if it has.
    pub provisioned_at: Option<DateTime<Utc>>,
    /// When the token was issued, in whole seconds.
    issued_at: DateTime<Utc>,
}

impl From<SignupReader> for SignupToken {
    fn from(SignupReader { user_id, tenant_id, issued_at, .. }: SignupReader) -> Self {
        Self { user_id, tenant_id, issued_at }
    }
}

impl SignupReader {
    /// The owner of a sign-up that is not finished, by their session.
    pub fn by_session(user: &CurrentUser, now: &Now) -> Self {
        Self { user_id: user.user_id, tenant_id: user.tenant_id, provisioned_at: None, issued_at: now.at }
    }

    /// Whom a token belongs to.
    pub async fn of(app: &App, token: Option<&SecretString>) -> Result<Self, Problem> {
        let token = token.ok_or_else(|| invalid("Send the sign-up token in the Authorization header."))?;
        let now = app.clock.now();
        let claims: SignupClaims =
            app.keys.verify(token.expose_secret(), Audience::Signup, &now).await.map_err(|refused| match refused {
                TokenError::Expired => Problem::new(
                    StatusCode::UNAUTHORIZED,
                    "TOKEN_EXPIRED",
                    "This sign-up token has expired. Start again with step 1.",
                ),
                TokenError::Invalid => invalid("This is not a valid sign-up token. Start again with step 1."),
            })?;
        let query = "select t.provisioned_at from tenants t join memberships m on m.tenant_id = t.id \
             join users u on u.id = m.user_id where t.id = $1 and u.id = $2 and u.disabled_at is null \
             and (u.claimed_at is null or u.claimed_at < $3)";
        let issued_at = DateTime::from_timestamp(claims.iat, 0).unwrap_or_default();
        let values = [claims.tid.into(), claims.sub.into(), issued_at.into()];
        let row = app.db.read().query_one_raw(sql(app.db.read(), query, values));
        let row = row
            .await?
            .ok_or_else(|| invalid("The sign-up that this token was for is gone. Start again with step 1."))?;
        let provisioned_at: Option<DateTime<Utc>> = row.try_get("", "provisioned_at")?;
        if provisioned_at.is_some_and(|at| now.at >= at + READS_STATUS_FOR) {
            return Err(complete());
        }
        Ok(Self { user_id: claims.sub, tenant_id: claims.tid, provisioned_at, issued_at })
    }

    /// What a token of ours says whose time may be over, to show a person what they had begun. It opens nothing.
    pub async fn expired(app: &App, token: &SecretString) -> Option<SignupClaims> {
        app.keys.read_expired(token.expose_secret(), Audience::Signup, &app.clock.now()).await.ok()
    }

    fn unfinished(self) -> Result<SignupToken, Problem> {
        match self.provisioned_at {
            None => Ok(self.into()),
            Some(_) => Err(complete()),
        }
    }
}

fn complete() -> Problem {
    invalid("Provisioning is complete, so this sign-up token opens nothing more. Log in instead.")
}

impl FromRequestParts<App> for SignupReader {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        let bearer: Option<Bearer> = sent(parts).await;
        Self::of(app, bearer.as_ref().map(|Bearer(token)| token)).await
    }
}

impl FromRequestParts<App> for SignupToken {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        SignupReader::from_request_parts(parts, app).await?.unfinished()
    }
}

async fn sent(parts: &mut Parts) -> Option<Bearer> {
    let Ok(bearer) = parts.extract().await;
    bearer
}

/// Whoever comes by sign-up token or as a member, often to a tenant's own address, `…/tenants/{id}/…`.
enum Visitor {
    Signup(SignupReader),
    Member(CurrentUser),
}

impl Visitor {
    async fn of(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        let Bearer(token) = parts.extract().await?;
        if keys::names(token.expose_secret(), Audience::Access) {
            CurrentUser::of(app, &token).await.map(Self::Member)
        } else {
            SignupReader::of(app, Some(&token)).await.map(Self::Signup)
        }
    }

    fn ids(&self) -> (Uuid, Uuid) {
        match self {
            Self::Signup(reader) => (reader.tenant_id, reader.user_id),
            Self::Member(member) => (member.tenant_id, member.user_id),
        }
    }

    /// Another tenant's id is not found, because whether it exists is nobody's business.
    async fn at_own_tenant(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        let visitor = Self::of(parts, app).await?;
        let Path(path) = parts.extract::<Path<HashMap<String, String>>>().await.map_err(|_| Problem::not_found())?;
        let id = path.get("id").and_then(|id| id.parse::<Uuid>().ok());
        if id == Some(visitor.ids().0) { Ok(visitor) } else { Err(Problem::not_found()) }
    }
}

/// Anybody we know: a member, or by sign-up token until a day after provisioning.
#[derive(Clone, Copy, Debug)]
pub struct Known {
    /// The tenant that the token is for.
    pub tenant_id: Uuid,
    /// The user.
    pub user_id: Uuid,
}

impl FromRequestParts<App> for Known {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        let (tenant_id, user_id) = Visitor::of(parts, app).await?.ids();
        Ok(Self { tenant_id, user_id })
    }
}

/// Somebody who may see how the tenant in the path is provisioned: any member, or its sign-up token until a day after.
#[derive(Clone, Copy, Debug)]
pub struct TenantReader {
    /// The tenant, of path and token.
    pub tenant_id: Uuid,
    /// The user.
    pub user_id: Uuid,
}

impl FromRequestParts<App> for TenantReader {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        let (tenant_id, user_id) = Visitor::at_own_tenant(parts, app).await?.ids();
        Ok(Self { tenant_id, user_id })
    }
}

/// Somebody who may set the tenant in the path going again: its owner, an admin, or its sign-up token until it is provisioned.
#[derive(Clone, Copy, Debug)]
pub struct TenantOperator {
    /// The tenant, of path and token.
    pub tenant_id: Uuid,
    /// The user.
    pub user_id: Uuid,
}

impl FromRequestParts<App> for TenantOperator {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        let visitor = Visitor::at_own_tenant(parts, app).await?;
        let (tenant_id, user_id) = visitor.ids();
        match visitor {
            Visitor::Signup(reader) => {
                reader.unfinished()?;
            }
            Visitor::Member(member) => match member.role {
                Role::Owner | Role::Admin => (),
                Role::Member | Role::Viewer => return Err(Problem::forbidden()),
            },
        }
        Ok(Self { tenant_id, user_id })
    }
}

/// One of the platform's own people: by `TENANTRY_ADMIN_TOKEN`, or as a user who is marked so.
#[derive(Clone, Copy, Debug)]
pub struct PlatformAdmin {
    /// The user; `None` for the token.
    pub user_id: Option<Uuid>,
}

/// What the admin token is compared under.
const ADMIN_TOKEN: &str = "admin_token";

impl PlatformAdmin {
    /// Who acts, for the audit log.
    pub fn actor(&self) -> Actor {
        Actor::PlatformAdmin(self.user_id)
    }

    /// Whether somebody knows the admin token. Tags under a secret key are compared, so the time taken tells nothing of the token itself.
    pub(super) fn has_token(app: &App, sent: &SecretString) -> bool {
        let tag = Self::token_tag(app);
        tag.is_some_and(|tag| app.sealer.verify_mac(ADMIN_TOKEN, sent.expose_secret().as_bytes(), &tag))
    }

    /// What stands for the admin token where it must not be kept itself; nothing where none is configured.
    pub(super) fn token_tag(app: &App) -> Option<[u8; 32]> {
        let token = app.config.admin_token.as_ref()?;
        Some(app.sealer.mac(ADMIN_TOKEN, token.expose_secret().as_bytes()))
    }

    /// Whether a tag is that of the admin token as it is configured now.
    pub(super) fn is_tag_of_token(app: &App, tag: &[u8]) -> bool {
        let token = app.config.admin_token.as_ref();
        token.is_some_and(|token| app.sealer.verify_mac(ADMIN_TOKEN, token.expose_secret().as_bytes(), tag))
    }
}

impl FromRequestParts<App> for PlatformAdmin {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        let Bearer(token) = parts.extract().await?;
        let Ok(client) = Client::from_request_parts(parts, app).await;
        app.limits.listen_to(client.network())?;
        if Self::has_token(app, &token) {
            return Ok(Self { user_id: None });
        }
        let user = CurrentUser::of(app, &token).await.map_err(|problem| match problem.status {
            StatusCode::UNAUTHORIZED => {
                app.limits.wrong_admin_token(client.network());
                Problem::unauthenticated()
            }
            _ => problem,
        })?;
        if user.is_platform_admin { Ok(Self { user_id: Some(user.user_id) }) } else { Err(Problem::forbidden()) }
    }
}
