//! What networks, servers and machines do to a running pipeline, under the workload that checks itself: rowferry goes on by
//! itself, or stops with a clear error and goes on when it is started again; no state of the target is ever wrong.
//!
//! `ROWFERRY_LONG=1` keeps a target away for a minute instead of some seconds.

#![allow(clippy::unwrap_used)]

#[path = "faults/machine.rs"]
mod machine;
#[path = "faults/network.rs"]
mod network;
#[path = "faults/scene.rs"]
mod scene;
#[path = "faults/servers.rs"]
mod servers;
