//! The life of each table: `pending -> copying (n of m slices) -> catching up (to high) -> streaming`, or `halted`
//! with a reason; in memory and in the state directory.
//!
//! A table is consistent once the log has passed its `high`, the source's head taken after its last slice was written.

use super::forms::Chosen;
use super::letters::{Letter, Letters};
use super::unsure::Unsure;
use crate::config::OnBadRow;
use rowferry_api::{Error, ErrorKind, Key, Position, Range, Result, TableName, TableSchema, failpoint};
use rowferry_state::{AtTarget, SliceRecord, TableRecord, TableState};
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{SystemTime, UNIX_EPOCH};

/// Keys of one slice of keys.
pub(super) const KEYS_PER_SLICE: usize = 1_000;
/// Slices of keys that were read and are kept until a table is in step.
const MOST_SETS_READ: usize = 64;
/// Keys of one table that wait to be read again; beyond that the whole table is.
const MAX_QUEUED_KEYS: usize = 100_000;

/// Numbers of slices.
type SliceNumbers = std::ops::Range<usize>;

/// One table.
#[derive(Debug, Clone)]
pub struct Life {
    /// The table and its forms, as the catalog has them.
    pub chosen: Chosen,
    /// The form that the target's table has taken. Differs from `chosen` while a change of form is being carried over.
    pub taken: Arc<TableSchema>,
    /// The source's own id of the table whose rows the target has.
    pub source_id: u64,
    /// The highest id of a column that the source's table has had, also of those that do not travel.
    pub columns_seen: i32,
    /// What the source's catalog shows of the table ([`SourceTable::traces`](rowferry_api::SourceTable::traces)) that the target's
    /// rows come from.
    pub traces: String,
    /// Where it stands.
    pub state: TableState,
    /// Why it is halted.
    pub reason: Option<String>,
    /// The log has to pass this before the table goes on: before a pending one is copied, before a copied one is consistent.
    pub high: Option<Position>,
    /// The parts in which it is copied. Empty until it was split.
    pub slices: Vec<Slice>,
    /// Rows written by slices.
    pub rows_copied: u64,
    /// Rows of the source that slices compared with the target's.
    pub rows_compared: u64,
    /// The target had rows when the table was cut: its slices write only what differs.
    pub compares: bool,
    /// Changes applied from the log.
    pub rows_applied: u64,
    /// Where the target's table comes from.
    pub at_target: AtTarget,
    /// More rows have to be read again than are kept one by one: once the slices are done the whole table is.
    pub again: bool,
    /// The source has it no more.
    pub gone: bool,
    /// The keys of slices of keys that are not done.
    queued: HashSet<Key>,
    /// Slices of keys that are done.
    sets_read: usize,
    unsure: Unsure,
    /// Secondary indexes and foreign keys are built.
    pub finished: bool,
    /// Columns that were dropped since it was last copied as a whole. Rows of the log may still have them, and mean another one
    /// by the name if it comes back.
    pub dropped: BTreeSet<String>,
}

/// A part of a table to copy.
#[derive(Debug, Clone)]
pub struct Slice {
    /// Which part.
    pub range: Range,
    /// It is in the target.
    pub done: bool,
    /// And that is on disk: a crash does not forget it.
    noted: bool,
    /// A worker has it.
    pub running: bool,
    /// Rows written.
    pub rows: u64,
    /// Bytes read.
    pub bytes: u64,
}

impl Slice {
    /// A part that is still to be copied.
    pub fn new(range: Range) -> Self {
        Self { range, done: false, noted: false, running: false, rows: 0, bytes: 0 }
    }
}

impl Life {
    /// A table that nothing is known of.
    pub fn new(chosen: Chosen) -> Self {
        Self {
            taken: chosen.source.schema.clone(),
            source_id: chosen.source.id,
            columns_seen: highest_id(&chosen.logged),
            traces: chosen.source.traces.clone(),
            chosen,
            state: TableState::Pending,
            reason: None,
            high: None,
            slices: Vec::new(),
            rows_copied: 0,
            rows_compared: 0,
            compares: false,
            rows_applied: 0,
            at_target: AtTarget::Unknown,
            again: false,
            gone: false,
            queued: HashSet::new(),
            sets_read: 0,
            unsure: Unsure::default(),
            finished: false,
            dropped: BTreeSet::new(),
        }
    }

    /// A table that an earlier run left, under the form that the catalog has now.
    pub fn restored(chosen: Chosen, record: TableRecord, slices: Vec<SliceRecord>) -> Result<Self> {
        let slices: Vec<Slice> = slices
            .into_iter()
            .map(|slice| {
                let range = serde_json::from_str(&slice.range_json).map_err(|error| unreadable("slice", error))?;
                let SliceRecord { done, rows, bytes, .. } = slice;
                Ok(Slice { range, done, noted: done, running: false, rows, bytes })
            })
            .collect::<Result<_>>()?;
        let queued: HashSet<Key> =
            slices.iter().filter(|slice| !slice.done).flat_map(|slice| keys_of(&slice.range)).cloned().collect();
        let high = record.high.clone().map(Position::new);
        Ok(Self {
            unsure: Unsure::restored(record.state, high.clone(), &queued),
            taken: Arc::new(known_form(&record)?),
            source_id: record.source_id,
            columns_seen: record.columns_seen,
            traces: record.traces,
            chosen,
            state: record.state,
            reason: record.reason,
            high,
            queued,
            sets_read: slices.iter().filter(|slice| slice.done && !keys_of(&slice.range).is_empty()).count(),
            slices,
            rows_copied: record.rows_copied,
            rows_compared: record.rows_compared,
            compares: record.compares,
            rows_applied: record.rows_applied,
            at_target: record.at_target,
            again: record.again,
            gone: false,
            finished: record.finished,
            dropped: record.dropped.into_iter().collect(),
        })
    }

    /// Whether the log's changes of it are applied.
    pub fn is_open(&self) -> bool {
        matches!(self.state, TableState::Copying | TableState::CatchingUp | TableState::Streaming)
    }

    /// Whether the target's table may be in a state that the source never had.
    pub fn in_window(&self) -> bool {
        matches!(self.state, TableState::Copying | TableState::CatchingUp)
    }

    /// Whether it is where a table stays: in step, or halted.
    pub fn is_settled(&self) -> bool {
        matches!(self.state, TableState::Streaming | TableState::Halted)
    }

    /// The target's table has this form of `chosen` now.
    pub fn takes(&mut self, form: Arc<TableSchema>) {
        let seen = highest_id(&self.chosen.logged);
        self.columns_seen = if self.is_replaced() { seen } else { seen.max(self.columns_seen) };
        self.source_id = self.chosen.source.id;
        self.traces.clone_from(&self.chosen.source.traces);
        let gone = self.taken.columns.iter().filter(|column| form.column_index(&column.name).is_none());
        self.dropped.extend(gone.map(|column| column.name.clone()));
        self.taken = form;
    }

    /// The target's table has the form of `chosen` now. With `again` its rows are still to be copied, once the log has passed that: both
    /// at once, so that no error in between leaves it as one whose rows are there.
    pub fn takes_chosen(&mut self, again: Option<&Position>) {
        self.takes(self.chosen.source.schema.clone());
        if let Some(high) = again {
            self.restart(Some(high.clone()));
        }
    }

    /// Whether the source's table was dropped and made again under its name since the target's rows were read.
    pub fn is_replaced(&self) -> bool {
        let (before, now) = (self.source_id, self.chosen.source.id);
        before != now && before != 0 && now != 0
    }

    /// To be copied from its beginning, once the log has passed `high`; every range replaces what the target has.
    pub fn restart(&mut self, high: Option<Position>) {
        self.high = high.or_else(|| self.high.take().filter(|_| self.state == TableState::Pending));
        self.state = TableState::Pending;
        self.reason = None;
        self.slices.clear();
        self.queued.clear();
        self.unsure = Unsure::default();
        self.rows_copied = 0;
        self.rows_compared = 0;
        self.compares = false;
        self.finished = false;
        self.again = false;
        self.dropped.clear();
    }

    /// A part is in the target, read before the source's head was `high`.
    pub fn slice_done(&mut self, index: usize, rows: u64, bytes: u64, high: &Position) {
        self.rows_copied += rows;
        let slice = &mut self.slices[index];
        (slice.done, slice.running, slice.rows, slice.bytes) = (true, false, rows, bytes);
        let keys = keys_of(&slice.range);
        for key in keys {
            self.queued.remove(key);
        }
        self.sets_read += usize::from(!keys.is_empty());
        self.unsure.read_again(keys, high);
        if self.slices.iter().all(|slice| slice.done || matches!(slice.range, Range::Set(_))) {
            self.unsure.ranges_read(high);
        }
    }

    /// All parts are in the target, read before the source's head was `high`.
    pub fn catches_up(&mut self, high: Position) {
        self.unsure.ranges_read(&high);
        self.high = Some(high);
        self.state = TableState::CatchingUp;
    }

    /// The log has come to a place that `has_passed` knows of.
    pub fn passes(&mut self, has_passed: impl Fn(&Position) -> bool) {
        self.unsure.passes(has_passed);
    }

    /// The log has passed the last read: the table is as the source's was there.
    pub fn streams(&mut self) {
        self.state = TableState::Streaming;
        self.unsure = Unsure::none();
        self.slices.retain(|slice| !matches!(slice.range, Range::Set(_)));
        self.sets_read = 0;
    }

    /// Lets go of slices of keys that were read, once there are many: under steady traffic there would be ever more of them. Not
    /// while one is being copied, which knows its place among the others. Returns whether it did.
    pub fn drop_read_keys(&mut self) -> bool {
        let is_read = |slice: &Slice| slice.done && matches!(slice.range, Range::Set(_));
        if self.sets_read <= MOST_SETS_READ || self.slices.iter().any(|slice| slice.running) {
            return false;
        }
        self.slices.retain(|slice| !is_read(slice));
        self.sets_read = 0;
        true
    }

    /// Whether the row of a key may be one that the source does not have where the log stands.
    pub fn is_unsure(&self, key: &Key) -> bool {
        self.in_window() && self.unsure.holds(key)
    }

    /// Whether all parts are in the target.
    pub fn is_copied(&self) -> bool {
        self.state == TableState::Copying && self.slices.iter().all(|slice| slice.done)
    }

    /// Adds keys to read again; returns the numbers of the slices that hold them. Those that wait already are left out. Beyond a
    /// bound none is kept, and the whole table is copied again after its slices.
    fn queue(&mut self, keys: &[Key]) -> SliceNumbers {
        let first = self.slices.len();
        if self.again {
            return first..first;
        }
        let fresh: Vec<Key> = keys.iter().filter(|key| self.queued.insert((*key).clone())).cloned().collect();
        self.unsure.add(&fresh);
        if self.queued.len() > MAX_QUEUED_KEYS {
            self.again = true;
            self.queued.clear();
            return first..first;
        }
        self.slices.extend(fresh.chunks(KEYS_PER_SLICE).map(|keys| Slice::new(Range::Set(keys.to_vec()))));
        first..self.slices.len()
    }

    /// Slices of which it is on disk that they are done, and slices in all.
    pub fn progress(&self) -> (u64, u64) {
        (self.slices.iter().filter(|slice| slice.noted).count() as u64, self.slices.len() as u64)
    }

    fn record(&self) -> Result<TableRecord> {
        Ok(TableRecord {
            state: self.state,
            reason: self.reason.clone(),
            schema_json: serde_json::to_string(&*self.taken).map_err(|error| unreadable("form of a table", error))?,
            target: self.chosen.target.name.to_string(),
            high: self.high.as_ref().map(ToString::to_string),
            rows_copied: self.rows_copied,
            rows_compared: self.rows_compared,
            compares: self.compares,
            rows_applied: self.rows_applied,
            at_target: self.at_target,
            source_id: self.source_id,
            columns_seen: self.columns_seen,
            dropped: self.dropped.iter().cloned().collect(),
            traces: self.traces.clone(),
            again: self.again,
            finished: self.finished,
        })
    }
}

/// The keys of a slice of keys.
fn keys_of(range: &Range) -> &[Key] {
    match range {
        Range::Set(keys) => keys,
        _ => &[],
    }
}

fn highest_id(form: &TableSchema) -> i32 {
    form.columns.iter().chain(&form.computed).map(|column| column.id).max().unwrap_or(0)
}

fn known_form(record: &TableRecord) -> Result<TableSchema> {
    serde_json::from_str(&record.schema_json).map_err(|error| unreadable("form of a table", error))
}

pub(super) fn unreadable(what: &str, error: serde_json::Error) -> Error {
    Error::new(ErrorKind::Other, format!("read the {what} in the state directory"))
        .because(error)
        .hint("The state was written by another version or is damaged. Move it away: the next run goes on from the position in the target.")
}

/// All tables of a pipeline. Clones share them.
#[derive(Debug, Clone)]
pub struct Lives {
    tables: Arc<Mutex<BTreeMap<TableName, Life>>>,
    /// Held while a table is written.
    saving: Arc<tokio::sync::Mutex<()>>,
    /// Rows that the target refused.
    pub letters: Letters,
    state: rowferry_state::Pipeline,
    store: rowferry_state::Store,
}

impl Lives {
    /// No tables yet, and the dead letters that are kept. Blocks.
    pub fn open(store: rowferry_state::Store, state: rowferry_state::Pipeline) -> rowferry_state::Result<Self> {
        let letters = Letters::open(store.clone(), state.clone())?;
        Ok(Self { tables: Arc::default(), saving: Arc::default(), letters, state, store })
    }

    /// The tables, by their names at the source. Held for a moment only, never across an await.
    pub fn lock(&self) -> MutexGuard<'_, BTreeMap<TableName, Life>> {
        self.tables.lock().expect("no code panics while it holds the tables")
    }

    /// Runs a change of the state off the async threads, and makes it durable.
    pub async fn write(
        &self,
        change: impl FnOnce(&rowferry_state::Pipeline) -> rowferry_state::Result<()> + Send + 'static,
    ) -> Result<()> {
        let (state, store) = (self.state.clone(), self.store.clone());
        off_async(move || {
            change(&state).map_err(state_error)?;
            failpoint!("state.changed");
            store.sync().map_err(state_error)?;
            failpoint!("state.durable");
            Ok(())
        })
        .await
    }

    /// Reads from the state off the async threads.
    pub async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&rowferry_state::Pipeline) -> rowferry_state::Result<T> + Send + 'static,
    ) -> Result<T> {
        let state = self.state.clone();
        blocking(move || read(&state)).await
    }

    /// Writes a table's record durably.
    pub async fn save(&self, table: &TableName) -> Result<()> {
        self.save_slices(table, 0..0).await
    }

    /// Writes the records of all tables durably: all of them or none.
    pub async fn save_all(&self) -> Result<()> {
        let _turn = self.saving.lock().await;
        let records = {
            let tables = self.lock();
            let records = tables.iter().map(|(name, life)| Ok((name.to_string(), life.record()?)));
            records.collect::<Result<Vec<_>>>()?
        };
        self.write(move |state| state.set_tables(records.iter().map(|(name, record)| (name.as_str(), record)))).await
    }

    /// Writes a table's record and some of its slices durably: all of it or nothing.
    pub async fn save_slices(&self, table: &TableName, numbers: SliceNumbers) -> Result<()> {
        // What is written last must be what was last in memory.
        let _turn = self.saving.lock().await;
        let (record, slices) = {
            let tables = self.lock();
            let Some(life) = tables.get(table) else { return Ok(()) };
            let slices = numbers.filter_map(|number| Some((u32::try_from(number).ok()?, life.slices.get(number)?)));
            let slices =
                slices.map(|(number, slice)| Ok((number, slice_record(slice)?))).collect::<Result<Vec<_>>>()?;
            (life.record()?, slices)
        };
        let name = table.to_string();
        let done: Vec<usize> =
            slices.iter().filter(|(_, slice)| slice.done).map(|(number, _)| *number as usize).collect();
        self.write(move |state| state.set_table(&name, &record, &slices)).await?;
        if let Some(life) = self.lock().get_mut(table) {
            for number in done {
                // They may have been cut anew meanwhile.
                if let Some(slice) = life.slices.get_mut(number) {
                    slice.noted = slice.done;
                }
            }
        }
        Ok(())
    }

    /// Writes a table's record durably, with its slices in place of all that were there: all of it or nothing.
    pub async fn save_anew(&self, table: &TableName) -> Result<()> {
        let _turn = self.saving.lock().await;
        let (record, slices) = {
            let tables = self.lock();
            let Some(life) = tables.get(table) else { return Ok(()) };
            (life.record()?, life.slices.iter().map(slice_record).collect::<Result<Vec<_>>>()?)
        };
        let name = table.to_string();
        self.write(move |state| state.set_table_anew(&name, &record, &slices)).await
    }

    /// Writes dead letters, and keys to read again as slices of their tables, durably. Called before the commit that
    /// they come from, so that a crash loses none.
    pub(super) async fn keep(
        &self,
        again: &[(Arc<TableSchema>, Vec<Key>)],
        letters: &[Letter],
        position: Option<&Position>,
    ) -> Result<()> {
        self.letters.add(letters, position).await?;
        for (target, keys) in again {
            self.read_again(&target.name, keys).await?;
        }
        Ok(())
    }

    /// Adds slices of keys to a table, by its name at the target. A table that streamed is in a window until they are done.
    pub async fn read_again(&self, target: &TableName, keys: &[Key]) -> Result<()> {
        let (name, numbers) = {
            let mut tables = self.lock();
            let Some((name, life)) = tables.iter_mut().find(|(_, life)| life.chosen.target.name == *target) else {
                return Ok(());
            };
            // A table that is not copied yet is read later; a halted one is copied again when it goes on.
            if !life.is_open() {
                return Ok(());
            }
            life.state = TableState::Copying;
            (name.clone(), life.queue(keys))
        };
        self.save_slices(&name, numbers).await?;
        self.letters.queue(&name.to_string(), Some(keys)).await
    }

    /// Whether a row, by its table's name at the target, may have a dead letter.
    pub(super) fn may_have_letter(&self, target: &TableName, key: &Key) -> bool {
        self.letters.any() && self.name_of(target).is_some_and(|name| self.letters.may_hold(&name.to_string(), key))
    }

    /// The name at the source of a table, by its name at the target.
    pub(super) fn name_of(&self, target: &TableName) -> Option<TableName> {
        let tables = self.lock();
        tables.iter().find(|(_, life)| life.chosen.target.name == *target).map(|(name, _)| name.clone())
    }

    /// Whether a table, by its name at the target, may be in a state that the source never had.
    pub fn in_window(&self, target: &TableName) -> bool {
        self.lock().values().any(|life| life.chosen.target.name == *target && life.in_window())
    }

    /// Whether a row, by its table's name at the target, may be one that the source does not have where the log stands.
    pub fn is_unsure(&self, target: &TableName, key: &Key) -> bool {
        self.lock().values().any(|life| life.chosen.target.name == *target && life.is_unsure(key))
    }

    /// Whether the configuration lets refused rows of a table, by its name at the target, go.
    pub fn lets_bad_rows_go(&self, target: &TableName) -> bool {
        self.lock()
            .values()
            .any(|life| life.chosen.target.name == *target && life.chosen.config.on_bad_row == OnBadRow::DeadLetter)
    }
}

fn slice_record(slice: &Slice) -> Result<SliceRecord> {
    Ok(SliceRecord {
        range_json: serde_json::to_string(&slice.range).map_err(|error| unreadable("slice", error))?,
        done: slice.done,
        high: None,
        rows: slice.rows,
        bytes: slice.bytes,
    })
}

/// Runs a call on the state off the async threads.
pub async fn blocking<T: Send + 'static>(
    call: impl FnOnce() -> rowferry_state::Result<T> + Send + 'static,
) -> Result<T> {
    off_async(|| call().map_err(state_error)).await
}

async fn off_async<T: Send + 'static>(call: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    let called = tokio::task::spawn_blocking(call).await;
    called.map_err(|error| Error::new(ErrorKind::Other, "use the state directory").because(error))?
}

/// An error of the state as one of ours.
pub fn state_error(error: rowferry_state::Error) -> Error {
    let kind = if error.is_busy() { ErrorKind::Busy } else { ErrorKind::Other };
    Error::new(kind, error.to_string()).hint(error.mend())
}

/// Microseconds since 1970-01-01 00:00:00 UTC.
pub fn now_us() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}
