//! A second subscription that cannot be paid back.

use chrono::TimeDelta;
use tenantry::billing::stripe::reconcile;

use super::{deliver, model::Fault, on_pro, start, text};
use crate::support::eventually;

on_both! {
    async fn a_refund_that_stripe_refuses_holds_no_event_up_and_is_tried_again(database: Database) {
        let (product, stripe) = start(database).await;
        let refused = async || {
            let metrics = product.get("/metrics").await.text;
            let line = metrics.lines().find(|line| line.starts_with("tenantry_stripe_refunds_refused_total"));
            line.and_then(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).unwrap_or_default()
        };
        assert_eq!(refused().await, 0);
        let (_, first) = on_pro(&product, &stripe, "Acme").await;
        stripe.take_events();
        let second = stripe.happen(|world| {
            world.now += 1;
            let (customer, metadata) = (text(&world.objects[&first]["customer"]), world.objects[&first]["metadata"].clone());
            world.subscribe(&customer, "price_m_scale", "pm_none", &metadata)
        });
        stripe.fail("POST /v1/refunds", [Fault::Status(400)]);
        let event = stripe.take_events().pop().unwrap();
        deliver(&product, &event).await.expect(200);
        let processed = "select count(*) as n from stripe_events where status = 'processed' and attempts = 1";
        eventually("it is processed", async || product.database.count(processed).await == 1).await;
        assert_eq!((refused().await, stripe.all("refund").len()), (1, 0));
        let status = |id: &str| stripe.world().objects[id]["status"].clone();
        assert_eq!((status(&first), status(&second)), ("active".into(), "active".into()), "what is not paid back is not taken away");
        let stays = format!("select count(*) as n from subscriptions s join plans p on p.id = s.plan_id where p.slug = 'pro' and s.stripe_subscription_id = '{first}'");
        assert_eq!(product.database.count(&stays).await, 1);
        assert_eq!(product.database.count("select balance as n from credit_balances").await, 100_000);

        // The next look is the schedule's, within the hour.
        product.app.clock.advance(TimeDelta::minutes(61));
        reconcile::round(&product.app).await.unwrap();
        let told = "select count(*) as n from audit_events where action = 'subscription.duplicate_refunded'";
        eventually("it is paid back", async || product.database.count(told).await == 1).await;
        assert_eq!((status(&first), status(&second)), ("active".into(), "canceled".into()));
        assert_eq!(stripe.all("refund").len(), 1);
        assert_eq!(product.database.count("select balance as n from credit_balances").await, 100_000);
    }
}
