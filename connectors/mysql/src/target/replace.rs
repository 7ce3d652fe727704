//! Replaces a range of a table with what the source holds, in one transaction.
//!
//! Pages of a new table go straight into it. Where that meets a row that is there already (the log wrote it first), the range
//! is asked for again and goes through a temporary table, as all other ranges do.

use super::applier::MysqlApplier;
use super::catalog::Unique;
use super::shape::Shape;
use super::stage::{self, Keyed};
use crate::connection::{quote_name, quote_text};
use crate::keys;
use rowferry_api::{BlockStream, Cell, Error, ErrorKind, Key, Range, Replaced, Result, TableSchema, failpoint};

/// Locks the row that a pipeline's writers share and that its next process waits for.
pub(super) fn lock_statement(pipeline: &str, how: &str) -> String {
    format!("SELECT pipeline FROM rowferry.writers WHERE pipeline = {} {how}", quote_text(pipeline))
}

pub(super) async fn replace(
    applier: &mut MysqlApplier,
    table: &TableSchema,
    range: &Range,
    rows: BlockStream<'_>,
) -> Result<Replaced> {
    let shape = applier.shape(table).await?;
    let is_filled = applier.known.is_filled(&table.name);
    let straight = matches!(range, Range::Native(_)) && !is_filled;
    let stage = shape.stage("rowferry_stage");
    if !straight {
        stage::make(applier, &shape, &stage, Keyed::Yes).await?;
    }
    applier.run("START TRANSACTION").await?;
    let lock = lock_statement(&applier.pipeline, "LOCK IN SHARE MODE");
    let _: Vec<String> = applier.session.query("write to the target", lock).await?;
    let mut replaced = Replaced::default();
    if straight {
        let inserted = applier.put_blocks(&shape, &shape.place(), rows, &mut replaced).await;
        if let Err(error) = inserted {
            if error.kind() != ErrorKind::Unique {
                return Err(error);
            }
            applier.known.fill(&table.name);
            let what = format!("write table {}: the range meets rows that are there already", table.name);
            return Err(Error::new(ErrorKind::Transient, what));
        }
    } else {
        staged(applier, &shape, &stage, range, rows, &mut replaced).await?;
    }
    failpoint!("mysql.range");
    applier.run("COMMIT").await?;
    failpoint!("mysql.range_committed");
    Ok(replaced)
}

async fn staged(
    applier: &mut MysqlApplier,
    shape: &Shape,
    stage: &str,
    range: &Range,
    rows: BlockStream<'_>,
    replaced: &mut Replaced,
) -> Result<()> {
    // A DELETE that names its table by an alias needs a database that is selected.
    applier.run(&format!("USE {}", shape.database)).await?;
    applier.put_blocks(shape, &stage::place(shape, stage), rows, replaced).await?;
    if !matches!(range, Range::Native(_)) {
        let condition = keys::condition(&shape.localized, range).map_or(String::new(), |text| format!(" AND {text}"));
        let statement = format!(
            "DELETE t FROM {} AS t LEFT JOIN {stage} AS s ON {} WHERE s.c{} IS NULL{condition}",
            shape.table,
            same_key(shape),
            shape.key[0]
        );
        let removed = applier.session.run(&shape.context, statement).await;
        removed.map_err(|error| error.within("remove rows that the source does not have"))?;
    }
    for unique in shape.others.clone() {
        evict(applier, shape, stage, &unique, replaced).await?;
    }
    stage::upsert_from(applier, shape, stage).await
}

/// `s.c0 = t.id AND ...`.
fn same_key(shape: &Shape) -> String {
    let same = shape.key.iter().map(|index| format!("s.c{index} = t.{}", shape.columns[*index].name));
    same.collect::<Vec<_>>().join(" AND ")
}

/// The condition under which a row and a staged one are the same to a unique index; `None` if that cannot be said.
fn same_under(shape: &Shape, unique: &Unique) -> Option<String> {
    let same = unique.columns.iter().map(|(name, prefix)| {
        let name = quote_name(name);
        let index = shape.columns.iter().position(|column| column.name.to_lowercase() == name.to_lowercase())?;
        Some(match prefix {
            Some(length) => format!("LEFT(s.c{index}, {length}) = LEFT(t.{name}, {length})"),
            None => format!("s.c{index} = t.{name}"),
        })
    });
    let same: Option<Vec<String>> = same.collect();
    same.filter(|same| !same.is_empty()).map(|same| same.join(" AND "))
}

/// Removes rows that hold what a staged row of another key holds under a unique index, and notes the keys of those that the
/// stage does not bring back.
async fn evict(
    applier: &mut MysqlApplier,
    shape: &Shape,
    stage: &str,
    unique: &Unique,
    replaced: &mut Replaced,
) -> Result<()> {
    let Some(same) = same_under(shape, unique) else { return Ok(()) };
    let join = format!("FROM {} AS t JOIN {stage} AS s ON {same} WHERE NOT ({})", shape.table, same_key(shape));
    let texts: Vec<String> = shape.localized.key_columns().map(keys::text_expression).collect();
    let query = format!("SELECT DISTINCT {} {join}", texts.join(", "));
    let rows: Vec<mysql_async::Row> = applier.session.query(&shape.context, query).await?;
    if rows.is_empty() {
        return Ok(());
    }
    applier.session.run(&shape.context, format!("DELETE t {join}")).await?;
    for row in rows {
        let cells: Vec<Option<Vec<u8>>> = (0..row.len()).map(|index| row.get(index)).collect();
        let key = Key::from_cells(cells.iter().map(|cell| cell.as_deref().map_or(Cell::Null, Cell::Text)));
        let mut query = format!("SELECT 1 FROM {stage} AS s WHERE (").into_bytes();
        let names: Vec<String> = shape.key.iter().map(|index| format!("s.c{index}")).collect();
        query.extend_from_slice(format!("{}) = (", names.join(", ")).as_bytes());
        shape.put_key(&key, &mut query)?;
        query.push(b')');
        let staged: Option<u8> = applier.session.first(&shape.context, query).await?;
        if staged.is_none() {
            replaced.evicted.push(key);
        }
    }
    Ok(())
}
