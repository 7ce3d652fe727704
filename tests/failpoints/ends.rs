//! The ends of a walk: what runs at the source, and what is asked of the target between two runs.

use crate::traffic::{self, Step};
use rowferry_testkit::{End, Kind, Session};
use std::path::PathBuf;

/// A place in a source's log as a number that grows.
type Place = u64;

pub(crate) struct Ends {
    source: End,
    target: End,
}

/// A transaction of the source: its number, and where the log stood before and after it.
pub(crate) struct Marked {
    pub(crate) number: u32,
    pub(crate) before: Place,
    pub(crate) after: Place,
}

impl Ends {
    pub(crate) fn new(source: Kind, target: Kind, file: PathBuf) -> Self {
        let source = End::create(source, "failpoints", file.clone());
        Self { source, target: End::create(target, "failpoints_copy", file) }
    }

    pub(crate) async fn make_tables(&self) {
        let large = if self.source.is_mysql() { "mediumtext" } else { "text" };
        for statement in traffic::tables() {
            self.source.execute(&statement.replace("VALUE_OF_100_KB", large)).await;
        }
        if !self.source.is_mysql() {
            // An update that leaves such a value alone has it in no log.
            self.source.execute("ALTER TABLE accounts ALTER big SET STORAGE EXTERNAL; ANALYZE").await;
        }
    }

    /// Runs the steps of a round; each transaction of rows writes the next number into `marker`.
    pub(crate) async fn run(&self, round: u32, marked: &mut Vec<Marked>) {
        let mut session = self.source.open().await.unwrap();
        if self.source.is_mysql() {
            // A minimal image leaves cells unchanged.
            let image = if round.is_multiple_of(2) { "MINIMAL" } else { "FULL" };
            run(&mut session, &format!("SET SESSION binlog_row_image = {image}")).await;
        }
        for step in traffic::round(round) {
            match step {
                Step::Ddl(sql) => run(&mut session, &sql).await,
                Step::Rows(sql) => {
                    let (before, number) = (head(&mut session).await, marked.len() as u32 + 1);
                    run(&mut session, &format!("BEGIN; {sql}; UPDATE marker SET n = {number}; COMMIT")).await;
                    marked.push(Marked { number, before, after: head(&mut session).await });
                }
            }
        }
    }

    /// Compares every table, row by row.
    pub(crate) async fn differences(&self) -> Vec<String> {
        self.source.compare(&self.target).await.differences
    }

    /// The configuration of a pipeline: little memory, so that large transactions come in parts, and small slices.
    pub(crate) fn config(&self) -> String {
        // What a killed process left unread is a backlog for the next one: read in parts by one pair.
        let reads_backlogs = matches!((&self.source, &self.target), (End::Postgres(_), End::Sqlite(_)));
        let options = if reads_backlogs { ", backlog = \"64KiB\"" } else { "" };
        let source = self.source.as_source_at(&self.source.url(), options);
        format!("[pipeline.walk]\n{source}target = {}\nmemory = \"8MiB\"\nslice_rows = 250\n", self.target.as_target())
    }

    /// Between any two runs the target holds a state that the source once had, and its position is that state's.
    pub(crate) async fn look(&self, marked: &[Marked], after: &str) {
        let accounts = self.target.name_of(&self.source, "accounts");
        let sum = self.target.value(&format!("SELECT sum(balance) FROM {accounts}")).await;
        assert_eq!(sum, traffic::BALANCES, "the sum of balances: {after}");
        let marker = self.target.name_of(&self.source, "marker");
        let held: u32 = self.target.value(&format!("SELECT n FROM {marker}")).await.parse().unwrap();
        let position = self.position().await;
        let at = place(&position);
        if let Some(last) = marked.iter().find(|marked| marked.number == held) {
            let begun = last.before;
            assert!(at > begun, "{after}: the rows are ahead of the position {position}: transaction {held}");
        }
        let passed = marked.iter().filter(|marked| marked.after <= at).map(|marked| marked.number).max().unwrap_or(0);
        assert!(passed <= held, "{after}: the position {position} is ahead of the rows: {passed} > {held}");
    }

    /// The pipeline's position, as the target holds it.
    async fn position(&self) -> String {
        let sql = match &self.target {
            End::Postgres(_) => "SELECT position FROM rowferry.positions".to_owned(),
            End::Mysql(database) => {
                format!("SELECT position FROM rowferry.positions WHERE pipeline = 'walk@{}'", database.name())
            }
            End::Sqlite(_) => "SELECT position FROM rowferry_positions".to_owned(),
        };
        self.target.value(&sql).await
    }
}

async fn run(session: &mut Session, sql: &str) {
    let sql = if let Session::Postgres(_) = session { sql.replace("ANALYZE TABLE", "ANALYZE") } else { sql.to_owned() };
    for statement in sql.split(';').filter(|statement| !statement.trim().is_empty()) {
        session.run(statement).await.unwrap_or_else(|error| panic!("{error} in: {statement}"));
    }
}

/// Where the source's log stands.
async fn head(session: &mut Session) -> Place {
    let rows = match session {
        Session::Postgres(_) => session.run("SELECT pg_current_wal_insert_lsn()::text").await,
        // By its old name and by its new one.
        _ => match session.run("SHOW MASTER STATUS").await {
            Err(_) => session.run("SHOW BINARY LOG STATUS").await,
            rows => rows,
        },
    };
    let row: Vec<String> = rows.unwrap().remove(0).into_iter().flatten().collect();
    place(&match session {
        Session::Postgres(_) => row[0].clone(),
        _ => format!("{}:{}@", row[0], row[1]),
    })
}

/// `1/2AB` of PostgreSQL, `binlog.000012:4567@...` of MySQL.
fn place(position: &str) -> Place {
    let number = |text: &str, radix| Place::from_str_radix(text, radix).unwrap_or_else(|_| panic!("{position}"));
    match position.split_once('@') {
        Some((at, _)) => {
            let (file, offset) = at.rsplit_once(':').unwrap();
            (number(file.rsplit_once('.').unwrap().1, 10) << 40) + number(offset, 10)
        }
        None => {
            let (high, low) = position.split_once('/').unwrap();
            (number(high, 16) << 32) + number(low, 16)
        }
    }
}
