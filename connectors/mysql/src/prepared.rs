//! XA transactions that are prepared while nobody follows the log: what they change is in no table yet, and in no log after it.

use crate::binlog::xid_text;
use crate::catalog::query_text;
use crate::connection::{Server, from_mysql, server_code};
use crate::position::{LogPosition, ResumePoint, file_number};
use crate::status::{Origin, files, head};
use crate::visibility::wait_until_visible;
use mysql_async::Conn;
use mysql_async::prelude::Queryable;
use rowferry_api::{Error, Result};
use std::collections::BTreeSet;
use std::time::Duration;
use tokio::time::Instant;

/// Whoever is at work has committed after this.
const PATIENCE: Duration = Duration::from_secs(10);
/// From the log to the list of what is prepared, once what was committed before is visible.
const UNNAMED: Duration = Duration::from_millis(100);
/// The server is asked again after this, and after twice as long each time up to the second.
const FIRST_PAUSE: Duration = Duration::from_millis(5);
const LONGEST_PAUSE: Duration = Duration::from_millis(200);

/// The log's end, from which everything that is committed later can be followed: what is prepared here is waited for, so that
/// it is in the tables before they are read.
pub(crate) async fn start(conn: &mut Conn, server: Server, origin: &Origin) -> Result<ResumePoint> {
    let mut point = ResumePoint::from(head(conn, server, origin).await?);
    let Some(mut first) = names(conn).await? else { return Ok(point) };
    if first.is_empty() && !have_been_prepared(conn).await? {
        return Ok(point);
    }
    // The server names one only after it stands in the log.
    wait_until_visible(conn, server, &point.at).await?;
    tokio::time::sleep(UNNAMED).await;
    first.append(&mut names(conn).await?.unwrap_or_default());
    let until = Instant::now() + PATIENCE;
    let mut pause = FIRST_PAUSE;
    if !first.is_empty() {
        tracing::info!(transactions = first.len(), "waiting for XA transactions that are prepared");
    }
    loop {
        let left = names(conn).await?.unwrap_or_default();
        let left: Vec<&String> = first.intersection(&left).collect();
        if left.is_empty() {
            break;
        }
        if Instant::now() >= until {
            tracing::warn!(
                transactions = left.len(),
                "XA transactions stay prepared (XA RECOVER): if one is committed later, every table has to be compared again"
            );
            break;
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
    point.settled = Some(head(conn, server, origin).await?);
    Ok(point)
}

/// Says of which transactions the rows are not in the log any more: if one is committed, the pipeline stops.
pub(crate) async fn warn_of_lost(conn: &mut Conn, origin: &Origin, point: &ResumePoint) {
    // Who may not list the files hears of it then.
    let Ok(files) = files(conn).await else { return };
    let is_lost = |place: &LogPosition| {
        place.server == origin.server
            && files.first().is_some_and(|(first, _)| file_number(&place.file) < file_number(first))
    };
    for (xid, place) in point.prepared.iter().filter(|(_, place)| is_lost(place)) {
        tracing::warn!(
            %xid, from = %place,
            "the server has purged the rows of an XA transaction that is prepared: once it is committed, every table has to be compared \
             again (`rowferry resync --all`)"
        );
    }
}

/// The names of what is prepared, as the log spells them; `None` if we may not see them.
pub(crate) async fn names(conn: &mut Conn) -> Result<Option<BTreeSet<String>>> {
    let name = |(format, global, _, data): (i64, usize, usize, Vec<u8>)| {
        let (global, branch) = data.split_at(global.min(data.len()));
        xid_text(format as u32, global, branch)
    };
    match conn.query_map("XA RECOVER", name).await {
        Ok(names) => Ok(Some(names.into_iter().collect())),
        Err(error) if server_code(&error).is_some() => Ok(None),
        Err(error) => Err(from_mysql("ask what is prepared", error)),
    }
}

/// Whether XA transactions have been prepared since the server started.
pub(crate) async fn have_been_prepared(conn: &mut Conn) -> Result<bool> {
    let rows = query_text(conn, "ask whether XA is used", "SHOW GLOBAL STATUS LIKE 'Com_xa_prepare'").await?;
    let count = rows.into_iter().next().and_then(|row| row.into_iter().nth(1)).flatten();
    Ok::<_, Error>(count.is_some_and(|count| count != "0"))
}
