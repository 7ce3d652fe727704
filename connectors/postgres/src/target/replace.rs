//! Replaces a range of a table with what the source holds, in one transaction.
//!
//! Pages of a new table go straight into it with COPY, bytes untouched. Where that meets a row that is there already
//! (the log wrote it first), the range is asked for again and goes through a temporary table, as all other ranges do.

use super::applier::PostgresApplier;
use super::rows::{Shape, failed, list};
use crate::connection::from_pg;
use crate::keys::condition;
use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use rowferry_api::{BlockStream, Cell, Error, ErrorKind, Key, Range, Replaced, Result, TableSchema};

/// Rows from which the planner should know how many there are.
const ANALYZE_FROM: u64 = 1_000;

/// The advisory lock that a pipeline's writers share and that its next process waits for.
pub(super) fn lock_of(pipeline: &str) -> i64 {
    let hash = pipeline
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    hash.cast_signed()
}

pub(super) async fn replace(
    applier: &mut PostgresApplier,
    table: &TableSchema,
    range: &Range,
    rows: BlockStream<'_>,
) -> Result<Replaced> {
    let shape = applier.shape(table).await?;
    let lock = lock_of(&applier.pipeline);
    applier.run(&format!("BEGIN; SELECT pg_advisory_xact_lock_shared({lock})")).await?;
    let is_filled = applier.filled.lock().expect("no code panics while it holds this").contains(&table.name);
    let replaced = if matches!(range, Range::Native(_)) && !is_filled {
        let mut replaced = Replaced::default();
        match copy(applier, &shape, &shape.table, rows, &mut replaced).await {
            Err(error) if error.kind() == ErrorKind::Unique => {
                applier.filled.lock().expect("no code panics while it holds this").insert(table.name.clone());
                let what = format!("write table {}: the range meets rows that are there already", table.name);
                return Err(Error::new(ErrorKind::Transient, what));
            }
            result => result.map(|()| replaced)?,
        }
    } else {
        staged(applier, table, &shape, range, rows).await?
    };
    applier.run("COMMIT").await?;
    Ok(replaced)
}

async fn copy(
    applier: &PostgresApplier,
    shape: &Shape,
    into: &str,
    mut rows: BlockStream<'_>,
    replaced: &mut Replaced,
) -> Result<()> {
    let error = |error| failed(&shape.table, error);
    let statement = format!("COPY {into} ({}) FROM STDIN", shape.names());
    let sink = applier.client.copy_in::<_, Bytes>(statement.as_str()).await.map_err(error)?;
    let mut sink = std::pin::pin!(sink);
    while let Some(block) = rows.next().await {
        let block = block?;
        replaced.rows += block.rows;
        replaced.bytes += block.data.len() as u64;
        sink.send(block.data).await.map_err(error)?;
    }
    sink.as_mut().finish().await.map(drop).map_err(error)
}

async fn staged(
    applier: &mut PostgresApplier,
    table: &TableSchema,
    shape: &Shape,
    range: &Range,
    rows: BlockStream<'_>,
) -> Result<Replaced> {
    let stage = applier.stage(shape).await?;
    let mut replaced = Replaced::default();
    copy(applier, shape, &stage, rows, &mut replaced).await?;
    if replaced.rows >= ANALYZE_FROM {
        applier.run(&format!("ANALYZE {stage}")).await?;
    }
    if !matches!(range, Range::Native(_)) {
        let condition = condition(table, range).map_or(String::new(), |condition| format!(" AND {condition}"));
        let same = shape.same_key("t", "s");
        let statement = format!(
            "DELETE FROM {} AS t WHERE NOT EXISTS (SELECT FROM {stage} AS s WHERE {same}){condition}",
            shape.table
        );
        applier.run(&statement).await.map_err(|error| error.within(format!("remove rows of table {}", table.name)))?;
    }
    replaced.evicted = evict(applier, shape, &stage).await?;
    let upsert = shape.upsert(&format!("SELECT {} FROM {stage}", shape.names()));
    applier.client.batch_execute(&upsert).await.map_err(|error| failed(&shape.table, error))?;
    Ok(replaced)
}

/// Removes rows outside of the range that hold what a row of it holds under a unique constraint; returns their keys.
async fn evict(applier: &PostgresApplier, shape: &Shape, stage: &str) -> Result<Vec<Key>> {
    let context = |error| from_pg(format!("make room in table {}", shape.table), error);
    let indexes = applier
        .client
        .query(
            "SELECT ARRAY(SELECT quote_ident(a.attname) FROM unnest(i.indkey::int2[]) WITH ORDINALITY AS k(attnum, place)
                          JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
                          WHERE k.place <= i.indnkeyatts ORDER BY k.place)
             FROM pg_index i WHERE i.indrelid = to_regclass($1::text) AND i.indisunique AND i.indexprs IS NULL",
            &[&shape.table],
        )
        .await
        .map_err(context)?;
    let key_names: Vec<&str> = shape.keys.iter().map(|key| key.name.as_str()).collect();
    let mut evicted = Vec::new();
    for index in &indexes {
        let columns: Vec<String> = index.get(0);
        let columns: Vec<String> = columns
            .iter()
            .map(|name| if name.starts_with('"') { name.clone() } else { format!("\"{name}\"") })
            .collect();
        let is_key = columns.len() == key_names.len() && columns.iter().all(|name| key_names.contains(&name.as_str()));
        let staged = columns.iter().all(|name| shape.columns.iter().any(|column| column.name == *name));
        if is_key || !staged {
            continue;
        }
        let same: Vec<String> = columns.iter().map(|name| format!("t.{name} = s.{name}")).collect();
        let statement = format!(
            "DELETE FROM {} AS t USING {stage} AS s WHERE {} AND NOT ({}) RETURNING {}",
            shape.table,
            same.join(" AND "),
            shape.same_key("t", "s"),
            list(shape.keys.iter().map(|key| format!("t.{}::text", key.name)))
        );
        let rows = applier.client.query(&statement, &[]).await.map_err(context)?;
        for row in &rows {
            let cells: Vec<Option<String>> = (0..shape.keys.len()).map(|place| row.get(place)).collect();
            let cell = |text: &'_ Option<String>| text.clone().map(String::into_bytes);
            let owned: Vec<Option<Vec<u8>>> = cells.iter().map(cell).collect();
            evicted.push(Key::from_cells(owned.iter().map(|cell| cell.as_deref().map_or(Cell::Null, Cell::Text))));
        }
    }
    Ok(evicted)
}
