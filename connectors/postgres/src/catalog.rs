//! Tables as the catalog has them now, in a handful of statements however many tables there are.
//!
//! Source: PostgreSQL manual, "System Catalogs". The session's search_path is empty, so every name is printed with its
//! schema. What is dropped between two of the statements is left out.

mod columns;
mod foreign_keys;
mod indexes;
mod traces;
mod user_types;
mod version;

use crate::connection::from_pg;
use rowferry_api::{Dialect, Result, SourceTable, TableName, TableSchema};
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use tokio_postgres::{Client, Row};
pub(crate) use traces::untold;
pub(crate) use version::version;

/// Which tables to look up.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Which<'a> {
    /// All that could be replicated.
    All,
    /// Those of these that could be replicated.
    Oids(&'a [u32]),
}

/// Tables of the user that are kept on disk and logged, and partitioned tables; `$1` narrows them to some oids. The rows
/// and bytes of a partitioned table are those of its leaves.
const TABLES: &str = "
    WITH chosen AS (
        SELECT c.oid, n.nspname, c.relname, c.relkind, c.relreplident, c.relispartition
        FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE c.relkind IN ('r', 'p') AND c.relpersistence = 'p'
          AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'rowferry') AND n.nspname NOT LIKE 'pg\\_toast%'
          AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid
                          AND d.objsubid = 0 AND d.deptype = 'e')
          AND ($1::oid[] IS NULL OR c.oid = ANY($1))),
    sizes AS (
        SELECT c.oid, sum(greatest(l.reltuples, 0))::int8 AS rows, sum(pg_table_size(l.oid))::int8 AS bytes
        FROM chosen c
        CROSS JOIN LATERAL (SELECT c.oid AS relid WHERE c.relkind = 'r'
                            UNION ALL SELECT p.relid FROM pg_partition_tree(c.oid) p WHERE p.isleaf AND c.relkind = 'p') t
        JOIN pg_class l ON l.oid = t.relid AND l.relkind = 'r'
        GROUP BY c.oid),
    ancestors AS (
        SELECT c.oid, array_agg(an.nspname::text ORDER BY p.place DESC) AS schemas,
               array_agg(ac.relname::text ORDER BY p.place DESC) AS names
        FROM chosen c
        CROSS JOIN LATERAL pg_partition_ancestors(c.oid) WITH ORDINALITY AS p(relid, place)
        JOIN pg_class ac ON ac.oid = p.relid JOIN pg_namespace an ON an.oid = ac.relnamespace
        WHERE c.relispartition AND p.relid <> c.oid
        GROUP BY c.oid)
    SELECT c.oid, c.nspname, c.relname, c.relreplident::text, coalesce(a.schemas, '{}'), coalesce(a.names, '{}'),
           coalesce(s.rows, 0), coalesce(s.bytes, 0)
    FROM chosen c LEFT JOIN sizes s USING (oid) LEFT JOIN ancestors a USING (oid)
    ORDER BY c.nspname, c.relname";

/// A table with what this crate alone needs to know of it.
pub(crate) struct Entry {
    pub table: SourceTable,
    pub oid: u32,
    /// pg_class.relreplident: d, n, f or i.
    pub identity: char,
    /// Columns that the replica identity holds in the log.
    pub identity_columns: Vec<String>,
}

/// Looks tables up. `logs_generated`: the log carries stored generated columns (PostgreSQL 18, if published). `traces_of`: the
/// publication, where it is asked what DDL leaves.
pub(crate) async fn entries(
    client: &Client,
    which: Which<'_>,
    logs_generated: bool,
    traces_of: Option<&str>,
) -> Result<Vec<Entry>> {
    let only = match which {
        Which::All => None,
        Which::Oids(oids) => Some(oids),
    };
    let tables = client.query(TABLES, &[&only]).await.map_err(|error| from_pg("read the catalog's tables", error))?;
    let found: Vec<u32> = tables.iter().map(|row| row.get(0)).collect();
    let mut columns = columns::load(client, &found, logs_generated).await?;
    let mut indexes = indexes::load(client, &found).await?;
    let mut foreign_keys = foreign_keys::load(client, &found).await?;
    let used: BTreeSet<u32> = columns.values().flat_map(|columns| columns.type_oids.iter().copied()).collect();
    let types = user_types::load(client, &used.into_iter().collect::<Vec<_>>()).await?;
    let mut traces = match traces_of {
        Some(publication) => traces::load(client, &found, publication).await?,
        None => HashMap::new(),
    };
    let entry = |row: &Row| {
        let oid: u32 = row.get(0);
        let identity = row.get::<_, String>(3).chars().next().unwrap_or('d');
        let columns = columns.remove(&oid).unwrap_or_default();
        let choice = indexes::choose_key(&indexes.remove(&oid).unwrap_or_default(), identity, &columns.carried);
        let schema = TableSchema {
            name: TableName::new(row.get::<_, String>(1), row.get::<_, String>(2)),
            dialect: Dialect::Postgres,
            key: choice.key,
            indexes: choice.secondary,
            foreign_keys: foreign_keys.remove(&oid).unwrap_or_default(),
            types: user_types::needed(&types, &columns.type_oids),
            columns: columns.carried,
            computed: columns.computed,
        };
        let traces = traces.remove(&oid).unwrap_or_default();
        Entry { table: source_table(row, schema, traces), oid, identity, identity_columns: choice.identity }
    };
    Ok(tables.iter().map(entry).collect())
}

fn source_table(row: &Row, schema: TableSchema, traces: String) -> SourceTable {
    let (schemas, names): (Vec<String>, Vec<String>) = (row.get(4), row.get(5));
    SourceTable {
        id: row.get::<_, u32>(0).into(),
        schema: Arc::new(schema),
        ancestors: schemas.into_iter().zip(names).map(|(schema, name)| TableName::new(schema, name)).collect(),
        estimated_rows: row.get::<_, i64>(6).unsigned_abs(),
        estimated_bytes: row.get::<_, i64>(7).unsigned_abs(),
        traces,
    }
}

/// One table by its oid, stored generated columns among the carried; `None` if it is gone.
pub(crate) async fn table_by_oid(client: &Client, oid: u32) -> Result<Option<SourceTable>> {
    let entries = entries(client, Which::Oids(&[oid]), true, None).await?;
    Ok(entries.into_iter().next().map(|entry| entry.table))
}

/// The oids of tables by name; those that are gone are absent.
pub(crate) async fn oids(client: &Client, names: &[TableName]) -> Result<HashMap<TableName, u32>> {
    let schemas: Vec<&str> = names.iter().map(|name| name.schema.as_str()).collect();
    let tables: Vec<&str> = names.iter().map(|name| name.name.as_str()).collect();
    let rows = client
        .query(
            "SELECT n.nspname, c.relname, c.oid FROM unnest($1::text[], $2::text[]) AS t(nspname, relname)
             JOIN pg_namespace n ON n.nspname = t.nspname
             JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = t.relname AND c.relkind IN ('r', 'p')",
            &[&schemas, &tables],
        )
        .await
        .map_err(|error| from_pg("look up tables", error))?;
    Ok(rows.iter().map(|row| (TableName::new(row.get::<_, String>(0), row.get::<_, String>(1)), row.get(2))).collect())
}
