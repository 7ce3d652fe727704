//! MariaDB's log read and decoded, beside `mariadb-binlog`.

use super::{MARIADB, Shop, cells, finished};
use crate::Plan;
use crate::measure::{self, Cpu};
use crate::report::{Figure, Wanted};
use rowferry_api::{Event, Source};
use rowferry_mysql::{MysqlSource, SourceOptions};
use std::process::Stdio;
use std::time::Instant;

/// The log alone: rows as changes, against `mariadb-binlog` that decodes them into `/dev/null`.
pub(crate) async fn read(plan: &Plan) -> Vec<Figure> {
    let shop = Shop::start(MARIADB).await;
    let rows = plan.rows / 10 * 10;
    let source = source(&shop);
    let from = source.head().await.expect("ask for the end of the log");
    let body =
        format!("INSERT INTO t SELECT {} FROM (SELECT i * 10 + n + 1 AS id FROM numbers WHERE n < 10) s", cells());
    shop.repeat(rows / 10, &body).await;
    shop.source.execute("INSERT INTO done VALUES (1)").await;
    let row_bytes = shop.row_bytes().await;
    let (mut peer, mut ours) = (Vec::new(), Vec::new());
    for _ in 0..plan.repeat {
        let began = (Instant::now(), shop.cpu(), measure::cpu_of_ended_children());
        decode(&shop);
        let used =
            Cpu { program: measure::cpu_of_ended_children() - began.2, source: shop.cpu() - began.1, target: 0.0 };
        peer.push(finished("mariadb-binlog", began.0, rows, row_bytes, used, None));
        let began = (Instant::now(), shop.cpu(), measure::cpu_of_process(std::process::id()));
        read_all(&source, &from, rows).await;
        let program = measure::cpu_of_process(std::process::id()) - began.2;
        let used = Cpu { program, source: shop.cpu() - began.1, target: 0.0 };
        ours.push(finished("rowferry's reader", began.0, rows, row_bytes, used, None));
    }
    vec![Figure::rates("read MariaDB's log, by mariadb-binlog", &peer, &ours, Some(Wanted::AtLeast(1.0)))]
}

fn source(shop: &Shop) -> MysqlSource {
    let options =
        SourceOptions { url: shop.source.url(), server_id: 0, pipeline: "bench".into(), zero_dates: String::new() };
    MysqlSource::new(options).expect("valid options")
}

fn decode(shop: &Shop) {
    let mut command = shop.client("mariadb-binlog");
    command.args(["--read-from-remote-server", "--to-last-log", "--base64-output=DECODE-ROWS", "-v", "binlog.000001"]);
    let ended = command.stdin(Stdio::null()).stdout(Stdio::null()).output().expect("run mariadb-binlog");
    assert!(ended.status.success(), "mariadb-binlog failed: {}", String::from_utf8_lossy(&ended.stderr));
}

async fn read_all(source: &MysqlSource, from: &rowferry_api::Position, rows: u64) {
    let tables = source.tables().await.expect("read the catalog");
    source.prepare(&tables, Some(from)).await.expect("ask for the tables");
    let forms: Vec<_> = tables.into_iter().map(|table| table.schema).collect();
    let mut reader = source.open_log(from, &forms, &[]).await.expect("open the log");
    let (mut events, mut changes, mut is_marked) = (Vec::new(), 0, false);
    while !is_marked {
        events.clear();
        reader.next(&mut events).await.expect("read the log");
        for event in &events {
            match event {
                Event::Change(change) if change.table.name.name == "done" => is_marked = true,
                Event::Change(_) => changes += 1,
                _ => {}
            }
        }
    }
    reader.close().await;
    assert_eq!(changes, rows, "changes in the log");
}
