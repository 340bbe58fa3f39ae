//! Random lives of customers, whose events come permuted, several times, late, and with deaths in between: here they end as an oracle
//! says that is fed in order.

use std::{collections::BTreeMap, time::Duration};

use chrono::{DateTime, Months, Utc};
use futures_util::{StreamExt, stream};
use sea_orm::{ConnectionTrait, DatabaseConnection, FromQueryResult, Statement};
use serde_json::{Value, json};
use tenantry::{billing::stripe::inbox, outbox::Outcome};
use tokio::time::timeout;

use super::{Chance, deliver, life::read_price, model::Stripe, register, start_idle};
use crate::{
    process::soak_rounds,
    support::{Database, Product},
};

/// So many lives in all, on each database, split over four tests.
const LIVES: usize = 200;
const SPLIT: usize = 4;

/// Events that are processed at the same time.
const AT_ONCE: usize = 3;

fn lives() -> usize {
    soak_rounds().map_or(LIVES, |rounds| rounds * 50) / SPLIT
}

/// What a tenant has, here and by the oracle.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct State {
    subscription: String,
    status: String,
    plan: String,
    interval: String,
    period_start: i64,
    period_end: i64,
    ends_with_period: bool,
    canceled_at: Option<i64>,
    past_due_since: Option<i64>,
    /// By their ids at Stripe.
    invoices: BTreeMap<String, String>,
    /// Granted after the sign-up.
    credits: i64,
    grants: usize,
    card: String,
}

fn credits(plan: &str) -> i64 {
    match plan {
        "starter" => 5_000,
        "growth" => 20_000,
        "pro" => 50_000,
        _ => 200_000,
    }
}

/// The credits of what is left of the month that a second falls into, where the months are counted back from an end.
fn part_of_month(credits: i64, second: i64, end: i64) -> i64 {
    let end = DateTime::from_timestamp_secs(end).unwrap();
    let of = |months: u32| (end - Months::new(months)).timestamp();
    let month = (0..=12).find(|month| of(month + 1) <= second).unwrap();
    credits * (of(month) - second) / (of(month) - of(month + 1))
}

/// Hears of each event once, in order, and believes what it says.
#[derive(Default)]
struct Oracle {
    state: State,
    open: BTreeMap<String, i64>,
}

impl Oracle {
    fn hear(&mut self, event: &Value, cards: &BTreeMap<String, String>) {
        let object = &event["data"]["object"];
        let id = object["id"].as_str().unwrap().to_owned();
        match object["object"].as_str().unwrap() {
            "subscription" => self.subscription(id, object, cards),
            "invoice" => self.invoice(id, object),
            _ => {}
        }
        let since = self.open.values().min().copied();
        self.state.past_due_since = since.filter(|_| self.state.status == "past_due");
    }

    fn subscription(&mut self, id: String, object: &Value, cards: &BTreeMap<String, String>) {
        let item = &object["items"]["data"][0];
        let (interval, plan, _) = read_price(item["price"]["id"].as_str().unwrap());
        let end = item["current_period_end"].as_i64().unwrap();
        let state = &mut self.state;
        state.subscription = id;
        object["status"].as_str().unwrap().clone_into(&mut state.status);
        plan.clone_into(&mut state.plan);
        interval.clone_into(&mut state.interval);
        state.period_start = item["current_period_start"].as_i64().unwrap();
        state.period_end = object["ended_at"].as_i64().map_or(end, |ended| end.min(ended));
        state.ends_with_period = object["cancel_at_period_end"] == true && state.status != "canceled";
        state.canceled_at = object["canceled_at"].as_i64();
        cards[object["default_payment_method"].as_str().unwrap()].clone_into(&mut state.card);
    }

    fn invoice(&mut self, id: String, object: &Value) {
        let status = object["status"].as_str().unwrap();
        if status == "open" {
            self.open.insert(id.clone(), object["status_transitions"]["finalized_at"].as_i64().unwrap());
        } else {
            self.open.remove(&id);
        }
        let before = self.state.invoices.insert(id, status.to_owned());
        if status != "paid" || before.as_deref() == Some("paid") {
            return;
        }
        let mut parts = 0;
        for line in object["lines"]["data"].as_array().unwrap() {
            let (_, plan, _) = read_price(line["pricing"]["price_details"]["price"].as_str().unwrap());
            if line["parent"]["subscription_item_details"]["proration"] == true {
                let [from, to] = ["start", "end"].map(|end| line["period"][end].as_i64().unwrap());
                parts += part_of_month(credits(plan), from, to) * line["amount"].as_i64().unwrap().signum();
            } else {
                self.state.credits += credits(plan);
                self.state.grants += 1;
            }
        }
        self.state.credits += parts;
        self.state.grants += usize::from(parts != 0);
    }
}

/// What comes next in a life. Answers the subscription that it goes on with.
fn happen(stripe: &Stripe, chance: &Chance, customer: &str, subscription: Option<String>) -> Option<String> {
    let plans = ["starter", "growth", "pro", "scale"];
    let price = format!("price_{}_{}", ["m", "m", "y"][chance.below(3)], plans[chance.below(4)]);
    let mut world = stripe.world();
    // No two things of one customer fall into one second, or on one day where they are periods.
    world.now += 86_400;
    let Some(id) = subscription else {
        let card = world.new_card(customer);
        return Some(world.subscribe(customer, &price, &card, &json!({})));
    };
    if world.objects[&id]["status"] == "past_due" {
        match chance.below(10) {
            0..=4 => world.settle(&id),
            5..=7 => {
                world.give_up(&id);
                return None;
            }
            _ => world.change_card(&id),
        }
        return Some(id);
    }
    let is_ending = world.objects[&id]["cancel_at_period_end"] == true;
    match chance.below(10) {
        0..=4 => {
            world.renew(&id, chance.is(65));
            return (!is_ending).then_some(id);
        }
        5 | 6 => world.change(&id, &price),
        7 => world.schedule_end(&id, !is_ending),
        8 => world.change_card(&id),
        _ => {
            world.end(&id);
            return None;
        }
    }
    Some(id)
}

#[derive(FromQueryResult)]
struct Queued {
    kind: String,
    payload: Vec<u8>,
}

/// Takes the events that wait in the outbox. Letters go with them: nobody works here, and thousands would make each look a long one.
async fn queued(connection: &DatabaseConnection) -> Vec<Vec<u8>> {
    let queued = all::<Queued>(connection, "delete from outbox returning kind, payload").await;
    queued.into_iter().filter(|row| row.kind == "stripe_event").map(|row| row.payload).collect()
}

async fn all<T: FromQueryResult>(connection: &DatabaseConnection, query: &str) -> Vec<T> {
    let statement = Statement::from_string(connection.get_database_backend(), query);
    T::find_by_statement(statement).all(connection).await.expect(query)
}

/// Processes some of what waits, several at once; some of it dies on the way. What is done may come again, and what died does.
async fn process(product: &Product, chance: &Chance, waiting: &mut Vec<Vec<u8>>, all: bool) {
    chance.shuffle(waiting);
    let now = if all { waiting.len() } else { chance.below(waiting.len() + 1) };
    let mut left = waiting.split_off(now);
    let mut tries = Vec::new();
    for payload in waiting.drain(..) {
        let dies = !all && chance.is(40);
        let life = if dies { Duration::from_micros(200 + chance.below(8_000) as u64) } else { Duration::from_secs(30) };
        let repeats = !all && chance.is(10);
        tries.push(async move {
            let ended = timeout(life, inbox::process(&product.app, &payload)).await;
            (repeats || !matches!(ended, Ok(Outcome::Done))).then_some(payload)
        });
    }
    let ended: Vec<_> = stream::iter(tries).buffer_unordered(AT_ONCE).collect().await;
    left.extend(ended.into_iter().flatten());
    *waiting = left;
}

async fn live(product: &Product, stripe: &Stripe, connection: &DatabaseConnection, seed: usize) {
    let chance = Chance::seeded(seed as u64);
    register(product, &format!("seed-{seed}")).await;
    let customer = format!("cus_seed_{seed}");
    let link = format!(
        "update subscriptions set stripe_customer_id = '{customer}' where tenant_id = (select id from tenants where slug = 'seed-{seed}')"
    );
    connection.execute_unprepared(&link).await.expect("links");
    let mut oracle = Oracle::default();
    let (mut subscription, mut late, mut waiting) = (None, Vec::new(), Vec::new());
    for _ in 0..2 + chance.below(6) {
        subscription = happen(stripe, &chance, &customer, subscription);
        let events = stripe.take_events();
        let cards = cards(stripe);
        for event in &events {
            oracle.hear(event, &cards);
        }
        late.extend(events);
        chance.shuffle(&mut late);
        // Some come at once, some come twice, some come later.
        let come = late.split_off(chance.below(late.len() + 1));
        for event in &come {
            deliver(product, event).await.expect(200);
            if chance.is(15) {
                assert_eq!(deliver(product, event).await.expect(200)["status"], "replayed");
            }
        }
        waiting.extend(queued(connection).await);
        process(product, &chance, &mut waiting, false).await;
    }
    for event in &late {
        deliver(product, event).await.expect(200);
    }
    waiting.extend(queued(connection).await);
    while !waiting.is_empty() {
        process(product, &chance, &mut waiting, true).await;
    }
    assert_eq!(state(connection, seed).await, oracle.state, "seed {seed}");
}

fn cards(stripe: &Stripe) -> BTreeMap<String, String> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    stripe.all("payment_method").iter().map(|card| (text(&card["id"]), text(&card["card"]["last4"]))).collect()
}

#[derive(FromQueryResult)]
struct Row {
    stripe_subscription_id: Option<String>,
    status: String,
    plan: String,
    billing_interval: String,
    current_period_start: DateTime<Utc>,
    current_period_end: Option<DateTime<Utc>>,
    cancel_at_period_end: bool,
    canceled_at: Option<DateTime<Utc>>,
    past_due_since: Option<DateTime<Utc>>,
    last4: Option<String>,
}

#[derive(FromQueryResult)]
struct Named {
    name: String,
    value: String,
}

#[derive(FromQueryResult)]
struct Granted {
    amount: i64,
}

async fn state(connection: &DatabaseConnection, seed: usize) -> State {
    let of = format!("(select id from tenants where slug = 'seed-{seed}')");
    let row = format!(
        "select s.stripe_subscription_id, s.status, p.slug as plan, s.billing_interval, s.current_period_start, s.current_period_end, \
         s.cancel_at_period_end, s.canceled_at, s.past_due_since, m.last4 from subscriptions s join plans p on p.id = s.plan_id \
         left join payment_methods m on m.tenant_id = s.tenant_id and m.is_default where s.tenant_id = {of}"
    );
    let row = all::<Row>(connection, &row).await.pop().expect("a subscription");
    let invoices = format!(
        "select external_id as name, status as value from invoices where issuer = 'stripe' and tenant_id = {of}"
    );
    let invoices: Vec<Named> = all(connection, &invoices).await;
    let grants =
        format!("select amount from credit_transactions where idempotency_key <> 'signup' and tenant_id = {of}");
    let grants: Vec<Granted> = all(connection, &grants).await;
    let differing = format!(
        "select balance as amount from credit_balances b where b.tenant_id = {of} and b.balance <> \
        (select sum(amount) from credit_transactions t where t.tenant_id = b.tenant_id)"
    );
    assert!(all::<Granted>(connection, &differing).await.is_empty(), "balance and ledger agree");
    State {
        subscription: row.stripe_subscription_id.unwrap_or_default(),
        status: row.status,
        plan: row.plan,
        interval: row.billing_interval,
        period_start: row.current_period_start.timestamp(),
        period_end: row.current_period_end.map_or(0, |end| end.timestamp()),
        ends_with_period: row.cancel_at_period_end,
        canceled_at: row.canceled_at.map(|at| at.timestamp()),
        past_due_since: row.past_due_since.map(|at| at.timestamp()),
        invoices: invoices.into_iter().map(|row| (row.name, row.value)).collect(),
        credits: grants.iter().map(|grant| grant.amount).sum(),
        grants: grants.len(),
        card: row.last4.unwrap_or_default(),
    }
}

/// One part of the lives.
async fn part(database: Database, part: usize) {
    let (product, stripe) = start_idle(database).await;
    let connection = product.database.open().await;
    for seed in part * lives()..(part + 1) * lives() {
        live(&product, &stripe, &connection, seed).await;
        // Nobody asks for them any more.
        stripe.world().objects.clear();
    }
}

on_both! {
    async fn soak_of_lives_that_end_as_the_oracle_says_1(database: Database) {
        part(database, 0).await;
    }
}

on_both! {
    async fn soak_of_lives_that_end_as_the_oracle_says_2(database: Database) {
        part(database, 1).await;
    }
}

on_both! {
    async fn soak_of_lives_that_end_as_the_oracle_says_3(database: Database) {
        part(database, 2).await;
    }
}

on_both! {
    async fn soak_of_lives_that_end_as_the_oracle_says_4(database: Database) {
        part(database, 3).await;
    }
}
