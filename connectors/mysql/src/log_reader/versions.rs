//! Rows of tables with system versioning (MariaDB knowledge base, "System-Versioned Tables"): the log has the history too.
//!
//! A row that holds now ends at the largest moment there is. One that ends earlier is history: it is no row of the table,
//! and a row that becomes history is gone.

use crate::binlog::RowsKind;
use crate::catalog::query_text;
use crate::connection::{Server, quote_text};
use crate::kind::Kind;
use mysql_async::Conn;
use rowferry_api::{Cell, Error, ErrorKind, Result, Row, TableName};

/// The largest moments: of 32 bits with a sign, and without one from MariaDB 11.5 on.
const NEVER: [&[u8]; 2] = [b"2038-01-19 03:14:07", b"2106-02-07 06:28:15"];

/// The place of the column that says when a row ends; `None` for a table without versions.
pub(super) async fn end_of_rows(
    conn: &mut Conn,
    server: Server,
    table: &TableName,
    columns: &[(String, Kind)],
) -> Result<Option<usize>> {
    if !server.is_mariadb(10, 3) {
        return Ok(None);
    }
    let (schema, name) = (quote_text(&table.schema), quote_text(&table.name));
    let sql = format!(
        "SELECT t.TABLE_TYPE, c.COLUMN_NAME FROM information_schema.TABLES t LEFT JOIN information_schema.COLUMNS c \
         ON c.TABLE_SCHEMA = t.TABLE_SCHEMA AND c.TABLE_NAME = t.TABLE_NAME AND c.GENERATION_EXPRESSION = 'ROW END' \
         WHERE t.TABLE_SCHEMA = {schema} AND t.TABLE_NAME = {name}"
    );
    let rows = query_text(conn, "ask whether a table has versions", &sql).await?;
    let Some(mut row) = rows.into_iter().next().map(Vec::into_iter) else { return Ok(None) };
    if row.next().flatten().as_deref() != Some("SYSTEM VERSIONED") {
        return Ok(None);
    }
    let named = row.next().flatten().unwrap_or_else(|| "row_end".into());
    let by_name = columns.iter().position(|(column, _)| column.eq_ignore_ascii_case(&named));
    // A log without names has the two hidden moments at its end.
    let last = || matches!(columns.last(), Some((_, Kind::Timestamp { digits: 6 }))).then(|| columns.len() - 1);
    by_name.or_else(last).map(Some).ok_or_else(|| {
        Error::new(ErrorKind::Schema, format!("read rows of {table}: the log does not say which of its versions hold"))
    })
}

type Images = (RowsKind, Option<Row>, Option<Row>);

/// What an event means for the rows that hold now; `None`: nothing. The cell `end` says how long a row holds, and the first
/// `cells` cells are the table's.
pub(super) fn current(
    kind: RowsKind,
    before: Option<Row>,
    after: Option<Row>,
    end: usize,
    cells: usize,
) -> Result<Option<Images>> {
    let holds = |row: &Option<Row>| row.as_ref().is_some_and(|row| holds(row, end));
    let kind = match kind {
        RowsKind::Insert if holds(&after) => RowsKind::Insert,
        RowsKind::Delete if holds(&before) => RowsKind::Delete,
        RowsKind::Update => match (holds(&before), holds(&after)) {
            (true, true) => RowsKind::Update,
            (true, false) => RowsKind::Delete,
            (false, true) => RowsKind::Insert,
            (false, false) => return Ok(None),
        },
        RowsKind::Insert | RowsKind::Delete => return Ok(None),
    };
    Ok(Some((kind, before.map(|row| own(row, cells)).transpose()?, after.map(|row| own(row, cells)).transpose()?)))
}

/// A row whose end the log left out has not changed it.
fn holds(row: &Row, end: usize) -> bool {
    match row.cell(end) {
        Some(Cell::Text(end)) => NEVER.iter().any(|never| end.starts_with(never)),
        _ => true,
    }
}

fn own(row: Row, cells: usize) -> Result<Row> {
    let mut bytes = row.as_bytes().clone();
    Row::split_from(&mut bytes, cells)
        .map_err(|error| Error::new(ErrorKind::Protocol, "read a row with versions").because(error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rowferry_api::RowBuilder;

    fn row(value: &str, end: &str) -> Option<Row> {
        let mut builder = RowBuilder::new();
        builder.push(Cell::Text(value.as_bytes()));
        builder.push(Cell::Text(end.as_bytes()));
        Some(builder.finish())
    }

    const NOW: &str = "2038-01-19 03:14:07.999999+00";
    const PAST: &str = "2026-01-01 00:00:00+00";

    fn check(kind: RowsKind, before: Option<Row>, after: Option<Row>, expected: Option<RowsKind>) {
        let images = current(kind, before, after, 1, 1).unwrap();
        assert_eq!(images.as_ref().map(|(kind, ..)| *kind), expected);
        let rows = images.into_iter().flat_map(|(_, before, after)| [before, after]).flatten();
        rows.for_each(|row| assert_eq!(row.cells().count(), 1));
    }

    #[test]
    fn history_is_left_out_and_what_becomes_history_is_gone() {
        check(RowsKind::Insert, None, row("a", NOW), Some(RowsKind::Insert));
        check(RowsKind::Insert, None, row("a", PAST), None);
        check(RowsKind::Update, row("a", NOW), row("b", NOW), Some(RowsKind::Update));
        check(RowsKind::Update, row("a", NOW), row("a", PAST), Some(RowsKind::Delete));
        check(RowsKind::Delete, row("a", PAST), None, None);
        check(RowsKind::Delete, row("a", NOW), None, Some(RowsKind::Delete));
    }
}
