//! Builds secondary indexes, unique constraints and foreign keys. What cannot be carried over is a finding.

use super::catalog::{TargetTable, has_foreign_key, has_index, look};
use super::ddl::left_out;
use super::session::Session;
use super::types::index_bytes;
use crate::connection::{quote_name, quote_table};
use crate::kind::Kind;
use rowferry_api::{Dialect, Error, ErrorKind, Finding, ForeignKey, Index, Result, TableSchema, failpoint};

pub(super) async fn finish(session: &mut Session, form: &TableSchema) -> Result<Vec<Finding>> {
    let Some(have) = look(session, &form.name).await? else {
        let what = format!("finish table {}: the target does not have it", form.name);
        return Err(Error::new(ErrorKind::Schema, what).hint("It was dropped there: `rowferry resync` makes it again."));
    };
    let mut findings = left_out(form, &have);
    let key: Vec<&str> = form.key_columns().map(|column| column.name.as_str()).collect();
    for index in &form.indexes {
        let is_key = index.unique && !index.partial && index.columns == key;
        if is_key || has_index(session, &form.name, &index.name).await? {
            continue;
        }
        match index_action(form, &have, index, session) {
            Ok(action) => findings.extend(attempt(session, form, &index.name, &action).await?),
            Err(why) => {
                let what = format!("index {} is not built: {why}", index.name);
                findings.push(Finding::warning(format!("table {}", form.name), what, None));
            }
        }
        failpoint!("mysql.index");
    }
    for key in &form.foreign_keys {
        if look(session, &key.references).await?.is_some() && !has_foreign_key(session, &form.name, &key.name).await? {
            findings.extend(attempt(session, form, &key.name, &foreign_key_action(key)).await?);
        }
    }
    Ok(findings)
}

/// What stands after ALTER TABLE and the table's name; or why there is nothing.
fn index_action(
    form: &TableSchema,
    have: &TargetTable,
    index: &Index,
    session: &Session,
) -> std::result::Result<String, String> {
    if form.dialect == Dialect::Mysql && !index.definition.is_empty() {
        let definition = index.definition.as_str();
        return Ok(definition.strip_prefix("ALTER TABLE {table} ").unwrap_or(definition).to_owned());
    }
    if index.columns.is_empty() {
        return Err("it is over expressions".into());
    }
    if index.partial {
        return Err("it covers only some rows".into());
    }
    let columns = u32::try_from(index.columns.len()).unwrap_or(u32::MAX);
    let most_bytes = index_bytes(session.server, columns);
    let mut parts = Vec::new();
    for name in &index.columns {
        let there = have.column(name).ok_or_else(|| format!("column {name} is not there"))?;
        let name = quote_name(name);
        let (longest, prefix) = match Kind::parse(&there.native) {
            Some(Kind::Char { chars, .. } | Kind::Varchar { chars, .. }) => (u64::from(chars) * 4, most_bytes / 4),
            Some(Kind::Text { max_bytes, .. }) => (max_bytes.saturating_mul(4), most_bytes / 4),
            Some(Kind::Varbinary { bytes }) => (u64::from(bytes), most_bytes),
            Some(Kind::Blob { max_bytes }) => (max_bytes.saturating_add(u64::from(most_bytes)), most_bytes),
            _ => (0, 0),
        };
        match (longest > u64::from(most_bytes), index.unique) {
            (false, _) => parts.push(name),
            (true, false) => parts.push(format!("{name}({})", prefix.min(191))),
            (true, true) => {
                return Err(format!("column {name} is longer there than a unique index takes"));
            }
        }
    }
    // A server that looks at every single row would refuse what one that looks at the end has let pass.
    let is_deferrable = index.constraint.as_ref().is_some_and(|clause| clause.contains(" DEFERRABLE"));
    let unique = if index.unique && !is_deferrable { "UNIQUE " } else { "" };
    Ok(format!("ADD {unique}KEY {} ({})", quote_name(&index.name), parts.join(", ")))
}

fn foreign_key_action(key: &ForeignKey) -> String {
    let names = |names: &[String]| names.iter().map(|name| quote_name(name)).collect::<Vec<_>>().join(", ");
    format!(
        "ADD CONSTRAINT {} FOREIGN KEY ({}) REFERENCES {} ({}){}",
        quote_name(&key.name),
        names(&key.columns),
        quote_table(&key.references),
        names(&key.referenced_columns),
        actions(&key.actions)
    )
}

/// The actions that InnoDB has; the rest of the clause (when it is looked at, what a part of NULL means) is not its own.
fn actions(text: &str) -> String {
    let mut kept = String::new();
    for event in ["ON DELETE", "ON UPDATE"] {
        let Some((_, rest)) = text.split_once(event) else { continue };
        let rest = rest.trim_start();
        let action =
            ["CASCADE", "SET NULL", "RESTRICT", "NO ACTION"].into_iter().find(|action| rest.starts_with(action));
        if let Some(action) = action {
            kept += &format!(" {event} {action}");
        }
    }
    kept
}

/// Runs a statement whose failure is worth a line and no more. A lost connection is an error all the same.
async fn attempt(session: &mut Session, form: &TableSchema, name: &str, action: &str) -> Result<Option<Finding>> {
    let statement = format!("ALTER TABLE {} {action}", quote_table(&form.name));
    match session.run(&format!("build {name}"), &statement).await {
        Ok(_) => Ok(None),
        Err(error) if !session.is_usable() => Err(error.within(format!("finish table {}", form.name))),
        Err(error) => {
            let subject = format!("table {}", form.name);
            Ok(Some(Finding::warning(subject, error.to_string(), Some(format!("{statement};")))))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_foreign_key_keeps_the_actions_that_are_known_here() {
        assert_eq!(
            actions("MATCH FULL ON UPDATE CASCADE ON DELETE SET NULL (a) DEFERRABLE INITIALLY DEFERRED NOT VALID"),
            " ON DELETE SET NULL ON UPDATE CASCADE"
        );
        assert_eq!(actions("ON DELETE SET DEFAULT"), "");
    }
}
