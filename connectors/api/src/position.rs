//! Places in a log, and who the log belongs to.

use serde::{Deserialize, Serialize};
use std::fmt;

/// A place in one source's log, as text that only its own connector parses (an LSN, a GTID set, file:offset).
/// Not `Ord`: GTID sets are only partially ordered; ask [`Source::compare`](crate::Source::compare).
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Position(String);

impl Position {
    /// A position in its connector's own notation.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The connector's own notation.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Which server, database and history a store is, as text that stays equal as long as positions stay meaningful
/// (PostgreSQL: system identifier and database; SQLite: an id written into the file).
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Identity(String);

impl Identity {
    /// An identity in its connector's own notation.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The connector's own notation.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
