//! `plan export`, `plan diff` and `plan apply`: the plans as a file.

use std::{
    io::{IsTerminal, Write, stderr, stdin},
    path::Path,
};

use anyhow::Context;
use sea_orm::ConnectionTrait;
use serde::Serialize;

use super::{
    Failure,
    args::{PlanApply, PlanDiff},
    output, plan_words,
};
use crate::{
    app::App,
    audit::Actor,
    entitlements::guard::grace,
    plans::{
        Book,
        affected::{Affected, AsOf, affected},
        diff::{Changed, Diff},
        edit::{self, By},
    },
    provisioning::Blueprint,
};

/// What would change, and for whom.
#[derive(Serialize)]
pub(super) struct Shown {
    /// Names the changes.
    pub digest: String,
    /// What changes.
    pub changes: Vec<Changed>,
    /// Who gains or loses what.
    pub effects: Vec<Affected>,
    /// Plans that the file does not name, and that stay.
    pub unlisted_plans: Vec<String>,
    /// Flags that the file does not name, and that stay.
    pub unlisted_flags: Vec<String>,
    /// Whether it was done.
    pub applied: bool,
}

/// Prints the plans as a file.
pub(super) async fn export(app: &App) -> Result<(), Failure> {
    let book = Book::read(app.db.read()).await?;
    output::line(book.to_toml().context("the plans cannot be written as TOML")?.trim_end())
}

/// Tells what a file would change. Answers whether anything.
pub(super) async fn diff(app: &App, args: &PlanDiff) -> Result<bool, Failure> {
    let book = read(&args.file)?;
    let shown = compare(app, app.db.read(), &book).await?;
    tell(&shown, args.json)?;
    Ok(!shown.changes.is_empty())
}

/// Makes the plans what a file says.
pub(super) async fn apply(app: &App, args: &PlanApply) -> Result<(), Failure> {
    let book = read(&args.file)?;
    let mut shown = compare(app, app.db.read(), &book).await?;
    if !args.json {
        tell(&shown, false)?;
    }
    if let Some(expected) = &args.expect
        && *expected != shown.digest
    {
        return Err(Failure::refused(format!("these are the changes {}, and not {expected}", shown.digest)));
    }
    if !shown.changes.is_empty() {
        if !args.yes && args.expect.is_none() && !agreed()? {
            return Err(Failure::refused("nothing was changed"));
        }
        write(app, &book, &shown.digest).await?;
        shown.applied = true;
    }
    if args.json { output::json(&shown) } else { output::line(if shown.applied { "Applied" } else { "Nothing to do" }) }
}

/// All of it in one transaction that holds the plans; nothing where they have changed since they were shown.
async fn write(app: &App, book: &Book, digest: &str) -> Result<(), Failure> {
    let now = app.clock.now();
    let tx = app.db.begin().await?;
    edit::hold(&tx).await?;
    let before = Book::read(&tx).await?;
    check(book, &before)?;
    let diff = Diff::between(&before, book);
    if diff.digest() != digest {
        return Err(Failure::refused("the plans have changed since they were shown; nothing was done"));
    }
    let by = By { actor: Actor::Cli, request_id: None };
    edit::apply(&tx, &now, &before, book, &diff, &by).await?;
    Ok(tx.commit().await?)
}

fn read(file: &Path) -> Result<Book, Failure> {
    let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    Book::parse(&text).map_err(|error| Failure::refused(format!("{} is not a file of plans:\n{error}", file.display())))
}

/// Refuses a file with all that is wrong with it.
fn check(book: &Book, before: &Book) -> Result<(), Failure> {
    let faults = book.faults(before, |blueprint| Blueprint::check(blueprint).map(drop));
    if faults.is_empty() {
        return Ok(());
    }
    let lines: Vec<_> = faults.iter().map(|fault| format!("  {}: {}", fault.field, fault.message)).collect();
    Err(Failure::refused(format!("the file cannot be applied:\n{}", lines.join("\n"))))
}

async fn compare(app: &App, db: &impl ConnectionTrait, book: &Book) -> Result<Shown, Failure> {
    let before = Book::read(db).await?;
    check(book, &before)?;
    let diff = Diff::between(&before, book);
    let digest = diff.digest();
    let at = app.clock.now().at;
    let effects = affected(db, AsOf { at, grace: grace(&app.config) }, diff.effects).await?;
    let Diff { changes, unlisted_plans, unlisted_flags, .. } = diff;
    Ok(Shown { digest, changes, effects, unlisted_plans, unlisted_flags, applied: false })
}

fn tell(shown: &Shown, json: bool) -> Result<(), Failure> {
    if json { output::json(shown) } else { output::line(&plan_words::of(shown)) }
}

/// Whether somebody at the terminal agrees.
fn agreed() -> Result<bool, Failure> {
    if !stdin().is_terminal() {
        let refused = "nobody can be asked here: add --yes, or --expect with the digest that was shown";
        return Err(Failure::refused(refused));
    }
    eprint!("Apply this? [y/N] ");
    stderr().flush().context("cannot ask")?;
    let mut answer = String::new();
    stdin().read_line(&mut answer).context("cannot read the answer")?;
    Ok(["y", "yes"].contains(&answer.trim().to_lowercase().as_str()))
}
