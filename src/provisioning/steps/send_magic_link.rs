//! `send_magic_link`: the owner's way in, by mail.

use chrono::TimeDelta;
use secrecy::ExposeSecret;
use serde_json::Value;

use super::Outcome;
use crate::{
    clock::Now,
    db::Batch,
    identity::{
        email::Email,
        one_time::{self, NewToken, Purpose},
    },
    mail::{Post, letters},
    provisioning::store::Subject,
};

/// Nobody has asked for the link, so it may have to wait in a mailbox.
const VALID: TimeDelta = TimeDelta::days(7);

pub(super) fn run(batch: &mut Batch, now: &Now, subject: &Subject, post: &Post) -> Result<Option<Value>, Outcome> {
    let email = Email::parse(&subject.owner_email);
    let email = email.map_err(|error| Outcome::Fail(format!("the owner's address cannot be written to: {error}")))?;
    let token = NewToken {
        user_id: subject.owner_id,
        tenant_id: Some(subject.tenant_id),
        purpose: Purpose::MagicLink,
        email: &email,
        ttl: Some(VALID),
    };
    let token = one_time::mint(batch, now, token);
    let letter = letters::owner_link(&post.public_url, &email, &subject.name, token.expose_secret());
    post.queue(batch, now, Some(subject.tenant_id), &letter);
    Ok(None)
}
