//! Connections that copy: one reads tables at the source, one writes ranges at the target, and one reads there what is to be
//! compared first.

use super::apply::refuses_rows;
use super::bisect::{Bisection, Part};
use super::board::Board;
use super::letters::Letter;
use super::life::KEYS_PER_SLICE;
use crate::verify::{Look, look};
use rowferry_api::{
    Alteration, Applier, Block, BlockStream, Created, Error, ErrorKind, Finding, Key, Range, Replaced, Result, Source,
    TableName, TableReader, TableSchema, Target, failpoint,
};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

mod refused;

/// A range of which more than this share of its rows differs is replaced as a whole: key by key it would take longer.
const REPLACED_WHOLE: u64 = 8;

/// Reads at the source, writes at the target. One job at a time.
pub(super) struct Worker {
    reader: Box<dyn TableReader>,
    applier: Box<dyn Applier>,
    target: Arc<dyn Target>,
    /// Reads at the target; opened when it is first needed.
    compared: Option<Box<dyn TableReader>>,
}

/// What a copy of a range did.
#[derive(Debug, Default)]
pub(super) struct Copied {
    /// What was written.
    pub(super) replaced: Replaced,
    /// Rows of the source that were compared with the target's.
    pub(super) compared: u64,
    /// Rows that were left out.
    pub(super) refused: Vec<Letter>,
}

impl Copied {
    fn add(&mut self, part: Replaced) {
        self.replaced.rows += part.rows;
        self.replaced.bytes += part.bytes;
        self.replaced.evicted.extend(part.evicted);
    }
}

/// How a range is copied.
#[derive(Debug, Clone, Copy)]
pub(super) struct How {
    /// The target has rows of the table: only what differs is written.
    pub(super) compares: bool,
    /// A row that the target refuses is left out and returned, and all others of the range are copied.
    pub(super) lets_go: bool,
}

impl Worker {
    /// Connects to both ends.
    pub(super) async fn open(source: &dyn Source, target: &Arc<dyn Target>, pipeline: &str) -> Result<Self> {
        let (reader, applier) = (source.open_tables().await?, target.open_applier(pipeline).await?);
        Ok(Self { reader, applier, target: target.clone(), compared: None })
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

    /// Copies one range from the source as it is now.
    pub(super) async fn copy(
        &mut self,
        read: &TableSchema,
        target: &Arc<TableSchema>,
        range: &Range,
        how: How,
        board: &Arc<Board>,
    ) -> Result<Copied> {
        match self.replace_what_differs(read, target, range, how.compares, board).await {
            Err(error) if how.lets_go && refuses_rows(&error) => {
                self.copy_all_but_refused(read, target, range, error, board).await
            }
            result => result,
        }
    }

    /// With `compares`, only what differs is written. That leaves the range as a replacement would, since nothing else writes
    /// to it meanwhile: a row that is the same here as it was read there is the row that would be written.
    async fn replace_what_differs(
        &mut self,
        read: &TableSchema,
        target: &TableSchema,
        range: &Range,
        compares: bool,
        board: &Arc<Board>,
    ) -> Result<Copied> {
        let look = match range {
            Range::Whole | Range::Keys { .. } if compares => self.look(read, target, range).await?,
            _ => None,
        };
        let Some(Look { source_rows: compared, differing }) = look else {
            return Ok(Copied { replaced: self.replace(read, target, range, board).await?, ..Copied::default() });
        };
        let one_by_one = |keys: &Vec<Key>| keys.len() <= KEYS_PER_SLICE.max((compared / REPLACED_WHOLE) as usize);
        let Some(keys) = differing.filter(one_by_one) else {
            let replaced = self.replace(read, target, range, board).await?;
            return Ok(Copied { replaced, compared, ..Copied::default() });
        };
        let mut copied = Copied { compared, ..Copied::default() };
        for keys in keys.chunks(KEYS_PER_SLICE) {
            copied.add(self.replace(read, target, &Range::Set(keys.to_vec()), board).await?);
        }
        Ok(copied)
    }

    async fn look(&mut self, read: &TableSchema, target: &TableSchema, range: &Range) -> Result<Option<Look>> {
        if self.compared.is_none() {
            self.compared = Some(self.target.open_tables().await?);
        }
        let Some(compared) = &mut self.compared else { return Ok(None) };
        look(&mut *self.reader, &mut **compared, read, target, range).await
    }

    async fn replace(
        &mut self,
        read: &TableSchema,
        target: &TableSchema,
        range: &Range,
        board: &Arc<Board>,
    ) -> Result<Replaced> {
        let encoding = self.applier.encoding(read, target, range).await?;
        let blocks = self.reader.read_encoded(read, range, encoding).await?;
        failpoint!("slice.opened");
        let counted = Counted { blocks, board: board.clone(), table: read.name.clone(), rows: 0, bytes: 0 };
        let replaced = self.applier.replace(target, range, Box::pin(counted)).await?;
        failpoint!("slice.written");
        Ok(replaced)
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
