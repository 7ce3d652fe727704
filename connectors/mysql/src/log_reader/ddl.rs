//! Statements in the log: DDL that changes what rows look like, and changes of rows that were logged as statements, which
//! are refused.

use super::MysqlLogReader;
use crate::binlog::{AlterPhase, Header, QueryEvent};
use crate::statements::{AlterAction, Change, SqlMode, Statement, XaVerb, Xid, parse, same_name};
use rowferry_api::{Event, Op, Result, TableName};
use std::collections::{BTreeMap, BTreeSet};

/// Whether values stand under another name afterwards, which no row of the log says.
fn renames(action: &AlterAction) -> bool {
    match action {
        AlterAction::Change { name, column, .. } => *name != column.name,
        AlterAction::RenameColumn { .. } => true,
        _ => false,
    }
}

/// Whether an ALTER TABLE may change rows without an event that has them.
fn changes_rows(actions: &[AlterAction], mode: SqlMode) -> bool {
    let is_dropped = |name: &str| {
        actions
            .iter()
            .any(|action| matches!(action, AlterAction::Drop { name: dropped, .. } if same_name(dropped, name)))
    };
    actions.iter().any(|action| match action {
        AlterAction::Rows { .. } | AlterAction::PartitionToTable(_) | AlterAction::TableToPartition(_) => true,
        AlterAction::Add { column, .. } => is_dropped(&column.name),
        AlterAction::Change { .. } | AlterAction::Convert(_) if mode.changes_values() => true,
        _ => renames(action),
    })
}

impl MysqlLogReader {
    fn read(&self, query: &QueryEvent) -> Statement {
        let statement = parse(&query.statement, &query.schema, SqlMode(query.sql_mode.unwrap_or(0)));
        if self.tables().forms.ignores_case() { statement.in_lower_case() } else { statement }
    }

    /// Carried tables that a statement drops or renames.
    pub(super) fn taken_away(&self, query: &QueryEvent) -> Vec<TableName> {
        match self.read(query) {
            Statement::Ddl(changes) => changes.iter().flat_map(|change| self.fate(change).0).collect(),
            _ => Vec::new(),
        }
    }

    /// Carried tables whose rows may be others after a statement than the log's rows say.
    fn replaced(&self, change: &Change, query: &QueryEvent) -> Vec<TableName> {
        let mut replaced = self.fate(change).1;
        if let Change::Alter { table, actions } = change {
            let mode = SqlMode(query.sql_mode.unwrap_or(0));
            if changes_rows(actions, mode) {
                replaced.push(table.clone());
            }
            replaced.extend(actions.iter().filter_map(|action| match action {
                AlterAction::Rows { with } => with.clone(),
                AlterAction::TableToPartition(table) => Some(table.clone()),
                _ => None,
            }));
            replaced.retain(|table| self.tables().is_carried(table));
        }
        replaced
    }

    /// Which carried tables a change takes away, and which are others afterwards.
    fn fate(&self, change: &Change) -> (Vec<TableName>, Vec<TableName>) {
        let carried = |table: &&TableName| self.tables().is_carried(table);
        match change {
            Change::Drop(tables) => (tables.iter().filter(carried).cloned().collect(), Vec::new()),
            Change::DropDatabase(name) => (self.tables().carried_in(name), Vec::new()),
            Change::Rename(pairs) => self.renamed(pairs),
            Change::Alter { table, actions } => {
                let to = actions.iter().find_map(|action| match action {
                    AlterAction::Rename(to) => Some(to.clone()),
                    _ => None,
                });
                to.map_or_else(Default::default, |to| self.renamed(&[(table.clone(), to)]))
            }
            Change::Create { table, or_replace: true, .. } if self.tables().is_carried(table) => {
                (Vec::new(), vec![table.clone()])
            }
            _ => (Vec::new(), Vec::new()),
        }
    }

    /// What several renames, one after the other, come down to.
    fn renamed(&self, pairs: &[(TableName, TableName)]) -> (Vec<TableName>, Vec<TableName>) {
        // By a table's name now, the one that it had before the statement; `None`: no table has the name now.
        let mut before: BTreeMap<&TableName, Option<&TableName>> = BTreeMap::new();
        for (from, to) in pairs {
            let origin = before.get(from).copied().unwrap_or(Some(from));
            before.insert(from, None);
            before.insert(to, origin);
        }
        let carried = before.into_iter().filter(|(name, _)| self.tables().is_carried(name));
        let (mut gone, mut replaced) = (Vec::new(), Vec::new());
        for (name, origin) in carried {
            match origin {
                None => gone.push(name.clone()),
                Some(origin) if origin != name => replaced.push(name.clone()),
                Some(_) => {}
            }
        }
        (gone, replaced)
    }

    /// Takes a statement.
    pub(super) fn statement(&mut self, header: &Header, query: &QueryEvent, events: &mut Vec<Event>) -> Result<usize> {
        match &self.read(query) {
            Statement::Begin => self.transaction.get_or_insert_default().has_end = true,
            Statement::Xa(XaVerb::Start, _) => self.begin_prepared(),
            Statement::Xa(XaVerb::End | XaVerb::Prepare, _) | Statement::Savepoint(_) | Statement::Release(_) => {}
            Statement::Xa(XaVerb::Commit { one_phase }, Xid(xid)) => {
                return self.commit_prepared(header, xid.clone(), *one_phase, events);
            }
            Statement::Xa(XaVerb::Rollback, Xid(xid)) => {
                self.prepared.roll_back(xid);
                return Ok(self.end(header, events));
            }
            Statement::Commit => return Ok(self.end(header, events)),
            Statement::Rollback => {
                self.refuse_undone("a transaction was rolled back that had changed a table without transactions")?;
                return Ok(self.end(header, events));
            }
            Statement::RollbackTo(_) => {
                self.refuse_undone(
                    "a part of a transaction was rolled back that had changed a table without transactions",
                )?;
            }
            Statement::Dml { tables, .. } => {
                self.refuse_statement(query, tables)?;
                return Ok(self.end_single(header, events));
            }
            Statement::Ddl(changes) => {
                let phase = self.transaction.as_ref().and_then(|transaction| transaction.alter);
                if !matches!(phase, Some(AlterPhase::Start | AlterPhase::Rollback)) {
                    self.ddl(header, changes, query, events);
                }
                let goes_on = query.statement.trim_end().to_ascii_uppercase().ends_with("START TRANSACTION");
                if goes_on {
                    self.transaction.get_or_insert_default().has_end = true;
                }
                return Ok(self.end_single(header, events));
            }
            Statement::Other => return Ok(self.end_single(header, events)),
        }
        Ok(0)
    }

    /// A statement outside a transaction is one.
    fn end_single(&mut self, header: &Header, events: &mut Vec<Event>) -> usize {
        match self.transaction.as_ref().is_some_and(|transaction| transaction.has_end) {
            true => 0,
            false => self.end(header, events),
        }
    }

    fn ddl(&mut self, header: &Header, changes: &[Change], query: &QueryEvent, events: &mut Vec<Event>) {
        // A table that was made again since is copied again.
        let there = std::mem::take(&mut self.there);
        let (back, gone): (Vec<TableName>, Vec<TableName>) =
            self.taken_away(query).into_iter().partition(|table| there.contains(table));
        let replaced = changes.iter().flat_map(|change| self.replaced(change, query));
        let replaced: BTreeSet<TableName> = replaced.chain(back).collect();
        for change in changes {
            if let Change::Truncate(table) = change
                && let Some(form) = self.tables().told(table)
            {
                self.ensure_begun(header, events);
                events.push(Event::Change(rowferry_api::Change { table: form, op: Op::Truncate }));
            }
            let tables = self.tables_mut();
            for table in tables.forms.apply(change) {
                tables.forget(&table);
                tables.tell_followed(&table, events);
            }
        }
        for table in replaced {
            self.tables_mut().forget(&table);
            events.push(Event::Replaced(table));
        }
        events.extend(gone.into_iter().map(Event::Dropped));
    }

    /// Changes that are handed out already cannot be taken back.
    fn refuse_undone(&self, what: &str) -> Result<()> {
        let began = self.transaction.as_ref().is_some_and(|transaction| transaction.began);
        match began || self.prepared.has_rows() {
            true => Err(self.refused(
                what,
                "Make the tables of such transactions InnoDB, or leave them out with \"!schema.table\"; then run `rowferry resync \
                 --all`.",
            )),
            false => Ok(()),
        }
    }

    fn refuse_statement(&self, query: &QueryEvent, tables: &[TableName]) -> Result<()> {
        let concerned: Vec<String> =
            tables.iter().filter(|table| self.tables().is_carried(table)).map(ToString::to_string).collect();
        if !tables.is_empty() && concerned.is_empty() {
            return Ok(());
        }
        if tables.is_empty() && self.tables().carried_in(&query.schema).is_empty() {
            return Ok(());
        }
        let what = match concerned.is_empty() {
            true => "rows were changed by a statement whose table is not plain".to_owned(),
            false => format!("rows of {} were changed by a statement", concerned.join(", ")),
        };
        Err(self.refused(
            &format!("{what}, and the log has the statement instead of the rows"),
            "Set binlog_format = ROW (SET GLOBAL binlog_format = 'ROW', and in the sessions that set their own), then run \
             `rowferry resync --all`.",
        ))
    }
}
