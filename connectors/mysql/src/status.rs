//! What a server says of its binary log.

use crate::catalog::query_text;
use crate::connection::{Flavor, Server, from_mysql, server_code};
use crate::gtid::GtidSet;
use crate::position::{LogPosition, file_number};
use mysql_async::Conn;
use mysql_async::prelude::Queryable;
use rowferry_api::{Error, ErrorKind, LogKept, Result};

/// Whether a server numbers its transactions, and who it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Origin {
    /// MySQL's server_uuid, MariaDB's server_id.
    pub(crate) server: String,
    /// Its log has GTIDs, and only transactions with one.
    pub(crate) has_gtids: bool,
}

/// A server's own variable; `None` if it does not know it.
pub(crate) async fn variable(conn: &mut Conn, name: &str) -> Result<Option<String>> {
    match conn.query_first::<Option<String>, _>(format!("SELECT @@GLOBAL.{name}")).await {
        Ok(value) => Ok(value.flatten()),
        // Unknown variable, or one of a session only.
        Err(error) if matches!(server_code(&error), Some(1193 | 1238)) => Ok(None),
        Err(error) => Err(from_mysql(format!("ask for the server's {name}"), error)),
    }
}

pub(crate) async fn origin(conn: &mut Conn, server: Server) -> Result<Origin> {
    let name = if server.flavor == Flavor::Mariadb { "server_id" } else { "server_uuid" };
    let id = variable(conn, name).await?;
    let id = id.ok_or_else(|| Error::new(ErrorKind::Protocol, format!("the server does not say its {name}")))?;
    let has_gtids = match server.flavor {
        Flavor::Mariadb => true,
        Flavor::Mysql => variable(conn, "gtid_mode").await?.is_some_and(|mode| mode == "ON"),
    };
    Ok(Origin { server: id, has_gtids })
}

/// The end of the log.
pub(crate) async fn head(conn: &mut Conn, server: Server, origin: &Origin) -> Result<LogPosition> {
    let statement = if server.is_mysql(8, 2) { "SHOW BINARY LOG STATUS" } else { "SHOW MASTER STATUS" };
    let rows = query_text(conn, "ask for the end of the log", statement).await?;
    let mut row = rows.into_iter().next().ok_or_else(no_log)?.into_iter();
    let (file, offset) = (row.next().flatten(), row.next().flatten().and_then(|offset| offset.parse().ok()));
    let (Some(file), Some(offset)) = (file, offset) else { return Err(no_log()) };
    let gtids = match (origin.has_gtids, server.flavor) {
        (false, _) => None,
        (true, Flavor::Mysql) => Some(row.nth(2).flatten().unwrap_or_default()),
        (true, Flavor::Mariadb) => Some(variable(conn, "gtid_binlog_pos").await?.unwrap_or_default()),
    };
    let gtids = gtids.map(|text| GtidSet::parse(server.flavor, &text)).transpose()?;
    Ok(LogPosition { file, offset, server: origin.server.clone(), gtids })
}

fn no_log() -> Error {
    Error::new(ErrorKind::Config, "ask for the end of the log: the server writes no binary log")
        .hint("Set log_bin in its configuration and restart it.")
}

/// The files of the log that are there, oldest first, with their bytes.
pub(crate) async fn files(conn: &mut Conn) -> Result<Vec<(String, u64)>> {
    let rows = query_text(conn, "list the files of the log", "SHOW BINARY LOGS").await?;
    let file = |row: Vec<Option<String>>| {
        let mut row = row.into_iter();
        Some((row.next()??, row.next()??.parse().ok()?))
    };
    Ok(rows.into_iter().filter_map(file).collect())
}

/// For how long and how much of its log a server keeps by its settings; `None` is for good, and without a bound.
pub(crate) struct Retention {
    pub(crate) seconds: Option<u64>,
    pub(crate) bytes: Option<u64>,
}

pub(crate) async fn retention(conn: &mut Conn) -> Result<Retention> {
    // 0 is no limit.
    let mut limit = async |name| {
        let number = variable(conn, name).await?.and_then(|text| text.parse::<f64>().ok());
        Ok::<_, Error>(number.filter(|limit| *limit > 0.0))
    };
    // Days may have a fraction on MariaDB.
    let seconds = limit("binlog_expire_logs_seconds").await?;
    let days = limit("expire_logs_days").await?;
    let bytes = limit("max_binlog_total_size").await?.map(|bytes| bytes as u64);
    Ok(Retention { seconds: seconds.or(days.map(|days| days * 86_400.0)).map(|seconds| seconds as u64), bytes })
}

/// What the server keeps behind a place in its log, and when it lets go of it.
pub(crate) async fn kept(conn: &mut Conn, at: Option<&LogPosition>) -> Result<LogKept> {
    let Retention { seconds: kept_seconds, bytes: most_bytes } = retention(conn).await?;
    let mut kept = LogKept { kept_seconds, ..LogKept::default() };
    let Some(at) = at else { return Ok(kept) };
    // A user without the right to list the files sees no more than that.
    let Ok(files) = files(conn).await else { return Ok(kept) };
    let first = file_number(&at.file);
    let behind: Vec<u64> =
        files.iter().filter(|(file, _)| file_number(file) >= first).map(|(_, bytes)| *bytes).collect();
    let bytes: u64 = behind.iter().sum();
    kept.bytes = Some(bytes.saturating_sub(at.offset));
    kept.files_behind = Some((behind.len() as u64).saturating_sub(1));
    // The oldest file goes first: ours once all from it on are more than the limit.
    kept.left_bytes = most_bytes.map(|most| most.saturating_sub(bytes));
    Ok(kept)
}

/// Refuses a position that the server's log does not lead on from: purged, of another server, or ahead of it.
pub(crate) async fn refuse_lost(conn: &mut Conn, server: Server, origin: &Origin, resume: &LogPosition) -> Result<()> {
    let head = head(conn, server, origin).await?;
    match (&resume.gtids, &head.gtids) {
        (Some(resume), Some(head)) => {
            if !resume.is_subset(head) {
                return Err(ahead(&resume.to_string(), &head.to_string()));
            }
            let purged = match server.flavor {
                Flavor::Mysql => variable(conn, "gtid_purged").await?.unwrap_or_default(),
                // Says itself what it no longer has, once the log is asked for.
                Flavor::Mariadb => return Ok(()),
            };
            if GtidSet::parse(server.flavor, &purged)?.is_subset(resume) { Ok(()) } else { Err(purged_error(resume)) }
        }
        // GTIDs may have been turned on since: the file still leads there.
        (None, _) if resume.server == origin.server => {
            let files = files(conn).await?;
            match files.iter().find(|(file, _)| *file == resume.file) {
                None => Err(purged_error(resume)),
                Some((_, bytes)) if *bytes < resume.offset => Err(ahead(&resume.to_string(), &head.to_string())),
                Some(_) => Ok(()),
            }
        }
        (None, _) => Err(Error::new(
            ErrorKind::Identity,
            format!(
                "resume: {}:{} is a place in the log of server {}, and this is server {}; without GTIDs the logs of two servers \
                 have nothing in common",
                resume.file, resume.offset, resume.server, origin.server
            ),
        )
        .hint("Point `source` back to that server, or run `rowferry resync --all`, which compares and copies every table again.")),
        (Some(_), None) => Err(Error::new(ErrorKind::Config, "resume: the server no longer has GTIDs, which the position is made of")
            .hint("Set gtid_mode = ON again, or run `rowferry resync --all`.")),
    }
}

fn ahead(resume: &str, head: &str) -> Error {
    Error::new(
        ErrorKind::Identity,
        format!("resume: the server has not been where we are: we stand at {resume}, its log ends at {head}"),
    )
    .hint(
        "It is another server, was restored from a backup, or is a replica that is behind (then wait for it). `rowferry resync \
         --all` compares and copies every table again.",
    )
}

fn purged_error(resume: impl std::fmt::Display) -> Error {
    lost(format!("the server has purged the log that follows {resume}"))
}

/// The log is lost, and what mends it.
pub(crate) fn lost(what: String) -> Error {
    Error::new(ErrorKind::LogLost, format!("read the log: {what}")).hint(
        "Keep more of it (binlog_expire_logs_seconds, expire_logs_days), then run `rowferry resync --all`: it goes on from the log's \
         end and compares and copies every table again, slice by slice.",
    )
}
