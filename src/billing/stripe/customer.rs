//! A tenant as Stripe's customer.

use sea_orm::{ConnectionTrait, DbErr, FromQueryResult};
use uuid::Uuid;

use super::{Client, Error, wire};
use crate::{
    app::App,
    clock::Now,
    db::{Tx, sql},
    seal::hash_token,
};

#[derive(FromQueryResult)]
struct Known {
    name: String,
    billing_email: String,
    stripe_customer_id: Option<String>,
}

/// The tenant's id at Stripe; makes it a customer where it is none yet. However many ask at once, and whoever dies in between, it
/// becomes one customer: its Idempotency-Key is the tenant, and the first id that is kept stays.
pub(super) async fn ensure(app: &App, client: &Client<'_>, tenant_id: Uuid) -> Result<String, Error> {
    let known = known(app.db.read(), tenant_id).await?.ok_or(Error::NoSubscription)?;
    match known.stripe_customer_id {
        Some(id) => Ok(id),
        None => make(app, client, tenant_id, &known, None).await,
    }
}

/// Another customer in place of one that Stripe has just said it knows nothing of. However many find it gone, it is the same: the new one's key
/// has the old one's id in it, and takes its place in one step.
pub(super) async fn replace(app: &App, client: &Client<'_>, tenant_id: Uuid, gone: &str) -> Result<String, Error> {
    let known = known(app.db.read(), tenant_id).await?.ok_or(Error::NoSubscription)?;
    match known.stripe_customer_id {
        Some(id) if id != gone => Ok(id),
        _ => {
            tracing::warn!(feature = "stripe", %tenant_id, customer = gone, "Stripe has no such customer any more; the tenant becomes a new one");
            make(app, client, tenant_id, &known, Some(gone)).await
        }
    }
}

async fn make(
    app: &App,
    client: &Client<'_>,
    tenant_id: Uuid,
    known: &Known,
    gone: Option<&str>,
) -> Result<String, Error> {
    let fields = vec![
        ("email", known.billing_email.clone()),
        ("name", known.name.clone()),
        ("metadata[tenant_id]", tenant_id.to_string()),
    ];
    // Stripe refuses a key that comes again with other parameters, and repeats a failure that it has kept under one: another ten minutes ask anew.
    // It would also answer the customer that is gone.
    let asked = app.clock.now().at.timestamp() / 600;
    let [a, b, c, d, ..] =
        hash_token(&format!("{}\n{}\n{asked}\n{}", known.billing_email, known.name, gone.unwrap_or_default()));
    let key = format!("customer:{tenant_id}:{a:02x}{b:02x}{c:02x}{d:02x}");
    let made: wire::Customer = client.post("customer.create", "customers", &key, &fields).await?;
    let now = app.clock.now();
    let tx = app.db.begin().await?;
    keep(&tx, &now, tenant_id, &made.id, gone).await?;
    tx.commit().await?;
    let known = self::known(app.db.read(), tenant_id).await?;
    known.and_then(|known| known.stripe_customer_id).ok_or(Error::Busy)
}

/// Forgets a customer that Stripe knows nothing of: it was deleted there, or was another account's.
pub(super) async fn forget(app: &App, tenant_id: Uuid, customer_id: &str) -> Result<(), DbErr> {
    let text = "update subscriptions set stripe_customer_id = null where tenant_id = $1 and stripe_customer_id = $2";
    let tx = app.db.begin().await?;
    tx.execute_raw(sql(&tx, text, [tenant_id.into(), customer_id.into()])).await?;
    tracing::warn!(feature = "stripe", %tenant_id, customer = customer_id, "Stripe has no such customer any more; the tenant becomes a new one");
    tx.commit().await
}

async fn known(db: &impl ConnectionTrait, tenant_id: Uuid) -> Result<Option<Known>, DbErr> {
    let query = "select t.name, t.billing_email, s.stripe_customer_id from tenants t \
                 join subscriptions s on s.tenant_id = t.id where t.id = $1";
    Known::find_by_statement(sql(db, query, [tenant_id.into()])).one(db).await
}

/// Keeps an id where there is none, or the one that is gone.
async fn keep(tx: &Tx, now: &Now, tenant_id: Uuid, customer_id: &str, gone: Option<&str>) -> Result<(), DbErr> {
    let text = "update subscriptions set stripe_customer_id = $2, updated_at = $3 \
                where tenant_id = $1 and (stripe_customer_id is null or stripe_customer_id = $4)";
    let values = [tenant_id.into(), customer_id.into(), now.at.into(), gone.into()];
    tx.execute_raw(sql(tx, text, values)).await.map(drop)
}
