//! Keys, secondary indexes, and constraints that are kept by an index.

use crate::connection::from_pg;
use rowferry_api::{Column, Index, Result};
use std::collections::HashMap;
use tokio_postgres::{Client, Row};

const INDEXES: &str = "
    SELECT i.indrelid, ic.relname, i.indisprimary, i.indisreplident, i.indisunique, i.indimmediate,
           i.indpred IS NOT NULL, i.indexprs IS NOT NULL,
           ARRAY(SELECT a.attname::text FROM unnest(i.indkey::int2[]) WITH ORDINALITY AS k(attnum, place)
                 JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
                 WHERE k.place <= i.indnkeyatts ORDER BY k.place),
           pg_get_indexdef(i.indexrelid), co.contype::text, pg_get_constraintdef(co.oid),
           quote_ident(ic.relname), quote_ident(n.nspname) || '.' || quote_ident(c.relname)
    FROM pg_index i
    JOIN pg_class ic ON ic.oid = i.indexrelid
    JOIN pg_class c ON c.oid = i.indrelid JOIN pg_namespace n ON n.oid = c.relnamespace
    LEFT JOIN pg_constraint co ON co.conindid = i.indexrelid AND co.conrelid = i.indrelid AND co.contype IN ('p', 'u', 'x')
    WHERE i.indrelid = ANY($1) AND i.indisvalid AND i.indislive
    ORDER BY i.indrelid, i.indexrelid";

/// An index as the catalog has it.
pub(super) struct Found {
    index: Index,
    primary: bool,
    identity: bool,
    immediate: bool,
    /// Names of its key's columns, expressions left out.
    columns: Vec<String>,
}

pub(super) async fn load(client: &Client, tables: &[u32]) -> Result<HashMap<u32, Vec<Found>>> {
    let rows = client.query(INDEXES, &[&tables]).await.map_err(|error| from_pg("read the catalog's indexes", error))?;
    let mut all: HashMap<u32, Vec<Found>> = HashMap::new();
    for row in &rows {
        if let Some(found) = found(row) {
            all.entry(row.get(0)).or_default().push(found);
        }
    }
    Ok(all)
}

/// `None` if it was dropped while we looked.
fn found(row: &Row) -> Option<Found> {
    let over_expressions: bool = row.get(7);
    let columns: Vec<String> = row.get(8);
    let definition: String = row.get::<_, Option<String>>(9)?;
    let kind: Option<String> = row.get(10);
    let index = Index {
        name: row.get(1),
        unique: row.get(4),
        columns: if over_expressions { Vec::new() } else { columns.clone() },
        partial: row.get(6),
        definition: with_placeholder(&definition, &row.get::<_, String>(12), &row.get::<_, String>(13))?,
        constraint: kind.and_then(|_| row.get(11)),
    };
    Some(Found { index, primary: row.get(2), identity: row.get(3), immediate: row.get(5), columns })
}

/// `CREATE UNIQUE INDEX x ON ONLY public.t USING ...` with `{table}` for the table.
fn with_placeholder(definition: &str, index: &str, table: &str) -> Option<String> {
    ["CREATE INDEX", "CREATE UNIQUE INDEX"].iter().find_map(|create| {
        let rest = definition.strip_prefix(create)?.strip_prefix(' ')?.strip_prefix(index)?.strip_prefix(" ON ")?;
        let rest = rest.strip_prefix("ONLY ").unwrap_or(rest).strip_prefix(table)?;
        Some(format!("{create} {index} ON {{table}}{rest}"))
    })
}

/// Which index is the key, and which are to be built besides: all but a primary key that is the key.
pub(super) struct Choice {
    pub key: Vec<usize>,
    pub secondary: Vec<Index>,
    /// Columns that the replica identity holds in the log.
    pub identity: Vec<String>,
}

/// The key: the index that the replica identity names, else the primary key, else, where whole rows are logged, the smallest
/// unique index over columns that are never NULL.
pub(super) fn choose_key(indexes: &[Found], identity: char, columns: &[Column]) -> Choice {
    let place = |name: &String| columns.iter().position(|column| column.name == *name);
    let key_of = |found: &Found| found.columns.iter().map(place).collect::<Option<Vec<usize>>>();
    let is_key = |found: &&Found| {
        let index = &found.index;
        let never_null = || key_of(found).is_some_and(|key| key.iter().all(|&column| !columns[column].nullable));
        index.unique && found.immediate && !index.partial && !index.columns.is_empty() && never_null()
    };
    let primary = indexes.iter().find(|found| found.primary);
    let named = indexes.iter().find(|found| found.identity && identity == 'i');
    let unique = || indexes.iter().filter(is_key).min_by_key(|found| found.columns.len()).filter(|_| identity == 'f');
    let chosen = named.or(primary).or_else(unique);
    let names_of = |found: Option<&Found>| found.map(|found| found.columns.clone()).unwrap_or_default();
    let logged = match identity {
        'f' => columns.iter().map(|column| column.name.clone()).collect(),
        'i' => names_of(named),
        // The server does not take a deferrable primary key for the identity.
        'd' => names_of(primary.filter(|primary| primary.immediate)),
        _ => Vec::new(),
    };
    let is_primary_key = |found: &Found| found.primary && chosen.is_some_and(|chosen| std::ptr::eq(chosen, found));
    let secondary = indexes.iter().filter(|found| !is_primary_key(found)).map(|found| found.index.clone()).collect();
    Choice { key: chosen.and_then(key_of).unwrap_or_default(), secondary, identity: logged }
}

#[cfg(test)]
mod tests {
    use super::with_placeholder;

    #[test]
    fn a_definition_is_cut_at_its_own_table_whatever_the_names_are() {
        let odd =
            r#"CREATE UNIQUE INDEX "x ON public.t USING" ON ONLY public."a b" USING btree (lower(c)) INCLUDE (d)"#;
        assert_eq!(
            with_placeholder(odd, r#""x ON public.t USING""#, r#"public."a b""#).unwrap(),
            r#"CREATE UNIQUE INDEX "x ON public.t USING" ON {table} USING btree (lower(c)) INCLUDE (d)"#
        );
        assert_eq!(
            with_placeholder("CREATE INDEX i ON s.t USING gin (a)", "i", "s.t").unwrap(),
            "CREATE INDEX i ON {table} USING gin (a)"
        );
        assert_eq!(with_placeholder("CREATE INDEX i ON s.t USING gin (a)", "j", "s.t"), None);
    }
}
