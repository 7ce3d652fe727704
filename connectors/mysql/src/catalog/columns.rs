//! Columns: types, defaults, what rows hold in a column that was added after them.

use super::{Text, Which, by_table, cell, query_text};
use crate::connection::{Flavor, Server, quote_text};
use crate::kind::Kind;
use crate::native::native_text;
use crate::statements::{self, LogColumn};
use mysql_async::Conn;
use rowferry_api::{Column, Fill, Generated, Result, TableName, Type};
use std::collections::{HashMap, HashSet};

/// The columns of one table.
#[derive(Debug, Default)]
pub(super) struct Columns {
    pub(super) columns: Vec<Column>,
    pub(super) computed: Vec<Column>,
    pub(super) log: Vec<LogColumn>,
}

pub(super) async fn columns(conn: &mut Conn, server: Server, which: &Which<'_>) -> Result<HashMap<TableName, Columns>> {
    let condition = which.condition("TABLE_SCHEMA", "TABLE_NAME");
    let generated = if server.is_mysql(5, 7) || server.is_mariadb(10, 2) { "GENERATION_EXPRESSION" } else { "''" };
    let sql = format!(
        "SELECT TABLE_SCHEMA, TABLE_NAME, COLUMN_NAME, COLUMN_TYPE, CHARACTER_SET_NAME, COLLATION_NAME, IS_NULLABLE, \
         COLUMN_DEFAULT, EXTRA, {generated} FROM information_schema.COLUMNS WHERE {condition} \
         ORDER BY TABLE_SCHEMA, TABLE_NAME, ORDINAL_POSITION"
    );
    let rows = query_text(conn, "read the columns of tables", &sql).await?;
    let documents = json_columns(conn, server, which).await?;
    let mut tables = HashMap::new();
    for (table, rows) in by_table(rows) {
        let mut columns = Columns::default();
        for row in rows {
            let is_json = |name: &str| documents.contains(&(table.clone(), name.to_owned()));
            add(&mut columns, server, row, is_json);
        }
        tables.insert(table, columns);
    }
    Ok(tables)
}

/// MariaDB's JSON is text with a check.
async fn json_columns(conn: &mut Conn, server: Server, which: &Which<'_>) -> Result<HashSet<(TableName, String)>> {
    if !server.is_mariadb(10, 2) {
        return Ok(HashSet::new());
    }
    let condition = which.condition("CONSTRAINT_SCHEMA", "TABLE_NAME");
    let sql = format!(
        "SELECT CONSTRAINT_SCHEMA, TABLE_NAME, CHECK_CLAUSE FROM information_schema.CHECK_CONSTRAINTS \
         WHERE {condition} AND CHECK_CLAUSE LIKE 'json_valid(%'"
    );
    let rows = query_text(conn, "read the checks of tables", &sql).await?;
    let column = |clause: &str| {
        let name = clause.strip_prefix("json_valid(`")?.strip_suffix("`)")?;
        Some(name.replace("``", "`"))
    };
    let tables = by_table(rows);
    let pairs = tables.into_iter().flat_map(|(table, rows)| {
        let names: Vec<String> = rows.into_iter().filter_map(|mut row| column(&cell(&mut row, 2))).collect();
        names.into_iter().map(move |name| (table.clone(), name))
    });
    Ok(pairs.collect())
}

fn add(columns: &mut Columns, server: Server, mut row: Vec<Text>, is_json: impl Fn(&str) -> bool) {
    let name = cell(&mut row, 2);
    let column_type = cell(&mut row, 3);
    let (charset, collation) = (cell(&mut row, 4), cell(&mut row, 5));
    let nullable = cell(&mut row, 6) == "YES";
    let default = row.get_mut(7).and_then(Option::take);
    let (extra, expression) = (cell(&mut row, 8).to_ascii_lowercase(), cell(&mut row, 9));
    let native = if is_json(&name) && column_type.eq_ignore_ascii_case("longtext") {
        "json".into()
    } else {
        let is_text = !charset.is_empty() && !column_type.eq_ignore_ascii_case("json");
        native_text(column_type, is_text.then_some((&charset, &collation)))
    };
    let is_virtual = extra.contains("virtual generated") || (extra.contains("virtual") && !expression.is_empty());
    let is_stored = !is_virtual
        && (extra.contains("stored generated") || extra.contains("persistent") || extra.contains("stored"))
        && !expression.is_empty();
    let generated =
        (is_virtual || is_stored).then(|| Generated { expression: unescaped(&expression), stored: is_stored });
    let kind = Kind::parse(&native);
    let default = default_of(server, kind.as_ref(), default, nullable, &extra);
    let identity = extra.contains("auto_increment");
    let column = Column {
        id: 0,
        ty: kind.as_ref().map_or(Type::Other, Kind::ty),
        nullable,
        fill: if generated.is_some() || identity {
            Fill::Unknown
        } else {
            fill(kind.as_ref(), default.as_ref(), nullable)
        },
        default: default.map(Default::into_expression),
        identity,
        generated,
        name,
        native,
    };
    // MariaDB leaves generated columns out of some row images, also those that are kept on disk.
    let is_computed = is_virtual || (is_stored && server.flavor == Flavor::Mariadb);
    let computed = is_computed.then_some(statements::Generated::Virtual);
    columns.log.push(LogColumn { name: column.name.clone(), native: column.native.clone(), generated: computed });
    if is_computed { columns.computed.push(column) } else { columns.columns.push(column) }
}

/// MySQL shows the quotes of an expression with a backslash.
fn unescaped(expression: &str) -> String {
    expression.replace("\\'", "'")
}

/// A default: a literal, or an expression.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Default {
    Literal(String),
    Expression(String),
}

impl Default {
    fn into_expression(self) -> String {
        match self {
            Self::Literal(text) => quote_text(&text),
            Self::Expression(text) => text,
        }
    }
}

/// MariaDB shows an expression, MySQL the literal's bare text and says which are expressions.
fn default_of(server: Server, kind: Option<&Kind>, shown: Text, nullable: bool, extra: &str) -> Option<Default> {
    let shown = shown?;
    let on_update = extra.find("on update ").map_or(String::new(), |at| format!(" {}", &extra[at..]));
    let lower = shown.to_ascii_lowercase();
    if lower.starts_with("current_timestamp") || lower.starts_with("now(") {
        return Some(Default::Expression(format!("{shown}{on_update}")));
    }
    if server.is_mariadb(10, 2) {
        let inside = shown.strip_prefix('\'').and_then(|text| text.strip_suffix('\''));
        return match inside {
            Some(text) => Some(Default::Literal(text.replace("''", "'").replace("\\\\", "\\"))),
            None if lower == "null" => nullable.then(|| Default::Expression("NULL".into())).filter(|_| false),
            None if shown.parse::<f64>().is_ok() => Some(Default::Literal(shown)),
            None => Some(Default::Expression(shown)),
        };
    }
    if extra.contains("default_generated") {
        return Some(Default::Expression(format!("({})", unescaped(&shown))));
    }
    match kind {
        Some(Kind::Bit { .. }) => Some(Default::Expression(shown)),
        _ => Some(Default::Literal(shown)),
    }
}

/// What rows hold in a column that is added: its default, else what its type starts with.
fn fill(kind: Option<&Kind>, default: Option<&Default>, nullable: bool) -> Fill {
    let Some(kind) = kind else { return Fill::Unknown };
    match default {
        None if nullable => Fill::Null,
        None => match kind {
            Kind::Int { .. } | Kind::Year => Fill::Value("0".into()),
            Kind::Char { .. } | Kind::Varchar { .. } | Kind::Text { .. } | Kind::Set { .. } => {
                Fill::Value(String::new())
            }
            Kind::Enum { labels, .. } => labels.first().map_or(Fill::Unknown, |label| Fill::Value(label.clone())),
            Kind::Decimal { scale: 0, .. } => Fill::Value("0".into()),
            Kind::Decimal { scale, .. } => Fill::Value(format!("0.{}", "0".repeat((*scale).into()))),
            _ => Fill::Unknown,
        },
        Some(Default::Literal(text)) => match kind {
            Kind::Int { .. } => text.parse::<i128>().map_or(Fill::Unknown, |number| Fill::Value(number.to_string())),
            Kind::Char { .. } => Fill::Value(text.trim_end_matches(' ').to_owned()),
            Kind::Varchar { .. } | Kind::Enum { .. } | Kind::Set { .. } | Kind::Date => Fill::Value(text.clone()),
            Kind::Decimal { scale, .. }
                if text.split_once('.').map_or(0, |(_, end)| end.len()) == usize::from(*scale) =>
            {
                Fill::Value(text.clone())
            }
            _ => Fill::Unknown,
        },
        Some(Default::Expression(_)) => Fill::Unknown,
    }
}
