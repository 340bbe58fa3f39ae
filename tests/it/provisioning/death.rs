//! A worker's whole process dies at a step, before its effect and after it; another worker carries the run to its end.

use std::{
    os::unix::process::ExitStatusExt,
    process::{Child, Command, Stdio},
    sync::Mutex,
};

use super::{HTTP, STEPS, World, failing::closed, overtaking, step};
use crate::support::{Database, Settings, eventually};

/// Starts a worker process that dies at a failpoint, and waits for its death.
async fn dying(world: &World, name: &str, when: &str) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tenantry"));
    command
        .args(["worker", "--no-migrate"])
        .current_dir(world.product.database.folder())
        .env_clear()
        .envs(world.settings.variables(&world.product.database))
        .env("FAILPOINTS", format!("step::{name}::{when}=return(die)"))
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let process = Mutex::new(Process(command.spawn().expect("the program is there")));
    let ended = || process.lock().expect("the process").0.try_wait().expect("a status");
    eventually("its death", async || ended().is_some()).await;
    assert_eq!(ended().and_then(|status| status.signal()), Some(6), "aborted at {name}::{when}");
}

/// Ends with the test.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

async fn dies_at_each_step(database: Database, when: &str) {
    let world = World::new(database, HTTP, |_, settings| settings).await;
    world.every_step().await;
    for name in STEPS {
        let tenant = world.queue(&format!("{when}-{}", name.replace('_', "-"))).await;
        dying(&world, name, when).await;
        let left = tenant.status().await;
        assert_eq!((&left["status"], &step(&left, name)["status"]), (&"processing".into(), &"processing".into()));

        let heir = world.worker(overtaking()).await;
        let status = tenant.completed().await;
        heir.stop().await;
        for other in STEPS {
            let attempts = if other == name { 2 } else { 1 };
            assert_eq!(step(&status, other)["attempts"], attempts, "{other} in {status:#}");
        }
        tenant.everything_once().await;
    }
}

on_both! {
    async fn before_its_effect(database: Database) {
        dies_at_each_step(database, "before").await;
    }
}

on_both! {
    async fn after_its_effect(database: Database) {
        dies_at_each_step(database, "after").await;
    }
}

on_both! {
    async fn a_step_that_always_takes_the_process_with_it_fails_the_run(database: Database) {
        let tune = |_: &_, settings: Settings| {
            settings.with("TENANTRY_PROVISION__MAX_ATTEMPTS", "2")
        };
        let world = World::new(database, HTTP, tune).await;
        world.every_step().await;
        let tenant = world.queue("doomed").await;
        dying(&world, "call_webhook", "after").await;
        world.product.database.execute("update provision_runs set due_at = queued_at").await;
        dying(&world, "call_webhook", "after").await;
        let heir = world.worker(overtaking()).await;
        let reason = tenant.failed().await;
        heir.stop().await;
        assert_eq!(reason, "Calling the operator's application failed: it was begun and never came to an end");
        closed(&tenant).await;
        assert_eq!(world.fake.seen("/app").len(), 2);
        assert_eq!(tenant.keys("/app"), [format!("{}:call_webhook", tenant.run)]);
    }
}
