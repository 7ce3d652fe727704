//! Updates of which some cells are not known: they find the row that is there, also under another key.
//!
//! Rows of a step stand beside each other: none has a key that another one leaves or goes to. So updates go out together,
//! many statements at once, and the server says of each whether it found its row.

use super::applier::MysqlApplier;
use super::shape::Shape;
use rowferry_api::{Applied, Cell, Key, KeyEncoder, PartialUpdate, Result, TableRows};

/// Updates that are sent at once.
const UPDATES_AT_ONCE: usize = 500;

impl MysqlApplier {
    /// Writes the known cells of rows.
    pub(super) async fn updates(&mut self, shape: &Shape, rows: &TableRows, applied: &mut Applied) -> Result<()> {
        let mut encoder = KeyEncoder::new(&rows.table.key);
        let limit = self.session.statement_bytes();
        let (mut statements, mut sent): (Vec<u8>, Vec<Key>) = (Vec::new(), Vec::new());
        for update in &rows.updates {
            let new = encoder.key(&update.row).unwrap_or_else(|| merged_key(update, &rows.table.key));
            if new != update.key {
                if !self.move_key(shape, update, &new).await? {
                    applied.missing.push((rows.table.clone(), new));
                }
                continue;
            }
            let mut one = Vec::new();
            shape.put_update(&update.row, false, &mut one)?;
            shape.put_key_condition(&new, &mut one)?;
            if sent.len() >= UPDATES_AT_ONCE || (!sent.is_empty() && statements.len() + one.len() > limit) {
                self.send_updates(shape, rows, &mut statements, &mut sent, applied).await?;
            }
            if !sent.is_empty() {
                statements.push(b';');
            }
            statements.extend_from_slice(&one);
            sent.push(new);
        }
        self.send_updates(shape, rows, &mut statements, &mut sent, applied).await
    }

    async fn send_updates(
        &mut self,
        shape: &Shape,
        rows: &TableRows,
        statements: &mut Vec<u8>,
        keys: &mut Vec<Key>,
        applied: &mut Applied,
    ) -> Result<()> {
        let found = match keys.as_slice() {
            [] => return Ok(()),
            // By itself a warning can be asked for.
            [_] => vec![self.session.run(&shape.context, statements.as_slice()).await?],
            _ => self.session.run_each(&shape.context, statements).await?,
        };
        let missing = keys.drain(..).zip(found).filter(|(_, found)| *found == 0);
        applied.missing.extend(missing.map(|(key, _)| (rows.table.clone(), key)));
        statements.clear();
        Ok(())
    }

    /// A row of the new key takes the cells and the old row goes; else the old row takes the new key too. Returns whether one
    /// of them was there.
    async fn move_key(&mut self, shape: &Shape, update: &PartialUpdate, new: &Key) -> Result<bool> {
        let mut statement = Vec::new();
        shape.put_update(&update.row, true, &mut statement)?;
        let set = statement.len();
        shape.put_key_condition(new, &mut statement)?;
        if self.session.run(&shape.context, &statement).await? > 0 {
            // The server may take both keys for one: then it was the old row that took the cells.
            let mut delete = format!("DELETE FROM {} WHERE ", shape.table).into_bytes();
            shape.put_key_condition(&update.key, &mut delete)?;
            delete.extend_from_slice(b" AND NOT (");
            shape.put_key_condition(new, &mut delete)?;
            delete.push(b')');
            self.session.run(&shape.context, &delete).await?;
            return Ok(true);
        }
        statement.truncate(set);
        shape.put_key_condition(&update.key, &mut statement)?;
        Ok(self.session.run(&shape.context, &statement).await? > 0)
    }
}

/// The key after the change, of which the row may leave cells out.
fn merged_key(update: &PartialUpdate, key: &[usize]) -> Key {
    let mut before = update.key.cells();
    Key::from_cells(key.iter().map(|&place| {
        let before = before.next().unwrap_or(Cell::Null);
        update.row.cell(place).filter(|cell| *cell != Cell::Unchanged).unwrap_or(before)
    }))
}
