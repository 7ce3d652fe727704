//! A number for the catalog's state, to see cheaply that something changed.

use crate::connection::from_pg;
use rowferry_api::Result;
use tokio_postgres::Client;

/// One sum of hashes over what the other statements read of tables, columns, keys, types and the publication. Statistics are left
/// out, and so are temporary tables, which come and go. Sums need no sort, and no md5, which some servers forbid.
const VERSION: &str = "
    WITH tables AS (
        SELECT c.oid, c.relkind, c.reltype,
               hashtextextended(concat_ws(',', c.oid, n.nspname, c.relname, c.relkind, c.relreplident, c.relispartition,
                                          c.relfilenode), 1) AS hash
        FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE c.oid >= 16384 AND (c.relkind = 'c' OR c.relkind IN ('r', 'p') AND c.relpersistence = 'p')
          AND n.nspname <> 'rowferry'),
    parts AS (
        SELECT hash FROM tables
        UNION ALL
        SELECT hashtextextended(concat_ws(',', a.attrelid, a.attnum, a.attname, a.atttypid, a.atttypmod, a.attnotnull,
                                          a.attidentity, a.attgenerated, a.attisdropped), 2)
        FROM pg_attribute a JOIN tables t ON t.oid = a.attrelid WHERE a.attnum > 0
        UNION ALL
        SELECT hashtextextended(concat_ws(',', i.indexrelid, i.indrelid, i.indkey, i.indisunique, i.indisprimary,
                                          i.indisreplident, i.indisvalid), 3)
        FROM pg_index i JOIN tables t ON t.oid = i.indrelid
        UNION ALL
        SELECT hashtextextended(concat_ws(',', i.inhrelid, i.inhparent, i.xmin, c.relpersistence), 6)
        FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid AND c.relkind IN ('r', 'p') AND c.relpersistence <> 't'
        UNION ALL
        SELECT hashtextextended(concat_ws(',', p.oid, p.xmin, d.classid, d.objid), 7)
        FROM pg_publication p LEFT JOIN pg_depend d ON d.refclassid = 'pg_publication'::regclass AND d.refobjid = p.oid
        WHERE p.pubname = $1
        UNION ALL
        SELECT hashtextextended(concat_ws(',', e.enumtypid, e.enumsortorder, e.enumlabel), 4) FROM pg_enum e
        UNION ALL
        SELECT hashtextextended(concat_ws(',', y.oid, n.nspname, y.typname, y.typbasetype, y.typtypmod, y.typnotnull), 5)
        FROM pg_type y JOIN pg_namespace n ON n.oid = y.typnamespace
        WHERE y.oid >= 16384 AND y.typtype IN ('e', 'd', 'r', 'm'))
    SELECT count(*)::text || ':' || coalesce(sum(hash::numeric), 0)::text FROM parts";

/// A number that changes with the form of any table of the user, and with what the publication carries.
pub(crate) async fn version(client: &Client, publication: &str) -> Result<u64> {
    let row = client.query_one(VERSION, &[&publication]).await;
    let text: String = row.map_err(|error| from_pg("look at the catalog's version", error))?.get(0);
    Ok(fnv1a(text.as_bytes()))
}

/// The count and the sum have more digits than a `u64`.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}
