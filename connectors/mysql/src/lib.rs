//! MySQL and MariaDB for rowferry: log reader, table reader, applier.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod binlog;
mod catalog;
mod charset;
mod check;
mod connection;
#[doc(hidden)]
pub mod fuzzing;
mod gtid;
mod keys;
mod kind;
mod log_reader;
mod native;
mod position;
mod prepared;
mod shared;
mod source;
mod statements;
mod status;
mod table_reader;
mod target;
mod visibility;
mod zero_dates;

pub use source::{MysqlSource, SourceOptions};
pub use target::{MysqlTarget, TargetOptions};
