//! Makes a range of a table what a stream of blocks holds.
//!
//! The stream is async, the writer blocks: between them is a channel of a few blocks. The transaction commits only
//! after the stream has said its end, so a stream that breaks or a dropped call leaves the table as it was.

use crate::apply::{delete, wrong_count};
use crate::bind::key_text;
use crate::catalog::{quoted, quoted_list};
use crate::error::{Explain, failed};
use crate::plan::Plan;
use crate::range::Order;
use crate::writer::{Shared, Writer, run};
use futures_util::StreamExt;
use rowferry_api::{
    Block, BlockStream, Cell, Error, ErrorKind, Key, Range, Replaced, Result, TableSchema, decode_copy_row, failpoint,
};
use rusqlite::{CachedStatement, Connection};
use tokio::sync::mpsc;

/// Blocks on their way from the stream to the writer.
const BLOCKS_AHEAD: usize = 2;

enum Feed {
    Rows(Block),
    /// All rows have come.
    End,
}

/// Replaces a range.
pub(crate) async fn replace(
    shared: &Shared,
    table: &TableSchema,
    range: &Range,
    mut rows: BlockStream<'_>,
) -> Result<Replaced> {
    // The source may take its time until the first row: others write meanwhile.
    let mut next = rows.next().await;
    let held = shared.hold().await?;
    let (feed, blocks) = mpsc::channel(BLOCKS_AHEAD);
    let (table, range) = (table.clone(), range.clone());
    let written = run(held, move |writer| {
        let replaced = writer.transaction(|writer| {
            let replaced = write(writer, &table, &range, blocks)?;
            failpoint!("sqlite.range");
            Ok(replaced)
        })?;
        failpoint!("sqlite.range_committed");
        Ok(replaced)
    });
    let feeding = async move {
        while let Some(block) = next {
            if feed.send(Feed::Rows(block?)).await.is_err() {
                // The writer has stopped and says why.
                return Ok(());
            }
            next = rows.next().await;
        }
        let _ = feed.send(Feed::End).await;
        Ok(())
    };
    let (fed, written) = futures_util::future::join(feeding, written).await;
    let (_, replaced) = written?;
    fed.and(replaced)
}

fn write(
    writer: &mut Writer,
    table: &TableSchema,
    range: &Range,
    mut blocks: mpsc::Receiver<Feed>,
) -> Result<Replaced> {
    let plan = writer.plan(table)?;
    let connection = &writer.connection;
    // Columns that only the target has keep their values in rows that stay.
    let keeps_rows = plan.has_more_columns && !matches!(range, Range::Native(_));
    if keeps_rows {
        create_seen(connection, &plan)?;
    } else {
        remove_range(connection, &plan, range)?;
    }
    let mut rows = Rows::new(connection, &plan, range, keeps_rows)?;
    loop {
        match blocks.blocking_recv() {
            Some(Feed::Rows(block)) => rows.write(&block)?,
            Some(Feed::End) => break,
            None => {
                return Err(Error::new(
                    ErrorKind::Other,
                    format!("replace rows of {}: the rows broke off", plan.table),
                ));
            }
        }
    }
    let replaced = rows.replaced;
    if keeps_rows {
        remove_unseen(connection, &plan, range)?;
    }
    Ok(replaced)
}

fn remove_range(connection: &Connection, plan: &Plan, range: &Range) -> Result<()> {
    let what = || format!("remove a range of {}", plan.table);
    match range {
        Range::Native(_) => Ok(()),
        Range::Whole => connection.execute(&plan.clear, []).map(drop).explain(what),
        Range::Set(keys) => delete(connection, plan, keys, &mut Vec::new()),
        Range::Keys { after, upto } => {
            let order = Order::new(connection, plan)?;
            let sql = format!("{}{}", plan.clear, order.clause(after.is_some(), upto.is_some(), 1));
            let mut statement = connection.prepare_cached(&sql).explain(what)?;
            order.bind(&mut statement, after.as_ref(), upto.as_ref(), 1)?;
            statement.raw_execute().map(drop).explain(what)
        }
    }
}

/// Notes the keys that the source has, on disk.
fn create_seen(connection: &Connection, plan: &Plan) -> Result<()> {
    let columns: Vec<_> = (0..plan.key.len()).map(|at| format!("k{at}")).collect();
    let columns = columns.join(", ");
    let sql = format!(
        "DROP TABLE IF EXISTS temp.rowferry_seen; \
         CREATE TEMP TABLE rowferry_seen ({columns}, PRIMARY KEY ({columns})) WITHOUT ROWID"
    );
    connection.execute_batch(&sql).explain(|| "create a temporary table".into())
}

fn remove_unseen(connection: &Connection, plan: &Plan, range: &Range) -> Result<()> {
    let what = || format!("remove rows of {} that the source does not have", plan.table);
    let table = quoted(&plan.table);
    let same = |(at, column): (usize, &crate::plan::PlanColumn)| format!("k{at} = {table}.{}", column.compared());
    let same: Vec<_> = plan.key_columns().enumerate().map(same).collect();
    let unseen = format!("NOT EXISTS (SELECT 1 FROM temp.rowferry_seen WHERE {})", same.join(" AND "));
    match range {
        Range::Set(keys) => {
            let sql = format!("{} AND {unseen}", plan.delete);
            let mut statement = connection.prepare(&sql).explain(what)?;
            for key in keys {
                plan.bind_key(&mut statement, key, &mut Vec::new())?;
                statement.raw_execute().explain(what)?;
            }
        }
        Range::Keys { after, upto } if after.is_some() || upto.is_some() => {
            let order = Order::new(connection, plan)?;
            let sql = format!("{}{} AND {unseen}", plan.clear, order.clause(after.is_some(), upto.is_some(), 1));
            let mut statement = connection.prepare(&sql).explain(what)?;
            order.bind(&mut statement, after.as_ref(), upto.as_ref(), 1)?;
            statement.raw_execute().explain(what)?;
        }
        _ => drop(connection.execute(&format!("{} WHERE {unseen}", plan.clear), []).explain(what)?),
    }
    connection.execute_batch("DROP TABLE temp.rowferry_seen").explain(what)
}

/// Writes rows and counts them.
struct Rows<'a> {
    connection: &'a Connection,
    plan: &'a Plan,
    range: &'a Range,
    upsert: CachedStatement<'a>,
    /// Notes the row's key.
    seen: Option<CachedStatement<'a>>,
    /// For the cells of a row, and for bytes in one.
    scratch: (Vec<u8>, Vec<u8>),
    replaced: Replaced,
}

impl<'a> Rows<'a> {
    fn new(connection: &'a Connection, plan: &'a Plan, range: &'a Range, keeps_rows: bool) -> Result<Self> {
        let what = || format!("write rows of {}", plan.table);
        let seen = if keeps_rows {
            let values: Vec<_> = plan.key.iter().map(|index| format!("?{}", index + 1)).collect();
            let sql = format!("INSERT OR IGNORE INTO temp.rowferry_seen VALUES ({})", values.join(", "));
            Some(connection.prepare_cached(&sql).explain(what)?)
        } else {
            None
        };
        let upsert = connection.prepare_cached(&plan.upsert).explain(what)?;
        Ok(Self { connection, plan, range, upsert, seen, scratch: Default::default(), replaced: Replaced::default() })
    }

    fn write(&mut self, block: &Block) -> Result<()> {
        for line in block.lines() {
            self.write_row(line)?;
        }
        self.replaced.rows += block.rows;
        self.replaced.bytes += block.data.len() as u64;
        Ok(())
    }

    fn write_row(&mut self, line: &[u8]) -> Result<()> {
        let what = || format!("write a row of {}", self.plan.table);
        let count = bind_line(self.plan, &mut self.upsert, line, &mut self.scratch, |_| true)?;
        if count != self.plan.columns.len() {
            return Err(wrong_count(self.plan, count));
        }
        if let Some(seen) = &mut self.seen {
            bind_line(self.plan, seen, line, &mut self.scratch, |index| self.plan.key.contains(&index))?;
            seen.raw_execute().explain(what)?;
        }
        let Err(error) = self.upsert.raw_execute() else {
            return Ok(());
        };
        let error = failed(error, what());
        if error.kind() != ErrorKind::Unique || !self.evict(line)? {
            return Err(error);
        }
        // The cells are still bound.
        self.upsert.raw_execute().map(drop).explain(what)
    }

    /// Removes the rows that hold this row's unique values under another key; `false` if there are none.
    fn evict(&mut self, line: &[u8]) -> Result<bool> {
        let plan = self.plan;
        let what = || format!("remove a row of {} that stands in the way", plan.table);
        let mut any = false;
        for unique in &plan.uniques {
            let sql = format!(
                "DELETE FROM {} WHERE {} AND NOT ({}) RETURNING {}",
                quoted(&plan.table),
                plan.where_row(unique),
                plan.where_key_of_row(),
                quoted_list(plan.key_columns().map(|column| column.name.as_str()))
            );
            let mut statement = self.connection.prepare_cached(&sql).explain(what)?;
            let used = |index| unique.contains(&index) || plan.key.contains(&index);
            bind_line(plan, &mut statement, line, &mut self.scratch, used)?;
            let mut rows = statement.raw_query();
            while let Some(row) = rows.next().explain(what)? {
                let mut cells = Vec::new();
                for (at, column) in plan.key_columns().enumerate() {
                    cells.push(key_text(column.kind, row.get_ref(at).explain(what)?));
                }
                let key = Key::from_cells(cells.iter().map(|cell| cell.as_deref().map_or(Cell::Null, Cell::Text)));
                self.refuse_stricter(&key)?;
                self.replaced.evicted.push(key);
                any = true;
            }
        }
        Ok(any)
    }

    /// A row of the range itself was written a moment ago from the same state of the source: the source allows both.
    fn refuse_stricter(&self, key: &Key) -> Result<()> {
        let in_range = match self.range {
            _ if self.seen.is_some() => false,
            Range::Whole => true,
            Range::Set(keys) => keys.contains(key),
            Range::Keys { after: None, upto: None } => true,
            Range::Keys { .. } | Range::Native(_) => false,
        };
        if !in_range {
            return Ok(());
        }
        Err(Error::new(
            ErrorKind::Schema,
            format!(
                "write rows of {}: a unique index there refuses row {key}, which the source allows",
                self.plan.table
            ),
        )
        .hint(format!("Drop the unique index of {} that the source does not have.", self.plan.table)))
    }
}

/// Binds the cells that `used` names; returns how many the line has.
fn bind_line(
    plan: &Plan,
    statement: &mut CachedStatement<'_>,
    line: &[u8],
    scratch: &mut (Vec<u8>, Vec<u8>),
    used: impl Fn(usize) -> bool,
) -> Result<usize> {
    let (unescaped, bytes) = scratch;
    let mut count = 0;
    let mut result = Ok(());
    decode_copy_row(line, unescaped, |index, cell| {
        count = index + 1;
        if result.is_ok() && used(index) {
            result = plan.bind_cell(statement, index, cell.map_or(Cell::Null, Cell::Text), bytes);
        }
    });
    result.map(|()| count)
}
