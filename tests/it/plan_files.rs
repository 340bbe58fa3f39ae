//! Plans as a file: exported, compared and applied from the command line.

use std::path::PathBuf;

use serde_json::json;

use crate::support::{Database, Product, cli, healthy};

/// A file beside the database.
fn file(database: &Database, text: &str) -> String {
    let path: PathBuf = database.folder().join("plans.toml");
    std::fs::write(&path, text).expect("written");
    path.display().to_string()
}

/// The default plans as a file, with some of its lines replaced.
fn exported(database: &Database, replaced: &[(&str, &str)]) -> String {
    let mut text = cli(database, &["plan", "export"]).expect(0);
    for (from, to) in replaced {
        assert!(text.contains(from), "{from}: {text}");
        text = text.replacen(from, to, 1);
    }
    text
}

/// Growth with fewer users, dearer and without its year; Pro without automations; one flag more; no Enterprise.
fn changed(database: &Database) -> String {
    let mut text = exported(
        database,
        &[
            (
                "[flags.automations]",
                "[flags.exports]\ndescription = \"Exports as files\"\nenabled = true\n\n[flags.automations]",
            ),
            ("price = 7900\nprice_yearly = 79000", "price = 8900"),
        ],
    );
    let growth = text.find("[plans.growth.limits]").expect("growth");
    let users = growth + text[growth..].find("max_users = 10").expect("its users");
    text.replace_range(users..users + "max_users = 10".len(), "max_users = 1");
    let enterprise = text.find("[plans.enterprise]").expect("enterprise");
    text.truncate(enterprise);
    text
}

on_both! {
    async fn what_is_exported_differs_in_nothing(database: Database) {
        let text = exported(&database, &[]);
        assert!(text.contains("[plans.growth.limits]\n") && !text.contains("signup_enabled"), "{text}");
        let path = file(&database, &text);
        assert!(cli(&database, &["plan", "diff", &path]).expect(0).contains("The plans are what the file says."));
        let applied = cli(&database, &["plan", "apply", &path, "--json"]).json(0);
        assert_eq!((&applied["applied"], &applied["changes"]), (&json!(false), &json!([])));
        assert_eq!(database.count("select count(*) as n from audit_events").await, 0);
    }
}

on_both! {
    async fn who_gains_or_loses_is_told_before_anything_changes(database: Database) {
        let product = Product::start(database).await;
        let database = &product.database;
        product.settle("Acme", "growth").await;
        product.settle("Bolt", "growth").await;
        product.settle("Lapsed", "growth").await;
        product.settle("Special", "free").await;
        product.settle("Ended", "growth").await;
        // Acme has two people and pays through Stripe; Lapsed's trial is over, and Ended's last period, so that they have what is free.
        product.database.execute(
            "insert into memberships (tenant_id, user_id, role, created_at, updated_at) select t.id, m.user_id, 'member', m.created_at, m.updated_at \
             from tenants t, memberships m join tenants o on o.id = m.tenant_id where t.slug = 'acme' and o.slug = 'bolt'").await;
        product.database.execute("update subscriptions set status = 'active', stripe_subscription_id = 'sub_1' where tenant_id = (select id from tenants where slug = 'acme')").await;
        product.database.execute("update subscriptions set trial_ends_at = created_at where tenant_id = (select id from tenants where slug = 'lapsed')").await;
        product.database.execute("update subscriptions set status = 'active', cancel_at_period_end = true, current_period_end = created_at where tenant_id = (select id from tenants where slug = 'ended')").await;
        product.database.execute(
            "insert into tenant_feature_overrides (tenant_id, flag, enabled, created_at) select id, 'automations', true, created_at from tenants where slug = 'special'").await;

        let path = file(database, &changed(database));
        let told = cli(database, &["plan", "diff", &path]).expect(2);
        for line in [
            "new flag exports\n", "plan growth\n", "  limits.max_users: 10 → 1\n", "  price_yearly: 79000 → –\n",
            "growth: max_users 10 → 1: 2 tenants lose (acme, bolt), 1 of them (acme: 2 used) is above the new limit\n",
            "growth: price 79 USD → 89 USD a month: 4 tenants are on it (acme, bolt, ended, lapsed); 1 running Stripe subscription keeps its price\n",
            "growth: price 790 USD → – a year: 4 tenants are on it",
            "free: exports on: 3 tenants gain (ended, lapsed, special)\n",
            "Not in the file, these plans stay as they are: enterprise (is_public = false hides one)\n",
        ] {
            assert!(told.contains(line), "{line}: {told}");
        }
        let shown = cli(database, &["plan", "diff", &path, "--json"]).json(2);
        let digest = shown["digest"].as_str().unwrap();
        assert!(told.contains(&format!("Digest: {digest}")), "{told}");

        // A flag that one tenant has by itself reaches the others alone.
        let on = exported(database, &[("[flags.automations]\ndescription = \"Outbound automations and webhook endpoints\"\nenabled = false", "[flags.automations]\ndescription = \"Outbound automations and webhook endpoints\"\nenabled = true"), ("automations = false", "")]);
        let on = cli(database, &["plan", "diff", &file(database, &on), "--json"]).json(2);
        assert_eq!(on["effects"][0]["slugs"], json!(["ended", "lapsed"]), "{on}");

        let path = file(database, &changed(database));
        assert!(cli(database, &["plan", "apply", &path]).expect(1).contains("--expect"));
        assert!(cli(database, &["plan", "apply", &path, "--expect", "0000"]).expect(1).contains(digest));
        assert_eq!(cli(database, &["plan", "diff", &path, "--json"]).json(2), shown, "nothing has changed");

        let applied = cli(database, &["plan", "apply", &path, "--expect", digest, "--json"]).json(0);
        assert_eq!((&applied["applied"], &applied["effects"]), (&json!(true), &shown["effects"]));
        cli(database, &["plan", "diff", &path]).expect(0);
        assert!(cli(database, &["plan", "apply", &path, "--yes"]).expect(0).contains("Nothing to do"));
        let public = product.get("/public/plans").await.expect(200);
        let growth = public["data"].as_array().unwrap().iter().find(|plan| plan["slug"] == "growth").unwrap();
        assert_eq!((&growth["price"]["amount"], &growth["price_yearly"], &growth["limits"]["max_users"]), (&json!(8_900), &json!(null), &json!(1)));
        assert_eq!(public["data"].as_array().unwrap().len(), 6, "nothing was deleted");
        for action in ["plan.changed", "flag.created"] {
            assert_eq!(database.count(&format!("select count(*) as n from audit_events where action = '{action}' and actor_type = 'cli'")).await, 1);
        }
        healthy(&product).await;
    }
}

on_both! {
    async fn a_digest_of_other_changes_applies_nothing(database: Database) {
        let path = file(&database, &changed(&database));
        let shown = cli(&database, &["plan", "diff", &path, "--json"]).json(2);
        // Somebody else was first.
        database.execute("update plans set price_amount = 8000 where slug = 'growth'").await;
        let refused = cli(&database, &["plan", "apply", &path, "--expect", shown["digest"].as_str().unwrap()]);
        refused.expect(1);
        assert_eq!(database.count("select count(*) as n from feature_flags where name = 'exports'").await, 0);
        assert_eq!(database.count("select price_amount as n from plans where slug = 'growth'").await, 8_000);
    }
}

on_both! {
    async fn a_file_with_faults_is_refused_whole(database: Database) {
        let text = exported(&database, &[("currency = \"USD\"", "currency = \"usd\""), ("\"seed_defaults\"", "\"make_coffee\""), ("max_users = 1\n", "max_users = -1\n")]);
        let path = file(&database, &text);
        for arguments in [&["plan", "diff", &path][..], &["plan", "apply", &path, "--yes"]] {
            let told = cli(&database, arguments).expect(1);
            for fault in ["plans.free.currency: ", "plans.free.blueprint: ", "make_coffee", "plans.free.limits.max_users: "] {
                assert!(told.contains(fault), "{fault}: {told}");
            }
        }
        let unread = file(&database, &text.replace("trial_days", "trail_days"));
        assert!(cli(&database, &["plan", "diff", &unread]).expect(1).contains("trail_days"));
        assert!(cli(&database, &["plan", "diff", "/nowhere.toml"]).expect(1).contains("/nowhere.toml"));
        cli(&database, &["plan", "apply", "/nowhere.toml", "--yes"]).expect(2);
    }
}
