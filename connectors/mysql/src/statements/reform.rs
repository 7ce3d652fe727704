//! What an `ALTER TABLE` makes of a form.

use super::alter::{AlterAction, Place};
use super::charset::Charset;
use super::definition::{ColumnDef, same_name};
use super::forms::{Form, LogColumn};
use super::types;
use crate::connection::Flavor;

/// The form after all actions, which take effect together: the columns that were there are dropped, renamed and changed
/// first, each by its old name; then new and moved ones find their places, in the order of the statement.
/// `None` if it cannot be told, or if the statement does not fit the form.
pub(super) fn altered(
    before: &Form,
    actions: &[AlterAction],
    of_database: Option<&Charset>,
    flavor: Flavor,
) -> Option<Form> {
    if actions.contains(&AlterAction::Unclear) {
        return None;
    }
    let defaults = Defaults::of(before, actions, of_database, flavor)?;
    let mut pending: Vec<&AlterAction> = actions
        .iter()
        .enumerate()
        .filter(|(at, action)| takes_place(before, &actions[..*at], action))
        .map(|(_, action)| action)
        .collect();
    let mut columns = Vec::with_capacity(before.columns.len());
    for column in &before.columns {
        columns.extend(kept(column, &mut pending, &defaults)?);
    }
    for action in pending {
        match action {
            AlterAction::Add { column, place, .. } => insert(&mut columns, defaults.column(column)?, place)?,
            AlterAction::Change { name, column, place, .. } if *place != Place::AsIs => {
                before.columns.iter().find(|old| same_name(&old.name, name))?;
                insert(&mut columns, defaults.column(column)?, place)?;
            }
            // They named a column that is not there.
            AlterAction::Drop { .. } | AlterAction::Change { .. } | AlterAction::RenameColumn { .. } => return None,
            _ => {}
        }
    }
    let doubled =
        |(at, column): (usize, &LogColumn)| columns[..at].iter().any(|other| same_name(&other.name, &column.name));
    if columns.is_empty() || columns.iter().enumerate().any(doubled) {
        return None;
    }
    let charset = defaults.charset.filter(|_| !may_keep_default(before, &columns, defaults.convert.as_ref(), flavor));
    Some(Form::known(columns, charset))
}

/// MySQL 5.6 keeps the table's default where `CONVERT TO` finds no column to convert.
fn may_keep_default(before: &Form, columns: &[LogColumn], convert: Option<&Charset>, flavor: Flavor) -> bool {
    flavor == Flavor::Mysql
        && convert.is_some_and(|convert| before.charset.as_ref().is_none_or(|before| before.name != convert.name))
        && columns.iter().all(|column| before.columns.contains(column))
}

/// What holds for the columns that the statement defines.
struct Defaults<'a> {
    charset: Option<Charset>,
    of_database: Option<&'a Charset>,
    convert: Option<Charset>,
    flavor: Flavor,
}

impl<'a> Defaults<'a> {
    fn of(form: &Form, actions: &[AlterAction], of_database: Option<&'a Charset>, flavor: Flavor) -> Option<Self> {
        let mut defaults = Self { charset: form.charset.clone(), of_database, convert: None, flavor };
        let mut said = 0;
        for action in actions {
            let (AlterAction::DefaultCharset(spec) | AlterAction::Convert(spec)) = action else { continue };
            defaults.charset = Some(spec.resolve(form.charset.as_ref(), of_database)?);
            if matches!(action, AlterAction::Convert(_)) {
                defaults.convert.clone_from(&defaults.charset);
            }
            said += 1;
        }
        // Servers differ in which of several wins.
        if said > 1 {
            return None;
        }
        Some(defaults)
    }

    fn column(&self, def: &ColumnDef) -> Option<LogColumn> {
        let native = def.native(self.charset.as_ref(), self.of_database, self.convert.as_ref(), self.flavor)?;
        Some(LogColumn { name: def.name.clone(), native, generated: def.generated })
    }

    fn converted(&self, mut column: LogColumn) -> Option<LogColumn> {
        let Some(to) = &self.convert else { return Some(column) };
        // MariaDB's JSON is text with a check, and follows the conversion.
        if column.native == "json" && self.flavor == Flavor::Mariadb && to.name != "utf8mb4" {
            return None;
        }
        column.native = types::converted(&column.native, to)?;
        Some(column)
    }
}

/// `IF EXISTS` and `IF NOT EXISTS` ask for the table as it was before the statement, and for what the statement defines
/// `earlier`, whether that takes place or not.
fn takes_place(before: &Form, earlier: &[AlterAction], action: &AlterAction) -> bool {
    let exists = |name: &str| before.columns.iter().any(|column| same_name(&column.name, name));
    match action {
        AlterAction::Add { column: new, if_not_exists: true, .. } => {
            let defines = |other: &AlterAction| {
                matches!(other, AlterAction::Add { column, .. } | AlterAction::Change { column, .. }
                    if same_name(&column.name, &new.name))
            };
            !exists(&new.name) && !earlier.iter().any(defines)
        }
        AlterAction::Drop { name, if_exists: true }
        | AlterAction::Change { name, if_exists: true, .. }
        | AlterAction::RenameColumn { name, if_exists: true, .. } => exists(name),
        _ => true,
    }
}

/// What becomes of a column where it stands: nothing if it is dropped or moved. Takes the actions that are done with it.
/// The outer `None` says that it cannot be told.
fn kept(column: &LogColumn, pending: &mut Vec<&AlterAction>, defaults: &Defaults<'_>) -> Option<Option<LogColumn>> {
    let is = |name: &str| same_name(name, &column.name);
    let mut take = |wanted: &dyn Fn(&AlterAction) -> bool| {
        let at = pending.iter().position(|action| wanted(action))?;
        Some(pending.remove(at))
    };
    if take(&|action| matches!(action, AlterAction::Drop { name, .. } if is(name))).is_some() {
        return Some(None);
    }
    let stays =
        |action: &AlterAction| matches!(action, AlterAction::Change { name, place: Place::AsIs, .. } if is(name));
    if let Some(AlterAction::Change { column, .. }) = take(&stays) {
        return defaults.column(column).map(Some);
    }
    let mut renamed = column.clone();
    let is_renamed = |action: &AlterAction| matches!(action, AlterAction::RenameColumn { name, .. } if is(name));
    if let Some(AlterAction::RenameColumn { to, .. }) = take(&is_renamed) {
        renamed.name.clone_from(to);
    }
    if pending.iter().any(|action| matches!(action, AlterAction::Change { name, .. } if is(name))) {
        return Some(None);
    }
    defaults.converted(renamed).map(Some)
}

fn insert(columns: &mut Vec<LogColumn>, column: LogColumn, place: &Place) -> Option<()> {
    let at = match place {
        Place::AsIs => columns.len(),
        Place::First => 0,
        Place::After(name) => columns.iter().position(|other| same_name(&other.name, name))? + 1,
    };
    columns.insert(at, column);
    Some(())
}
