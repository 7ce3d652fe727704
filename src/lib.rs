//! The engine and the command line of rowferry: what is the same for every database.
//!
//! Start at [`commands`], which is what a user calls, or at [`pipeline`], which moves the rows.

#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod cli;
pub mod commands;
pub mod config;
pub mod connect;
pub mod control;
pub mod evolve;
pub mod net;
pub mod pipeline;
pub mod progress;
pub mod verify;
