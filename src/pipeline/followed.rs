//! The forms of tables as the log had them, kept with the positions that they follow, for sources whose log does not say
//! what its rows look like. A start in the past then reads rows by the form that they were written in.
//!
//! A form is on disk before any position behind it is applied.

use super::life::{Life, Lives};
use rowferry_api::{Column, Error, ErrorKind, Position, Result, Source, TableName, TableSchema, failpoint};
use rowferry_state::{FormRecord, TableState};
use std::cmp::Ordering;
use std::sync::Arc;

/// Keeps a form that holds behind `after`; without it, from the beginning on. What is older than the form that holds at
/// `applied` is let go.
pub(super) async fn keep(
    lives: &Lives,
    source: &dyn Source,
    form: &TableSchema,
    after: Option<&Position>,
    applied: &Position,
) -> Result<()> {
    let name = form.name.to_string();
    let read = name.clone();
    let mut forms = lives.read(move |state| state.forms(&read)).await?;
    let after = if forms.is_empty() { None } else { after };
    let json = serde_json::to_string(form).map_err(malformed)?;
    if forms.last().is_some_and(|last| last.schema_json == json) {
        return Ok(());
    }
    // Read once more after a crash, it is the same one again.
    forms.retain(|kept| !is_from(source, kept, after));
    let held = forms.iter().rposition(|kept| is_before(source, kept, applied)).unwrap_or(0);
    forms.drain(..held);
    forms.push(FormRecord { after: after.map(ToString::to_string), schema_json: json });
    failpoint!("form.followed");
    lives.write(move |state| state.set_forms(&name, &forms)).await
}

/// Columns of the form that was kept last which `form` does not have, or has with values of another type.
pub(super) async fn lost(lives: &Lives, form: &TableSchema) -> Result<Vec<Column>> {
    let name = form.name.to_string();
    let forms = lives.read(move |state| state.forms(&name)).await?;
    let Some(last) = forms.last() else { return Ok(Vec::new()) };
    let mut last: TableSchema = serde_json::from_str(&last.schema_json).map_err(malformed)?;
    last.columns.retain(|before| form.columns.iter().all(|now| now.name != before.name || now.ty != before.ty));
    Ok(last.columns)
}

/// The forms that hold at a position.
pub(super) async fn at(lives: &Lives, source: &dyn Source, position: &Position) -> Result<Vec<Arc<TableSchema>>> {
    // DDL of a table that the log does not carry is not told: what is kept of it says nothing any more.
    let is_carried = |life: &Life| life.state != TableState::Halted && !life.chosen.source.schema.key.is_empty();
    let names: Vec<(TableName, bool)> =
        lives.lock().iter().map(|(name, life)| (name.clone(), is_carried(life))).collect();
    let mut held = Vec::new();
    for (name, is_carried) in names {
        let name = name.to_string();
        if !is_carried {
            lives.write(move |state| state.set_forms(&name, &[])).await?;
            continue;
        }
        let forms = lives.read(move |state| state.forms(&name)).await?;
        if let Some(form) = forms.iter().rev().find(|form| is_before(source, form, position)) {
            held.push(Arc::new(serde_json::from_str(&form.schema_json).map_err(malformed)?));
        }
    }
    Ok(held)
}

/// Whether what stands at `position` was written in this form or a later one.
fn is_before(source: &dyn Source, form: &FormRecord, position: &Position) -> bool {
    match &form.after {
        None => true,
        Some(after) => {
            matches!(source.compare(&Position::new(after.clone()), position), Ok(Some(Ordering::Less)))
        }
    }
}

/// Whether this form begins at `after` or behind it.
fn is_from(source: &dyn Source, form: &FormRecord, after: Option<&Position>) -> bool {
    match (&form.after, after) {
        (Some(_), Some(after)) => !is_before(source, form, after),
        _ => false,
    }
}

fn malformed(error: serde_json::Error) -> Error {
    Error::new(ErrorKind::Other, "keep the form of a table in the state directory").because(error)
}
