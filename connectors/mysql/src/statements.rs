//! Follows DDL through the log: reads the statements of Query events, and keeps the forms that tables have by them.
//!
//! Pure. Needed where the log names no columns (`binlog_row_metadata` of MINIMAL or NO_LOG, MySQL before 8.0). It never
//! guesses: what is not understood and may touch a table's columns makes that table's form unknown. It does not check
//! statements, since the server ran them, and it does not evaluate them: rows that a statement changed are the log's to tell.
//!
//! Facts of the log that it rests on, seen on MariaDB 10.11 and MySQL 9.7:
//! - Virtual and stored generated columns are in TABLE_MAP and in row images like any other column: they count. So do
//!   invisible ones; a generated invisible primary key stands in the logged `CREATE TABLE`.
//! - MariaDB has hidden columns at the end of TABLE_MAP that neither its catalog nor a form has: a BIGINT for each
//!   `UNIQUE` over a whole TEXT or BLOB, and two TIMESTAMP(6) for system versioning without a period. MySQL's hidden
//!   columns of indexes over expressions are not in the log.
//! - `CREATE TABLE .. SELECT` stands in the log of rows as a `CREATE TABLE` with its columns, on MySQL inside a
//!   transaction and with `START TRANSACTION` at its end.
//! - Executable comments that the server did not run are plain comments in the log, so all that is executable was run.
//! - `IF NOT EXISTS` is logged where the table was there, too. `SET STATEMENT .. FOR` is logged whole.

mod alter;
mod charset;
mod cursor;
mod ddl;
mod definition;
mod dml;
mod fold;
mod forms;
mod reform;
mod tokens;
mod types;

#[cfg(test)]
mod against_server;

pub(crate) use alter::AlterAction;
pub(crate) use charset::{Charset, CharsetSpec};
pub(crate) use definition::{Definition, Generated, same_name};
pub(crate) use forms::{Form, Forms, LogColumn};

use cursor::Cursor;
use rowferry_api::TableName;
use tokens::{Token, Tokens};

/// What a Query event's statement is to the log's reader.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Statement {
    Begin,
    Commit,
    /// The whole transaction.
    Rollback,
    Savepoint(String),
    /// Takes back what came after the savepoint; the log holds both.
    RollbackTo(String),
    Release(String),
    Xa(XaVerb, Xid),
    /// Rows changed by a statement instead of row events. The tables are a best effort.
    Dml {
        kind: DmlKind,
        tables: Vec<TableName>,
    },
    Ddl(Vec<Change>),
    /// Nothing that changes rows or forms.
    Other,
}

/// What is done to an XA transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum XaVerb {
    Start,
    End,
    Prepare,
    Commit { one_phase: bool },
    Rollback,
}

/// An XA transaction's name as the log spells it, without blanks: `X'6131',X'',1`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Xid(pub(crate) String);

/// How a statement changes rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DmlKind {
    Insert,
    Update,
    Delete,
    Replace,
    Load,
}

/// What a DDL statement does. Temporary tables are left out: they shadow others within one session only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Change {
    Create {
        table: TableName,
        if_not_exists: bool,
        or_replace: bool,
        body: Body,
    },
    Alter {
        table: TableName,
        actions: Vec<AlterAction>,
    },
    /// One after the other.
    Rename(Vec<(TableName, TableName)>),
    Drop(Vec<TableName>),
    Truncate(TableName),
    CreateDatabase {
        name: String,
        if_not_exists: bool,
        or_replace: bool,
        charset: CharsetSpec,
    },
    AlterDatabase {
        name: String,
        charset: CharsetSpec,
    },
    DropDatabase(String),
    /// Indexes, and so keys, may have changed.
    Indexes(TableName),
    /// The statement has something to do with this table, and is not understood.
    Unclear(TableName),
}

/// Where a new table's columns come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Body {
    Columns(Definition),
    Like(TableName),
    /// Not understood, or the columns of a query.
    Unclear,
}

/// The bits of `sql_mode` that decide how a statement reads; the numbers are those of a Query event's status variables.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct SqlMode(pub(crate) u64);

impl SqlMode {
    pub(crate) const REAL_AS_FLOAT: Self = Self(1);
    pub(crate) const ANSI_QUOTES: Self = Self(1 << 2);
    /// MariaDB's other dialect. Its types have other meanings, so no column is read under it.
    pub(crate) const ORACLE: Self = Self(1 << 9);
    pub(crate) const NO_BACKSLASH_ESCAPES: Self = Self(1 << 20);
    /// STRICT_TRANS_TABLES and STRICT_ALL_TABLES.
    const STRICT: Self = Self(3 << 21);

    /// Values that a column cannot hold are changed with a warning.
    pub(crate) fn changes_values(self) -> bool {
        !self.has(Self::STRICT)
    }

    fn has(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }
}

/// More words than this are not looked at to tell what a statement is that is no DDL: it may hold megabytes of values.
const MAX_TOKENS_BESIDES_DDL: usize = 256;

/// Reads a statement as it stands in a Query event. Never fails: what is not known is [`Statement::Other`], or
/// [`Change::Unclear`] where it names a table whose form it may change.
pub(crate) fn parse(statement: &str, default_schema: &str, mode: SqlMode) -> Statement {
    let mut head = Tokens::new(statement, mode);
    let first = head.next();
    let is_ddl = matches!(&first, Some(Token::Word(word))
        if ["ALTER", "CREATE", "DROP", "RENAME", "TRUNCATE", "SET"].iter().any(|ddl| word.eq_ignore_ascii_case(ddl)));
    let limit = if is_ddl { usize::MAX } else { MAX_TOKENS_BESIDES_DDL };
    let tokens: Vec<Token<'_>> = first.into_iter().chain(head).take(limit).collect();
    let mut cursor = Cursor::new(&tokens, default_schema, mode);
    skip_set_statement(&mut cursor);
    transaction(&mut cursor).or_else(|| dml::parse(&mut cursor)).unwrap_or_else(|| {
        let changes = ddl::parse(&mut cursor);
        if changes.is_empty() { Statement::Other } else { Statement::Ddl(changes) }
    })
}

/// MariaDB's `SET STATEMENT variable = value, .. FOR statement` is logged whole.
fn skip_set_statement(cursor: &mut Cursor<'_>) {
    if cursor.starts(&["SET", "STATEMENT"]) {
        while !cursor.is_at_end() && !cursor.eat("FOR") {
            cursor.skip_one();
        }
    }
}

fn transaction(cursor: &mut Cursor<'_>) -> Option<Statement> {
    let start = cursor.clone();
    let found = if cursor.eat("BEGIN") || cursor.eat_all(&["START", "TRANSACTION"]) {
        Some(Statement::Begin)
    } else if cursor.eat("COMMIT") {
        Some(Statement::Commit)
    } else if cursor.eat("ROLLBACK") {
        cursor.eat("WORK");
        if cursor.eat("TO") {
            cursor.eat("SAVEPOINT");
            cursor.name().map(Statement::RollbackTo)
        } else {
            Some(Statement::Rollback)
        }
    } else if cursor.eat("SAVEPOINT") {
        cursor.name().map(Statement::Savepoint)
    } else if cursor.eat_all(&["RELEASE", "SAVEPOINT"]) {
        cursor.name().map(Statement::Release)
    } else if cursor.eat("XA") {
        xa(cursor)
    } else {
        None
    };
    if found.is_none() {
        *cursor = start;
    }
    found
}

fn xa(cursor: &mut Cursor<'_>) -> Option<Statement> {
    let verb = match () {
        () if cursor.eat("START") || cursor.eat("BEGIN") => XaVerb::Start,
        () if cursor.eat("END") => XaVerb::End,
        () if cursor.eat("PREPARE") => XaVerb::Prepare,
        () if cursor.eat("COMMIT") => XaVerb::Commit { one_phase: false },
        () if cursor.eat("ROLLBACK") => XaVerb::Rollback,
        () => return None,
    };
    let mut xid = String::new();
    let mut one_phase = false;
    while let Some(token) = cursor.next() {
        match token {
            Token::Word(word) if word.eq_ignore_ascii_case("ONE") => one_phase = cursor.eat("PHASE"),
            // JOIN, RESUME, SUSPEND.
            Token::Word(word) if word.len() > 1 && word.bytes().all(|byte| byte.is_ascii_alphabetic()) => break,
            Token::Word(word) => xid.push_str(word),
            Token::Text(text) => {
                xid.push('\'');
                xid.push_str(text);
                xid.push('\'');
            }
            Token::Symbol(symbol) => xid.push(*symbol),
            Token::Name(name) => xid.push_str(name),
        }
    }
    let verb = if let XaVerb::Commit { .. } = verb { XaVerb::Commit { one_phase } } else { verb };
    Some(Statement::Xa(verb, Xid(xid)))
}

#[cfg(test)]
mod tests;
