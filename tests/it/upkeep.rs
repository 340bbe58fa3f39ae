//! What identity does by itself: replacing the key that signs, and forgetting what is over.

use chrono::TimeDelta;
use futures_util::future::join_all;
use serde_json::{Value, json};
use tenantry::{
    identity::{jobs, keys},
    serve::Roles,
};

use crate::support::{Product, Settings, eventually, text};

const AUTH: &str = "/api/v1/auth";
const HTTP: Roles = Roles { http: true, worker: false };
const ROTATED: &str = "select count(*) as n from audit_events where action = 'keys.rotated' and actor_type = 'system'";

async fn register(product: &Product, name: &str) -> Value {
    let email = format!("{}@example.com", name.to_lowercase());
    let password = "correct-horse-battery";
    let form = json!({"email": email, "password": password, "password_confirm": password, "account_name": name});
    product.post(&format!("{AUTH}/register"), &form).await.expect(201)
}

async fn refresh(product: &Product, tokens: &Value) -> Value {
    product.post(&format!("{AUTH}/refresh"), &json!({"refresh_token": tokens["refresh_token"]})).await.expect(200)
}

async fn published(product: &Product) -> usize {
    product.get("/.well-known/jwks.json").await.expect(200)["keys"].as_array().expect("keys").len()
}

on_both! {
    async fn a_key_is_replaced_when_it_is_old_and_nobody_is_logged_out(database: Database) {
        let product = Product::start_as(database, Settings::default(), HTTP).await;
        let kid = |tokens: &Value| jsonwebtoken::decode_header(text(&tokens["access_token"])).unwrap().kid.unwrap();
        let mut tokens = register(&product, "Ada").await;
        for _ in 0..5 {
            product.app.clock.advance(TimeDelta::days(17));
            tokens = refresh(&product, &tokens).await;
        }
        assert_eq!(jobs::rotate_keys(&product.app).await.unwrap(), None, "85 days");
        product.app.clock.advance(TimeDelta::days(5));
        tokens = refresh(&product, &tokens).await;
        assert_eq!(jobs::rotate_keys(&product.app).await.unwrap().as_deref(), Some("2"));
        assert_eq!(jobs::rotate_keys(&product.app).await.unwrap(), None);
        assert_eq!((published(&product).await, product.database.count(ROTATED).await), (2, 1));

        let me = format!("{AUTH}/me");
        product.get_as(&text(&tokens["access_token"]), &me).await.expect(200);
        product.app.clock.advance(keys::PUBLISHED_BEFORE - TimeDelta::minutes(1));
        let before = refresh(&product, &tokens).await;
        product.app.clock.advance(TimeDelta::minutes(1));
        let after = refresh(&product, &before).await;
        assert_eq!((kid(&before).as_str(), kid(&after).as_str()), ("1", "2"));
        for tokens in [before, after] {
            product.get_as(&text(&tokens["access_token"]), &me).await.expect(200);
        }
    }
}

on_both! {
    async fn of_eight_who_replace_a_key_at_once_one_does(database: Database) {
        let product = Product::start_as(database, Settings::default(), HTTP).await;
        product.app.clock.advance(TimeDelta::days(90));
        let rotated = join_all((0..8).map(|_| jobs::rotate_keys(&product.app))).await;
        let rotated: Vec<_> = rotated.into_iter().filter_map(|kid| kid.unwrap()).collect();
        assert_eq!(rotated, ["2"]);
        assert_eq!(product.database.count(ROTATED).await, 1);
        assert_eq!(product.database.count("select count(*) as n from signing_keys where expires_at is null").await, 1);
    }
}

on_both! {
    async fn the_job_notices_that_the_clock_was_moved(database: Database) {
        let product = Product::start(database).await;
        product.advance(90 * 24 * 60 * 60).await;
        eventually("the key is replaced", async || product.database.count(ROTATED).await == 1).await;
        eventually("and published", async || published(&product).await == 2).await;
    }
}

on_both! {
    async fn where_keys_are_for_ever_none_is_replaced(database: Database) {
        let settings = Settings::default().with("TENANTRY_KEYS__ROTATE_AFTER", "0s");
        let product = Product::start_as(database, settings, HTTP).await;
        product.app.clock.advance(TimeDelta::days(3650));
        assert_eq!(jobs::rotate_keys(&product.app).await.unwrap(), None);
    }
}

on_both! {
    async fn what_is_over_is_forgotten_in_its_time(database: Database) {
        let settings = Settings::default().with("TENANTRY_RATE_LIMIT__ENABLED", "true");
        let product = Product::start_as(database, settings, HTTP).await;
        let tokens = register(&product, "Ada").await;
        let (email, path) = ("ada@example.com", format!("{AUTH}/login"));
        let other = product.post(&path, &json!({"email": email, "password": "correct-horse-battery"})).await.expect(200);
        product.post(&format!("{AUTH}/logout"), &json!({"refresh_token": other["refresh_token"]})).await.expect(204);
        product.post(&path, &json!({"email": email, "password": "wrong"})).await.expect(401);
        let flow = "insert into oauth_flows (state_hash, payload, expires_at, created_at) \
                    select token_hash, token_hash, expires_at, created_at from one_time_tokens";
        product.database.execute(flow).await;

        // Attempts, flows, refresh tokens, sessions.
        let left = async |days: i64, hours: i64| {
            product.app.clock.advance(TimeDelta::days(days) + TimeDelta::hours(hours));
            jobs::forget(&product.app).await.unwrap();
            let mut left = Vec::new();
            for table in ["attempts", "oauth_flows", "refresh_tokens", "sessions"] {
                left.push(product.database.count(&format!("select count(*) as n from {table}")).await);
            }
            left
        };
        assert_eq!(left(0, 0).await, [2, 1, 2, 2]);
        assert_eq!(left(0, 1).await, [0, 1, 2, 2], "an hour of quiet");
        assert_eq!(left(1, 0).await, [0, 0, 2, 2]);
        assert_eq!(left(58, 0).await, [0, 0, 2, 2]);
        let renewed = json!({"refresh_token": tokens["refresh_token"]});
        product.post(&format!("{AUTH}/refresh"), &renewed).await.expect_problem(401, "TOKEN_EXPIRED");
        assert_eq!(left(1, 0).await, [0, 0, 0, 2], "a month after their end");
        assert_eq!(left(30, 0).await, [0, 0, 0, 1], "90 days after log-out");
        assert_eq!(left(29, 0).await, [0, 0, 0, 1]);
        assert_eq!(left(1, 0).await, [0, 0, 0, 0], "90 days after its end");
    }
}
