//! The forms of tables, kept by the DDL of the log.

use super::alter::AlterAction;
use super::charset::{Charset, CharsetSpec};
use super::definition::{ColumnDef, Definition, Generated};
use super::reform;
use super::{Body, Change};
use crate::connection::Flavor;
use rowferry_api::TableName;
use std::collections::{BTreeSet, HashMap};

/// What is known of a server's tables at one position of its log.
///
/// Every table of a database that [`Forms::set_database`] names must be put in with [`Forms::set`], at the same position:
/// then one that is not here does not exist. Of other databases nothing is taken for granted.
#[derive(Debug, Clone)]
pub(crate) struct Forms {
    pub(super) flavor: Flavor,
    /// `lower_case_table_names` is not 0.
    ignores_case: bool,
    /// `character_set_server`, for databases that name none. A Query event's status variables carry the session's.
    pub(crate) server_charset: Option<Charset>,
    databases: HashMap<String, Charset>,
    tables: HashMap<TableName, Form>,
}

/// A table's columns at one position of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Form {
    /// In the order of the log, which counts generated and invisible columns.
    pub(crate) columns: Vec<LogColumn>,
    /// The default for columns that name none.
    pub(crate) charset: Option<Charset>,
    /// If not, the columns mean nothing: compare with the catalog, or halt the table.
    pub(crate) is_known: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LogColumn {
    pub(crate) name: String,
    /// As `kind.rs` reads it. Compare two by [`crate::kind::Kind::parse`]: widths and collations may differ in it.
    pub(crate) native: String,
    pub(crate) generated: Option<Generated>,
}

impl Form {
    pub(crate) fn known(columns: Vec<LogColumn>, charset: Option<Charset>) -> Self {
        Self { columns, charset, is_known: true }
    }

    pub(crate) fn unknown() -> Self {
        Self { columns: Vec::new(), charset: None, is_known: false }
    }
}

impl Forms {
    /// Knows nothing yet.
    pub(crate) fn new(flavor: Flavor, ignores_case: bool) -> Self {
        Self { flavor, ignores_case, server_charset: None, databases: HashMap::new(), tables: HashMap::new() }
    }

    /// Names of tables and databases are kept in lower case.
    pub(crate) fn ignores_case(&self) -> bool {
        self.ignores_case
    }

    /// A database with its default character set, all of whose tables are here or are about to be put in.
    pub(crate) fn set_database(&mut self, name: &str, charset: Charset) {
        self.databases.insert(self.folded(name), charset);
    }

    /// Puts a table in, or mends one whose form is unknown.
    pub(crate) fn set(&mut self, table: &TableName, form: Form) {
        self.tables.insert(self.key(table), form);
    }

    /// `None` if there is no such table, or nothing was said of it.
    pub(crate) fn get(&self, table: &TableName) -> Option<&Form> {
        self.tables.get(&self.key(table))
    }

    /// Every table, in no order.
    #[cfg(test)]
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&TableName, &Form)> {
        self.tables.iter()
    }

    /// Takes a change over. Tells the tables whose form is another now, or that came, went or became unknown, in the
    /// order of their names. Rows and indexes are no part of a form.
    pub(crate) fn apply(&mut self, change: &Change) -> Vec<TableName> {
        let mut touched = BTreeSet::new();
        match change {
            Change::Create { table, if_not_exists, or_replace: _, body } => {
                self.create(self.key(table), *if_not_exists, body, &mut touched);
            }
            Change::Alter { table, actions } => self.alter(self.key(table), actions, &mut touched),
            Change::Rename(pairs) => {
                for (from, to) in pairs {
                    self.rename(self.key(from), self.key(to), &mut touched);
                }
            }
            Change::Drop(tables) => {
                for table in tables {
                    self.remove(self.key(table), &mut touched);
                }
            }
            Change::CreateDatabase { name, if_not_exists, or_replace, charset } => {
                self.create_database(self.folded(name), *if_not_exists, *or_replace, charset, &mut touched);
            }
            Change::AlterDatabase { name, charset } => self.alter_database(self.folded(name), charset),
            Change::DropDatabase(name) => self.drop_database(&self.folded(name), &mut touched),
            Change::Unclear(table) => self.put(self.key(table), Form::unknown(), &mut touched),
            Change::Truncate(_) | Change::Indexes(_) => {}
        }
        touched.into_iter().collect()
    }

    fn folded(&self, name: &str) -> String {
        if self.ignores_case { name.to_lowercase() } else { name.to_owned() }
    }

    fn key(&self, table: &TableName) -> TableName {
        TableName::new(self.folded(&table.schema), self.folded(&table.name))
    }

    fn put(&mut self, table: TableName, form: Form, touched: &mut BTreeSet<TableName>) {
        if self.tables.get(&table) != Some(&form) {
            self.tables.insert(table.clone(), form);
            touched.insert(table);
        }
    }

    fn remove(&mut self, table: TableName, touched: &mut BTreeSet<TableName>) {
        if self.tables.remove(&table).is_some() {
            touched.insert(table);
        }
    }

    /// A table that nothing was said of may have any form, and is no less a table under its new name.
    fn rename(&mut self, from: TableName, to: TableName, touched: &mut BTreeSet<TableName>) {
        let form = self.tables.remove(&from).unwrap_or_else(Form::unknown);
        touched.insert(from);
        touched.insert(to.clone());
        self.tables.insert(to, form);
    }

    fn create(&mut self, table: TableName, if_not_exists: bool, body: &Body, touched: &mut BTreeSet<TableName>) {
        if if_not_exists && self.tables.contains_key(&table) {
            return;
        }
        let may_be_there = if_not_exists && !self.databases.contains_key(&table.schema);
        let form = match body {
            _ if may_be_there => None,
            Body::Columns(definition) => self.defined(&table, definition),
            Body::Like(other) => self.tables.get(&self.key(other)).cloned(),
            Body::Unclear => None,
        };
        // A table that was there under this name is another now, even if it has the same form.
        touched.insert(table.clone());
        self.tables.insert(table, form.unwrap_or_else(Form::unknown));
    }

    fn defined(&self, table: &TableName, definition: &Definition) -> Option<Form> {
        let of_database = self.databases.get(&table.schema);
        let default = definition.charset.resolve(of_database, of_database);
        if default.is_none() && !definition.charset.is_empty() {
            return None;
        }
        let column = |def: &ColumnDef| {
            let native = def.native(default.as_ref(), of_database, None, self.flavor)?;
            Some(LogColumn { name: def.name.clone(), native, generated: def.generated })
        };
        let columns = definition.columns.iter().map(column).collect::<Option<_>>()?;
        Some(Form::known(columns, default))
    }

    fn alter(&mut self, table: TableName, actions: &[AlterAction], touched: &mut BTreeSet<TableName>) {
        let before = self.tables.get(&table).cloned();
        let of_database = self.databases.get(&table.schema);
        if let Some(before) = &before {
            let after = before
                .is_known
                .then(|| reform::altered(before, actions, of_database, self.flavor))
                .flatten()
                .unwrap_or_else(Form::unknown);
            self.put(table.clone(), after, touched);
        }
        for action in actions {
            match action {
                AlterAction::Rename(to) => self.rename(table.clone(), self.key(to), touched),
                AlterAction::PartitionToTable(to) => {
                    let form = before.clone().unwrap_or_else(Form::unknown);
                    self.put(self.key(to), form, touched);
                }
                AlterAction::TableToPartition(from) => self.remove(self.key(from), touched),
                _ => {}
            }
        }
    }

    fn create_database(
        &mut self,
        name: String,
        if_not_exists: bool,
        or_replace: bool,
        charset: &CharsetSpec,
        touched: &mut BTreeSet<TableName>,
    ) {
        if or_replace {
            self.drop_database(&name, touched);
        } else if if_not_exists {
            // It is known already, or may have been there with tables that are not.
            return;
        }
        let server = self.server_charset.as_ref();
        if let Some(charset) = charset.resolve(server, server) {
            self.databases.insert(name, charset);
        }
    }

    fn alter_database(&mut self, name: String, charset: &CharsetSpec) {
        let Some(before) = self.databases.get(&name) else { return };
        match charset.resolve(Some(before), self.server_charset.as_ref()) {
            Some(charset) => drop(self.databases.insert(name, charset)),
            // Later tables would take a default that is not known.
            None => drop(self.databases.remove(&name)),
        }
    }

    fn drop_database(&mut self, name: &str, touched: &mut BTreeSet<TableName>) {
        self.databases.remove(name);
        self.tables.retain(|table, _| {
            let stays = table.schema != *name;
            if !stays {
                touched.insert(table.clone());
            }
            stays
        });
    }
}
