//! What a table lacks, by itself or in its engine.

use crate::catalog::{self, Entry, Which};
use crate::connection::{Server, quote_table};
use crate::kind::Kind;
use mysql_async::Conn;
use rowferry_api::{Finding, Result, SourceTable};
use std::collections::HashSet;

/// Looks at these tables.
pub(super) async fn check(
    conn: &mut Conn,
    server: Server,
    tables: &[SourceTable],
    which: &Which<'_>,
) -> Result<Vec<Finding>> {
    let entries = catalog::entries(conn, server, which).await?;
    let names: HashSet<_> = tables.iter().map(|table| &table.schema.name).collect();
    let carried = entries.iter().filter(|entry| names.contains(&entry.table.schema.name));
    let mut findings: Vec<Finding> = carried.flat_map(table).collect();
    findings.extend(tables.iter().filter_map(keyless));
    if !logs_cascades(server) {
        findings.extend(tables.iter().filter_map(cascades));
    }
    Ok(findings)
}

/// From 9.6 on MySQL cascades above its storage engines, and so into the log.
fn logs_cascades(server: Server) -> bool {
    server.is_mysql(9, 6)
}

fn keyless(table: &SourceTable) -> Option<Finding> {
    let name = &table.schema.name;
    table.schema.key.is_empty().then(|| {
        Finding::blocked(
            format!("table {name}"),
            "it has no primary key and no unique index over columns that are NOT NULL",
            format!(
                "ALTER TABLE {} ADD PRIMARY KEY (...); or name `key` columns for it; or leave it out with \"!{name}\"",
                quote_table(name)
            ),
        )
    })
}

/// What a foreign key does to rows by itself is done inside InnoDB, and in no log.
fn cascades(table: &SourceTable) -> Option<Finding> {
    let acts =
        |actions: &str| actions.contains("CASCADE") || actions.contains("SET NULL") || actions.contains("SET DEFAULT");
    let keys: Vec<&str> =
        table.schema.foreign_keys.iter().filter(|key| acts(&key.actions)).map(|key| key.name.as_str()).collect();
    let name = &table.schema.name;
    (!keys.is_empty()).then(|| {
        Finding::warning(
            format!("table {name}"),
            format!(
                "what its foreign key {} does to its rows by itself (ON DELETE or ON UPDATE) is not in the server's log, so those \
                 changes are not carried",
                keys.join(", ")
            ),
            Some(format!(
                "Have the application delete and update those rows itself, or run `rowferry verify --table {name} --repair` from \
                 time to time."
            )),
        )
    })
}

fn table(entry: &Entry) -> Vec<Finding> {
    let schema = &entry.table.schema;
    let name = &schema.name;
    let subject = format!("table {name}");
    let mut findings = Vec::new();
    for column in schema.columns.iter().filter(|column| Kind::parse(&column.native).is_none()) {
        findings.push(Finding::blocked(
            subject.clone(),
            format!("column {} is of the type {}, which is not known", column.name, column.native),
            format!("Leave it out: [pipeline.NAME.table.\"{name}\"] columns = [\"!{}\"]", column.name),
        ));
    }
    if !matches!(entry.engine.as_str(), "InnoDB" | "XtraDB" | "ROCKSDB" | "TokuDB") {
        findings.push(Finding::warning(
            subject,
            format!(
                "its engine {} has no transactions: a reader of the target may see a statement's rows one by one",
                entry.engine
            ),
            Some(format!("ALTER TABLE {} ENGINE = InnoDB;", quote_table(name))),
        ));
    }
    findings
}
