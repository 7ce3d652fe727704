//! Compares a source with its target value by value, and shares no code with rowferry: what `verify` says is itself
//! tested against this.
//!
//! Both ends are read whole into memory and sorted there, so that neither collations nor keys matter.

use crate::{Database, MysqlDatabase, mysql, sqlite};
use std::collections::BTreeMap;
use std::path::Path;

/// Both ends say the same text for the same value under these.
pub(crate) const SESSION: &str = "SET timezone = 'UTC'; SET datestyle = 'ISO'; SET intervalstyle = 'postgres'; \
    SET extra_float_digits = 3; SET bytea_output = 'hex'; SET lc_monetary = 'C'; SET client_encoding = 'UTF8'; \
    SET xmloption = 'content'; SET search_path = pg_catalog;";

/// Differences shown of one table.
const SHOWN: usize = 10;

/// A table at both ends.
#[derive(Debug, Clone)]
pub struct Pair {
    /// Schema and name at the source.
    pub source: (String, String),
    /// Schema and name at the target; no schema in SQLite.
    pub target: (String, String),
    /// Only these columns are expected at the target; empty for all.
    pub columns: Vec<String>,
}

/// Where the copy is.
#[derive(Debug, Clone, Copy)]
pub enum Target<'a> {
    /// A PostgreSQL database.
    Postgres(&'a Database),
    /// An SQLite file.
    Sqlite(&'a Path),
    /// A database of MySQL or MariaDB, which holds the tables of all schemas.
    Mysql(&'a MysqlDatabase),
}

/// One column as the source's catalog has it.
#[derive(Debug, Clone)]
pub(crate) struct Column {
    pub(crate) name: String,
    /// The base type below any domain, as `pg_type.typname`.
    pub(crate) base_type: String,
    /// `numeric(10,2)`, `public.mood`.
    full_type: String,
    not_null: bool,
    generated: bool,
}

impl Target<'_> {
    /// The name that a table takes there when the configuration names none.
    pub fn default_name(&self, schema: &str, name: &str) -> (String, String) {
        match self {
            Self::Postgres(_) => (schema.to_owned(), name.to_owned()),
            Self::Mysql(_) => (String::new(), name.to_owned()),
            Self::Sqlite(_) if schema == "public" => (String::new(), name.to_owned()),
            Self::Sqlite(_) => (String::new(), format!("{schema}_{name}")),
        }
    }
}

/// Every table of the source that the user made: plain ones and the roots of partitioned ones.
pub async fn source_tables(source: &Database, target: &Target<'_>) -> Vec<Pair> {
    let sql = "SELECT nspname, relname FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace \
        WHERE relkind IN ('r', 'p') AND NOT relispartition AND relpersistence = 'p' \
        AND nspname NOT IN ('pg_catalog', 'information_schema', 'rowferry') ORDER BY 1, 2";
    let pair = |row: Vec<Option<String>>| {
        let [schema, name] = row.try_into().unwrap();
        let (schema, name) = (schema.unwrap(), name.unwrap());
        let there = target.default_name(&schema, &name);
        Pair { source: (schema, name), target: there, columns: Vec::new() }
    };
    source.query_text(sql).await.into_iter().map(pair).collect()
}

/// Compares the rows of tables; each difference is one line. Empty: they are the same.
pub async fn differences(source: &Database, target: Target<'_>, pairs: &[Pair]) -> Vec<String> {
    let mut found = Vec::new();
    for pair in pairs {
        let (schema, name) = &pair.source;
        let mut columns = columns_of(source, schema, name).await;
        if !pair.columns.is_empty() {
            columns.retain(|column| pair.columns.contains(&column.name));
        }
        let there = match target {
            Target::Postgres(database) => rows(database, &pair.target.0, &pair.target.1, &columns).await,
            Target::Sqlite(file) => {
                columns.retain(|column| !column.generated);
                sqlite::rows(file, &pair.target.1, &columns)
            }
            Target::Mysql(database) => {
                columns.retain(|column| !column.generated);
                let names: Vec<_> = columns.iter().map(|column| column.name.as_str()).collect();
                mysql::compare::named_rows(database, &pair.target.1, &names).await
            }
        };
        let here = rows(source, schema, name, &columns).await;
        match (here, there) {
            (Ok(here), Ok(there)) => {
                let here = match target {
                    Target::Postgres(_) => here.iter().map(|row| join(row)).collect(),
                    Target::Sqlite(_) => here.iter().map(|row| sqlite::expected(&columns, row)).collect(),
                    Target::Mysql(_) => {
                        here.into_iter().map(|row| join(&mysql::compare::from_postgres(&columns, row))).collect()
                    }
                };
                let there = there.iter().map(|row| join(row)).collect();
                found.extend(row_differences(&format!("{schema}.{name}"), here, there));
            }
            (Err(error), _) => found.push(format!("{schema}.{name}: read the source: {error}")),
            (_, Err(error)) => found.push(format!("{schema}.{name}: read the target: {error}")),
        }
    }
    found
}

/// Panics unless all tables are the same, value by value, and there is one. Returns how many there are.
pub async fn assert_same(source: &Database, target: Target<'_>) -> usize {
    let pairs = source_tables(source, &target).await;
    all_same(&pairs, &differences(source, target, &pairs).await)
}

/// Panics if there is no table or any difference. Returns how many tables there are.
pub(crate) fn all_same<P>(pairs: &[P], found: &[String]) -> usize {
    assert!(!pairs.is_empty(), "the source has no table");
    assert!(found.is_empty(), "{}", found.join("\n"));
    pairs.len()
}

/// Compares columns, constraints and indexes of tables in two PostgreSQL databases.
pub async fn structure_differences(source: &Database, target: &Database, pairs: &[Pair]) -> Vec<String> {
    let mut found = Vec::new();
    for pair in pairs {
        let ((schema, name), there) = (&pair.source, &pair.target);
        found.extend(column_differences(target, pair, &columns_of(source, schema, name).await).await);
        let ends = [(source, schema, name), (target, &there.0, &there.1)];
        let mut sides = Vec::new();
        for (database, schema, name) in ends {
            let table = literal(&format!("{}.{}", quoted(schema), quoted(name)));
            let constraints = format!(
                "SELECT contype::text || ' ' || pg_get_constraintdef(oid) FROM pg_constraint \
                 WHERE conrelid = {table}::regclass AND contype IN ('p', 'u', 'f', 'x')"
            );
            // The name of an index is the target's own matter: what it is over is not.
            let indexes = format!(
                "SELECT 'i ' || regexp_replace(pg_get_indexdef(indexrelid), ' INDEX .*? USING ', ' USING ') \
                 FROM pg_index WHERE indrelid = {table}::regclass AND indisvalid \
                 AND NOT EXISTS (SELECT FROM pg_constraint WHERE conindid = indexrelid AND contype IN ('p', 'u', 'x'))"
            );
            let sql = format!("{SESSION} {constraints} UNION ALL {indexes} ORDER BY 1");
            sides.push(database.query_text(&sql).await.into_iter().map(|row| row[0].clone().unwrap()).collect());
        }
        let there = sides.pop().unwrap();
        found.extend(row_differences(&format!("structure of {schema}.{name}"), sides.pop().unwrap(), there));
    }
    found
}

async fn column_differences(target: &Database, pair: &Pair, expected: &[Column]) -> Vec<String> {
    let form = |column: &Column| format!("{} {} not null: {}", column.name, column.full_type, column.not_null);
    let there = columns_of(target, &pair.target.0, &pair.target.1).await;
    let name = format!("columns of {}.{}", pair.source.0, pair.source.1);
    row_differences(&name, expected.iter().map(form).collect(), there.iter().map(form).collect())
}

async fn columns_of(database: &Database, schema: &str, name: &str) -> Vec<Column> {
    let sql = format!(
        "{SESSION} WITH RECURSIVE base AS (
            SELECT oid AS type, oid, typname, typtype, typbasetype FROM pg_type
            UNION ALL SELECT base.type, t.oid, t.typname, t.typtype, t.typbasetype
            FROM base JOIN pg_type t ON t.oid = base.typbasetype)
         SELECT attname, base.typname, format_type(atttypid, atttypmod), attnotnull, attgenerated <> ''
         FROM pg_attribute JOIN pg_class c ON c.oid = attrelid JOIN pg_namespace n ON n.oid = relnamespace
         JOIN base ON base.type = atttypid AND base.typbasetype = 0
         WHERE nspname = {} AND relname = {} AND attnum > 0 AND NOT attisdropped ORDER BY attnum",
        literal(schema),
        literal(name)
    );
    let column = |row: Vec<Option<String>>| {
        let [name, base_type, full_type, not_null, generated] = row.try_into().unwrap();
        let is = |flag: Option<String>| flag.as_deref() == Some("t");
        Column {
            name: name.unwrap(),
            base_type: base_type.unwrap(),
            full_type: full_type.unwrap(),
            not_null: is(not_null),
            generated: is(generated),
        }
    };
    database.query_text(&sql).await.into_iter().map(column).collect()
}

async fn rows(
    database: &Database,
    schema: &str,
    name: &str,
    columns: &[Column],
) -> Result<Vec<Vec<Option<String>>>, String> {
    let list: Vec<_> = columns.iter().map(|column| quoted(&column.name)).collect();
    let sql = format!("{SESSION} SELECT {} FROM {}", list.join(", "), own_rows(database, schema, name).await);
    database.try_query_text(&sql).await.map_err(|error| format!("{error:?}"))
}

/// What stands after FROM for a table's own rows: without those of tables that inherit from it, with those of its partitions.
pub async fn own_rows(database: &Database, schema: &str, name: &str) -> String {
    let table = format!("{}.{}", quoted(schema), quoted(name));
    let sql = format!("SELECT relkind FROM pg_class WHERE oid = to_regclass({})", literal(&table));
    let is_plain = database.query_text(&sql).await.iter().flatten().any(|kind| kind.as_deref() == Some("r"));
    if is_plain { format!("ONLY {table}") } else { table }
}

/// Rows of one side only, with their number: `+` is at the target only, `-` at the source only.
pub(crate) fn row_differences(name: &str, here: Vec<String>, there: Vec<String>) -> Vec<String> {
    let (many_here, many_there) = (here.len(), there.len());
    let mut counts = BTreeMap::<String, i64>::new();
    here.into_iter().for_each(|row| *counts.entry(row).or_default() -= 1);
    there.into_iter().for_each(|row| *counts.entry(row).or_default() += 1);
    counts.retain(|_, count| *count != 0);
    let total = counts.len();
    let show = |(row, count): (String, i64)| {
        let sign = if count > 0 { '+' } else { '-' };
        let short: String = row.chars().take(300).collect();
        format!("{name}: {sign} {short}")
    };
    let mut shown: Vec<_> = counts.into_iter().take(SHOWN).map(show).collect();
    if total > 0 {
        shown.insert(0, format!("{name}: {total} differ, {many_here} at the source, {many_there} at the target"));
    }
    shown
}

pub(crate) fn join(row: &[Option<String>]) -> String {
    let cells: Vec<_> =
        row.iter().map(|cell| cell.as_ref().map_or("NULL".to_owned(), |text| format!("{text:?}"))).collect();
    cells.join(" | ")
}

pub(crate) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

pub(crate) fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}
