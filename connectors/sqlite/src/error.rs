//! SQLite's result codes as the kinds that the engine decides from (SQLite manual, "Result and Error Codes").

use rowferry_api::{Error, ErrorKind, Result};
use rusqlite::ffi::{self, ErrorCode};
use std::path::Path;

/// An error of SQLite while doing `what` (verb and object).
pub(crate) fn failed(error: rusqlite::Error, what: impl Into<String>) -> Error {
    let (kind, hint) = reaction(&error);
    let wrapped = Error::new(kind, what).because(error);
    match hint {
        Some(hint) => wrapped.hint(hint),
        None => wrapped,
    }
}

/// Adds what was being done to an error of SQLite.
pub(crate) trait Explain<T> {
    fn explain(self, what: impl FnOnce() -> String) -> Result<T>;
}

impl<T> Explain<T> for rusqlite::Result<T> {
    fn explain(self, what: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|error| failed(error, what()))
    }
}

/// Names the file. The kind stays.
pub(crate) fn in_file(error: Error, path: &Path) -> Error {
    error.within(format!("SQLite file {}", path.display()))
}

fn reaction(error: &rusqlite::Error) -> (ErrorKind, Option<&'static str>) {
    let Some(code) = error.sqlite_error() else {
        return (ErrorKind::Other, None);
    };
    match code.code {
        ErrorCode::ConstraintViolation => (constraint(code.extended_code), None),
        ErrorCode::TypeMismatch | ErrorCode::TooBig => (ErrorKind::BadRow, None),
        ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked => (
            ErrorKind::Transient,
            Some("Another process holds the file: end its transaction, or wait; `fuser FILE` shows who it is."),
        ),
        ErrorCode::DiskFull => (ErrorKind::Unreachable, Some("The disk is full: free some space.")),
        ErrorCode::SystemIoFailure => (
            ErrorKind::Unreachable,
            Some("Look at the disk and the system's log (dmesg): the disk refused a read or a write."),
        ),
        ErrorCode::ReadOnly | ErrorCode::PermissionDenied => {
            (ErrorKind::Config, Some("Give the user of this process the right to write the file and its directory."))
        }
        ErrorCode::CannotOpen => (
            ErrorKind::Config,
            Some(
                "Look whether the directory exists and the user of this process may write the file and the directory.",
            ),
        ),
        ErrorCode::NotADatabase => {
            (ErrorKind::Config, Some("The file is not an SQLite database: name another `path`."))
        }
        ErrorCode::DatabaseCorrupt => (
            ErrorKind::Config,
            Some(
                "The file is damaged: `sqlite3 FILE 'PRAGMA integrity_check'` says where. Restore it, or name another `path`.",
            ),
        ),
        ErrorCode::SchemaChanged => (ErrorKind::Transient, None),
        // "no such table", "no such column" and the like: somebody changed the tables.
        ErrorCode::Unknown if code.extended_code == ffi::SQLITE_ERROR => (ErrorKind::Schema, None),
        _ => (ErrorKind::Other, None),
    }
}

fn constraint(extended: i32) -> ErrorKind {
    match extended {
        // The key's own conflicts are resolved by ON CONFLICT, so this is another one.
        ffi::SQLITE_CONSTRAINT_UNIQUE | ffi::SQLITE_CONSTRAINT_PRIMARYKEY | ffi::SQLITE_CONSTRAINT_ROWID => {
            ErrorKind::Unique
        }
        _ => ErrorKind::BadRow,
    }
}
