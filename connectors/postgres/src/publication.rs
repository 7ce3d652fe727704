//! The publication: which tables the log carries, and under which names.

use crate::connection::{from_pg, quote_name, quote_table};
use rowferry_api::{Error, ErrorKind, Result, SourceTable, TableName};
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
    pub all_tables: bool,
    /// Changes of partitions are logged as changes of their root.
    pub via_root: bool,
    pub owned: bool,
    /// Insert, update, delete, truncate.
    pub operations: [bool; 4],
    /// Tables with a row filter or a column list (15 and later).
    pub narrowed: HashSet<TableName>,
    /// Tables under whose name changes are logged.
    pub tables: HashSet<TableName>,
    /// Tables that it was made for by name.
    members: HashSet<TableName>,
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
            _ if (self.all_tables || self.members.contains(form)) && !self.via_root => {
                let what =
                    format!("publication \"{name}\" logs the changes of {form} under the names of its partitions");
                Some((what, set(true)))
            }
            _ => None,
        }
    }
}

const MEMBERS: &str = "
    SELECT n.nspname::text, c.relname::text, to_jsonb(r)->>'prqual' IS NOT NULL OR to_jsonb(r)->>'prattrs' IS NOT NULL
    FROM pg_publication_rel r JOIN pg_publication p ON p.oid = r.prpubid
    JOIN pg_class c ON c.oid = r.prrelid JOIN pg_namespace n ON n.oid = c.relnamespace WHERE p.pubname = $1";

/// Looks a publication up. Changes nothing.
pub(crate) async fn look(client: &Client, name: &str) -> Result<Option<Publication>> {
    let failed = |error| from_pg(format!("look at publication \"{name}\""), error);
    let row = client
        .query_opt(
            "SELECT puballtables, coalesce((to_jsonb(p)->>'pubviaroot')::bool, false), pg_has_role(pubowner, 'USAGE'), \
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
    let name_of = |row: &Row| TableName::new(row.get::<_, String>(0), row.get::<_, String>(1));
    Ok(Some(Publication {
        all_tables: row.get(0),
        via_root: row.get(1),
        owned: row.get(2),
        operations: [row.get(3), row.get(4), row.get(5), row.get(6)],
        narrowed: members.iter().filter(|row| row.get(2)).map(name_of).collect(),
        tables: tables.iter().map(name_of).collect(),
        members: members.iter().map(name_of).collect(),
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

/// Makes the publication carry these tables; takes none out. Repeating it is safe. Returns whether it had to be made.
pub(crate) async fn include(client: &Client, name: &str, tables: &[SourceTable]) -> Result<bool> {
    let failed = |error| from_pg(format!("make publication \"{name}\" carry the tables"), error);
    // Tables that inherit in the old way would come along uninvited without ONLY; partitions are not meant by it.
    let list = |tables: &[&SourceTable]| {
        tables.iter().map(|table| format!("ONLY {}", quote_table(&table.schema.name))).collect::<Vec<_>>().join(", ")
    };
    let Some(publication) = look(client, name).await? else {
        let via_root = server_version(client).await? >= WITH_ROOTS;
        let options = if via_root { " WITH (publish_via_partition_root = true)" } else { "" };
        let all: Vec<&SourceTable> = tables.iter().collect();
        let list = if all.is_empty() { String::new() } else { format!(" FOR TABLE {}", list(&all)) };
        // On disk when it returns, so that a slot that is made next starts behind it.
        let statement =
            format!("SET LOCAL synchronous_commit = on; CREATE PUBLICATION {}{list}{options}", quote_name(name));
        return client.batch_execute(&statement).await.map_err(failed).map(|()| true);
    };
    for table in tables {
        if let Some((what, mend)) = publication.conflict(name, table) {
            return Err(
                Error::new(ErrorKind::Config, format!("make the log carry {}: {what}", table.schema.name)).hint(mend)
            );
        }
    }
    let missing: Vec<&SourceTable> =
        tables.iter().filter(|table| !publication.tables.contains(&table.schema.name)).collect();
    if !missing.is_empty() {
        let statement = format!("ALTER PUBLICATION {} ADD TABLE {}", quote_name(name), list(&missing));
        client.batch_execute(&statement).await.map_err(failed)?;
    }
    Ok(false)
}
