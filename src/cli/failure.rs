//! Why a command ends without success, and telling it.

use std::process::ExitCode;

use axum::http::StatusCode;
use sea_orm::DbErr;

use crate::http::{FieldError, Problem};

/// How a command ended that did not do what was asked.
#[derive(Debug)]
pub(super) struct Failure {
    code: u8,
    /// Nothing where the command has told it already.
    message: Option<String>,
}

const REFUSED: u8 = 1;
const NOT_TRIED: u8 = 2;
/// Of a comparison alone, as other tools for declared state have it.
const CHANGES: u8 = 2;

impl Failure {
    /// It was refused, or what was checked does not hold.
    pub fn refused(message: impl Into<String>) -> Self {
        Self { code: REFUSED, message: Some(message.into()) }
    }

    /// As [`Failure::refused`], where the command's output tells it.
    pub fn told() -> Self {
        Self { code: REFUSED, message: None }
    }

    /// It could not be tried.
    pub fn not_tried(message: impl Into<String>) -> Self {
        Self { code: NOT_TRIED, message: Some(message.into()) }
    }

    /// Two things that were compared differ, and the command's output tells how.
    pub fn changes() -> Self {
        Self { code: CHANGES, message: None }
    }

    /// The same, where the exit code 2 means something else.
    pub fn into_refused(self) -> Self {
        Self { code: REFUSED, ..self }
    }

    /// Tells it on standard error.
    pub fn tell(self) -> ExitCode {
        if let Some(message) = self.message {
            eprintln!("error: {message}");
        }
        self.code.into()
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self::not_tried(format!("{error:#}"))
    }
}

impl From<DbErr> for Failure {
    fn from(error: DbErr) -> Self {
        anyhow::Error::from(error).context("the database refused").into()
    }
}

impl From<Problem> for Failure {
    fn from(problem: Problem) -> Self {
        let unable = [StatusCode::INTERNAL_SERVER_ERROR, StatusCode::SERVICE_UNAVAILABLE];
        let code = if unable.contains(&problem.status) { NOT_TRIED } else { REFUSED };
        Self { code, message: Some(describe(&problem)) }
    }
}

/// The problem in words, its code, and what may help: a line for each refused field and for free slugs.
fn describe(problem: &Problem) -> String {
    let mut lines = vec![format!("{} ({})", problem.detail, problem.code)];
    let field = |field: &FieldError| format!("  {}: {} ({})", field.field, field.message, field.code);
    lines.extend(problem.errors.iter().map(field));
    let suggested = problem.more.get("suggestions").and_then(|list| list.as_array());
    let free: Vec<_> = suggested.into_iter().flatten().filter_map(|slug| slug.as_str()).collect();
    if !free.is_empty() {
        lines.push(format!("  free: {}", free.join(", ")));
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_tells_its_code_its_fields_and_what_is_free() {
        let taken = Problem::conflict("SLUG_TAKEN", "This address is taken.").with("suggestions", vec!["a-2", "a-3"]);
        assert_eq!(describe(&taken), "This address is taken. (SLUG_TAKEN)\n  free: a-2, a-3");
        let invalid = Problem::invalid(vec![FieldError::new("email", "INVALID", "Not an address.")]);
        assert_eq!(describe(&invalid), "Not an address. (VALIDATION_FAILED)\n  email: Not an address. (INVALID)");
    }

    #[test]
    fn a_refusal_is_1_and_an_unreachable_database_2() {
        assert_eq!(Failure::from(Problem::conflict("SLUG_TAKEN", "")).code, 1);
        assert_eq!(Failure::from(Problem::unavailable()).code, 2);
        assert_eq!(Failure::from(anyhow::anyhow!("no configuration")).code, 2);
    }
}
