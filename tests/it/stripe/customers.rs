//! A customer that is gone at Stripe is no dead end here.

use serde_json::{Value, json};

use super::{CHECKOUT, Tenant, buy, deliver, model::Stripe, on_pro, register, start, start_idle, synced, text};
use crate::support::{Product, eventually, healthy};

const CUSTOMERS: &str = "POST /v1/customers";

async fn checkout(product: &Product, tenant: &Tenant) -> Value {
    product.post_as(&tenant.token, CHECKOUT, &json!({"plan_slug": "pro"})).await.expect(201)
}

fn customer_of(stripe: &Stripe, id: &Value) -> String {
    text(&stripe.world().objects[&text(id)]["customer"])
}

on_both! {
    async fn one_that_was_deleted_is_made_anew_at_the_next_checkout(database: Database) {
        let (product, stripe) = start_idle(database).await;
        for (name, is_known) in [("Acme", true), ("Pear", false)] {
            let tenant = register(&product, name).await;
            let first = checkout(&product, &tenant).await;
            let gone = customer_of(&stripe, &first["id"]);
            stripe.happen(|world| {
                world.delete_customer(&gone, is_known);
                world.set(&text(&first["id"]), &json!({"status": "expired"}));
            });
            let made = stripe.calls(CUSTOMERS).len();
            // Eight tabs at once become one customer.
            let body = json!({"plan_slug": "pro"});
            let answers = futures_util::future::join_all((0..8).map(|_| product.post_as(&tenant.token, CHECKOUT, &body))).await;
            let second = answers[0].body["id"].clone();
            assert!(answers.iter().all(|answer| answer.status == 201 && answer.body["id"] == second), "{answers:?}");
            let anew = customer_of(&stripe, &second);
            assert_ne!(anew, gone);
            assert!(stripe.calls(CUSTOMERS).len() > made);
            let kept = format!("select count(*) as n from subscriptions where stripe_customer_id = '{anew}'");
            assert_eq!(product.database.count(&kept).await, 1);
            stripe.pay(&text(&second));
            synced(&product, &tenant).await;
        }
        let living = stripe.all("customer").into_iter().filter(|customer| customer["deleted"] != true).count();
        assert_eq!(living, 2);
        assert_eq!(product.database.count("select count(*) as n from subscriptions where status = 'active'").await, 2);
        healthy(&product).await;
    }
}

on_both! {
    async fn what_a_deleted_customer_paid_for_ends_and_can_be_bought_again(database: Database) {
        let (product, stripe) = start(database).await;
        let (acme, subscription) = on_pro(&product, &stripe, "Acme").await;
        let gone = customer_of(&stripe, &json!(subscription));
        stripe.take_events();
        stripe.happen(|world| world.delete_customer(&gone, true));
        for event in stripe.take_events() {
            deliver(&product, &event).await.expect(200);
        }
        let ended = "select count(*) as n from stripe_events e, subscriptions s where e.status = 'processed' and s.status = 'canceled'";
        eventually("it has ended", async || product.database.count(ended).await == 1).await;
        product.post_as(&acme.token, "/api/v1/billing/portal-session", &json!({})).await.expect_problem(409, "NO_STRIPE_SUBSCRIPTION");
        stripe.happen(|world| world.now += 60);
        let again = buy(&product, &stripe, &acme, "pro", "month").await;
        assert_ne!(customer_of(&stripe, &json!(again)), gone);
        synced(&product, &acme).await;
        let active = format!("select count(*) as n from subscriptions where status = 'active' and stripe_subscription_id = '{again}'");
        assert_eq!(product.database.count(&active).await, 1);
        product.post_as(&acme.token, "/api/v1/billing/portal-session", &json!({})).await.expect(201);
        healthy(&product).await;
    }
}
