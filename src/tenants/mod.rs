//! Tenants: customer organisations, their memberships and hostnames.
//!
//! A tenant's `status` goes `pending → active` when it is provisioned the first time (or `pending_payment → pending →
//! active` where it pays first), and later to `suspended` and `closed`. Only `signup::provision_tenant` makes one.

mod erase;
pub mod slugs;
pub(crate) mod store;

pub use erase::{erase, hold_users};
use sea_orm::{DeriveActiveEnum, EnumIter};
use serde::{Deserialize, Serialize};
pub use store::{TenantRow, by_hostname, by_id, by_slug, list, lock, set_branding, slugs};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::config::Config;

/// Where a tenant stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumIter, DeriveActiveEnum, Serialize, Deserialize, ToSchema)]
#[sea_orm(rs_type = "String", db_type = "Text", rename_all = "snake_case")]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Until provisioned the first time.
    Pending,
    /// Until the first invoice is paid.
    PendingPayment,
    /// Open.
    Active,
    /// Closed for now by the operator.
    Suspended,
    /// Closed for good.
    Closed,
}

/// Where a tenant's provisioning stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumIter, DeriveActiveEnum, Serialize, Deserialize, ToSchema)]
#[sea_orm(rs_type = "String", db_type = "Text", rename_all = "snake_case")]
#[serde(rename_all = "snake_case")]
pub enum ProvisionState {
    /// Not started.
    Pending,
    /// Under way.
    Processing,
    /// Done.
    Complete,
    /// Given up; a retry is possible.
    Failed,
}

impl ProvisionState {
    /// As it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Processing => "processing",
            Self::Complete => "complete",
            Self::Failed => "failed",
        }
    }
}

/// The way in that made a tenant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumIter, DeriveActiveEnum, Serialize, Deserialize, ToSchema)]
#[sea_orm(rs_type = "String", db_type = "Text", rename_all = "snake_case")]
#[serde(rename_all = "snake_case")]
pub enum Door {
    /// The sign-up wizard.
    Wizard,
    /// The register API.
    Register,
    /// `OAuth` sign-up.
    Oauth,
    /// A platform administrator.
    Admin,
    /// The command line.
    Cli,
}

impl Door {
    /// Its name in logs, metrics and the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Wizard => "wizard",
            Self::Register => "register",
            Self::Oauth => "oauth",
            Self::Admin => "admin",
            Self::Cli => "cli",
        }
    }
}

/// What a member may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumIter, DeriveActiveEnum, Serialize, Deserialize, ToSchema)]
#[sea_orm(rs_type = "String", db_type = "Text", rename_all = "snake_case")]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// The one who answers for the tenant.
    Owner,
    /// Manages it.
    Admin,
    /// Works in it.
    Member,
    /// Looks.
    Viewer,
}

impl Role {
    /// As it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Owner => "owner",
            Self::Admin => "admin",
            Self::Member => "member",
            Self::Viewer => "viewer",
        }
    }
}

/// How a tenant looks.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct Branding {
    /// `#rrggbb`; null until the tenant has chosen.
    pub primary_color: Option<String>,
    /// `#rrggbb`
    pub secondary_color: Option<String>,
    /// Where the logo is.
    pub logo_url: Option<String>,
}

/// A tenant as the API shows it.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct TenantView {
    /// Its id.
    pub id: Uuid,
    /// Its name in addresses.
    pub slug: String,
    /// Its name.
    pub name: String,
    /// Where it stands.
    pub status: Status,
    /// Where its provisioning stands.
    pub provision_state: ProvisionState,
    /// How it looks.
    pub branding: Branding,
}

/// Where a tenant's public page is: its hostname, reached as the product itself is.
pub fn page_url(config: &Config, slug: &str) -> String {
    let (public, domain) = (&config.public_url, &config.base_domain);
    let port = public.port().map(|port| format!(":{port}")).unwrap_or_default();
    format!("{}://{slug}.{domain}{port}/", public.scheme())
}
