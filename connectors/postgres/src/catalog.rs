//! Tables as the catalog has them now, in a handful of statements however many tables there are.
//!
//! Source: PostgreSQL manual, "System Catalogs". The session's search_path is empty, so every name is printed with its
//! schema.

mod columns;
mod indexes;
mod user_types;

use crate::connection::from_pg;
use rowferry_api::{Dialect, Error, Result, SourceTable, TableName, TableSchema};
use std::collections::HashMap;
use std::sync::Arc;
use tokio_postgres::{Client, Row};

/// Which tables to look up.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Which<'a> {
    /// All that could be replicated.
    All,
    /// These, whatever they are.
    Oids(&'a [u32]),
}

impl Which<'_> {
    fn oids(&self) -> Option<Vec<u32>> {
        match self {
            Self::All => None,
            Self::Oids(oids) => Some(oids.to_vec()),
        }
    }
}

/// Tables of the user that are kept on disk and logged, and partitioned tables; `$1` narrows them to some oids.
const TABLES: &str = "
    SELECT c.oid, n.nspname, c.relname, c.relreplident::text,
           coalesce((SELECT array_agg(an.nspname || E'\\x01' || ac.relname ORDER BY p.place DESC)
                     FROM pg_partition_ancestors(c.oid) WITH ORDINALITY AS p(relid, place)
                     JOIN pg_class ac ON ac.oid = p.relid JOIN pg_namespace an ON an.oid = ac.relnamespace
                     WHERE p.relid <> c.oid AND c.relispartition), '{}'),
           (SELECT coalesce(sum(greatest(l.reltuples, 0)), 0)::int8 FROM leaves l WHERE l.root = c.oid),
           (SELECT coalesce(sum(pg_relation_size(l.oid)), 0)::int8 FROM leaves l WHERE l.root = c.oid)
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p') AND c.relpersistence = 'p'
      AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'rowferry') AND n.nspname NOT LIKE 'pg\\_toast%'
      AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
      AND ($1::oid[] IS NULL OR c.oid = ANY($1))
    ORDER BY n.nspname, c.relname";

/// The tables on disk below each table: itself, or a partitioned table's leaves.
const LEAVES: &str = "WITH leaves AS (
    SELECT c.oid AS root, t.relid AS oid, l.reltuples
    FROM pg_class c
    CROSS JOIN LATERAL (SELECT c.oid AS relid WHERE c.relkind = 'r'
                        UNION ALL SELECT relid FROM pg_partition_tree(c.oid) WHERE isleaf AND c.relkind = 'p') t
    JOIN pg_class l ON l.oid = t.relid
    WHERE c.relkind IN ('r', 'p') AND c.relnamespace NOT IN ('pg_catalog'::regnamespace, 'information_schema'::regnamespace)
      AND ($1::oid[] IS NULL OR c.oid = ANY($1)))";

/// A table with what this crate alone needs to know of it.
pub(crate) struct Entry {
    pub table: SourceTable,
    pub oid: u32,
    /// pg_class.relreplident: d, n, f or i.
    pub identity: char,
    /// Columns that the replica identity holds in the log.
    pub identity_columns: Vec<String>,
}

/// Looks tables up. `logs_generated`: the log carries stored generated columns (PostgreSQL 18, if published).
pub(crate) async fn entries(client: &Client, which: Which<'_>, logs_generated: bool) -> Result<Vec<Entry>> {
    let failed = |error| from_pg("read the catalog", error);
    let oids = which.oids();
    let tables = client.query(&format!("{LEAVES} {TABLES}"), &[&oids]).await.map_err(failed)?;
    let found: Vec<u32> = tables.iter().map(|row| row.get(0)).collect();
    let mut columns = columns::load(client, &found, logs_generated).await?;
    let mut indexes = indexes::load(client, &found).await?;
    let mut foreign_keys = indexes::load_foreign_keys(client, &found).await?;
    let types = user_types::load(client).await?;
    let mut entries = Vec::with_capacity(tables.len());
    for row in &tables {
        let oid: u32 = row.get(0);
        let name = TableName::new(row.get::<_, String>(1), row.get::<_, String>(2));
        let identity = row.get::<_, String>(3).chars().next().unwrap_or('d');
        let columns = columns.remove(&oid).unwrap_or_default();
        let indexes = indexes.remove(&oid).unwrap_or_default();
        let chosen = indexes::choose_key(&indexes, identity, &columns.carried);
        let needed = user_types::needed(&types, &columns.type_oids);
        let schema = TableSchema {
            name,
            dialect: Dialect::Postgres,
            key: chosen.key,
            indexes: chosen.secondary,
            foreign_keys: foreign_keys.remove(&oid).unwrap_or_default(),
            types: needed,
            columns: columns.carried,
            computed: columns.computed,
        };
        entries.push(Entry { table: source_table(row, schema), oid, identity, identity_columns: chosen.identity });
    }
    Ok(entries)
}

fn source_table(row: &Row, schema: TableSchema) -> SourceTable {
    let ancestors: Vec<String> = row.get(4);
    let name = |text: &String| text.split_once('\x01').map(|(schema, name)| TableName::new(schema, name));
    SourceTable {
        schema: Arc::new(schema),
        ancestors: ancestors.iter().filter_map(name).collect(),
        estimated_rows: row.get::<_, i64>(5).unsigned_abs(),
        estimated_bytes: row.get::<_, i64>(6).unsigned_abs(),
    }
}

/// One table by its oid; `None` if it is gone.
pub(crate) async fn table_by_oid(client: &Client, oid: u32) -> Result<Option<SourceTable>> {
    let entries = entries(client, Which::Oids(&[oid]), true).await?;
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

/// A number that changes with the form of any table of the user.
pub(crate) async fn version(client: &Client) -> Result<u64> {
    let failed = |error: tokio_postgres::Error| -> Error { from_pg("look at the catalog's version", error) };
    let row = client.query_one(VERSION, &[]).await.map_err(failed)?;
    let text: String = row.get(0);
    Ok(u64::from_str_radix(&text[..16.min(text.len())], 16).unwrap_or_default())
}

/// One hash over what [`entries`] reads of tables, columns, keys and labels. Statistics are left out.
const VERSION: &str = "
    SELECT md5(concat_ws('|',
        (SELECT md5(string_agg(concat_ws(',', c.oid, c.relname, c.relnamespace, c.relkind, c.relreplident, c.relpersistence), ';' ORDER BY c.oid))
         FROM pg_class c WHERE c.relkind IN ('r', 'p') AND c.oid >= 16384),
        (SELECT md5(string_agg(concat_ws(',', a.attrelid, a.attnum, a.attname, a.atttypid, a.atttypmod, a.attnotnull, a.attidentity, a.attgenerated), ';' ORDER BY a.attrelid, a.attnum))
         FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
         WHERE c.relkind IN ('r', 'p') AND c.oid >= 16384 AND a.attnum > 0 AND NOT a.attisdropped),
        (SELECT md5(string_agg(concat_ws(',', i.indexrelid, i.indrelid, i.indkey, i.indisunique, i.indisreplident), ';' ORDER BY i.indexrelid))
         FROM pg_index i WHERE i.indrelid >= 16384 AND (i.indisprimary OR i.indisunique)),
        (SELECT md5(string_agg(concat_ws(',', e.enumtypid, e.enumsortorder, e.enumlabel), ';' ORDER BY e.enumtypid, e.enumsortorder)) FROM pg_enum e)))";
