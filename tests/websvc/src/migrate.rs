//! `websvc migrate`: the database is brought to the version of this image.

use std::collections::HashSet;
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow};
use sqlx::migrate::{Migrate, MigrateError, Migration, Migrator};
use sqlx::postgres::{PgConnectOptions, PgConnection, PgDatabaseError};
use sqlx::{ConnectOptions, Connection};

const DIRECTORY: &str = "migrations";
/// The table in which the migrator keeps its record; the library's default.
const RECORD: &str = "_sqlx_migrations";

/// Applies what `./migrations` holds and the database has not seen, each in a transaction of its
/// own, and prints a line for each. At the first that fails it stops: those before it stay.
pub(crate) async fn run(database: &PgConnectOptions) -> anyhow::Result<()> {
    let migrator = load(Path::new(DIRECTORY)).await?;
    let mut connection = database
        .connect()
        .await
        .context("cannot reach the database")?;
    end_with_the_client(&mut connection).await;

    // Held for the whole run, so that of two migrations started at once the second waits and
    // then finds nothing to do.
    connection.lock().await?;
    let applied = apply_all(&migrator, &mut connection).await?;
    connection.unlock().await?;
    connection.close().await?;
    if applied == 0 {
        say(format_args!("nothing to migrate"))?;
    }
    Ok(())
}

async fn load(directory: &Path) -> anyhow::Result<Migrator> {
    let mut migrator = Migrator::new(directory)
        .await
        .with_context(|| format!("cannot read the directory {}", directory.display()))?;
    // After a rollback an older image meets a newer database: migrations only ever expand what
    // the version before them uses, so that it can work with it.
    migrator.set_ignore_missing(true).set_locking(false);
    Ok(migrator)
}

/// PostgreSQL notices a client that died only when it answers it. A migration that was stopped
/// must not go on behind everybody's back, so the server is asked to look every second. Servers
/// older than 14 can not.
async fn end_with_the_client(connection: &mut PgConnection) {
    let set = sqlx::query("SET client_connection_check_interval = '1s'");
    if let Err(error) = set.execute(connection).await {
        tracing::warn!(%error, "a migration that is stopped may go on in the database until its statement ends");
    }
}

/// How many migrations were applied.
async fn apply_all(migrator: &Migrator, connection: &mut PgConnection) -> anyhow::Result<usize> {
    connection.ensure_migrations_table(RECORD).await?;
    let seen: HashSet<i64> = connection
        .list_applied_migrations(RECORD)
        .await?
        .into_iter()
        .map(|migration| migration.version)
        .collect();
    let mut applied = 0;
    for migration in migrator
        .iter()
        .filter(|m| m.migration_type.is_up_migration())
    {
        let start = Instant::now();
        // The migrator also compares what was applied before with the files of today.
        migrator
            .run_to(migration.version, &mut *connection)
            .await
            .map_err(|error| explain(migration, error))?;
        if !seen.contains(&migration.version) {
            applied += 1;
            say(format_args!("{}", line(migration, start.elapsed())))?;
        }
    }
    Ok(applied)
}

fn line(migration: &Migration, took: Duration) -> String {
    format!(
        "applied migration {} \"{}\" in {:.1} ms",
        migration.version,
        migration.description,
        took.as_secs_f64() * 1000.0
    )
}

/// The database's own words, after the migration they are about.
fn explain(migration: &Migration, error: MigrateError) -> anyhow::Error {
    let cause = match error {
        MigrateError::ExecuteMigration(cause, _) => cause,
        MigrateError::VersionMismatch(version) => {
            return anyhow!(
                "migration {version} was changed after it had been applied to this database"
            );
        }
        other => return other.into(),
    };
    let mut words = format!(
        "migration {} \"{}\" failed: ",
        migration.version, migration.description
    );
    match cause
        .as_database_error()
        .and_then(|e| e.try_downcast_ref::<PgDatabaseError>())
    {
        Some(database) => {
            words.push_str(database.message());
            for (name, text) in [("detail", database.detail()), ("hint", database.hint())] {
                if let Some(text) = text {
                    words.push_str(&format!("\n{name}: {text}"));
                }
            }
        }
        None => words.push_str(&cause.to_string()),
    }
    anyhow!(words)
}

fn say(words: std::fmt::Arguments<'_>) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{words}")?;
    out.flush()
}

#[cfg(test)]
mod tests {
    use sqlx::SqlSafeStr;
    use sqlx::migrate::MigrationType;

    use super::*;

    fn migration() -> Migration {
        Migration::new(
            3,
            "require slug".into(),
            MigrationType::Simple,
            "SELECT 1".into_sql_str(),
            false,
        )
    }

    #[test]
    fn a_line_says_version_description_and_time() {
        assert_eq!(
            line(&migration(), Duration::from_micros(12_345)),
            "applied migration 3 \"require slug\" in 12.3 ms"
        );
    }

    #[test]
    fn a_lost_connection_is_told_with_the_migration_it_hit() {
        let error = MigrateError::ExecuteMigration(sqlx::Error::WorkerCrashed, 3);
        let words = explain(&migration(), error).to_string();
        assert!(
            words.starts_with("migration 3 \"require slug\" failed: "),
            "{words}"
        );
    }

    #[tokio::test]
    async fn the_migrations_of_this_image_are_numbered_without_a_gap() {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join(DIRECTORY);
        let versions: Vec<i64> = load(&directory)
            .await
            .unwrap()
            .iter()
            .map(|m| m.version)
            .collect();
        assert_eq!(versions, (1..=versions.len() as i64).collect::<Vec<_>>());
    }

    #[tokio::test]
    async fn a_missing_directory_is_named() {
        let error = load(Path::new("no/such/directory")).await.unwrap_err();
        assert!(error.to_string().contains("no/such/directory"));
    }
}
