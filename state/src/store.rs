//! The database: opening it, and making what was written durable.

use crate::keys::{part_after, prefix};
use crate::{Error, Pipeline, Result};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// One state directory. Clones share it; it is unlocked when the last one is dropped.
#[derive(Debug, Clone)]
pub struct Store {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    dir: PathBuf,
    db: sled::Db,
    /// sled's own file, kept open to fsync it.
    file: File,
}

/// sled's log is in one file of this name.
const FILE: &str = "db";
/// Beside it once it holds something.
const MARK: &str = "rowferry-state";
/// The first key that is written.
const META: &[u8] = b"meta";
/// The format of keys and records.
const FORMAT: &[u8] = b"1";
/// Memory that sled may take for its cache.
const CACHE_BYTES: u64 = 8 << 20;

impl Store {
    /// Opens the directory, and creates it where it is missing. Another process that has it open is
    /// [`Error::is_busy`].
    pub fn open(dir: &Path) -> Result<Self> {
        std::fs::create_dir_all(dir).map_err(|error| Error::io(dir, "create it", &error))?;
        let db = sled::Config::new()
            .path(dir)
            .cache_capacity(CACHE_BYTES)
            .flush_every_ms(None)
            .open()
            .map_err(|error| Error::sled(dir, "open it", error))?;
        let file = File::open(dir.join(FILE)).map_err(|error| Error::io(dir, "open its database file", &error))?;
        let store = Self { shared: Arc::new(Shared { dir: dir.to_owned(), db, file }) };
        store.refuse_emptied()?;
        // The files' names must survive a power cut too.
        let directory = File::open(dir).map_err(|error| Error::io(dir, "open it", &error))?;
        directory.sync_all().map_err(|error| Error::io(dir, "sync it", &error))?;
        Ok(store)
    }

    /// sled takes a file that it cannot read for an empty database. A mark beside it says that it once held something.
    fn refuse_emptied(&self) -> Result<()> {
        let dir = &self.shared.dir;
        let (mark, written) = (dir.join(MARK), self.get(META)?.is_some());
        if mark.exists() && !written {
            return Err(self.unreadable("its database is damaged: nothing of what it held can be read".into()));
        }
        if !written {
            self.put(META, FORMAT.to_vec())?;
            self.sync()?;
        }
        if mark.exists() {
            return Ok(());
        }
        let file = File::create(&mark).map_err(|error| Error::io(dir, "create its mark", &error))?;
        file.sync_all().map_err(|error| Error::io(dir, "sync its mark", &error))
    }

    /// Whether a state is there. Creates nothing.
    pub fn exists(dir: &Path) -> bool {
        dir.join(FILE).exists()
    }

    /// One pipeline's part. Writes its name down, so that [`pipelines`](Self::pipelines) lists it.
    pub fn pipeline(&self, name: &str) -> Result<Pipeline> {
        self.put(&prefix(&["pipeline", name]), Vec::new())?;
        Ok(Pipeline::new(self.clone(), name))
    }

    /// The names of all pipelines, sorted.
    pub fn pipelines(&self) -> Result<Vec<String>> {
        let start = prefix(&["pipeline"]);
        self.scan(&start)?.iter().map(|(key, _)| self.part(key, &start)).collect()
    }

    /// Everything written before is durable when this returns: sled 0.34 flushes with `sync_file_range`, which does not
    /// survive a power cut, so its file is fsynced as well.
    pub fn sync(&self) -> Result<()> {
        let dir = &self.shared.dir;
        self.shared.db.flush().map_err(|error| Error::sled(dir, "flush it", error))?;
        self.shared.file.sync_all().map_err(|error| Error::io(dir, "sync its database file", &error))
    }

    pub(crate) fn get(&self, key: &[u8]) -> Result<Option<sled::IVec>> {
        self.shared.db.get(key).map_err(|error| self.failed("read", error))
    }

    pub(crate) fn put(&self, key: &[u8], value: Vec<u8>) -> Result<()> {
        self.shared.db.insert(key, value).map(drop).map_err(|error| self.failed("write", error))
    }

    pub(crate) fn remove(&self, key: &[u8]) -> Result<()> {
        self.shared.db.remove(key).map(drop).map_err(|error| self.failed("write", error))
    }

    /// All of them or none, also after a crash.
    pub(crate) fn apply(&self, batch: sled::Batch) -> Result<()> {
        self.shared.db.apply_batch(batch).map_err(|error| self.failed("write", error))
    }

    pub(crate) fn scan(&self, start: &[u8]) -> Result<Vec<(sled::IVec, sled::IVec)>> {
        self.shared.db.scan_prefix(start).collect::<sled::Result<_>>().map_err(|error| self.failed("read", error))
    }

    /// Entries that begin with `start`, from the key `first` on, as they are asked for.
    pub(crate) fn scan_from(
        &self,
        start: &[u8],
        first: &[u8],
    ) -> impl Iterator<Item = Result<(sled::IVec, sled::IVec)>> {
        let (start, first) = (start.to_vec(), first.to_vec());
        let entries = self.shared.db.range(first..).map(|entry| entry.map_err(|error| self.failed("read", error)));
        entries.take_while(move |entry| entry.as_ref().map_or(true, |(key, _)| key.starts_with(&start)))
    }

    pub(crate) fn part(&self, key: &[u8], start: &[u8]) -> Result<String> {
        part_after(key, start).ok_or_else(|| self.unreadable("a key is not one of rowferry's".into()))
    }

    pub(crate) fn unreadable(&self, what: String) -> Error {
        Error::unreadable(&self.shared.dir, what)
    }

    fn failed(&self, verb: &str, error: sled::Error) -> Error {
        Error::sled(&self.shared.dir, verb, error)
    }
}
