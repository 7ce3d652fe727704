//! Timelines: the branches of a server's history. One that was recovered up to some time, or promoted, goes on as a new
//! timeline; what the one before wrote behind that point is not part of it, though its positions come again.
//!
//! Source: PostgreSQL manual, "Streaming Replication Protocol" (IDENTIFY_SYSTEM, TIMELINE_HISTORY).

use crate::connection::ConnectOptions;
use crate::log_reader::lost;
use crate::lsn::Lsn;
use crate::replication;
use rowferry_api::{Error, ErrorKind, Result};

const CONTEXT: &str = "ask the server for its timeline";

/// The timeline that the server writes or replays.
pub(crate) async fn current(options: &ConnectOptions) -> Result<u32> {
    let mut connection = replication::connect(options).await?;
    let rows = connection.query("IDENTIFY_SYSTEM").await.map_err(|failure| failure.into_error(CONTEXT))?;
    let timeline = rows.into_iter().next().and_then(|row| row.into_iter().nth(1)).flatten();
    timeline
        .and_then(|text| text.parse().ok())
        .ok_or_else(|| Error::new(ErrorKind::Protocol, format!("{CONTEXT}: it does not say")))
}

/// Refuses a position that was reached on timeline `before` and that the server's history does not have.
pub(crate) async fn refuse_branched(options: &ConnectOptions, before: u32, resume: Lsn) -> Result<()> {
    let now = current(options).await?;
    if now == before {
        return Ok(());
    }
    let history = if now > 1 { history(options, now).await? } else { String::new() };
    let branched = left(&history, before);
    match branched {
        Some(at) if resume <= at => Ok(()),
        Some(at) => Err(lost(format!(
            "resume at {resume}: the source went back in time to {at} and on from there as timeline {now} (restored from a backup, or \
             a standby that was behind?); what it wrote behind that on timeline {before} is in the target"
        ))),
        None => Err(lost(format!(
            "resume at {resume}: the source is on timeline {now}, which did not come from timeline {before} (restored from a backup?)"
        ))),
    }
}

async fn history(options: &ConnectOptions, timeline: u32) -> Result<String> {
    let mut connection = replication::connect(options).await?;
    let rows = connection.query(&format!("TIMELINE_HISTORY {timeline}")).await;
    let rows = rows.map_err(|failure| failure.into_error(CONTEXT))?;
    let content = rows.into_iter().next().and_then(|row| row.into_iter().nth(1)).flatten();
    content.ok_or_else(|| Error::new(ErrorKind::Protocol, format!("{CONTEXT}: it sends no history")))
}

/// Where a history left a timeline. Its lines are a timeline, the place where the next one begins, and why.
fn left(history: &str, timeline: u32) -> Option<Lsn> {
    history.lines().find_map(|line| {
        let mut words = line.split_whitespace();
        let is_it = words.next()?.parse() == Ok(timeline);
        let at = Lsn::parse(words.next()?).ok()?;
        is_it.then_some(at)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_history_says_where_it_left_each_timeline() {
        let history =
            "1\t0/3000000\tno recovery target specified\n\n2\t1/A0\tbefore 2024-01-01 00:00:00+00\n# a comment\n";
        assert_eq!(left(history, 1), Some(Lsn(0x300_0000)));
        assert_eq!(left(history, 2), Some(Lsn(0x1_0000_00a0)));
        assert_eq!(left(history, 3), None);
    }
}
