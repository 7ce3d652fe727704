//! Statements that create, alter, rename and drop tables, databases and indexes.

use super::alter::{self, AlterAction};
use super::charset::CharsetSpec;
use super::cursor::Cursor;
use super::{Body, Change, definition};
use rowferry_api::TableName;

/// What a statement changes; nothing if it is no DDL, or none that concerns tables.
pub(super) fn parse(cursor: &mut Cursor<'_>) -> Vec<Change> {
    let changes = match () {
        () if cursor.eat("CREATE") => create(cursor),
        () if cursor.eat("ALTER") => alter(cursor),
        () if cursor.eat("DROP") => drop_statement(cursor),
        () if cursor.eat("RENAME") => rename(cursor),
        () if cursor.eat("TRUNCATE") => {
            cursor.eat("TABLE");
            cursor.table().map(|table| vec![Change::Truncate(table)])
        }
        () => None,
    };
    changes.unwrap_or_default()
}

fn create(cursor: &mut Cursor<'_>) -> Option<Vec<Change>> {
    let or_replace = cursor.eat_all(&["OR", "REPLACE"]);
    if cursor.eat("TABLE") {
        return create_table(cursor, or_replace).map(|change| vec![change]);
    }
    if cursor.eat_any(&["DATABASE", "SCHEMA"]) {
        let if_not_exists = cursor.eat_if_not_exists();
        let name = cursor.name()?;
        let charset = database_options(cursor)?;
        return Some(vec![Change::CreateDatabase { name, if_not_exists, or_replace, charset }]);
    }
    cursor.eat_any(&["ONLINE", "OFFLINE"]);
    cursor.eat_any(&["UNIQUE", "FULLTEXT", "SPATIAL", "VECTOR"]);
    cursor.eat("INDEX").then(|| index(cursor))?
}

fn create_table(cursor: &mut Cursor<'_>, or_replace: bool) -> Option<Change> {
    let if_not_exists = cursor.eat_if_not_exists();
    let table = cursor.table()?;
    Some(Change::Create { table, if_not_exists, or_replace, body: body(cursor) })
}

fn body(cursor: &mut Cursor<'_>) -> Body {
    let mut inside = cursor.clone();
    if let Some(group) = inside.group() {
        inside = group;
    }
    if inside.eat("LIKE") {
        return inside.table().map_or(Body::Unclear, Body::Like);
    }
    if definition::is_query(cursor) {
        return Body::Unclear;
    }
    definition::table(cursor).map_or(Body::Unclear, Body::Columns)
}

fn alter(cursor: &mut Cursor<'_>) -> Option<Vec<Change>> {
    if cursor.eat_any(&["DATABASE", "SCHEMA"]) {
        let named =
            !cursor.starts_any(&["DEFAULT", "CHARACTER", "CHARSET", "COLLATE", "COMMENT", "ENCRYPTION", "READ"]);
        let name = if named { cursor.name()? } else { cursor.default_schema().to_owned() };
        let charset = database_options(cursor)?;
        return Some(if charset.is_empty() { Vec::new() } else { vec![Change::AlterDatabase { name, charset }] });
    }
    let mut ignores = false;
    while cursor.starts_any(&["ONLINE", "OFFLINE", "IGNORE"]) {
        ignores |= cursor.starts(&["IGNORE"]);
        cursor.skip_one();
    }
    if !cursor.eat("TABLE") {
        return None;
    }
    cursor.eat_if_exists();
    let table = cursor.table()?;
    cursor.eat_wait();
    let mut actions = alter::parse(cursor);
    if ignores {
        actions.push(AlterAction::Rows { with: None });
    }
    Some(vec![Change::Alter { table, actions }])
}

/// Character set and collation among the options of a database.
fn database_options(cursor: &mut Cursor<'_>) -> Option<CharsetSpec> {
    let mut charset = CharsetSpec::default();
    while !cursor.is_at_end() {
        if charset.read(cursor).is_none() {
            cursor.skip_one();
        }
    }
    Some(charset)
}

fn drop_statement(cursor: &mut Cursor<'_>) -> Option<Vec<Change>> {
    if cursor.eat_any(&["TABLE", "TABLES"]) {
        cursor.eat_if_exists();
        let mut tables = vec![cursor.table()?];
        while cursor.eat_symbol(',') {
            tables.extend(cursor.table());
        }
        return Some(vec![Change::Drop(tables)]);
    }
    if cursor.eat_any(&["DATABASE", "SCHEMA"]) {
        cursor.eat_if_exists();
        return Some(vec![Change::DropDatabase(cursor.name()?)]);
    }
    cursor.eat_any(&["ONLINE", "OFFLINE"]);
    cursor.eat("INDEX").then(|| index(cursor))?
}

/// `name [USING ..] ON table`. A name that is not there is the key word of MariaDB's `IF EXISTS`.
fn index(cursor: &mut Cursor<'_>) -> Option<Vec<Change>> {
    while !cursor.eat("ON") {
        cursor.next()?;
    }
    cursor.table().map(|table| vec![Change::Indexes(table)])
}

fn rename(cursor: &mut Cursor<'_>) -> Option<Vec<Change>> {
    if !cursor.eat_any(&["TABLE", "TABLES"]) {
        return None;
    }
    cursor.eat_if_exists();
    let mut pairs: Vec<(TableName, TableName)> = Vec::new();
    loop {
        let from = cursor.table()?;
        cursor.eat_wait();
        if !cursor.eat("TO") {
            return Some(unclear(pairs, from));
        }
        let Some(to) = cursor.table() else { return Some(unclear(pairs, from)) };
        pairs.push((from, to));
        if !cursor.eat_symbol(',') {
            return Some(vec![Change::Rename(pairs)]);
        }
    }
}

fn unclear(pairs: Vec<(TableName, TableName)>, from: TableName) -> Vec<Change> {
    vec![Change::Rename(pairs), Change::Unclear(from)]
}
