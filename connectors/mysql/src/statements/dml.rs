//! Statements that change rows: which kind, and the tables that they name first.

use super::cursor::Cursor;
use super::{DmlKind, Statement};
use rowferry_api::TableName;

/// `None` if it is no such statement.
pub(super) fn parse(cursor: &mut Cursor<'_>) -> Option<Statement> {
    let mut ahead = cursor.clone();
    if ahead.eat("WITH") {
        while !ahead.is_at_end() && !ahead.starts_any(&["UPDATE", "DELETE", "INSERT", "REPLACE", "SELECT"]) {
            ahead.skip_one();
        }
    }
    let kind = match () {
        () if ahead.eat("INSERT") => DmlKind::Insert,
        () if ahead.eat("REPLACE") => DmlKind::Replace,
        () if ahead.eat("UPDATE") => DmlKind::Update,
        () if ahead.eat("DELETE") => DmlKind::Delete,
        () if ahead.eat_all(&["LOAD", "DATA"]) || ahead.eat_all(&["LOAD", "XML"]) => DmlKind::Load,
        () => return None,
    };
    while ahead.eat_any(&["LOW_PRIORITY", "HIGH_PRIORITY", "DELAYED", "CONCURRENT", "QUICK", "IGNORE"]) {}
    let tables = match kind {
        DmlKind::Insert | DmlKind::Replace => {
            ahead.eat("INTO");
            ahead.table().into_iter().collect()
        }
        DmlKind::Load => {
            while !ahead.is_at_end() && !ahead.eat_all(&["INTO", "TABLE"]) {
                ahead.skip_one();
            }
            ahead.table().into_iter().collect()
        }
        DmlKind::Update => joined(&mut ahead, &["SET"]),
        DmlKind::Delete => {
            while !ahead.is_at_end() && !ahead.eat_any(&["FROM", "USING"]) {
                ahead.skip_one();
            }
            joined(&mut ahead, &["WHERE", "ORDER", "LIMIT", "RETURNING"])
        }
    };
    Some(Statement::Dml { kind, tables })
}

/// The tables of a list or join, up to one of these words.
fn joined(cursor: &mut Cursor<'_>, ends: &[&str]) -> Vec<TableName> {
    let mut tables: Vec<TableName> = cursor.table().into_iter().collect();
    while !cursor.is_at_end() && !cursor.starts_any(ends) {
        if cursor.eat_any(&["JOIN", "STRAIGHT_JOIN", "USING"]) || cursor.eat_symbol(',') {
            tables.extend(cursor.table());
        } else {
            cursor.skip_one();
        }
    }
    tables
}
