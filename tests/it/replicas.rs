//! Two servers on one database: what one of them changes holds at the other from the next request on.

use sea_orm::ConnectionTrait;
use serde_json::{Value, json};

use crate::invites;
use crate::support::{Answer, Product, text};

const AUTH: &str = "/api/v1/auth";
const PASSWORD: &str = "correct-horse-battery";
const OTHER: &str = "another-horse-battery";

fn email(name: &str) -> String {
    format!("{}@example.com", name.to_lowercase())
}

/// Registers at one server; the tokens are good at the other.
async fn register(here: &Product, there: &Product, name: &str) -> Value {
    let form = json!({"email": email(name), "password": PASSWORD, "password_confirm": PASSWORD, "account_name": name});
    let tokens = here.post(&format!("{AUTH}/register"), &form).await.expect(201);
    me(there, &tokens).await.expect(200);
    tokens
}

async fn log_in(product: &Product, name: &str, password: &str) -> Answer {
    product.post(&format!("{AUTH}/login"), &json!({"email": email(name), "password": password})).await
}

async fn me(product: &Product, tokens: &Value) -> Answer {
    product.get_as(&text(&tokens["access_token"]), &format!("{AUTH}/me")).await
}

async fn refresh(product: &Product, tokens: &Value) -> Answer {
    product.post(&format!("{AUTH}/refresh"), &json!({"refresh_token": tokens["refresh_token"]})).await
}

/// Holds tokens to opening nothing, and to leading to no others.
async fn are_over(product: &Product, tokens: &Value) {
    me(product, tokens).await.expect_problem(401, "UNAUTHENTICATED");
    refresh(product, tokens).await.expect_problem(401, "TOKEN_INVALID");
}

/// Has a server write what the calls of teams and operators will: they come later.
async fn write(product: &Product, statement: &str, name: &str) {
    let of_user = format!("= (select id from users where email = '{}')", email(name));
    let tx = product.app.db.begin().await.expect("begins");
    tx.execute_unprepared(&statement.replace("of user", &of_user)).await.expect("writes");
    tx.commit().await.expect("commits");
}

on_both! {
    async fn what_one_changes_holds_at_the_other_from_the_next_request_on(database: Database) {
        let here = Product::start(database.shared()).await;
        let there = Product::start(database).await;

        let removed = register(&here, &there, "Removed").await;
        write(&here, "delete from memberships where user_id of user", "Removed").await;
        are_over(&there, &removed).await;

        let disabled = register(&here, &there, "Disabled").await;
        write(&here, "update users set disabled_at = created_at where id of user", "Disabled").await;
        are_over(&there, &disabled).await;
        log_in(&there, "Disabled", PASSWORD).await.expect_problem(401, "INVALID_CREDENTIALS");

        let revoked = register(&here, &there, "Revoked").await;
        let kept = log_in(&there, "Revoked", PASSWORD).await.expect(200);
        here.post_as(&text(&kept["access_token"]), &format!("{AUTH}/sessions/end-others"), &json!({})).await.expect(204);
        are_over(&there, &revoked).await;
        me(&there, &kept).await.expect(200);

        let reset = register(&here, &there, "Reset").await;
        here.post(&format!("{AUTH}/password/forgot"), &json!({"email": email("Reset")})).await.expect(202);
        let body = json!({"token": here.secret(&email("Reset"), "/reset-password").await, "password": OTHER});
        here.post(&format!("{AUTH}/password/reset"), &body).await.expect(200);
        are_over(&there, &reset).await;
        log_in(&there, "Reset", PASSWORD).await.expect_problem(401, "INVALID_CREDENTIALS");
        log_in(&there, "Reset", OTHER).await.expect(200);

        let tenant = text(&register(&here, &there, "Owner").await["tenant"]["id"]);
        let invited = invites::invite(&here, &tenant, &email("Moved")).await;
        let moved = here.post(&format!("{AUTH}/register"), &invites::form(&email("Moved"), &invited)).await.expect(201);
        let (token, retry, nothing) = (text(&moved["access_token"]), format!("/api/v1/tenants/{tenant}/provision-retry"), json!({}));
        for (role, status, code) in [("admin", 409, "PROVISION_NOT_FAILED"), ("viewer", 403, "FORBIDDEN")] {
            write(&here, &format!("update memberships set role = '{role}' where user_id of user"), "Moved").await;
            there.post_as(&token, &retry, &nothing).await.expect_problem(status, code);
            assert_eq!(me(&there, &moved).await.expect(200)["memberships"][0]["role"], role);
        }
        refresh(&there, &moved).await.expect(200);
        here.stop().await;
    }
}
