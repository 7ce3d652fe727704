//! What an error of SQLite means for the engine.

use rowferry_api::{Error, ErrorKind};
use rusqlite::ErrorCode;
use std::path::Path;

/// SQLITE_CONSTRAINT_UNIQUE and SQLITE_CONSTRAINT_PRIMARYKEY, _ROWID (SQLite manual, "Result and Error Codes").
const UNIQUE: [i32; 3] = [2067, 1555, 2579];

/// An error while working on the file at `path`.
pub(crate) fn from_sqlite(path: &Path, context: impl Into<String>, error: rusqlite::Error) -> Error {
    let context = context.into();
    let (code, extended) = match &error {
        rusqlite::Error::SqliteFailure(code, _) => (Some(code.code), code.extended_code),
        _ => (None, 0),
    };
    let file = path.display();
    let (kind, hint) = match code {
        Some(ErrorCode::ConstraintViolation) if UNIQUE.contains(&extended) => (ErrorKind::Unique, None),
        Some(ErrorCode::ConstraintViolation | ErrorCode::TypeMismatch | ErrorCode::TooBig) => (ErrorKind::BadRow, None),
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            (ErrorKind::Transient, Some(format!("Another process holds {file}: let it finish its transaction.")))
        }
        Some(ErrorCode::DiskFull) => (ErrorKind::Unreachable, Some(format!("Make room on the disk of {file}."))),
        Some(ErrorCode::SystemIoFailure) => (ErrorKind::Unreachable, Some(format!("Check the disk of {file}."))),
        Some(ErrorCode::CannotOpen) => {
            (ErrorKind::Config, Some(format!("Check that the directory of {file} exists and may be written to.")))
        }
        Some(ErrorCode::ReadOnly) => (ErrorKind::Config, Some(format!("Make {file} and its directory writable."))),
        Some(ErrorCode::NotADatabase) => {
            (ErrorKind::Config, Some(format!("{file} is not a SQLite database: name another `path`, or move it away.")))
        }
        Some(ErrorCode::DatabaseCorrupt) => {
            (ErrorKind::Other, Some(format!("{file} is damaged: restore it, or move it away and run `rowferry resync --all`.")))
        }
        Some(ErrorCode::SchemaChanged) => (ErrorKind::Schema, None),
        Some(ErrorCode::Unknown) if error.to_string().contains("no such") => (ErrorKind::Schema, None),
        _ => (ErrorKind::Other, None),
    };
    let error = Error::new(kind, format!("{context}: {error}"));
    match hint {
        Some(hint) => error.hint(hint),
        None => error,
    }
}

/// An error of the task that ran the blocking call.
pub(crate) fn ended(error: tokio::task::JoinError) -> Error {
    Error::new(ErrorKind::Other, "use SQLite: the thread that does it ended").because(error)
}
