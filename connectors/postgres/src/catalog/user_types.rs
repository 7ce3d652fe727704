//! Types of the user that columns need at a target: enums, domains, composites, ranges, and what extensions bring.

use crate::connection::{from_pg, quote_name};
use rowferry_api::{Result, TableName, TypeDef, TypeDefKind};
use std::collections::{HashMap, HashSet};
use tokio_postgres::{Client, Row};

/// What a type `n` is made of: an array's element, a domain's base, a composite's fields, a range's subtype, a multirange's
/// range (which has a name for it from PostgreSQL 14 on).
const PARTS: &str = "
    SELECT t.typelem FROM pg_type t WHERE t.oid = n.oid AND t.typelem <> 0
    UNION ALL SELECT t.typbasetype FROM pg_type t WHERE t.oid = n.oid AND t.typbasetype <> 0
    UNION ALL SELECT a.atttypid FROM pg_type t JOIN pg_attribute a ON a.attrelid = t.typrelid
              WHERE t.oid = n.oid AND t.typtype = 'c' AND a.attnum > 0 AND NOT a.attisdropped
    UNION ALL SELECT r.rngsubtype FROM pg_range r WHERE r.rngtypid = n.oid
    UNION ALL SELECT r.rngtypid FROM pg_range r WHERE (to_jsonb(r)->>'rngmultitypid')::oid = n.oid";

/// The types of `$1` that are not PostgreSQL's own, and those that they are made of. A domain's check is carried if it needs
/// nothing but what every server has.
fn statement() -> String {
    format!(
        "WITH RECURSIVE need(oid) AS (
             SELECT unnest($1::oid[])
             UNION
             SELECT p.part FROM need n CROSS JOIN LATERAL ({PARTS}) AS p(part))
         SELECT t.oid, n.nspname, t.typname, t.typtype::text, x.extname, ARRAY({PARTS}),
                ARRAY(SELECT l.enumlabel::text FROM pg_enum l WHERE l.enumtypid = t.oid ORDER BY l.enumsortorder),
                format_type(nullif(t.typbasetype, 0), t.typtypmod), t.typnotnull,
                ARRAY(SELECT pg_get_constraintdef(c.oid) FROM pg_constraint c
                      WHERE c.contypid = t.oid AND c.contype = 'c' AND c.convalidated AND NOT EXISTS (
                          SELECT FROM pg_depend p WHERE p.classid = 'pg_constraint'::regclass AND p.objid = c.oid
                          AND p.deptype = 'n' AND p.refclassid <> 'pg_type'::regclass)
                      ORDER BY c.conname),
                ARRAY(SELECT a.attname::text FROM pg_attribute a WHERE a.attrelid = t.typrelid AND t.typtype = 'c'
                      AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum),
                ARRAY(SELECT format_type(a.atttypid, a.atttypmod) FROM pg_attribute a WHERE a.attrelid = t.typrelid
                      AND t.typtype = 'c' AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum),
                format_type(r.rngsubtype, -1),
                (SELECT quote_ident(pn.nspname) || '.' || quote_ident(p.proname) FROM pg_proc p
                 JOIN pg_namespace pn ON pn.oid = p.pronamespace WHERE p.oid = r.rngsubdiff AND pn.nspname = 'pg_catalog'),
                (SELECT quote_ident(o.opcname) FROM pg_opclass o WHERE o.oid = r.rngsubopc AND NOT o.opcdefault
                 AND o.opcnamespace = 'pg_catalog'::regnamespace),
                (SELECT quote_ident(c.collname) FROM pg_collation c JOIN pg_type s ON s.oid = r.rngsubtype
                 WHERE c.oid = r.rngcollation AND c.oid <> s.typcollation AND c.collnamespace = 'pg_catalog'::regnamespace),
                (SELECT m.typname::text FROM pg_type m WHERE m.oid = (to_jsonb(r)->>'rngmultitypid')::oid)
         FROM need JOIN pg_type t ON t.oid = need.oid
         CROSS JOIN LATERAL (SELECT t.oid, s.nspname FROM pg_namespace s WHERE s.oid = t.typnamespace) n
         LEFT JOIN pg_range r ON r.rngtypid = t.oid
         LEFT JOIN pg_depend d ON d.classid = 'pg_type'::regclass AND d.objid = t.oid AND d.deptype = 'e'
              AND d.refclassid = 'pg_extension'::regclass
         LEFT JOIN pg_extension x ON x.oid = d.refobjid
         WHERE n.nspname NOT IN ('pg_catalog', 'information_schema') AND n.nspname NOT LIKE 'pg\\_toast%'"
    )
}

/// A type, and the types that it is made of.
pub(super) struct Known {
    def: Option<TypeDef>,
    made_of: Vec<u32>,
}

/// The user's types among these, and all that they are made of, by oid.
pub(super) async fn load(client: &Client, used: &[u32]) -> Result<HashMap<u32, Known>> {
    let rows =
        client.query(&statement(), &[&used]).await.map_err(|error| from_pg("read the catalog's types", error))?;
    Ok(rows.iter().map(|row| (row.get(0), known(row))).collect())
}

fn known(row: &Row) -> Known {
    let name = TableName::new(row.get::<_, String>(1), row.get::<_, String>(2));
    if let Some(extension) = row.get::<_, Option<String>>(4) {
        return Known { def: Some(TypeDef { name, kind: TypeDefKind::Extension { extension } }), made_of: Vec::new() };
    }
    let kind = match row.get::<_, String>(3).as_str() {
        "e" => Some(TypeDefKind::Enum { labels: row.get(6) }),
        "d" => row.get::<_, Option<String>>(7).map(|base| TypeDefKind::Domain {
            base,
            not_null: row.get(8),
            checks: row.get::<_, Vec<Option<String>>>(9).into_iter().flatten().collect(),
        }),
        "c" => {
            let (names, types): (Vec<String>, Vec<String>) = (row.get(10), row.get(11));
            Some(TypeDefKind::Composite { fields: names.into_iter().zip(types).collect() })
        }
        "r" => Some(TypeDefKind::Range { options: range_options(row, &name) }),
        // Arrays and multiranges come with what they are made of; the rest is C code, which cannot be carried.
        _ => None,
    };
    Known { def: kind.map(|kind| TypeDef { name, kind }), made_of: row.get(5) }
}

fn range_options(row: &Row, name: &TableName) -> String {
    let text = |index: usize| row.get::<_, Option<String>>(index);
    let in_catalog = |name: String| format!("pg_catalog.{name}");
    // The name that PostgreSQL gives by itself need not be said, so that a server without multiranges can make the type.
    let usual = match name.name.contains("range") {
        true => name.name.replacen("range", "multirange", 1),
        false => format!("{}_multirange", name.name),
    };
    let multirange = text(16).filter(|multirange| *multirange != usual);
    let options = [
        ("SUBTYPE", text(12)),
        ("SUBTYPE_OPCLASS", text(14).map(in_catalog)),
        ("COLLATION", text(15).map(in_catalog)),
        ("SUBTYPE_DIFF", text(13)),
        (
            "MULTIRANGE_TYPE_NAME",
            multirange.map(|multirange| format!("{}.{}", quote_name(&name.schema), quote_name(&multirange))),
        ),
    ];
    let given = options.into_iter().filter_map(|(option, value)| Some(format!("{option} = {}", value?)));
    given.collect::<Vec<_>>().join(", ")
}

/// What columns of these types need, each after what it is made of.
pub(super) fn needed(types: &HashMap<u32, Known>, columns: &[u32]) -> Vec<TypeDef> {
    let mut defs = Vec::new();
    let mut seen = HashSet::new();
    for &oid in columns {
        visit(types, oid, &mut seen, &mut defs);
    }
    defs
}

fn visit(types: &HashMap<u32, Known>, oid: u32, seen: &mut HashSet<u32>, defs: &mut Vec<TypeDef>) {
    let Some(known) = types.get(&oid) else { return };
    if seen.insert(oid) {
        known.made_of.iter().for_each(|&part| visit(types, part, seen, defs));
        defs.extend(known.def.clone());
    }
}
