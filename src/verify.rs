//! Whether both ends hold the same rows, asked while they run.
//!
//! First look: both ends are read range by range in the one order of keys that they share, each row as a hash of its
//! canonical cells, and merged. What differs may only be on its way. Second look: the keys that differ are read again at
//! the source; once the target has passed what was the source's head then, at the target; and once more at the source. A
//! row that stood still there and differs here, in two such looks, differs really.
//!
//! Memory: a block of each end, and at most 100,000 keys; a range in which more rows differ is kept as a range.

mod look;
mod merge;
mod report;
mod rows;

pub use look::{Look, look};
pub use merge::Differences;
pub use report::{Status, TableReport, render};

use merge::{Counts, Kind, merge};
use rowferry_api::{
    Applier, Cell, Error, ErrorKind, Key, Position, Range, Result, Source, TableReader, TableSchema, Target,
};
use rows::{Alike, Rows, hashes};
use std::cmp::Ordering;
use std::collections::HashMap;
use std::time::Duration;
use tokio::time::Instant;

/// Keys read again in one statement.
const KEYS_AT_ONCE: usize = 1_000;
/// Rows of one range.
const ROWS_PER_RANGE: u64 = 200_000;
/// Second looks: a busy row may be on its way each time.
const LOOKS: u32 = 5;
/// How often the target's position is asked for while waiting.
const POLL: Duration = Duration::from_millis(100);
/// Rows that stood in the way of a repaired one are copied again, and so may be those in their way.
const EVICTIONS: u32 = 5;

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
    /// What differs really.
    pub differences: Differences,
    /// Rows that the source changed during every look, so that nothing can be said of them.
    pub moving: u64,
}

/// A range of which the rows that differ are too many to name.
#[derive(Debug)]
struct Busy {
    range: Range,
    counts: Counts,
}

/// A row that may differ, as it was seen last.
#[derive(Debug)]
struct Suspect {
    key: Key,
    kind: Kind,
    /// The source changed it while it was looked at.
    moving: bool,
}

/// The state of one comparison.
#[derive(Default)]
struct Comparison {
    source_rows: u64,
    target_rows: u64,
    suspects: Vec<Suspect>,
    busy: Vec<Busy>,
}

impl Verifier<'_> {
    /// Compares a table. `read` is its form at the source, `target` at the target; both have the same columns in the same
    /// order. A table that is not at the target, or does not fit, is [`ErrorKind::Schema`].
    pub async fn compare(&self, read: &TableSchema, target: &TableSchema) -> Result<Found> {
        let mut ends = self.open(read, target).await?;
        let mut comparison = Comparison::default();
        for range in ends.source.split(read, ROWS_PER_RANGE, true).await? {
            comparison.look(&mut ends, range).await?;
        }
        self.settle(&mut ends, comparison).await
    }

    /// Compares again what was found to differ, and nothing else.
    pub async fn compare_again(&self, read: &TableSchema, target: &TableSchema, found: Found) -> Result<Found> {
        let mut ends = self.open(read, target).await?;
        let (suspects, ranges) = found.differences.into_parts();
        let comparison = Comparison {
            source_rows: found.source_rows,
            target_rows: found.target_rows,
            suspects: suspects.into_iter().map(Suspect::new).collect(),
            busy: ranges.into_iter().map(|(range, counts)| Busy { range, counts }).collect(),
        };
        self.settle(&mut ends, comparison).await
    }

    async fn open<'t>(&self, read: &'t TableSchema, target: &'t TableSchema) -> Result<Ends<'t>> {
        let (source, target_reader) = tokio::try_join!(self.source.open_tables(), self.target.open_tables())?;
        let alike = Alike::of(&*source, &*target_reader, read);
        Ok(Ends { source, target: target_reader, read, written: target, alike })
    }

    /// Looks again until what differs is real.
    async fn settle(&self, ends: &mut Ends<'_>, mut comparison: Comparison) -> Result<Found> {
        let mut before = None;
        for _ in 0..LOOKS {
            if comparison.suspects.is_empty() && comparison.busy.is_empty() {
                break;
            }
            if !self.look_again(ends, &mut comparison).await? {
                // The target does not get there: everything that it lacks counts.
                comparison.suspects.iter_mut().for_each(|suspect| suspect.moving = false);
                break;
            }
            let moving = comparison.suspects.iter().filter(|suspect| suspect.moving).count();
            let now = (comparison.suspects.len(), comparison.busy.len());
            if moving == 0 && before == Some(now) {
                break;
            }
            before = Some(now);
        }
        Ok(comparison.ended())
    }

    /// Reads the suspects again. `false` if the target did not get to where the source was.
    async fn look_again(&self, ends: &mut Ends<'_>, comparison: &mut Comparison) -> Result<bool> {
        // A key that holds NULL finds no row: what the first look said of it stays.
        let findable = |suspect: &Suspect| suspect.key.cells().all(|cell| cell != Cell::Null);
        let (suspects, kept) = std::mem::take(&mut comparison.suspects).into_iter().partition::<Vec<_>, _>(findable);
        comparison.suspects = kept;
        let mut first = HashMap::new();
        for keys in suspects.chunks(KEYS_AT_ONCE) {
            first.extend(ends.at_source(&set_of(keys)).await?);
        }
        let high = self.source.head().await?;
        self.source.hurry().await?;
        let passed = self.wait_for(&high).await?;
        for suspects in suspects.chunks(KEYS_AT_ONCE) {
            let range = set_of(suspects);
            let here = ends.at_target(&range).await?;
            let then = ends.at_source(&range).await?;
            for suspect in suspects {
                let id = rows::key_id(ends.read, &suspect.key);
                comparison.judge(suspect, first.get(&id), here.get(&id), then.get(&id));
            }
        }
        for busy in std::mem::take(&mut comparison.busy) {
            comparison.source_rows -= busy.counts.source_rows;
            comparison.target_rows -= busy.counts.target_rows;
            comparison.look(ends, busy.range).await?;
        }
        Ok(passed)
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

    /// Copies again what differs. Only while no process applies the log, since the log has to be replayed from before
    /// this read on: a running process must do it itself, in its turn. What the log brings until the next run has passed
    /// the source's present head may move these rows back for a moment.
    pub async fn repair(&self, read: &TableSchema, target: &TableSchema, differences: &Differences) -> Result<()> {
        if self.running {
            return Err(Error::new(ErrorKind::Busy, format!("repair {}: the running process has to do it", read.name)));
        }
        let mut reader = self.source.open_tables().await?;
        let mut applier = self.target.open_applier(self.pipeline).await?;
        let keys: Vec<Key> = differences.keys().cloned().collect();
        for keys in keys.chunks(KEYS_AT_ONCE) {
            copy(&mut *reader, &mut *applier, read, target, Range::Set(keys.to_vec())).await?;
        }
        for range in differences.ranges() {
            copy(&mut *reader, &mut *applier, read, target, range.clone()).await?;
        }
        Ok(())
    }
}

async fn copy(
    reader: &mut dyn TableReader,
    applier: &mut dyn Applier,
    read: &TableSchema,
    target: &TableSchema,
    mut range: Range,
) -> Result<()> {
    for _ in 0..EVICTIONS {
        let rows = reader.read(read, &range, false).await?;
        let replaced = applier.replace(target, &range, rows).await?;
        if replaced.evicted.is_empty() {
            return Ok(());
        }
        range = Range::Set(replaced.evicted);
    }
    Err(Error::new(ErrorKind::Unique, format!("repair {}: rows keep standing in each other's way", target.name)).hint(
        format!("The source changes them meanwhile. `rowferry resync --table {}` copies the table again.", read.name),
    ))
}

fn set_of(suspects: &[Suspect]) -> Range {
    Range::Set(suspects.iter().map(|suspect| suspect.key.clone()).collect())
}

impl Suspect {
    fn new((key, kind): (Key, Kind)) -> Self {
        Self { key, kind, moving: false }
    }
}

/// A table at both ends.
struct Ends<'t> {
    source: Box<dyn TableReader>,
    target: Box<dyn TableReader>,
    read: &'t TableSchema,
    written: &'t TableSchema,
    alike: Alike,
}

impl Ends<'_> {
    async fn at_source(&mut self, range: &Range) -> Result<HashMap<u128, u128>> {
        hashes(Rows::new(self.source.read(self.read, range, false).await?, self.read, self.alike)).await
    }

    async fn at_target(&mut self, range: &Range) -> Result<HashMap<u128, u128>> {
        hashes(Rows::new(self.target.read(self.written, range, false).await?, self.read, self.alike)).await
    }
}

impl Comparison {
    /// Compares one range, as it is now.
    async fn look(&mut self, ends: &mut Ends<'_>, range: Range) -> Result<()> {
        let (left, right) =
            tokio::try_join!(ends.source.read(ends.read, &range, true), ends.target.read(ends.written, &range, true))?;
        let merged =
            merge(Rows::new(left, ends.read, ends.alike), Rows::new(right, ends.read, ends.alike), self.suspects.len())
                .await?;
        self.source_rows += merged.counts.source_rows;
        self.target_rows += merged.counts.target_rows;
        match merged.keys {
            Some(keys) => self.suspects.extend(keys.into_iter().map(Suspect::new)),
            None if merged.out_of_order => {
                return Err(Error::new(
                    ErrorKind::Schema,
                    format!(
                        "compare {}: its key is not of the same type at both ends, and sorts differently",
                        ends.read.name
                    ),
                )
                .hint("Give the target's key columns the types that the source has."));
            }
            None => self.busy.push(Busy { range, counts: merged.counts }),
        }
        Ok(())
    }

    /// What three reads of a row say: the source, then the target once it has passed that, then the source again.
    fn judge(&mut self, before: &Suspect, first: Option<&u128>, here: Option<&u128>, then: Option<&u128>) {
        self.uncount(before.kind);
        self.source_rows += u64::from(then.is_some());
        if here == then || here == first {
            // Equal to what the source had a moment ago is equal: it counts as the source has it now.
            self.target_rows += u64::from(then.is_some());
            return;
        }
        self.target_rows += u64::from(here.is_some());
        let kind = Kind::of(then.is_some(), here.is_some());
        self.suspects.push(Suspect { key: before.key.clone(), kind, moving: first != then });
    }

    fn uncount(&mut self, kind: Kind) {
        let (at_source, at_target) = kind.presence();
        self.source_rows -= u64::from(at_source);
        self.target_rows -= u64::from(at_target);
    }

    fn ended(mut self) -> Found {
        let (moving, still): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.suspects).into_iter().partition(|suspect| suspect.moving);
        // A row that moves counts as if it were the same at both ends.
        for Suspect { kind, .. } in &moving {
            self.uncount(*kind);
            self.source_rows += u64::from(kind.presence().0);
            self.target_rows += u64::from(kind.presence().0);
        }
        let ranges = self.busy.into_iter().map(|busy| (busy.range, busy.counts)).collect();
        let keys = still.into_iter().map(|suspect| (suspect.key, suspect.kind)).collect();
        Found {
            source_rows: self.source_rows,
            target_rows: self.target_rows,
            differences: Differences::new(keys, ranges),
            moving: moving.len() as u64,
        }
    }
}

#[cfg(test)]
mod tests;
