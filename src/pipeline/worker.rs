//! Connections that copy: one reads tables at the source, one writes ranges at the target, and one reads there what is to be
//! compared first.

use super::board::Board;
use crate::verify::{Look, look};
use rowferry_api::{
    Alteration, Applier, Block, BlockStream, Created, ErrorKind, Finding, Key, Range, Replaced, Result, Source,
    TableName, TableReader, TableSchema, Target,
};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

/// Keys replaced at once.
const KEYS_AT_ONCE: usize = 1_000;
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
        let ranges = self.reader.split(read, rows_per_slice, created == Created::Filled).await?;
        Ok((created, ranges))
    }

    /// Copies one range from the source as it is now. `compares`: the target has rows of the table, so that only what differs
    /// is written. That leaves the range as a replacement would, since nothing else writes to it meanwhile: a row that is
    /// the same here as it was read there is the row that would be written.
    pub(super) async fn copy(
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
            return Ok(Copied { replaced: self.replace(read, target, range, board).await?, compared: 0 });
        };
        let one_by_one = |keys: &Vec<Key>| keys.len() <= KEYS_AT_ONCE.max((compared / REPLACED_WHOLE) as usize);
        let Some(keys) = differing.filter(one_by_one) else {
            return Ok(Copied { replaced: self.replace(read, target, range, board).await?, compared });
        };
        let mut copied = Copied { replaced: Replaced::default(), compared };
        for keys in keys.chunks(KEYS_AT_ONCE) {
            let replaced = self.replace(read, target, &Range::Set(keys.to_vec()), board).await?;
            copied.replaced.rows += replaced.rows;
            copied.replaced.bytes += replaced.bytes;
            copied.replaced.evicted.extend(replaced.evicted);
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
        let ordered = false;
        let blocks = self.reader.read(read, range, ordered).await?;
        let counted = Counted { blocks, board: board.clone(), table: read.name.clone(), rows: 0, bytes: 0 };
        self.applier.replace(target, range, Box::pin(counted)).await
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
        }
        next
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.board.flowing(&self.table, -(self.rows as i64), -(self.bytes as i64));
    }
}
