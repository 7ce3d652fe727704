//! A pair of connections that copies: one reads tables at the source, one writes ranges at the target.

use super::apply::refuses_rows;
use super::bisect::{Bisection, Part};
use super::board::Board;
use super::letters::Letter;
use super::life::KEYS_PER_SLICE;
use rowferry_api::{
    Alteration, Applier, Block, BlockStream, Created, Error, ErrorKind, Finding, Key, Range, Replaced, Result, Source,
    TableName, TableReader, TableSchema, Target, failpoint,
};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

mod refused;

/// What copying a range did.
#[derive(Debug, Default)]
pub(super) struct Copied {
    pub replaced: Replaced,
    /// Rows that were left out.
    pub refused: Vec<Letter>,
}

impl Copied {
    fn add(&mut self, part: Replaced) {
        self.replaced.rows += part.rows;
        self.replaced.bytes += part.bytes;
        self.replaced.evicted.extend(part.evicted);
    }
}

/// Reads at the source, writes at the target. One job at a time.
pub(super) struct Worker {
    reader: Box<dyn TableReader>,
    applier: Box<dyn Applier>,
}

impl Worker {
    /// Connects to both ends.
    pub(super) async fn open(source: &dyn Source, target: &dyn Target, pipeline: &str) -> Result<Self> {
        Ok(Self { reader: source.open_tables().await?, applier: target.open_applier(pipeline).await? })
    }

    /// Creates the table at the target, or finds that the one there fits, and cuts the source's into ranges.
    /// A table that has rows is replaced range by range of its keys, so that rows that should not be there go. `half_made`: a
    /// form that it may have been made in, and what brings it into the present one.
    pub(super) async fn start_table(
        &mut self,
        read: &TableSchema,
        target: &TableSchema,
        half_made: Option<(TableSchema, Vec<Alteration>)>,
        rows_per_slice: u64,
    ) -> Result<(Created, Vec<Range>)> {
        if let Some((form, alterations)) = half_made {
            match self.applier.create(&form).await {
                Ok(_) => self.applier.alter(target, &alterations).await?,
                // It has the present form already, or is not ours: the look at it below says which.
                Err(error) if error.kind() == ErrorKind::Schema => {}
                Err(error) => return Err(error),
            }
        }
        let created = self.applier.create(target).await?;
        failpoint!("slice.table_made");
        let ranges = self.reader.split(read, rows_per_slice, created == Created::Filled).await?;
        Ok((created, ranges))
    }

    /// Copies one range from the source as it is now, all of it or nothing.
    async fn replace(
        &mut self,
        read: &TableSchema,
        target: &TableSchema,
        range: &Range,
        board: &Arc<Board>,
    ) -> Result<Replaced> {
        let ordered = false;
        let blocks = self.reader.read(read, range, ordered).await?;
        failpoint!("slice.opened");
        let counted = Counted { blocks, board: board.clone(), table: read.name.clone(), rows: 0, bytes: 0 };
        let replaced = self.applier.replace(target, range, Box::pin(counted)).await?;
        failpoint!("slice.written");
        Ok(replaced)
    }

    /// Copies one range from the source as it is now. With `lets_go`, a row that the target refuses is left out and returned,
    /// and all others of the range are copied.
    pub(super) async fn copy(
        &mut self,
        read: &TableSchema,
        target: &Arc<TableSchema>,
        range: &Range,
        lets_go: bool,
        board: &Arc<Board>,
    ) -> Result<Copied> {
        match self.replace(read, target, range, board).await {
            Ok(replaced) => Ok(Copied { replaced, ..Copied::default() }),
            Err(error) if lets_go && refuses_rows(&error) => {
                self.copy_all_but_refused(read, target, range, error, board).await
            }
            Err(error) => Err(error),
        }
    }

    /// Copies the rows key by key, as far as it takes to find those that are refused, and then the range without those.
    async fn copy_all_but_refused(
        &mut self,
        read: &TableSchema,
        target: &Arc<TableSchema>,
        range: &Range,
        error: Error,
        board: &Arc<Board>,
    ) -> Result<Copied> {
        let keys = match range {
            Range::Set(keys) => keys.clone(),
            _ => refused::keys_of(self.reader.read(read, range, false).await?, read, error).await?,
        };
        let mut copied = Copied::default();
        for keys in keys.chunks(KEYS_PER_SLICE) {
            let mut bisection = Bisection::new(keys.len(), None);
            while let Some(part) = bisection.next() {
                match part {
                    Part::Alone(key, error) => {
                        let key = keys[key].clone();
                        copied.refused.push(self.leave_out(read, target, key, error).await?);
                    }
                    Part::Try(part) => {
                        match self.replace(read, target, &Range::Set(keys[part.clone()].to_vec()), board).await {
                            Ok(replaced) => copied.add(replaced),
                            Err(error) if refuses_rows(&error) => bisection.refused(part, error),
                            Err(error) => return Err(error),
                        }
                    }
                }
            }
        }
        if !matches!(range, Range::Set(_)) {
            // Rows that only the target has go with this.
            let left_out = copied.refused.iter().flat_map(|letter| letter.keys.clone()).collect();
            let blocks = self.reader.read(read, range, false).await?;
            let replaced = self.applier.replace(target, range, refused::without(blocks, read, left_out)).await?;
            (copied.replaced.rows, copied.replaced.bytes) = (0, 0);
            copied.add(replaced);
        }
        Ok(copied)
    }

    /// A row that the target refuses, as the source has it now.
    async fn leave_out(
        &mut self,
        read: &TableSchema,
        target: &Arc<TableSchema>,
        key: Key,
        error: Error,
    ) -> Result<Letter> {
        let keys = vec![key];
        let row = refused::first_row(self.reader.read(read, &Range::Set(keys.clone()), false).await?).await?;
        let op = if row.is_some() { "copy" } else { "delete" };
        Ok(Letter { table: read.name.to_string(), form: target.clone(), op, keys, row, reason: error.to_string() })
    }

    /// Builds what waits until a table is consistent.
    pub(super) async fn finish(&mut self, target: &TableSchema) -> Result<Vec<Finding>> {
        self.applier.finish(target).await
    }
}

/// Tells the board what flows by; takes back what did not arrive, since a range that fails is read again.
struct Counted<'a> {
    blocks: BlockStream<'a>,
    board: Arc<Board>,
    table: TableName,
    rows: u64,
    bytes: u64,
}

impl futures_util::Stream for Counted<'_> {
    type Item = Result<Block>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let next = self.blocks.as_mut().poll_next(context);
        if let Poll::Ready(Some(Ok(block))) = &next {
            let (rows, bytes) = (block.rows, block.data.len() as u64);
            self.rows += rows;
            self.bytes += bytes;
            self.board.flowing(&self.table, rows as i64, bytes as i64);
            if let Err(error) = flowed() {
                return Poll::Ready(Some(Err(error)));
            }
        }
        next
    }
}

/// A block is on its way.
fn flowed() -> Result<()> {
    failpoint!("slice.block");
    Ok(())
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.board.flowing(&self.table, -(self.rows as i64), -(self.bytes as i64));
    }
}
