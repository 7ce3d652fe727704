//! Confirmed <= checkpoint, as the system sees it: what the source hears of was written to the state's file and fsynced before.
//!
//! A killed process loses nothing that it has written, fsynced or not, so no kill shows this: `strace` does.

#![allow(clippy::unwrap_used)]

use rowferry_testkit::{Postgres, Rowferry, config};
use std::collections::{HashMap, HashSet};
use std::fs;
use std::os::unix::fs::PermissionsExt;

/// A standby status update on its way to the source, up to the position, as strace prints it: `d`, its length, `r`.
const STATUS_UPDATE: &str = r"\x64\x00\x00\x00\x26\x72";

#[tokio::test(flavor = "multi_thread")]
async fn what_the_source_hears_of_is_fsynced_before() {
    let server = Postgres::shared();
    let (source, copy) = (server.create_database("durable_source"), server.create_database("durable_target"));
    source
        .execute(
            "CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t SELECT g, g FROM generate_series(1, 100) g",
        )
        .await;
    let folder = tempfile::tempdir().unwrap();
    let (wrapper, calls) = (folder.path().join("traced"), folder.path().join("calls"));
    let script = format!(
        "#!/bin/sh\nexec strace -f -y -qq -xx -s 100000 -e trace=pwrite64,fsync,write,writev,sendto,sendmsg -o {} {} \"$@\"\n",
        calls.display(),
        env!("CARGO_BIN_EXE_rowferry")
    );
    fs::write(&wrapper, script).unwrap();
    fs::set_permissions(&wrapper, fs::Permissions::from_mode(0o755)).unwrap();
    let rowferry = Rowferry::new(&wrapper, &config::pipeline(&source, &config::postgres(&copy), ""));
    rowferry.run_until_caught_up();
    source.execute("UPDATE t SET v = 'changed'").await;
    rowferry.run_until_caught_up();
    let confirmed = refuse_early(&fs::read_to_string(&calls).unwrap());
    assert!(confirmed.len() >= 2, "the source heard of {confirmed:?} only");
}

/// Follows the calls in their order; panics where the source hears of a position that is not durable. Returns those that it
/// heard of.
fn refuse_early(calls: &str) -> HashSet<String> {
    // What was written since the last fsync began; what each fsync that is under way covers; what is durable.
    let (mut written, mut under_way, mut durable) = (String::new(), HashMap::new(), String::new());
    let mut heard = HashSet::new();
    for line in calls.lines() {
        let (process, call) = line.split_once(' ').unwrap_or_default();
        let call = call.trim_start();
        let is_state = call.contains(&hex("/rowferry-state/db")) || call.contains("/rowferry-state/db>");
        if call.starts_with("pwrite64(") && is_state {
            written += call;
        } else if call.starts_with("fsync(") && is_state {
            match call.ends_with("= 0") {
                true => durable += &std::mem::take(&mut written),
                false => drop(under_way.insert(process.to_owned(), std::mem::take(&mut written))),
            }
        } else if call.starts_with("<... fsync resumed>") {
            durable += &under_way.remove(process).unwrap_or_default();
        } else if let Some((_, rest)) = call.split_once(STATUS_UPDATE) {
            let position = lsn(rest);
            assert!(durable.contains(&hex(&position)), "the source hears of {position}, which is not fsynced yet");
            heard.insert(position);
        }
    }
    heard
}

/// A text as strace prints it.
fn hex(text: &str) -> String {
    text.bytes().map(|byte| format!("\\x{byte:02x}")).collect()
}

/// The position at the start of printed bytes.
fn lsn(printed: &str) -> String {
    let byte = |at: usize| u64::from_str_radix(&printed[at * 4 + 2..at * 4 + 4], 16).unwrap();
    let number = |from: usize| (from..from + 4).fold(0, |number, at| number << 8 | byte(at));
    format!("{:X}/{:X}", number(0), number(4))
}
