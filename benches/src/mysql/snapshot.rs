//! A table of MariaDB copied into PostgreSQL, beside MariaDB's programs piped into psql.

use super::{MARIADB, Shop, finished, sums_in_postgres};
use crate::Plan;
use crate::measure::{self, Cpu};
use crate::report::{Figure, Run, Wanted};
use rowferry_testkit::{Database, Postgres, Rowferry, psql};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// A table into PostgreSQL, against `mariadb --quick | psql`.
pub(crate) async fn snapshot(plan: &Plan) -> Vec<Figure> {
    let shop = Shop::start(MARIADB).await;
    let rows = plan.rows;
    shop.fill(rows).await;
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
        let here = self.shop.sums().await;
        assert_eq!(copy.value(&sums_in_postgres(schema)).await, here, "the copy differs from the source");
    }
}
