//! SQLite for rowferry: the embedded default target. Applier and table reader, on rusqlite.
//!
//! One connection writes, behind a mutex; readers open their own. Everything that blocks runs off the async threads.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod applier;
mod ddl;
mod error;
mod fit;
mod replace;
mod shape;
mod table_reader;
mod target;
mod values;
mod writer;

pub use target::{SqliteOptions, SqliteTarget};
