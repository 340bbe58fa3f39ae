//! What a page says about a refusal: a heading, and words beside the fields.

use axum::http::StatusCode;

use crate::http::{FieldError, Problem};

/// A refusal, as a form shows it.
#[derive(Debug, Default)]
pub(super) struct Refused {
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

    /// Whether there is something to say at all.
    pub fn is_some(&self) -> bool {
        !self.heading.is_empty()
    }

    /// A problem in the words of the wizard; the problem itself where it is for another page.
    pub fn of(problem: Problem) -> Result<Self, Problem> {
        let one = |field: &str, heading: &str, message: String| {
            let errors = vec![FieldError::new(field, problem.code, message)];
            Self { heading: heading.to_owned(), errors, status: problem.status, ..Self::default() }
        };
        Ok(match problem.code {
            "VALIDATION_FAILED" => {
                let heading = match problem.errors.len() {
                    1 => "One thing needs another look".to_owned(),
                    several => format!("{several} things need another look"),
                };
                Self { heading, errors: problem.errors, status: problem.status, ..Self::default() }
            }
            "EMAIL_TAKEN" => one(
                "email",
                "We know this email address",
                "Somebody signed up with it already. If it was you, sign in, or type the password you chose then."
                    .into(),
            ),
            "SLUG_TAKEN" => {
                let suggestions = problem.more.get("suggestions").and_then(|list| list.as_array()).cloned();
                let suggestions = suggestions.unwrap_or_default().into_iter();
                let suggestions = suggestions.filter_map(|slug| slug.as_str().map(str::to_owned)).collect();
                let message = "Somebody else has this address. Choose one of these, or type another.";
                Self { suggestions, ..one("slug", "That address is taken", message.into()) }
            }
            "PLAN_NOT_SELF_SERVE" => one("plan", "This plan is made to measure", problem.detail),
            "WEBHOOK_NOT_ALLOWED" => one("webhook_url", "We cannot use that webhook", problem.detail),
            "TENANT_PROVISIONING_ERROR" | "SERVICE_UNAVAILABLE" | "INTERNAL" | "RATE_LIMITED" => Self {
                heading: "That did not work, and nothing was done by halves".into(),
                detail: Some("It was our fault. What you typed is still here. Please try again in a moment.".into()),
                status: problem.status,
                ..Self::default()
            },
            _ => return Err(problem),
        })
    }
}
