//! What a sign-up refuses, and how that is told.

use sea_orm::DbErr;

use super::NewTenant;
use crate::{
    db::{self, BatchError, Unique},
    http::{FieldError, NotKept, Problem, chain},
    identity::{self, passwords::Overloaded},
    provisioning, team,
    tenants::{Door, slugs::Slug},
};

/// Why there is no tenant.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The kill switch is off.
    #[error("sign-ups are disabled")]
    SignupsDisabled,
    /// Nobody may serve themselves here.
    #[error("self-serve is disabled")]
    SelfServeDisabled,
    /// Fields were refused.
    #[error("invalid fields")]
    Invalid(Vec<FieldError>),
    /// The plan is sold by people.
    #[error("the plan is not self-serve")]
    PlanNotSelfServe,
    /// Payment by card was asked for, and nobody has set it up.
    #[error("billing is not configured")]
    BillingNotConfigured,
    /// Somebody has that address.
    #[error("the email is taken")]
    EmailTaken,
    /// Somebody has that slug; these are free.
    #[error("the slug is taken")]
    SlugTaken(Vec<Slug>),
    /// The webhook's URL was refused before any call.
    #[error("the webhook is not allowed: {0}")]
    WebhookNotAllowed(String),
    /// Provisioning is under way or done, and cannot take another webhook.
    #[error("provisioning has started")]
    ProvisionAlreadyStarted,
    /// The janitor has just removed the sign-up that the caller went on with.
    #[error("the sign-up is gone")]
    Gone,
    /// More passwords wait to be hashed than the queue holds.
    #[error("too many passwords are being hashed")]
    Overloaded(#[from] Overloaded),
    /// Provisioning refused.
    #[error(transparent)]
    Provisioning(provisioning::Error),
    /// An invite does not let in.
    #[error(transparent)]
    Team(#[from] team::Error),
    /// Whoever comes is not let in.
    #[error(transparent)]
    Identity(#[from] identity::Error),
    /// Anything unforeseen inside the transaction, and where.
    #[error("writing {part} failed")]
    Failed {
        /// The table, or `commit`.
        part: String,
        /// The cause.
        source: DbErr,
    },
    /// A request under the same Idempotency-Key is being committed.
    #[error("a request with this Idempotency-Key is still running")]
    InProgress,
    /// The database refused outside the transaction that makes a tenant.
    #[error(transparent)]
    Database(#[from] DbErr),
}

impl Error {
    pub(super) fn failed(part: &str, source: DbErr) -> Self {
        Self::Failed { part: part.to_owned(), source }
    }

    /// `field` is what the door calls it.
    pub(super) fn unknown_plan(field: &str) -> Self {
        Self::Invalid(vec![FieldError::new(field, "UNKNOWN_PLAN", "There is no such plan.")])
    }

    pub(super) fn from_batch(refused: BatchError, new: &NewTenant) -> Self {
        match db::unique(&refused.source) {
            Some(Unique::UserEmail | Unique::OauthIdentity) => Self::EmailTaken,
            // Whoever raced for the derived `acme` would have been `acme-2`; no retry here, the caller's next try is.
            Some(Unique::TenantSlug) => Self::SlugTaken(new.slug.following().take(3).collect()),
            _ => Self::Failed { part: refused.table.unwrap_or_else(|| "batch".into()), source: refused.source },
        }
    }

    /// One line a sign-up that came to nothing: ERROR with the cause where that is ours, INFO where it is a refusal.
    pub fn log(&self, door: Door, email: &str, slug: &str) {
        let door = door.as_str();
        metrics::counter!("tenantry_signups_total", "door" => door, "outcome" => self.outcome()).increment(1);
        if let Self::Failed { part, source } = self {
            tracing::error!(
                feature = "signup", event = "tenant_provisioning_failed", door, slug, email, failed_part = part.as_str(), cause = %chain(source),
                "Tenant provisioning failed - signup aborted, no partial tenant created"
            );
        } else {
            tracing::info!(feature = "signup", door, slug, refusal = %self, "Sign-up refused");
        }
    }

    fn outcome(&self) -> &'static str {
        match self {
            Self::SignupsDisabled | Self::SelfServeDisabled => "closed",
            Self::EmailTaken => "email_taken",
            Self::SlugTaken(_) => "slug_taken",
            Self::Invalid(_)
            | Self::PlanNotSelfServe
            | Self::BillingNotConfigured
            | Self::WebhookNotAllowed(_)
            | Self::ProvisionAlreadyStarted
            | Self::Gone
            | Self::Provisioning(_)
            | Self::Team(_)
            | Self::Identity(_)
            | Self::InProgress => "refused",
            Self::Overloaded(_) => "overloaded",
            Self::Failed { .. } | Self::Database(_) => "failed",
        }
    }
}

impl From<NotKept> for Error {
    fn from(error: NotKept) -> Self {
        match error {
            NotKept::InProgress => Self::InProgress,
            NotKept::Database { part, source } => Self::failed(part, source),
        }
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        use axum::http::StatusCode;
        let unprocessable = StatusCode::UNPROCESSABLE_ENTITY;
        match error {
            Error::SignupsDisabled => {
                closed("SIGNUPS_DISABLED", "Sign-ups are closed for the moment. Please try again later.")
            }
            Error::SelfServeDisabled => {
                closed("SELF_SERVE_DISABLED", "Signing up by yourself is not available here. Ask for an invite.")
            }
            Error::Invalid(errors) => Self::invalid(errors),
            Error::PlanNotSelfServe => {
                Self::new(unprocessable, "PLAN_NOT_SELF_SERVE", "This plan is made to measure. Please contact sales.")
            }
            Error::BillingNotConfigured => {
                closed("BILLING_NOT_CONFIGURED", "Payment by card is not available here. Choose another way to pay.")
            }
            Error::EmailTaken => Self::conflict("EMAIL_TAKEN", "There is already an account with this email address."),
            Error::SlugTaken(suggestions) => {
                let suggestions: Vec<_> = suggestions.iter().map(Slug::as_str).collect();
                Self::conflict("SLUG_TAKEN", "This address is taken. How about another?")
                    .with("suggestions", suggestions)
            }
            Error::WebhookNotAllowed(reason) => Self::new(unprocessable, "WEBHOOK_NOT_ALLOWED", reason),
            Error::ProvisionAlreadyStarted => Self::conflict(
                "PROVISION_ALREADY_STARTED",
                "Provisioning has already started; the webhook can no longer be changed here.",
            ),
            Error::Gone => Self::new(
                StatusCode::UNAUTHORIZED,
                "TOKEN_INVALID",
                "The sign-up that this token was for is gone. Start again with step 1.",
            ),
            Error::Overloaded(overloaded) => overloaded.into(),
            Error::Provisioning(error) => error.into(),
            Error::Team(error) => error.into(),
            Error::Identity(error) => error.into(),
            Error::InProgress => NotKept::InProgress.into(),
            Error::Failed { source, .. } if db::is_unavailable(&source) => Self::database(&source),
            Error::Failed { .. } => {
                Self::new(unprocessable, "TENANT_PROVISIONING_ERROR", "Failed to complete signup. Please try again.")
            }
            Error::Database(source) => Self::database(&source),
        }
    }
}

fn closed(code: &'static str, detail: &str) -> Problem {
    Problem::new(axum::http::StatusCode::SERVICE_UNAVAILABLE, code, detail)
        .retry_after(std::time::Duration::from_mins(1))
}
