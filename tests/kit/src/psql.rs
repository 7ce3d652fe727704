//! SQL files, run by `psql`: statement by statement, each in its own transaction unless the file says otherwise.

use crate::template;
use std::path::Path;
use std::process::{Command, Stdio};

/// Runs a file; panics with the line if a statement fails.
pub fn run_file(url: &str, file: &Path) {
    let output = psql(url).arg("-f").arg(file).output().expect("run psql");
    assert!(output.status.success(), "{}: {}", file.display(), String::from_utf8_lossy(&output.stderr));
}

/// Runs a text.
pub fn run_text(url: &str, sql: &str) {
    let output = psql(url).arg("-c").arg(sql).output().expect("run psql");
    assert!(output.status.success(), "{sql}: {}", String::from_utf8_lossy(&output.stderr));
}

fn psql(url: &str) -> Command {
    let beside_server = template::bin_dir().join("psql");
    let mut command = Command::new(if beside_server.exists() { &beside_server } else { Path::new("psql") });
    command.args(["-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", url]).stdin(Stdio::null()).stdout(Stdio::null());
    command.env("PGCLIENTENCODING", "UTF8").env("PGOPTIONS", "-c client_min_messages=warning");
    command
}
