//! What happens to rowferry's own machine.

use crate::scene::{BINARY, Scene, meanwhile, until};
use rowferry_testkit::End;
use rowferry_testkit::Kind;
use rowferry_testkit::Rowferry;
use std::path::PathBuf;
use std::process::Command;

/// A process that stands still for longer than servers wait for it goes on where it was.
#[tokio::test(flavor = "multi_thread")]
async fn stopped_for_a_while() {
    for (source, target) in [(Kind::Postgres, Kind::Sqlite), (Kind::Mysql, Kind::Postgres)] {
        let mut scene = Scene::set(source, target, "", &[]).await;
        scene.faults = 1;
        let (traffic, mut running) = scene.start();
        running.signal("STOP");
        // A walsender of this server waits for ten seconds.
        meanwhile(12_000).await;
        running.signal("CONT");
        running = scene.goes_on(running, &format!("{source:?} stopped")).await;
        scene.close(traffic, running).await;
    }
}

/// SIGTERM while a large transaction is written in parts: it ends soon, and the target has nothing of it.
#[tokio::test(flavor = "multi_thread")]
async fn told_to_end_inside_a_large_transaction() {
    let mut scene = Scene::set(Kind::Postgres, Kind::Postgres, "memory = \"8MiB\"", &[]).await;
    scene.faults = 2;
    let (traffic, mut running) = scene.start();
    let End::Postgres(source) = scene.chaos.source() else { unreachable!("as set") };
    let End::Postgres(target) = scene.chaos.target() else { unreachable!("as set") };
    for round in 1..=2 {
        let id = -round;
        source
            .execute(&format!(
                "BEGIN; INSERT INTO batches VALUES ({id}, 150000); \
                 INSERT INTO bulk SELECT {id}, g, repeat('x', 50) FROM generate_series(1, 150000) g; COMMIT"
            ))
            .await;
        // Its first part is on its way when rows of it are being written.
        let writing =
            "SELECT count(*) > 0 FROM pg_locks WHERE relation = 'bulk'::regclass AND mode = 'RowExclusiveLock'";
        until("the transaction on its way", async || target.value(writing).await == "t").await;
        running.sigterm().expect_code(0);
        running = scene.rowferry.spawn_run();
    }
    running = scene.goes_on(running, "large transactions").await;
    scene.close(traffic, running).await;
}

/// The clock jumps ahead and back: no wait hangs on it, and nothing is written that depends on it.
#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_jumps() {
    let library = PathBuf::from("/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1");
    if !library.exists() {
        println!("skipped: no libfaketime on this machine (apt-get install libfaketime)");
        return;
    }
    let rowferry = Rowferry::new(BINARY, "");
    let clock = rowferry.path("clock");
    let jump = |by: &str| std::fs::write(&clock, by).unwrap();
    jump("+0");
    let rowferry = rowferry
        .env("LD_PRELOAD", library.to_str().unwrap())
        .env("FAKETIME_TIMESTAMP_FILE", clock.to_str().unwrap())
        .env("FAKETIME_NO_CACHE", "1")
        .env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
    let mut scene = Scene::of(rowferry, Kind::Mysql, Kind::Postgres, "").await;
    scene.faults = 3;
    let (traffic, mut running) = scene.start();
    for by in ["+2h", "-3h", "+0"] {
        jump(by);
        meanwhile(1000).await;
        running = scene.goes_on(running, &format!("the clock at {by}")).await;
    }
    scene.close(traffic, running).await;
}

/// A small file system that is gone with this value.
struct Small(PathBuf);

impl Small {
    /// `None`, and says why, where we may not mount one.
    fn mount(path: PathBuf, size: &str) -> Option<Self> {
        std::fs::create_dir_all(&path).unwrap();
        let mounted =
            Command::new("mount").args(["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"]).arg(&path).output();
        match mounted {
            Ok(output) if output.status.success() => Some(Self(path)),
            Ok(output) => {
                println!("skipped: no tmpfs can be mounted: {}", String::from_utf8_lossy(&output.stderr).trim());
                None
            }
            Err(error) => {
                println!("skipped: no tmpfs can be mounted: {error}");
                None
            }
        }
    }

    fn resize(&self, size: &str) {
        let remount = format!("remount,size={size}");
        let done = Command::new("mount").args(["-o", &remount]).arg(&self.0).status().unwrap();
        assert!(done.success(), "resize {}", self.0.display());
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

/// The state directory's disk, and the one of an SQLite target, are full: it says so, and goes on when there is room.
#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_is_full() {
    for folder in ["rowferry-state", "target"] {
        let full = ["full", "No space left", "os error 28"];
        let mut scene = Scene::set(Kind::Postgres, Kind::Sqlite, "", &full).await;
        scene.faults = 1;
        let Some(disk) = Small::mount(scene.rowferry.path(folder), "200m") else { return };
        let (traffic, running) = scene.start();
        let filler = scene.rowferry.path(folder).join("filler");
        fill(&filler);
        // It has to say so: as its last error, or as the reason why it ended.
        let running = tokio::task::block_in_place(|| {
            let mut running = running;
            while !running.has_ended() && reason(&running.stderr()).is_none() {
                std::thread::sleep(std::time::Duration::from_millis(50));
            }
            running
        });
        let said = running.stderr();
        let reason = reason(&said).unwrap_or_default();
        println!("{folder}'s disk full: {reason}");
        assert!(full.iter().any(|text| reason.contains(text)), "{folder}: {said}");
        std::fs::remove_file(&filler).unwrap();
        disk.resize("400m");
        let running = scene.goes_on(running, &format!("{folder}'s disk full")).await;
        scene.close(traffic, running).await;
    }
}

/// Why it ended, or tries again.
fn reason(stderr: &str) -> Option<&str> {
    stderr.lines().rfind(|line| line.starts_with("error: ") || line.contains("trying again"))
}

/// Writes a file until there is no room.
fn fill(path: &std::path::Path) {
    use std::io::Write;
    let mut file = std::fs::File::create(path).unwrap();
    let block = vec![0x5a; 64 << 10];
    while file.write_all(&block).is_ok() {}
    while file.write_all(&block[..512]).is_ok() {}
}
