//! The publication: which tables the log carries.

use crate::connection::{from_pg, quote_name, quote_table};
use rowferry_api::{Result, SourceTable, TableName};
use std::collections::HashSet;
use tokio_postgres::Client;

/// Version 13: partitioned tables in publications.
const WITH_ROOTS: i32 = 130_000;

/// The server's version as a number: 15.18 is 150018.
pub(crate) async fn server_version(client: &Client) -> Result<i32> {
    let row = client
        .query_one("SELECT current_setting('server_version_num')::int4", &[])
        .await
        .map_err(|error| from_pg("ask for the server's version", error))?;
    Ok(row.get(0))
}

/// A publication as the server shows it.
pub(crate) struct Publication {
    pub all_tables: bool,
    pub operations: [bool; 4],
    /// Tables with a row filter or a column list (15 and later).
    pub narrowed: HashSet<TableName>,
    pub tables: HashSet<TableName>,
}

pub(crate) async fn look(client: &Client, name: &str) -> Result<Option<Publication>> {
    let failed = |error| from_pg(format!("look at publication \"{name}\""), error);
    let row = client
        .query_opt(
            "SELECT puballtables, pubinsert, pubupdate, pubdelete, pubtruncate FROM pg_publication p WHERE pubname = $1",
            &[&name],
        )
        .await
        .map_err(failed)?;
    let Some(row) = row else { return Ok(None) };
    let tables = client
        .query("SELECT schemaname::text, tablename::text FROM pg_publication_tables WHERE pubname = $1", &[&name])
        .await
        .map_err(failed)?;
    let narrowed = client
        .query(
            "SELECT n.nspname::text, c.relname::text FROM pg_publication_rel r JOIN pg_publication p ON p.oid = r.prpubid \
             JOIN pg_class c ON c.oid = r.prrelid JOIN pg_namespace n ON n.oid = c.relnamespace \
             WHERE p.pubname = $1 AND (to_jsonb(r)->>'prqual' IS NOT NULL OR to_jsonb(r)->>'prattrs' IS NOT NULL)",
            &[&name],
        )
        .await
        .map_err(failed)?;
    let names = |rows: &[tokio_postgres::Row]| {
        rows.iter().map(|row| TableName::new(row.get::<_, String>(0), row.get::<_, String>(1))).collect()
    };
    Ok(Some(Publication {
        all_tables: row.get(0),
        operations: [row.get(1), row.get(2), row.get(3), row.get(4)],
        narrowed: names(&narrowed),
        tables: names(&tables),
    }))
}

/// Whether the log carries stored generated columns (PostgreSQL 18, where the publication says so).
pub(crate) async fn logs_generated(client: &Client, name: &str) -> Result<bool> {
    let row = client
        .query_opt("SELECT coalesce(to_jsonb(p)->>'pubgencols', 'n') = 's' FROM pg_publication p WHERE pubname = $1", &[&name])
        .await
        .map_err(|error| from_pg(format!("look at publication \"{name}\""), error))?;
    Ok(row.is_some_and(|row| row.get(0)))
}

/// Makes the publication carry these tables; takes none out. Repeating it is safe.
pub(crate) async fn include(client: &Client, name: &str, tables: &[SourceTable]) -> Result<()> {
    let failed = |error| {
        from_pg(format!("make publication \"{name}\" carry the tables"), error)
    };
    let quoted = |names: &[&TableName]| names.iter().map(|name| quote_table(name)).collect::<Vec<_>>().join(", ");
    let names: Vec<&TableName> = tables.iter().map(|table| &table.schema.name).collect();
    let Some(publication) = look(client, name).await? else {
        let via_root = server_version(client).await? >= WITH_ROOTS;
        let options = if via_root { " WITH (publish_via_partition_root = true)" } else { "" };
        let list = if names.is_empty() { String::new() } else { format!(" FOR TABLE {}", quoted(&names)) };
        let statement = format!("CREATE PUBLICATION {}{list}{options}", quote_name(name));
        return client.batch_execute(&statement).await.map_err(failed);
    };
    let missing: Vec<&TableName> = names.into_iter().filter(|table| !publication.tables.contains(table)).collect();
    if publication.all_tables || missing.is_empty() {
        return Ok(());
    }
    let statement = format!("ALTER PUBLICATION {} ADD TABLE {}", quote_name(name), quoted(&missing));
    client.batch_execute(&statement).await.map_err(failed)
}
