//! Configurations of one pipeline for tests.

use crate::Database;

/// SQLite beside the configuration.
pub const SQLITE: &str = r#"{ kind = "sqlite", path = "target.db" }"#;

/// A PostgreSQL database as a target.
pub fn postgres(database: &Database) -> String {
    format!("{{ kind = \"postgres\", url = \"{}\" }}", database.url())
}

/// One pipeline, `test`, over all tables of the source. `more` follows in its section.
pub fn pipeline(source: &Database, target: &str, more: &str) -> String {
    pipeline_from(&source.url(), source.name(), target, more)
}

/// The same for any URL, with a slot and a publication of this name.
pub fn pipeline_from(url: &str, slot: &str, target: &str, more: &str) -> String {
    format!(
        "[pipeline.test]\n\
         source = {{ kind = \"postgres\", url = \"{url}\", slot = \"{slot}\", publication = \"{slot}\" }}\n\
         target = {target}\n\
         tables = [\"*.*\"]\n\
         {more}\n"
    )
}
