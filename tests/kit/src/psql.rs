//! SQL files, run by `psql`: statement by statement, each in its own transaction unless the file says otherwise.

use crate::template;
use std::path::{Path, PathBuf};
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

/// Where a client program is (`psql`, `pg_recvlogical`): beside the server's programs, else it is looked for in `PATH`.
pub fn program(name: &str) -> PathBuf {
    let beside_server = template::bin_dir().join(name);
    if beside_server.exists() { beside_server } else { PathBuf::from(name) }
}

fn psql(url: &str) -> Command {
    let mut command = Command::new(program("psql"));
    command.args(["-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", url]).stdin(Stdio::null()).stdout(Stdio::null());
    command.env("PGCLIENTENCODING", "UTF8").env("PGOPTIONS", "-c client_min_messages=warning");
    command
}
