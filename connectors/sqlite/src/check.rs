//! The preflight look at a file and the tables that are to be in it. Changes nothing.

use crate::catalog;
use crate::error::Explain;
use crate::fit::differences;
use crate::open;
use crate::positions::PREFIX;
use rowferry_api::{Error, ErrorKind, Finding, Result, TableSchema};
use rusqlite::Connection;
use rustix::fs::{Access, AtFlags, CWD, accessat};
use std::fs::{self, OpenOptions};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long the look for another process's lock may take.
const LOCK_LOOK: Duration = Duration::from_millis(300);

/// What was found.
pub(crate) fn check(path: &Path, tables: &[TableSchema]) -> Result<Vec<Finding>> {
    let mut findings = clashes(tables);
    findings.extend(tables.iter().flat_map(computed));
    let place = place(path);
    if !place.is_empty() {
        findings.extend(place);
        return Ok(findings);
    }
    let connection = match open::reader(path) {
        Ok(Some(connection)) => connection,
        Ok(None) => {
            findings.push(Finding::ok(subject(path), "will be created"));
            return Ok(findings);
        }
        Err(error) => {
            findings.push(blocked_by(path, &error));
            return Ok(findings);
        }
    };
    findings.push(lock(path, &connection)?);
    for table in tables {
        findings.extend(existing(&connection, table)?);
    }
    Ok(findings)
}

fn subject(path: &Path) -> String {
    format!("SQLite file {}", path.display())
}

fn blocked_by(path: &Path, error: &Error) -> Finding {
    let mend = error.hint_text().unwrap_or("name another `path`, or mend what the message says");
    Finding::blocked(subject(path), error.to_string(), mend)
}

/// Whether the file, or the directory that it will be created in, can be written.
fn place(path: &Path) -> Vec<Finding> {
    let blocked = |what: String, mend: String| vec![Finding::blocked(subject(path), what, mend)];
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    };
    match fs::metadata(&parent) {
        Err(error) => {
            let mend = format!("mkdir -p '{}'", parent.display());
            return blocked(format!("its directory {} cannot be used: {error}", parent.display()), mend);
        }
        Ok(parent_is) if !parent_is.is_dir() => {
            return blocked(format!("{} is not a directory", parent.display()), "name another `path`".into());
        }
        Ok(_) => {}
    }
    match fs::metadata(path) {
        Ok(file) if file.is_dir() => return blocked("it is a directory".into(), "name a file in `path`".into()),
        Ok(_) => {
            // Not opened: closing it would let go of the locks that a writer of ours has on it (SQLite, "How To Corrupt").
            let mode = Access::READ_OK | Access::WRITE_OK;
            if let Err(error) = accessat(CWD, path, mode, AtFlags::EACCESS) {
                return blocked(format!("it cannot be written: {error}"), format!("chmod u+rw '{}'", path.display()));
            }
        }
        Err(_) => {}
    }
    // The journal lies beside the file.
    let probe = parent.join(format!(".rowferry-check-{}", std::process::id()));
    match OpenOptions::new().write(true).create_new(true).open(&probe) {
        Ok(_) => {
            // It is empty, and a second check would find it there.
            let _ = fs::remove_file(&probe);
            Vec::new()
        }
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Vec::new(),
        Err(error) => {
            let what = format!("nothing can be created in its directory {}: {error}", parent.display());
            blocked(what, format!("chmod u+rwx '{}'", parent.display()))
        }
    }
}

fn lock(path: &Path, connection: &Connection) -> Result<Finding> {
    let look = || {
        connection.busy_timeout(LOCK_LOOK)?;
        // The lock that a writer takes is not to be had by a connection that only asks.
        connection.execute_batch("PRAGMA query_only = 0; BEGIN IMMEDIATE; ROLLBACK; PRAGMA query_only = 1")
    };
    match look().explain(|| "look for other writers".into()) {
        Ok(()) => Ok(Finding::ok(subject(path), "can be written")),
        Err(error) if error.kind() == ErrorKind::Transient => {
            let mend = Some("`fuser FILE` shows who it is".into());
            Ok(Finding::warning(subject(path), "another process writes to it now; rowferry will wait for it", mend))
        }
        Err(error) => Ok(blocked_by(path, &error)),
    }
}

fn existing(connection: &Connection, table: &TableSchema) -> Result<Option<Finding>> {
    let name = &table.name.name;
    let Some(actual) = catalog::table(connection, name).explain(|| format!("look at {name}"))? else {
        return Ok(None);
    };
    let found = differences(&actual, table);
    let subject = format!("table {name}");
    if found.is_empty() {
        return Ok(Some(Finding::ok(subject, "is there and fits")));
    }
    let mend = format!("DROP TABLE {}; -- it is created again", catalog::quoted(&actual.name));
    Ok(Some(Finding::blocked(subject, format!("is there and does not fit: {}", found.join("; ")), mend)))
}

/// Names that SQLite takes for one, since it compares them without case, and names that are not free.
fn clashes(tables: &[TableSchema]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (at, table) in tables.iter().enumerate() {
        let name = &table.name.name;
        let subject = format!("table {name}");
        let set_target =
            format!("set `target` for it: [pipeline.NAME.table.\"SCHEMA.{name}\"] target = \"another_name\"");
        let lower = name.to_ascii_lowercase();
        if lower.starts_with(PREFIX) || lower.starts_with("sqlite_") {
            findings.push(Finding::blocked(
                &subject,
                "names that begin with rowferry_ or sqlite_ are taken",
                &set_target,
            ));
        }
        if let Some(other) = tables[..at].iter().find(|other| other.name.name.eq_ignore_ascii_case(name)) {
            let what = format!("SQLite takes it and {} for one table: it compares names without case", other.name);
            findings.push(Finding::blocked(&subject, what, set_target));
        }
        for (at, column) in table.columns.iter().enumerate() {
            if let Some(other) = table.columns[..at].iter().find(|other| other.name.eq_ignore_ascii_case(&column.name))
            {
                findings.push(Finding::blocked(
                    &subject,
                    format!("SQLite takes its columns {} and {} for one", other.name, column.name),
                    format!("leave one out: columns = [\"!{}\"]", column.name),
                ));
            }
        }
        if table.key.is_empty() {
            findings.push(Finding::blocked(
                &subject,
                "it has no key",
                "give it a primary key, or name its columns in `key`",
            ));
        }
    }
    findings
}

fn computed(table: &TableSchema) -> Vec<Finding> {
    let finding = |column: &rowferry_api::Column| {
        Finding::warning(
            format!("table {}", table.name),
            format!(
                "the source computes column {} and its log does not carry it: the SQLite table will lack it",
                column.name
            ),
            None,
        )
    };
    table.computed.iter().map(finding).collect()
}
