//! Forms of tables between the catalog, the log's DDL and what is told of them.

use crate::binlog::{LogType, TableMap};
use crate::catalog::{self, Which};
use crate::connection::Server;
use crate::kind::Kind;
use crate::statements::{Charset, Form, Forms, Generated, LogColumn};
use crate::status::variable;
use mysql_async::Conn;
use rowferry_api::{Column, Dialect, Fill, Result, TableName, TableSchema, Type};
use std::sync::Arc;

/// The columns in the order of the log, from a form that was told.
fn columns_of(form: &TableSchema) -> Vec<LogColumn> {
    let column = |column: &Column, generated| {
        let named = LogColumn { name: column.name.clone(), native: column.native.clone(), generated };
        (column.id, named)
    };
    let carried = form.columns.iter().map(|carried| column(carried, None));
    let computed = form.computed.iter().map(|computed| column(computed, Some(Generated::Virtual)));
    let mut columns: Vec<_> = carried.chain(computed).collect();
    columns.sort_by_key(|(place, _)| *place);
    columns.into_iter().map(|(_, column)| column).collect()
}

/// MariaDB puts columns behind those of the catalog that nobody has made: a number for a UNIQUE over a whole text, and the
/// two moments of system versioning. They do not travel.
pub(super) fn hidden(known: usize, map: &TableMap) -> Vec<LogColumn> {
    let native = |ty: &LogType| match ty {
        LogType::Int { bytes: 8 } => Some("bigint unsigned"),
        LogType::Timestamp { digits: 6 } => Some("timestamp(6)"),
        _ => None,
    };
    let behind = map.columns.iter().enumerate().skip(known);
    behind
        .map_while(|(place, ty)| {
            let name = format!("hidden column {place}");
            Some(LogColumn { name, native: native(ty)?.into(), generated: Some(Generated::Virtual) })
        })
        .collect()
}

pub(super) fn is_virtual(column: &LogColumn) -> bool {
    column.generated == Some(Generated::Virtual)
}

/// A form as it is told: a column's id is its place in the log.
pub(super) fn form_of(name: &TableName, columns: &[LogColumn], carried: &TableSchema) -> TableSchema {
    let column = |(place, column): (usize, &LogColumn)| Column {
        id: i32::try_from(place).unwrap_or(i32::MAX),
        name: column.name.clone(),
        ty: Kind::parse(&column.native).map_or(Type::Other, |kind| kind.ty()),
        native: column.native.clone(),
        nullable: true,
        default: None,
        identity: false,
        generated: None,
        fill: Fill::Unknown,
    };
    let (computed, others): (Vec<_>, Vec<_>) = columns.iter().enumerate().partition(|(_, column)| is_virtual(column));
    let mut form = TableSchema {
        name: name.clone(),
        dialect: Dialect::Mysql,
        columns: others.into_iter().map(column).collect(),
        computed: computed.into_iter().map(column).collect(),
        key: Vec::new(),
        indexes: Vec::new(),
        foreign_keys: Vec::new(),
        types: Vec::new(),
    };
    let key: Option<Vec<usize>> = carried.key_columns().map(|column| form.column_index(&column.name)).collect();
    form.key = key.unwrap_or_default();
    form
}

/// The forms that the catalog has now, and in place of them those that are known to hold where the log begins.
pub(super) async fn forms_now(
    conn: &mut Conn,
    server: Server,
    database: Option<&str>,
    followed: &[Arc<TableSchema>],
) -> Result<Forms> {
    let ignores_case = variable(conn, "lower_case_table_names").await?.is_some_and(|value| value != "0");
    let mut forms = Forms::new(server.flavor, ignores_case);
    let charset = variable(conn, "character_set_server").await?;
    forms.server_charset = charset.map(|name| Charset::new(&name, None));
    let which = Which::Database(database);
    for (name, charset, collation) in catalog::databases(conn, &which).await? {
        forms.set_database(&name, Charset::new(&charset, Some(&collation)));
    }
    for entry in catalog::entries(conn, server, &which).await? {
        let charset = entry.collation.as_deref().and_then(Charset::of_collation);
        forms.set(&entry.table.schema.name, Form::known(entry.log_columns, charset));
    }
    for form in followed {
        let charset = forms.get(&form.name).and_then(|known| known.charset.clone());
        forms.set(&form.name, Form::known(columns_of(form), charset));
    }
    Ok(forms)
}
