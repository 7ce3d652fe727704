//! Replaces a range of a table with what the source holds, in one transaction.
//!
//! Pages of a new table go straight into it with COPY: from PostgreSQL the bytes of the source, where the types are the same. Where that meets a row that is there already
//! (the log wrote it first), the range is asked for again and goes through a temporary table, as all other ranges do.

use super::applier::PostgresApplier;
use super::hash_of;
use super::rows::{Format, Shape, failed, list, put_line};
use crate::connection::{from_pg, quote_name};
use crate::keys::KeyFacts;
use futures_util::StreamExt;
use rowferry_api::{
    BlockStream, Cell, Dialect, Encoding, Error, ErrorKind, Key, Range, Replaced, Result, TableSchema, failpoint,
};
use tokio_postgres::Row;

/// Rows from which the planner should know how many there are.
const ANALYZE_FROM: u64 = 1_000;

/// The advisory lock that a pipeline's writers share and that its next process waits for.
pub(super) fn lock_of(pipeline: &str) -> i64 {
    hash_of(pipeline.bytes()).cast_signed()
}

pub(super) async fn replace(
    applier: &mut PostgresApplier,
    table: &TableSchema,
    range: &Range,
    rows: BlockStream<'_>,
) -> Result<Replaced> {
    let shape = applier.shape_now(table).await?;
    let lock = lock_of(&applier.pipeline);
    applier.run(&format!("BEGIN{}; SELECT pg_advisory_xact_lock_shared({lock})", applier.defer())).await?;
    let is_filled = applier.known.is_filled(&table.name);
    let replaced = if matches!(range, Range::Native(_)) && !is_filled && shape.takes_copy {
        let mut replaced = Replaced::default();
        match copy(applier, &shape, &shape.table, rows, &mut replaced).await {
            Err(error) if error.kind() == ErrorKind::Unique => {
                applier.known.fill(&table.name);
                let what = format!("write table {}: the range meets rows that are there already", table.name);
                return Err(Error::new(ErrorKind::Transient, what));
            }
            result => result.map(|()| replaced)?,
        }
    } else {
        staged(applier, table, &shape, range, rows).await?
    };
    failpoint!("postgres.range");
    applier.run("COMMIT").await?;
    failpoint!("postgres.range_committed");
    Ok(replaced)
}

/// How rows of a range are best taken: as the source's server writes them where they go straight into columns of the same types.
pub(super) async fn encoding(
    applier: &mut PostgresApplier,
    read: &TableSchema,
    table: &TableSchema,
    range: &Range,
) -> Result<Encoding> {
    if !matches!(range, Range::Native(_)) || read.dialect != Dialect::Postgres || applier.known.is_filled(&table.name) {
        return Ok(Encoding::Text);
    }
    let shape = applier.shape_now(table).await?;
    let natives = shape.columns.iter().map(|column| &column.native);
    let same = shape.format() == Format::Binary && natives.eq(read.columns.iter().map(|column| &column.native));
    Ok(if same { Encoding::PostgresBinary } else { Encoding::Text })
}

/// Copies blocks. Text goes in binary up to the first row that has to go as text.
async fn copy(
    applier: &mut PostgresApplier,
    shape: &Shape,
    into: &str,
    mut rows: BlockStream<'_>,
    replaced: &mut Replaced,
) -> Result<()> {
    let mut format = shape.format();
    let mut copy = applier.copy(shape, into, format).await?;
    let mut scratch = Vec::new();
    while let Some(block) = rows.next().await {
        let block = block?;
        replaced.rows += block.rows;
        replaced.bytes += block.data.len() as u64;
        let mut sent = 0;
        if block.encoding == Encoding::PostgresBinary {
            if format != Format::Binary {
                let what = format!("write table {}: rows in binary, which it was not asked for", shape.table);
                return Err(Error::new(ErrorKind::Protocol, what));
            }
            copy.send_as_they_are(block.data).await?;
            continue;
        }
        if format == Format::Binary {
            for line in block.lines() {
                if put_line(line, &shape.columns, &mut scratch, &mut copy.buffer).is_none() {
                    break;
                }
                sent += line.len() + 1;
                copy.send_full().await?;
            }
            if sent == block.data.len() {
                continue;
            }
            copy.finish().await?;
            format = Format::Text;
            copy = applier.copy(shape, into, format).await?;
        }
        copy.send_as_they_are(block.data.slice(sent..)).await?;
    }
    copy.finish().await
}

async fn staged(
    applier: &mut PostgresApplier,
    table: &TableSchema,
    shape: &Shape,
    range: &Range,
    rows: BlockStream<'_>,
) -> Result<Replaced> {
    let stage = applier.empty_stage(shape).await?;
    let mut replaced = Replaced::default();
    copy(applier, shape, &stage, rows, &mut replaced).await?;
    if replaced.rows >= ANALYZE_FROM {
        applier.run(&format!("ANALYZE {stage}")).await?;
    }
    if !matches!(range, Range::Native(_)) {
        let facts = KeyFacts::of_server(&applier.client).await?;
        let condition = facts.condition(table, range).map_or(String::new(), |condition| format!(" AND {condition}"));
        let same = shape.same_key("t", "s");
        let statement = format!(
            "DELETE FROM {} AS t WHERE NOT EXISTS (SELECT FROM {stage} AS s WHERE {same}){condition}",
            shape.only
        );
        applier.run(&statement).await.map_err(|error| error.within(format!("remove rows of table {}", table.name)))?;
    }
    replaced.evicted = evict(applier, shape, &stage).await?;
    let upsert = shape.upsert(&format!("SELECT {} FROM {stage}", shape.names()));
    applier.client.batch_execute(&upsert).await.map_err(|error| failed(&shape.table, error))?;
    Ok(replaced)
}

/// A unique index of a target's table, as expressions over its columns' bare names.
struct Unique {
    /// Of each of its columns: the expression, the operator that tells two of its values apart, and the collation for it.
    parts: Vec<(String, String, String)>,
    predicate: Option<String>,
    nulls_are_equal: bool,
    /// All columns that the expressions and the predicate speak of.
    needs: Vec<String>,
}

const UNIQUES: &str = "
    SELECT ARRAY(SELECT pg_get_indexdef(i.indexrelid, k, false) FROM generate_series(1, i.indnkeyatts) AS k ORDER BY k),
           ARRAY(SELECT (SELECT format('OPERATOR(%I.%s)', n.nspname, o.oprname)
                         FROM pg_opclass c
                         JOIN pg_amop m ON m.amopfamily = c.opcfamily AND m.amopstrategy = 3
                              AND m.amoplefttype = c.opcintype AND m.amoprighttype = c.opcintype
                         JOIN pg_operator o ON o.oid = m.amopopr JOIN pg_namespace n ON n.oid = o.oprnamespace
                         WHERE c.oid = (i.indclass::oid[])[k - 1])
                 FROM generate_series(1, i.indnkeyatts) AS k ORDER BY k),
           ARRAY(SELECT (SELECT format(' COLLATE %I.%I', n.nspname, c.collname)
                         FROM pg_collation c JOIN pg_namespace n ON n.oid = c.collnamespace
                         WHERE c.oid = (i.indcollation::oid[])[k - 1])
                 FROM generate_series(1, i.indnkeyatts) AS k ORDER BY k),
           pg_get_expr(i.indpred, i.indrelid), coalesce((to_jsonb(i)->>'indnullsnotdistinct')::bool, false),
           ARRAY(SELECT a.attname::text FROM pg_attribute a WHERE a.attrelid = i.indrelid AND a.attnum > 0 AND (
                     a.attnum = ANY ((i.indkey::int2[])[0:i.indnkeyatts - 1])
                     OR EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = i.indexrelid
                                AND d.refclassid = 'pg_class'::regclass AND d.refobjid = i.indrelid AND d.refobjsubid = a.attnum)))
    FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_am am ON am.oid = c.relam AND am.amname = 'btree'
    WHERE i.indrelid = to_regclass($1::text) AND i.indisunique AND i.indislive";

async fn uniques(applier: &PostgresApplier, shape: &Shape) -> Result<Vec<Unique>> {
    let rows = applier.client.query(UNIQUES, &[&shape.table]).await;
    let rows = rows.map_err(|error| from_pg(format!("look at the indexes of table {}", shape.table), error))?;
    let unique = |row: &Row| {
        let (expressions, operators): (Vec<String>, Vec<Option<String>>) = (row.get(0), row.get(1));
        let collations: Vec<Option<String>> = row.get(2);
        let parts =
            expressions.into_iter().zip(operators).zip(collations).map(|((expression, operator), collation)| {
                (expression, operator.unwrap_or_else(|| "=".into()), collation.unwrap_or_default())
            });
        Unique { parts: parts.collect(), predicate: row.get(3), nulls_are_equal: row.get(4), needs: row.get(5) }
    };
    Ok(rows.iter().map(unique).collect())
}

impl Unique {
    /// Whether it is over the key alone: a row that it would refuse is the row that is written.
    fn is_key(&self, shape: &Shape) -> bool {
        let is_key = |name: &String| shape.keys.iter().any(|key| key.name == quote_name(name));
        self.needs.len() == shape.keys.len() && self.predicate.is_none() && self.needs.iter().all(is_key)
    }

    /// Whether all that it needs is in the stage.
    fn is_staged(&self, shape: &Shape) -> bool {
        self.needs.iter().all(|name| shape.columns.iter().any(|column| column.name == quote_name(name)))
    }

    /// Removes the rows that stand in the way of staged ones of another key; says of each whether its own key is staged,
    /// and the key as COPY prints it. The stage's columns have other names inside, so that bare names are the table's.
    fn statement(&self, shape: &Shape, stage: &str) -> String {
        let predicate = self.predicate.as_deref();
        let staged_parts =
            self.parts.iter().enumerate().map(|(place, (part, ..))| format!("{part} AS rowferry_{place}"));
        let staged_keys =
            shape.keys.iter().enumerate().map(|(place, key)| format!("{} AS rowferry_key_{place}", key.name));
        let same = self.parts.iter().enumerate().map(|(place, (part, operator, collation))| {
            let equal = format!("{part} {operator} (s.rowferry_{place}{collation})");
            match self.nulls_are_equal {
                true => format!("({equal} OR {part} IS NULL AND s.rowferry_{place} IS NULL)"),
                false => equal,
            }
        });
        let own: Vec<String> = shape
            .keys
            .iter()
            .enumerate()
            .map(|(place, key)| key.same(&format!("t.{}", key.name), &format!("s.rowferry_key_{place}")))
            .collect();
        let holds = predicate.map_or(String::new(), |predicate| format!(" AND ({predicate})"));
        format!(
            "DELETE FROM {} AS t USING (SELECT {} FROM {stage}{}) AS s WHERE {}{holds} AND NOT ({}) \
             RETURNING EXISTS (SELECT FROM {stage} AS k WHERE {}), {}",
            shape.only,
            list(staged_parts.chain(staged_keys)),
            predicate.map_or(String::new(), |predicate| format!(" WHERE {predicate}")),
            same.collect::<Vec<_>>().join(" AND "),
            own.join(" AND "),
            shape.same_key("t", "k"),
            list(shape.keys.iter().map(|key| format!("concat(t.{})", key.name)))
        )
    }
}

/// Removes rows that hold what a staged row of another key holds under a unique index. Returns the keys of those that the
/// stage does not bring back.
async fn evict(applier: &PostgresApplier, shape: &Shape, stage: &str) -> Result<Vec<Key>> {
    let mut evicted = Vec::new();
    for unique in uniques(applier, shape).await? {
        if unique.is_key(shape) || !unique.is_staged(shape) {
            continue;
        }
        let rows = applier.client.query(&unique.statement(shape, stage), &[]).await;
        let rows = rows.map_err(|error| from_pg(format!("make room in table {}", shape.table), error))?;
        for row in rows.iter().filter(|row| !row.get::<_, bool>(0)) {
            let cells: Vec<String> = (1..=shape.keys.len()).map(|place| row.get(place)).collect();
            evicted.push(Key::from_cells(cells.iter().map(|cell| Cell::Text(cell.as_bytes()))));
        }
    }
    Ok(evicted)
}
