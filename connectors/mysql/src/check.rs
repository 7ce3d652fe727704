//! What stands in the way at a source, and the statement that mends it.

mod tables;

use crate::catalog::{Which, query_text};
use crate::connection::{Flavor, Server};
use crate::prepared;
use crate::status::{self, Origin, Retention, variable};
use crate::zero_dates::ZeroDates;
use mysql_async::Conn;
use rowferry_api::{Finding, Result, SourceTable};
use std::time::Duration;

/// Less log than this is gone before somebody has slept.
const LEAST_RETENTION_SECONDS: u64 = 24 * 3600;

/// Looks at the server and at these tables. Changes nothing.
pub(crate) async fn check(
    conn: &mut Conn,
    server: Server,
    origin: &Origin,
    server_id: u32,
    zero_dates: &ZeroDates,
    tables: &[SourceTable],
    which: &Which<'_>,
) -> Result<Vec<Finding>> {
    let mut findings = vec![version(server)];
    findings.extend(log(conn, server, origin).await?);
    findings.extend(retention(conn, server).await?);
    findings.extend(rights(conn, server).await?);
    findings.extend(prepared_transactions(conn).await?);
    findings.extend(server_ids(conn, server, server_id).await?);
    findings.extend(packet_size(conn).await?);
    findings.push(sql_mode(conn, zero_dates, tables).await?);
    findings.extend(tables::check(conn, server, tables, which).await?);
    Ok(findings)
}

fn version(server: Server) -> Finding {
    let known = match server.flavor {
        Flavor::Mysql => server.is_mysql(5, 6),
        Flavor::Mariadb => server.is_mariadb(10, 5),
    };
    match known {
        true => Finding::ok("source version", server.to_string()),
        false => Finding::blocked(
            "source version",
            format!("{server} is too old"),
            "MySQL 5.6 to 9.x and MariaDB 10.5 to 11.8 can be read.",
        ),
    }
}

async fn log(conn: &mut Conn, server: Server, origin: &Origin) -> Result<Vec<Finding>> {
    let mut findings = Vec::new();
    let value = |value: Option<String>| value.unwrap_or_default().to_ascii_uppercase();
    if !matches!(value(variable(conn, "log_bin").await?).as_str(), "1" | "ON") {
        findings.push(Finding::blocked(
            "source log_bin",
            "the server writes no binary log",
            "Put log_bin = binlog and server_id = 1 into the server's configuration and restart it.",
        ));
    }
    let format = value(variable(conn, "binlog_format").await?);
    findings.push(match format.as_str() {
        // MySQL is about to know no other.
        "ROW" | "" => Finding::ok("source binlog_format", "ROW"),
        other => Finding::blocked(
            "source binlog_format",
            format!("it is {other}: changes would be logged as statements"),
            "SET GLOBAL binlog_format = 'ROW'; and the same in the server's configuration; sessions that are open keep theirs.",
        ),
    });
    let image = value(variable(conn, "binlog_row_image").await?);
    findings.push(match image.as_str() {
        "" | "FULL" | "FULL_NODUP" => Finding::ok("source binlog_row_image", "FULL"),
        other => Finding::warning(
            "source binlog_row_image",
            format!(
                "it is {other}: rows whose columns took their defaults are read again from the tables, which is slow"
            ),
            Some("SET GLOBAL binlog_row_image = 'FULL';".into()),
        ),
    });
    match value(variable(conn, "binlog_row_metadata").await?).as_str() {
        "FULL" => findings.push(Finding::ok("source binlog_row_metadata", "FULL")),
        "" => findings.push(Finding::ok(
            "source binlog_row_metadata",
            "the server has no such setting: columns are followed through DDL",
        )),
        other => findings.push(Finding::warning(
            "source binlog_row_metadata",
            format!("it is {other}: columns are followed through DDL instead of being named in the log"),
            Some("SET GLOBAL binlog_row_metadata = 'FULL';".into()),
        )),
    }
    if variable(conn, "lower_case_table_names").await?.as_deref() == Some("2") {
        findings.push(Finding::blocked(
            "source lower_case_table_names",
            "it is 2: the log spells names of tables otherwise than the catalog",
            "Read from a server with 0 or 1, a replica on another system for example.",
        ));
    }
    if server.flavor == Flavor::Mysql && !origin.has_gtids {
        findings.push(Finding::warning(
            "source gtid_mode",
            "GTIDs are off: positions are of this server alone, and a failover to another one needs a new copy",
            Some("SET GLOBAL enforce_gtid_consistency = ON; then gtid_mode step by step up to ON.".into()),
        ));
    }
    Ok(findings)
}

async fn retention(conn: &mut Conn, server: Server) -> Result<Vec<Finding>> {
    let Retention { seconds, bytes } = status::retention(conn).await?;
    let mend = match server.is_mysql(8, 0) || server.is_mariadb(10, 6) {
        true => "SET GLOBAL binlog_expire_logs_seconds = 259200;",
        false => "SET GLOBAL expire_logs_days = 3;",
    };
    let subject = "source log retention";
    let mut findings =
        vec![match seconds.map(|seconds| (seconds, Duration::from_secs(seconds).as_secs_f64() / 3600.0)) {
            None => Finding::ok(subject, "for good"),
            Some((seconds, hours)) if seconds < LEAST_RETENTION_SECONDS => Finding::warning(
                subject,
                format!("the log is kept for {hours:.1} hours: a longer stop of rowferry would lose its place"),
                Some(mend.into()),
            ),
            Some((_, hours)) => Finding::ok(subject, format!("{hours:.0} hours")),
        }];
    findings.extend(bytes.map(|bytes| {
        let what = format!("no more than {bytes} bytes of log are kept (max_binlog_total_size)");
        Finding::warning("source log size", what, None)
    }));
    Ok(findings)
}

async fn rights(conn: &mut Conn, server: Server) -> Result<Vec<Finding>> {
    let grants = query_text(conn, "ask for our rights", "SHOW GRANTS").await?;
    let grants: Vec<String> = grants
        .into_iter()
        .filter_map(|row| row.into_iter().next().flatten())
        .map(|grant| grant.to_ascii_uppercase())
        .collect();
    let has = |names: &[&str]| {
        grants
            .iter()
            .filter(|grant| grant.contains(" ON *.* "))
            .any(|grant| names.iter().any(|name| grant.contains(name)))
    };
    let status = if server.is_mariadb(10, 5) { "BINLOG MONITOR" } else { "REPLICATION CLIENT" };
    let mut findings = Vec::new();
    for (name, names) in [
        ("REPLICATION SLAVE", &["ALL PRIVILEGES", "REPLICATION SLAVE", "REPLICATION REPLICA"][..]),
        ("REPLICATION CLIENT", &["ALL PRIVILEGES", "REPLICATION CLIENT", "BINLOG MONITOR", "SUPER"][..]),
    ] {
        let shown = if name == "REPLICATION CLIENT" { status } else { name };
        findings.push(
            match has(names) || grants.iter().any(|grant| grant.starts_with("GRANT `") && !grant.contains(" ON ")) {
                true => Finding::ok(format!("source right {name}"), "granted"),
                false => Finding::blocked(
                    format!("source right {name}"),
                    "it is not granted to our user",
                    format!("GRANT {shown} ON *.* TO our user;"),
                ),
            },
        );
    }
    Ok(findings)
}

/// What is prepared when a copy begins is in no table yet, and in no log after it.
async fn prepared_transactions(conn: &mut Conn) -> Result<Option<Finding>> {
    if !prepared::have_been_prepared(conn).await? {
        return Ok(None);
    }
    let subject = "source XA transactions";
    Ok(Some(match prepared::names(conn).await? {
        Some(_) => Finding::ok(subject, "a start waits for those that are prepared"),
        None => Finding::warning(
            subject,
            "our user may not see which are prepared: one that is when the copy begins stops the pipeline once it is committed",
            Some("GRANT XA_RECOVER_ADMIN ON *.* TO our user;".into()),
        ),
    }))
}

/// Two replicas with one number end each other's streams.
async fn server_ids(conn: &mut Conn, server: Server, ours: u32) -> Result<Vec<Finding>> {
    let own = variable(conn, "server_id").await?.unwrap_or_default();
    if own == ours.to_string() {
        return Ok(vec![Finding::blocked(
            "source server_id",
            format!("{ours} is the server's own number: it would take us for itself"),
            "Set another `server_id` in the source's options.",
        )]);
    }
    if own == "0" {
        return Ok(vec![Finding::blocked(
            "source server_id",
            "it is 0: the server sends its log to nobody",
            "SET GLOBAL server_id = 1; and the same in its configuration.",
        )]);
    }
    if server.flavor == Flavor::Mysql && !server.is_mysql(8, 0) {
        // MySQL 5.6 answers with rows that are shorter than it says, where a replica gives no UUID.
        return Ok(Vec::new());
    }
    let statement = match server.is_mysql(8, 0) && server.version >= (8, 0, 22) {
        true => "SHOW REPLICAS",
        false => "SHOW SLAVE HOSTS",
    };
    // Not everybody may see them.
    let Ok(rows) = query_text(conn, "list the replicas", statement).await else { return Ok(Vec::new()) };
    let taken = rows.iter().any(|row| row.first().is_some_and(|id| id.as_deref() == Some(ours.to_string().as_str())));
    Ok(match taken {
        true => vec![Finding::warning(
            "source server_id",
            format!(
                "another replica with the number {ours} is connected: if it is not this pipeline, one ends the other"
            ),
            Some("Set another `server_id` in the source's options of one of them.".into()),
        )],
        false => vec![Finding::ok("source server_id", format!("{ours} is free"))],
    })
}

/// Neither a SELECT's rows nor the log's events are held to it: both reads bring a limit of their own.
async fn packet_size(conn: &mut Conn) -> Result<Option<Finding>> {
    let bytes = variable(conn, "max_allowed_packet").await?;
    Ok(bytes.map(|bytes| {
        Finding::ok(
            "source max_allowed_packet",
            format!("{bytes} bytes: a limit of what is written there, not of what is read"),
        )
    }))
}

/// A server that takes dates which are none hands them on, and most targets cannot hold them.
async fn sql_mode(conn: &mut Conn, zero_dates: &ZeroDates, tables: &[SourceTable]) -> Result<Finding> {
    let subject = "source sql_mode";
    let mode = variable(conn, "sql_mode").await?.unwrap_or_default();
    let has = |name: &str| mode.split(',').any(|part| part == name);
    let is_strict = has("STRICT_TRANS_TABLES") || has("STRICT_ALL_TABLES");
    if is_strict && has("NO_ZERO_DATE") && has("NO_ZERO_IN_DATE") && !has("ALLOW_INVALID_DATES") {
        return Ok(Finding::ok(subject, "dates are checked where sessions keep it"));
    }
    let columns = zero_dates.undeclared(tables);
    if columns.is_empty() {
        return Ok(Finding::ok(subject, "no column of dates without a declared policy"));
    }
    const SHOWN: usize = 5;
    let more = if columns.len() > SHOWN { format!(" and {} more", columns.len() - SHOWN) } else { String::new() };
    let shown = columns[..columns.len().min(SHOWN)].join(", ");
    Ok(Finding::warning(
        subject,
        format!(
            "the server takes dates such as 0000-00-00, and a row with one stops a target that has no such day: {shown}{more}"
        ),
        Some(
            "Declare what becomes of them in the source's options: zero_dates = \"null\", \"text\" or \"halt\".".into(),
        ),
    ))
}
