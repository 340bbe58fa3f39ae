//! The rules of the house that a reader of imports can check: slices look downwards only, verbs never see the app.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

/// From the ground up. A slice may use those above it in this list and those beside it, and nothing below.
const FLOORS: [&[&str]; 14] = [
    &["clock", "config"],
    &["telemetry"],
    &["db", "egress", "seal"],
    &["http"],
    &["entitlements"],
    &["outbox", "audit"],
    &["identity", "mail", "tenants"],
    &["plans"],
    &["billing", "catalog", "content", "team", "webhooks"],
    &["provisioning"],
    &["signup", "storefront"],
    &["admin", "dashboard", "doctor", "leads"],
    &["home"],
    &["app", "cli", "preflight", "schedule", "serve"],
];

/// Who may look up all the same, and why.
const EXCEPTIONS: [(&str, &str); 10] = [
    // Who may pass is asked of whoever sends a request.
    ("entitlements/api.rs", "identity"),
    ("entitlements/guard.rs", "identity"),
    // What is done now and then, by those who do it.
    ("billing/jobs.rs", "schedule"),
    ("identity/jobs.rs", "schedule"),
    ("provisioning/janitor.rs", "schedule"),
    ("billing/stripe/reconcile.rs", "schedule"),
    // Everybody writes to the log, and only platform administrators read it.
    ("audit/api.rs", "identity"),
    // The worker hands each kind of work to the slice that knows it.
    ("outbox/jobs.rs", "mail"),
    ("outbox/jobs.rs", "billing"),
    ("outbox/jobs.rs", "webhooks"),
];

fn floor(slice: &str) -> Option<usize> {
    FLOORS.iter().position(|slices| slices.contains(&slice))
}

fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).expect("the source is there") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found
}

/// The slices that a file's `use crate::…` lines name.
fn used(text: &str) -> Vec<String> {
    let mut slices = Vec::new();
    for item in text.split("use crate::").skip(1) {
        let item = item.split(';').next().unwrap_or_default();
        let Some(group) = item.strip_prefix('{') else {
            slices.push(name(item));
            continue;
        };
        let mut depth = 0;
        for part in group.split_inclusive(['{', '}', ',']) {
            if depth == 0 {
                slices.push(name(part));
            }
            depth += part.matches('{').count();
            depth -= part.matches('}').count().min(depth);
        }
    }
    slices.retain(|slice| !slice.is_empty());
    slices
}

/// The first name of a path.
fn name(path: &str) -> String {
    path.trim_start().chars().take_while(|letter| letter.is_alphanumeric() || *letter == '_').collect()
}

#[test]
fn imports_are_read_as_rust_reads_them() {
    let text = "use crate::{\n    app::App,\n    db::{self, Tx},\n    http,\n};\nuse crate::clock::Now;\n";
    assert_eq!(used(text), ["app", "db", "http", "clock"]);
}

#[test]
fn slices_look_downwards_only() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut upwards: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for path in sources(&root) {
        let inside = path.strip_prefix(&root).expect("below src");
        let slice =
            inside.iter().next().and_then(|part| part.to_str()).unwrap_or_default().trim_end_matches(".rs").to_owned();
        if ["lib", "main"].contains(&slice.as_str()) || path.ends_with("tests.rs") {
            continue;
        }
        let own = floor(&slice).unwrap_or_else(|| panic!("{slice} has no floor: give it one in FLOORS"));
        let text = std::fs::read_to_string(&path).expect("readable");
        for other in used(&text) {
            let file = inside.display().to_string();
            // Edges hold the app, which holds every part.
            let is_allowed =
                (other == "app" && is_edge(&text)) || EXCEPTIONS.contains(&(file.as_str(), other.as_str()));
            if !is_allowed && floor(&other).is_none_or(|other| other > own) {
                upwards.entry(file).or_default().push(other);
            }
        }
    }
    assert!(upwards.is_empty(), "these look sideways or upwards: {upwards:#?}");
}

/// Files that no verb is in: they answer requests, run workers, or read requests.
fn is_edge(text: &str) -> bool {
    ["State<App>", "app: App", "app: &App", "app: &'a App", "Router<App>", "FromRequestParts<App>"]
        .iter()
        .any(|mark| text.contains(mark))
}
