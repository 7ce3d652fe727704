//! SQLite as a target: one file, one writer, durable when a call returns.
//!
//! How values are kept is a table in [`types`]. [`SqliteTarget`] is all that the rest of rowferry sees; it implements
//! [`rowferry_api::Target`] and hands out appliers and table readers.
//!
//! rusqlite blocks, so every use of a connection runs on tokio's blocking threads. All appliers of a target share one
//! writing connection, since SQLite has one writer at a time anyway; each table reader has its own connection.
//!
//! This crate deliberately carries no computed columns and enforces no foreign keys while it writes: the source has
//! checked them, and parts of a transaction may pass through states that break them.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod alter;
mod applier;
mod apply;
mod bind;
mod catalog;
mod check;
mod ddl;
mod error;
mod finish;
mod fit;
mod float_text;
mod open;
mod plan;
mod positions;
mod range;
mod replace;
mod table_reader;
mod target;
pub mod types;
mod writer;

pub use target::{SqliteOptions, SqliteTarget};
