//! The schema, by version. A version that was released never changes; both dialects have the same columns.

use sqlx::SqlSafeStr as _;
use sqlx::migrate::{Migration, MigrationType, Migrator};

/// A version of the schema: its number, its name, its text for SQLite and for PostgreSQL.
struct Version(i64, &'static str, &'static str, &'static str);

macro_rules! version {
    ($number:literal, $name:literal, $file:literal) => {
        Version(
            $number,
            $name,
            include_str!(concat!("../migrations/sqlite/", $file)),
            include_str!(concat!("../migrations/postgres/", $file)),
        )
    };
}

/// All versions, oldest first.
const VERSIONS: &[Version] = &[version!(1, "first", "0001_first.sql")];

/// Returns the newest version that this program knows.
#[must_use]
pub fn newest() -> i64 {
    VERSIONS.last().map_or(0, |version| version.0)
}

/// Returns the migrations of SQLite.
pub(crate) fn sqlite() -> Migrator {
    migrator(|version| version.2)
}

/// Returns the migrations of PostgreSQL.
pub(crate) fn postgres() -> Migrator {
    migrator(|version| version.3)
}

fn migrator(text: impl Fn(&Version) -> &'static str) -> Migrator {
    let migration = |version: &Version| {
        let sql = text(version).into_sql_str();
        Migration::new(version.0, version.1.into(), MigrationType::Simple, sql, false)
    };
    Migrator::with_migrations(VERSIONS.iter().map(migration).collect())
}
