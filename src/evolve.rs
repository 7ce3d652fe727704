//! What a target's table has to do when its source's table has changed its form. Pure.
//!
//! Only what loses nothing is carried over: new columns, dropped columns, wider types, looser NOT NULL, new labels of
//! enums. A rename, a narrower or another type, another key: refused, with how to go on. A NOT NULL that is new at the
//! source is not carried over: the target holds no NULL anyway, and older rows of the log may still bring one.

use rowferry_api::{Alteration, Column, Dialect, Fill, KeyOrder, TableSchema, TypeDef, TypeDefKind, is_wider};
use std::fmt;

/// What to do at the target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// In order. Empty if the target's table can stay as it is.
    pub alterations: Vec<Alteration>,
    /// A new column has values that only the source knows (a volatile default): the rows have to be copied again.
    pub copy_again: bool,
}

/// A change that is not carried over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    what: String,
    mend: String,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; {}", self.what, self.mend)
    }
}

/// From the form that the target has taken to the form that the source has now, both in the source's terms.
pub fn plan(taken: &TableSchema, now: &TableSchema) -> Result<Plan, Refusal> {
    refuse_renames(taken, now)?;
    refuse_other_key(taken, now)?;
    refuse_other_types(taken, now)?;
    let mut alterations = labels(taken, now)?;
    let gone = |column: &&Column| !is_same_column_in(&now.columns, column);
    for column in taken.columns.iter().filter(gone) {
        alterations.push(Alteration::DropColumn(column.name.clone()));
    }
    for column in taken.computed.iter().filter(|column| !is_same_column_in(&now.computed, column)) {
        alterations.push(Alteration::DropColumn(column.name.clone()));
    }
    let mut copy_again = false;
    for column in &now.columns {
        match taken.columns.iter().find(|before| is_same(before, column)) {
            None => {
                // A column that was computed before holds values that no row of the log has brought.
                let was_computed = taken.computed.iter().any(|before| is_same(before, column));
                // Rows of the log that are older name another column by the same name.
                let was_dropped = taken.columns.iter().any(|before| before.name == column.name);
                copy_again |= column.fill == Fill::Unknown || was_computed || was_dropped;
                alterations.push(Alteration::AddColumn(column.clone()));
            }
            Some(before) => {
                // The source turned 0.1 into 0.10000000149011612; a target that keeps text or other bits cannot know.
                let was_single = before.native.starts_with("real") || before.native.starts_with("float");
                copy_again |= was_single && column.native.starts_with("double");
                alterations.extend(changed(taken, before, column)?);
            }
        }
    }
    // Where columns have no ids of their own, one that is gone and one that is new may be the same one under another name.
    let may_be_renamed = |alterations: &[Alteration]| {
        let drops = alterations.iter().any(|alteration| matches!(alteration, Alteration::DropColumn(_)));
        let adds = alterations.iter().any(|alteration| matches!(alteration, Alteration::AddColumn(_)));
        drops && adds
    };
    copy_again |= taken.dialect == Dialect::Mysql && may_be_renamed(&alterations);
    copy_again |= key_orders(taken) != key_orders(now);
    for column in now.computed.iter().filter(|column| !is_same_column_in(&taken.computed, column)) {
        alterations.push(Alteration::AddComputed(column.clone()));
    }
    Ok(Plan { alterations, copy_again })
}

/// A line for a log: `add column note text, drop column old`.
pub fn describe(alterations: &[Alteration]) -> String {
    let one = |alteration: &Alteration| match alteration {
        Alteration::AddColumn(column) => format!("add column {} {}", column.name, column.native),
        Alteration::AddComputed(column) => format!("add computed column {} {}", column.name, column.native),
        Alteration::DropColumn(name) => format!("drop column {name}"),
        Alteration::ChangeType(column) => format!("column {} becomes {}", column.name, column.native),
        Alteration::DropNotNull(name) => format!("column {name} may be NULL"),
        Alteration::EnumLabels(def) => format!("new labels of {}", def.name),
    };
    alterations.iter().map(one).collect::<Vec<_>>().join(", ")
}

/// A column that was dropped and added again under its old name is another column.
fn is_same(before: &Column, now: &Column) -> bool {
    before.name == now.name && (before.id == now.id || before.id == 0 || now.id == 0)
}

fn is_same_column_in(columns: &[Column], column: &Column) -> bool {
    let as_before = |other: &Column| {
        other.generated == column.generated && (other.generated.is_none() || other.native == column.native)
    };
    columns.iter().any(|other| is_same(other, column) && as_before(other))
}

/// Ranges that were cut under another order of keys are no ranges any more.
fn key_orders(form: &TableSchema) -> Vec<KeyOrder> {
    form.key_columns().map(|column| KeyOrder::of(&column.ty)).collect()
}

fn refuse_renames(taken: &TableSchema, now: &TableSchema) -> Result<(), Refusal> {
    let everything = || now.columns.iter().chain(&now.computed);
    for before in taken.columns.iter().chain(&taken.computed).filter(|column| column.id != 0) {
        if let Some(renamed) = everything().find(|column| column.id == before.id && column.name != before.name) {
            let (table, old, new) = (&now.name, &before.name, &renamed.name);
            return Err(Refusal {
                what: format!("column {old} of {table} was renamed to {new} at the source"),
                mend: format!("rename it at the target too, then run `rowferry resync --table {table}`"),
            });
        }
    }
    Ok(())
}

fn refuse_other_key(taken: &TableSchema, now: &TableSchema) -> Result<(), Refusal> {
    let names = |form: &TableSchema| form.key_columns().map(|column| column.name.clone()).collect::<Vec<_>>();
    let (before, after) = (names(taken), names(now));
    if before == after {
        return Ok(());
    }
    let table = &now.name;
    Err(Refusal {
        what: format!("the key of {table} changed from ({}) to ({})", before.join(", "), after.join(", ")),
        mend: format!(
            "give the target's table the same key (or drop it there), then run `rowferry resync --table {table}`; or set `key` \
             for it"
        ),
    })
}

/// The source rewrote values inside composites when the type changed, and no log says so.
fn refuse_other_types(taken: &TableSchema, now: &TableSchema) -> Result<(), Refusal> {
    for def in &now.types {
        let Some(before) = taken.types.iter().find(|before| before.name == def.name) else {
            continue;
        };
        let same = match (&before.kind, &def.kind) {
            // What a domain allows may change; a row that the target's domain refuses is named when it comes.
            (TypeDefKind::Domain { base: before, .. }, TypeDefKind::Domain { base: now, .. }) => before == now,
            (TypeDefKind::Enum { .. }, TypeDefKind::Enum { .. }) => true,
            (before, now) => before == now,
        };
        if !same {
            let (table, name) = (&now.name, &def.name);
            return Err(Refusal {
                what: format!("type {name}, which {table} uses, was changed at the source"),
                mend: format!("change it at the target in the same way, then run `rowferry resync --table {table}`"),
            });
        }
    }
    Ok(())
}

/// What a column that stayed needs.
fn changed(taken: &TableSchema, before: &Column, now: &Column) -> Result<Vec<Alteration>, Refusal> {
    let mut alterations = Vec::new();
    if before.native != now.native {
        if !is_wider(taken.dialect, &before.native, &now.native) {
            let table = &taken.name;
            return Err(Refusal {
                what: format!(
                    "column {} of {table} changed its type from {} to {}, which may lose data or change values",
                    now.name, before.native, now.native
                ),
                mend: format!("change the target's column to fit, then run `rowferry resync --table {table}`"),
            });
        }
        alterations.push(Alteration::ChangeType(now.clone()));
    }
    if now.nullable && !before.nullable {
        alterations.push(Alteration::DropNotNull(now.name.clone()));
    }
    Ok(alterations)
}

/// New labels of enums that were there before.
fn labels(taken: &TableSchema, now: &TableSchema) -> Result<Vec<Alteration>, Refusal> {
    let mut alterations = Vec::new();
    for def in &now.types {
        let TypeDefKind::Enum { labels: new } = &def.kind else {
            continue;
        };
        let Some(old) = taken.types.iter().find_map(|before| enum_labels(before, def)) else {
            continue;
        };
        if old == new {
            continue;
        }
        if let Some(gone) = old.iter().find(|label| !new.contains(label)) {
            return Err(Refusal {
                what: format!("label '{gone}' of enum {} was renamed or removed at the source", def.name),
                mend: format!(
                    "rename it at the target too (ALTER TYPE ... RENAME VALUE), then run `rowferry resync --table {}`",
                    now.name
                ),
            });
        }
        alterations.push(Alteration::EnumLabels(def.clone()));
    }
    Ok(alterations)
}

fn enum_labels<'a>(before: &'a TypeDef, now: &TypeDef) -> Option<&'a Vec<String>> {
    match &before.kind {
        TypeDefKind::Enum { labels } if before.name == now.name => Some(labels),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
