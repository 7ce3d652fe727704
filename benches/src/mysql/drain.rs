//! How fast a server's log is worked off: into PostgreSQL, beside what the Debezium engine takes to read it, and into MariaDB,
//! beside its own replication.

use super::debezium::Engine;
use super::replay::{Copy, Load, Replay};
use super::{MARIADB, Shop, cells, set};
use crate::Plan;
use crate::report::{Figure, Run, Wanted};
use rowferry_testkit::{Flavor, Mysql, Postgres};

/// A step through all rows that comes by each once before it repeats; prime, so that it shares no factor with their number.
const STRIDE: u64 = 7919;

/// Ten new rows a transaction.
fn inserts(changes: u64) -> Load {
    let body =
        format!("INSERT INTO t SELECT {} FROM (SELECT i * 10 + n + 1 AS id FROM numbers WHERE n < 10) s", cells());
    Load { rows: 0, body, times: changes / 10, changes: changes / 10 * 10 }
}

/// A thousand updates a transaction, all over the table.
fn updates_1000(changes: u64) -> Load {
    let rows = (changes * 3 / 10).max(1000);
    let set = set(&format!("((i * 1000 + k.n) DIV {rows} + 1)"));
    let body = format!("UPDATE numbers k STRAIGHT_JOIN t ON t.id = (i * 1000 + k.n) * {STRIDE} % {rows} + 1 {set}");
    Load { rows, body, times: changes / 1000, changes: changes / 1000 * 1000 }
}

/// One update a transaction, all over the table.
fn updates_1(changes: u64) -> Load {
    let rows = (changes * 3 / 10).max(1000);
    let set = set(&format!("(i DIV {rows} + 1)"));
    Load { rows, body: format!("UPDATE t {set} WHERE id = i * {STRIDE} % {rows} + 1"), times: changes, changes }
}

/// MySQL 9.7 and MariaDB into PostgreSQL, and the Debezium engine that only reads MySQL's log.
pub(crate) async fn into_postgres(plan: &Plan) -> Vec<Figure> {
    let load = inserts(plan.rows);
    let mut engine = None;
    let from_mysql = match Flavor::from_env() {
        flavor @ Flavor::Mysql(..) => {
            let shop = Shop::start(flavor).await;
            let begin = async |shop: &Shop, _: &Copy| engine = Engine::begin(shop).await;
            Some(Replay::prepare(&plan.binary, shop, postgres(), &load, begin).await)
        }
        Flavor::Mariadb(..) => {
            println!("  MySQL is skipped: benches/run fetches it and names it in ROWFERRY_MYSQL_SERVER");
            None
        }
    };
    let nothing = async |_: &Shop, _: &Copy| {};
    let from_mariadb = Replay::prepare(&plan.binary, Shop::start(MARIADB).await, postgres(), &load, nothing).await;
    let (mut peer, mut mysql, mut mariadb) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..plan.repeat {
        if let Some(replay) = &from_mysql {
            if let Some(engine) = &engine {
                peer.push(engine.run(replay).await);
            }
            mysql.push(replay.rowferry("from MySQL").await);
        }
        mariadb.push(from_mariadb.rowferry("from MariaDB").await);
    }
    let mut figures = Vec::new();
    if !peer.is_empty() {
        let what = "drain MySQL into PostgreSQL, by Debezium reading";
        figures.push(Figure::rates(what, &peer, &mysql, Some(Wanted::AtLeast(4.0))));
        let (theirs, ours) = (peak(&peer), peak(&mysql));
        figures.push(Figure::value("memory, by Debezium (MySQL)", "MB", Some(theirs), ours, Wanted::AtMost(0.1)));
    }
    if !mysql.is_empty() {
        let what = "drain MariaDB into PostgreSQL, by MySQL";
        figures.push(Figure::rates(what, &mysql, &mariadb, Some(Wanted::AtLeast(1.0))));
    }
    let idle = from_mariadb.idle().await;
    figures.push(Figure::value("memory, idle (MariaDB)", "MB", None, idle, Wanted::AtMost(30.0)));
    figures
}

/// MariaDB into MariaDB, beside its own replication with one thread. Each of single commits waits for the disk there: a tenth of the changes.
pub(crate) async fn into_mariadb(plan: &Plan) -> Vec<Figure> {
    let mut figures = Vec::new();
    for (what, load) in [("updates of 1,000", updates_1000(plan.rows)), ("updates of 1", updates_1(plan.rows / 10))] {
        let target = Mysql::start_flavor(MARIADB, &[super::OPTIONS, &["--server-id=2", "--skip-log-bin"]].concat());
        let mut begin = String::new();
        let note = async |shop: &Shop, copy: &Copy| {
            // A statement that only reads them names them in the log all the same.
            if let Copy::Mariadb(server) = copy {
                server.execute(&format!("CREATE TABLE {}.numbers (n INT PRIMARY KEY)", shop.source.name())).await;
            }
            let at = shop.source.value("SELECT @@GLOBAL.gtid_binlog_pos").await;
            begin = format!(
                "SET GLOBAL gtid_slave_pos = '{at}'; CHANGE MASTER TO MASTER_HOST = '127.0.0.1', MASTER_PORT = {}, MASTER_USER = \
                 'root', MASTER_USE_GTID = slave_pos; START SLAVE",
                shop.server.port()
            );
        };
        let replay =
            Replay::prepare(&plan.binary, Shop::start(MARIADB).await, Copy::Mariadb(target), &load, note).await;
        let (mut native, mut rowferry) = (Vec::new(), Vec::new());
        for _ in 0..plan.repeat {
            native.push(replay.native(&begin).await);
            rowferry.push(replay.rowferry("rowferry").await);
        }
        let what = format!("MariaDB into MariaDB, {what}, by its replication");
        figures.push(Figure::rates(&what, &native, &rowferry, Some(Wanted::AtLeast(1.5))));
    }
    figures
}

fn postgres() -> Copy {
    let server = Postgres::start(&[
        ("fsync", "on"),
        ("shared_buffers", "256MB"),
        ("max_wal_size", "4GB"),
        ("autovacuum", "off"),
    ]);
    Copy::Postgres(server.create_database("copy"), server)
}

fn peak(runs: &[Run]) -> f64 {
    runs.iter().filter_map(|run| run.peak_kib).max().unwrap_or(0) as f64 / 1024.0
}
