//! PostgreSQL for rowferry: log reader, table reader, applier. Servers 12 to 18.
//!
//! [`PostgresSource`] reads the log through a replication connection of our own (`replication`, `pgoutput`, `log_reader`)
//! and tables through COPY (`table_reader`). [`PostgresTarget`] writes (`target`). Both ask the catalog (`catalog`).

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod catalog;
mod check;
mod connection;
mod copy_binary;
mod delivered;
mod keys;
mod log_reader;
mod lsn;
pub mod pgoutput;
mod publication;
mod replication;
mod settle;
mod slot;
mod source;
mod table_reader;
mod target;
mod timeline;
mod tls;
mod types;

pub use connection::ConnectOptions;
pub use delivered::Delivered;
pub use log_reader::{LogOptions, PostgresLogReader};
pub use lsn::Lsn;
pub use source::{BACKLOG_BYTES, PostgresSource, SourceOptions};
pub use table_reader::PostgresTableReader;
pub use target::{PostgresTarget, TargetOptions};
