//! Cuts tables into ranges.

use super::pages::{Later, Pages, Part};
use super::{facts_of, from};
use crate::connection::{from_pg, quote_name, quote_table};
use crate::keys::facts_statement;
use rowferry_api::{Cell, Error, ErrorKind, Key, Range, Result, TableName, TableSchema};
use tokio_postgres::{Client, SimpleQueryMessage, SimpleQueryRow};

/// Rows of a page where nobody has counted yet.
const ASSUMED_ROWS_PER_PAGE: f64 = 50.0;

/// A table on disk, or each leaf of a partitioned table that is one.
const LEAVES: &str = "
    SELECT n.nspname, c.relname, pg_relation_filenode(c.oid), c.reltuples::float8, c.relpages::float8,
           pg_relation_size(c.oid) / current_setting('block_size')::int8,
           has_schema_privilege(c.relnamespace, 'USAGE') AND has_table_privilege(c.oid, 'SELECT'), c.oid, t.is_part
    FROM (SELECT c.oid AS relid, false AS is_part FROM pg_class c WHERE c.oid = to_regclass($1::text) AND c.relkind = 'r'
          UNION ALL
          SELECT p.relid, true FROM pg_class c CROSS JOIN LATERAL pg_partition_tree(c.oid) p
          WHERE c.oid = to_regclass($1::text) AND c.relkind = 'p' AND p.isleaf) t
    JOIN pg_class c ON c.oid = t.relid AND c.relkind = 'r' JOIN pg_namespace n ON n.oid = c.relnamespace
    ORDER BY 1, 2";

/// By pages, as many as hold about that many rows.
pub(super) async fn by_pages(client: &Client, table: &TableSchema, rows_per_range: u64) -> Result<Vec<Range>> {
    let failed = |error| from_pg(format!("cut table {} into ranges", table.name), error);
    let rows = client.query(LEAVES, &[&quote_table(&table.name)]).await.map_err(failed)?;
    // The right to read a partitioned table is none to read its partitions by their own names.
    if rows.iter().any(|row| row.get::<_, Option<bool>>(6) == Some(false)) {
        return by_keys(client, table, rows_per_range).await;
    }
    let mut ranges = Vec::new();
    for row in &rows {
        // NULL if it was dropped just now.
        let (Some(node), Some(size)) = (row.get::<_, Option<u32>>(2), row.get::<_, Option<i64>>(5)) else {
            continue;
        };
        let leaf = TableName::new(row.get::<_, String>(0), row.get::<_, String>(1));
        let (tuples, counted_pages): (f64, f64) = (row.get(3), row.get(4));
        let density = if tuples > 0.0 && counted_pages > 0.0 { tuples / counted_pages } else { ASSUMED_ROWS_PER_PAGE };
        let step = (rows_per_range as f64 / density).ceil().max(1.0) as u32;
        let pages = u32::try_from(size).unwrap_or(u32::MAX);
        let mut starts = (0..pages.max(1)).step_by(step as usize).peekable();
        while let Some(from) = starts.next() {
            ranges.push(Part::Pages(Pages { leaf: leaf.clone(), node, from, to: starts.peek().copied() }).range()?);
        }
    }
    if rows.iter().any(|row| row.get(8)) {
        ranges.push(Part::Later(Later { but: rows.iter().map(|row| row.get(7)).collect() }).range()?);
    }
    // A partitioned table may have no partition yet.
    Ok(if ranges.is_empty() { vec![Range::Whole] } else { ranges })
}

/// By keys, along the key's index, one statement a range; the whole table where no index has the common order.
pub(super) async fn by_keys(client: &Client, table: &TableSchema, rows_per_range: u64) -> Result<Vec<Range>> {
    let context = format!("cut table {} into ranges", table.name);
    let Some(row) = last_row(client, &facts_statement(table, &table.name), &context).await? else {
        return Err(Error::new(ErrorKind::Schema, format!("{context}: it is gone")));
    };
    let facts = facts_of(&row);
    if !facts.key.walkable(table) {
        return Ok(vec![Range::Whole]);
    }
    let texts: Vec<String> =
        table.key_columns().map(|column| format!("concat({})", quote_name(&column.name))).collect();
    let (texts, order, from) = (texts.join(", "), facts.key.order(table), from(table, facts.partitioned));
    let skip = rows_per_range.clamp(1, i64::MAX as u64) - 1;
    let mut ranges = Vec::new();
    let mut after: Option<Key> = None;
    loop {
        let condition = after.as_ref().map_or(String::new(), |key| format!(" WHERE {}", facts.key.above(table, key)));
        let statement = format!("SELECT {texts} FROM {from}{condition} ORDER BY {order} OFFSET {skip} LIMIT 1");
        let Some(row) = last_row(client, &statement, &context).await? else {
            ranges.push(Range::Keys { after, upto: None });
            return Ok(ranges);
        };
        let cells =
            (0..table.key.len()).map(|place| row.get(place).map_or(Cell::Null, |text| Cell::Text(text.as_bytes())));
        let upto = Key::from_cells(cells);
        ranges.push(Range::Keys { after: after.replace(upto.clone()), upto: Some(upto) });
    }
}

async fn last_row(client: &Client, statement: &str, context: &str) -> Result<Option<SimpleQueryRow>> {
    let messages = client.simple_query(statement).await.map_err(|error| from_pg(context, error))?;
    let rows = messages.into_iter().filter_map(|message| match message {
        SimpleQueryMessage::Row(row) => Some(row),
        _ => None,
    });
    Ok(rows.last())
}
