//! Joining by invite: a user, new or known, becomes a member of a tenant that is there already. No door makes a tenant here, so neither
//! the kill switch nor `self_serve_enabled` closes it.

use chrono::TimeDelta;
use secrecy::SecretString;
use serde_json::json;
use uuid::Uuid;

use super::Error;
use crate::{
    audit::{self, Actor},
    clock::Now,
    db::{Batch, Tx, Unique, unique},
    http::RequestId,
    identity::{
        self, Client,
        email::Email,
        oauth::Person,
        second_factor::{self, Entry, Pending},
        users,
    },
    mail::Post,
    team,
};

/// Who joins.
pub(super) enum Newcomer {
    /// A user.
    Known(Uuid),
    /// Somebody new with this address, to which the invite went.
    New {
        email: Email,
        name: Option<String>,
        /// Argon2id, where the door asked for a password.
        password_hash: Option<String>,
        role_at_signup: Option<String>,
        /// Whom a provider proved, where one did.
        person: Option<Person>,
    },
}

/// Makes somebody a member by an invite, and logs them in, where a second factor is on with its code. `grace` as in [`team::accept`].
pub(super) async fn join(
    tx: &Tx,
    now: &Now,
    (token, grace): (&SecretString, TimeDelta),
    post: &Post,
    newcomer: Newcomer,
    (client, request, by, then): (Client, &RequestId, &str, Option<String>),
) -> Result<Entry, Error> {
    let (user_id, email) = match newcomer {
        Newcomer::Known(user_id) => {
            let user = users::by_id(tx, user_id).await.map_err(Error::from)?;
            (user_id, Email::parse(&user.email).map_err(|_| team::Error::EmailMismatch)?)
        }
        Newcomer::New { email, name, password_hash, role_at_signup, person } => {
            // Before anything is written: whose link it is.
            team::open(tx, now, token, &email).await?;
            let user_id = now.id();
            let mut batch = Batch::default();
            batch.insert(identity::store::user::Model {
                id: user_id,
                email: email.as_str().to_owned(),
                name,
                password_hash,
                // The invite's link went there.
                email_verified_at: Some(now.at),
                role_at_signup,
                onboarding_step_completed: None,
                is_platform_admin: false,
                disabled_at: None,
                left_last_tenant_at: None,
                claimed_at: None,
                created_at: now.at,
                updated_at: now.at,
            });
            if let Some(person) = person {
                batch.insert(person.identity(now, user_id));
            }
            batch.send(tx).await.map_err(|refused| match unique(&refused.source) {
                Some(Unique::UserEmail | Unique::OauthIdentity) => Error::EmailTaken,
                _ => Error::Database(refused.source),
            })?;
            (user_id, email)
        }
    };
    let invite = team::accept(tx, now, (token, grace), (user_id, &email)).await?;
    let who = (Actor::User(user_id), Some(invite.tenant_id));
    let detail = json!({"invite_id": invite.id, "user_id": user_id, "role": invite.role});
    audit::note(tx, now, request, who, "invite.accepted", detail).await?;
    let pending = Pending::new(now, user_id, Some(invite.tenant_id), by).leading_to(then);
    Ok(second_factor::enter(tx, now, post, (&pending, None), (client, request)).await?)
}
