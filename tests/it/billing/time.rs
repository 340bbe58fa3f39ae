//! What happens by itself as time goes by.

use chrono::TimeDelta;
use serde_json::json;

use super::{register, round, subjects, text};
use crate::support::{Product, healthy};

on_both! {
    async fn a_trial_is_told_three_days_and_one_day_before_its_end_and_at_its_end_once_each(database: Database) {
        let product = Product::start(database).await;
        let member = register(&product, "Acme", json!({"billing_email": "books@example.com"})).await;
        // A clock that jumps while a step runs leaves a lease that is long over.
        product.provisioned(&member.token, &member.tenant).await;
        let ends = text(&member.state(&product).await["subscription"]["trial_ends_at"]).parse::<chrono::DateTime<chrono::Utc>>().unwrap();
        let soon = format!("The trial of Acme ends on {}", ends.format("%-d %B %Y"));
        let mut told = Vec::new();
        for (hours, letters) in [(10 * 24, 0), (24, 1), (24, 1), (24, 2), (12, 2), (13, 3), (24, 3), (24 * 30, 3)] {
            product.app.clock.advance(TimeDelta::hours(hours));
            for _ in 0..2 {
                round(&product).await;
            }
            told = subjects(&product, "books@example.com").await;
            assert_eq!(told.len(), letters, "{told:?}");
        }
        assert_eq!(told, [soon.as_str(), soon.as_str(), "The trial of Acme has ended"]);
        healthy(&product).await;
    }
}

on_both! {
    async fn who_sleeps_through_the_trial_hears_that_it_has_ended_alone(database: Database) {
        let product = Product::start(database).await;
        register(&product, "Acme", json!({"billing_email": "books@example.com"})).await;
        product.app.clock.advance(TimeDelta::days(15));
        round(&product).await;
        assert_eq!(subjects(&product, "books@example.com").await, ["The trial of Acme has ended"]);
    }
}

on_both! {
    async fn each_month_brings_its_credits_once_and_a_lapsed_trial_none(database: Database) {
        let product = Product::start(database).await;
        for (name, form) in [("Free", json!({"plan_slug": "free"})), ("Trial", json!({}))] {
            let member = register(&product, name, form).await;
            product.provisioned(&member.token, &member.tenant).await;
        }
        let balance = async |plan: &str| {
            let query = format!("select c.balance as n from credit_balances c join subscriptions s on s.tenant_id = c.tenant_id join plans p on p.id = s.plan_id where p.slug = '{plan}'");
            product.database.count(&query).await
        };
        for month in 1..=3 {
            product.app.clock.advance(TimeDelta::days(31));
            for _ in 0..3 {
                round(&product).await;
            }
            assert_eq!((balance("free").await, balance("pro").await), (1_000 * (month + 1), 50_000));
        }
        // A server that was off for months grants each of them.
        product.app.clock.advance(TimeDelta::days(93));
        round(&product).await;
        assert_eq!(balance("free").await, 7_000);
        healthy(&product).await;
    }
}

on_both! {
    async fn replicas_that_do_the_round_at_once_do_it_once(database: Database) {
        let product = Product::start(database).await;
        for (name, form) in [("Free", json!({"plan_slug": "free"})), ("Trial", json!({"billing_email": "books@example.com"}))] {
            let member = register(&product, name, form).await;
            product.provisioned(&member.token, &member.tenant).await;
        }
        product.app.clock.advance(TimeDelta::days(32));
        let rounds = (0..8).map(|_| tenantry::billing::jobs::round(&product.app));
        for done in futures_util::future::join_all(rounds).await {
            done.expect("a round");
        }
        assert_eq!(product.database.count("select count(*) as n from credit_transactions where idempotency_key <> 'signup'").await, 1);
        assert_eq!(subjects(&product, "books@example.com").await.len(), 0, "that was told too late to be of use");
        healthy(&product).await;
    }
}
