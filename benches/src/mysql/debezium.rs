//! The Debezium engine that reads MySQL's log and writes nothing anywhere.

use super::replay::Replay;
use super::{Shop, finished};
use crate::debezium::{self, Said};
use crate::measure::{self, Cpu};
use crate::report::Run;
use crate::servers;
use std::path::Path;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// An engine that has seen the log's place before the backlog.
pub(super) struct Engine {
    settings: Vec<String>,
    /// Its offsets and what it knows of the tables, as of then.
    start: TempDir,
}

impl Engine {
    /// Lets the engine find its place in the log, and keeps what it wrote down. `None` if there is no engine.
    pub(super) async fn begin(shop: &Shop) -> Option<Self> {
        debezium::python()?;
        shop.source.execute("CREATE TABLE begun (id INT PRIMARY KEY AUTO_INCREMENT)").await;
        let start = tempfile::Builder::new().prefix("rowferry-debezium-").tempdir().expect("create a folder");
        let engine = Self { settings: settings(shop), start };
        let running = engine.command(engine.start.path(), shop, "begun").spawn().expect("start Debezium");
        let ended = tokio::task::spawn_blocking(move || running.wait_with_output());
        tokio::pin!(ended);
        // It comes up in its own time, and then has to see a row.
        let ended = loop {
            tokio::select! {
                ended = &mut ended => break ended.expect("no panic").expect("wait for Debezium"),
                () = tokio::time::sleep(Duration::from_millis(500)) => {
                    shop.source.execute("INSERT INTO begun VALUES (NULL)").await;
                }
            }
        };
        assert!(ended.status.success(), "Debezium failed: {}", String::from_utf8_lossy(&ended.stderr));
        Some(engine)
    }

    /// Reads the backlog from there on.
    pub(super) async fn run(&self, replay: &Replay) -> Run {
        let folder = tempfile::Builder::new().prefix("rowferry-debezium-").tempdir().expect("create a folder");
        let place = folder.path().join("run");
        servers::replace_folder(self.start.path(), &place);
        let (source, children) = (replay.shop.cpu(), measure::cpu_of_ended_children());
        let began = Instant::now();
        let ended = self.command(&place, &replay.shop, "done").output().expect("run Debezium");
        let said = Said::read(&ended);
        assert_eq!(said.events, replay.changes + 1, "events that Debezium read, the marker's among them");
        let cpu = Cpu {
            program: measure::cpu_of_ended_children() - children,
            source: replay.shop.cpu() - source,
            target: 0.0,
        };
        // The start of its virtual machine is left out.
        let started = began.elapsed().saturating_sub(Duration::from_secs_f64(said.seconds));
        finished("Debezium", began + started, said.events, replay.row_bytes, cpu, Some(said.peak_kib))
    }

    fn command(&self, folder: &Path, shop: &Shop, end: &str) -> std::process::Command {
        let mut settings = self.settings.clone();
        let tables: Vec<String> = match end {
            "done" => vec!["t".into(), "done".into()],
            other => vec![other.into()],
        };
        let tables: Vec<String> = tables.iter().map(|table| format!("{}.{table}", shop.source.name())).collect();
        settings.push(format!("table.include.list={}", tables.join(",")));
        debezium::command(folder, end, &settings)
    }
}

fn settings(shop: &Shop) -> Vec<String> {
    let port = shop.server.port();
    [
        "connector.class=io.debezium.connector.mysql.MySqlConnector".to_owned(),
        "database.hostname=127.0.0.1".to_owned(),
        format!("database.port={port}"),
        "database.user=root".to_owned(),
        "database.password=".to_owned(),
        "database.server.id=77".to_owned(),
        format!("database.include.list={}", shop.source.name()),
        "snapshot.mode=no_data".to_owned(),
        "schema.history.internal=io.debezium.storage.file.history.FileSchemaHistory".to_owned(),
        "schema.history.internal.file.filename=history".to_owned(),
    ]
    .to_vec()
}
