//! Whether both ends hold the same rows, asked while they run.
//!
//! First look: both ends are read range by range in the one order of keys that they share, each row as a hash of its
//! canonical cells, and merged. What differs may only be on its way. Second look: once the target has passed what
//! was the source's head, the keys that differ are read again at both ends. What still differs is real.

mod merge;
mod report;

pub use report::{Status, TableReport, render};

use futures_util::StreamExt;
use merge::{Differences, Rows, merge};
use rowferry_api::{Error, ErrorKind, Key, Position, Range, Result, Source, TableReader, TableSchema, Target};
use std::cmp::Ordering;
use std::collections::HashMap;
use std::time::Duration;
use tokio::time::Instant;

/// Keys read again in one statement.
const KEYS_AT_ONCE: usize = 1_000;
/// Rows of one range.
const ROWS_PER_RANGE: u64 = 200_000;
/// Second looks: a busy row may be on its way each time.
const LOOKS: u32 = 4;
/// How often the target's position is asked for while waiting.
const POLL: Duration = Duration::from_millis(200);

/// What verify needs of a pipeline.
pub struct Verifier<'a> {
    /// Its name.
    pub pipeline: &'a str,
    /// Where rows come from.
    pub source: &'a dyn Source,
    /// Where they went.
    pub target: &'a dyn Target,
    /// A process applies the log, so that waiting makes sense.
    pub running: bool,
    /// How long the target's position may stand still before waiting is given up.
    pub settle: Duration,
}

/// What a comparison found.
#[derive(Debug, Default)]
pub struct Found {
    /// Rows at the source.
    pub source_rows: u64,
    /// Rows at the target.
    pub target_rows: u64,
    /// Keys whose rows differ really.
    pub differences: Differences,
}

impl Verifier<'_> {
    /// Compares a table. `read` is its form at the source, `target` at the target.
    pub async fn compare(&self, read: &TableSchema, target: &TableSchema) -> Result<Found> {
        let mut at_source = self.source.open_tables().await?;
        let mut at_target = self.target.open_tables().await?;
        let mut found = Found::default();
        for range in at_source.split(read, ROWS_PER_RANGE, true).await? {
            let left = Rows::new(at_source.read(read, &range, true).await?, read, read);
            let right = Rows::new(at_target.read(target, &range, true).await?, read, target);
            let (source_rows, target_rows) = merge(left, right, read, &mut found.differences).await?;
            found.source_rows += source_rows;
            found.target_rows += target_rows;
        }
        for _ in 0..LOOKS {
            if found.differences.is_empty() {
                break;
            }
            let passed = self.wait_for(&self.source.head().await?).await?;
            let before = found.differences.len();
            found.differences = self.look_again(&mut *at_source, &mut *at_target, read, target, found.differences).await?;
            // Standing still, or shown twice after the log had passed: it is real.
            if !passed || found.differences.len() == before {
                break;
            }
        }
        Ok(found)
    }

    /// Reads these keys again at both ends.
    async fn look_again(
        &self,
        at_source: &mut dyn TableReader,
        at_target: &mut dyn TableReader,
        read: &TableSchema,
        target: &TableSchema,
        before: Differences,
    ) -> Result<Differences> {
        let mut after = Differences { uncounted: before.uncounted, ..Differences::default() };
        let keys: Vec<Key> = before.into_keys();
        for keys in keys.chunks(KEYS_AT_ONCE) {
            let range = Range::Set(keys.to_vec());
            let left = hashes(at_source, read, read, &range).await?;
            let right = hashes(at_target, read, target, &range).await?;
            for key in keys {
                match (left.get(key), right.get(key)) {
                    (Some(left), Some(right)) if left != right => after.differing.push(key.clone()),
                    (Some(_), None) => after.missing.push(key.clone()),
                    (None, Some(_)) => after.extra.push(key.clone()),
                    _ => {}
                }
            }
        }
        Ok(after)
    }

    /// Waits until the target has passed `high`; `false` if it does not move.
    async fn wait_for(&self, high: &Position) -> Result<bool> {
        let mut last = None;
        let mut moved = Instant::now();
        loop {
            let held = self.target.position(self.pipeline).await?.map(|held| held.position);
            if let Some(held) = &held
                && matches!(self.source.compare(held, high)?, Some(Ordering::Equal | Ordering::Greater))
            {
                return Ok(true);
            }
            if held != last {
                (last, moved) = (held, Instant::now());
            }
            if !self.running || moved.elapsed() > self.settle {
                return Ok(false);
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// Copies these rows again. Only while no process applies the log: a running one must do it itself, in its turn.
    pub async fn repair(&self, read: &TableSchema, target: &TableSchema, keys: &[Key]) -> Result<()> {
        if self.running {
            return Err(Error::new(ErrorKind::Busy, "repair: the running process has to do it"));
        }
        let mut reader = self.source.open_tables().await?;
        let mut applier = self.target.open_applier(self.pipeline).await?;
        for keys in keys.chunks(KEYS_AT_ONCE) {
            let range = Range::Set(keys.to_vec());
            let rows = reader.read(read, &range, false).await?;
            let replaced = applier.replace(target, &range, rows).await?;
            if !replaced.evicted.is_empty() {
                let again = Range::Set(replaced.evicted);
                let rows = reader.read(read, &again, false).await?;
                applier.replace(target, &again, rows).await?;
            }
        }
        Ok(())
    }
}

async fn hashes(
    reader: &mut dyn TableReader,
    types: &TableSchema,
    form: &TableSchema,
    range: &Range,
) -> Result<HashMap<Key, u128>> {
    let mut rows = Rows::new(reader.read(form, range, false).await?, types, form);
    let mut hashes = HashMap::new();
    while rows.advance().await? {
        hashes.insert(rows.key(), rows.hash());
    }
    Ok(hashes)
}

/// The next block of a stream.
async fn next_block(blocks: &mut rowferry_api::BlockStream<'_>) -> Result<Option<rowferry_api::Block>> {
    blocks.next().await.transpose()
}
