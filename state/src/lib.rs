//! Checkpoints, tables, slices, requests and dead letters of rowferry, on disk.
//!
//! One sled database a state directory, one key space a pipeline, every value a versioned record (`record.rs`). Calls
//! block: run them off the async threads. Nothing is durable before [`Store::sync`] returns.
//!
//! This crate knows no event, no schema and no connector: what others serialize is text or bytes to it.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod error;
#[doc(hidden)]
pub mod fuzzing;
mod keys;
mod pipeline;
mod record;
mod records;
mod store;

pub use error::{Error, Result};
pub use pipeline::Pipeline;
pub use records::{
    AtTarget, CheckpointRecord, DeadLetterRecord, FormRecord, FormsRecord, OriginRecord, RequestRecord, SliceRecord,
    TableRecord, TableState,
};
pub use store::Store;
