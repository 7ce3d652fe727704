//! Makes and alters tables. Every statement commits by itself, so each is safe to repeat: what is there already is looked at
//! before it.

use super::catalog::{TargetTable, definition, has_database, look};
use super::fit;
use super::session::Session;
use super::types::{Spare, type_in};
use super::write::{Form, Layout};
use crate::connection::{quote_name, quote_table, quote_text};
use crate::kind::Kind;
use crate::native::in_definition;
use rowferry_api::{
    Alteration, Cell, Column, Created, Dialect, Error, ErrorKind, Fill, Finding, Index, Result, TableName, TableSchema,
    failpoint,
};

/// Makes a table with its key, or finds that the one there fits.
pub(super) async fn create(session: &mut Session, form: &TableSchema) -> Result<Created> {
    let context = format!("create table {} in the target", form.name);
    if let Some(have) = look(session, &form.name).await? {
        fit::refuse_unfit(session.server, form, &have)?;
        let any: Option<u8> = session.first(&context, format!("SELECT 1 FROM {} LIMIT 1", have.quoted)).await?;
        return Ok(if any.is_some() { Created::Filled } else { Created::Empty });
    }
    create_database(session, &context, &form.name.schema).await?;
    failpoint!("mysql.create");
    let mut spare = Spare::default();
    loop {
        match session.run(&context, create_table(form, session, spare)).await {
            Ok(_) => break,
            Err(error) => spare = spare_more(spare, &error).ok_or_else(|| as_schema(error))?,
        }
    }
    failpoint!("mysql.created");
    Ok(Created::New)
}

/// Without the look the statement would ask for a right that is not needed where the database is there.
pub(super) async fn create_database(session: &mut Session, context: &str, name: &str) -> Result<()> {
    if has_database(session, name).await? {
        return Ok(());
    }
    let statement = format!("CREATE DATABASE IF NOT EXISTS {} CHARACTER SET utf8mb4", quote_name(name));
    session.run(context, statement).await.map(drop)
}

/// What to leave out at the next attempt; `None` if that would not help.
fn spare_more(spare: Spare, error: &Error) -> Option<Spare> {
    let said = error.to_string();
    let code = |code: &str| said.ends_with(&format!("({code})"));
    // A row's texts are too long together, or one of them is.
    if ["1118", "1074"].into_iter().any(code) && !spare.lengths {
        return Some(Spare { lengths: true, ..spare });
    }
    // Syntax, or a default that this server does not take.
    if ["1064", "1067", "1101", "1901", "3770", "3772", "1294"].into_iter().any(code) && !spare.defaults {
        tracing::warn!(%error, "the target does not take the columns' defaults: they are left out");
        return Some(Spare { defaults: true, ..spare });
    }
    None
}

/// What the server does not take of a form is no fault of the connection or of a row.
fn as_schema(error: Error) -> Error {
    match error.kind() {
        ErrorKind::Other | ErrorKind::BadRow | ErrorKind::Unique => Error::new(ErrorKind::Schema, error.to_string()),
        _ => error,
    }
}

fn create_table(form: &TableSchema, session: &Session, spare: Spare) -> String {
    let is_key = |column: &Column| form.key_columns().any(|key| key.name == column.name);
    let one = |column: &Column| {
        let computed = if is_key(column) { None } else { define_computed(form, column, session) };
        computed.unwrap_or_else(|| define(form, column, session, spare))
    };
    let mut parts: Vec<String> = form.columns.iter().map(one).collect();
    parts.extend(form.computed.iter().filter_map(|column| define_computed(form, column, session)));
    let key: Vec<String> = form.key_columns().map(|column| quote_name(&column.name)).collect();
    match key_index(form) {
        Some(index) => parts.push(format!("UNIQUE KEY {} ({})", quote_name(&index.name), key.join(", "))),
        None if key.is_empty() => {}
        None => parts.push(format!("PRIMARY KEY ({})", key.join(", "))),
    }
    format!(
        "CREATE TABLE {} ({}) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4",
        quote_table(&form.name),
        parts.join(", ")
    )
}

/// The index of the source that keeps the key unique, where that is not its primary key.
fn key_index(form: &TableSchema) -> Option<&Index> {
    let key: Vec<&String> = form.key_columns().map(|column| &column.name).collect();
    let keeps = |index: &&Index| index.unique && !index.partial && index.columns.iter().collect::<Vec<_>>() == key;
    form.indexes.iter().filter(|_| form.dialect == Dialect::Mysql && !key.is_empty()).find(keeps)
}

fn define(form: &TableSchema, column: &Column, session: &Session, spare: Spare) -> String {
    let ty = type_in(form, column, session.server, spare);
    let null = if column.nullable { "NULL" } else { "NOT NULL" };
    let mut text = format!("{} {} {null}", quote_name(&column.name), in_definition(&ty));
    // A column that counts up leads an index, and the key is the only one that is there from the start.
    let leads = form.key_columns().next().is_some_and(|first| first.name == column.name);
    let is_int = matches!(Kind::parse(&ty), Some(Kind::Int { .. }));
    if column.identity {
        if leads && is_int && !column.nullable {
            text += " AUTO_INCREMENT";
        }
    } else if let (Some(default), Dialect::Mysql, false) = (&column.default, form.dialect, spare.defaults)
        && !is_of_sequence(default)
    {
        text += &format!(" DEFAULT {default}");
    } else {
        text += without_default(column, &ty);
    }
    text
}

/// MariaDB's sequences are not carried: a default would draw from the source's own, or from none.
fn is_of_sequence(default: &str) -> bool {
    let default = default.to_ascii_lowercase();
    ["nextval(", "lastval(", "setval("].iter().any(|function| default.contains(function))
}

/// The first TIMESTAMP of a table would follow the time of every update on older servers.
fn without_default(column: &Column, ty: &str) -> &'static str {
    match (Kind::parse(ty), column.nullable) {
        (Some(Kind::Timestamp { .. }), true) => " DEFAULT NULL",
        (Some(Kind::Timestamp { .. }), false) => " DEFAULT '0000-00-00 00:00:00'",
        _ => "",
    }
}

/// `None` where the expression is another store's, or the server computes none.
fn define_computed(form: &TableSchema, column: &Column, session: &Session) -> Option<String> {
    let generated = column.generated.as_ref().filter(|_| form.dialect == Dialect::Mysql)?;
    if !session.server.is_mysql(5, 7) && !session.is_mariadb() {
        return None;
    }
    let ty = type_in(form, column, session.server, Spare::default());
    let kept = if generated.stored { "STORED" } else { "VIRTUAL" };
    let named = format!("{} {}", quote_name(&column.name), in_definition(&ty));
    Some(format!("{named} GENERATED ALWAYS AS ({}) {kept}", generated.expression))
}

/// What of a form no statement here carries over.
pub(super) fn left_out(form: &TableSchema, have: &TargetTable) -> Vec<Finding> {
    let drawn = form.columns.iter().filter(|column| column.default.as_deref().is_some_and(is_of_sequence));
    let drawn = drawn.filter(|_| form.dialect == Dialect::Mysql).map(|column| {
        let what = format!("column {} has its default from a sequence, which is not made here", column.name);
        Finding::warning(format!("table {}", form.name), what, None)
    });
    let missing = form.computed.iter().filter(|column| have.column(&column.name).is_none());
    let finding = |column: &Column| {
        let what = format!("column {} is computed at the source and is not made here", column.name);
        Finding::warning(format!("table {}", form.name), what, None)
    };
    missing.map(finding).chain(drawn).collect()
}

/// Carries a change of form over.
pub(super) async fn alter(session: &mut Session, form: &TableSchema, alterations: &[Alteration]) -> Result<()> {
    let context = format!("alter table {} in the target", form.name);
    for alteration in alterations {
        let Some(have) = look(session, &form.name).await? else {
            let error = Error::new(ErrorKind::Schema, format!("{context}: it is not there"));
            return Err(error.hint("It was dropped there: `rowferry resync` makes it again."));
        };
        for statement in statements(session, form, &have, alteration).await? {
            session.run(&context, statement).await.map_err(as_schema)?;
            failpoint!("mysql.alter");
        }
    }
    failpoint!("mysql.altered");
    Ok(())
}

/// The statements of an alteration that are still to be run.
async fn statements(
    session: &mut Session,
    form: &TableSchema,
    have: &TargetTable,
    alteration: &Alteration,
) -> Result<Vec<String>> {
    let alter = |action: String| format!("ALTER TABLE {} {action}", have.quoted);
    Ok(match alteration {
        Alteration::AddColumn(column) if have.column(&column.name).is_none() => add_column(session, form, have, column),
        Alteration::AddComputed(column) if have.column(&column.name).is_none() => {
            define_computed(form, column, session).map(|text| alter(format!("ADD COLUMN {text}"))).into_iter().collect()
        }
        Alteration::DropColumn(name) if have.column(name).is_some() => {
            vec![alter(format!("DROP COLUMN {}", quote_name(name)))]
        }
        Alteration::ChangeType(column) => {
            let wanted = type_in(form, column, session.server, Spare::default());
            let have = have.column(&column.name).filter(|have| !fit::takes(&wanted, &have.native));
            match have {
                Some(_) => {
                    modify(session, &form.name, &column.name, |_| in_definition(&wanted), |rest| rest.to_owned())
                        .await?
                }
                None => Vec::new(),
            }
        }
        Alteration::DropNotNull(name) if have.column(name).is_some_and(|have| have.not_null) => {
            let nullable = |rest: &str| rest.replacen(" NOT NULL", " NULL", 1);
            modify(session, &form.name, name, |native| native.to_owned(), nullable).await?
        }
        // Labels are part of a column's type here.
        _ => Vec::new(),
    })
}

/// A column's definition with another type or other attributes, the rest as it is.
async fn modify(
    session: &mut Session,
    table: &TableName,
    column: &str,
    ty: impl Fn(&str) -> String,
    attributes: impl Fn(&str) -> String,
) -> Result<Vec<String>> {
    let Some(text) = definition(session, table, column).await? else { return Ok(Vec::new()) };
    let (native, rest) = split_definition(&text);
    let definition = format!("{} {}{}", quote_name(column), ty(native), attributes(rest));
    Ok(vec![format!("ALTER TABLE {} MODIFY COLUMN {definition}", quote_table(table))])
}

/// Parts `varchar(9) CHARACTER SET latin1 COLLATE latin1_bin NOT NULL DEFAULT 'a'` into the type and what follows it.
fn split_definition(text: &str) -> (&str, &str) {
    let mut quoted = false;
    let mut depth = 0_u32;
    let end = text.char_indices().find(|(_, char)| {
        quoted ^= *char == '\'';
        match char {
            '(' if !quoted => depth += 1,
            ')' if !quoted => depth = depth.saturating_sub(1),
            _ => {}
        }
        !quoted && depth == 0 && *char == ' '
    });
    let mut end = end.map_or(text.len(), |(end, _)| end);
    for word in [" unsigned", " zerofill", " CHARACTER SET ", " COLLATE "] {
        if let Some(rest) = text[end..].strip_prefix(word) {
            end += word.len();
            if word.ends_with(' ') {
                end += rest.find(' ').unwrap_or(rest.len());
            }
        }
    }
    text.split_at(end)
}

/// Rows that are there take the fill; the default that stays is the column's own.
fn add_column(session: &Session, form: &TableSchema, have: &TargetTable, column: &Column) -> Vec<String> {
    let spare = Spare::default();
    let alter = |action: String| format!("ALTER TABLE {} {action}", have.quoted);
    // Without a value for the rows that are there NOT NULL could not hold while older rows still come.
    let nullable = Column { nullable: true, identity: false, ..column.clone() };
    let add_nullable = alter(format!("ADD COLUMN {}", define(form, &nullable, session, spare)));
    let Fill::Value(fill) = &column.fill else { return vec![add_nullable] };
    let ty = type_in(form, column, session.server, spare);
    let name = quote_name(&column.name);
    let not_null = if column.nullable { "NULL" } else { "NOT NULL" };
    let Some(literal) = default_literal(&ty, fill, session) else {
        // The type takes no default.
        let kept = have.columns.iter().filter(|column| column.follows_updates);
        let kept = kept.map(|column| format!(", {0} = {0}", quote_name(&column.name))).collect::<String>();
        return vec![add_nullable, format!("UPDATE {} SET {name} = {}{kept}", have.quoted, quote_text(fill))];
    };
    let ty = in_definition(&ty);
    let mut statements = vec![alter(format!("ADD COLUMN {name} {ty} {not_null} DEFAULT {literal}"))];
    match (&column.default, form.dialect) {
        (Some(default), Dialect::Mysql) if *default == literal => {}
        (Some(default), Dialect::Mysql) => {
            statements.push(alter(format!("MODIFY COLUMN {name} {ty} {not_null} DEFAULT {default}")));
        }
        // Without any default even a column that may be NULL has to be named.
        _ if column.nullable => statements.push(alter(format!("MODIFY COLUMN {name} {ty} NULL DEFAULT NULL"))),
        _ => statements.push(alter(format!("ALTER COLUMN {name} DROP DEFAULT"))),
    }
    statements
}

/// A fill as a default; `None` if the type takes none here.
fn default_literal(ty: &str, fill: &str, session: &Session) -> Option<String> {
    let kind = Kind::parse(ty);
    let is_long = matches!(kind, Some(Kind::Text { .. } | Kind::Blob { .. } | Kind::Json | Kind::Geometry));
    let mut literal = Vec::new();
    Form::of(kind.as_ref(), session.server).put(Layout::Literals, Cell::Text(fill.as_bytes()), &mut literal).ok()?;
    let text = match String::from_utf8(literal) {
        Ok(text) if !text.starts_with("_binary") => text,
        // A definition is text.
        _ => format!("x'{}'", fill.strip_prefix("\\x")?),
    };
    match is_long && !session.is_mariadb() {
        false => Some(text),
        // An expression may be one.
        true => session.server.is_mysql(8, 0).then(|| format!("({text})")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_definition_is_parted_after_its_type() {
        let cases = [
            ("int(11) NOT NULL AUTO_INCREMENT", "int(11)"),
            ("decimal(10,2) unsigned zerofill DEFAULT NULL", "decimal(10,2) unsigned zerofill"),
            (
                "varchar(9) CHARACTER SET latin1 COLLATE latin1_bin NOT NULL",
                "varchar(9) CHARACTER SET latin1 COLLATE latin1_bin",
            ),
            ("enum('a b','c)') COLLATE utf8mb4_bin DEFAULT 'a b'", "enum('a b','c)') COLLATE utf8mb4_bin"),
            ("date", "date"),
        ];
        for (text, ty) in cases {
            assert_eq!(split_definition(text), (ty, &text[ty.len()..]), "{text}");
        }
    }
}
