//! What can go wrong with the state directory, and what to do about it.

use std::fmt;
use std::path::{Path, PathBuf};

/// The result of every call.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What happened to which directory.
#[derive(Debug)]
pub struct Error {
    dir: PathBuf,
    what: String,
    busy: bool,
    mend: &'static str,
}

const MOVE_AWAY: &str = "Move the directory away and start again: the position in the target is found, and tables are \
                         compared and copied again over what is there.";
const CHECK_DISK: &str = "Check the directory's permissions and the space on its disk.";
const STOP_OTHER: &str = "Another rowferry process uses it: stop that one, or set another state_dir.";

impl Error {
    pub(crate) fn unreadable(dir: &Path, what: impl Into<String>) -> Self {
        Self { dir: dir.to_owned(), what: what.into(), busy: false, mend: MOVE_AWAY }
    }

    pub(crate) fn sled(dir: &Path, verb: &str, error: sled::Error) -> Self {
        let text = error.to_string();
        let (busy, mend) = match &error {
            sled::Error::Io(io) if io.kind() == std::io::ErrorKind::WouldBlock || text.contains("lock") => {
                (true, STOP_OTHER)
            }
            sled::Error::Io(_) => (false, CHECK_DISK),
            _ => (false, MOVE_AWAY),
        };
        Self { dir: dir.to_owned(), what: format!("{verb}: {text}"), busy, mend }
    }

    pub(crate) fn io(dir: &Path, verb: &str, error: &std::io::Error) -> Self {
        Self { dir: dir.to_owned(), what: format!("{verb}: {error}"), busy: false, mend: CHECK_DISK }
    }

    /// Another process holds the directory.
    pub fn is_busy(&self) -> bool {
        self.busy
    }

    /// What to do about it.
    pub fn mend(&self) -> &'static str {
        self.mend
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "state directory {}: {}", self.dir.display(), self.what)
    }
}

impl std::error::Error for Error {}
