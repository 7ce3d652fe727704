//! The ends of a walk: what runs at the source, and what is asked of the target between two runs.

use crate::list::Kind;
use crate::traffic::{self, Step};
use rowferry_testkit::mysql_async::{self, prelude::Queryable};
use rowferry_testkit::{Database, Mysql, MysqlDatabase, Postgres, compare, mysql};
use std::path::Path;

/// A place in a source's log as a number that grows.
type Place = u64;

pub(crate) enum Source {
    Postgres(Database),
    Mysql(MysqlDatabase),
}

pub(crate) enum Copy {
    Postgres(Database),
    Mysql(MysqlDatabase),
    Sqlite,
}

/// A transaction of the source: its number, and where the log stood before and after it.
pub(crate) struct Marked {
    pub(crate) number: u32,
    pub(crate) before: Place,
    pub(crate) after: Place,
}

impl Source {
    pub(crate) fn new(kind: Kind) -> Self {
        match kind {
            Kind::Postgres => Self::Postgres(Postgres::shared().create_database("failpoints")),
            Kind::Mysql => Self::Mysql(Mysql::shared().create_database("failpoints")),
            Kind::Sqlite => unreachable!("SQLite has no log"),
        }
    }

    pub(crate) async fn make_tables(&self) {
        for statement in traffic::tables() {
            match self {
                Self::Postgres(database) => {
                    database.execute(&statement.replace("VALUE_OF_100_KB", "text")).await;
                    if statement.starts_with("CREATE TABLE accounts") {
                        // An update that leaves such a value alone has it in no log.
                        database.execute("ALTER TABLE accounts ALTER big SET STORAGE EXTERNAL").await;
                    }
                }
                Self::Mysql(database) => database.execute(&statement.replace("VALUE_OF_100_KB", "mediumtext")).await,
            }
        }
        if let Self::Postgres(database) = self {
            database.execute("ANALYZE").await;
        }
    }

    /// Runs the steps of a round; each transaction of rows writes the next number into `marker`.
    pub(crate) async fn run(&self, round: u32, marked: &mut Vec<Marked>) {
        let mut session = match self {
            Self::Postgres(database) => Session::Postgres(database.client().await),
            Self::Mysql(database) => Session::Mysql(database.client().await),
        };
        // A minimal image leaves cells unchanged.
        let image = if round.is_multiple_of(2) { "MINIMAL" } else { "FULL" };
        session.set_row_image(image).await;
        for step in traffic::round(round) {
            match step {
                Step::Ddl(sql) => session.run(&sql).await,
                Step::Rows(sql) => {
                    let (before, number) = (session.head().await, marked.len() as u32 + 1);
                    session.run(&format!("BEGIN; {sql}; UPDATE marker SET n = {number}; COMMIT")).await;
                    marked.push(Marked { number, before, after: session.head().await });
                }
            }
        }
    }

    /// Compares every table, row by row.
    pub(crate) async fn differences(&self, copy: &Copy, file: &Path) -> Vec<String> {
        match self {
            Self::Postgres(database) => {
                let target = match copy {
                    Copy::Postgres(copy) => compare::Target::Postgres(copy),
                    Copy::Mysql(copy) => compare::Target::Mysql(copy),
                    Copy::Sqlite => compare::Target::Sqlite(file),
                };
                let pairs = compare::source_tables(database, &target).await;
                compare::differences(database, target, &pairs).await
            }
            Self::Mysql(database) => {
                let target = match copy {
                    Copy::Postgres(copy) => mysql::compare::Target::Postgres(copy),
                    Copy::Mysql(copy) => mysql::compare::Target::Mysql(copy),
                    Copy::Sqlite => mysql::compare::Target::Sqlite(file),
                };
                let pairs = mysql::compare::source_tables(database, &target).await;
                mysql::compare::differences(database, target, &pairs).await
            }
        }
    }

    /// The configuration of a pipeline into `copy`: little memory, so that large transactions come in parts, and small slices.
    pub(crate) fn config(&self, copy: &Copy) -> String {
        let (source, tables) = match self {
            Self::Postgres(database) => {
                let (url, name) = (database.url(), database.name());
                // What a killed process left unread is a backlog for the next one: read in parts by one pair.
                let backlog = if matches!(copy, Copy::Sqlite) { ", backlog = \"64KiB\"" } else { "" };
                let slot = format!("slot = \"{name}\", publication = \"{name}\"{backlog}");
                (format!("{{ kind = \"postgres\", url = \"{url}\", {slot} }}"), "public.*".to_owned())
            }
            Self::Mysql(database) => {
                (format!("{{ kind = \"mysql\", url = \"{}\" }}", database.url()), format!("{}.*", database.name()))
            }
        };
        let target = match copy {
            Copy::Postgres(database) => format!("{{ kind = \"postgres\", url = \"{}\" }}", database.url()),
            Copy::Mysql(database) => format!("{{ kind = \"mysql\", url = \"{}\" }}", database.url()),
            Copy::Sqlite => "{ kind = \"sqlite\", path = \"target.db\" }".to_owned(),
        };
        format!(
            "[pipeline.walk]\nsource = {source}\ntarget = {target}\ntables = [\"{tables}\"]\nmemory = \"8MiB\"\n\
             slice_rows = 250\n"
        )
    }

    /// The name that a table has at the target.
    fn name_at(&self, copy: &Copy, table: &str) -> String {
        match (self, copy) {
            (Self::Mysql(database), Copy::Postgres(_)) => format!("{}.{table}", database.name()),
            (Self::Mysql(database), Copy::Sqlite) => format!("{}_{table}", database.name()),
            _ => table.to_owned(),
        }
    }

    /// Between any two runs the target holds a state that the source once had, and its position is that state's.
    pub(crate) async fn look(&self, copy: &Copy, file: &Path, marked: &[Marked], after: &str) {
        let accounts = self.name_at(copy, "accounts");
        let sum = copy.value(file, &format!("SELECT sum(balance) FROM {accounts}")).await;
        assert_eq!(sum, traffic::BALANCES, "the sum of balances: {after}");
        let marker = self.name_at(copy, "marker");
        let held: u32 = copy.value(file, &format!("SELECT n FROM {marker}")).await.parse().unwrap();
        let position = copy.position(file).await;
        let at = place(&position);
        if let Some(last) = marked.iter().find(|marked| marked.number == held) {
            let begun = last.before;
            assert!(at > begun, "{after}: the rows are ahead of the position {position}: transaction {held}");
        }
        let passed = marked.iter().filter(|marked| marked.after <= at).map(|marked| marked.number).max().unwrap_or(0);
        assert!(passed <= held, "{after}: the position {position} is ahead of the rows: {passed} > {held}");
    }
}

/// A connection that writes at the source.
enum Session {
    Postgres(tokio_postgres::Client),
    Mysql(mysql_async::Conn),
}

impl Session {
    async fn set_row_image(&mut self, image: &str) {
        if let Self::Mysql(client) = self {
            client.query_drop(format!("SET SESSION binlog_row_image = {image}")).await.unwrap();
        }
    }

    async fn run(&mut self, sql: &str) {
        match self {
            Self::Postgres(client) => {
                let sql = sql.replace("ANALYZE TABLE", "ANALYZE");
                client.batch_execute(&sql).await.unwrap_or_else(|error| panic!("{error:?} in: {sql}"));
            }
            Self::Mysql(client) => {
                for sql in sql.split(';') {
                    client.query_drop(sql).await.unwrap_or_else(|error| panic!("{error} in: {sql}"));
                }
            }
        }
    }

    /// Where the log stands.
    async fn head(&mut self) -> Place {
        match self {
            Self::Postgres(client) => {
                let row = client.query_one("SELECT pg_current_wal_insert_lsn()::text", &[]).await.unwrap();
                place(row.get(0))
            }
            Self::Mysql(client) => {
                // By its old name and by its new one.
                let mut status: Result<Option<mysql_async::Row>, _> = client.query_first("SHOW MASTER STATUS").await;
                if status.is_err() {
                    status = client.query_first("SHOW BINARY LOG STATUS").await;
                }
                let status = status.unwrap().unwrap();
                let (file, offset): (String, u64) = (status.get(0).unwrap(), status.get(1).unwrap());
                place(&format!("{file}:{offset}@"))
            }
        }
    }
}

impl Copy {
    pub(crate) fn new(kind: Kind) -> Self {
        match kind {
            Kind::Postgres => Self::Postgres(Postgres::shared().create_database("failpoints_copy")),
            Kind::Mysql => Self::Mysql(Mysql::shared().create_database("failpoints_copy")),
            Kind::Sqlite => Self::Sqlite,
        }
    }

    async fn value(&self, file: &Path, sql: &str) -> String {
        match self {
            Self::Postgres(database) => database.value(sql).await,
            Self::Mysql(database) => database.value(sql).await,
            Self::Sqlite => {
                let file = rusqlite::Connection::open(file).unwrap();
                file.busy_timeout(std::time::Duration::from_secs(10)).unwrap();
                let value: rusqlite::types::Value = file.query_row(sql, [], |row| row.get(0)).unwrap();
                match value {
                    rusqlite::types::Value::Integer(number) => number.to_string(),
                    rusqlite::types::Value::Text(text) => text,
                    other => panic!("{other:?} from: {sql}"),
                }
            }
        }
    }

    /// The pipeline's position, as the target holds it.
    async fn position(&self, file: &Path) -> String {
        let sql = match self {
            Self::Postgres(_) => "SELECT position FROM rowferry.positions".to_owned(),
            Self::Mysql(database) => {
                format!("SELECT position FROM rowferry.positions WHERE pipeline = 'walk@{}'", database.name())
            }
            Self::Sqlite => "SELECT position FROM rowferry_positions".to_owned(),
        };
        self.value(file, &sql).await
    }
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
