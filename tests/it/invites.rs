//! Coming into a tenant by invite: through register and through a provider. Invites are made by the team's own verb here, as its API
//! comes later.

use serde_json::{Value, json};
use tenantry::{
    db::Batch,
    identity::email::Email,
    team::{self, NewInvite},
    tenants::Role,
};

use crate::support::{Product, Provider, Settings, healthy, tally};

const REGISTER: &str = "/api/v1/auth/register";

/// Invites an address; the link's secret.
pub async fn invite(product: &Product, tenant: &str, email: &str) -> String {
    use secrecy::ExposeSecret;
    let (email, now) = (Email::parse(email).unwrap(), product.app.clock.now());
    let tx = product.app.db.begin().await.unwrap();
    let mut batch = Batch::default();
    let new = NewInvite { tenant_id: tenant.parse().unwrap(), email: &email, role: Role::Member, invited_by: None };
    let token = team::invite(&mut batch, &now, &new);
    batch.send(&tx).await.unwrap();
    tx.commit().await.unwrap();
    token.expose_secret().to_owned()
}

pub fn form(email: &str, token: &str) -> Value {
    let password = "correct-horse-battery";
    json!({"email": email, "password": password, "password_confirm": password, "name": "Bob", "invite_token": token})
}

on_both! {
    async fn an_invite_lets_its_own_address_in_once(database: Database) {
        let product = Product::start(database).await;
        let acme = product.settle("Acme", "starter").await;
        let token = invite(&product, &acme.tenant, "bob@example.com").await;
        product.post(REGISTER, &form("eve@example.com", &token)).await.expect_problem(403, "INVITE_EMAIL_MISMATCH");
        product.post(REGISTER, &form("bob@example.com", "nonsense")).await.expect_problem(404, "NOT_FOUND");
        let mut weak = form("bob@example.com", &token);
        weak["password"] = json!("short");
        let refused = product.post(REGISTER, &weak).await.expect_problem(422, "VALIDATION_FAILED");
        assert_eq!(crate::support::fields(&refused), [("password", "TOO_SHORT"), ("password_confirm", "PASSWORDS_DIFFER")]);

        let joined = product.post(REGISTER, &form("Bob@Example.com", &token)).await.expect(201);
        assert_eq!((&joined["tenant"]["slug"], &joined["subscription"]["plan"]), (&json!("acme"), &json!("starter")));
        assert!(joined["user"]["email_verified_at"].is_string(), "the link went to that address");
        let access = joined["access_token"].as_str().unwrap();
        let me = product.get_as(access, "/api/v1/auth/me").await.expect(200);
        assert_eq!((&me["memberships"][0]["role"], &me["user"]["name"]), (&json!("member"), &json!("Bob")));
        product.post(REGISTER, &form("bob@example.com", &token)).await.expect_problem(410, "INVITE_ACCEPTED");
        healthy(&product).await;
    }
}

on_both! {
    async fn an_invite_ends_by_time_or_by_being_taken_back(database: Database) {
        let product = Product::start(database).await;
        let acme = product.settle("Acme", "starter").await;
        let late = invite(&product, &acme.tenant, "late@example.com").await;
        let revoked = invite(&product, &acme.tenant, "revoked@example.com").await;
        product.database.execute("update invites set revoked_at = created_at where email = 'revoked@example.com'").await;
        product.post(REGISTER, &form("revoked@example.com", &revoked)).await.expect_problem(410, "INVITE_REVOKED");
        product.advance(7 * 24 * 60 * 60).await;
        product.post(REGISTER, &form("late@example.com", &late)).await.expect_problem(410, "INVITE_EXPIRED");
        assert_eq!(product.database.count("select count(*) as n from users").await, 1);
    }
}

on_both! {
    async fn invites_work_where_the_doors_are_closed(database: Database) {
        let product = Product::start(database).await;
        let acme = product.settle("Acme", "starter").await;
        let token = invite(&product, &acme.tenant, "bob@example.com").await;
        product.set_signups(false).await;
        product.post(REGISTER, &form("bob@example.com", &token)).await.expect(201);
        healthy(&product).await;
    }
}

on_both! {
    async fn of_sixty_four_for_the_last_seat_one_comes_in(database: Database) {
        let product = Product::start(database).await;
        // Starter has three seats, of which the owner has one and Bob another.
        let acme = product.settle("Acme", "starter").await;
        product.post(REGISTER, &form("bob@example.com", &invite(&product, &acme.tenant, "bob@example.com").await)).await.expect(201);
        let mut forms = Vec::new();
        for n in 0..64 {
            let email = format!("guest-{n}@example.com");
            forms.push(form(&email, &invite(&product, &acme.tenant, &email).await));
        }
        let answers = futures_util::future::join_all(forms.iter().map(|form| product.post(REGISTER, form))).await;
        assert_eq!(tally(&answers), [(201, String::new(), 1), (409, "SEAT_LIMIT_REACHED".into(), 63)]);
        assert_eq!(product.database.count("select count(*) as n from users").await, 3, "nobody is left half made");
        assert_eq!(product.database.count("select count(*) as n from memberships").await, 3);
        assert_eq!(product.database.count("select count(*) as n from invites where accepted_at is null").await, 63);
        // A seat that becomes free goes to one of those who were too late.
        product.database.execute("delete from memberships where role = 'member' and user_id in (select id from users where email = 'bob@example.com')").await;
        let answers = futures_util::future::join_all(forms.iter().map(|form| product.post(REGISTER, form))).await;
        assert_eq!(answers.iter().filter(|answer| answer.status == 201).count(), 1);
        assert_eq!(product.database.count("select count(*) as n from memberships").await, 3);
    }
}

on_both! {
    async fn a_repeat_under_one_key_joins_once(database: Database) {
        let product = Product::start(database).await;
        let acme = product.settle("Acme", "starter").await;
        let body = form("bob@example.com", &invite(&product, &acme.tenant, "bob@example.com").await);
        let send = || product.call(reqwest::Method::POST, REGISTER, None, Some(&body), &[("idempotency-key", "k")]);
        let (first, again) = (send().await.expect(201), send().await);
        assert_eq!(again.headers["idempotent-replayed"], "true");
        assert_eq!(again.expect(201), first);
    }
}

on_both! {
    async fn a_provider_brings_the_invited_in(database: Database) {
        let idp = Provider::start();
        let settings = idp.configure(Settings::default(), "microsoft");
        let product = Product::start_with(database, settings).await;
        let acme = product.settle("Acme", "starter").await;
        let token = invite(&product, &acme.tenant, "bob@example.com").await;
        let person = |email: &str| json!({"claims": {"sub": "s", "tid": "t", "oid": "bob", "email": email, "name": "Bob"}});
        let journey = async || {
            let mut browser = crate::oauth::Traveller::new(&product);
            browser.journey(&idp, "microsoft", &format!("?invite_token={token}")).await
        };
        idp.next(person("eve@example.com")).await;
        journey().await.expect_problem(403, "INVITE_EMAIL_MISMATCH");
        idp.next(person("bob@example.com")).await;
        let tokens = journey().await.expect(200);
        let me = product.get_as(tokens["access_token"].as_str().unwrap(), "/api/v1/auth/me").await.expect(200);
        assert_eq!((&me["tenant"]["slug"], &me["memberships"][0]["role"]), (&json!("acme"), &json!("member")));
        assert!(me["user"]["email_verified_at"].is_string(), "the invite proved what Microsoft does not");
        // Whoever is a member already, and comes with another invite, is told so.
        let second = invite(&product, &acme.tenant, "bob@example.com").await;
        let mut browser = crate::oauth::Traveller::new(&product);
        let again = browser.journey(&idp, "microsoft", &format!("?invite_token={second}")).await;
        again.expect_problem(409, "ALREADY_MEMBER");
        healthy(&product).await;
    }
}
