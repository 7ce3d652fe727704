//! Foreign keys. Those that PostgreSQL clones for partitions are left out, and temporal ones, whose columns do not stand for
//! themselves.

use crate::connection::from_pg;
use rowferry_api::{ForeignKey, Result, TableName};
use std::collections::HashMap;
use tokio_postgres::Client;

const FOREIGN_KEYS: &str = "
    SELECT co.conrelid, co.conname, n.nspname, c.relname,
           ARRAY(SELECT a.attname::text FROM unnest(co.conkey) WITH ORDINALITY AS k(attnum, place)
                 JOIN pg_attribute a ON a.attrelid = co.conrelid AND a.attnum = k.attnum ORDER BY k.place),
           ARRAY(SELECT a.attname::text FROM unnest(co.confkey) WITH ORDINALITY AS k(attnum, place)
                 JOIN pg_attribute a ON a.attrelid = co.confrelid AND a.attnum = k.attnum ORDER BY k.place),
           pg_get_constraintdef(co.oid)
    FROM pg_constraint co
    JOIN pg_class c ON c.oid = co.confrelid JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE co.contype = 'f' AND co.conparentid = 0 AND co.conrelid = ANY($1)
      AND coalesce(to_jsonb(co)->>'conperiod', 'false') = 'false'
    ORDER BY co.conrelid, co.conname";

pub(super) async fn load(client: &Client, tables: &[u32]) -> Result<HashMap<u32, Vec<ForeignKey>>> {
    let failed = |error| from_pg("read the catalog's foreign keys", error);
    let rows = client.query(FOREIGN_KEYS, &[&tables]).await.map_err(failed)?;
    let mut all: HashMap<u32, Vec<ForeignKey>> = HashMap::new();
    for row in &rows {
        // NULL if it was dropped while we looked.
        let Some(definition) = row.get::<_, Option<String>>(6) else {
            continue;
        };
        all.entry(row.get(0)).or_default().push(ForeignKey {
            name: row.get(1),
            columns: row.get(4),
            references: TableName::new(row.get::<_, String>(2), row.get::<_, String>(3)),
            referenced_columns: row.get(5),
            actions: actions(&definition).to_owned(),
        });
    }
    Ok(all)
}

/// What follows the second list of columns in `FOREIGN KEY (a) REFERENCES s.t(b) ON DELETE CASCADE`.
fn actions(definition: &str) -> &str {
    let mut quoted = false;
    let closes = |&(_, char): &(usize, char)| {
        quoted ^= char == '"';
        char == ')' && !quoted
    };
    match definition.char_indices().filter(closes).nth(1) {
        Some((place, _)) => definition[place + 1..].trim(),
        None => "",
    }
}

#[cfg(test)]
mod tests {
    use super::actions;

    #[test]
    fn the_actions_of_a_foreign_key() {
        let definition = r#"FOREIGN KEY (a) REFERENCES public."odd)name"("b)") ON DELETE CASCADE DEFERRABLE"#;
        assert_eq!(actions(definition), "ON DELETE CASCADE DEFERRABLE");
        let definition = r#"FOREIGN KEY ("a) REFERENCES ("""    , b) REFERENCES s.t(a, b) ON DELETE SET NULL (b)"#;
        assert_eq!(actions(definition), "ON DELETE SET NULL (b)");
        assert_eq!(actions("FOREIGN KEY (a) REFERENCES s.t(b)"), "");
    }
}
