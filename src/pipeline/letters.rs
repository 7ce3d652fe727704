//! Dead letters: rows that the target refused and that the policy lets go, at most one a row.
//!
//! A letter goes when its row is in the target as the source has it: when a whole newer change of the row was applied, or when
//! the row was read again from the source and its table has come in step since. So it may outlive its cause for a moment, and
//! never goes early. What is known of all letters in memory is small: hashes of keys and sizes.

mod index;
mod redact;

use super::life::{blocking, now_us, unreadable};
use rowferry_api::{Cell, Error, ErrorKind, Key, Position, Result, Row, TableSchema};
use rowferry_state::{DeadLetterRecord, Pipeline, Store};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard};

use index::{Index, hash, size};
use redact::redacted;

/// What one pipeline keeps at most; the next letter halts it.
const BOUNDS: Bounds = Bounds { letters: 100_000, bytes: 256 << 20 };
/// The largest row that is kept with its letter. A replay reads the row from the source, so it needs none.
const LARGEST_ROW_BYTES: usize = 1 << 20;
/// What a reason is cut to: servers put whole rows into some.
const LONGEST_REASON: usize = 4 << 10;

/// A row that the target refused.
#[derive(Debug, Clone)]
pub(super) struct Letter {
    /// The table at the source.
    pub table: String,
    /// The form that `row` follows.
    pub form: Arc<TableSchema>,
    /// insert, update, delete, truncate or copy.
    pub op: &'static str,
    /// The rows that have to come right. None: the whole table.
    pub keys: Vec<Key>,
    /// The row as it was to be written.
    pub row: Option<Row>,
    /// Why the target refused it.
    pub reason: String,
}

impl Letter {
    /// Says that a row was let go, without its values.
    pub(super) fn log(&self) {
        let reason = redacted_of(&self.reason, &self.form, self.row.as_ref());
        tracing::warn!(table = self.table, op = self.op, reason, "row let go as a dead letter");
    }
}

/// A reason without the values of a row.
pub(crate) fn redacted_of(reason: &str, form: &TableSchema, row: Option<&Row>) -> String {
    let is_name = |word: &str| {
        form.columns.iter().any(|column| column.name == word)
            || [&form.name.schema, &form.name.name].iter().any(|name| *name == word)
            || form.indexes.iter().any(|index| index.name == word)
    };
    let cells = row.into_iter().flat_map(Row::cells).filter_map(|cell| match cell {
        Cell::Text(text) => std::str::from_utf8(text).ok(),
        _ => None,
    });
    redacted(reason, is_name, cells)
}

/// Which letters are meant.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Which {
    /// By their ids.
    Ids(Vec<u64>),
    /// Of these tables, by their names at the source.
    Tables(Vec<String>),
    /// Every one.
    All,
}

/// Rows of a table at the source to read again; no keys stand for the whole table.
#[derive(Debug, Default)]
pub(super) struct ToRead {
    pub keys: Vec<Key>,
    pub whole: bool,
}

/// How many letters, and of how many bytes together.
#[derive(Debug, Clone, Copy)]
struct Bounds {
    letters: usize,
    bytes: usize,
}

/// The letters of one pipeline. Clones share them.
#[derive(Debug, Clone)]
pub struct Letters {
    bounds: Bounds,
    index: Arc<Mutex<Index>>,
    /// Held while letters change.
    turn: Arc<tokio::sync::Mutex<()>>,
    state: Pipeline,
    store: Store,
}

impl Letters {
    /// Those that the state holds. Blocks.
    pub fn open(store: Store, state: Pipeline) -> rowferry_state::Result<Self> {
        let mut index = Index { next: state.next_dead_letter()?, ..Index::default() };
        state.visit_dead_letters(None, |id, record| {
            index.insert(id, &record);
            true
        })?;
        Ok(Self { bounds: BOUNDS, index: Arc::new(Mutex::new(index)), turn: Arc::default(), state, store })
    }

    /// How many of a table, by its name at the source.
    pub fn count(&self, table: &str) -> u64 {
        self.index().by_table.get(table).map_or(0, |ids| ids.len() as u64)
    }

    /// Whether there may be one of a row. Rarely says yes of one that has none.
    pub(super) fn may_hold(&self, table: &str, key: &Key) -> bool {
        self.index().by_key.contains_key(&hash(table, key.as_bytes()))
    }

    /// Whether there is any.
    pub(super) fn any(&self) -> bool {
        !self.index().letters.is_empty()
    }

    /// The id of the next one.
    pub(super) fn next_id(&self) -> u64 {
        self.index().next
    }

    /// Whether there is any of a table.
    pub(super) fn any_of(&self, table: &str) -> bool {
        self.index().by_table.contains_key(table)
    }

    /// Keeps letters durably, each in place of those of the same rows. On an error none of them is kept.
    pub(super) async fn add(&self, letters: &[Letter], position: Option<&Position>) -> Result<()> {
        if letters.is_empty() {
            return Ok(());
        }
        let _turn = self.turn.lock().await;
        let mut change = Changed::default();
        let first = self.index().next;
        for (next, letter) in (first..).zip(letters) {
            let record = record_of(letter, position)?;
            self.take_keys(&letter.table, Some(&record.keys), u64::MAX, &mut change).await?;
            for key in &record.keys {
                change.by_key.entry(hash(&record.table, key)).or_default().insert(next);
            }
            change.put.insert(next, record);
        }
        self.refuse_too_many(&change)?;
        self.carry_out(change).await
    }

    /// Whole newer changes of these rows are in the target; without keys, of the whole table. Letters from `below` on are of
    /// later changes.
    pub(super) async fn settle(&self, table: &str, keys: Option<&[Key]>, below: u64) -> Result<()> {
        let _turn = self.turn.lock().await;
        let mut change = Changed::default();
        let keys: Option<Vec<Vec<u8>>> = keys.map(|keys| keys.iter().map(bytes_of).collect());
        self.take_keys(table, keys.as_deref(), below, &mut change).await?;
        self.carry_out(change).await
    }

    /// Rows of a table are on disk as to be read again; without keys, all of them. Their letters wait for that.
    pub(super) async fn queue(&self, table: &str, keys: Option<&[Key]>) -> Result<()> {
        if !self.any_of(table) {
            return Ok(());
        }
        let _turn = self.turn.lock().await;
        let mut change = Changed::default();
        let ids = match keys {
            None => self.index().of_table(table, |_| true),
            Some(keys) => self.ids_of_keys(table, keys.iter().map(|key| &key.as_bytes()[..])),
        };
        for id in ids {
            let Some(record) = self.record(id).await?.filter(|record| record.table == table && !record.queued) else {
                continue;
            };
            // A letter of two rows waits until both are read.
            let is_meant = |key: &Vec<u8>| keys.is_none_or(|keys| keys.iter().any(|one| one.as_bytes() == key));
            if keys.is_none() || record.keys.iter().all(is_meant) {
                change.put.insert(id, DeadLetterRecord { queued: true, ..record });
            }
        }
        self.carry_out(change).await
    }

    /// A table has come in step: what was read again is in the target.
    pub(super) async fn settle_queued(&self, table: &str) -> Result<()> {
        if !self.any_of(table) {
            return Ok(());
        }
        let _turn = self.turn.lock().await;
        let remove = self.index().of_table(table, |known| known.queued);
        self.carry_out(Changed { remove, ..Changed::default() }).await
    }

    /// Forgets letters; their rows are left as they are. Returns how many there were.
    pub async fn discard(&self, which: &Which) -> Result<usize> {
        let _turn = self.turn.lock().await;
        let remove = self.ids(which)?;
        let count = remove.len();
        self.carry_out(Changed { remove, ..Changed::default() }).await?;
        Ok(count)
    }

    /// What to read again for these letters, by table at the source. Letters that are gone meanwhile need nothing.
    pub(super) async fn to_read(&self, ids: &[u64]) -> Result<BTreeMap<String, ToRead>> {
        let mut found: BTreeMap<String, ToRead> = BTreeMap::new();
        for id in ids {
            let Some(record) = self.record(*id).await? else { continue };
            let rows = found.entry(record.table).or_default();
            rows.whole |= record.keys.is_empty();
            for key in record.keys {
                rows.keys.push(key_of(key)?);
            }
        }
        Ok(found)
    }

    /// The ids of those meant. One that is not there is an error.
    pub fn ids(&self, which: &Which) -> Result<BTreeSet<u64>> {
        let index = self.index();
        match which {
            Which::All => Ok(index.letters.keys().copied().collect()),
            Which::Tables(tables) => Ok(tables.iter().flat_map(|table| index.of_table(table, |_| true)).collect()),
            Which::Ids(ids) => match ids.iter().find(|id| !index.letters.contains_key(id)) {
                None => Ok(ids.iter().copied().collect()),
                Some(id) => Err(Error::new(ErrorKind::Config, format!("find dead letter {id}: there is none"))
                    .hint("`rowferry dead-letters list` shows those that are kept.")),
            },
        }
    }

    /// Letters with ids above `after`, oldest first, at most `most`; of one table if it is named.
    pub async fn page(
        &self,
        table: Option<String>,
        after: Option<u64>,
        most: usize,
    ) -> Result<Vec<(u64, DeadLetterRecord)>> {
        let state = self.state.clone();
        blocking(move || {
            let mut page = Vec::new();
            state.visit_dead_letters(after, |id, record| {
                if table.as_ref().is_none_or(|table| *table == record.table) {
                    page.push((id, record));
                }
                page.len() < most
            })?;
            Ok(page)
        })
        .await
    }

    /// One letter.
    pub async fn record(&self, id: u64) -> Result<Option<DeadLetterRecord>> {
        let state = self.state.clone();
        blocking(move || state.dead_letter(id)).await
    }

    fn index(&self) -> MutexGuard<'_, Index> {
        self.index.lock().expect("no code panics while it holds the index")
    }

    fn ids_of_keys<'k>(&self, table: &str, keys: impl Iterator<Item = &'k [u8]>) -> BTreeSet<u64> {
        let index = self.index();
        keys.filter_map(|key| index.by_key.get(&hash(table, key))).flatten().copied().collect()
    }

    /// Takes rows out of the letters below an id that are kept of them; those that are left without any go.
    async fn take_keys(&self, table: &str, keys: Option<&[Vec<u8>]>, below: u64, change: &mut Changed) -> Result<()> {
        let mut ids: BTreeSet<u64> = match keys {
            None => self.index().of_table(table, |_| true),
            Some([]) => self.index().of_table(table, |known| known.keys.is_empty()),
            Some(keys) => self.ids_of_keys(table, keys.iter().map(Vec::as_slice)),
        };
        let fresh = keys.into_iter().flatten().filter_map(|key| change.by_key.get(&hash(table, key)));
        ids.extend(fresh.flatten());
        for id in ids.into_iter().filter(|id| *id < below && !change.remove.contains(id)).collect::<Vec<_>>() {
            let record = match change.put.get(&id) {
                Some(record) => Some(record.clone()),
                None => self.record(id).await?,
            };
            let Some(mut record) = record.filter(|record| record.table == table) else { continue };
            let before = record.keys.len();
            let is_gone = match keys {
                None => true,
                // Of the whole table: in place of another such one.
                Some([]) => before == 0,
                Some(keys) => {
                    record.keys.retain(|key| !keys.contains(key));
                    before > 0 && record.keys.is_empty()
                }
            };
            if is_gone {
                change.put.remove(&id);
                change.remove.insert(id);
            } else if record.keys.len() < before {
                change.put.insert(id, record);
            }
        }
        Ok(())
    }

    fn refuse_too_many(&self, change: &Changed) -> Result<()> {
        let index = self.index();
        let fresh = change.put.iter().filter(|(id, _)| !index.letters.contains_key(id));
        let (count, bytes) = fresh.fold((0, 0), |(count, bytes), (_, record)| (count + 1, bytes + size(record)));
        let (gone, freed) = change
            .remove
            .iter()
            .filter_map(|id| index.letters.get(id))
            .fold((0, 0), |(count, bytes), known| (count + 1, bytes + known.bytes));
        let (count, bytes) = (index.letters.len() + count - gone, index.bytes + bytes - freed);
        let Bounds { letters: most, bytes: most_bytes } = self.bounds;
        if count <= most && bytes <= most_bytes {
            return Ok(());
        }
        let what = format!(
            "keep a dead letter: there would be {count} of {bytes} bytes, and {most} of {most_bytes} bytes are kept at most"
        );
        Err(Error::new(ErrorKind::Other, what).hint(
            "Look at them with `rowferry dead-letters list`, mend their cause, and replay or discard them; the change is still \
             in the source's log.",
        ))
    }

    async fn carry_out(&self, change: Changed) -> Result<()> {
        if change.put.is_empty() && change.remove.is_empty() {
            return Ok(());
        }
        let (state, store) = (self.state.clone(), self.store.clone());
        let Changed { put, remove, .. } = change;
        let put: Vec<(u64, DeadLetterRecord)> = put.into_iter().collect();
        let remove: Vec<u64> = remove.into_iter().collect();
        let (put, remove) = blocking(move || {
            state.change_dead_letters(&put, &remove)?;
            store.sync()?;
            Ok((put, remove))
        })
        .await?;
        let mut index = self.index();
        remove.iter().for_each(|id| index.remove(*id));
        for (id, record) in &put {
            index.remove(*id);
            index.insert(*id, record);
        }
        Ok(())
    }
}

/// What is to be written.
#[derive(Debug, Default)]
struct Changed {
    put: BTreeMap<u64, DeadLetterRecord>,
    remove: BTreeSet<u64>,
    /// New ones, by a hash of table and key.
    by_key: HashMap<u64, BTreeSet<u64>>,
}

fn bytes_of(key: &Key) -> Vec<u8> {
    key.as_bytes().to_vec()
}

fn key_of(bytes: Vec<u8>) -> Result<Key> {
    let malformed = |_| Error::new(ErrorKind::Other, "read a dead letter in the state directory: its key is malformed");
    Key::from_bytes(bytes.into()).map_err(malformed)
}

fn record_of(letter: &Letter, position: Option<&Position>) -> Result<DeadLetterRecord> {
    let row = letter.row.as_ref().map(|row| row.as_bytes().to_vec()).filter(|row| row.len() <= LARGEST_ROW_BYTES);
    let mut reason = letter.reason.clone();
    let cut = (0..=LONGEST_REASON.min(reason.len())).rev().find(|at| reason.is_char_boundary(*at));
    reason.truncate(cut.unwrap_or(0));
    Ok(DeadLetterRecord {
        table: letter.table.clone(),
        position: position.map(ToString::to_string),
        at_us: now_us(),
        reason,
        keys: letter.keys.iter().map(bytes_of).collect(),
        op: letter.op.to_owned(),
        row: row.unwrap_or_default(),
        schema_json: serde_json::to_string(&*letter.form).map_err(|error| unreadable("form of a table", error))?,
        queued: false,
    })
}

#[cfg(test)]
mod tests;
