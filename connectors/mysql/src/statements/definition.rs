//! Definitions: of columns, and of the tables that `CREATE TABLE` makes.

use super::charset::{Charset, CharsetSpec};
use super::cursor::Cursor;
use super::tokens::Token;
use super::types::{self, ColumnType};
use crate::connection::Flavor;

/// A new table's columns and what holds for those that come later.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Definition {
    pub(crate) columns: Vec<ColumnDef>,
    pub(crate) charset: CharsetSpec,
}

/// A column as a statement defines it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ColumnDef {
    pub(crate) name: String,
    pub(crate) ty: ColumnType,
    pub(crate) charset: CharsetSpec,
    pub(crate) generated: Option<Generated>,
    /// `CHECK (json_valid(column))`, which is how MariaDB's dump writes JSON.
    pub(crate) checks_json: bool,
}

/// A generated column's values are in the log either way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Generated {
    Virtual,
    Stored,
}

/// What stands between the columns in a `CREATE TABLE`, or behind `ADD` in an `ALTER TABLE`, and is no column.
pub(super) fn is_index(cursor: &Cursor<'_>) -> bool {
    let named = ["INDEX", "KEY", "FULLTEXT", "SPATIAL", "UNIQUE", "PRIMARY", "FOREIGN", "CONSTRAINT", "CHECK"];
    cursor.starts_any(&named) || cursor.starts(&["VECTOR", "INDEX"]) || cursor.starts(&["VECTOR", "KEY"])
}

/// Reads what follows the table's name, without a `SELECT` or `LIKE`. `None` if it is not understood.
pub(super) fn table(cursor: &mut Cursor<'_>) -> Option<Definition> {
    let mut body = cursor.group()?;
    let mut columns = Vec::new();
    let mut period = false;
    while let Some(mut part) = body.part() {
        if part.starts(&["PERIOD", "FOR"]) {
            period |= part.starts(&["PERIOD", "FOR", "SYSTEM_TIME"]);
        } else if !is_index(&part) {
            columns.push(column(&mut part)?);
        }
    }
    let mut charset = CharsetSpec::default();
    while !cursor.is_at_end() {
        match charset.read(cursor) {
            Some(true) => {}
            Some(false) => return None,
            // Hidden columns come with it, unless they are defined and a period names them.
            None if cursor.starts(&["SYSTEM", "VERSIONING"]) && !period => return None,
            None if is_query(cursor) => return None,
            None => cursor.skip_one(),
        }
    }
    Some(Definition { columns, charset })
}

/// Columns of a query would be added to those that are defined.
pub(super) fn is_query(cursor: &Cursor<'_>) -> bool {
    let mut inside = cursor.clone();
    // More parentheses than this around a query are nobody's.
    for _ in 0..8 {
        let Some(group) = inside.group() else { break };
        inside = group;
    }
    inside.starts_any(&["SELECT", "AS", "TABLE", "VALUES"])
        || inside.starts(&["WITH", "RECURSIVE"])
        // An option's value stands for itself.
        || inside.starts_any(&["IGNORE", "REPLACE"])
}

/// Reads `name type attributes`. The rest of the cursor is the column's but for a position, and for partitions.
pub(super) fn column(cursor: &mut Cursor<'_>) -> Option<ColumnDef> {
    let name = cursor.column()?;
    let mut charset = CharsetSpec::default();
    let serial = cursor.starts(&["SERIAL"]);
    let ty = types::read(cursor, &mut charset);
    let mut column = ColumnDef { name, ty, charset, generated: None, checks_json: false };
    while !cursor.is_at_end() && !is_behind_column(cursor) {
        attribute(cursor, &mut column, serial)?;
    }
    Some(column)
}

/// What may follow a column in an `ALTER TABLE`.
fn is_behind_column(cursor: &Cursor<'_>) -> bool {
    cursor.starts_any(&["FIRST", "AFTER"]) || cursor.starts(&["PARTITION", "BY"]) || cursor.starts(&["REMOVE"])
}

fn attribute(cursor: &mut Cursor<'_>, column: &mut ColumnDef, is_serial: bool) -> Option<()> {
    if cursor.eat("DEFAULT") {
        // `SERIAL DEFAULT VALUE` is an attribute of whole numbers, and MariaDB has `DEFAULT NEXT VALUE FOR sequence`.
        if !cursor.eat_all(&["NEXT", "VALUE", "FOR"]) {
            cursor.skip_one();
        }
    } else if cursor.eat_any(&["COMMENT", "REFERENCES", "COLUMN_FORMAT", "STORAGE"]) {
        cursor.skip_one();
    } else if cursor.eat("CONSTRAINT") {
        if !cursor.starts(&["CHECK"]) {
            cursor.skip_one();
        }
    } else if cursor.eat("CHECK") {
        column.checks_json |= cursor.group().is_some_and(|group| is_json_check(group, &column.name));
    } else if cursor.eat("AS") {
        generated(cursor, column);
    } else if let Some(understood) = column.charset.read(cursor) {
        return understood.then_some(());
    } else if cursor.eat("ASCII") {
        column.charset.charset = Some("latin1".to_owned());
    } else if cursor.eat("UNICODE") {
        column.charset.charset = Some("ucs2".to_owned());
    } else if cursor.eat("BYTE") {
        column.charset.charset = Some("binary".to_owned());
    } else if cursor.eat("BINARY") {
        column.charset.bin = true;
    } else if cursor.eat("SERIAL") && !is_serial {
        cursor.eat_all(&["DEFAULT", "VALUE"]);
    } else {
        cursor.skip_one();
    }
    Some(())
}

/// `(expression) [VIRTUAL | STORED | PERSISTENT]`, or `ROW START` and `ROW END`, which the log carries as plain columns.
fn generated(cursor: &mut Cursor<'_>, column: &mut ColumnDef) {
    if cursor.group().is_none() {
        cursor.eat("ROW");
        cursor.skip_one();
        return;
    }
    column.generated =
        Some(if cursor.eat_any(&["STORED", "PERSISTENT"]) { Generated::Stored } else { Generated::Virtual });
}

/// Just `json_valid(name)`, of this column.
fn is_json_check(mut check: Cursor<'_>, name: &str) -> bool {
    if !check.eat("JSON_VALID") {
        return false;
    }
    let inside = check.group().and_then(|mut inside| inside.column().filter(|_| inside.is_at_end()));
    check.is_at_end() && inside.is_some_and(|inside| same_name(&inside, name))
}

/// Columns' names differ by more than case.
pub(crate) fn same_name(left: &str, right: &str) -> bool {
    left == right || left.to_lowercase() == right.to_lowercase()
}

impl ColumnDef {
    /// The native text in a table of these defaults. `convert` is what the same statement converts the whole table to.
    /// `None` if it cannot be told.
    pub(super) fn native(
        &self,
        default: Option<&Charset>,
        of_database: Option<&Charset>,
        convert: Option<&Charset>,
        flavor: Flavor,
    ) -> Option<String> {
        let checks_json = self.checks_json && self.ty == (ColumnType::Text { prefix: "long" });
        if flavor == Flavor::Mariadb && (checks_json || self.ty == ColumnType::Plain("json".to_owned())) {
            // It is text with a check, and follows a conversion.
            let stays = convert.is_none_or(|convert| convert.name == "utf8mb4");
            return stays.then(|| "json".to_owned());
        }
        let said = self.charset.resolve(default, of_database);
        // In a table that is converted by the same statement, servers differ in what `BINARY` alone means, and MySQL
        // makes a TINYTEXT of a new TEXT.
        let is_of_default = self.charset.bin && self.charset.charset.is_none() && self.charset.collation.is_none();
        if convert.is_some() && (is_of_default || self.ty.is_long()) {
            return None;
        }
        let charset = match (said, convert) {
            (Some(said), Some(convert)) if !said.is_binary() => Some(convert.clone()),
            (said, _) => said,
        };
        self.ty.native(charset.as_ref())
    }
}

/// Skips a table's option: `word [=] value`, or a word alone. `None` if it does not look like one.
pub(super) fn skip_option(cursor: &mut Cursor<'_>) -> Option<()> {
    let words = ["DATA", "INDEX", "DEFAULT"];
    cursor.eat_any(&words);
    let Some(Token::Word(_) | Token::Name(_)) = cursor.next() else { return None };
    cursor.eat_symbol('=');
    if !cursor.starts_symbol(',') && !cursor.is_at_end() {
        cursor.skip_one();
    }
    Some(())
}
