//! Columns.

use crate::connection::from_pg;
use crate::types;
use rowferry_api::{Column, Fill, Generated, Result, Type};
use std::collections::HashMap;
use tokio_postgres::{Client, Row};

/// The base type is what a domain ends in; defaults that need a sequence, function or operator of the user are not carried.
const COLUMNS: &str = "
    WITH RECURSIVE base AS (
        SELECT t.oid, t.oid AS base FROM pg_type t WHERE t.typtype <> 'd'
        UNION ALL
        SELECT t.oid, b.base FROM pg_type t JOIN base b ON b.oid = t.typbasetype WHERE t.typtype = 'd')
    SELECT a.attrelid, a.attnum::int4, a.attname, format_type(a.atttypid, a.atttypmod), bt.typname, bt.typtype::text,
           bt.typnamespace = 'pg_catalog'::regnamespace, a.attnotnull, a.attidentity::text, a.attgenerated::text,
           pg_get_expr(d.adbin, d.adrelid), a.attmissingval::text, a.atthasmissing, a.atttypid,
           NOT EXISTS (SELECT FROM pg_depend p WHERE p.classid = 'pg_attrdef'::regclass AND p.objid = d.oid
                       AND p.refclassid <> 'pg_type'::regclass
                       AND NOT (p.refclassid = 'pg_class'::regclass AND p.refobjid = a.attrelid)),
           coalesce(et.typtype::text, ''), coalesce(et.typname, '')
    FROM pg_attribute a
    JOIN base b ON b.oid = a.atttypid JOIN pg_type bt ON bt.oid = b.base
    LEFT JOIN pg_type et ON et.oid = bt.typelem AND bt.typcategory = 'A'
    LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
    WHERE a.attrelid = ANY($1) AND a.attnum > 0 AND NOT a.attisdropped
    ORDER BY a.attrelid, a.attnum";

/// A table's columns.
#[derive(Default)]
pub(super) struct Columns {
    /// Those that rows carry.
    pub carried: Vec<Column>,
    /// Those that the store computes.
    pub computed: Vec<Column>,
    /// The types of all of them.
    pub type_oids: Vec<u32>,
}

pub(super) async fn load(client: &Client, tables: &[u32], logs_generated: bool) -> Result<HashMap<u32, Columns>> {
    let rows = client.query(COLUMNS, &[&tables]).await.map_err(|error| from_pg("read the catalog's columns", error))?;
    let mut all: HashMap<u32, Columns> = HashMap::new();
    for row in &rows {
        let table = all.entry(row.get(0)).or_default();
        table.type_oids.push(row.get(13));
        let column = column(row);
        let logged = column.generated.as_ref().is_none_or(|generated| generated.stored && logs_generated);
        if logged { table.carried.push(column) } else { table.computed.push(column) }
    }
    Ok(all)
}

fn column(row: &Row) -> Column {
    let (attidentity, attgenerated): (String, String) = (row.get(8), row.get(9));
    let expression: Option<String> = row.get(10);
    let ty = common_type(row);
    let counts = expression.as_deref().is_some_and(|text| text.starts_with("nextval("));
    let identity = matches!(ty, Type::Int { .. }) && (!attidentity.is_empty() || counts);
    let generated = match (attgenerated.as_str(), &expression) {
        ("", _) | (_, None) => None,
        (kind, Some(expression)) => Some(Generated { expression: expression.clone(), stored: kind == "s" }),
    };
    let portable: bool = row.get(14);
    let missing: Option<String> = row.get::<_, bool>(12).then(|| row.get(11)).flatten();
    let fill = match missing.as_deref().and_then(only_element) {
        Some(value) => Fill::Value(value),
        None if expression.is_some() || !attidentity.is_empty() => Fill::Unknown,
        None => Fill::Null,
    };
    Column {
        id: row.get(1),
        name: row.get(2),
        ty,
        native: row.get(3),
        nullable: !row.get::<_, bool>(7),
        default: expression.filter(|_| portable && generated.is_none() && !counts),
        identity,
        generated,
        fill,
    }
}

fn common_type(row: &Row) -> Type {
    let (name, kind): (String, String) = (row.get(4), row.get(5));
    let (element_kind, element): (String, String) = (row.get(15), row.get(16));
    match (kind.as_str(), element_kind.as_str()) {
        ("e", _) => Type::Enum,
        (_, "e") => Type::Array(Box::new(Type::Enum)),
        (_, "b") if name.starts_with('_') => Type::Array(Box::new(types::of_name(&element))),
        (_, "b" | "d" | "c" | "r" | "m") if name.starts_with('_') => Type::Array(Box::new(Type::Other)),
        ("b", _) if row.get(6) => types::of_name(&name),
        // citext is text with another comparison.
        ("b", _) if name == "citext" => Type::Text,
        _ => Type::Other,
    }
}

/// The text of the one element of an array's text: `{5}`, `{"a \"b\""}`.
fn only_element(array: &str) -> Option<String> {
    let inside = array.strip_prefix('{')?.strip_suffix('}')?;
    let Some(quoted) = inside.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) else {
        return Some(inside.to_owned());
    };
    let mut text = String::with_capacity(quoted.len());
    let mut chars = quoted.chars();
    while let Some(char) = chars.next() {
        text.push(if char == '\\' { chars.next()? } else { char });
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::only_element;

    #[test]
    fn the_only_element_of_an_array() {
        assert_eq!(only_element("{5}").unwrap(), "5");
        assert_eq!(only_element(r#"{"a \"b\" \\ c"}"#).unwrap(), r#"a "b" \ c"#);
        assert_eq!(only_element(r#"{"{1,2}"}"#).unwrap(), "{1,2}");
        assert_eq!(only_element("5"), None);
    }
}
