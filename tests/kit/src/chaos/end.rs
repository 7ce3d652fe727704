//! Either end of the workload, and plain SQL there.

use super::tables;
use crate::mysql::{query_text, try_connect};
use crate::{Database, MysqlDatabase};
use mysql_async::Conn;
use rusqlite::{Connection, OpenFlags};
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;
use tokio_postgres::{Client, NoTls, SimpleQueryMessage};

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
pub(super) type Rows = Vec<Vec<Option<String>>>;

/// A connection.
pub(super) enum Session {
    Postgres(Client),
    Mysql(Conn),
    Sqlite(Connection),
}

impl End {
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

    /// What a target's names stand under when this is their source: a schema or a prefix. Empty: the names are the same.
    pub(super) fn names(&self) -> String {
        match self {
            Self::Mysql(database) => database.name().to_owned(),
            Self::Postgres(_) | Self::Sqlite(_) => String::new(),
        }
    }

    pub(super) fn is_mysql(&self) -> bool {
        matches!(self, Self::Mysql(_))
    }

    /// A session in which the workload's tables have their own names, whatever `names` they stand under.
    pub(super) async fn open(&self, names: &str) -> Result<Session, String> {
        match self {
            Self::Postgres(database) => {
                let connecting = tokio_postgres::connect(&database.url(), NoTls).await;
                let (client, connection) = connecting.map_err(|error| format!("{error:?}"))?;
                tokio::spawn(connection);
                if !names.is_empty() {
                    let path = format!("SET search_path = {names}");
                    client.batch_execute(&path).await.map_err(|error| format!("{error:?}"))?;
                }
                Ok(Session::Postgres(client))
            }
            Self::Mysql(database) => {
                try_connect(&database.url()).await.map(Session::Mysql).map_err(|error| error.to_string())
            }
            Self::Sqlite(path) => {
                let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
                let open = || {
                    let connection = Connection::open_with_flags(path, flags)?;
                    connection.busy_timeout(Duration::from_secs(10))?;
                    if !names.is_empty() {
                        for table in tables::NAMES {
                            let view = format!("CREATE TEMP VIEW {table} AS SELECT * FROM {names}_{table}");
                            connection.execute_batch(&view)?;
                        }
                    }
                    Ok::<_, rusqlite::Error>(connection)
                };
                open().map(Session::Sqlite).map_err(|error| error.to_string())
            }
        }
    }
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
    pub(super) async fn run(&mut self, sql: &str) -> Result<Rows, String> {
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
    pub(super) async fn begin_reading(&mut self) -> Result<(), String> {
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
