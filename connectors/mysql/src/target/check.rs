//! Whether the server, the user's rights and the tables that are there will do. Changes nothing.

use super::catalog::{has_database, look};
use super::fit;
use super::session::Session;
use crate::connection::{quote_name, quote_text};
use rowferry_api::{Finding, Result, TableSchema};
use std::collections::BTreeSet;

/// A row is one statement at least, and a client of a source's may have sent rows of this length.
const SMALL_PACKET_BYTES: usize = 16 << 20;

pub(super) async fn check(session: &mut Session, tables: &[TableSchema]) -> Result<Vec<Finding>> {
    let mut findings = vec![version(session)];
    findings.extend(settings(session).await?);
    findings.extend(rights(session, tables).await?);
    for form in tables {
        findings.extend(about_table(session, form).await?);
    }
    Ok(findings)
}

fn version(session: &Session) -> Finding {
    let server = session.server;
    if server.is_mysql(5, 6) || server.is_mariadb(10, 2) {
        return Finding::ok("target version", server.to_string());
    }
    let what = format!("{server} is too old");
    Finding::blocked("target version", what, "MySQL 5.6 and later and MariaDB 10.2 and later can be written to.")
}

async fn settings(session: &mut Session) -> Result<Vec<Finding>> {
    let mut findings = Vec::new();
    let query = "SELECT @@global.read_only + 0, @@global.innodb_flush_log_at_trx_commit + 0";
    let row: Option<(i64, i64)> = session.first("look at the target's settings", query).await?;
    let (read_only, flush) = row.unwrap_or((0, 1));
    if read_only != 0 {
        let what = "it is read-only";
        findings.push(Finding::blocked("target read_only", what, "name the primary, or SET GLOBAL read_only = OFF;"));
    }
    if flush != 1 {
        let what = format!(
            "innodb_flush_log_at_trx_commit is {flush}: a crash of the machine can undo commits that the source was told of"
        );
        let mend = Some("SET GLOBAL innodb_flush_log_at_trx_commit = 1;".into());
        findings.push(Finding::warning("target durability", what, mend));
    }
    if session.max_packet_bytes < SMALL_PACKET_BYTES {
        let what = format!("rows of more than {} bytes are refused (max_allowed_packet)", session.max_packet_bytes);
        let mend = Some("SET GLOBAL max_allowed_packet = 1073741824;".into());
        findings.push(Finding::warning("target max_allowed_packet", what, mend));
    }
    Ok(findings)
}

async fn about_table(session: &mut Session, form: &TableSchema) -> Result<Vec<Finding>> {
    let subject = format!("table {}", form.name);
    let Some(have) = look(session, &form.name).await? else { return Ok(Vec::new()) };
    let mend =
        "change the target's table to fit, set another `target` for it, or drop it there: a missing table is made";
    let differences = if form.key.is_empty() { Vec::new() } else { fit::differences(session.server, form, &have) };
    let blocked = |what| Finding::blocked(subject.clone(), format!("the target's table does not fit: {what}"), mend);
    let mut findings: Vec<Finding> = differences.into_iter().map(blocked).collect();
    let query = format!(
        "SELECT TRIGGER_NAME FROM information_schema.TRIGGERS WHERE EVENT_OBJECT_SCHEMA = {} AND EVENT_OBJECT_TABLE = {}",
        quote_text(&form.name.schema),
        quote_text(&form.name.name)
    );
    let triggers: Vec<String> = session.query(&format!("look at table {} in the target", form.name), query).await?;
    for trigger in triggers {
        let what =
            format!("its trigger {trigger} acts on every row that is written, and the source's triggers have acted");
        let statement = format!("DROP TRIGGER {}.{};", quote_name(&form.name.schema), quote_name(&trigger));
        findings.push(Finding::warning(subject.clone(), what, Some(statement)));
    }
    Ok(findings)
}

const TABLE_RIGHTS: [&str; 8] =
    ["SELECT", "INSERT", "UPDATE", "DELETE", "CREATE", "ALTER", "INDEX", "CREATE TEMPORARY TABLES"];
const OWN_RIGHTS: [&str; 4] = ["SELECT", "INSERT", "UPDATE", "CREATE"];

async fn rights(session: &mut Session, tables: &[TableSchema]) -> Result<Vec<Finding>> {
    let context = "look at the target's rights";
    let grants: Vec<String> = session.query(context, "SHOW GRANTS").await?;
    let user: Option<String> = session.first(context, "SELECT CURRENT_USER()").await?;
    let user = user.unwrap_or_default();
    let grantee = match user.rsplit_once('@') {
        Some((name, host)) => format!("{}@{}", quote_text(name), quote_text(host)),
        None => quote_text(&user),
    };
    let mut databases: BTreeSet<&str> = tables.iter().map(|form| form.name.schema.as_str()).collect();
    databases.insert("rowferry");
    let mut findings = Vec::new();
    for database in databases {
        let needed: &[&str] = if database == "rowferry" { &OWN_RIGHTS } else { &TABLE_RIGHTS };
        let missing: Vec<&str> =
            needed.iter().copied().filter(|right| !grants_right(&grants, database, right)).collect();
        if missing.is_empty() {
            continue;
        }
        let there = if has_database(session, database).await? { "" } else { ", which is not there yet" };
        let what = format!("the user may not {} in database {database}{there}", missing.join(", "));
        let mend = format!("GRANT {} ON {}.* TO {grantee};", missing.join(", "), quote_name(database));
        // Rights that come with a role are not all shown, and rights to single tables are not looked at.
        findings.push(match grants.iter().any(|grant| !is_plain(grant)) {
            true => Finding::warning("target rights", what, Some(mend)),
            false => Finding::blocked("target rights", what, mend),
        });
    }
    Ok(findings)
}

/// Whether a line grants rights to all databases or to all tables of one; others grant roles or rights to single tables.
fn is_plain(grant: &str) -> bool {
    parse(grant).is_some_and(|(_, scope)| scope == "*.*" || scope.ends_with(".*"))
}

/// The rights and what they are for, of `GRANT SELECT, INSERT ON `shop`.* TO ...`.
fn parse(grant: &str) -> Option<(&str, &str)> {
    let (rights, rest) = grant.strip_prefix("GRANT ")?.split_once(" ON ")?;
    let (scope, _) = rest.split_once(" TO ")?;
    Some((rights, scope))
}

fn grants_right(grants: &[String], database: &str, right: &str) -> bool {
    grants.iter().filter_map(|grant| parse(grant)).any(|(rights, scope)| {
        let all = rights == "ALL PRIVILEGES" || rights.split(", ").any(|granted| granted == right);
        let of = scope.strip_suffix(".*").map(|name| name.trim_matches('`').replace("``", "`"));
        all && of.is_some_and(|of| of == "*" || matches_pattern(&of, database))
    })
}

/// Whether a database's name is meant by one of a grant, in which `_` and `%` stand for others.
fn matches_pattern(pattern: &str, name: &str) -> bool {
    let mut chars = pattern.chars();
    match chars.next() {
        None => name.is_empty(),
        Some('%') => name
            .char_indices()
            .map(|(at, _)| at)
            .chain([name.len()])
            .any(|at| matches_pattern(chars.as_str(), &name[at..])),
        Some('_') => name.chars().next().is_some_and(|char| matches_pattern(chars.as_str(), &name[char.len_utf8()..])),
        Some('\\') => {
            let Some(literal) = chars.next() else { return name == "\\" };
            name.strip_prefix(literal).is_some_and(|rest| matches_pattern(chars.as_str(), rest))
        }
        Some(literal) => name.strip_prefix(literal).is_some_and(|rest| matches_pattern(chars.as_str(), rest)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grants_are_read() {
        let grants = [
            "GRANT USAGE ON *.* TO `u`@`%`".to_owned(),
            "GRANT SELECT, CREATE TEMPORARY TABLES ON `shop`.* TO `u`@`%`".to_owned(),
            "GRANT ALL PRIVILEGES ON `my\\_%`.* TO `u`@`%`".to_owned(),
        ];
        assert!(grants_right(&grants, "shop", "SELECT"));
        assert!(grants_right(&grants, "shop", "CREATE TEMPORARY TABLES"));
        assert!(!grants_right(&grants, "shop", "CREATE"));
        assert!(grants_right(&grants, "my_a", "CREATE"));
        assert!(!grants_right(&grants, "mya", "CREATE"));
        assert!(!is_plain("GRANT `r`@`%` TO `u`@`%`"));
    }
}
