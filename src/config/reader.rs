//! Reads values by key, and remembers what was read, from where, and what was wrong.

use std::collections::BTreeSet;

use figment::{
    Figment,
    value::{Num, Value},
};

use super::{
    Environment, Row,
    layers::{Layers, variable},
    values::{Kind, Shown},
};

/// What [`super::sections`] reads from. Every key is read once.
pub(super) struct Reader {
    layers: Layers,
    rows: Vec<Row>,
    problems: Vec<String>,
}

impl Reader {
    pub fn new(layers: Layers, problems: Vec<String>) -> Self {
        Self { layers, rows: Vec::new(), problems }
    }

    /// Every row by key, and every problem.
    pub fn finish(mut self) -> (Vec<Row>, Vec<String>) {
        self.rows.sort_by(|a, b| a.key.cmp(&b.key));
        (self.rows, self.problems)
    }

    pub const fn environment(&self) -> Environment {
        self.layers.environment
    }

    /// A value, or nothing where it is unset or refused.
    pub fn optional<T>(&mut self, key: &str, kind: &Kind<T>) -> Option<T> {
        match texts(&self.layers.all, key) {
            Texts::One(text) if text.is_empty() => {
                self.record(key, String::new());
                None
            }
            Texts::One(text) => {
                self.record(key, kind.shown.mask(&text));
                self.parse(key, kind, &text)
            }
            Texts::Many(_) | Texts::Neither => {
                self.record(key, String::new());
                self.refuse(key, kind, None);
                None
            }
        }
    }

    /// A value that has a default, which stands in for a refused one.
    pub fn required<T>(&mut self, key: &str, kind: &Kind<T>) -> T {
        self.optional(key, kind).unwrap_or_else(|| {
            let Texts::One(text) = texts(&self.layers.builtin, key) else { unreachable!("{key} has a single default") };
            (kind.parse)(&text).expect("built-in defaults are of their kind")
        })
    }

    /// An array of the file, or a text with commas.
    pub fn list<T>(&mut self, key: &str, kind: &Kind<T>) -> Vec<T> {
        let items = match texts(&self.layers.all, key) {
            Texts::One(text) => {
                text.split(',').map(str::trim).filter(|item| !item.is_empty()).map(str::to_owned).collect()
            }
            Texts::Many(items) => items,
            Texts::Neither => {
                self.refuse(key, kind, None);
                Vec::new()
            }
        };
        self.record(key, items.join(", "));
        items.iter().filter_map(|item| self.parse(key, kind, item)).collect()
    }

    /// An array of the file, or a text of several lines. Where a variable cannot have line breaks, `\n` stands for one.
    pub fn lines(&mut self, key: &str, kind: &Kind<String>) -> Vec<String> {
        const MOST: usize = 8;
        let lines = match texts(&self.layers.all, key) {
            Texts::One(text) => text.replace("\\n", "\n").lines().map(str::to_owned).collect(),
            Texts::Many(lines) => lines,
            Texts::Neither => {
                self.refuse(key, kind, None);
                Vec::new()
            }
        };
        let lines: Vec<_> = lines.iter().map(|line| line.trim()).filter(|line| !line.is_empty()).collect();
        self.record(key, lines.join(" / "));
        if lines.len() > MOST {
            self.refuse(key, kind, None);
        }
        lines.into_iter().filter_map(|line| self.parse(key, kind, line)).collect()
    }

    /// The names of the tables under a key.
    pub fn tables(&self, key: &str) -> BTreeSet<String> {
        let found = self.layers.all.find_value(key).ok();
        found.and_then(Value::into_dict).map(|dict| dict.into_keys().collect()).unwrap_or_default()
    }

    /// Says that a value that was unset follows from another one.
    pub fn derived(&mut self, key: &str, value: &str, source: &str) {
        if let Some(row) = self.rows.iter_mut().find(|row| row.key == key) {
            value.clone_into(&mut row.value);
            source.clone_into(&mut row.source);
        }
    }

    /// What the operator calls a key: by the variable that gave it, and otherwise both ways.
    pub fn name(&self, key: &str) -> String {
        match (self.layers.shared.get(key), self.source(key).as_str()) {
            (Some(shared), _) => format!("`{shared}`"),
            (None, "environment") => format!("`{}`", variable(key)),
            (None, source) if source.starts_with("default") => {
                format!("`{}` (`{key}` in tenantry.toml)", variable(key))
            }
            (None, source) => format!("`{key}` in {source}"),
        }
    }

    /// Whether neither the file nor a variable sets it.
    pub fn is_unset(&self, key: &str) -> bool {
        matches!(texts(&self.layers.all, key), Texts::One(text) if text.is_empty())
    }

    /// Adds a problem.
    pub fn problem(&mut self, sentence: String) {
        self.problems.push(sentence);
    }

    fn parse<T>(&mut self, key: &str, kind: &Kind<T>, text: &str) -> Option<T> {
        let parsed = (kind.parse)(text);
        if parsed.is_none() {
            self.refuse(key, kind, Some(text));
        }
        parsed
    }

    fn refuse<T>(&mut self, key: &str, kind: &Kind<T>, text: Option<&str>) {
        let found = text.filter(|_| kind.shown == Shown::Plain).map_or(String::new(), |text| format!(", not `{text}`"));
        self.problem(format!("{} must be {}{found}", self.name(key), kind.expected));
    }

    fn record(&mut self, key: &str, value: String) {
        let source = match self.layers.shared.get(key) {
            Some(shared) => format!("environment ({shared})"),
            None => self.source(key),
        };
        self.rows.push(Row { key: key.to_owned(), value, source });
    }

    fn source(&self, key: &str) -> String {
        self.layers.all.find_metadata(key).map_or_else(|| "default".to_owned(), |layer| layer.name.to_string())
    }
}

/// A value as texts, for TOML's numbers and booleans are written as in a variable.
enum Texts {
    One(String),
    Many(Vec<String>),
    Neither,
}

fn texts(layers: &Figment, key: &str) -> Texts {
    match layers.find_value(key) {
        Ok(Value::Array(_, items)) => items.iter().map(text).collect::<Option<_>>().map_or(Texts::Neither, Texts::Many),
        Ok(value) => text(&value).map_or(Texts::Neither, Texts::One),
        Err(_) => Texts::One(String::new()),
    }
}

fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(_, text) => Some(text.trim().to_owned()),
        Value::Bool(_, flag) => Some(flag.to_string()),
        Value::Num(_, Num::I64(number)) => Some(number.to_string()),
        _ => None,
    }
}
