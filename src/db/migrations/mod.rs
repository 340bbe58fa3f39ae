//! The schema's versions, and running them when several processes start at once.

mod default_plans;

use sea_orm::{ConnectionTrait, DbBackend, DbErr, sqlx};
use sea_orm_migration::{MigrationTrait, MigratorTrait, SchemaManager, async_trait};

use super::{Db, Location, refusals::from_sqlx};

struct Migrator;

impl MigratorTrait for Migrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        vec![Box::new(PartOne), Box::new(default_plans::DefaultPlans), Box::new(Identity), Box::new(Billing)]
    }
}

/// What a migration did.
#[derive(Debug)]
pub struct Migrated {
    /// The versions that were applied or rolled back, in order.
    pub versions: Vec<String>,
}

/// Brings the schema up to date. Safe to call from many processes at once: one works, the others wait.
pub async fn migrate(db: &Db) -> Result<Migrated, DbErr> {
    let lock = Lock::take(db).await?;
    let migrated = async {
        let versions = pending(db).await?;
        if !versions.is_empty() {
            Migrator::up(&db.write, None).await?;
        }
        Ok(Migrated { versions })
    };
    let migrated = migrated.await;
    // In any case: the lock belongs to the connection, which goes back to the pool.
    lock.release().await?;
    migrated
}

/// Takes the newest `steps` versions back.
///
/// # Errors
/// A version whose data would be lost is refused by its own `down`.
pub async fn roll_back(db: &Db, steps: u32) -> Result<Migrated, DbErr> {
    let lock = Lock::take(db).await?;
    let rolled_back = async {
        let applied = Migrator::get_applied_migrations(&db.write).await?;
        let versions = applied.iter().rev().take(steps as usize).map(|m| m.name().to_owned()).collect();
        // All of them or none.
        let tx = db.begin().await?;
        Migrator::down(&tx, Some(steps)).await?;
        tx.commit().await?;
        Ok(Migrated { versions })
    };
    let rolled_back = rolled_back.await;
    lock.release().await?;
    rolled_back
}

/// The versions that this binary knows and the database has not applied.
pub async fn pending(db: &Db) -> Result<Vec<String>, DbErr> {
    let pending = Migrator::get_pending_migrations(&db.write).await?;
    Ok(pending.iter().map(|m| m.name().to_owned()).collect())
}

/// Held while migrating: an advisory lock on PostgreSQL, a lock on a file beside the database on SQLite.
enum Lock {
    Postgres(sqlx::pool::PoolConnection<sqlx::Postgres>),
    File(std::fs::File),
}

/// Any number that no other use of advisory locks in this database takes.
const ADVISORY_LOCK: i64 = 0x7e6a_6e74_7279;

impl Lock {
    async fn take(db: &Db) -> Result<Self, DbErr> {
        if let Some(pool) = db.postgres() {
            let mut connection = pool.acquire().await.map_err(from_sqlx)?;
            sqlx::query("select pg_advisory_lock($1)")
                .bind(ADVISORY_LOCK)
                .execute(&mut *connection)
                .await
                .map_err(from_sqlx)?;
            return Ok(Self::Postgres(connection));
        }
        let Location::Sqlite(path) = &db.location else {
            return Err(DbErr::Custom("a database that is neither PostgreSQL nor SQLite".into()));
        };
        let path = path.with_extension("migrate-lock");
        let locked = tokio::task::spawn_blocking(move || -> std::io::Result<_> {
            let file = std::fs::File::create(path)?;
            file.lock()?;
            Ok(file)
        });
        let file = locked.await.map_err(|e| DbErr::Custom(e.to_string()))?;
        file.map(Self::File).map_err(|e| DbErr::Custom(format!("cannot lock the database for migrating: {e}")))
    }

    async fn release(self) -> Result<(), DbErr> {
        match self {
            Self::Postgres(mut connection) => {
                let unlock = sqlx::query("select pg_advisory_unlock($1)").bind(ADVISORY_LOCK);
                unlock.execute(&mut *connection).await.map(drop).map_err(from_sqlx)
            }
            Self::File(file) => file.unlock().map_err(|e| DbErr::Custom(e.to_string())),
        }
    }
}

struct PartOne;

impl sea_orm_migration::MigrationName for PartOne {
    fn name(&self) -> &'static str {
        "0001_part_one"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for PartOne {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let db = manager.get_connection();
        db.execute_unprepared(include_str!("0001_part_one.up.sql")).await?;
        db.execute_unprepared(append_only(db.get_database_backend())).await.map(drop)
    }

    /// Only an empty product can go back before its first version.
    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let db = manager.get_connection();
        refuse_with_rows(db, "tenants").await?;
        db.execute_unprepared(include_str!("0001_part_one.down.sql")).await?;
        if db.get_database_backend() == DbBackend::Postgres {
            db.execute_unprepared("drop function audit_is_append_only").await?;
        }
        Ok(())
    }

    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }
}

struct Identity;

impl sea_orm_migration::MigrationName for Identity {
    fn name(&self) -> &'static str {
        "0003_identity"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Identity {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let db = manager.get_connection();
        lock(db, "one_time_tokens").await?;
        db.execute_unprepared(include_str!("0003_identity.up.sql")).await.map(drop)
    }

    /// Ways in and second factors cannot go back to a version that knows of none.
    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let db = manager.get_connection();
        for table in ["oauth_identities", "totp_factors", "invites"] {
            refuse_with_rows(db, table).await?;
        }
        db.execute_unprepared(include_str!("0003_identity.down.sql")).await.map(drop)
    }

    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }
}

struct Billing;

impl sea_orm_migration::MigrationName for Billing {
    fn name(&self) -> &'static str {
        "0004_billing"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Billing {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let db = manager.get_connection();
        lock(db, "outbox").await?;
        db.execute_unprepared(include_str!("0004_billing.up.sql")).await.map(drop)
    }

    /// What is bought at Stripe, and what an operator has granted, cannot go back to a version that knows of neither.
    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let db = manager.get_connection();
        for table in ["stripe_events", "tenant_feature_overrides"] {
            refuse_with_rows(db, table).await?;
        }
        db.execute_unprepared(include_str!("0004_billing.down.sql")).await.map(drop)
    }

    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }
}

/// Keeps others from writing to a table that is about to be copied: replicas of the version before are still at work.
async fn lock(db: &impl ConnectionTrait, table: &str) -> Result<(), DbErr> {
    if db.get_database_backend() == DbBackend::Postgres {
        db.execute_unprepared(&format!("lock table {table} in access exclusive mode")).await?;
    }
    Ok(())
}

/// Takes back only what holds nothing.
async fn refuse_with_rows(db: &impl ConnectionTrait, table: &str) -> Result<(), DbErr> {
    let query = format!("select 1 from {table} limit 1");
    let row = db.query_one_raw(sea_orm::Statement::from_string(db.get_database_backend(), query)).await?;
    match row {
        None => Ok(()),
        Some(_) => Err(DbErr::Migration(format!("refused: rolling back would lose what is in {table}"))),
    }
}

/// Triggers that hold `audit_events` to being append-only, in the database's own dialect.
fn append_only(backend: DbBackend) -> &'static str {
    if backend == DbBackend::Postgres {
        "create function audit_is_append_only() returns trigger language plpgsql as \
         $$ begin raise exception 'audit_events is append-only'; end $$;
         create trigger audit_events_keep before update or delete on audit_events for each row execute function audit_is_append_only();"
    } else {
        "create trigger audit_events_keep_update before update on audit_events begin select raise(abort, 'audit_events is append-only'); end;
         create trigger audit_events_keep_delete before delete on audit_events begin select raise(abort, 'audit_events is append-only'); end;"
    }
}
