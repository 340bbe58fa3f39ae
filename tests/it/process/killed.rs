//! kill -9 under load, again and again: what was acknowledged is there, what was begun can be ended, and doctor reads all zero.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use reqwest::Method;
use serde_json::{Value, json};
use tenantry::clock::Clock;
use tokio::{sync::Notify, task::JoinSet};

use super::{
    server::{Server, assert_doctor_reads_zero},
    soak_rounds,
};
use crate::support::{Answer, Database, Settings, signup_body};

const CLIENTS: usize = 8;
/// Kills in the suite.
const SHORT: usize = 5;
/// At most so many answers between two kills.
const ANSWERS: f64 = 40.0;

fn settings() -> Settings {
    Settings::default()
        // A run whose worker was killed is soon due again, and never given up for having been killed often.
        .with("TENANTRY_PROVISION__LEASE", "1s")
        .with("TENANTRY_PROVISION__MAX_ATTEMPTS", "1000")
}

/// One person at the wizard, and how far they have come by what they were told.
#[derive(Clone, Debug)]
struct Visitor {
    name: String,
    started: Option<Value>,
    branded: bool,
    ended: Option<Value>,
}

impl Visitor {
    fn new(name: String) -> Self {
        Self { name, started: None, branded: false, ended: None }
    }

    /// Goes on from where they are, to the end or until the server is gone. Every request carries the same key at every try.
    async fn go_on(&mut self, server: &Server, answers: &Answers) -> Option<()> {
        if self.started.is_none() {
            let answer = server.start_signup(&self.name, &signup_body(&self.name, "starter")).await;
            self.started = Some(answers.count(answer)?.expect(201));
        }
        let started = self.started.clone().expect("a start");
        if !self.branded {
            let brand = json!({"primary_color": "#1d4ed8"});
            self.step(server, &started, "brand", &brand, answers).await?.expect(200);
            self.branded = true;
        }
        if self.ended.is_none() {
            let make = json!({"webhook_url": "https://hook.eu1.make.com/x"});
            self.ended = Some(self.step(server, &started, "starter/make", &make, answers).await?.expect(202));
        }
        Some(())
    }

    async fn step(
        &self,
        server: &Server,
        started: &Value,
        step: &str,
        body: &Value,
        answers: &Answers,
    ) -> Option<Answer> {
        let token = started["token"].as_str().expect("a token");
        let key = format!("{step} {}", self.name);
        let path = format!("/public/signup/{step}");
        answers.count(server.call(Method::POST, &path, Some(token), Some((&key, body))).await)
    }

    /// Waits for the end of the run, and holds the tenant to being all there.
    async fn assert_provisioned(&self, server: &Server) {
        let started = self.started.as_ref().expect("a start");
        let (token, tenant) =
            (started["token"].as_str().expect("a token"), started["tenant"]["id"].as_str().expect("an id"));
        let get = async |path: String| server.call(Method::GET, &path, Some(token), None).await.expect("an answer");
        get(format!("/api/v1/tenants/{tenant}/provision-events")).await;
        let status = get(format!("/api/v1/tenants/{tenant}/provision-status")).await.expect(200);
        assert_eq!(status["status"], "complete", "{}: {status}", self.name);
        assert_eq!(status["run_id"], self.ended.as_ref().expect("an end")["provision"]["run_id"], "{}", self.name);
        let slug = started["tenant"]["slug"].as_str().expect("a slug");
        let front = get(format!("/public/storefronts/{slug}")).await.expect(200);
        assert_eq!(front["segments"][0]["packages"].as_array().map(Vec::len), Some(3), "{}: {front}", self.name);
    }
}

/// Counts the answers, and tells when it is time to kill.
struct Answers {
    left: AtomicUsize,
    /// Those that were the answer to an earlier request.
    replayed: AtomicUsize,
    enough: Notify,
}

impl Answers {
    fn until(left: usize) -> Self {
        Self { left: AtomicUsize::new(left), replayed: AtomicUsize::new(0), enough: Notify::new() }
    }

    fn count(&self, answer: Option<Answer>) -> Option<Answer> {
        let answer = answer?;
        if answer.headers.contains_key("idempotent-replayed") {
            self.replayed.fetch_add(1, Ordering::Relaxed);
        }
        if self.left.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.enough.notify_one();
        }
        Some(answer)
    }
}

/// People sign up until the server is killed. Returns all of them.
async fn sign_up_until_killed(server: Server, round: usize, answers: usize) -> Vec<Visitor> {
    let (server, answers) = (Arc::new(server), Arc::new(Answers::until(answers)));
    let mut clients = JoinSet::new();
    for client in 0..CLIENTS {
        let (server, answers) = (server.clone(), answers.clone());
        clients.spawn(async move {
            let mut seen = Vec::new();
            for n in 0.. {
                let mut visitor = Visitor::new(format!("R{round} C{client} N{n}"));
                let went_on = visitor.go_on(&server, &answers).await;
                seen.push(visitor);
                if went_on.is_none() {
                    break;
                }
            }
            seen
        });
    }
    answers.enough.notified().await;
    server.send_kill();
    let visitors = clients.join_all().await.concat();
    let server = Arc::into_inner(server).expect("all clients have ended");
    server.wait().await;
    visitors
}

on_both! {
    async fn again_and_again(database: Database) {
        let (kills, chance) = (soak_rounds().unwrap_or(SHORT), Clock::seeded(9));
        let mut visitors = Vec::new();
        for round in 0..kills {
            let server = Server::start(&database, &settings(), &[]).await;
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a small positive number")]
            let answers = 1 + (chance.now().fraction() * ANSWERS) as usize;
            visitors.extend(sign_up_until_killed(server, round, answers).await);
        }
        let acknowledged = visitors.iter().filter(|visitor| visitor.started.is_some()).count();
        let cut_off = visitors.iter().filter(|visitor| visitor.ended.is_none()).count();
        assert!(acknowledged > 0 && cut_off > 0, "{acknowledged} acknowledged, {cut_off} cut off");

        let server = Server::start(&database, &settings(), &[]).await;
        let never = Answers::until(usize::MAX);
        for visitor in &mut visitors {
            visitor.go_on(&server, &never).await.expect("answers");
            visitor.assert_provisioned(&server).await;
        }
        let ids: BTreeSet<_> = visitors.iter().map(|visitor| visitor.started.as_ref().unwrap()["tenant"]["id"].to_string()).collect();
        assert_eq!(ids.len(), visitors.len());
        assert_each_is_there_once(&database, visitors.len()).await;
        let taken_over = database.count("select count(*) as n from provision_runs where fence > 1").await;
        server.kill().await;
        assert_doctor_reads_zero(&database, &settings());
        let replayed = never.replayed.load(Ordering::Relaxed);
        println!(
            "{kills} kills: {} sign-ups, {acknowledged} acknowledged; {cut_off} cut off, of which {replayed} requests had been \
             committed; {taken_over} runs taken over",
            visitors.len()
        );
    }
}

/// Nothing was lost, and nothing was done twice.
async fn assert_each_is_there_once(database: &Database, visitors: usize) {
    let visitors = i64::try_from(visitors).expect("few");
    for (each, rows) in [
        (1, "tenants"),
        (1, "users"),
        (1, "memberships"),
        (1, "subscriptions"),
        (3, "packages"),
        (1, "posts"),
        (1, "provision_runs where status = 'complete'"),
        (1, "audit_events where action = 'tenant.created'"),
        (1, "audit_events where action = 'tenant.provisioned'"),
        (1, "one_time_tokens where purpose = 'verify_email'"),
        (1, "one_time_tokens where purpose = 'magic_link'"),
        (2, "outbox where kind = 'mail'"),
    ] {
        assert_eq!(database.count(&format!("select count(*) as n from {rows}")).await, each * visitors, "{rows}");
    }
}
