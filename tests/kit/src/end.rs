//! Either end of a pipeline in a test, whatever kind it is of: its part of the configuration, plain SQL there, and what
//! differs between two of them.

use crate::mysql::{query_text, try_connect};
use crate::{Database, Mysql, MysqlDatabase, Postgres, compare, mysql};
use mysql_async::Conn;
use rusqlite::{Connection, OpenFlags};
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio_postgres::{Client, NoTls, SimpleQueryMessage};

/// What an end is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// PostgreSQL.
    Postgres,
    /// SQLite; a target only.
    Sqlite,
    /// MySQL or MariaDB.
    Mysql,
}

/// A database that is written to or read.
#[derive(Debug)]
pub enum End {
    /// PostgreSQL.
    Postgres(Database),
    /// MySQL or MariaDB.
    Mysql(MysqlDatabase),
    /// An SQLite file; a target only.
    Sqlite(PathBuf),
}

/// Rows of texts, `None` for NULL.
pub type Rows = Vec<Vec<Option<String>>>;

/// A connection to an end.
pub enum Session {
    /// PostgreSQL.
    Postgres(Client),
    /// MySQL or MariaDB.
    Mysql(Conn),
    /// SQLite.
    Sqlite(Connection),
}

/// What a comparison of two ends came to.
#[derive(Debug)]
pub struct Compared {
    /// The source's tables.
    pub tables: Vec<String>,
    /// None if both ends are the same.
    pub differences: Vec<String>,
}

impl End {
    /// An empty database on a server that tests share, or `file`, which is not made yet.
    pub fn create(kind: Kind, prefix: &str, file: PathBuf) -> Self {
        match kind {
            Kind::Postgres => Self::Postgres(Postgres::shared().create_database(prefix)),
            Kind::Mysql => Self::Mysql(Mysql::shared().create_database(prefix)),
            Kind::Sqlite => Self::Sqlite(file),
        }
    }

    /// A database that is there already, or a path.
    pub fn at(place: &str) -> Self {
        match place.split_once("://") {
            Some(("postgres" | "postgresql", _)) => Self::Postgres(Database::at(place)),
            Some(("mysql" | "mariadb", _)) => Self::Mysql(MysqlDatabase::at(place)),
            Some(_) => panic!("neither postgres:// nor mysql:// nor a path: {place}"),
            None => Self::Sqlite(place.into()),
        }
    }

    /// Its URL, or its path.
    pub fn url(&self) -> String {
        match self {
            Self::Postgres(database) => database.url(),
            Self::Mysql(database) => database.url(),
            Self::Sqlite(path) => path.display().to_string(),
        }
    }

    /// What a configuration says of it as a target.
    pub fn as_target(&self) -> String {
        self.as_target_at(&self.url())
    }

    /// The same at another URL: of what stands before it.
    pub fn as_target_at(&self, url: &str) -> String {
        match self {
            Self::Postgres(_) => format!("{{ kind = \"postgres\", url = \"{url}\" }}"),
            Self::Mysql(_) => format!("{{ kind = \"mysql\", url = \"{url}\" }}"),
            Self::Sqlite(_) => format!("{{ kind = \"sqlite\", path = \"{url}\" }}"),
        }
    }

    /// The lines `source` and `tables` of a configuration with all its tables. `options` follow in `source`.
    pub fn as_source_at(&self, url: &str, options: &str) -> String {
        let (source, tables) = match self {
            Self::Postgres(database) => {
                let name = database.name();
                (format!("kind = \"postgres\", slot = \"{name}\", publication = \"{name}\""), "public.*".to_owned())
            }
            Self::Mysql(database) => ("kind = \"mysql\"".to_owned(), format!("{}.*", database.name())),
            Self::Sqlite(_) => panic!("SQLite is no source"),
        };
        format!("source = {{ {source}, url = \"{url}\"{options} }}\ntables = [\"{tables}\"]\n")
    }

    /// What a target's names stand under when this is their source: a schema or a prefix. Empty: the names are the same.
    pub fn names(&self) -> String {
        match self {
            Self::Mysql(database) => database.name().to_owned(),
            Self::Postgres(_) | Self::Sqlite(_) => String::new(),
        }
    }

    /// The name that a table of `source` has here.
    pub fn name_of(&self, source: &Self, table: &str) -> String {
        match (source.names(), self) {
            (names, Self::Postgres(_)) if !names.is_empty() => format!("{names}.{table}"),
            (names, Self::Sqlite(_)) if !names.is_empty() => format!("{names}_{table}"),
            _ => table.to_owned(),
        }
    }

    /// It is MySQL or MariaDB.
    pub fn is_mysql(&self) -> bool {
        matches!(self, Self::Mysql(_))
    }

    /// Connects. A file is only read.
    pub async fn open(&self) -> Result<Session, String> {
        match self {
            Self::Postgres(database) => {
                let connecting = tokio_postgres::connect(&database.url(), NoTls).await;
                let (client, connection) = connecting.map_err(|error| format!("{error:?}"))?;
                tokio::spawn(connection);
                Ok(Session::Postgres(client))
            }
            Self::Mysql(database) => {
                try_connect(&database.url()).await.map(Session::Mysql).map_err(|error| error.to_string())
            }
            Self::Sqlite(path) => {
                let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
                connect(path, flags).map(Session::Sqlite).map_err(|error| error.to_string())
            }
        }
    }

    /// Runs statements, each in its own transaction unless the text says otherwise; a file is written too.
    pub async fn execute(&self, sql: &str) {
        match self {
            Self::Postgres(database) => database.execute(sql).await,
            Self::Mysql(database) => database.execute(sql).await,
            Self::Sqlite(path) => {
                connect(path, OpenFlags::default())
                    .and_then(|file| file.execute_batch(sql))
                    .expect("write to the file");
            }
        }
    }

    /// The rows of a query.
    pub async fn query_text(&self, sql: &str) -> Rows {
        let rows = async { self.open().await?.run(sql).await };
        rows.await.unwrap_or_else(|error| panic!("{error} in: {sql}"))
    }

    /// The single value of a query; panics if there is none or it is NULL.
    pub async fn value(&self, sql: &str) -> String {
        let rows = self.query_text(sql).await;
        rows.into_iter().flatten().next().flatten().unwrap_or_else(|| panic!("no value from: {sql}"))
    }

    /// Compares all tables value by value.
    pub async fn compare(&self, target: &Self) -> Compared {
        match self {
            Self::Postgres(source) => {
                let target = match target {
                    Self::Postgres(target) => compare::Target::Postgres(target),
                    Self::Mysql(target) => compare::Target::Mysql(target),
                    Self::Sqlite(file) => compare::Target::Sqlite(file),
                };
                let pairs = compare::source_tables(source, &target).await;
                let tables = pairs.iter().map(|pair| pair.source.1.clone()).collect();
                Compared { tables, differences: compare::differences(source, target, &pairs).await }
            }
            Self::Mysql(source) => {
                let target = match target {
                    Self::Postgres(target) => mysql::compare::Target::Postgres(target),
                    Self::Mysql(target) => mysql::compare::Target::Mysql(target),
                    Self::Sqlite(file) => mysql::compare::Target::Sqlite(file),
                };
                let pairs = mysql::compare::source_tables(source, &target).await;
                let tables = pairs.iter().map(|pair| pair.source.clone()).collect();
                Compared { tables, differences: mysql::compare::differences(source, target, &pairs).await }
            }
            Self::Sqlite(_) => panic!("SQLite is no source"),
        }
    }
}

fn connect(path: &Path, flags: OpenFlags) -> rusqlite::Result<Connection> {
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(Duration::from_secs(30))?;
    Ok(connection)
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Postgres(_) => "PostgreSQL",
            Self::Mysql(_) => "MySQL",
            Self::Sqlite(_) => "SQLite",
        })
    }
}

impl Session {
    /// Runs one statement.
    pub async fn run(&mut self, sql: &str) -> Result<Rows, String> {
        match self {
            Self::Postgres(client) => {
                let messages = client.simple_query(sql).await.map_err(|error| format!("{error:?}"))?;
                let rows = messages.iter().filter_map(|message| match message {
                    SimpleQueryMessage::Row(row) => Some(row),
                    _ => None,
                });
                Ok(rows.map(|row| (0..row.len()).map(|at| row.get(at).map(str::to_owned)).collect()).collect())
            }
            Self::Mysql(conn) => query_text(conn, sql).await.map_err(|error| error.to_string()),
            Self::Sqlite(connection) => sqlite_rows(connection, sql).map_err(|error| error.to_string()),
        }
    }

    /// Begins a transaction that reads one state.
    pub async fn begin_reading(&mut self) -> Result<(), String> {
        let sql = match self {
            Self::Postgres(_) => "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
            Self::Mysql(_) => "START TRANSACTION WITH CONSISTENT SNAPSHOT",
            Self::Sqlite(_) => "BEGIN",
        };
        self.run(sql).await.map(drop)
    }
}

fn sqlite_rows(connection: &Connection, sql: &str) -> rusqlite::Result<Rows> {
    use rusqlite::types::ValueRef;
    let mut statement = connection.prepare(sql)?;
    let columns = statement.column_count();
    let text = |value: ValueRef<'_>| match value {
        ValueRef::Null => None,
        ValueRef::Integer(number) => Some(number.to_string()),
        ValueRef::Real(number) => Some(number.to_string()),
        ValueRef::Text(bytes) | ValueRef::Blob(bytes) => Some(String::from_utf8_lossy(bytes).into_owned()),
    };
    let mut rows = statement.query([])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.push((0..columns).map(|at| Ok(text(row.get_ref(at)?))).collect::<rusqlite::Result<_>>()?);
    }
    Ok(found)
}
