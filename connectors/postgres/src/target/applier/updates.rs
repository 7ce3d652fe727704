//! Updates of which some cells are not known: they find the row that is there, also under another key.
//!
//! Rows of a step stand beside each other: none has a key that another one leaves or goes to. So updates of the same
//! columns go out together.

use super::{PostgresApplier, ROWS_AT_ONCE, parameters};
use crate::target::rows::{Shape, Written, columns_of, columns_of_keys, failed, list, unnest};
use rowferry_api::{Applied, Cell, Key, KeyEncoder, PartialUpdate, Result, Row, TableRows};

/// Which cells of a row are known.
fn present(row: &Row) -> Vec<bool> {
    row.cells().map(|cell| cell != Cell::Unchanged).collect()
}

/// An update, and the key that its row has afterwards.
#[derive(Clone)]
struct Keyed<'a> {
    old: &'a Key,
    new: Key,
    row: &'a Row,
}

fn old_keys<'a>(updates: &[Keyed<'a>]) -> Vec<&'a Key> {
    updates.iter().map(|update| update.old).collect()
}

fn new_keys<'a>(updates: &'a [Keyed<'_>]) -> Vec<&'a Key> {
    updates.iter().map(|update| &update.new).collect()
}

fn rows_of<'a>(updates: &[Keyed<'a>]) -> Vec<&'a Row> {
    updates.iter().map(|update| update.row).collect()
}

/// Those that were not found.
fn missing(updates: &[Keyed<'_>], found: &[bool]) -> Vec<Key> {
    updates.iter().zip(found).filter(|(_, found)| !**found).map(|(update, _)| update.new.clone()).collect()
}

impl PostgresApplier {
    /// Groups updates that stand side by side and write the same columns.
    pub(super) async fn updates(&mut self, shape: &Shape, rows: &TableRows, applied: &mut Applied) -> Result<()> {
        let mut encoder = KeyEncoder::new(&rows.table.key);
        let updates: Vec<Keyed<'_>> = rows
            .updates
            .iter()
            .map(|PartialUpdate { key, row }| Keyed {
                old: key,
                new: encoder.key(row).unwrap_or_else(|| key.clone()),
                row,
            })
            .collect();
        let mut rest = updates.as_slice();
        while let Some(first) = rest.first() {
            let (present, moves) = (present(first.row), first.new != *first.old);
            let alike =
                |update: &&Keyed<'_>| self::present(update.row) == present && (update.new != *update.old) == moves;
            let count = rest.iter().take(ROWS_AT_ONCE).take_while(alike).count().max(1);
            let (group, after) = rest.split_at(count);
            let missing = if moves {
                self.move_keys(shape, group, &present).await?
            } else {
                missing(group, &self.update(shape, group, &present).await?)
            };
            applied.missing.extend(missing.into_iter().map(|key| (rows.table.clone(), key)));
            rest = after;
        }
        Ok(())
    }

    /// Writes the known cells of rows that have their new key already. Returns of each whether it is there.
    async fn update(&mut self, shape: &Shape, group: &[Keyed<'_>], present: &[bool]) -> Result<Vec<bool>> {
        let set: Vec<&Written> =
            shape.columns.iter().filter(|column| present[column.place] && !column.is_settled).collect();
        let keys = new_keys(group);
        if !set.is_empty() && self.assign(shape, &keys, group, &set).await? == group.len() as u64 {
            return Ok(vec![true; group.len()]);
        }
        self.are_there(shape, &keys).await
    }

    /// Writes cells of the rows of `keys`; returns how many were there.
    async fn assign(&mut self, shape: &Shape, keys: &[&Key], group: &[Keyed<'_>], set: &[&Written]) -> Result<u64> {
        let columns: Vec<&Written> = shape.keys.iter().chain(set.iter().copied()).collect();
        let (from, typed) = unnest(&columns);
        let values = &typed[shape.keys.len()..];
        let assign = set.iter().zip(values).map(|(column, typed)| format!("{} = {typed}", column.name));
        let same = shape.has_key(&typed);
        let text = format!("UPDATE {} AS t SET {} FROM {from} WHERE {same}", shape.only, list(assign));
        let statement = self.prepared(&text).await?;
        let rows = rows_of(group);
        let mut texts = columns_of_keys(keys, shape.keys.len())?;
        texts.extend(columns_of(&rows, set)?);
        let updated = self.client.execute(&statement, &parameters(&texts)).await;
        updated.map_err(|error| failed(&shape.table, error))
    }

    async fn are_there(&mut self, shape: &Shape, keys: &[&Key]) -> Result<Vec<bool>> {
        let columns: Vec<&Written> = shape.keys.iter().collect();
        let (from, typed) = unnest(&columns);
        let text =
            format!("SELECT EXISTS (SELECT FROM {} AS t WHERE {}) FROM {from}", shape.only, shape.has_key(&typed));
        let statement = self.prepared(&text).await?;
        let texts = columns_of_keys(keys, shape.keys.len())?;
        let found = self.client.query(&statement, &parameters(&texts)).await;
        Ok(found.map_err(|error| failed(&shape.table, error))?.iter().map(|row| row.get(0)).collect())
    }

    /// Rows go to other keys, and not all of their cells are known. Returns the new keys of those that are not there under
    /// either key.
    async fn move_keys(&mut self, shape: &Shape, group: &[Keyed<'_>], present: &[bool]) -> Result<Vec<Key>> {
        let set: Vec<&Written> = shape.columns.iter().filter(|column| present[column.place]).collect();
        // Keys that are the same value and differ as text (1.0 and 1.00) are of one row, which only takes the new text.
        if self.keys_meet(shape, group).await? {
            if let [_] = group {
                self.assign(shape, &old_keys(group), group, &set).await?;
                return Ok(Vec::new());
            }
            let mut missing = Vec::new();
            for update in group {
                missing.extend(Box::pin(self.move_keys(shape, std::slice::from_ref(update), present)).await?);
            }
            return Ok(missing);
        }
        let found = self.update(shape, group, present).await?;
        let side = |wanted: bool| -> Vec<Keyed<'_>> {
            group.iter().zip(&found).filter(|(_, found)| **found == wanted).map(|(update, _)| update.clone()).collect()
        };
        let (there, others) = (side(true), side(false));
        if !there.is_empty() {
            self.delete(shape, &old_keys(&there)).await?;
        }
        if others.is_empty() || self.assign(shape, &old_keys(&others), &others, &set).await? == others.len() as u64 {
            return Ok(Vec::new());
        }
        Ok(missing(&others, &self.are_there(shape, &new_keys(&others)).await?))
    }

    /// Whether the table has a row that the server finds by an old key of the group and by a new one.
    async fn keys_meet(&mut self, shape: &Shape, group: &[Keyed<'_>]) -> Result<bool> {
        let width = shape.keys.len();
        let columns: Vec<&Written> = shape.keys.iter().chain(&shape.keys).collect();
        let (from, typed) = unnest(&columns);
        let (old, new) = typed.split_at(width);
        let found = |side: &[String]| {
            format!("SELECT t.tableoid, t.ctid FROM {from} JOIN {} AS t ON {}", shape.only, shape.has_key(side))
        };
        let text = format!("SELECT EXISTS ({} INTERSECT {})", found(old), found(new));
        let statement = self.prepared(&text).await?;
        let (old_keys, new_keys) = (old_keys(group), new_keys(group));
        let mut texts = columns_of_keys(&old_keys, width)?;
        texts.extend(columns_of_keys(&new_keys, width)?);
        let row = self.client.query_one(&statement, &parameters(&texts)).await;
        Ok(row.map_err(|error| failed(&shape.table, error))?.get(0))
    }
}
