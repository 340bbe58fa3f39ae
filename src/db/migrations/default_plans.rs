//! The plans a new installation starts with. From then on plans are data: the operator changes them.

use chrono::{DateTime, Utc};
use sea_orm::{
    ConnectionTrait, DbErr,
    sea_query::{Alias, Expr, Query},
};
use sea_orm_migration::{MigrationName, MigrationTrait, SchemaManager, async_trait};
use serde_json::{Value, json};
use uuid::Uuid;

pub(super) struct DefaultPlans;

impl MigrationName for DefaultPlans {
    fn name(&self) -> &'static str {
        "0002_default_plans"
    }
}

struct Plan {
    slug: &'static str,
    name: &'static str,
    description: &'static str,
    price: i64,
    credits: i64,
    trial_days: i64,
    /// users, sites, sectors per site; 0 is unlimited
    limits: [i64; 3],
    contact_sales: bool,
    steps: &'static [&'static str],
    pro: bool,
}

const FREE: &[&str] = &["seed_defaults", "configure_routing", "send_magic_link"];
const STARTER: &[&str] = &["seed_defaults", "configure_routing", "validate_webhook", "send_magic_link"];
const PRO: &[&str] =
    &["seed_defaults", "configure_routing", "deploy_automations", "deploy_apps_script", "send_magic_link"];

#[rustfmt::skip]
const PLANS: [Plan; 6] = [
    Plan { slug: "free", name: "Free", description: "For trying things out", price: 0, credits: 1_000, trial_days: 0, limits: [1, 1, 1], contact_sales: false, steps: FREE, pro: false },
    Plan { slug: "starter", name: "Starter", description: "For small teams with one webhook", price: 2_900, credits: 5_000, trial_days: 14, limits: [3, 3, 5], contact_sales: false, steps: STARTER, pro: false },
    Plan { slug: "growth", name: "Growth", description: "For teams that outgrew Starter", price: 7_900, credits: 20_000, trial_days: 14, limits: [10, 10, 10], contact_sales: false, steps: STARTER, pro: false },
    Plan { slug: "pro", name: "Pro", description: "Automations deployed for you", price: 14_900, credits: 50_000, trial_days: 14, limits: [25, 25, 0], contact_sales: false, steps: PRO, pro: true },
    Plan { slug: "scale", name: "Scale", description: "Pro for many sites", price: 39_900, credits: 200_000, trial_days: 14, limits: [100, 100, 0], contact_sales: false, steps: PRO, pro: true },
    Plan { slug: "enterprise", name: "Enterprise", description: "Made to measure; talk to us", price: 0, credits: 0, trial_days: 0, limits: [0, 0, 0], contact_sales: true, steps: PRO, pro: true },
];

/// name, what it does, default, on in Pro and above
const FLAGS: [(&str, &str, bool, bool); 3] = [
    ("signup_enabled", "The kill switch: off closes every public sign-up door", true, false),
    ("automations", "Outbound automations and webhook endpoints", false, true),
    ("apps_script", "Apps Script deployed for the tenant", false, true),
];

#[async_trait::async_trait]
impl MigrationTrait for DefaultPlans {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let db = manager.get_connection();
        let at = DateTime::<Utc>::UNIX_EPOCH;
        for (name, description, enabled, _) in FLAGS {
            insert(
                db,
                "feature_flags",
                [
                    ("name", name.into()),
                    ("description", description.into()),
                    ("enabled", enabled.into()),
                    ("updated_at", at.into()),
                ],
            )
            .await?;
        }
        for (position, plan) in (1_u8..).zip(PLANS) {
            // Fixed, so that every installation has the same ids: UUIDv8 of our own making (RFC 9562, 5.8).
            let id = uuid::Builder::from_custom_bytes([0x7e, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, position])
                .into_uuid();
            plan_rows(db, &plan, id, i64::from(position), at).await?;
        }
        Ok(())
    }

    /// Plans go while no tenant is on one.
    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let db = manager.get_connection();
        super::refuse_with_rows(db, "tenants").await?;
        for table in ["plan_feature_defaults", "plan_billing", "plan_limits", "plans", "feature_flags"] {
            db.execute(Query::delete().from_table(Alias::new(table))).await?;
        }
        Ok(())
    }

    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }
}

async fn plan_rows(
    db: &impl ConnectionTrait,
    plan: &Plan,
    id: Uuid,
    position: i64,
    at: DateTime<Utc>,
) -> Result<(), DbErr> {
    insert(
        db,
        "plans",
        [
            ("id", id.into()),
            ("slug", plan.slug.into()),
            ("name", plan.name.into()),
            ("description", plan.description.into()),
            ("price_amount", plan.price.into()),
            ("price_currency", "USD".into()),
            ("price_interval", "month".into()),
            ("included_credits", plan.credits.into()),
            ("trial_days", plan.trial_days.into()),
            ("is_public", true.into()),
            ("contact_sales", plan.contact_sales.into()),
            ("blueprint", blueprint(plan).into()),
            ("position", position.into()),
            ("created_at", at.into()),
            ("updated_at", at.into()),
        ],
    )
    .await?;
    for (name, value) in ["max_users", "max_sites", "max_sectors_per_site"].into_iter().zip(plan.limits) {
        insert(db, "plan_limits", [("plan_id", id.into()), ("name", name.into()), ("value", value.into())]).await?;
    }
    for (flag, ..) in FLAGS.iter().filter(|(.., in_pro)| *in_pro) {
        insert(
            db,
            "plan_feature_defaults",
            [("plan_id", id.into()), ("flag", (*flag).into()), ("enabled", plan.pro.into())],
        )
        .await?;
    }
    insert(db, "plan_billing", [("plan_id", id.into())]).await
}

fn blueprint(plan: &Plan) -> Value {
    let automations = [
        ("Welcome new members", "member.joined"),
        ("Announce fixtures", "fixture.created"),
        ("Announce results", "fixture.finished"),
    ];
    let automations = automations.map(|(name, event_type)| json!({"name": name, "event_type": event_type}));
    json!({"steps": plan.steps, "automations": if plan.pro { automations.to_vec() } else { vec![] }})
}

async fn insert<const N: usize>(
    db: &impl ConnectionTrait,
    table: &str,
    row: [(&'static str, Expr); N],
) -> Result<(), DbErr> {
    let (columns, values): (Vec<_>, Vec<_>) =
        row.into_iter().map(|(column, value)| (Alias::new(column), value)).unzip();
    let insert = Query::insert().into_table(Alias::new(table)).columns(columns).values_panic(values).to_owned();
    db.execute(&insert).await.map(drop)
}
