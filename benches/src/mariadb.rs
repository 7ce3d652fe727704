//! MariaDB as a source: reading its log beside `mariadb-binlog`, and copying a table beside its programs piped into psql.

use crate::Plan;
use crate::measure::{self, Cpu};
use crate::report::{Figure, Run, Wanted};
use rowferry_api::{Event, Source};
use rowferry_mysql::{MysqlSource, SourceOptions};
use rowferry_testkit::mysql_async::prelude::Queryable;
use rowferry_testkit::{Database, Flavor, Mysql, MysqlDatabase, Postgres, Rowferry, psql};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// What an operator would set; durable commits.
const OPTIONS: &[&str] = &[
    "--sync-binlog=1",
    "--innodb-flush-log-at-trx-commit=1",
    "--innodb-buffer-pool-size=512M",
    "--innodb-log-file-size=512M",
    "--max-binlog-size=1G",
];

const TABLES: &str = "CREATE TABLE t (id BIGINT PRIMARY KEY, quantity INT NOT NULL, name VARCHAR(40) NOT NULL, price DECIMAL(12,2) \
    NOT NULL, note VARCHAR(80) NOT NULL, attributes VARCHAR(80) NOT NULL, created_at DATETIME NOT NULL, changed_at TIMESTAMP NOT \
    NULL); CREATE TABLE done (id INT PRIMARY KEY)";

/// The cells of row `id`: eight columns, about 150 bytes.
const CELLS: &str = "id, id % 1000, CONCAT('customer ', LEFT(MD5(id), 16)), (id * 7) % 1000000 / 100, CONCAT('version 0 of ', id, \
    ', as it was ordered'), CONCAT('{\"state\": 0, \"channel\": \"web\", \"points\": ', id % 977, '}'), \
    '2024-01-01' + INTERVAL id SECOND, '2025-01-01' + INTERVAL id SECOND";

/// A source server with a database.
struct Shop {
    source: MysqlDatabase,
    server: Mysql,
}

impl Shop {
    async fn start() -> Self {
        let server = Mysql::start_flavor(Flavor::Mariadb(10, 11), OPTIONS);
        let source = server.create_database("bench");
        source.execute(TABLES).await;
        Self { source, server }
    }

    /// Commits that are not measured need not wait for the disk.
    async fn load(&self, sql: &[&str]) {
        self.server.execute("SET GLOBAL sync_binlog = 0; SET GLOBAL innodb_flush_log_at_trx_commit = 0").await;
        let mut client = self.source.client().await;
        for statement in sql {
            client.query_drop(*statement).await.unwrap_or_else(|error| panic!("{error} in: {statement}"));
        }
        self.server.execute("SET GLOBAL sync_binlog = 1; SET GLOBAL innodb_flush_log_at_trx_commit = 1").await;
    }

    fn cpu(&self) -> f64 {
        measure::cpu_of_tree(self.server.pid())
    }

    fn client(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command
            .args(["--no-defaults", "--host=127.0.0.1", "--user=root"])
            .arg(format!("--port={}", self.server.port()));
        command
    }

    async fn row_bytes(&self) -> f64 {
        let sql = "SELECT AVG(LENGTH(CONCAT_WS(',', id, quantity, name, price, note, attributes, created_at, changed_at))) \
                   FROM (SELECT * FROM t LIMIT 1000) some";
        self.source.value(sql).await.parse().expect("a number of bytes")
    }
}

/// The log alone: rows as changes, against `mariadb-binlog` that decodes them into `/dev/null`.
pub(crate) async fn read(plan: &Plan) -> Vec<Figure> {
    let shop = Shop::start().await;
    let rows = plan.rows / 10 * 10;
    let source = source(&shop);
    let from = source.head().await.expect("ask for the end of the log");
    let load = format!(
        "BEGIN NOT ATOMIC FOR i IN 0..{} DO INSERT INTO t SELECT {CELLS} FROM (SELECT i * 10 + seq AS id FROM seq_1_to_10) s; END FOR; \
         END",
        rows / 10 - 1
    );
    shop.load(&[&load]).await;
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

fn finished(who: &str, began: Instant, rows: u64, row_bytes: f64, cpu: Cpu, peak_kib: Option<u64>) -> Run {
    let run = Run { who: who.to_owned(), seconds: began.elapsed().as_secs_f64(), rows, row_bytes, cpu, peak_kib };
    println!("  {run}");
    run
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

/// A table into PostgreSQL, against `mariadb --quick | psql`.
pub(crate) async fn snapshot(plan: &Plan) -> Vec<Figure> {
    let shop = Shop::start().await;
    let rows = plan.rows;
    let fill = format!("INSERT INTO t SELECT {CELLS} FROM (SELECT seq AS id FROM seq_1_to_{rows}) s");
    shop.load(&[&fill, "ANALYZE TABLE t"]).await;
    let copies =
        Copies { plan, rows, row_bytes: shop.row_bytes().await, target: Postgres::start(&[("fsync", "on")]), shop };
    let (mut dump, mut pipe, mut one, mut two) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for _ in 0..plan.repeat {
        dump.push(copies.run(How::Dump).await);
        pipe.push(copies.run(How::Copy).await);
        one.push(copies.run(How::Rowferry(1)).await);
        two.push(copies.run(How::Rowferry(2)).await);
    }
    vec![
        Figure::rates("copy MariaDB, 1 worker, by mariadb-dump | psql", &dump, &one, Some(Wanted::AtLeast(1.5))),
        Figure::rates("copy MariaDB, 1 worker, by mariadb | COPY", &pipe, &one, None),
        Figure::rates("copy MariaDB, 2 workers, by 1", &one, &two, None),
    ]
}

/// Who copies.
#[derive(Debug, Clone, Copy)]
enum How {
    /// `mariadb-dump | psql`: statements of many rows.
    Dump,
    /// `mariadb -e "SELECT ..." | psql -c "COPY ..."`: the two servers' bulk ways by hand.
    Copy,
    /// So many workers.
    Rowferry(usize),
}

struct Copies<'a> {
    plan: &'a Plan,
    rows: u64,
    row_bytes: f64,
    target: Postgres,
    shop: Shop,
}

impl Copies<'_> {
    async fn run(&self, how: How) -> Run {
        let copy = self.target.create_database("copy");
        copy.execute("CHECKPOINT").await;
        let (source, target) = (self.shop.cpu(), measure::cpu_of_tree(self.target.pid()));
        let children = measure::cpu_of_ended_children();
        let schema = self.shop.source.name();
        let began = Instant::now();
        let (who, peak_kib) = match how {
            How::Dump => {
                self.pipe(&copy, how).await;
                ("dump | psql".to_owned(), None)
            }
            How::Copy => {
                self.pipe(&copy, how).await;
                ("mariadb | COPY".to_owned(), None)
            }
            How::Rowferry(workers) => (format!("rowferry {workers}"), Some(self.rowferry(&copy, workers).await)),
        };
        let cpu = Cpu {
            program: measure::cpu_of_ended_children() - children,
            source: self.shop.cpu() - source,
            target: measure::cpu_of_tree(self.target.pid()) - target,
        };
        let run = finished(&who, began, self.rows, self.row_bytes, cpu, peak_kib);
        self.compare(&copy, schema).await;
        run
    }

    async fn pipe(&self, copy: &Database, how: How) {
        copy.execute(&format!(
            "CREATE SCHEMA {0}; CREATE TABLE {0}.t (id bigint PRIMARY KEY, quantity int NOT NULL, name varchar(40) NOT NULL, price \
             numeric(12,2) NOT NULL, note varchar(80) NOT NULL, attributes varchar(80) NOT NULL, created_at timestamp(0) NOT NULL, \
             changed_at timestamptz(0) NOT NULL)",
            self.shop.source.name()
        ))
        .await;
        let schema = self.shop.source.name();
        let mut into = Command::new(psql::program("psql"));
        into.args(["-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", &copy.url()]).env("PGTZ", "UTC");
        let mut from = match how {
            How::Dump => {
                // Its quotes are escaped with a backslash.
                let options = "-c standard_conforming_strings=off -c backslash_quote=on -c escape_string_warning=off";
                into.env("PGOPTIONS", format!("{options} -c search_path={schema}"));
                let mut dump = self.shop.client("mariadb-dump");
                dump.args(["--no-create-info", "--compact", "--quick", "--single-transaction"]);
                dump.args(["--compatible=postgresql", schema, "t"]);
                dump
            }
            How::Copy | How::Rowferry(_) => {
                into.args(["-c", &format!("COPY {schema}.t FROM STDIN")]);
                let mut client = self.shop.client("mariadb");
                client.args(["--quick", "--batch", "--skip-column-names", "--init-command=SET time_zone = '+00:00'"]);
                client.args([schema, "-e", "SELECT * FROM t"]);
                client
            }
        };
        let mut from = from.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().expect("start mariadb");
        let rows = from.stdout.take().expect("a pipe");
        let into = into.stdin(rows).stdout(Stdio::null()).status().expect("run psql");
        assert!(into.success() && from.wait().expect("wait for mariadb").success(), "{how:?} failed");
    }

    async fn rowferry(&self, copy: &Database, workers: usize) -> u64 {
        let config = format!(
            "[pipeline.bench]\nsource = {{ kind = \"mysql\", url = \"{}\" }}\ntarget = {{ kind = \"postgres\", url = \"{}\" }}\n\
             tables = [\"{}.t\"]\nsnapshot_workers = {workers}\n",
            self.shop.source.url(),
            copy.url(),
            self.shop.source.name()
        );
        let rowferry = Rowferry::new(&self.plan.binary, &config).patience(Duration::from_secs(600));
        let process = rowferry.spawn(&["run", "--until-caught-up"]);
        let mut peak_kib = 0;
        while !measure::has_ended(process.pid()) {
            peak_kib = measure::peak_memory_kib(process.pid()).max(peak_kib);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        process.wait_exit().expect_code(0);
        peak_kib
    }

    /// Count and sums; a figure of a copy that lost something is none.
    async fn compare(&self, copy: &Database, schema: &str) {
        let sums = "COUNT(*), SUM(id), SUM(quantity), SUM(price), SUM(LENGTH(name)), SUM(LENGTH(note)), SUM(LENGTH(attributes))";
        let here =
            self.shop.source.query_text(&format!("SELECT {sums}, MAX(MD5(CONCAT(id, note, price))) FROM t")).await;
        let there = format!("SELECT {sums}, max(md5(concat(id, note, price)) COLLATE \"C\") FROM {schema}.t");
        assert_eq!(copy.query_text(&there).await, here, "the copy differs from the source");
    }
}
