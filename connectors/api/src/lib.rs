//! What every connector of rowferry implements, and the form in which they speak to the engine.
//!
//! The engine (the root crate) knows no database. It reads [`Event`]s from a [`LogReader`], works out the
//! net change of each row, and hands [`Batch`]es to an [`Applier`]. Whole tables travel beside that way, as
//! [`Block`]s of a [`Range`] that a [`TableReader`] reads and an [`Applier`] replaces.
//!
//! This crate deliberately holds no I/O (the failpoints of debug builds apart), no configuration and no database's name beyond
//! [`Dialect`].

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod batch;
mod block;
mod canonical;
mod error;
mod event;
#[cfg(debug_assertions)]
pub mod failpoint;
mod finding;
mod known;
mod patience;
mod position;
mod range;
mod row;
mod schema;
mod source;
mod target;
mod turns;
mod widening;

/// Passes the failpoint of this name: the function around it returns an error, or the process ends, where a test asks for that.
/// A release build has nothing of it.
#[macro_export]
macro_rules! failpoint {
    ($name:literal) => {{
        #[cfg(debug_assertions)]
        $crate::failpoint::pass($name)?;
    }};
}

pub use batch::{Applied, Batch, PartialUpdate, Replaced, Step, TableRows};
pub use block::{Block, BlockStream, Encoding, decode_copy_row, encode_copy_cell};
pub use canonical::{Decimal, canonical_cell, canonical_document};
pub use error::{BoxError, Error, ErrorKind, Result};
pub use event::{Change, Event, Op, Timestamp};
pub use finding::{Finding, Severity};
pub use known::KnownTables;
pub use patience::Patience;
pub use position::{Identity, Position};
pub use range::{KeyOrder, Range, float_order};
pub use row::{Cell, Cells, Key, KeyEncoder, MalformedRow, Row, RowBuilder};
pub use schema::{
    Alteration, Column, Dialect, Fill, ForeignKey, Generated, Index, TableName, TableSchema, Type, TypeDef, TypeDefKind,
};
pub use source::{Keeps, LogKept, LogReader, LogStart, Source, SourceTable, TableReader, Untold};
pub use target::{Applier, Capabilities, Created, HeldPosition, Target};
pub use turns::{Staged, Staging, Turns};
pub use widening::is_wider;
