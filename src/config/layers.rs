//! The layers of the configuration, and the names of its keys.

use std::{
    collections::BTreeMap,
    fs,
    io::ErrorKind,
    path::{Path, PathBuf},
};

use figment::{
    Error, Figment, Metadata, Profile, Provider,
    providers::{Format, Toml},
    value::{Dict, Map, Value},
};

use super::{ConfigError, Environment, values};

const DEFAULTS: &str = include_str!("defaults.toml");
const PREFIX: &str = "TENANTRY_";
const FILE: &str = "tenantry.toml";

/// Names without the prefix that other programs share.
const SHARED: [(&str, &str); 4] = [
    ("DATABASE_URL", "database_url"),
    ("OTEL_EXPORTER_OTLP_ENDPOINT", "traces.endpoint"),
    ("STRIPE_SECRET_KEY", "stripe.secret_key"),
    ("STRIPE_WEBHOOK_SECRET", "stripe.webhook_secret"),
];

/// What is read from: the built-in layers alone, and all of them.
pub(super) struct Layers {
    pub environment: Environment,
    pub builtin: Figment,
    pub all: Figment,
    /// The environment variable that a key was given by, where it is not the usual one.
    pub shared: BTreeMap<String, &'static str>,
}

/// One source of values, by key.
struct Layer {
    name: String,
    values: BTreeMap<String, Value>,
}

impl Provider for Layer {
    fn metadata(&self) -> Metadata {
        Metadata::named(self.name.clone())
    }

    fn data(&self) -> Result<Map<Profile, Dict>, Error> {
        let mut dict = Dict::new();
        for (key, value) in &self.values {
            insert(&mut dict, key, value.clone());
        }
        Ok(Map::from([(Profile::Default, dict)]))
    }
}

/// Puts a value where its dotted key says; the opposite of [`flatten`].
fn insert(dict: &mut Dict, key: &str, value: Value) {
    let Some((table, rest)) = key.split_once('.') else {
        dict.insert(key.to_owned(), value);
        return;
    };
    if let Value::Dict(_, inner) = dict.entry(table.to_owned()).or_insert_with(|| Dict::new().into()) {
        insert(inner, rest, value);
    }
}

/// Reads the file and the variables over the defaults; the second part is what is wrong with their keys.
pub(super) fn read(
    variables: impl Iterator<Item = (String, String)>,
    cwd: &Path,
) -> Result<(Layers, Vec<String>), ConfigError> {
    // An empty variable is an unset one.
    let variables: BTreeMap<_, _> = variables.filter(|(_, value)| !value.trim().is_empty()).collect();
    let sections = defaults();
    let known = documented_keys();
    let mut problems = Vec::new();

    let (file, path) = match file(&variables, cwd) {
        Ok((text, path)) => match parse(&text) {
            Ok(dict) => (flatten(&dict), path),
            Err(error) => return Err(one(format!("{} is not TOML: {error}", path.display()))),
        },
        Err(problem) => return Err(one(problem)),
    };
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let file = Layer { values: only_known(file, &known, &name, &mut problems), name };
    let (env, shared) = from_environment(&variables, &known, &mut problems);

    let environment = environment(&[&env, &file]).map_err(|problem| {
        problems.push(problem);
        ConfigError { problems: std::mem::take(&mut problems) }
    })?;
    let common = Layer { name: "default".into(), values: section(&sections, "default") };
    let special =
        Layer { name: format!("default in {}", environment.name()), values: section(&sections, environment.name()) };
    let builtin = Figment::from(common).merge(special);
    let all = builtin.clone().merge(file).merge(env);
    Ok((Layers { environment, builtin, all, shared }, problems))
}

fn one(problem: String) -> ConfigError {
    ConfigError { problems: vec![problem] }
}

/// The file's text and name; no text where nobody asked for it and it does not exist.
fn file(variables: &BTreeMap<String, String>, cwd: &Path) -> Result<(String, PathBuf), String> {
    let asked = variables.get("TENANTRY_CONFIG");
    let path = cwd.join(asked.map_or(FILE, String::as_str));
    match fs::read_to_string(&path) {
        Ok(text) => Ok((text, path)),
        Err(error) if error.kind() == ErrorKind::NotFound && asked.is_none() => Ok((String::new(), path)),
        Err(error) if asked.is_some() => Err(format!("TENANTRY_CONFIG: cannot read {}: {error}", path.display())),
        Err(error) => Err(format!("cannot read {}: {error}", path.display())),
    }
}

fn parse(text: &str) -> Result<Dict, String> {
    let mut profiles = Toml::string(text).data().map_err(|error| error.to_string())?;
    Ok(profiles.remove(&Profile::Default).unwrap_or_default())
}

fn section(sections: &Dict, name: &str) -> BTreeMap<String, Value> {
    sections.get(name).and_then(Value::as_dict).map(flatten).unwrap_or_default()
}

/// Every key that `defaults.toml` has.
pub(super) fn documented_keys() -> Vec<String> {
    section(&defaults(), "default").into_keys().collect()
}

fn defaults() -> Dict {
    parse(DEFAULTS).expect("the built-in defaults are TOML")
}

/// Values by dotted key.
fn flatten(dict: &Dict) -> BTreeMap<String, Value> {
    let mut flat = BTreeMap::new();
    for (key, value) in dict {
        match value.as_dict() {
            Some(inner) => {
                flat.extend(flatten(inner).into_iter().map(|(rest, value)| (format!("{key}.{rest}"), value)));
            }
            None => drop(flat.insert(key.clone(), value.clone())),
        }
    }
    flat
}

fn only_known(
    mut file: BTreeMap<String, Value>,
    known: &[String],
    name: &str,
    problems: &mut Vec<String>,
) -> BTreeMap<String, Value> {
    file.retain(|key, value| {
        let is_known = known.contains(key) || is_provider_key(key);
        if !is_known {
            let nearest = nearest(key, known.iter().map(String::as_str));
            problems.push(format!("unknown key `{key}` in {name}; did you mean `{nearest}`?"));
        }
        is_known && value.as_str().is_none_or(|text| !text.trim().is_empty())
    });
    file
}

fn from_environment(
    variables: &BTreeMap<String, String>,
    known: &[String],
    problems: &mut Vec<String>,
) -> (Layer, BTreeMap<String, &'static str>) {
    let mut values = BTreeMap::new();
    let mut shared = BTreeMap::new();
    for (name, key) in SHARED {
        if let Some(value) = variables.get(name) {
            values.insert(key.to_owned(), value.clone().into());
            shared.insert(key.to_owned(), name);
        }
    }
    let names: Vec<String> = known.iter().map(|key| variable(key)).collect();
    let all = || names.iter().map(String::as_str).chain(SHARED.map(|(name, _)| name)).chain(["TENANTRY_CONFIG"]);
    for (name, value) in variables {
        let Some(rest) = name.strip_prefix(PREFIX).filter(|rest| *rest != "CONFIG") else { continue };
        let key = rest.to_ascii_lowercase().replace("__", ".");
        if names.contains(name) || is_provider_key(&key) && variable(&key) == *name {
            shared.remove(&key);
            values.insert(key, value.clone().into());
        } else {
            problems.push(format!("unknown key `{name}`; did you mean `{}`?", nearest(name, all())));
        }
    }
    (Layer { name: "environment".into(), values }, shared)
}

/// The environment variable of a key.
pub(super) fn variable(key: &str) -> String {
    format!("{PREFIX}{}", key.replace('.', "__").to_ascii_uppercase())
}

/// `oauth.{any name}.client_id` and its like.
fn is_provider_key(key: &str) -> bool {
    let parts: Vec<_> = key.split('.').collect();
    matches!(parts[..], ["oauth", name, "client_id" | "client_secret" | "issuer"] if is_provider_name(name))
}

fn is_provider_name(name: &str) -> bool {
    !name.is_empty()
        && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-".contains(&byte))
}

fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> &'a str {
    let name = name.to_ascii_lowercase();
    let likeness = |other: &&str| strsim::normalized_damerau_levenshtein(&name, &other.to_ascii_lowercase());
    known.max_by(|a, b| likeness(a).total_cmp(&likeness(b))).unwrap_or_default()
}

/// The environment, which chooses the defaults.
fn environment(layers: &[&Layer]) -> Result<Environment, String> {
    let given = layers.iter().find_map(|layer| layer.values.get("environment").map(|value| (value, &layer.name)));
    let Some((value, source)) = given else { return Ok(Environment::Development) };
    let parsed = value.as_str().and_then(values::ENVIRONMENT.parse);
    parsed.ok_or_else(|| {
        let name = if source == "environment" { variable("environment") } else { "environment".into() };
        format!("`{name}` ({source}) must be {}", values::ENVIRONMENT.expected)
    })
}
