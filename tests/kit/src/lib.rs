//! What tests stand on: private PostgreSQL, MySQL and MariaDB servers, databases in them, the `rowferry` process, and a comparison of
//! stores value by value that shares no code with rowferry.
//!
//! Deliberately no mocks and no containers: every server is a real one, started from the binaries of the machine,
//! on loopback, and gone when the test process is gone, however it ends. Failures panic with what was tried: this
//! crate is only ever used by tests.

#![allow(clippy::unwrap_used, clippy::print_stderr)]

pub mod cases;
pub mod chaos;
pub mod compare;
pub mod config;
mod database;
mod end;
pub mod mysql;
mod postgres;
mod process;
mod proxy;
pub mod psql;
mod random;
mod sqlite;
mod template;
mod watcher;

pub use database::Database;
pub use end::{Compared, End, Kind, Rows, Session};
pub use mysql::{Flavor, Mysql, MysqlDatabase};
pub use mysql_async;
pub use postgres::{Options, Postgres};
pub use process::{Ended, Rowferry, Running};
pub use proxy::{Link, Proxy};
pub use random::Random;

/// Whether tests that kill, break and wait are to do so for long: `ROWFERRY_LONG=1`, what `tests/run --long` sets.
pub fn is_long() -> bool {
    std::env::var("ROWFERRY_LONG").is_ok_and(|value| value == "1")
}
