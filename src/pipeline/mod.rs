//! One pipeline: from a source's log and tables to a target.
//!
//! ```text
//! reader task -> stream (route, fill) -> apply job -> checkpoint task -> reader task (confirm)
//!                   |                       the target
//!                   +-> copy jobs: a range from the source straight into the target
//! ```
//! `session` finds out where to start, `stream` decides what runs when, `life` knows each table's state. This module holds
//! what they share and starts again after a lost connection.

mod apply;
mod bisect;
pub mod board;
mod checkpoint;
mod filling;
mod followed;
pub mod forms;
pub mod letters;
pub mod life;
mod overtaken;
mod pulse;
mod reader;
mod route;
pub mod session;
mod stream;
mod unsure;
mod worker;

use crate::config::PipelineConfig;
use board::{Board, Phase};
use life::Lives;
use rowferry_api::{Error, ErrorKind, Key, Result, Source, TableName, Target};
use rowferry_state::TableState;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};

/// Tries to connect again before a run that is to end by itself gives up; a run that is to go on keeps trying.
const MAX_TRIES: u32 = 8;
/// Wait before the first new try; doubled each time.
const FIRST_WAIT_MS: u64 = 500;
/// Longest wait between tries.
const LONGEST_WAIT_MS: u64 = 30_000;

/// How long a request to hurry holds.
pub const HURRY_SECONDS: u64 = 10;

/// What every part of a pipeline needs.
pub struct Env {
    /// The configuration of this pipeline.
    pub config: PipelineConfig,
    /// Where changes come from.
    pub source: Arc<dyn Source>,
    /// Where they go.
    pub target: Arc<dyn Target>,
    /// The tables.
    pub lives: Lives,
    /// What is shown.
    pub board: Arc<Board>,
}

/// What a person asks of a running pipeline.
#[derive(Debug, Clone)]
pub enum Request {
    /// Carry out what was asked for and is kept on disk.
    Stored,
    /// Write the position of an idle log at once, for the next [`HURRY_SECONDS`].
    Hurry,
    /// Read these keys of a table (by its name at the source) again.
    Repair(TableName, Vec<Key>),
}

/// When a run is to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Until {
    /// Told to stop.
    Stopped,
    /// Every table is consistent and the position that was the source's head at the start is passed.
    CaughtUp,
}

/// Runs a pipeline until it is told to stop, is where `until` says, or meets an error that trying again does not mend.
/// On the way out everything applied is checkpointed and the source told.
pub async fn run(
    env: &Env,
    until: Until,
    mut stop: watch::Receiver<bool>,
    requests: &mut mpsc::Receiver<Request>,
) -> Result<()> {
    let mut tries = 0;
    let mut was_up = false;
    loop {
        let before = env.board.figures().applied.clone();
        let result = tokio::select! {
            result = stream::run(env, until, stop.clone(), requests) => result,
            error = pulse::silent(env) => {
                env.source.hang_up().await;
                Err(error)
            }
            () = hard_stop(&mut stop, was_up) => Ok(()),
        };
        let Err(error) = result else {
            env.board.figures().phase = end_phase(env);
            return Ok(());
        };
        let moved = env.board.figures().applied != before;
        was_up |= moved;
        tries = if moved { 1 } else { tries + 1 };
        let again = match error.kind() {
            ErrorKind::Unreachable => was_up && (until == Until::Stopped || tries <= MAX_TRIES),
            ErrorKind::Transient => tries <= MAX_TRIES || (was_up && until == Until::Stopped),
            // Our own connection of a moment ago may not be gone yet at the server.
            ErrorKind::Busy => tries <= 4 && env.board.figures().applied.is_some(),
            _ => false,
        };
        if !again {
            let mut figures = env.board.figures();
            figures.phase = Phase::Halted;
            figures.last_error = Some(error.to_string());
            return Err(error);
        }
        wait(env, tries, &error, &mut stop).await;
        if *stop.borrow() {
            return Ok(());
        }
    }
}

/// A stop while the pipeline is still connecting must not wait for a server that does not answer.
async fn hard_stop(stop: &mut watch::Receiver<bool>, was_up: bool) {
    const GRACE_SECONDS: u64 = 30;
    stopped(stop).await;
    tokio::time::sleep(Duration::from_secs(if was_up { GRACE_SECONDS } else { GRACE_SECONDS / 3 })).await;
}

/// Waits until the run is told to stop.
async fn stopped(stop: &mut watch::Receiver<bool>) {
    if stop.wait_for(|stop| *stop).await.is_err() {
        std::future::pending::<()>().await;
    }
}

async fn wait(env: &Env, tries: u32, error: &Error, stop: &mut watch::Receiver<bool>) {
    let wait_ms = (FIRST_WAIT_MS << tries.min(10)).min(LONGEST_WAIT_MS);
    // Many pipelines that lost the same server must not come back in the same instant.
    let jitter_ms = life::now_us().unsigned_abs() % (wait_ms / 4 + 1);
    {
        let mut figures = env.board.figures();
        figures.phase = Phase::Retrying;
        figures.last_error = Some(error.to_string());
        figures.behind_since_us.get_or_insert(life::now_us());
    }
    tracing::warn!(error = %error, wait_ms = wait_ms + jitter_ms, "connection lost or refused; trying again");
    tokio::select! {
        () = tokio::time::sleep(Duration::from_millis(wait_ms + jitter_ms)) => {}
        () = stopped(stop) => {}
    }
}

fn end_phase(env: &Env) -> Phase {
    let halted = env.lives.lock().values().any(|life| life.state == TableState::Halted);
    if halted { Phase::Halted } else { Phase::Stopped }
}
