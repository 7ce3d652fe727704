//! Names in lower case, as a server keeps them whose `lower_case_table_names` is not 0.

use super::{AlterAction, Body, Change, Statement};
use rowferry_api::TableName;

impl Statement {
    /// With the names of tables and databases in lower case.
    pub(crate) fn in_lower_case(mut self) -> Self {
        match &mut self {
            Self::Dml { tables, .. } => tables.iter_mut().for_each(lower),
            Self::Ddl(changes) => changes.iter_mut().for_each(lower_change),
            _ => {}
        }
        self
    }
}

fn lower(table: &mut TableName) {
    table.schema = table.schema.to_lowercase();
    table.name = table.name.to_lowercase();
}

fn lower_change(change: &mut Change) {
    match change {
        Change::Create { table, body, .. } => {
            lower(table);
            if let Body::Like(other) = body {
                lower(other);
            }
        }
        Change::Alter { table, actions } => {
            lower(table);
            for action in actions {
                if let AlterAction::Rename(other)
                | AlterAction::PartitionToTable(other)
                | AlterAction::TableToPartition(other)
                | AlterAction::Rows { with: Some(other) } = action
                {
                    lower(other);
                }
            }
        }
        Change::Rename(pairs) => pairs.iter_mut().for_each(|(from, to)| {
            lower(from);
            lower(to);
        }),
        Change::Drop(tables) => tables.iter_mut().for_each(lower),
        Change::Truncate(table) | Change::Indexes(table) | Change::Unclear(table) => lower(table),
        Change::CreateDatabase { name, .. } | Change::AlterDatabase { name, .. } | Change::DropDatabase(name) => {
            *name = name.to_lowercase();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{SqlMode, parse};

    #[test]
    fn names_are_folded_wherever_they_stand() {
        let read = |statement: &str| parse(statement, "Shop", SqlMode::default()).in_lower_case();
        let same =
            |upper: &str, lower: &str| assert_eq!(read(upper), parse(lower, "shop", SqlMode::default()), "{upper}");
        same("TRUNCATE TABLE Orders", "TRUNCATE TABLE orders");
        same("RENAME TABLE A TO B, Other.C TO A", "RENAME TABLE a TO b, other.c TO a");
        same("ALTER TABLE A RENAME TO B", "ALTER TABLE a RENAME TO b");
        same("ALTER TABLE A EXCHANGE PARTITION p WITH TABLE B", "ALTER TABLE a EXCHANGE PARTITION p WITH TABLE b");
        same("CREATE TABLE A LIKE Shop.B", "CREATE TABLE a LIKE shop.b");
        same("DROP TABLE A, B", "DROP TABLE a, b");
        same("DROP DATABASE Shop", "DROP DATABASE shop");
    }
}
