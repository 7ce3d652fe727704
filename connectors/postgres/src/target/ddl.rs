//! Makes and alters tables. Each call is one transaction and safe to repeat.

use super::{fit, foreign, look};
use crate::connection::{from_pg, quote_name, quote_table, quote_text};
use crate::publication::server_version;
use rowferry_api::{
    Alteration, Column, Created, Dialect, Error, ErrorKind, Fill, Finding, ForeignKey, Index, Result, TableName,
    TableSchema, TypeDef, TypeDefKind, failpoint,
};
use tokio_postgres::{Client, GenericClient, Transaction};

/// Bytes of a name (PostgreSQL manual, "Identifiers and Key Words": NAMEDATALEN).
const LONGEST_NAME: usize = 63;

/// Two workers that make the same schema or type wait for each other. A session that has waited hears of what the other one
/// has made only when it opens a table next.
const DDL_LOCK: &str = "SELECT pg_advisory_xact_lock(7239584710223); SELECT FROM pg_catalog.pg_namespace LIMIT 0";

/// A column's type in this dialect.
pub(super) fn native(column: &Column, dialect: Dialect) -> String {
    if dialect == Dialect::Postgres {
        return column.native.clone();
    }
    foreign::native(column, dialect)
}

/// What of a form the target's server cannot have as it is.
pub(super) struct Here {
    /// Extensions that it does not offer.
    missing: Vec<String>,
    version: i32,
}

/// Version 18: generated columns that are computed when they are read.
const WITH_VIRTUAL: i32 = 180_000;

pub(super) async fn here(client: &Client, form: &TableSchema) -> Result<Here> {
    let missing = missing_extensions(client, form.types.iter()).await?;
    Ok(Here { missing, version: server_version(client).await? })
}

/// Extensions that these types need and the server does not offer.
pub(super) async fn missing_extensions<'a>(
    client: &Client,
    types: impl Iterator<Item = &'a TypeDef>,
) -> Result<Vec<String>> {
    let mut needed: Vec<&str> = types
        .filter_map(|def| match &def.kind {
            TypeDefKind::Extension { extension } => Some(extension.as_str()),
            _ => None,
        })
        .collect();
    needed.sort_unstable();
    needed.dedup();
    if needed.is_empty() {
        return Ok(Vec::new());
    }
    let rows = client
        .query(
            "SELECT name FROM unnest($1::text[]) AS name WHERE name NOT IN (SELECT a.name FROM pg_available_extensions a) \
             AND name NOT IN (SELECT extname FROM pg_extension)",
            &[&needed],
        )
        .await
        .map_err(|error| from_pg("look for extensions at the target", error))?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// Why a name cannot be a table's here, and what mends it: the server would cut it off, and take two tables for one.
pub(super) fn too_long(name: &TableName) -> Option<(String, String)> {
    let long = [&name.schema, &name.name].into_iter().find(|part| part.len() > LONGEST_NAME)?;
    let what = format!("\"{long}\" has {} bytes, and PostgreSQL cuts names off at {LONGEST_NAME}", long.len());
    let table = name.name.replace('"', "\\\"");
    Some((
        what,
        format!("set `target` for it: [pipeline.NAME.table.\"{}.{table}\"] target = \"another_name\"", name.schema),
    ))
}

/// Makes a table with its key, or finds that the one there fits.
pub(super) async fn create(client: &mut Client, form: &TableSchema) -> Result<Created> {
    let context = format!("create table {} in the target", form.name);
    if let Some((what, mend)) = too_long(&form.name) {
        return Err(Error::new(ErrorKind::Schema, format!("{context}: {what}")).hint(mend));
    }
    if let Some(have) = look(client, &form.name).await? {
        fit::refuse_unfit(client, form, &have).await?;
        let row = client
            .query_one(&format!("SELECT EXISTS (SELECT FROM {})", have.only()), &[])
            .await
            .map_err(|error| from_pg(context.as_str(), error))?;
        return Ok(if row.get(0) { Created::Filled } else { Created::Empty });
    }
    let here = here(client, form).await?;
    let transaction = client.transaction().await.map_err(|error| from_pg(context.as_str(), error))?;
    // Before the look at what is there: another worker may be making the same type.
    transaction.batch_execute(DDL_LOCK).await.map_err(|error| from_pg(context.as_str(), error))?;
    let mut statements = vec![create_schema(&form.name.schema)];
    statements.extend(create_types(&transaction, &form.types, &here.missing).await?);
    let key_index = key_index(form);
    statements.push(create_table(form, &here, key_index.is_none()));
    statements.extend(key_index.map(|index| index_statement(form, index)));
    for statement in &statements {
        transaction.batch_execute(statement).await.map_err(|error| {
            let error = from_pg(context.as_str(), error);
            if error.kind() == ErrorKind::Other { Error::new(ErrorKind::Schema, error.to_string()) } else { error }
        })?;
    }
    failpoint!("postgres.create");
    transaction.commit().await.map_err(|error| from_pg(context.as_str(), error))?;
    failpoint!("postgres.created");
    Ok(Created::New)
}

fn create_schema(name: &str) -> String {
    // IF NOT EXISTS asks for the right to create even where nothing is created.
    format!(
        "DO $rowferry$ BEGIN IF to_regnamespace({}) IS NULL THEN CREATE SCHEMA {}; END IF; END $rowferry$",
        quote_text(&quote_name(name)),
        quote_name(name)
    )
}

async fn create_types(transaction: &Transaction<'_>, types: &[TypeDef], missing: &[String]) -> Result<Vec<String>> {
    let mut statements = Vec::new();
    for def in types {
        let name = quote_table(&def.name);
        let row = transaction
            .query_one("SELECT to_regtype($1::text) IS NOT NULL", &[&name])
            .await
            .map_err(|error| from_pg(format!("look for type {} at the target", def.name), error))?;
        if row.get(0) {
            statements.extend(label_statements(def, &labels_there(transaction, def).await?));
            continue;
        }
        let schema = create_schema(&def.name.schema);
        let list = |parts: Vec<String>| parts.join(", ");
        let create = match &def.kind {
            TypeDefKind::Enum { labels } => {
                let labels = labels.iter().map(|label| quote_text(label)).collect();
                format!("CREATE TYPE {name} AS ENUM ({})", list(labels))
            }
            TypeDefKind::Domain { base, not_null, checks } => {
                let not_null = if *not_null { " NOT NULL" } else { "" };
                format!("CREATE DOMAIN {name} AS {base}{not_null} {}", checks.join(" "))
            }
            TypeDefKind::Composite { fields } => {
                let fields = fields.iter().map(|(field, ty)| format!("{} {ty}", quote_name(field))).collect();
                format!("CREATE TYPE {name} AS ({})", list(fields))
            }
            TypeDefKind::Range { options } => format!("CREATE TYPE {name} AS RANGE ({options})"),
            TypeDefKind::Extension { extension } if missing.contains(extension) => continue,
            TypeDefKind::Extension { extension } => {
                let (extension, schema) = (quote_name(extension), quote_name(&def.name.schema));
                format!("CREATE EXTENSION IF NOT EXISTS {extension} WITH SCHEMA {schema}")
            }
        };
        statements.push(schema);
        statements.push(create);
    }
    Ok(statements)
}

/// The index of the source that keeps the key unique, where that is not its primary key.
fn key_index(form: &TableSchema) -> Option<&Index> {
    let key: Vec<&String> = form.key_columns().map(|column| &column.name).collect();
    let deferrable = |index: &Index| index.constraint.as_ref().is_some_and(|clause| clause.contains(" DEFERRABLE"));
    let keeps = |index: &&Index| {
        index.unique && !index.partial && !deferrable(index) && index.columns.iter().collect::<Vec<_>>() == key
    };
    form.indexes.iter().filter(|_| form.dialect == Dialect::Postgres).find(keeps)
}

fn create_table(form: &TableSchema, here: &Here, with_key: bool) -> String {
    let mut parts: Vec<String> = form.columns.iter().map(|column| define(column, form, here)).collect();
    // An expression of another dialect means nothing here.
    let computed = form.computed.iter().filter(|_| form.dialect == Dialect::Postgres);
    parts.extend(computed.map(|column| define(column, form, here)));
    let key: Vec<String> = form.key_columns().map(|column| quote_name(&column.name)).collect();
    if with_key {
        parts.push(format!("PRIMARY KEY ({})", key.join(", ")));
    }
    format!("CREATE TABLE {} ({})", quote_table(&form.name), parts.join(", "))
}

/// The column's type here: what an extension would bring that is not installed is text.
pub(super) fn type_here(column: &Column, form: &TableSchema, here: &Here) -> String {
    let native = native(column, form.dialect);
    let lacks = form.types.iter().any(|def| match &def.kind {
        TypeDefKind::Extension { extension } => {
            let plain = native.split(['(', '[']).next().unwrap_or_default();
            here.missing.contains(extension) && (plain == def.name.to_string() || plain == quote_table(&def.name))
        }
        _ => false,
    });
    if lacks { "text".into() } else { native }
}

fn define(column: &Column, form: &TableSchema, here: &Here) -> String {
    let ty = type_here(column, form, here);
    let mut text = format!("{} {ty}", quote_name(&column.name));
    if let Some(generated) = &column.generated
        && form.computed.iter().any(|computed| computed.name == column.name)
    {
        let kept = if generated.stored || here.version < WITH_VIRTUAL { "STORED" } else { "VIRTUAL" };
        text += &format!(" GENERATED ALWAYS AS ({}) {kept}", generated.expression);
    } else if column.identity {
        if counts_here(column, &ty) {
            text += " GENERATED BY DEFAULT AS IDENTITY";
        }
    } else if let (Some(default), Dialect::Postgres) = (&column.default, form.dialect) {
        text += &format!(" DEFAULT {default}");
    }
    if !column.nullable {
        text += " NOT NULL";
    }
    text
}

/// PostgreSQL's identity is never NULL and of these types only. Other columns keep what the source counted.
fn counts_here(column: &Column, ty: &str) -> bool {
    column.identity && !column.nullable && matches!(ty, "smallint" | "integer" | "bigint")
}

/// Carries a change of form over.
pub(super) async fn alter(client: &mut Client, form: &TableSchema, alterations: &[Alteration]) -> Result<()> {
    let context = format!("alter table {} in the target", form.name);
    let failed = |error| from_pg(context.as_str(), error);
    // A label cannot be used in the transaction that adds it, so labels come first, each by itself.
    for def in alterations.iter().filter_map(|alteration| match alteration {
        Alteration::EnumLabels(def) => Some(def),
        _ => None,
    }) {
        for statement in label_statements(def, &labels_there(client, def).await?) {
            client.batch_execute(&statement).await.map_err(failed)?;
        }
    }
    let Some(have) = look(client, &form.name).await? else {
        let what = format!("{context}: it is not there");
        return Err(Error::new(ErrorKind::Schema, what).hint("It was dropped there: `rowferry resync` makes it again."));
    };
    let here = here(client, form).await?;
    let transaction = client.transaction().await.map_err(failed)?;
    transaction.batch_execute(DDL_LOCK).await.map_err(failed)?;
    let mut statements = Vec::new();
    statements.extend(create_types(&transaction, &form.types, &here.missing).await?);
    let table = quote_table(&form.name);
    for alteration in alterations {
        let has = |name: &str| have.columns.iter().find(|have| have.name == name);
        match alteration {
            Alteration::AddComputed(_) if form.dialect != Dialect::Postgres => {}
            Alteration::AddColumn(column) | Alteration::AddComputed(column) => {
                let dropped =
                    |other: &Alteration| matches!(other, Alteration::DropColumn(name) if *name == column.name);
                if has(&column.name).is_none() || alterations.iter().any(dropped) {
                    statements.extend(add_column(&table, column, form, &here));
                }
            }
            Alteration::DropColumn(name) => {
                statements.push(format!("ALTER TABLE {table} DROP COLUMN IF EXISTS {}", quote_name(name)));
            }
            Alteration::ChangeType(column) => {
                let (name, ty) = (quote_name(&column.name), type_here(column, form, &here));
                if has(&column.name).is_some_and(|have| have.native != ty && have.native != "text") {
                    statements.push(format!("ALTER TABLE {table} ALTER COLUMN {name} TYPE {ty} USING {name}::{ty}"));
                }
            }
            Alteration::DropNotNull(name) => {
                statements.push(format!("ALTER TABLE {table} ALTER COLUMN {} DROP NOT NULL", quote_name(name)));
            }
            Alteration::EnumLabels(_) => {}
        }
    }
    for statement in &statements {
        transaction.batch_execute(statement).await.map_err(|error| {
            let error = from_pg(context.as_str(), error);
            if error.kind() == ErrorKind::Other { Error::new(ErrorKind::Schema, error.to_string()) } else { error }
        })?;
    }
    failpoint!("postgres.alter");
    transaction.commit().await.map_err(failed)?;
    failpoint!("postgres.altered");
    Ok(())
}

/// Rows that are there take the fill; the default that stays is the column's own.
fn add_column(table: &str, column: &Column, form: &TableSchema, here: &Here) -> Vec<String> {
    let name = quote_name(&column.name);
    let Fill::Value(fill) = &column.fill else {
        // Without a value for the rows that are there NOT NULL could not hold while older rows still come; an identity
        // gives one.
        let counts = counts_here(column, &type_here(column, form, here));
        let nullable = Column { nullable: !counts, ..column.clone() };
        return vec![format!("ALTER TABLE {table} ADD COLUMN {}", define(&nullable, form, here))];
    };
    let plain = Column { default: None, nullable: column.nullable, ..column.clone() };
    let ty = type_here(column, form, here);
    let literal = format!("{}::{ty}", quote_text(fill).trim_start());
    let mut statements =
        vec![format!("ALTER TABLE {table} ADD COLUMN {} DEFAULT {literal}", define(&plain, form, here))];
    match (&column.default, form.dialect) {
        (Some(default), Dialect::Postgres) => {
            statements.push(format!("ALTER TABLE {table} ALTER COLUMN {name} SET DEFAULT {default}"));
        }
        _ => statements.push(format!("ALTER TABLE {table} ALTER COLUMN {name} DROP DEFAULT")),
    }
    statements
}

/// The labels that the target's type has.
async fn labels_there(client: &impl GenericClient, def: &TypeDef) -> Result<Vec<String>> {
    let statement = "SELECT enumlabel::text FROM pg_enum WHERE enumtypid = to_regtype($1::text) ORDER BY enumsortorder";
    let rows = client.query(statement, &[&quote_table(&def.name)]).await;
    let rows = rows.map_err(|error| from_pg(format!("look at type {} at the target", def.name), error))?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// Adds the labels that are missing, each beside one that is there by then: those before the first that is there from
/// right to left, the others after the one before them.
fn label_statements(def: &TypeDef, there: &[String]) -> Vec<String> {
    let TypeDefKind::Enum { labels } = &def.kind else {
        return Vec::new();
    };
    let name = quote_table(&def.name);
    let add = |label: &String, place: String| {
        format!("ALTER TYPE {name} ADD VALUE IF NOT EXISTS {}{place}", quote_text(label))
    };
    let first = labels.iter().position(|label| there.contains(label));
    let before = (0..first.unwrap_or(0)).rev();
    let before = before.map(|index| add(&labels[index], format!(" BEFORE {}", quote_text(&labels[index + 1]))));
    let after = |index: usize| match index.checked_sub(1) {
        Some(previous) => format!(" AFTER {}", quote_text(&labels[previous])),
        None => String::new(),
    };
    let rest = (first.unwrap_or(0)..labels.len()).filter(|&index| !there.contains(&labels[index]));
    before.chain(rest.map(|index| add(&labels[index], after(index)))).collect()
}

/// Builds secondary indexes, unique constraints and foreign keys.
pub(super) async fn finish(client: &Client, form: &TableSchema, replica_role: bool) -> Result<Vec<Finding>> {
    let mut findings = Vec::new();
    findings.extend(set_not_null(client, form).await?);
    for index in &form.indexes {
        let (name, statement) = match form.dialect {
            Dialect::Postgres => (index.name.clone(), Some(index_statement(form, index))),
            _ => (foreign::index_name(form, index), foreign::index_statement(form, index)),
        };
        let Some(statement) = statement else {
            let what = format!("index {} has no counterpart here and is left out", index.name);
            findings.push(Finding::warning(format!("table {}", form.name), what, None));
            continue;
        };
        if !exists(client, &form.name, &name).await? {
            findings.extend(attempt(client, form, &name, &statement).await?);
        }
        failpoint!("postgres.index");
    }
    for key in &form.foreign_keys {
        if look(client, &key.references).await?.is_some() && !exists(client, &form.name, &key.name).await? {
            findings.extend(attempt(client, form, &key.name, &foreign_key_statement(form, key, replica_role)).await?);
        }
    }
    let analyzed = client.batch_execute(&format!("ANALYZE {}", quote_table(&form.name))).await;
    analyzed.map_err(|error| from_pg(format!("analyze table {}", form.name), error))?;
    Ok(findings)
}

/// A column that was added while older rows could not say what they hold in it takes its NOT NULL now.
async fn set_not_null(client: &Client, form: &TableSchema) -> Result<Vec<Finding>> {
    let mut findings = Vec::new();
    let Some(have) = look(client, &form.name).await? else { return Ok(findings) };
    for column in form.columns.iter().filter(|column| !column.nullable) {
        if have.columns.iter().any(|have| have.name == column.name && !have.not_null) {
            let (table, name) = (quote_table(&form.name), quote_name(&column.name));
            let statement = format!("ALTER TABLE {table} ALTER COLUMN {name} SET NOT NULL");
            findings.extend(attempt(client, form, &column.name, &statement).await?);
        }
    }
    Ok(findings)
}

async fn exists(client: &Client, table: &TableName, name: &str) -> Result<bool> {
    let row = client
        .query_one(
            "SELECT EXISTS (SELECT FROM pg_constraint WHERE conrelid = to_regclass($1::text) AND conname = $2)
                 OR EXISTS (SELECT FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
                            WHERE i.indrelid = to_regclass($1::text) AND c.relname = $2)",
            &[&quote_table(table), &name],
        )
        .await
        .map_err(|error| from_pg(format!("look at the indexes of table {table}"), error))?;
    Ok(row.get(0))
}

fn index_statement(form: &TableSchema, index: &Index) -> String {
    let table = quote_table(&form.name);
    match &index.constraint {
        Some(clause) => format!("ALTER TABLE {table} ADD CONSTRAINT {} {clause}", quote_name(&index.name)),
        None => index.definition.replacen("{table}", &table, 1),
    }
}

fn foreign_key_statement(form: &TableSchema, key: &ForeignKey, replica_role: bool) -> String {
    let names = |names: &[String]| names.iter().map(|name| quote_name(name)).collect::<Vec<_>>().join(", ");
    let actions = if replica_role { key.actions.clone() } else { passive(&key.actions) };
    format!(
        "ALTER TABLE {} ADD CONSTRAINT {} FOREIGN KEY ({}) REFERENCES {} ({}) {actions}",
        quote_table(&form.name),
        quote_name(&key.name),
        names(&key.columns),
        quote_table(&key.references),
        names(&key.referenced_columns),
    )
}

/// The actions of a foreign key that acts in our session. What it would do to other rows the log says too, and a batch puts
/// it off to its end, since rows are written table by table.
fn passive(actions: &str) -> String {
    let kept = ["MATCH FULL", "MATCH PARTIAL"].into_iter().filter(|clause| actions.starts_with(clause));
    let proven = ["NOT VALID", "NOT ENFORCED"].into_iter().filter(|clause| actions.ends_with(clause));
    kept.chain(["DEFERRABLE INITIALLY IMMEDIATE"]).chain(proven).collect::<Vec<_>>().join(" ")
}

/// Runs a statement whose failure is worth a line and no more. A lost connection is an error all the same.
async fn attempt(client: &Client, form: &TableSchema, name: &str, statement: &str) -> Result<Option<Finding>> {
    match client.batch_execute(statement).await {
        Ok(()) => Ok(None),
        Err(error) if client.is_closed() => Err(from_pg(format!("finish table {}", form.name), error)),
        Err(error) => {
            let what = from_pg(format!("build {name}"), error).to_string();
            Ok(Some(Finding::warning(format!("table {}", form.name), what, Some(format!("{statement};")))))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn added(labels: &str, there: &str) -> Vec<String> {
        let list = |text: &str| text.split_whitespace().map(ToOwned::to_owned).collect::<Vec<_>>();
        let def = TypeDef { name: TableName::new("s", "e"), kind: TypeDefKind::Enum { labels: list(labels) } };
        let short = |statement: String| statement.replace("ALTER TYPE \"s\".\"e\" ADD VALUE IF NOT EXISTS ", "");
        label_statements(&def, &list(there)).into_iter().map(short).collect()
    }

    #[test]
    fn missing_labels_come_beside_those_that_are_there() {
        assert_eq!(added("a b c", "a b c"), [""; 0]);
        assert_eq!(added("a b c d e", "c"), ["'b' BEFORE 'c'", "'a' BEFORE 'b'", "'d' AFTER 'c'", "'e' AFTER 'd'"]);
        assert_eq!(added("a b c d", "b d"), ["'a' BEFORE 'b'", "'c' AFTER 'b'"]);
        assert_eq!(added("a b", "other"), ["'a'", "'b' AFTER 'a'"]);
    }

    #[test]
    fn a_foreign_key_that_acts_changes_no_row_and_can_be_put_off() {
        assert_eq!(passive("ON DELETE CASCADE"), "DEFERRABLE INITIALLY IMMEDIATE");
        assert_eq!(
            passive("MATCH FULL ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED NOT VALID"),
            "MATCH FULL DEFERRABLE INITIALLY IMMEDIATE NOT VALID"
        );
    }
}
