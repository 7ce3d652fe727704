//! MySQL and MariaDB for rowferry: log reader, table reader, applier.

#![cfg_attr(test, allow(clippy::unwrap_used))]
#![allow(dead_code, unused_imports)] // until it is wired up

mod binlog;
mod connection;
mod keys;
mod kind;
mod statements;
mod target;

pub use target::{MysqlTarget, TargetOptions};
