//! Keys, secondary indexes, unique constraints and foreign keys.

use crate::connection::from_pg;
use rowferry_api::{Column, ForeignKey, Index, Result, TableName};
use std::collections::HashMap;
use tokio_postgres::Client;

const INDEXES: &str = "
    SELECT i.indrelid, ic.relname, i.indisprimary, i.indisreplident, i.indisunique, i.indimmediate,
           i.indpred IS NOT NULL, i.indexprs IS NOT NULL,
           ARRAY(SELECT a.attname::text FROM unnest(i.indkey::int2[]) WITH ORDINALITY AS k(attnum, place)
                 JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
                 WHERE k.place <= i.indnkeyatts ORDER BY k.place),
           pg_get_indexdef(i.indexrelid), co.contype::text, pg_get_constraintdef(co.oid),
           quote_ident(n.nspname) || '.' || quote_ident(c.relname), i.indisvalid
    FROM pg_index i
    JOIN pg_class ic ON ic.oid = i.indexrelid
    JOIN pg_class c ON c.oid = i.indrelid JOIN pg_namespace n ON n.oid = c.relnamespace
    LEFT JOIN pg_constraint co ON co.conindid = i.indexrelid AND co.contype IN ('p', 'u', 'x')
    WHERE i.indrelid = ANY($1) ORDER BY i.indrelid, i.indexrelid";

/// An index as the catalog has it.
pub(super) struct Found {
    index: Index,
    primary: bool,
    identity: bool,
    immediate: bool,
    over_expressions: bool,
}

pub(super) async fn load(client: &Client, tables: &[u32]) -> Result<HashMap<u32, Vec<Found>>> {
    let rows = client.query(INDEXES, &[&tables]).await.map_err(|error| from_pg("read the catalog's indexes", error))?;
    let mut all: HashMap<u32, Vec<Found>> = HashMap::new();
    for row in rows.iter().filter(|row| row.get::<_, bool>(13)) {
        let over_expressions: bool = row.get(7);
        let kind: Option<String> = row.get(10);
        let table: String = row.get(12);
        let definition: String = row.get(9);
        let definition = [format!(" ON ONLY {table} USING "), format!(" ON {table} USING ")]
            .iter()
            .fold(definition, |text, here| text.replacen(here.as_str(), " ON {table} USING ", 1));
        let index = Index {
            name: row.get(1),
            unique: row.get(4),
            columns: if over_expressions { Vec::new() } else { row.get(8) },
            partial: row.get(6),
            definition,
            constraint: kind.filter(|kind| kind != "p").and_then(|_| row.get(11)),
        };
        all.entry(row.get(0)).or_default().push(Found {
            index,
            primary: row.get(2),
            identity: row.get(3),
            immediate: row.get(5),
            over_expressions,
        });
    }
    Ok(all)
}

/// Which index is the key, and which remain.
pub(super) struct Choice {
    pub key: Vec<usize>,
    pub secondary: Vec<Index>,
    pub identity: Vec<String>,
}

/// The key: what the replica identity names, else the primary key, else a unique index over columns that are never NULL.
pub(super) fn choose_key(indexes: &[Found], identity: char, columns: &[Column]) -> Choice {
    let place = |name: &String| columns.iter().position(|column| column.name == *name);
    let key_of = |found: &Found| found.index.columns.iter().map(place).collect::<Option<Vec<usize>>>();
    let whole = |found: &&Found| found.index.unique && !found.index.partial && !found.over_expressions && found.immediate;
    let never_null = |found: &&Found| key_of(found).is_some_and(|key| key.iter().all(|&column| !columns[column].nullable));
    let primary = indexes.iter().find(|found| found.primary);
    let named = indexes.iter().find(|found| found.identity && identity == 'i');
    let unique = || indexes.iter().filter(whole).filter(never_null).min_by_key(|found| found.index.columns.len());
    let chosen = named.or(primary).or_else(|| if identity == 'f' { unique() } else { None });
    let identity_columns = match identity {
        'f' => columns.iter().map(|column| column.name.clone()).collect(),
        'i' => named.map(|found| found.index.columns.clone()).unwrap_or_default(),
        'd' => primary.map(|found| found.index.columns.clone()).unwrap_or_default(),
        _ => Vec::new(),
    };
    let is_chosen = |found: &&Found| chosen.is_some_and(|chosen| std::ptr::eq(chosen, *found));
    let secondary = indexes.iter().filter(|found| !is_chosen(found)).map(as_secondary).collect();
    Choice { key: chosen.and_then(key_of).unwrap_or_default(), secondary, identity: identity_columns }
}

/// A primary key that is not the key here is carried as a unique index.
fn as_secondary(found: &Found) -> Index {
    found.index.clone()
}

const FOREIGN_KEYS: &str = "
    SELECT co.conrelid, co.conname, n.nspname, c.relname,
           ARRAY(SELECT a.attname::text FROM unnest(co.conkey) WITH ORDINALITY AS k(attnum, place)
                 JOIN pg_attribute a ON a.attrelid = co.conrelid AND a.attnum = k.attnum ORDER BY k.place),
           ARRAY(SELECT a.attname::text FROM unnest(co.confkey) WITH ORDINALITY AS k(attnum, place)
                 JOIN pg_attribute a ON a.attrelid = co.confrelid AND a.attnum = k.attnum ORDER BY k.place),
           pg_get_constraintdef(co.oid)
    FROM pg_constraint co
    JOIN pg_class c ON c.oid = co.confrelid JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE co.contype = 'f' AND co.conparentid = 0 AND co.conrelid = ANY($1) ORDER BY co.conrelid, co.conname";

pub(super) async fn load_foreign_keys(client: &Client, tables: &[u32]) -> Result<HashMap<u32, Vec<ForeignKey>>> {
    let failed = |error| from_pg("read the catalog's foreign keys", error);
    let rows = client.query(FOREIGN_KEYS, &[&tables]).await.map_err(failed)?;
    let mut all: HashMap<u32, Vec<ForeignKey>> = HashMap::new();
    for row in &rows {
        all.entry(row.get(0)).or_default().push(ForeignKey {
            name: row.get(1),
            columns: row.get(4),
            references: TableName::new(row.get::<_, String>(2), row.get::<_, String>(3)),
            referenced_columns: row.get(5),
            actions: actions(&row.get::<_, String>(6)),
        });
    }
    Ok(all)
}

/// What follows the referenced columns in `FOREIGN KEY (a) REFERENCES s.t(b) ON DELETE CASCADE`.
fn actions(definition: &str) -> String {
    let Some(at) = definition.find(" REFERENCES ") else { return String::new() };
    let mut quoted = false;
    for (place, char) in definition[at..].char_indices() {
        match char {
            '"' => quoted = !quoted,
            ')' if !quoted => return definition[at + place + 1..].trim().to_owned(),
            _ => {}
        }
    }
    String::new()
}

#[cfg(test)]
mod tests {
    use super::actions;

    #[test]
    fn the_actions_of_a_foreign_key() {
        let definition = r#"FOREIGN KEY (a) REFERENCES public."odd)name"("b)") ON DELETE CASCADE DEFERRABLE"#;
        assert_eq!(actions(definition), "ON DELETE CASCADE DEFERRABLE");
        assert_eq!(actions("FOREIGN KEY (a) REFERENCES s.t(b)"), "");
    }
}
