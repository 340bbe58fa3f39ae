//! `flag`: the platform-wide feature flags, among them the kill switch.

use serde_json::json;

use super::{Failure, output};
use crate::{
    app::App,
    audit,
    db::Batch,
    plans::flags::{self, Flag},
};

/// All flags.
pub(super) async fn list(app: &App, json: bool) -> Result<(), Failure> {
    let flags = flags::list(app.db.read()).await?;
    if json {
        return output::json(&json!({ "data": flags }));
    }
    let rows: Vec<_> = flags.iter().map(row).collect();
    output::rows(["name", "enabled", "description"], &rows)
}

fn row(flag: &Flag) -> [String; 3] {
    [flag.name.clone(), flag.enabled.to_string(), flag.description.clone()]
}

/// Switches a flag. Servers read it at each sign-up, so nobody has to be told.
pub(super) async fn set(app: &App, name: &str, enabled: bool, json: bool) -> Result<(), Failure> {
    let now = app.clock.now();
    let tx = app.db.begin().await?;
    let Some(flag) = flags::set(&tx, &now, name, enabled).await? else {
        tx.rollback().await?;
        return Err(unknown(name, &flags::list(app.db.read()).await?));
    };
    let mut batch = Batch::default();
    let detail = json!({"flag": name, "enabled": enabled});
    let (actor, action) = (audit::Actor::Cli, "flag.changed");
    audit::append(&mut batch, &now, audit::Event { actor, tenant_id: None, action, request_id: None, detail });
    batch.send(&tx).await.map_err(|refused| refused.source)?;
    tx.commit().await?;
    if json { output::json(&flag) } else { output::line(&format!("{} is {}", flag.name, on_off(flag.enabled))) }
}

fn on_off(enabled: bool) -> &'static str {
    if enabled { "on" } else { "off" }
}

fn unknown(name: &str, flags: &[Flag]) -> Failure {
    let nearest = flags.iter().max_by(|a, b| {
        let likeness = |flag: &Flag| strsim::jaro_winkler(&flag.name, name);
        likeness(a).total_cmp(&likeness(b))
    });
    let hint = nearest.map_or_else(String::new, |flag| format!("; did you mean {}?", flag.name));
    Failure::refused(format!("there is no flag {name}{hint}"))
}
