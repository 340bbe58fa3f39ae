//! What a database's refusal means: which unique constraint, or whether the database could not be reached.

use sea_orm::{
    DbErr, RuntimeErr,
    sqlx::{self, postgres::PgDatabaseError},
};

/// The unique constraints that a caller can run into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unique {
    /// `users.email`
    UserEmail,
    /// `tenants.slug`
    TenantSlug,
    /// `idempotency_keys.id`
    IdempotencyKey,
    /// One open run a tenant.
    OpenRun,
    /// One person of a provider a user, and one user a person.
    OauthIdentity,
    /// One membership of a user in a tenant.
    Membership,
    /// Any other.
    Other,
}

/// PostgreSQL names the index, SQLite `table.column`.
const NAMES: [(&str, &str, Unique); 7] = [
    ("users_email_key", "users.email", Unique::UserEmail),
    ("tenants_slug_key", "tenants.slug", Unique::TenantSlug),
    ("idempotency_keys_pkey", "idempotency_keys.id", Unique::IdempotencyKey),
    ("provision_runs_one_open", "provision_runs.tenant_id", Unique::OpenRun),
    ("oauth_identities_subject_key", "oauth_identities.provider, oauth_identities.subject", Unique::OauthIdentity),
    ("oauth_identities_user_key", "oauth_identities.user_id, oauth_identities.provider", Unique::OauthIdentity),
    ("memberships_pkey", "memberships.tenant_id, memberships.user_id", Unique::Membership),
];

/// Which unique constraint an error tells of, if it does.
pub fn unique(error: &DbErr) -> Option<Unique> {
    let database = sqlx_error(error)?.as_database_error()?;
    if !database.is_unique_violation() {
        return None;
    }
    let told = match database.constraint() {
        Some(index) => index,
        None => database.message().rsplit(": ").next().unwrap_or_default(),
    };
    let known = NAMES.iter().find(|(index, columns, _)| told == *index || told == *columns);
    Some(known.map_or(Unique::Other, |(_, _, unique)| *unique))
}

/// Whether the database could not be reached or had no time for us, so that a repeat may succeed.
pub fn is_unavailable(error: &DbErr) -> bool {
    if matches!(error, DbErr::ConnectionAcquire(_) | DbErr::Conn(_)) {
        return true;
    }
    match sqlx_error(error) {
        Some(
            sqlx::Error::Io(_)
            | sqlx::Error::PoolTimedOut
            | sqlx::Error::PoolClosed
            | sqlx::Error::WorkerCrashed
            | sqlx::Error::Protocol(_)
            | sqlx::Error::Tls(_),
        ) => true,
        Some(sqlx::Error::Database(e)) => e.code().is_some_and(|code| is_unavailable_code(&code)),
        _ => false,
    }
}

/// SQLSTATE of connections lost or refused, shutdown, serialization failure, deadlock and exhausted resources
/// (PostgreSQL, appendix A), and SQLite's `BUSY`, `LOCKED`, `READONLY`, `IOERR`, `FULL` and `CANTOPEN`.
fn is_unavailable_code(code: &str) -> bool {
    if code.len() == 5 {
        return ["08", "53"].contains(&&code[..2]) || ["57P01", "57P02", "57P03", "40001", "40P01"].contains(&code);
    }
    code.parse::<u32>().is_ok_and(|extended| [5, 6, 8, 10, 13, 14].contains(&(extended & 0xff)))
}

/// The table that PostgreSQL names in its refusal.
pub(super) fn table(error: &DbErr) -> Option<String> {
    let postgres = sqlx_error(error)?.as_database_error()?.try_downcast_ref::<PgDatabaseError>()?;
    postgres.table().map(str::to_owned)
}

/// An error of the driver, for connections that are made without SeaORM.
pub(super) fn from_sqlx(error: sqlx::Error) -> DbErr {
    DbErr::Conn(RuntimeErr::SqlxError(std::sync::Arc::new(error)))
}

fn sqlx_error(error: &DbErr) -> Option<&sqlx::Error> {
    match error {
        DbErr::Exec(RuntimeErr::SqlxError(e))
        | DbErr::Query(RuntimeErr::SqlxError(e))
        | DbErr::Conn(RuntimeErr::SqlxError(e)) => Some(e),
        _ => None,
    }
}
