//! Orders against invoices: what they take the place of, what they carry over, and that there is one at a time.

use chrono::{DateTime, Months, Utc};
use futures_util::future::join_all;
use serde_json::{Value, json};

use super::{CHANGE, Member, days, on_growth, order, pay, register, round, subjects, text};
use crate::support::{Product, healthy};

const ALL: &str = "select count(*) as n from invoices";
const OPEN: &str = "select count(*) as n from invoices where status = 'open'";

async fn invoice(product: &Product, member: &Member, id: &Value) -> Value {
    product.get_as(&member.token, &format!("/api/v1/billing/invoices/{}", text(id))).await.expect(200)
}

/// The one that was written last.
async fn newest(product: &Product, member: &Member) -> Value {
    product.get_as(&member.token, "/api/v1/billing/invoices?limit=1").await.expect(200)["data"][0].clone()
}

/// The subscription: what it is on, and from when to when.
async fn stands(product: &Product, member: &Member) -> (String, String, DateTime<Utc>, DateTime<Utc>) {
    let state = member.state(product).await["subscription"].clone();
    let time = |name: &str| text(&state[name]).parse().expect("a time");
    assert_eq!(state["status"], "active");
    (text(&state["plan"]), text(&state["interval"]), time("current_period_start"), time("current_period_end"))
}

on_both! {
    async fn an_order_takes_over_the_period_that_is_not_paid_yet(database: Database) {
        let product = Product::start(database).await;
        let mut member = on_growth(&product, "Acme").await;
        days(&product, &mut member, 32).await;
        let mut before = newest(&product, &member).await;
        assert_eq!((&before["status"], &before["total"]["amount"]), (&json!("open"), &json!(7_900)));
        // However often one changes one's mind, the time to pay does not become longer.
        for (plan, interval, amount) in [("pro", "month", 14_900), ("growth", "year", 79_000), ("pro", "month", 14_900)] {
            product.app.clock.advance(chrono::TimeDelta::minutes(1));
            let ordered = order(&product, &member, plan, interval).await;
            let taken = invoice(&product, &member, &ordered).await;
            assert_eq!((&taken["period_start"], &taken["due_at"]), (&before["period_start"], &before["due_at"]));
            assert_eq!((&taken["status"], &taken["total"]["amount"]), (&json!("open"), &json!(amount)));
            assert_eq!(invoice(&product, &member, &before["id"]).await["status"], "void");
            assert_eq!(product.database.count(OPEN).await, 1);
            before = taken;
        }
        pay(&product, &before["id"]).await;
        let (plan, interval, start, end) = stands(&product, &member).await;
        assert_eq!((plan.as_str(), interval.as_str()), ("pro", "month"));
        assert_eq!((json!(start), json!(end)), (before["period_start"].clone(), before["period_end"].clone()));
        assert_eq!(member.state(&product).await["credits"]["balance"], 70_000);
        round(&product).await;
        assert_eq!(product.database.count(OPEN).await, 0);
        healthy(&product).await;
    }
}

on_both! {
    async fn of_sixteen_orders_at_once_one_is_open(database: Database) {
        let product = Product::start(database).await;
        let mut member = on_growth(&product, "Acme").await;
        let wanted = ["starter", "pro", "scale", "growth"];
        let bodies: Vec<_> = (0..16).map(|n| {
            let interval = if n % 4 == 3 || n % 8 == 0 { "year" } else { "month" };
            json!({"plan_slug": wanted[n % 4], "interval": interval, "payment_method": "bank_transfer"})
        }).collect();
        let at_once = async |member: &Member| {
            for answer in join_all(bodies.iter().map(|body| product.post_as(&member.token, CHANGE, body))).await {
                let ordered = text(&answer.expect(200)["invoice_id"]);
                let known = product.get_as(&member.token, &format!("/api/v1/billing/invoices/{ordered}")).await.expect(200);
                assert!(["open", "void"].contains(&known["status"].as_str().unwrap()), "{known}");
            }
            assert_eq!(product.database.count(OPEN).await, 1);
        };
        at_once(&member).await;
        // And while the next period begins.
        product.app.clock.advance(chrono::TimeDelta::days(32));
        member.returns(&product).await;
        tokio::join!(at_once(&member), round(&product), round(&product));
        round(&product).await;
        assert_eq!(product.database.count(OPEN).await, 1);
        let of_the_period = "select count(*) as n from invoices i join subscriptions s on s.tenant_id = i.tenant_id and s.current_period_start = i.period_start \
                             where i.status = 'open'";
        assert_eq!(product.database.count(of_the_period).await, 1);
        healthy(&product).await;
    }
}

on_both! {
    async fn a_year_that_is_ordered_while_a_month_runs_is_longer_by_what_is_left_of_it(database: Database) {
        let product = Product::start(database).await;
        let mut member = on_growth(&product, "Acme").await;
        let (.., month_start, month_end) = stands(&product, &member).await;
        days(&product, &mut member, 10).await;
        let ordered = order(&product, &member, "growth", "year").await;
        assert_eq!(stands(&product, &member).await.1, "month", "nothing changes before it is paid");
        pay(&product, &ordered).await;
        let (plan, interval, start, end) = stands(&product, &member).await;
        assert_eq!((plan.as_str(), interval.as_str()), ("growth", "year"));
        let year = (start + Months::new(12) - start).num_seconds();
        let (left, month) = ((month_end - start).num_seconds(), (month_end - month_start).num_seconds());
        assert!(left > 17 * 86_400, "{left}");
        let carried = left * 7_900 * (year / 1_000) / (month * 79_000 / 1_000);
        let more = (end - start).num_seconds() - year;
        assert!((more - carried).abs() < 60, "{more} and not {carried}");
        let paid = invoice(&product, &member, &ordered).await;
        assert_eq!((&paid["period_start"], &paid["period_end"]), (&json!(start), &json!(end)));
        // What is left of the year is carried on as well, and to and fro brings no time.
        days(&product, &mut member, 1).await;
        let back = order(&product, &member, "growth", "month").await;
        pay(&product, &back).await;
        let (_, interval, back_start, back_end) = stands(&product, &member).await;
        let month = (back_start + Months::new(1) - back_start).num_seconds();
        let worth = (end - back_start).num_seconds() * 79_000 / year * month / 7_900;
        let got = (back_end - back_start).num_seconds() - month;
        assert_eq!(interval, "month");
        assert!((got - worth).abs() < 3_600, "{got} and not {worth}");
        healthy(&product).await;
    }
}

on_both! {
    async fn a_payment_that_comes_when_its_period_is_over_buys_as_much_from_then_on(database: Database) {
        let product = Product::start(database).await;
        let mut member = on_growth(&product, "Acme").await;
        days(&product, &mut member, 32).await;
        let late = newest(&product, &member).await;
        for _ in 0..6 {
            days(&product, &mut member, 15).await;
        }
        assert_eq!(product.database.count(ALL).await, 2, "who does not pay is not charged on and on");
        assert_eq!(member.state(&product).await["subscription"]["status"], "past_due");
        let before = product.app.clock.now().at;
        pay(&product, &late["id"]).await;
        let (_, _, start, end) = stands(&product, &member).await;
        assert!(start >= before && start <= product.app.clock.now().at, "{start}");
        assert_eq!(end, start + Months::new(1));
        assert_eq!(member.state(&product).await["credits"]["balance"], 40_000, "two months were paid");
        days(&product, &mut member, 25).await;
        assert_eq!(product.database.count(OPEN).await, 0);
        days(&product, &mut member, 7).await;
        assert_eq!(json!(end), newest(&product, &member).await["period_start"], "the next one follows it");
        healthy(&product).await;
    }
}

on_both! {
    async fn what_nobody_has_looked_after_is_not_charged(database: Database) {
        let product = Product::start(database).await;
        let mut member = on_growth(&product, "Acme").await;
        let before = product.app.clock.now().at;
        days(&product, &mut member, 100).await;
        assert_eq!((product.database.count(ALL).await, product.database.count(OPEN).await), (2, 1));
        let next = newest(&product, &member).await;
        let start: DateTime<Utc> = text(&next["period_start"]).parse().unwrap();
        assert!(start >= before + chrono::TimeDelta::days(100), "{start}");
        pay(&product, &next["id"]).await;
        assert_eq!(member.state(&product).await["credits"]["balance"], 40_000);
        assert_eq!(stands(&product, &member).await.2, start);
        healthy(&product).await;
    }
}

on_both! {
    async fn what_is_ordered_already_is_the_same_invoice_while_it_costs_the_same(database: Database) {
        let product = Product::start(database).await;
        let member = register(&product, "Acme", json!({"plan_slug": "free"})).await;
        let first = order(&product, &member, "pro", "year").await;
        for again in join_all((0..8).map(|_| order(&product, &member, "pro", "year"))).await {
            assert_eq!(again, first);
        }
        let letters = async || subjects(&product, &member.email).await.iter().filter(|subject| subject.starts_with("Invoice ")).count();
        assert_eq!((product.database.count(ALL).await, letters().await), (1, 1));
        product.database.execute("update plans set yearly_amount = 150000 where slug = 'pro'").await;
        let dearer = order(&product, &member, "pro", "year").await;
        assert_ne!(dearer, first);
        assert_eq!(invoice(&product, &member, &dearer).await["total"]["amount"], 150_000);
        assert_eq!((product.database.count(ALL).await, product.database.count(OPEN).await), (2, 1));
        pay(&product, &dearer).await;
        let body = json!({"plan_slug": "pro", "interval": "year", "payment_method": "bank_transfer"});
        product.post_as(&member.token, CHANGE, &body).await.expect_problem(409, "PLAN_UNCHANGED");
        healthy(&product).await;
    }
}

on_both! {
    async fn time_that_was_carried_on_once_is_not_carried_on_again(database: Database) {
        let product = Product::start(database).await;
        let mut member = register(&product, "Acme", json!({"plan_slug": "free"})).await;
        product.provisioned(&member.token, &member.tenant).await;
        let year = order(&product, &member, "growth", "year").await;
        pay(&product, &year).await;
        days(&product, &mut member, 1).await;
        let scale = order(&product, &member, "scale", "month").await;
        pay(&product, &scale).await;
        let (.., start, end) = stands(&product, &member).await;
        assert!(end > start + Months::new(2), "the year of Growth went into it");
        // That is over long before the year of Growth would have been, and goes on without being paid.
        days(&product, &mut member, (end - start).num_days() + 1).await;
        assert_eq!(product.database.count(OPEN).await, 1);
        product.post_as(&member.token, CHANGE, &json!({"plan_slug": "free"})).await.expect(200);
        let starter = order(&product, &member, "starter", "month").await;
        pay(&product, &starter).await;
        let (plan, _, start, end) = stands(&product, &member).await;
        assert_eq!((plan.as_str(), end), ("starter", start + Months::new(1)));
        healthy(&product).await;
    }
}

on_both! {
    async fn who_orders_while_the_operator_marks_paid_has_one_of_both(database: Database) {
        let product = Product::start(database).await;
        for n in 0..4 {
            let member = register(&product, &format!("Acme{n}"), json!({"plan_slug": "free"})).await;
            let first = order(&product, &member, "growth", "month").await;
            let path = format!("/invoices/{}/mark-paid", text(&first));
            let (empty, scale) = (json!({}), json!({"plan_slug": "scale", "payment_method": "bank_transfer"}));
            let (paid, ordered) = tokio::join!(product.admin_post(&path, &empty), product.post_as(&member.token, CHANGE, &scale));
            let ordered = ordered.expect(200)["invoice_id"].clone();
            assert_eq!(invoice(&product, &member, &ordered).await["status"], "open");
            let plan = member.state(&product).await["effective_plan"].clone();
            match paid.status.as_u16() {
                200 => assert_eq!((&invoice(&product, &member, &first).await["status"], &plan), (&json!("paid"), &json!("growth"))),
                409 => assert_eq!((&invoice(&product, &member, &first).await["status"], &plan), (&json!("void"), &json!("free"))),
                other => panic!("{other}: {}", paid.text),
            }
        }
        assert_eq!(product.database.count(OPEN).await, 4);
        healthy(&product).await;
    }
}
