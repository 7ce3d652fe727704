//! One pipeline: from a source's log and tables to a target.
//!
//! ```text
//! reader task -> stream (route, fill) -> apply job -> checkpoint task -> reader task (confirm)
//!                   |                       the target
//!                   +-> copy jobs: a range from the source straight into the target
//! ```
//! `session` finds out where to start, `stream` decides what runs when, `life` knows each table's state. This module holds
//! what they share and starts again after a lost connection.

mod ahead;
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
mod reaction;
mod reader;
mod route;
pub mod session;
mod stream;
mod unsure;
pub mod watch;
mod worker;

use crate::config::PipelineConfig;
use board::{Board, Phase, Retry, UnderWay};
use life::Lives;
use reaction::{Progress, class, tries_again, wait_ms};
use rowferry_api::{Error, ErrorKind, Key, Result, Source, TableName, Target};
use rowferry_state::TableState;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch as watch_channel};

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
    stop: watch_channel::Receiver<bool>,
    requests: &mut mpsc::Receiver<Request>,
) -> Result<()> {
    let result = tokio::select! {
        result = keep_running(env, until, stop, requests) => result,
        // What ran is dropped: its jobs end, and the reader lets go of the log.
        error = watch::watch(env, until) => Err(error),
    };
    if matches!(&result, Err(error) if error.kind() == ErrorKind::LogLost) {
        watch::give_up_if_noted(env).await;
    }
    let mut figures = env.board.figures();
    figures.retry = None;
    if let Err(error) = &result {
        figures.phase = Phase::Halted;
        figures.last_error = Some(error.to_string());
    }
    result
}

async fn keep_running(
    env: &Env,
    until: Until,
    mut stop: watch_channel::Receiver<bool>,
    requests: &mut mpsc::Receiver<Request>,
) -> Result<()> {
    let mut tries = 0;
    let mut was_up = false;
    let mut since_us = 0;
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
        env.board.figures().work = UnderWay::default();
        let Err(error) = result else {
            env.board.figures().phase = end_phase(env);
            return Ok(());
        };
        let moved = env.board.figures().applied != before;
        was_up |= moved;
        tries = if moved { 1 } else { tries + 1 };
        if tries == 1 {
            since_us = life::now_us();
        }
        let at = Progress { until, was_up, was_started: env.board.figures().applied.is_some(), tries };
        if !tries_again(class(error.kind()), at) {
            return Err(error);
        }
        wait(env, tries, since_us, &error, &mut stop).await;
        if *stop.borrow() {
            return Ok(());
        }
    }
}

/// A stop while the pipeline is still connecting must not wait for a server that does not answer.
async fn hard_stop(stop: &mut watch_channel::Receiver<bool>, was_up: bool) {
    const GRACE_SECONDS: u64 = 30;
    stopped(stop).await;
    tokio::time::sleep(Duration::from_secs(if was_up { GRACE_SECONDS } else { GRACE_SECONDS / 3 })).await;
}

/// Waits until the run is told to stop.
async fn stopped(stop: &mut watch_channel::Receiver<bool>) {
    if stop.wait_for(|stop| *stop).await.is_err() {
        std::future::pending::<()>().await;
    }
}

async fn wait(env: &Env, tries: u32, since_us: i64, error: &Error, stop: &mut watch_channel::Receiver<bool>) {
    let wait_ms = wait_ms(tries, fastrand::f64());
    {
        let mut figures = env.board.figures();
        figures.phase = Phase::Retrying;
        figures.last_error = Some(error.to_string());
        figures.behind_since_us.get_or_insert(life::now_us());
        let next_us = life::now_us().saturating_add_unsigned(wait_ms * 1_000);
        figures.retry = Some(Retry { tries, since_us, next_us });
    }
    tracing::warn!(error = %error, tries, wait_ms, "connection lost or refused; trying again");
    tokio::select! {
        () = tokio::time::sleep(Duration::from_millis(wait_ms)) => {}
        () = stopped(stop) => {}
    }
}

fn end_phase(env: &Env) -> Phase {
    let halted = env.lives.lock().values().any(|life| life.state == TableState::Halted);
    if halted { Phase::Halted } else { Phase::Stopped }
}
