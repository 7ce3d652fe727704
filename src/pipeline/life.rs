//! The life of each table: `pending -> copying (n of m slices) -> catching up (to high) -> streaming`, or `halted`
//! with a reason; in memory and in the state directory.
//!
//! A table is consistent once the log has passed its `high`, the source's head taken after its last slice was written.

use super::apply::{DeadLetter, encoded};
use super::forms::Chosen;
use super::route::touched_keys;
use crate::config::OnBadRow;
use rowferry_api::{Error, ErrorKind, Key, Position, Range, Result, TableName, TableSchema};
use rowferry_state::{DeadLetterRecord, SliceRecord, TableRecord, TableState};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{SystemTime, UNIX_EPOCH};

/// Dead letters that one pipeline keeps at most; the next one halts it.
const MAX_DEAD_LETTERS: u64 = 100_000;
/// Keys of one slice of keys.
const KEYS_PER_SLICE: usize = 1_000;

/// One table.
#[derive(Debug, Clone)]
pub struct Life {
    /// The table and its forms, as the catalog has them.
    pub chosen: Chosen,
    /// The form that the target's table has taken. Differs from `chosen` while a change of form is being carried over.
    pub taken: Arc<TableSchema>,
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
    /// Changes applied from the log.
    pub rows_applied: u64,
    /// Rows that the target refused.
    pub dead_letters: u64,
    /// Slices replace what the target has, instead of filling an empty table.
    pub replace: bool,
    /// rowferry made the target's table, so its indexes and foreign keys are rowferry's matter too.
    pub made: bool,
    /// Secondary indexes and foreign keys are built.
    pub finished: bool,
}

/// A part of a table to copy.
#[derive(Debug, Clone)]
pub struct Slice {
    /// Which part.
    pub range: Range,
    /// It is in the target.
    pub done: bool,
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
        Self { range, done: false, running: false, rows: 0, bytes: 0 }
    }
}

impl Life {
    /// A table that nothing is known of.
    pub fn new(chosen: Chosen) -> Self {
        Self {
            taken: chosen.source.schema.clone(),
            chosen,
            state: TableState::Pending,
            reason: None,
            high: None,
            slices: Vec::new(),
            rows_copied: 0,
            rows_applied: 0,
            dead_letters: 0,
            replace: false,
            made: false,
            finished: false,
        }
    }

    /// A table that an earlier run left, under the form that the catalog has now.
    pub fn restored(chosen: Chosen, record: TableRecord, slices: Vec<SliceRecord>) -> Result<Self> {
        let slices = slices
            .into_iter()
            .map(|slice| {
                let range = serde_json::from_str(&slice.range_json).map_err(|error| unreadable("slice", error))?;
                Ok(Slice { range, done: slice.done, running: false, rows: slice.rows, bytes: slice.bytes })
            })
            .collect::<Result<_>>()?;
        Ok(Self {
            taken: Arc::new(known_form(&record)?),
            chosen,
            state: record.state,
            reason: record.reason,
            high: record.high.map(Position::new),
            slices,
            rows_copied: record.rows_copied,
            rows_applied: record.rows_applied,
            dead_letters: record.dead_letters,
            replace: record.replace,
            made: record.made,
            finished: record.finished,
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

    /// Slices done and slices in all.
    pub fn progress(&self) -> (u64, u64) {
        (self.slices.iter().filter(|slice| slice.done).count() as u64, self.slices.len() as u64)
    }

    fn record(&self) -> Result<TableRecord> {
        Ok(TableRecord {
            state: self.state,
            reason: self.reason.clone(),
            schema_json: serde_json::to_string(&*self.taken).map_err(|error| unreadable("form of a table", error))?,
            target: self.chosen.target.name.to_string(),
            high: self.high.as_ref().map(ToString::to_string),
            rows_copied: self.rows_copied,
            rows_applied: self.rows_applied,
            dead_letters: self.dead_letters,
            replace: self.replace,
            made: self.made,
            finished: self.finished,
        })
    }
}

fn known_form(record: &TableRecord) -> Result<TableSchema> {
    serde_json::from_str(&record.schema_json).map_err(|error| unreadable("form of a table", error))
}

fn unreadable(what: &str, error: serde_json::Error) -> Error {
    Error::new(ErrorKind::Other, format!("read the {what} in the state directory"))
        .because(error)
        .hint("The state was written by another version or is damaged. Move it away: the next run goes on from the position in the target.")
}

/// All tables of a pipeline. Clones share them.
#[derive(Debug, Clone)]
pub struct Lives {
    tables: Arc<Mutex<BTreeMap<TableName, Life>>>,
    state: rowferry_state::Pipeline,
    store: rowferry_state::Store,
}

impl Lives {
    /// No tables yet.
    pub fn new(store: rowferry_state::Store, state: rowferry_state::Pipeline) -> Self {
        Self { tables: Arc::default(), state, store }
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
        blocking(move || {
            change(&state)?;
            store.sync()
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

    /// Writes a table's record, and with `slices` also all of its slices, durably.
    pub async fn save(&self, table: &TableName, slices: bool) -> Result<()> {
        let (record, slice_records) = {
            let tables = self.lock();
            let Some(life) = tables.get(table) else { return Ok(()) };
            (life.record()?, if slices { Some(slice_records(life)?) } else { None })
        };
        let name = table.to_string();
        self.write(move |state| {
            if let Some(slices) = slice_records {
                state.set_slices(&name, &slices)?;
            }
            state.set_table(&name, &record)
        })
        .await
    }

    /// Writes one slice of a table durably, with the table's record.
    pub async fn save_slice(&self, table: &TableName, index: usize) -> Result<()> {
        let (record, slice) = {
            let tables = self.lock();
            let Some(life) = tables.get(table) else { return Ok(()) };
            (life.record()?, slice_record(&life.slices[index])?)
        };
        let name = table.to_string();
        let index = u32::try_from(index).expect("a table has fewer than 2^32 slices");
        self.write(move |state| {
            state.set_slice(&name, index, &slice)?;
            state.set_table(&name, &record)
        })
        .await
    }

    /// Writes keys to read again as slices of their tables, and dead letters, durably. Called before the commit that
    /// they come from, so that a crash loses none.
    pub async fn keep(
        &self,
        again: &[(Arc<TableSchema>, Vec<Key>)],
        dead_letters: &[DeadLetter],
        position: Option<&Position>,
    ) -> Result<()> {
        for (target, keys) in again {
            self.read_again(&target.name, keys).await?;
        }
        if dead_letters.is_empty() {
            return Ok(());
        }
        let mut letters = Vec::new();
        for letter in dead_letters {
            letters.push(self.letter(letter, position)?);
        }
        let full = Arc::new(Mutex::new(false));
        let seen = full.clone();
        self.write(move |state| {
            for letter in &letters {
                if !state.push_dead_letter(letter, MAX_DEAD_LETTERS)? {
                    *seen.lock().expect("not poisoned") = true;
                }
            }
            Ok(())
        })
        .await?;
        if *full.lock().expect("not poisoned") {
            return Err(Error::new(
                ErrorKind::BadRow,
                format!("keep a dead letter: {MAX_DEAD_LETTERS} are kept already"),
            )
            .hint("Look at the first of them and mend their cause; the change is still in the source's log."));
        }
        Ok(())
    }

    /// Adds slices of keys to a table, by its name at the target. A table that streamed is in a window until they are done.
    pub async fn read_again(&self, target: &TableName, keys: &[Key]) -> Result<()> {
        let name = {
            let mut tables = self.lock();
            let Some((name, life)) = tables.iter_mut().find(|(_, life)| life.chosen.target.name == *target) else {
                return Ok(());
            };
            life.slices.extend(keys.chunks(KEYS_PER_SLICE).map(|keys| Slice::new(Range::Set(keys.to_vec()))));
            if matches!(life.state, TableState::Streaming | TableState::CatchingUp) {
                life.state = TableState::Copying;
            }
            name.clone()
        };
        self.save(&name, true).await
    }

    fn letter(&self, letter: &DeadLetter, position: Option<&Position>) -> Result<DeadLetterRecord> {
        let change = &letter.change;
        let (op, row) = encoded(&change.op);
        let table = {
            let mut tables = self.lock();
            tables.iter_mut().find(|(_, life)| life.chosen.target.name == change.table.name).map(|(name, life)| {
                life.dead_letters += 1;
                name.to_string()
            })
        };
        Ok(DeadLetterRecord {
            table: table.unwrap_or_else(|| change.table.name.to_string()),
            position: position.map(ToString::to_string),
            at_us: now_us(),
            reason: letter.reason.clone(),
            key: touched_keys(change).first().map(|key| key.as_bytes().to_vec()).unwrap_or_default(),
            op: op.to_owned(),
            row,
            schema_json: serde_json::to_string(&*change.table).map_err(|error| unreadable("form of a table", error))?,
        })
    }

    /// Whether a table, by its name at the target, may be in a state that the source never had.
    pub fn in_window(&self, target: &TableName) -> bool {
        self.lock().values().any(|life| life.chosen.target.name == *target && life.in_window())
    }

    /// Whether the configuration lets refused rows of a table, by its name at the target, go.
    pub fn lets_bad_rows_go(&self, target: &TableName) -> bool {
        self.lock()
            .values()
            .any(|life| life.chosen.target.name == *target && life.chosen.config.on_bad_row == OnBadRow::DeadLetter)
    }
}

fn slice_records(life: &Life) -> Result<Vec<SliceRecord>> {
    life.slices.iter().map(slice_record).collect()
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
    tokio::task::spawn_blocking(call)
        .await
        .map_err(|error| Error::new(ErrorKind::Other, "use the state directory").because(error))?
        .map_err(state_error)
}

/// An error of the state as one of ours.
pub fn state_error(error: rowferry_state::Error) -> Error {
    let kind = if error.is_busy() { ErrorKind::Busy } else { ErrorKind::Other };
    Error::new(kind, error.to_string())
}

/// Microseconds since 1970-01-01 00:00:00 UTC.
pub fn now_us() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}
