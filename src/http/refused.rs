//! What a page says about a refusal: a heading, and words beside the fields.

use axum::http::StatusCode;

use super::{FieldError, Problem};

/// A refusal, as a form shows it.
#[derive(Debug, Default)]
pub struct Refused {
    /// In a few words; empty where nothing was refused.
    pub heading: String,
    /// What to do, where no field is to blame.
    pub detail: Option<String>,
    /// By field.
    pub errors: Vec<FieldError>,
    /// Free slugs.
    pub suggestions: Vec<String>,
    /// The status of the page.
    pub status: StatusCode,
}

impl Refused {
    /// What is said beside a field.
    pub fn said(&self, field: &str) -> Option<&str> {
        self.errors.iter().find(|error| error.field == field).map(|error| error.message.as_str())
    }

    /// By field what the summary says, which stands far from the field and has to name it.
    pub fn summary(&self) -> Vec<(&str, String)> {
        let words = |error: &FieldError| match error.code.as_str() {
            "REQUIRED" => format!("{} is needed.", label(&error.field)),
            _ => error.message.clone(),
        };
        self.errors.iter().map(|error| (error.field.as_str(), words(error))).collect()
    }

    /// Whether there is something to say at all.
    pub fn is_some(&self) -> bool {
        !self.heading.is_empty()
    }

    /// A problem that one field is to blame for, in a form's own words.
    pub fn at(field: &str, problem: &Problem, heading: &str, message: impl Into<String>) -> Self {
        let suggestions = problem.more.get("suggestions").and_then(|list| list.as_array()).into_iter().flatten();
        Self {
            heading: heading.to_owned(),
            errors: vec![FieldError::new(field, problem.code, message)],
            suggestions: suggestions.filter_map(|slug| slug.as_str().map(str::to_owned)).collect(),
            status: problem.status,
            ..Self::default()
        }
    }

    /// A problem that any form may meet; the problem itself where it is for another page.
    pub fn usual(problem: Problem) -> Result<Self, Problem> {
        match problem.code {
            "VALIDATION_FAILED" => {
                let heading = match problem.errors.len() {
                    1 => "One thing needs another look".to_owned(),
                    several => format!("{several} things need another look"),
                };
                Ok(Self { heading, errors: problem.errors, status: problem.status, ..Self::default() })
            }
            "TENANT_PROVISIONING_ERROR" | "SERVICE_UNAVAILABLE" | "INTERNAL" => Ok(Self {
                heading: "That did not work, and nothing was done by halves".into(),
                detail: Some("It was our fault. What you typed is still here. Please try again in a moment.".into()),
                status: problem.status,
                ..Self::default()
            }),
            _ => Err(problem),
        }
    }
}

/// A field's name for people.
fn label(field: &str) -> String {
    let name = if field == "tenant_name" { "company name".into() } else { field.replace('_', " ") };
    let mut letters = name.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}
