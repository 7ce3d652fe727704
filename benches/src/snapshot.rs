//! How fast a table is copied: rowferry against PostgreSQL's own initial copy and against COPY piped to COPY.

use crate::Plan;
use crate::load;
use crate::measure;
use crate::replay::{self, Who};
use crate::report::{Figure, Run, Wanted};
use crate::servers::{self, Ends};
use rowferry_testkit::{Database, Running, psql};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const POLL: Duration = Duration::from_millis(5);

#[derive(Debug, Clone, Copy)]
enum How {
    Native,
    /// `psql -c "COPY t TO STDOUT" | psql -c "COPY t FROM STDIN"`.
    Pipe,
    Rowferry {
        workers: usize,
    },
}

impl How {
    fn name(self) -> String {
        match self {
            Self::Native => "native copy".to_owned(),
            Self::Pipe => "COPY | COPY".to_owned(),
            Self::Rowferry { workers } => format!("rowferry {workers}"),
        }
    }
}

/// A source with the rows, and where they are copied to.
struct Copies<'a> {
    plan: &'a Plan,
    /// Where the databases of other runs are dropped from.
    aside: Database,
    ends: Ends,
    tables_sql: String,
    rows: u64,
    row_bytes: f64,
    expected: String,
}

pub(crate) async fn snapshot(plan: &Plan) -> Vec<Figure> {
    let copies = Copies::prepare(plan).await;
    let (mut native, mut pipe, mut one, mut two) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for _ in 0..plan.repeat {
        native.push(copies.run(How::Native).await);
        pipe.push(copies.run(How::Pipe).await);
        one.push(copies.run(How::Rowferry { workers: 1 }).await);
        two.push(copies.run(How::Rowferry { workers: 2 }).await);
    }
    vec![
        Figure::rates("snapshot, 2 workers, by native", &native, &two, Some(Wanted::AtLeast(1.3))),
        Figure::rates("snapshot, 1 worker, by native", &native, &one, None),
        Figure::rates("snapshot, 1 worker, by COPY | COPY", &pipe, &one, Some(Wanted::AtLeast(0.95))),
    ]
}

impl<'a> Copies<'a> {
    async fn prepare(plan: &'a Plan) -> Self {
        let ends = Ends::start();
        let load = load::table(plan.rows * 2);
        let source = &ends.source_database;
        source.execute(&load.tables_sql).await;
        for sql in &load.rows_sql {
            source.execute(sql).await;
        }
        source.execute("VACUUM ANALYZE").await;
        source.execute("CREATE PUBLICATION bench FOR TABLE t").await;
        let row_bytes = source.value(&load.row_bytes_sql).await.parse().expect("a number of bytes");
        let expected = servers::checksum(source, &load.tables).await;
        let aside = ends.target.create_database("aside");
        Self { plan, aside, ends, tables_sql: load.tables_sql, rows: plan.rows * 2, row_bytes, expected }
    }

    /// Copies into a database of its own, compares, and removes it.
    async fn run(&self, how: How) -> Run {
        let target = self.ends.target.create_database("copy");
        if !matches!(how, How::Rowferry { .. }) {
            target.execute(&self.tables_sql).await;
        }
        self.ends.settle(&target).await;
        let (cpu_before, children_before) = (self.ends.cpu(None), measure::cpu_of_ended_children());
        let began = Instant::now();
        let (ended, peak_kib) = match how {
            How::Native => (self.native(&target).await, None),
            How::Pipe => (self.pipe(&target), None),
            How::Rowferry { workers } => self.rowferry(&target, workers).await,
        };
        let seconds = (ended - began).as_secs_f64();
        let mut cpu = self.ends.cpu(None).since(cpu_before);
        cpu.program = measure::cpu_of_ended_children() - children_before;
        let there = servers::checksum(&target, &["t".to_owned()]).await;
        assert_eq!(there, self.expected, "the target of {} differs from the source", how.name());
        if matches!(how, How::Native) {
            target.execute("DROP SUBSCRIPTION native").await;
        }
        self.ends.drop_slot(Who::Rowferry.name()).await;
        self.aside.execute(&format!("DROP DATABASE {} WITH (FORCE)", target.name())).await;
        let run = Run { who: how.name(), seconds, rows: self.rows, row_bytes: self.row_bytes, cpu, peak_kib };
        println!("  {run}");
        run
    }

    /// Until its table is ready: copied, and in step with the log.
    async fn native(&self, target: &Database) -> Instant {
        let client = target.client().await;
        let url = self.ends.source_database.url();
        let subscribe = format!("CREATE SUBSCRIPTION native CONNECTION '{url}' PUBLICATION bench");
        client.batch_execute(&subscribe).await.expect("subscribe");
        let is_copied = "SELECT bool_and(srsubstate = 'r') FROM pg_subscription_rel";
        while !client.query_one(is_copied, &[]).await.expect("ask the subscription").get::<_, bool>(0) {
            tokio::time::sleep(POLL).await;
        }
        Instant::now()
    }

    fn pipe(&self, target: &Database) -> Instant {
        let psql = |url: String, sql: &str| {
            let mut command = Command::new(psql::program("psql"));
            command.args(["-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", &url, "-c", sql]);
            command
        };
        let mut from = psql(self.ends.source_database.url(), "COPY t TO STDOUT");
        let mut from = from.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().expect("start psql");
        let rows = from.stdout.take().expect("a pipe");
        let into = psql(target.url(), "COPY t FROM STDIN").stdin(rows).status().expect("run psql");
        assert!(into.success() && from.wait().expect("wait for psql").success(), "COPY | COPY failed");
        Instant::now()
    }

    /// Until it says that the table is consistent: copied, and in step with the log. It analyzes the table then, and ends. Also its
    /// peak of memory.
    async fn rowferry(&self, target: &Database, workers: usize) -> (Instant, Option<u64>) {
        let into = format!("{{ kind = \"postgres\", url = \"{}\" }}", target.url());
        let more = format!("snapshot_workers = {workers}");
        let rowferry = replay::pipeline(&self.plan.binary, &self.ends.source_database, Who::Rowferry, &into, &more);
        let process: Running<'_> = rowferry.spawn(&["run", "--until-caught-up"]);
        let (mut peak_kib, mut consistent) = (0, None);
        while !measure::has_ended(process.pid()) {
            peak_kib = measure::peak_memory_kib(process.pid()).max(peak_kib);
            if consistent.is_none() && process.stderr().contains("consistent") {
                consistent = Some(Instant::now());
            }
            tokio::time::sleep(POLL).await;
        }
        let ended = process.wait_exit();
        rowferry.refuse_errors(&ended.stderr);
        ended.expect_code(0);
        (consistent.expect("it says that the table is consistent"), Some(peak_kib))
    }
}
