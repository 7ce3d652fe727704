//! The publication: which tables the log carries, and under which names.

use crate::connection::{from_pg, quote_name, quote_table};
use crate::log_reader::lost;
use crate::lsn::Lsn;
use rowferry_api::{Error, ErrorKind, Result, SourceTable, TableName, failpoint};
use std::collections::HashSet;
use tokio_postgres::{Client, Row};

/// Version 13: partitioned tables in publications.
pub(crate) const WITH_ROOTS: i32 = 130_000;

/// The server's version as a number: 15.18 is 150018.
pub(crate) async fn server_version(client: &Client) -> Result<i32> {
    let row = client.query_one("SELECT current_setting('server_version_num')::int4", &[]).await;
    Ok(row.map_err(|error| from_pg("ask for the server's version", error))?.get(0))
}

/// A publication as the server shows it.
pub(crate) struct Publication {
    /// Changes of partitions are logged as changes of their root.
    pub via_root: bool,
    pub owned: bool,
    /// Insert, update, delete, truncate.
    pub operations: [bool; 4],
    /// Tables with a row filter or a column list (15 and later).
    pub narrowed: HashSet<TableName>,
    /// Tables under whose name changes are logged.
    pub tables: HashSet<TableName>,
    /// The database's partitioned tables, in it or not.
    partitioned: HashSet<TableName>,
}

impl Publication {
    /// Why the log cannot carry this table under its own name as the publication is, and what mends it. Adding the table to it
    /// would not help.
    pub(crate) fn conflict(&self, name: &str, table: &SourceTable) -> Option<(String, String)> {
        let form = &table.schema.name;
        if self.tables.contains(form) {
            return None;
        }
        let set = |value| format!("ALTER PUBLICATION {} SET (publish_via_partition_root = {value});", quote_name(name));
        let published_root = table.ancestors.iter().find(|root| self.tables.contains(root));
        match published_root {
            Some(root) if self.via_root => {
                let what = format!("publication \"{name}\" logs the changes of partition {form} as those of {root}");
                Some((what, format!("replicate \"{root}\" instead, or {}", set(false))))
            }
            _ if self.partitioned.contains(form) && !self.via_root => {
                let what =
                    format!("publication \"{name}\" logs the changes of {form} under the names of its partitions");
                Some((what, set(true)))
            }
            _ => None,
        }
    }

    /// What it leaves out of all tables' changes, and what mends it.
    pub(crate) fn missing_operations(&self, name: &str) -> Option<(String, String)> {
        let names = ["insert", "update", "delete", "truncate"];
        let lacks: Vec<&str> =
            names.into_iter().zip(self.operations).filter(|(_, has)| !has).map(|(name, _)| name).collect();
        let mend =
            format!("ALTER PUBLICATION {} SET (publish = 'insert, update, delete, truncate');", quote_name(name));
        (!lacks.is_empty()).then(|| (format!("it does not publish {}", lacks.join(", ")), mend))
    }

    /// Whether it carries only a part of a table, and what mends it.
    pub(crate) fn narrowing(&self, name: &str, table: &SourceTable) -> Option<(String, String)> {
        let form = &table.schema.name;
        let narrowed = std::iter::once(form).chain(&table.ancestors).find(|name| self.narrowed.contains(name))?;
        let (publication, narrowed) = (quote_name(name), quote_table(narrowed));
        let what =
            format!("publication {publication} carries only some of its rows or columns (WHERE, or a list of columns)");
        let mend = format!(
            "ALTER PUBLICATION {publication} DROP TABLE {narrowed}; ALTER PUBLICATION {publication} ADD TABLE ONLY {narrowed};"
        );
        Some((what, mend))
    }

    /// Refuses what `check` would find in the way of these tables.
    fn refuse_unfit(&self, name: &str, tables: &[SourceTable]) -> Result<()> {
        if let Some((what, mend)) = self.missing_operations(name) {
            return Err(Error::new(ErrorKind::Config, format!("use publication \"{name}\": {what}")).hint(mend));
        }
        for table in tables {
            if let Some((what, mend)) = self.conflict(name, table).or_else(|| self.narrowing(name, table)) {
                return Err(refused(&table.schema.name, &what).hint(mend));
            }
        }
        Ok(())
    }
}

fn refused(table: &TableName, what: &str) -> Error {
    Error::new(ErrorKind::Config, format!("make the log carry {table}: {what}"))
}

const MEMBERS: &str = "
    SELECT n.nspname::text, c.relname::text, to_jsonb(r)->>'prqual' IS NOT NULL OR to_jsonb(r)->>'prattrs' IS NOT NULL
    FROM pg_publication_rel r JOIN pg_publication p ON p.oid = r.prpubid
    JOIN pg_class c ON c.oid = r.prrelid JOIN pg_namespace n ON n.oid = c.relnamespace WHERE p.pubname = $1";

const PARTITIONED: &str = "
    SELECT n.nspname::text, c.relname::text
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind = 'p'";

/// Looks a publication up. Changes nothing.
pub(crate) async fn look(client: &Client, name: &str) -> Result<Option<Publication>> {
    let failed = |error| from_pg(format!("look at publication \"{name}\""), error);
    let row = client
        .query_opt(
            "SELECT coalesce((to_jsonb(p)->>'pubviaroot')::bool, false), pg_has_role(pubowner, 'USAGE'), \
                    pubinsert, pubupdate, pubdelete, pubtruncate FROM pg_publication p WHERE pubname = $1",
            &[&name],
        )
        .await
        .map_err(failed)?;
    let Some(row) = row else { return Ok(None) };
    let tables = client
        .query("SELECT schemaname::text, tablename::text FROM pg_publication_tables WHERE pubname = $1", &[&name])
        .await
        .map_err(failed)?;
    let members = client.query(MEMBERS, &[&name]).await.map_err(failed)?;
    let partitioned = client.query(PARTITIONED, &[]).await.map_err(failed)?;
    let name_of = |row: &Row| TableName::new(row.get::<_, String>(0), row.get::<_, String>(1));
    Ok(Some(Publication {
        via_root: row.get(0),
        owned: row.get(1),
        operations: [row.get(2), row.get(3), row.get(4), row.get(5)],
        narrowed: members.iter().filter(|row| row.get(2)).map(name_of).collect(),
        tables: tables.iter().map(name_of).collect(),
        partitioned: partitioned.iter().map(name_of).collect(),
    }))
}

/// Whether the log carries stored generated columns (PostgreSQL 18, where the publication says so).
pub(crate) async fn logs_generated(client: &Client, name: &str) -> Result<bool> {
    let row = client
        .query_opt(
            "SELECT coalesce(to_jsonb(p)->>'pubgencols', 'n') = 's' FROM pg_publication p WHERE pubname = $1",
            &[&name],
        )
        .await
        .map_err(|error| from_pg(format!("look at publication \"{name}\""), error))?;
    Ok(row.is_some_and(|row| row.get(0)))
}

/// A publication that is gone carried nothing since, and one of the same name would hide that.
pub(crate) async fn refuse_missing(client: &Client, name: &str, resume: Lsn) -> Result<()> {
    let what =
        || format!("resume at {resume}: publication \"{name}\" is gone, and with it what the source changed since");
    look(client, name).await?.map(drop).ok_or_else(|| lost(what()))
}

/// Makes the publication carry these tables; takes none out. Repeating it is safe. Returns whether it had to be changed or
/// made.
pub(crate) async fn include(client: &Client, name: &str, tables: &[SourceTable]) -> Result<bool> {
    let Some(publication) = look(client, name).await? else {
        make(client, name, tables).await?;
        failpoint!("postgres.publication_made");
        return Ok(true);
    };
    publication.refuse_unfit(name, tables)?;
    let missing: Vec<&SourceTable> =
        tables.iter().filter(|table| !publication.tables.contains(&table.schema.name)).collect();
    if missing.is_empty() {
        return Ok(false);
    }
    let statement = format!("ALTER PUBLICATION {} ADD TABLE {}", quote_name(name), list(&missing));
    client.batch_execute(&statement).await.map_err(|error| failed(name, error))?;
    failpoint!("postgres.publication_changed");
    // Another table that was added with it, or by another client meanwhile, may stand for one of them.
    let Some(publication) = look(client, name).await? else {
        return Err(Error::new(ErrorKind::Config, format!("use publication \"{name}\": it was dropped just now")));
    };
    publication.refuse_unfit(name, tables)?;
    match missing.iter().find(|table| !publication.tables.contains(&table.schema.name)) {
        Some(table) => {
            let what = format!("publication \"{name}\" does not carry it, though it was added");
            Err(refused(&table.schema.name, &what).hint("Name another `publication`: one that is missing is made."))
        }
        None => Ok(true),
    }
}

async fn make(client: &Client, name: &str, tables: &[SourceTable]) -> Result<()> {
    let via_root = server_version(client).await? >= WITH_ROOTS;
    let options = if via_root { " WITH (publish_via_partition_root = true)" } else { "" };
    let all: Vec<&SourceTable> = tables.iter().collect();
    let tables = if all.is_empty() { String::new() } else { format!(" FOR TABLE {}", list(&all)) };
    // On disk when it returns, so that a slot that is made next starts behind it.
    let statement =
        format!("SET LOCAL synchronous_commit = on; CREATE PUBLICATION {}{tables}{options}", quote_name(name));
    client.batch_execute(&statement).await.map_err(|error| failed(name, error))
}

fn failed(name: &str, error: tokio_postgres::Error) -> Error {
    from_pg(format!("make publication \"{name}\" carry the tables"), error)
}

/// Tables that inherit in the old way would come along uninvited without ONLY; partitions are not meant by it.
fn list(tables: &[&SourceTable]) -> String {
    tables.iter().map(|table| format!("ONLY {}", quote_table(&table.schema.name))).collect::<Vec<_>>().join(", ")
}
