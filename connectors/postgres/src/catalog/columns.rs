//! Columns.

use crate::connection::from_pg;
use crate::types;
use rowferry_api::{Column, Fill, Generated, Result, Type};
use std::collections::HashMap;
use tokio_postgres::{Client, Row};

/// The base type is what a domain ends in. A default travels if it needs nothing but what every server has, and types, which
/// travel too. A partitioned table keeps no value for older rows: its leaves do, and count where all of them agree.
const COLUMNS: &str = "
    WITH RECURSIVE base AS (
        SELECT t.oid, t.oid AS base, false AS has_default FROM pg_type t WHERE t.typtype <> 'd'
        UNION ALL
        SELECT t.oid, b.base, b.has_default OR t.typdefault IS NOT NULL
        FROM base b JOIN pg_type t ON t.typbasetype = b.oid AND t.typtype = 'd')
    SELECT a.attrelid, a.attnum::int4, a.attname, format_type(a.atttypid, a.atttypmod), a.atttypid,
           bt.typname, bt.typtype::text, bt.typnamespace = 'pg_catalog'::regnamespace,
           et.typname, et.typtype::text, et.typnamespace = 'pg_catalog'::regnamespace,
           NOT a.attnotnull OR unproven.conkey IS NOT NULL,
           a.attidentity::text, a.attgenerated::text, pg_get_expr(d.adbin, d.adrelid),
           d.oid IS NOT NULL AND NOT EXISTS (
               SELECT FROM pg_depend p WHERE p.classid = 'pg_attrdef'::regclass AND p.objid = d.oid AND p.deptype = 'n'
               AND p.refclassid <> 'pg_type'::regclass AND NOT (p.refclassid = 'pg_class'::regclass AND p.refobjid = a.attrelid)),
           CASE WHEN a.atthasmissing THEN a.attmissingval::text ELSE leaves.missing END,
           b.has_default, coalesce(leaves.differ, false)
    FROM pg_attribute a
    JOIN pg_class c ON c.oid = a.attrelid
    JOIN base b ON b.oid = a.atttypid JOIN pg_type bt ON bt.oid = b.base
    LEFT JOIN pg_type et ON et.oid = bt.typelem AND et.typarray = bt.oid
    LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
    LEFT JOIN pg_constraint unproven ON unproven.conrelid = a.attrelid AND unproven.contype = 'n'
         AND NOT unproven.convalidated AND unproven.conkey = ARRAY[a.attnum]
    LEFT JOIN LATERAL (
        SELECT CASE WHEN bool_and(l.atthasmissing) AND min(l.attmissingval::text) = max(l.attmissingval::text)
                    THEN min(l.attmissingval::text) END AS missing,
               bool_or(l.atthasmissing)
               AND NOT (bool_and(l.atthasmissing) AND min(l.attmissingval::text) = max(l.attmissingval::text)) AS differ
        FROM pg_partition_tree(CASE WHEN c.relkind = 'p' THEN c.oid END) p
        JOIN pg_attribute l ON l.attrelid = p.relid AND l.attname = a.attname
        WHERE p.isleaf) leaves ON true
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
        table.type_oids.push(row.get(4));
        let column = column(row);
        let logged = column.generated.as_ref().is_none_or(|generated| generated.stored && logs_generated);
        if logged { table.carried.push(column) } else { table.computed.push(column) }
    }
    Ok(all)
}

fn column(row: &Row) -> Column {
    let (attidentity, attgenerated): (String, String) = (row.get(12), row.get(13));
    let expression: Option<String> = row.get(14);
    let ty = common_type(row);
    let counts = expression.as_deref().is_some_and(|text| text.starts_with("nextval("));
    let identity = matches!(ty, Type::Int { .. }) && (!attidentity.is_empty() || counts);
    let generated = match (attgenerated.as_str(), &expression) {
        ("", _) | (_, None) => None,
        (kind, Some(expression)) => Some(Generated { expression: expression.clone(), stored: kind == "s" }),
    };
    let portable: bool = row.get(15);
    let missing: Option<String> = row.get(16);
    let nullable: bool = row.get(11);
    // Rows that were there cannot hold NULL where it is not allowed, even if the default has been dropped since.
    let fills = expression.is_some()
        || !attidentity.is_empty()
        || !nullable
        || row.get::<_, bool>(17)
        || row.get::<_, bool>(18);
    let fill = match missing.as_deref().and_then(only_element) {
        Some(value) => Fill::Value(value),
        None if fills => Fill::Unknown,
        None => Fill::Null,
    };
    Column {
        id: row.get(1),
        name: row.get(2),
        ty,
        native: row.get(3),
        nullable,
        default: expression.filter(|_| portable && generated.is_none() && !counts),
        identity,
        generated,
        fill,
    }
}

fn common_type(row: &Row) -> Type {
    match row.get::<_, Option<String>>(8) {
        Some(element) => Type::Array(Box::new(types::of(&element, &row.get::<_, String>(9), row.get(10)))),
        None => types::of(&row.get::<_, String>(5), &row.get::<_, String>(6), row.get(7)),
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
        assert_eq!(only_element(r#"{""}"#).unwrap(), "");
        assert_eq!(only_element(r#"{"a \"b\" \\ c"}"#).unwrap(), r#"a "b" \ c"#);
        assert_eq!(only_element(r#"{"{1,2}"}"#).unwrap(), "{1,2}");
        assert_eq!(only_element("5"), None);
    }
}
