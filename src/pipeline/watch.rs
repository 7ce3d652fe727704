//! Watches a running pipeline from beside it: whether it moves while there is something to do, and how much log its source
//! keeps for it. It depends on neither end's answer to the pipeline itself.

use super::board::{Figures, Phase, SILENT_AFTER_US};
use super::life::now_us;
use super::{Env, Until};
use crate::config::OnLogLimit;
use rowferry_api::{Error, ErrorKind, Result};
use rowferry_state::RequestRecord;
use std::time::Duration;
use tokio::time::Instant;

/// How often it looks.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How often the source is asked what it keeps, and how long it may take to answer.
const ASK_EVERY: Duration = Duration::from_secs(5);
/// How often a limit that is passed is said again.
const SAY_EVERY: Duration = Duration::from_secs(3600);
/// How many times longer an index may take.
const BUILD_PATIENCE: i64 = 12;
/// Kind of the stored note that the log was given up on purpose; its detail says why.
pub const GIVEN_UP: &str = "log_given_up";

/// Watches until something ends the run: a run that is to end by itself and does not move any more, or a log beyond its
/// limit that is to be given up.
pub(super) async fn watch(env: &Env, until: Until) -> Error {
    let mut look = tokio::time::interval(LOOK_EVERY);
    look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut asked: Option<Instant> = None;
    let mut said: Option<Instant> = None;
    loop {
        look.tick().await;
        if let Some(why) = look_for_stall(env) {
            // An index may take its time, and would have to be built again.
            if until == Until::CaughtUp && env.board.figures().work.builds == 0 {
                return Error::new(ErrorKind::Other, format!("catch up: {why}")).hint(
                    "What it waits for does not come. Mend that and start again: it goes on where it stands. `stalled_after` says how \
                     long it waits.",
                );
            }
        }
        if asked.is_none_or(|at| at.elapsed() >= ASK_EVERY) {
            ask(env).await;
            asked = Some(Instant::now());
            if let Some(error) = heed_limit(env, &mut said).await {
                return error;
            }
        }
    }
}

/// Notes whether the pipeline is stalled; says so once when it begins and when it ends.
fn look_for_stall(env: &Env) -> Option<String> {
    let now = now_us();
    let after_us = i64::try_from(env.config.stalled_after.as_micros()).unwrap_or(i64::MAX);
    let mut figures = env.board.figures();
    let stalled = why_stalled(&mut figures, now, after_us);
    match (&figures.stalled, &stalled) {
        (None, Some(why)) => tracing::warn!("stalled: {why}"),
        (Some(_), None) => tracing::info!("it moves again"),
        _ => {}
    }
    figures.stalled.clone_from(&stalled);
    stalled
}

fn why_stalled(figures: &mut Figures, now: i64, after_us: i64) -> Option<String> {
    let Some(waits_for) = waits_for(figures, now, after_us) else {
        figures.busy_since_us = None;
        return None;
    };
    let since = (*figures.busy_since_us.get_or_insert(now)).max(figures.moved_us);
    let patience = if figures.work.builds > 0 { BUILD_PATIENCE } else { 1 };
    let is_stalled = now - since >= after_us.saturating_mul(patience);
    is_stalled.then(|| format!("nothing has moved for {} s: {waits_for}", (now - since) / 1_000_000))
}

/// What a pipeline waits for that has something to do; `None` if it has not. A silent log counts as idle for as long as an
/// idle one may be silent.
fn waits_for(figures: &Figures, now: i64, after_us: i64) -> Option<String> {
    let seconds = |since: i64| (now - since).max(0) / 1_000_000;
    let work = &figures.work;
    match figures.phase {
        Phase::Stopped => None,
        Phase::Retrying => {
            Some(format!("retrying, since {}", figures.last_error.as_deref().unwrap_or("a connection was lost")))
        }
        Phase::Starting => Some("its start waits for an answer of the source or the target".into()),
        _ if work.applying_since_us.is_some() => {
            let since = work.applying_since_us.unwrap_or(now);
            Some(format!(
                "the applier has waited {} s for the target to take a batch (a lock there that somebody holds?)",
                seconds(since)
            ))
        }
        _ if work.alters => {
            Some("a change of form waits for the target to carry it out (a lock there that somebody holds?)".into())
        }
        _ if work.builds > 0 => Some("indexes are being built at the target, or wait for a lock there".into()),
        _ if work.copies > 0 => {
            Some(format!("{} parts of tables wait for rows of the source, or for the target to take them", work.copies))
        }
        _ if work.waits_for_transactions => {
            Some("tables wait until transactions have ended that are open at the source since before their copy".into())
        }
        Phase::Copying | Phase::CatchingUp => Some("tables wait for the source's log to go on".into()),
        _ if work.has_transactions => {
            Some("transactions that are read wait for more of the source's log, or for the copies' turn to end".into())
        }
        _ => figures.heard_us.filter(|heard| now - heard > SILENT_AFTER_US.max(after_us)).map(|heard| {
            format!("the source's log has said nothing for {} s, not even that it is idle", seconds(heard))
        }),
    }
}

/// Asks the source what it keeps. One that does not answer leaves what was known.
async fn ask(env: &Env) {
    let applied = env.board.figures().applied.clone();
    match tokio::time::timeout(ASK_EVERY, env.source.log_kept(applied.as_ref())).await {
        Ok(Ok(kept)) => env.board.figures().kept = Some(kept),
        Ok(Err(error)) => tracing::debug!(error = %error, "what the source keeps is not known"),
        Err(_) => tracing::debug!("the source does not say what it keeps"),
    }
}

/// Acts where the source keeps more for us than it may. Returns the error to end with if the log is to be given up.
async fn heed_limit(env: &Env, said: &mut Option<Instant>) -> Option<Error> {
    let limit = env.config.log_limit_bytes?;
    let name = &env.config.name;
    let kept = env.board.figures().kept.as_ref().and_then(|kept| kept.bytes).filter(|kept| *kept > limit);
    let Some(kept) = kept else {
        env.board.figures().log_alert = None;
        return None;
    };
    let what = format!("the source keeps {kept} bytes of log for pipeline \"{name}\", and log_limit is {limit}");
    if env.config.on_log_limit == OnLogLimit::DropSlot && env.source.can_give_up_log() {
        let why = format!("{what}: it is given up as on_log_limit = \"drop_slot\" says");
        tracing::error!("{why}; `rowferry resync --all --pipeline {name}` copies every table again");
        let note = RequestRecord { kind: GIVEN_UP.into(), table: None, detail: why.clone() };
        // On disk before it is done, so that the next start knows.
        if let Err(error) = env.lives.write(move |state| state.push_request(&note)).await {
            return Some(error);
        }
        return Some(given_up(&why, name));
    }
    if said.is_none_or(|at| at.elapsed() >= SAY_EVERY) {
        *said = Some(Instant::now());
        tracing::error!("{what}: see what holds the pipeline up in `rowferry status` before the source's disk is full");
    }
    env.board.figures().log_alert = Some(what);
    None
}

/// Lets go of what the source keeps, if that was decided. Nothing of ours reads it any more. The next start tries it again.
pub(super) async fn give_up_if_noted(env: &Env) {
    if refuse_given_up(env).await.is_err()
        && let Err(error) = env.source.give_up_log().await
    {
        tracing::error!(error = %error, "the source's log could not be given up");
    }
}

fn given_up(why: &str, pipeline: &str) -> Error {
    Error::new(ErrorKind::LogLost, format!("follow the source's log: {why}")).hint(format!(
        "`rowferry resync --all --pipeline {pipeline}` goes on from the log's end and compares and copies every table again."
    ))
}

/// Refuses to go on with a log that was given up, until everything is copied anew.
pub(super) async fn refuse_given_up(env: &Env) -> Result<()> {
    let requests = env.lives.read(|state| state.requests()).await?;
    match requests.iter().find(|(_, request)| request.kind == GIVEN_UP) {
        None => Ok(()),
        Some((_, note)) => Err(given_up(&note.detail, &env.config.name)),
    }
}
