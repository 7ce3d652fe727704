//! Types of the user that columns need at a target: enums, domains, composites, ranges, and what extensions bring.

use crate::connection::from_pg;
use rowferry_api::{Result, TableName, TypeDef, TypeDefKind};
use std::collections::{HashMap, HashSet};
use tokio_postgres::{Client, Row};

/// Every type that is not PostgreSQL's own, its elements, and the types that it is made of.
const TYPES: &str = "
    SELECT t.oid, n.nspname, t.typname, t.typtype::text, t.typelem,
           (SELECT e.extname FROM pg_depend d JOIN pg_extension e ON e.oid = d.refobjid
            WHERE d.classid = 'pg_type'::regclass AND d.objid = t.oid AND d.deptype = 'e'
              AND d.refclassid = 'pg_extension'::regclass),
           ARRAY(SELECT l.enumlabel::text FROM pg_enum l WHERE l.enumtypid = t.oid ORDER BY l.enumsortorder),
           t.typbasetype, format_type(t.typbasetype, t.typtypmod), t.typnotnull,
           ARRAY(SELECT pg_get_constraintdef(c.oid) FROM pg_constraint c WHERE c.contypid = t.oid AND c.contype = 'c' ORDER BY c.conname),
           ARRAY(SELECT a.attname::text FROM pg_attribute a WHERE t.typtype = 'c' AND a.attrelid = t.typrelid AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum),
           ARRAY(SELECT format_type(a.atttypid, a.atttypmod) FROM pg_attribute a WHERE t.typtype = 'c' AND a.attrelid = t.typrelid AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum),
           ARRAY(SELECT a.atttypid FROM pg_attribute a WHERE t.typtype = 'c' AND a.attrelid = t.typrelid AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum),
           r.rngsubtype, format_type(r.rngsubtype, NULL),
           CASE WHEN r.rngsubdiff::oid <> 0 AND p.pronamespace = 'pg_catalog'::regnamespace THEN p.proname END
    FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace
    LEFT JOIN pg_range r ON r.rngtypid = t.oid
    LEFT JOIN pg_proc p ON p.oid = r.rngsubdiff
    WHERE n.nspname NOT IN ('pg_catalog', 'information_schema') AND n.nspname NOT LIKE 'pg\\_toast%'
      AND (t.typtype <> 'c' OR EXISTS (SELECT FROM pg_class c WHERE c.oid = t.typrelid AND c.relkind = 'c')
           OR EXISTS (SELECT FROM pg_attribute a WHERE a.atttypid = t.oid))";

/// A type, and the types that it is made of.
pub(super) struct Known {
    def: Option<TypeDef>,
    made_of: Vec<u32>,
}

pub(super) async fn load(client: &Client) -> Result<HashMap<u32, Known>> {
    let rows = client.query(TYPES, &[]).await.map_err(|error| from_pg("read the catalog's types", error))?;
    Ok(rows.iter().map(|row| (row.get(0), known(row))).collect())
}

fn known(row: &Row) -> Known {
    let name = TableName::new(row.get::<_, String>(1), row.get::<_, String>(2));
    let extension: Option<String> = row.get(5);
    let def = |kind| Some(TypeDef { name: name.clone(), kind });
    if let Some(extension) = extension {
        return Known { def: def(TypeDefKind::Extension { extension }), made_of: Vec::new() };
    }
    match row.get::<_, String>(3).as_str() {
        "e" => Known { def: def(TypeDefKind::Enum { labels: row.get(6) }), made_of: Vec::new() },
        "d" => Known {
            def: def(TypeDefKind::Domain { base: row.get(8), not_null: row.get(9), checks: row.get(10) }),
            made_of: vec![row.get(7)],
        },
        "c" => {
            let (names, types): (Vec<String>, Vec<String>) = (row.get(11), row.get(12));
            let fields = names.into_iter().zip(types).collect();
            Known { def: def(TypeDefKind::Composite { fields }), made_of: row.get(13) }
        }
        "r" => {
            let subtype: String = row.get(15);
            let diff: Option<String> = row.get(16);
            let options = match diff {
                Some(diff) => format!("SUBTYPE = {subtype}, SUBTYPE_DIFF = pg_catalog.{diff}"),
                None => format!("SUBTYPE = {subtype}"),
            };
            Known { def: def(TypeDefKind::Range { options }), made_of: vec![row.get(14)] }
        }
        // An array is made of its element; anything else of the user comes from C code and cannot be carried.
        _ => Known { def: None, made_of: vec![row.get(4)] },
    }
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
