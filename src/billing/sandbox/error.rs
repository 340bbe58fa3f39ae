//! What the sandbox refuses, in Stripe's words (<https://docs.stripe.com/api/errors>).

use sea_orm::DbErr;
use serde_json::{Value, json};

use crate::db::BatchError;

/// Why a call is refused.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No key, or not ours.
    #[error("Invalid API Key provided. The sandbox's key is in its greeting and at /dev/sandbox.json.")]
    Key,
    /// There is no such call.
    #[error("Unrecognized request URL ({0}). The sandbox knows the calls that Tenantry makes.")]
    Route(String),
    /// A parameter that has to be there.
    #[error("Missing required param: {0}.")]
    Missing(String),
    /// A parameter that Stripe has not, or the sandbox not yet: better refused than passed over.
    #[error("Received unknown parameter: {0}")]
    Unknown(String),
    /// A parameter whose value is refused.
    #[error("{message}")]
    Invalid {
        /// Which.
        param: String,
        /// Why.
        message: String,
    },
    /// There is no such object.
    #[error("No such {kind}: '{id}'")]
    NoSuch {
        /// Stripe's name of the kind.
        kind: String,
        /// The id.
        id: String,
        /// The parameter that named it; `id` where that was the address.
        param: String,
    },
    /// The object's state does not allow it.
    #[error("{message}")]
    State {
        /// Stripe's code.
        code: &'static str,
        /// Why.
        message: String,
    },
    /// The card was charged in vain, and the call has done nothing.
    #[error("{}", .0.message())]
    Declined(Decline),
    /// The card was charged in vain, and the try is on the books: the call is committed.
    #[error("{}", .0.message())]
    Tried(Decline),
    /// The key was sent with other parameters before.
    #[error("Keys for idempotent requests can only be used with the same parameters they were first used with.")]
    KeyReused,
    /// A call under the same key is running.
    #[error("There is currently another in-progress request using this Idempotent Key. Please try again later.")]
    KeyInUse,
    /// What a fault was ordered to answer.
    #[error("This failure was ordered.")]
    Ordered(u16),
    /// The database.
    #[error("An error occurred in the sandbox.")]
    Database(#[from] DbErr),
}

impl From<BatchError> for Error {
    fn from(error: BatchError) -> Self {
        Self::Database(error.source)
    }
}

/// Why a card was not charged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decline {
    /// The bank gives no reason.
    Generic,
    /// There is no money.
    Funds,
    /// There is no card.
    NoCard,
}

impl Decline {
    /// For people.
    pub fn message(self) -> &'static str {
        match self {
            Self::Generic => "Your card was declined.",
            Self::Funds => "Your card has insufficient funds.",
            Self::NoCard => "This customer has no attached payment source or default payment method.",
        }
    }

    fn reason(self) -> Option<&'static str> {
        match self {
            Self::Generic => Some("generic_decline"),
            Self::Funds => Some("insufficient_funds"),
            Self::NoCard => None,
        }
    }
}

impl Error {
    /// A refused value.
    pub fn invalid(param: &str, message: impl Into<String>) -> Self {
        Self::Invalid { param: param.to_owned(), message: message.into() }
    }

    /// A state that does not allow the call.
    pub fn state(code: &'static str, message: impl Into<String>) -> Self {
        Self::State { code, message: message.into() }
    }

    /// The HTTP status.
    pub fn status(&self) -> u16 {
        match self {
            Self::Key => 401,
            Self::Declined(decline) | Self::Tried(decline) if *decline != Decline::NoCard => 402,
            Self::Route(_) => 404,
            Self::NoSuch { param, .. } if param == "id" => 404,
            Self::KeyInUse => 409,
            Self::Ordered(status) => *status,
            Self::Database(_) => 500,
            Self::Missing(_)
            | Self::Unknown(_)
            | Self::Invalid { .. }
            | Self::NoSuch { .. }
            | Self::State { .. }
            | Self::Declined(_)
            | Self::Tried(_)
            | Self::KeyReused => 400,
        }
    }

    /// Whether the answer is kept under the call's idempotency key. Where nothing was begun, the call may be sent again under it.
    pub fn is_kept(&self) -> bool {
        match self {
            Self::Declined(_) | Self::Tried(_) | Self::NoSuch { .. } | Self::State { .. } => true,
            Self::Key
            | Self::Ordered(_)
            | Self::Route(_)
            | Self::Missing(_)
            | Self::Unknown(_)
            | Self::Invalid { .. }
            | Self::KeyReused
            | Self::KeyInUse
            | Self::Database(_) => false,
        }
    }

    fn kind(&self) -> &'static str {
        match self {
            Self::Declined(Decline::Generic | Decline::Funds)
            | Self::Tried(Decline::Generic | Decline::Funds)
            | Self::Ordered(402) => "card_error",
            Self::KeyReused | Self::KeyInUse => "idempotency_error",
            Self::Database(_) | Self::Ordered(500..) => "api_error",
            _ => "invalid_request_error",
        }
    }

    fn code(&self) -> Option<&'static str> {
        match self {
            Self::Missing(_) => Some("parameter_missing"),
            Self::Unknown(_) => Some("parameter_unknown"),
            Self::NoSuch { .. } | Self::Declined(Decline::NoCard) | Self::Tried(Decline::NoCard) => {
                Some("resource_missing")
            }
            Self::State { code, .. } => Some(code),
            Self::Declined(_) | Self::Tried(_) | Self::Ordered(402) => Some("card_declined"),
            Self::KeyInUse => Some("idempotency_key_in_use"),
            Self::Ordered(429) => Some("rate_limit"),
            _ => None,
        }
    }

    fn param(&self) -> Option<&str> {
        match self {
            Self::Missing(param) | Self::Unknown(param) | Self::Invalid { param, .. } | Self::NoSuch { param, .. } => {
                Some(param)
            }
            _ => None,
        }
    }

    /// The answer's body.
    pub fn body(&self) -> Value {
        let mut error = json!({"type": self.kind(), "message": self.to_string()});
        let decline = match self {
            Self::Declined(decline) | Self::Tried(decline) => decline.reason(),
            Self::Ordered(402) => Decline::Generic.reason(),
            _ => None,
        };
        for (name, value) in [("code", self.code()), ("decline_code", decline), ("param", self.param())] {
            if let Some(value) = value {
                error[name] = value.into();
            }
        }
        json!({"error": error})
    }
}
