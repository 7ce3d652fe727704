//! A connection that writes, and what its statements come to.
//!
//! A warning is an error here: where a server warns it has stored something else than it was given. The few that say
//! nothing of values are let pass.

use crate::connection::{ConnectOptions, Flavor, Server, from_code, from_mysql};
use bytes::Bytes;
use futures_util::StreamExt;
use mysql_async::Conn;
use mysql_async::prelude::{FromRow, Queryable};
use rowferry_api::{Error, ErrorKind, Result};

/// Values are refused rather than cut; what a MySQL source may hold (zero dates, a zero in AUTO_INCREMENT) passes. Rows are
/// written table by table, so foreign keys neither refuse nor act.
const SETTINGS: &str = "SET SESSION sql_mode = 'STRICT_ALL_TABLES,NO_AUTO_VALUE_ON_ZERO,ALLOW_INVALID_DATES,\
     NO_ENGINE_SUBSTITUTION,ERROR_FOR_DIVISION_BY_ZERO', foreign_key_checks = 0, unique_checks = 1";

/// What decides how rows are written.
const SERVER: &str = "SHOW VARIABLES WHERE Variable_name IN \
     ('log_bin', 'binlog_format', 'local_infile', 'wsrep_load_data_splitting', 'max_error_count')";

const ASK_FOR_LINES: &str = "LOAD DATA LOCAL INFILE 'rowferry' INTO TABLE rowferry.writers (pipeline)";

/// Statements of rows are this long at most, where the server takes that: longer ones are no faster.
const STATEMENT_BYTES: usize = 512 << 10;

/// Warnings that say nothing of values: something is there already or gone already, a statement that a log of statements would
/// not carry, syntax or a character set that will go in later versions, an index that is there twice.
const HARMLESS: [u16; 12] = [4079, 1007, 1050, 1051, 1592, 1287, 1681, 3719, 3778, 1831, 3135, 3090];

/// Bytes of lines in a packet, where the server takes that.
const PIECE_BYTES: usize = 256 << 10;

/// A connection that writes.
pub(super) struct Session {
    conn: Conn,
    pub(super) server: Server,
    /// The longest statement that the server takes.
    pub(super) max_packet_bytes: usize,
    /// What a temporary table holds does not go into the server's log.
    pub(super) stages_aside: bool,
    /// The server takes lines of fields from us, and logs what became of them.
    pub(super) takes_lines: bool,
    /// A statement was sent and its end not seen, or the connection is gone.
    broken: bool,
}

impl Session {
    pub(super) async fn open(options: &ConnectOptions) -> Result<Self> {
        let (conn, server) = options.connect_for_writing().await?;
        let mut session =
            Self { conn, server, max_packet_bytes: 1 << 20, stages_aside: true, takes_lines: false, broken: false };
        let context = "set up a session at the target";
        // Deprecated parts of sql_mode bring warnings of their own.
        session.conn.query_drop(SETTINGS).await.map_err(|error| from_mysql(context, error))?;
        let limit: Option<u64> = session.first(context, "SELECT @@max_allowed_packet").await?;
        session.max_packet_bytes = usize::try_from(limit.unwrap_or(1 << 20)).unwrap_or(1 << 30);
        session.suit_the_log(context).await?;
        Ok(session)
    }

    /// What the server's own log can carry.
    async fn suit_the_log(&mut self, context: &str) -> Result<()> {
        let variables: Vec<(String, String)> = self.query(context, SERVER).await?;
        let is = |name: &str, value: &str| {
            variables.iter().any(|(is, has)| is.eq_ignore_ascii_case(name) && has.eq_ignore_ascii_case(value))
        };
        let logs = is("log_bin", "ON");
        self.stages_aside = !logs || is("binlog_format", "ROW");
        // A cluster may commit in the middle of a long one, and a server may not say what it warns of.
        let holds = !is("wsrep_load_data_splitting", "ON") && !is("max_error_count", "0");
        self.takes_lines = self.stages_aside && is("local_infile", "ON") && holds;
        if logs && is("binlog_format", "STATEMENT") {
            return Ok(());
        }
        // Writers side by side do not lock the gaps between their rows.
        self.run(context, "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED").await.map(drop)
    }

    /// Opens one for rows, and asks whether lines are taken all the way, with none of them: what stands between may refuse them.
    pub(super) async fn open_for_rows(options: &ConnectOptions) -> Result<Self> {
        let mut session = Self::open(options).await?;
        if !session.takes_lines {
            return Ok(session);
        }
        let (context, statement) = ("ask whether the target takes lines of fields", ASK_FOR_LINES);
        if let Err(error) = session.load(context, statement, Vec::new(), 0).await {
            tracing::debug!(%error, "rows go as lists of literals");
            if !session.is_usable() {
                session = Self::open(options).await?;
            }
            session.takes_lines = false;
        }
        Ok(session)
    }

    /// Whether the connection can take another statement.
    pub(super) fn is_usable(&self) -> bool {
        !self.broken && !self.conn.is_disconnected()
    }

    /// Bytes up to which rows are gathered into one statement.
    pub(super) fn statement_bytes(&self) -> usize {
        STATEMENT_BYTES.min(self.max_packet_bytes / 2)
    }

    /// Runs one statement; returns how many rows it wrote (of an UPDATE: found).
    pub(super) async fn run(&mut self, context: &str, statement: impl AsRef<[u8]>) -> Result<u64> {
        let statement = statement.as_ref();
        self.refuse_too_long(context, statement)?;
        self.broken = true;
        let result = self.conn.query_drop(statement).await;
        self.settle(context, result)?;
        let affected = self.conn.affected_rows();
        if self.conn.get_warnings() > 0 {
            self.refuse_warnings(context).await?;
        }
        Ok(affected)
    }

    /// Runs a LOAD DATA LOCAL whose file is these lines, so many of them. What the server would have refused elsewhere is a warning here, or
    /// a row that is left out, so an error too.
    pub(super) async fn load(&mut self, context: &str, statement: &str, lines: Vec<u8>, rows: u64) -> Result<()> {
        let (lines, most) = (Bytes::from(lines), PIECE_BYTES.min(self.max_packet_bytes / 2));
        // Each piece is a packet of its own; where they end means nothing.
        let pieces =
            (0..lines.len()).step_by(most).map(move |from| Ok(lines.slice(from..lines.len().min(from + most))));
        self.conn.set_infile_handler(async move { Ok(futures_util::stream::iter(pieces).boxed()) });
        let stored = self.run(context, statement).await?;
        if stored == rows {
            return Ok(());
        }
        let what = format!("{context}: the server has left out {} of {rows} rows", rows.saturating_sub(stored));
        Err(Error::new(ErrorKind::Unique, what))
    }

    /// Runs several statements that are sent as one; returns of each how many rows it wrote.
    pub(super) async fn run_each(&mut self, context: &str, statements: &[u8]) -> Result<Vec<u64>> {
        self.refuse_too_long(context, statements)?;
        self.broken = true;
        let result = each(&mut self.conn, statements).await;
        let (counts, warnings) = self.settle(context, result)?;
        if warnings > 0 {
            let what = format!("{context}: the server would have stored something else than it was given");
            return Err(Error::new(ErrorKind::BadRow, what));
        }
        Ok(counts)
    }

    /// All rows of a query.
    pub(super) async fn query<R: FromRow + Send + 'static>(
        &mut self,
        context: &str,
        query: impl AsRef<[u8]>,
    ) -> Result<Vec<R>> {
        self.broken = true;
        let result = self.conn.query(query.as_ref()).await;
        self.settle(context, result)
    }

    /// The first row of a query.
    pub(super) async fn first<R: FromRow + Send + 'static>(
        &mut self,
        context: &str,
        query: impl AsRef<[u8]>,
    ) -> Result<Option<R>> {
        Ok(self.query(context, query).await?.into_iter().next())
    }

    /// What a statement's end says of the connection.
    fn settle<T>(&mut self, context: &str, result: mysql_async::Result<T>) -> Result<T> {
        // The server's own word leaves the connection in order; anything else does not.
        self.broken = matches!(&result, Err(error) if !matches!(error, mysql_async::Error::Server(_)));
        result.map_err(|error| from_mysql(context, error))
    }

    fn refuse_too_long(&self, context: &str, statement: &[u8]) -> Result<()> {
        // The server counts the packet's first byte too.
        if statement.len() < self.max_packet_bytes {
            return Ok(());
        }
        let what = format!(
            "{context}: a row takes a statement of {} bytes, and the server takes {} (max_allowed_packet)",
            statement.len(),
            self.max_packet_bytes
        );
        Err(Error::new(ErrorKind::BadRow, what)
            .hint("SET GLOBAL max_allowed_packet = 1073741824; and the same in the server's configuration."))
    }

    async fn refuse_warnings(&mut self, context: &str) -> Result<()> {
        let warnings: Vec<(String, u16, String)> = self.query(context, "SHOW WARNINGS").await?;
        match warnings.into_iter().find(|(_, code, _)| !HARMLESS.contains(code)) {
            Some((_, code, message)) => Err(match from_code(context, code, &message) {
                twice if twice.kind() == ErrorKind::Unique => twice,
                _ => Error::new(ErrorKind::BadRow, format!("{context}: the server warns: {message} ({code})")),
            }),
            None => Ok(()),
        }
    }

    /// The server is MariaDB.
    pub(super) fn is_mariadb(&self) -> bool {
        self.server.flavor == Flavor::Mariadb
    }
}

/// Of each statement how many rows it wrote; and how many warnings there were.
async fn each(conn: &mut Conn, statements: &[u8]) -> mysql_async::Result<(Vec<u64>, u64)> {
    let mut result = conn.query_iter(statements).await?;
    let (mut counts, mut warnings) = (Vec::new(), 0);
    loop {
        counts.push(result.affected_rows());
        warnings += u64::from(result.warnings());
        if result.is_empty() {
            return Ok((counts, warnings));
        }
        result.next().await?;
    }
}
