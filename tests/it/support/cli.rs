//! The command line, as an operator types it.

use std::process::Stdio;

use serde_json::Value;

use super::{Database, Settings};
use crate::process::tenantry;

/// What a command told.
#[derive(Debug)]
pub struct Told {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

impl Told {
    /// What it told, if it ended so.
    #[track_caller]
    pub fn expect(self, code: i32) -> String {
        assert_eq!(self.code, Some(code), "{}\n{}", self.out, self.err);
        self.out + &self.err
    }

    /// The JSON that it printed, if it ended so.
    #[track_caller]
    pub fn json(self, code: i32) -> Value {
        assert_eq!(self.code, Some(code), "{}\n{}", self.out, self.err);
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {}", self.out))
    }
}

/// Runs a command on a database, with the default settings.
pub fn cli(database: &Database, arguments: &[&str]) -> Told {
    cli_with(database, &Settings::default(), arguments)
}

/// The same with others.
pub fn cli_with(database: &Database, settings: &Settings, arguments: &[&str]) -> Told {
    let mut command = tenantry(database, settings, arguments);
    let output = command.stdout(Stdio::piped()).stderr(Stdio::piped()).output().expect("the program runs");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
    Told { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
}
