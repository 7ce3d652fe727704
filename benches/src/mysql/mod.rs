//! MySQL and MariaDB, as source and as target: what their benchmarks share. A source server, a table, and what changes it.

mod debezium;
mod drain;
mod read;
mod replay;
mod snapshot;

pub(crate) use drain::{into_mariadb, into_postgres};
pub(crate) use read::read;
pub(crate) use snapshot::snapshot;

use crate::measure::{self, Cpu};
use crate::report::Run;
use rowferry_testkit::mysql_async::prelude::Queryable;
use rowferry_testkit::{Flavor, Mysql, MysqlDatabase};
use std::process::Command;
use std::time::Instant;

const MARIADB: Flavor = Flavor::Mariadb(10, 11);

/// What an operator would set; durable commits.
const OPTIONS: &[&str] = &[
    "--sync-binlog=1",
    "--innodb-flush-log-at-trx-commit=1",
    "--innodb-buffer-pool-size=512M",
    "--loose-innodb-log-file-size=512M",
    "--loose-innodb-redo-log-capacity=1G",
    "--max-binlog-size=1G",
];

const TABLES: &str = "CREATE TABLE t (id BIGINT PRIMARY KEY, quantity INT NOT NULL, name VARCHAR(40) NOT NULL, price DECIMAL(12,2) \
    NOT NULL, note VARCHAR(80) NOT NULL, attributes VARCHAR(80) NOT NULL, created_at DATETIME NOT NULL, changed_at TIMESTAMP NOT \
    NULL); CREATE TABLE done (id INT PRIMARY KEY)";

/// Helps to make rows and is not carried: 0 to 999.
const NUMBERS: &str = "CREATE TABLE numbers (n INT PRIMARY KEY); INSERT INTO numbers SELECT a.n + 10 * b.n + 100 * c.n FROM \
    (SELECT 0 n UNION SELECT 1 UNION SELECT 2 UNION SELECT 3 UNION SELECT 4 UNION SELECT 5 UNION SELECT 6 UNION SELECT 7 UNION \
    SELECT 8 UNION SELECT 9) a, (SELECT 0 n UNION SELECT 1 UNION SELECT 2 UNION SELECT 3 UNION SELECT 4 UNION SELECT 5 UNION \
    SELECT 6 UNION SELECT 7 UNION SELECT 8 UNION SELECT 9) b, (SELECT 0 n UNION SELECT 1 UNION SELECT 2 UNION SELECT 3 UNION \
    SELECT 4 UNION SELECT 5 UNION SELECT 6 UNION SELECT 7 UNION SELECT 8 UNION SELECT 9) c";

/// The columns of a row behind its key, and each one's value for row `id` in version `v`, both SQL: about 150 bytes.
fn columns(id: &str, v: &str) -> [(&'static str, String); 7] {
    [
        ("quantity", format!("{id} % 1000 + {v}")),
        ("name", format!("CONCAT('customer ', LEFT(SHA2({id}, 256), 16))")),
        ("price", format!("({id} * 7 + {v}) % 1000000 / 100")),
        ("note", format!("CONCAT('version ', {v}, ' of ', {id}, ', as it was ordered')")),
        (
            "attributes",
            format!("CONCAT('{{\"state\": ', {v} % 5, ', \"channel\": \"web\", \"points\": ', {id} % 977, '}}')"),
        ),
        ("created_at", format!("'2024-01-01' + INTERVAL {id} SECOND")),
        ("changed_at", format!("'2025-01-01' + INTERVAL ({id} + {v}) SECOND")),
    ]
}

/// A SELECT's list that makes row `id` in its first version.
fn cells() -> String {
    let values = columns("id", "0").map(|(_, value)| value);
    format!("id, {}", values.join(", "))
}

/// The `SET` list that makes version `v` of a row.
fn set(v: &str) -> String {
    let sets = columns("t.id", v).map(|(name, value)| format!("t.{name} = {value}"));
    format!("SET {}", sets.join(", "))
}

/// A source server with a database.
struct Shop {
    source: MysqlDatabase,
    server: Mysql,
}

impl Shop {
    async fn start(flavor: Flavor) -> Self {
        let server = Mysql::start_flavor(flavor, OPTIONS);
        let source = server.create_database("bench");
        source.execute(TABLES).await;
        source.execute(NUMBERS).await;
        Self { source, server }
    }

    /// Rows 1 to `rows` in their first version.
    async fn fill(&self, rows: u64) {
        let body = format!(
            "INSERT INTO t SELECT {} FROM (SELECT i * 1000 + n + 1 AS id FROM numbers) s WHERE id <= {rows}",
            cells()
        );
        self.repeat(rows.div_ceil(1000), &body).await;
        self.load(&["ANALYZE TABLE t"]).await;
    }

    /// Runs a statement `times` times, each a transaction, with `i` from 0 on.
    async fn repeat(&self, times: u64, body: &str) {
        let load = format!(
            "CREATE PROCEDURE run_load() BEGIN DECLARE i BIGINT DEFAULT 0; WHILE i < {times} DO {body}; SET i = i + 1; END WHILE; END"
        );
        self.load(&["DROP PROCEDURE IF EXISTS run_load", &load, "CALL run_load()"]).await;
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

    /// Count and sums of the table; a figure of a run that lost something is none.
    async fn sums(&self) -> String {
        self.source.value(&sums()).await
    }
}

/// A question whose answer is one text. `hash` is of a row.
fn sums_by(table: &str, hash: &str) -> String {
    format!(
        "SELECT CONCAT_WS('|', COUNT(*), SUM(id), SUM(quantity), SUM(price), SUM(LENGTH(name)), SUM(LENGTH(note)), \
         SUM(LENGTH(attributes)), MAX({hash})) FROM {table}"
    )
}

fn sums() -> String {
    sums_by("t", "SHA2(CONCAT(id, note, price), 256)")
}

/// The same of a copy in PostgreSQL.
fn sums_in_postgres(schema: &str) -> String {
    let hash = "encode(sha256(convert_to(concat(id, note, price), 'UTF8')), 'hex') COLLATE \"C\"";
    sums_by(&format!("{schema}.t"), hash)
}

fn finished(who: &str, began: Instant, rows: u64, row_bytes: f64, cpu: Cpu, peak_kib: Option<u64>) -> Run {
    let run = Run { who: who.to_owned(), seconds: began.elapsed().as_secs_f64(), rows, row_bytes, cpu, peak_kib };
    println!("  {run}");
    run
}
