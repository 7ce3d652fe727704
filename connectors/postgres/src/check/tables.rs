//! Each table: rights, keys, replica identity, and what the log would leave out.

use super::{Asked, server::Server};
use crate::catalog::Entry;
use crate::connection::{from_pg, quote_name, quote_table};
use crate::publication::{Publication, WITH_ROOTS};
use rowferry_api::{Finding, Index, Result, SourceTable, TableName, TableSchema};
use std::collections::{BTreeSet, HashMap};
use tokio_postgres::Client;

const TABLES: &str = "
    SELECT c.oid, has_table_privilege(c.oid, 'SELECT'), has_schema_privilege(c.relnamespace, 'USAGE'),
           pg_has_role(c.relowner, 'USAGE'), row_security_active(c.oid), c.relkind = 'p'
    FROM pg_class c WHERE c.oid = ANY($1)";

/// Beside the chosen tables or below them, and not in the log.
const UNLOGGED: &str = "
    SELECT n.nspname::text, c.relname::text, c.relkind = 'f'
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = ANY($1) AND (c.relkind = 'f' OR c.relkind = 'r' AND c.relpersistence = 'u')
      AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
    ORDER BY 1, 2 LIMIT 20";

/// What each leaf of a partitioned table logs of an old row; NULL stands for all of it. Partitions do not take their root's
/// replica identity over.
const LEAVES: &str = "
    SELECT root.oid, n.nspname::text, l.relname::text,
           CASE WHEN l.relreplident <> 'f' THEN ARRAY(
               SELECT a.attname::text FROM pg_index i JOIN pg_attribute a ON a.attrelid = l.oid AND a.attnum = ANY(i.indkey)
               WHERE i.indrelid = l.oid AND i.indisvalid AND i.indimmediate
                 AND (l.relreplident = 'i' AND i.indisreplident OR l.relreplident = 'd' AND i.indisprimary)) END,
           l.relpersistence = 'u'
    FROM unnest($1::oid[]) AS root(oid) CROSS JOIN LATERAL pg_partition_tree(root.oid) p
    JOIN pg_class l ON l.oid = p.relid AND l.relkind = 'r' JOIN pg_namespace n ON n.oid = l.relnamespace
    WHERE p.isleaf ORDER BY 1, 2, 3";

struct Leaf {
    name: TableName,
    /// The columns that it logs of an old row, if it does not log all.
    identity: Option<Vec<String>>,
    /// It logs nothing.
    is_unlogged: bool,
}

/// What our user may do with a table, and its kind. A table that was dropped just now stands in nobody's way.
#[derive(Clone, Copy)]
struct Access {
    select: bool,
    usage: bool,
    owns: bool,
    row_security: bool,
    partitioned: bool,
}

pub(super) async fn check(
    client: &Client,
    asked: &Asked<'_>,
    publication: Option<&Publication>,
    server: &Server,
) -> Result<Vec<Finding>> {
    let oids: Vec<u32> = asked.entries.iter().map(|entry| entry.oid).collect();
    let rows = client.query(TABLES, &[&oids]).await.map_err(|error| from_pg("look at the rights on tables", error))?;
    let flag = |row: &tokio_postgres::Row, index: usize, gone: bool| row.get::<_, Option<bool>>(index).unwrap_or(gone);
    let access: HashMap<u32, Access> = rows
        .iter()
        .map(|row| {
            let (select, usage, owns) = (flag(row, 1, true), flag(row, 2, true), flag(row, 3, true));
            (row.get(0), Access { select, usage, owns, row_security: flag(row, 4, false), partitioned: row.get(5) })
        })
        .collect();
    let leaves = leaves(client, &access).await?;
    let by_name: HashMap<&TableName, &Entry> =
        asked.entries.iter().map(|entry| (&entry.table.schema.name, entry)).collect();
    let mut findings = Vec::new();
    for table in asked.tables {
        let entry = by_name.get(&table.schema.name);
        let Some((entry, access)) = entry.and_then(|entry| Some((entry, access.get(&entry.oid)?))) else {
            continue;
        };
        let subject = format!("table {}", table.schema.name);
        let blocked = |(what, mend): (String, String)| Finding::blocked(subject.clone(), what, mend);
        findings.extend(about_access(&table.schema.name, *access, server).into_iter().map(blocked));
        findings.extend(about_publishing(table, *access, asked, publication, server).map(blocked));
        let key = about_key(table, entry);
        let leaves = || about_leaves(&table.schema, leaves.get(&entry.oid)?);
        findings.extend(key.or_else(leaves).map(blocked));
        findings.extend(nullable_key(&table.schema));
    }
    findings.extend(about_unlogged(client, asked.tables).await?);
    Ok(findings)
}

fn about_access(name: &TableName, access: Access, server: &Server) -> Vec<(String, String)> {
    let (table, user) = (quote_table(name), quote_name(&server.user));
    let mut found = Vec::new();
    if !access.usage || !access.select {
        let usage = format!("GRANT USAGE ON SCHEMA {} TO {user};", quote_name(&name.schema));
        let select = format!("GRANT SELECT ON {table} TO {user};");
        let grants = [(!access.usage).then_some(usage), (!access.select).then_some(select)];
        found.push((
            format!("user {} may not read it", server.user),
            grants.into_iter().flatten().collect::<Vec<_>>().join(" "),
        ));
    }
    if access.row_security {
        let what = format!("row security would hide rows of it from user {}", server.user);
        found.push((what, format!("ALTER ROLE {user} BYPASSRLS;")));
    }
    found
}

fn about_publishing(
    table: &SourceTable,
    access: Access,
    asked: &Asked<'_>,
    publication: Option<&Publication>,
    server: &Server,
) -> Option<(String, String)> {
    let name = &table.schema.name;
    if access.partitioned && server.version < WITH_ROOTS {
        let what = "it is partitioned, and before PostgreSQL 13 only its partitions can be published";
        return Some((what.into(), format!("replicate its partitions instead: add \"!{name}\" to `tables`")));
    }
    if let Some(conflict) = publication.and_then(|publication| publication.conflict(asked.publication, table)) {
        return Some(conflict);
    }
    if let Some(narrowing) = publication.and_then(|publication| publication.narrowing(asked.publication, table)) {
        return Some(narrowing);
    }
    let covered = publication.is_some_and(|publication| publication.tables.contains(name));
    if access.owns || covered {
        return None;
    }
    let (table, user) = (quote_table(name), quote_name(&server.user));
    let as_owner = match publication {
        Some(_) => format!("ALTER PUBLICATION {} ADD TABLE ONLY {table};", quote_name(asked.publication)),
        None => format!("CREATE PUBLICATION {} FOR TABLE ONLY {table};", quote_name(asked.publication)),
    };
    let what = format!("user {} does not own it, and only its owner can add it to a publication", server.user);
    Some((what, format!("as a superuser: {as_owner} -- or ALTER TABLE {table} OWNER TO {user};")))
}

fn about_key(table: &SourceTable, entry: &Entry) -> Option<(String, String)> {
    let form = &table.schema;
    let name = quote_table(&form.name);
    if form.key.is_empty() {
        let what = "it has no primary key and no replica identity that names its rows: once published, its updates and deletes \
                    would fail";
        return Some((what.into(), keyless_mends(form)));
    }
    let is_logged = |column: &str| entry.identity_columns.iter().any(|logged| logged == column);
    let lacks: Vec<&str> =
        form.key_columns().map(|column| column.name.as_str()).filter(|column| !is_logged(column)).collect();
    if lacks.is_empty() {
        return None;
    }
    let full = format!("ALTER TABLE {name} REPLICA IDENTITY FULL;");
    let columns = lacks.join(", ");
    Some(match entry.identity {
        'n' => (
            "its replica identity is NOTHING: once published, its updates and deletes would fail".into(),
            format!("ALTER TABLE {name} REPLICA IDENTITY DEFAULT; -- with a primary key, else: {full}"),
        ),
        'd' if entry.identity_columns.is_empty() => (
            format!(
                "its replica identity is DEFAULT, and it has no primary key that can serve: the log lacks the key's columns {columns}"
            ),
            full,
        ),
        'd' => (format!("its replica identity is the primary key, which lacks the key's columns {columns}"), full),
        _ => (
            format!("the index of its replica identity lacks the key's columns {columns}"),
            format!("{full} -- or make the index's columns the `key`"),
        ),
    })
}

async fn leaves(client: &Client, access: &HashMap<u32, Access>) -> Result<HashMap<u32, Vec<Leaf>>> {
    let roots: Vec<u32> = access.iter().filter(|(_, access)| access.partitioned).map(|(&oid, _)| oid).collect();
    let rows =
        client.query(LEAVES, &[&roots]).await.map_err(|error| from_pg("look at the tables' partitions", error))?;
    let mut leaves: HashMap<u32, Vec<Leaf>> = HashMap::new();
    for row in &rows {
        let name = TableName::new(row.get::<_, String>(1), row.get::<_, String>(2));
        let leaf = Leaf { name, identity: row.get(3), is_unlogged: row.get(4) };
        leaves.entry(row.get(0)).or_default().push(leaf);
    }
    Ok(leaves)
}

fn about_leaves(form: &TableSchema, leaves: &[Leaf]) -> Option<(String, String)> {
    let lacks = |leaf: &Leaf| {
        let lacks = |logged: &Vec<String>| form.key_columns().any(|column| !logged.contains(&column.name));
        leaf.identity.as_ref().is_some_and(lacks)
    };
    let unlogged: Vec<&TableName> = leaves.iter().filter(|leaf| leaf.is_unlogged).map(|leaf| &leaf.name).collect();
    let lacking: Vec<&TableName> = leaves.iter().filter(|leaf| lacks(leaf)).map(|leaf| &leaf.name).collect();
    let (found, what, mend) = if !unlogged.is_empty() {
        let what = format!("{} of its partitions are UNLOGGED, so that their rows are in no log", unlogged.len());
        (unlogged, what, "SET LOGGED")
    } else {
        let what = format!("the replica identity of {} of its partitions lacks the key", lacking.len());
        (lacking, what, "REPLICA IDENTITY FULL")
    };
    let first = found.first()?;
    let what = format!("{what}, among them {first}");
    let mend = |name: &&TableName| format!("ALTER TABLE {} {mend};", quote_table(name));
    let mut mends: Vec<String> = found.iter().take(20).map(mend).collect();
    if found.len() > mends.len() {
        mends.push("-- and so on".into());
    }
    Some((what, mends.join("\n")))
}

fn keyless_mends(form: &TableSchema) -> String {
    let name = quote_table(&form.name);
    let index = form.indexes.iter().find(|index| can_identify(form, index));
    let index = match index {
        Some(index) => format!("ALTER TABLE {name} REPLICA IDENTITY USING INDEX {};", quote_name(&index.name)),
        None => format!(
            "CREATE UNIQUE INDEX ... ON {name} (...); on columns that are NOT NULL, and ALTER TABLE {name} REPLICA IDENTITY USING INDEX ...;"
        ),
    };
    format!(
        "ALTER TABLE {name} ADD PRIMARY KEY (...);\nor: {index}\nor: ALTER TABLE {name} REPLICA IDENTITY FULL; and `key = [...]` \
         for it in the configuration;\nor leave it out: \"!{}\" in `tables`",
        form.name
    )
}

fn can_identify(form: &TableSchema, index: &Index) -> bool {
    let never_null = |name: &String| form.columns.iter().any(|column| column.name == *name && !column.nullable);
    let deferrable = index.constraint.as_deref().is_some_and(|clause| clause.contains("DEFERRABLE"));
    index.unique && !index.partial && !deferrable && !index.columns.is_empty() && index.columns.iter().all(never_null)
}

/// Only a key from the configuration can hold NULL.
fn nullable_key(form: &TableSchema) -> Option<Finding> {
    let nullable: Vec<&str> =
        form.key_columns().filter(|column| column.nullable).map(|column| column.name.as_str()).collect();
    if nullable.is_empty() {
        return None;
    }
    let set = |column: &&str| format!("ALTER COLUMN {} SET NOT NULL", quote_name(column));
    let mend =
        format!("ALTER TABLE {} {};", quote_table(&form.name), nullable.iter().map(set).collect::<Vec<_>>().join(", "));
    let what = format!("columns of its key may be NULL ({}): a row without a key halts the table", nullable.join(", "));
    Some(Finding::warning(format!("table {}", form.name), what, Some(mend)))
}

async fn about_unlogged(client: &Client, tables: &[SourceTable]) -> Result<Option<Finding>> {
    let schemas: BTreeSet<&str> = tables.iter().map(|table| table.schema.name.schema.as_str()).collect();
    let schemas: Vec<&str> = schemas.into_iter().collect();
    let rows =
        client.query(UNLOGGED, &[&schemas]).await.map_err(|error| from_pg("look for tables without a log", error))?;
    let names: Vec<String> = rows
        .iter()
        .map(|row| {
            let name = TableName::new(row.get::<_, String>(0), row.get::<_, String>(1));
            format!("{name} ({})", if row.get(2) { "foreign" } else { "unlogged" })
        })
        .collect();
    let what = || format!("the log does not carry them, so they are left out: {}", names.join(", "));
    Ok((!names.is_empty()).then(|| Finding::warning("source tables", what(), None)))
}
