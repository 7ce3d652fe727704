//! The actions of `ALTER TABLE`.

use super::charset::CharsetSpec;
use super::cursor::Cursor;
use super::definition::{self, ColumnDef};
use rowferry_api::TableName;

/// One action as far as columns, keys and names go; what touches none of them is left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum AlterAction {
    Add {
        column: ColumnDef,
        place: Place,
        if_not_exists: bool,
    },
    Drop {
        name: String,
        if_exists: bool,
    },
    /// `MODIFY`, and `CHANGE`, which gives a new name, too.
    Change {
        name: String,
        column: ColumnDef,
        place: Place,
        if_exists: bool,
    },
    RenameColumn {
        name: String,
        to: String,
        if_exists: bool,
    },
    /// Every character column, and the default for later ones.
    Convert(CharsetSpec),
    /// The default for later columns.
    DefaultCharset(CharsetSpec),
    Rename(TableName),
    /// Indexes, and so keys, may have changed.
    Indexes,
    /// Rows come or go that no event of the log has: partitions are dropped, emptied, exchanged with another table; versioning
    /// begins or ends; rows are left out that do not fit (`IGNORE`).
    Rows {
        with: Option<TableName>,
    },
    /// MariaDB: a partition becomes a table of the same form.
    PartitionToTable(TableName),
    /// MariaDB: a table becomes a partition.
    TableToPartition(TableName),
    /// Not understood.
    Unclear,
}

/// Where a column goes: as the manual says, among the columns as they are under the whole statement so far.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    /// A new column at the end, another where it was.
    AsIs,
    First,
    After(String),
}

/// Reads what follows the table's name.
pub(super) fn parse(cursor: &mut Cursor<'_>) -> Vec<AlterAction> {
    let mut actions = Vec::new();
    let mut charset = CharsetSpec::default();
    while let Some(mut part) = cursor.part() {
        // From these on, commas part names of partitions or of columns to sort by.
        let is_last = action(&mut part, &mut actions, &mut charset).unwrap_or_else(|| {
            // Once is enough.
            if actions.last() != Some(&AlterAction::Unclear) {
                actions.push(AlterAction::Unclear);
            }
            false
        });
        if is_last {
            cursor.skip_all();
        }
    }
    if !charset.is_empty() {
        actions.push(AlterAction::DefaultCharset(charset));
    }
    actions
}

/// Whether it is the last one. `None` if it is not understood.
fn action(cursor: &mut Cursor<'_>, actions: &mut Vec<AlterAction>, charset: &mut CharsetSpec) -> Option<bool> {
    if is_about_partitions(cursor) {
        partitions(cursor, actions);
        return Some(true);
    }
    if cursor.eat("ADD") {
        add(cursor, actions)?;
    } else if cursor.eat("DROP") {
        drop_action(cursor, actions)?;
    } else if cursor.eat("MODIFY") {
        change(cursor, actions, false)?;
    } else if cursor.eat("CHANGE") {
        change(cursor, actions, true)?;
    } else if cursor.eat("RENAME") {
        actions.push(rename(cursor)?);
    } else if cursor.eat_all(&["IMPORT", "TABLESPACE"]) {
        actions.push(AlterAction::Rows { with: None });
        return Some(false);
    } else if cursor.eat_any(&["ALTER", "ENABLE", "DISABLE", "FORCE", "DISCARD", "NOWAIT", "UPGRADE"])
        || cursor.eat_any(&["SECONDARY_LOAD", "SECONDARY_UNLOAD", "WAIT", "ALGORITHM", "LOCK"])
        || cursor.eat_all(&["WITH", "VALIDATION"])
        || cursor.eat_all(&["WITHOUT", "VALIDATION"])
    {
        // They change defaults, visibility and how the work is done.
        return Some(false);
    } else if cursor.eat_all(&["CONVERT", "PARTITION"]) {
        cursor.name()?;
        let to_table = cursor.eat_all(&["TO", "TABLE"]);
        actions.push(AlterAction::PartitionToTable(cursor.table().filter(|_| to_table)?));
        return Some(true);
    } else if cursor.eat_all(&["CONVERT", "TABLE"]) {
        actions.push(AlterAction::TableToPartition(cursor.table()?));
        return Some(true);
    } else if cursor.eat_all(&["CONVERT", "TO"]) {
        let mut spec = CharsetSpec::default();
        while let Some(understood) = spec.read(cursor) {
            understood.then_some(())?;
        }
        actions.push(AlterAction::Convert(spec));
    } else {
        return options(cursor, actions, charset);
    }
    behind(cursor, actions)
}

/// What may stand behind an action: nothing, or partitions.
fn behind(cursor: &mut Cursor<'_>, actions: &mut Vec<AlterAction>) -> Option<bool> {
    if is_about_partitions(cursor) {
        partitions(cursor, actions);
        return Some(true);
    }
    cursor.is_at_end().then_some(false)
}

/// Whether rows come or go with what is done to partitions.
fn partitions(cursor: &mut Cursor<'_>, actions: &mut Vec<AlterAction>) {
    let exchanges = cursor.starts(&["EXCHANGE"]);
    if !exchanges && !cursor.starts_any(&["DROP", "TRUNCATE", "DISCARD", "IMPORT"]) {
        return;
    }
    while exchanges && !cursor.is_at_end() && !cursor.eat_all(&["WITH", "TABLE"]) {
        cursor.skip_one();
    }
    actions.push(AlterAction::Rows { with: if exchanges { cursor.table() } else { None } });
}

fn is_about_partitions(cursor: &Cursor<'_>) -> bool {
    let verbs = [
        "ADD",
        "DROP",
        "COALESCE",
        "REORGANIZE",
        "ANALYZE",
        "CHECK",
        "OPTIMIZE",
        "REBUILD",
        "REPAIR",
        "TRUNCATE",
        "EXCHANGE",
        "DISCARD",
        "IMPORT",
    ];
    verbs.iter().any(|verb| cursor.starts(&[verb, "PARTITION"]))
        || cursor.starts(&["PARTITION", "BY"])
        || cursor.starts(&["REMOVE", "PARTITIONING"])
        || cursor.starts(&["ORDER", "BY"])
}

fn add(cursor: &mut Cursor<'_>, actions: &mut Vec<AlterAction>) -> Option<()> {
    if definition::is_index(cursor) {
        cursor.skip_all();
        actions.push(AlterAction::Indexes);
        return Some(());
    }
    // Hidden columns come with versioning; a period of the user's own names columns that are there.
    if cursor.starts(&["SYSTEM", "VERSIONING"]) || cursor.starts(&["PERIOD", "FOR", "SYSTEM_TIME"]) {
        actions.push(AlterAction::Rows { with: None });
        return None;
    }
    if cursor.starts(&["PERIOD", "FOR"]) {
        cursor.skip_all();
        return Some(());
    }
    cursor.eat("COLUMN");
    let if_not_exists = cursor.eat_if_not_exists();
    if let Some(mut group) = cursor.group() {
        while let Some(mut part) = group.part() {
            if definition::is_index(&part) {
                actions.push(AlterAction::Indexes);
                continue;
            }
            let column = definition::column(&mut part)?;
            let place = place(&mut part)?;
            actions.push(AlterAction::Add { column, place, if_not_exists });
        }
        return Some(());
    }
    let column = definition::column(cursor)?;
    let place = place(cursor)?;
    actions.push(AlterAction::Add { column, place, if_not_exists });
    Some(())
}

fn place(cursor: &mut Cursor<'_>) -> Option<Place> {
    if cursor.eat("FIRST") {
        return Some(Place::First);
    }
    if cursor.eat("AFTER") {
        return cursor.column().map(Place::After);
    }
    Some(Place::AsIs)
}

fn drop_action(cursor: &mut Cursor<'_>, actions: &mut Vec<AlterAction>) -> Option<()> {
    let of_indexes = ["PRIMARY", "INDEX", "KEY", "FOREIGN", "CONSTRAINT", "CHECK"];
    if cursor.starts_any(&of_indexes) {
        cursor.skip_all();
        actions.push(AlterAction::Indexes);
        return Some(());
    }
    if cursor.starts(&["SYSTEM", "VERSIONING"]) {
        actions.push(AlterAction::Rows { with: None });
        return None;
    }
    if cursor.starts(&["PERIOD", "FOR"]) {
        return None;
    }
    cursor.eat("COLUMN");
    let if_exists = cursor.eat_if_exists();
    let name = cursor.column()?;
    cursor.eat_any(&["RESTRICT", "CASCADE"]);
    actions.push(AlterAction::Drop { name, if_exists });
    Some(())
}

fn change(cursor: &mut Cursor<'_>, actions: &mut Vec<AlterAction>, names_old: bool) -> Option<()> {
    cursor.eat("COLUMN");
    let if_exists = cursor.eat_if_exists();
    let old = if names_old { Some(cursor.column()?) } else { None };
    let column = definition::column(cursor)?;
    let place = place(cursor)?;
    let name = old.unwrap_or_else(|| column.name.clone());
    actions.push(AlterAction::Change { name, column, place, if_exists });
    Some(())
}

fn rename(cursor: &mut Cursor<'_>) -> Option<AlterAction> {
    if cursor.eat("COLUMN") {
        let if_exists = cursor.eat_if_exists();
        let name = cursor.column()?;
        let to = if cursor.eat("TO") { cursor.column()? } else { return None };
        return Some(AlterAction::RenameColumn { name, to, if_exists });
    }
    if cursor.eat_any(&["INDEX", "KEY"]) {
        cursor.skip_all();
        return Some(AlterAction::Indexes);
    }
    if !cursor.eat_any(&["TO", "AS"]) {
        cursor.eat_symbol('=');
    }
    cursor.table().map(AlterAction::Rename)
}

/// Options of the table stand one behind the other.
fn options(cursor: &mut Cursor<'_>, actions: &mut Vec<AlterAction>, charset: &mut CharsetSpec) -> Option<bool> {
    while !cursor.is_at_end() {
        if is_about_partitions(cursor) {
            partitions(cursor, actions);
            return Some(true);
        }
        match charset.read(cursor) {
            Some(true) => {}
            Some(false) => return None,
            None if is_option(cursor) => definition::skip_option(cursor)?,
            None => return None,
        }
    }
    Some(false)
}

/// The options of both (manuals, "CREATE TABLE"). MariaDB's engines may have more: those are known by their equals sign.
fn is_option(cursor: &Cursor<'_>) -> bool {
    let known = [
        "ENGINE",
        "TYPE",
        "AUTO_INCREMENT",
        "AUTOEXTEND_SIZE",
        "AVG_ROW_LENGTH",
        "CHECKSUM",
        "TABLE_CHECKSUM",
        "COMMENT",
        "COMPRESSION",
        "CONNECTION",
        "DATA",
        "INDEX",
        "DELAY_KEY_WRITE",
        "ENCRYPTION",
        "ENGINE_ATTRIBUTE",
        "INSERT_METHOD",
        "KEY_BLOCK_SIZE",
        "MAX_ROWS",
        "MIN_ROWS",
        "PACK_KEYS",
        "PASSWORD",
        "ROW_FORMAT",
        "SECONDARY_ENGINE",
        "SECONDARY_ENGINE_ATTRIBUTE",
        "STATS_AUTO_RECALC",
        "STATS_PERSISTENT",
        "STATS_SAMPLE_PAGES",
        "STORAGE",
        "TABLESPACE",
        "TRANSACTIONAL",
        "UNION",
        "PAGE_CHECKSUM",
        "PAGE_COMPRESSED",
        "PAGE_COMPRESSION_LEVEL",
        "ENCRYPTED",
        "ENCRYPTION_KEY_ID",
        "IETF_QUOTES",
    ];
    if cursor.starts_any(&known) {
        return true;
    }
    let mut ahead = cursor.clone();
    ahead.name().is_some() && ahead.starts_symbol('=')
}
