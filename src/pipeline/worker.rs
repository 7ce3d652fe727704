//! A pair of connections that copies: one reads tables at the source, one writes ranges at the target.

use super::board::Board;
use rowferry_api::{
    Alteration, Applier, Block, BlockStream, Created, ErrorKind, Finding, Range, Replaced, Result, Source, TableName,
    TableReader, TableSchema, Target, failpoint,
};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

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

    /// Copies one range from the source as it is now.
    pub(super) async fn copy(
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
