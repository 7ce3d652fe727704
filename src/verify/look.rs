//! One look at a range of both ends, for a copy that writes only what differs.

use super::merge::merge;
use super::rows::{Alike, Rows};
use futures_util::StreamExt;
use rowferry_api::{Cell, Key, Range, Result, TableReader, TableSchema};

/// What a look found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Look {
    /// Rows of the source.
    pub source_rows: u64,
    /// The rows that are not the same at both ends; `None` if they cannot be told one by one, or are too many to be.
    pub differing: Option<Vec<Key>>,
}

/// Compares a range row by row as both ends are now; `None` if the target has no row of it. `read` is the table's form at the
/// source, `written` at the target, with the same columns in the same order.
pub async fn look(
    source: &mut dyn TableReader,
    target: &mut dyn TableReader,
    read: &TableSchema,
    written: &TableSchema,
    range: &Range,
) -> Result<Option<Look>> {
    let alike = Alike::of(source, target, read);
    let mut there = target.read(written, range, true).await?;
    let Some(first) = there.next().await.transpose()? else { return Ok(None) };
    let there = Box::pin(futures_util::stream::iter([Ok(first)]).chain(there));
    let here = source.read(read, range, true).await?;
    let merged = merge(Rows::new(here, read, alike), Rows::new(there, read, alike), 0).await?;
    // A key that holds NULL finds no row.
    let findable = |key: &Key| key.cells().all(|cell| cell != Cell::Null);
    let keys = merged.keys.filter(|_| !merged.out_of_order).map(|keys| keys.into_iter().map(|(key, _)| key));
    let differing = keys.map(Iterator::collect).filter(|keys: &Vec<Key>| keys.iter().all(findable));
    Ok(Some(Look { source_rows: merged.counts.source_rows, differing }))
}
