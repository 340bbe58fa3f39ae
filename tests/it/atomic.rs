//! Sign-up is atomic (S3, S4, S10): the database refuses each of its writes in turn, and nothing is left.
//!
//! The refusals are the database's own, raised by triggers; only a commit that is never sent needs a failpoint.

use chrono::Datelike;
use serde_json::{Value, json};
use tenantry::{
    audit,
    billing::Payment,
    identity::{email::Email, oauth::Person},
    serve::Roles,
    signup::{self, NewTenant, Owner, look_up, provision_tenant},
    tenants::{Door, slugs::Slug},
};
use tracing::Level;

use crate::oauth::Traveller;
use crate::support::{
    Answer, Database, Kind, Logged, Logs, Product, Provider, Settings, WRITTEN_BY_SIGNUP, grown, healthy, signup_body,
};

const START: &str = "/public/signup/start";
const SERVER_ALONE: Roles = Roles { http: true, worker: false };
/// What must never get to a client.
const INTERNAL: &str = "the disk of db-7 is full";

/// Makes the database refuse every row of `table`.
async fn refuse(database: &Database, table: &str) {
    let trigger = match database.kind {
        Kind::Sqlite => {
            format!("create trigger refusal before insert on {table} begin select raise(abort, '{INTERNAL}'); end")
        }
        // PostgreSQL names the table by itself where a constraint is violated.
        Kind::Postgres => format!(
            "create function refuse() returns trigger language plpgsql as \
             $$ begin raise exception '{INTERNAL}' using table = tg_table_name; end $$; \
             create trigger refusal before insert on {table} for each row execute function refuse()"
        ),
    };
    database.execute(&trigger).await;
}

/// Makes the database refuse to commit a transaction that writes users.
async fn refuse_commits(database: &Database) {
    let trigger = match database.kind {
        Kind::Sqlite => "create table parent (id integer primary key); \
             create table child (parent integer references parent (id) deferrable initially deferred); \
             create trigger refusal after insert on users begin insert into child values (7); end"
            .to_owned(),
        Kind::Postgres => format!(
            "create function refuse() returns trigger language plpgsql as \
             $$ begin raise exception '{INTERNAL}'; end $$; \
             create constraint trigger refusal after insert on users deferrable initially deferred \
             for each row execute function refuse()"
        ),
    };
    database.execute(&trigger).await;
}

/// Takes the refusal back.
async fn relent(database: &Database) {
    database
        .execute(match database.kind {
            Kind::Sqlite => "drop trigger refusal",
            Kind::Postgres => "drop function refuse() cascade",
        })
        .await;
}

async fn start(product: &Product, body: &Value) -> Answer {
    let key = body["tenant_name"].as_str().expect("a name");
    product.call(reqwest::Method::POST, START, None, Some(body), &[("Idempotency-Key", key)]).await
}

/// Holds an answer to telling nothing but that it failed.
fn assert_tells_nothing(answer: Answer) {
    let text = answer.text.clone();
    let problem = answer.expect_problem(422, "TENANT_PROVISIONING_ERROR");
    assert_eq!(problem["detail"], "Failed to complete signup. Please try again.");
    let members: Vec<_> = problem.as_object().expect("an object").keys().map(String::as_str).collect();
    for member in members {
        let known = ["type", "title", "status", "detail", "code", "instance", "request_id"];
        assert!(known.contains(&member), "{member} in {text}");
    }
    for internal in ["disk", "refus", "trigger", "insert", "constraint", "FOREIGN", "injected", "commit"] {
        assert!(!text.contains(internal), "{internal} in {text}");
    }
}

/// Holds the log to one ERROR that says it all.
fn assert_logged_once(logged: &[Logged], part: &str, cause: &str, body: &Value) {
    let errors: Vec<_> = logged.iter().filter(|event| event.level == Level::ERROR).collect();
    let [error] = errors[..] else { panic!("not one error about {part}: {errors:#?}") };
    assert_eq!(error.get("message"), "Tenant provisioning failed - signup aborted, no partial tenant created");
    assert_eq!(error.get("event"), "tenant_provisioning_failed");
    assert_eq!(error.get("email"), body["email"].as_str().expect("an address"));
    assert_eq!(error.get("slug"), body["slug"].as_str().expect("a slug"));
    assert_eq!(error.get("failed_part"), part);
    assert!(error.get("cause").contains(cause), "{error:?}");
}

fn body(name: &str) -> Value {
    let mut body = signup_body(name, "starter");
    body["slug"] = json!(name.to_lowercase().replace(['_', ' '], "-"));
    body
}

/// After a refusal: nothing is left, and the same request succeeds once the database relents.
async fn assert_nothing_left_and_again(
    product: &Product,
    body: &Value,
    before: &std::collections::BTreeMap<String, i64>,
) {
    let database = &product.database;
    assert_eq!(grown(before, &database.census().await), [].into());
    relent(database).await;
    start(product, body).await.expect(201);
    let grown = grown(before, &database.census().await);
    for table in WRITTEN_BY_SIGNUP {
        assert!(grown.get(table).is_some_and(|n| *n > 0), "{table} has nothing new: {grown:?}");
    }
}

on_both! {
    async fn each_write_is_refused_in_turn(database: Database) {
        let logs = Logs::catch();
        let product = Product::start_as(database, Settings::default(), SERVER_ALONE).await;
        for table in WRITTEN_BY_SIGNUP {
            let body = body(&format!("Acme {table}"));
            let before = product.database.census().await;
            refuse(&product.database, table).await;
            logs.take();
            assert_tells_nothing(start(&product, &body).await);
            assert_logged_once(&logs.take(), table, INTERNAL, &body);
            assert_nothing_left_and_again(&product, &body, &before).await;
        }
    }
}

on_both! {
    async fn the_commit_is_refused(database: Database) {
        let logs = Logs::catch();
        let product = Product::start_as(database, Settings::default(), SERVER_ALONE).await;
        let body = body("Acme");
        refuse_commits(&product.database).await;
        let before = product.database.census().await;
        logs.take();
        assert_tells_nothing(start(&product, &body).await);
        let cause = match product.database.kind {
            Kind::Sqlite => "FOREIGN KEY constraint failed",
            Kind::Postgres => INTERNAL,
        };
        assert_logged_once(&logs.take(), "commit", cause, &body);
        assert_nothing_left_and_again(&product, &body, &before).await;
    }
}

on_both! {
    async fn the_commit_is_never_sent(database: Database) {
        let logs = Logs::catch();
        let product = Product::start_as(database, Settings::default(), SERVER_ALONE).await;
        let body = body("Acme");
        let before = product.database.census().await;
        fail::cfg("commit::before", "return").expect("built with the feature failpoints");
        assert_tells_nothing(start(&product, &body).await);
        assert_logged_once(&logs.take(), "commit", "injected failure at commit::before", &body);
        assert_eq!(grown(&before, &product.database.census().await), [].into());
        fail::remove("commit::before");
        start(&product, &body).await.expect(201);
    }
}

/// What other doors write besides: paying by bank transfer, logging the person in, and knowing them by a provider.
const WRITTEN_BY_OTHER_DOORS: [&str; 7] = [
    "invoice_counters",
    "payment_methods",
    "invoices",
    "invoice_lines",
    "sessions",
    "refresh_tokens",
    "oauth_identities",
];

/// A tenant with all that the register door and a provider make of one.
async fn registered(product: &Product, name: &str) -> NewTenant {
    let slug = Slug::parse(&name.to_lowercase().replace(['_', ' '], "-")).expect("a slug");
    let email = Email::parse(&format!("{slug}@example.com")).expect("an address");
    let person = Person {
        provider: "google".into(),
        subject: "ada-1".into(),
        email: Some(email.clone()),
        email_is_proved: false,
        name: None,
    };
    let found = look_up(product.app.db.read(), "pro", email.as_str(), &slug).await.expect("looks up");
    NewTenant {
        door: Door::Register,
        name: name.to_owned(),
        slug,
        owner: Owner {
            email,
            name: None,
            password_hash: None,
            email_verified: false,
            role_at_signup: None,
            person: Some(person),
        },
        plan: found.plan.expect("the plan"),
        payment: Payment::BankTransfer { address: Some(json!({"city": "Vienna"})) },
        billing_email: None,
        session: Some((Some("Firefox".into()), Some("192.0.2.7".into()))),
        actor: audit::Actor::System,
        request_id: None,
    }
}

on_both! {
    async fn what_other_doors_write_is_refused_in_turn(database: Database) {
        let product = Product::start_as(database, Settings::default(), SERVER_ALONE).await;
        let app = &product.app;
        let before = product.database.census().await;
        for table in WRITTEN_BY_OTHER_DOORS {
            refuse(&product.database, table).await;
            let now = app.clock.now();
            let new = registered(&product, "Acme").await;
            let tx = app.db.begin().await.expect("begins");
            match provision_tenant(&tx, &now, &signup::start::means(app), new).await {
                Err(signup::Error::Failed { part, .. }) => assert_eq!(part, table),
                Err(other) => panic!("{table}: {other:?}"),
                Ok(_) => panic!("{table} was not written"),
            }
            drop(tx);
            relent(&product.database).await;
            assert_eq!(grown(&before, &product.database.census().await), [].into(), "{table}");
        }
        let now = app.clock.now();
        let abandoned = app.db.begin().await.expect("begins");
        let new = registered(&product, "Acme").await;
        provision_tenant(&abandoned, &now, &signup::start::means(app), new).await.expect("the tenant");
        drop(abandoned);
        assert_eq!(grown(&before, &product.database.census().await), [].into());

        let tx = app.db.begin().await.expect("begins");
        let new = registered(&product, "Acme").await;
        provision_tenant(&tx, &now, &signup::start::means(app), new).await.expect("the tenant");
        tx.commit().await.expect("commits");
        let grown = grown(&before, &product.database.census().await);
        for table in WRITTEN_BY_OTHER_DOORS {
            assert!(grown.contains_key(table), "{table} has nothing new: {grown:?}");
        }
        // Numbers have no gaps: those that were drawn in vain went back.
        let first = format!("INV-{}-000001", now.at.year());
        let numbered = format!("select count(*) as n from invoices where number = '{first}'");
        assert_eq!(product.database.count(&numbered).await, 1);
    }
}

/// Comes by a provider as somebody new.
async fn come_by(idp: &Provider, product: &Product, name: &str) -> Answer {
    let email = format!("{name}@example.com");
    idp.next(
        json!({"claims": {"sub": name, "email": email, "email_verified": true, "name": format!("Person of {name}")}}),
    )
    .await;
    Traveller::new(product).journey(idp, "google", "").await
}

on_both! {
    async fn each_write_of_the_way_in_by_a_provider_is_refused_in_turn(database: Database) {
        let idp = Provider::start();
        let product = Product::start_as(database, idp.settings("google"), SERVER_ALONE).await;
        let before = product.database.census().await;
        come_by(&idp, &product, "first").await.expect(200);
        let mut written = grown(&before, &product.database.census().await);
        // That somebody set out is written before they come back.
        written.remove("oauth_flows");
        assert!(written.len() >= 14 && written.contains_key("oauth_identities"), "{written:?}");
        for table in written.keys() {
            let mut before = product.database.census().await;
            refuse(&product.database, table).await;
            assert_tells_nothing(come_by(&idp, &product, table).await);
            let mut after = product.database.census().await;
            for census in [&mut before, &mut after] {
                census.remove("oauth_flows");
            }
            assert_eq!(grown(&before, &after), [].into(), "{table}");
            relent(&product.database).await;
            come_by(&idp, &product, table).await.expect(200);
        }
        healthy(&product).await;
    }
}

on_both! {
    async fn refusals_that_are_expected_are_no_errors(database: Database) {
        let logs = Logs::catch();
        let product = Product::start_as(database, Settings::default(), SERVER_ALONE).await;
        product.post(START, &body("Acme")).await.expect(201);
        let another = |field: &str, value: Value| {
            let mut another = body("Other");
            another[field] = value;
            another
        };
        let mut stranger = body("Acme");
        stranger["password"] = json!("somebody-else-entirely");
        let refused = [
            (stranger, 409, "EMAIL_TAKEN"),
            (another("slug", json!("acme")), 409, "SLUG_TAKEN"),
            (another("email", json!("nobody")), 422, "VALIDATION_FAILED"),
            (another("plan", json!("diamond")), 422, "VALIDATION_FAILED"),
            (another("plan", json!("enterprise")), 422, "PLAN_NOT_SELF_SERVE"),
        ];
        let before = product.database.census().await;
        for (body, status, code) in &refused {
            assert_refused_quietly(&product, &logs, body, *status, code).await;
        }
        product.database.execute("update feature_flags set enabled = false where name = 'signup_enabled'").await;
        assert_refused_quietly(&product, &logs, &body("Other"), 503, "SIGNUPS_DISABLED").await;
        assert_eq!(grown(&before, &product.database.census().await), [].into());
    }
}

async fn assert_refused_quietly(product: &Product, logs: &Logs, body: &Value, status: u16, code: &str) {
    logs.take();
    start(product, body).await.expect_problem(status, code);
    let logged = logs.take();
    assert!(logged.iter().all(|event| event.level >= Level::INFO), "{code}: {logged:#?}");
    let told = logged.iter().filter(|event| event.get("message") == "Sign-up refused").count();
    assert_eq!(told, 1, "{code}: {logged:#?}");
}
