//! What is known in memory of all dead letters: hashes of keys, and sizes.

use rowferry_state::DeadLetterRecord;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};

#[derive(Debug, Default)]
pub(super) struct Index {
    pub(super) next: u64,
    pub(super) bytes: usize,
    pub(super) letters: BTreeMap<u64, Known>,
    /// By a hash of table and key. Whoever acts on it looks at the record.
    pub(super) by_key: HashMap<u64, BTreeSet<u64>>,
    pub(super) by_table: HashMap<String, BTreeSet<u64>>,
}

#[derive(Debug)]
pub(super) struct Known {
    pub(super) table: String,
    pub(super) keys: Vec<u64>,
    pub(super) bytes: usize,
    pub(super) queued: bool,
}

impl Index {
    pub(super) fn insert(&mut self, id: u64, record: &DeadLetterRecord) {
        let keys: Vec<u64> = record.keys.iter().map(|key| hash(&record.table, key)).collect();
        for key in &keys {
            self.by_key.entry(*key).or_default().insert(id);
        }
        self.by_table.entry(record.table.clone()).or_default().insert(id);
        self.next = self.next.max(id + 1);
        self.bytes += size(record);
        let known = Known { table: record.table.clone(), keys, bytes: size(record), queued: record.queued };
        self.letters.insert(id, known);
    }

    pub(super) fn remove(&mut self, id: u64) {
        let Some(known) = self.letters.remove(&id) else { return };
        self.bytes -= known.bytes;
        for key in &known.keys {
            forget(&mut self.by_key, key, id);
        }
        forget(&mut self.by_table, &known.table, id);
    }

    pub(super) fn of_table(&self, table: &str, which: impl Fn(&Known) -> bool) -> BTreeSet<u64> {
        let ids = self.by_table.get(table).into_iter().flatten();
        ids.copied().filter(|id| self.letters.get(id).is_some_and(&which)).collect()
    }
}

fn forget<K: Hash + Eq>(map: &mut HashMap<K, BTreeSet<u64>>, key: &K, id: u64) {
    if let Some(ids) = map.get_mut(key) {
        ids.remove(&id);
        if ids.is_empty() {
            map.remove(key);
        }
    }
}

pub(super) fn hash(table: &str, key: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    (table, key).hash(&mut hasher);
    hasher.finish()
}

pub(super) fn size(record: &DeadLetterRecord) -> usize {
    /// Its place in the index and in the state's own.
    const OVERHEAD_BYTES: usize = 200;
    let keys: usize = record.keys.iter().map(Vec::len).sum();
    OVERHEAD_BYTES + record.table.len() + record.reason.len() + keys + record.row.len() + record.schema_json.len()
}
