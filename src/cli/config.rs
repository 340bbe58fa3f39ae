//! `config`: what the operator decided, and where.

use serde_json::json;

use super::{Failure, output};
use crate::config::Config;

/// Reads the configuration; refuses with all that is wrong.
pub(super) fn check(json: bool) -> Result<(), Failure> {
    match Config::load() {
        Ok(config) if json => output::json(&json!({"ok": true, "settings": config.rows()})),
        Ok(config) => {
            let row = |row: &crate::config::Row| [row.key.clone(), row.value.clone(), row.source.clone()];
            let rows: Vec<_> = config.rows().iter().map(row).collect();
            output::rows(["key", "value", "source"], &rows)
        }
        Err(refused) if json => {
            output::json(&json!({"ok": false, "problems": refused.problems}))?;
            Err(Failure::told())
        }
        Err(refused) => Err(Failure::refused(refused.to_string())),
    }
}
