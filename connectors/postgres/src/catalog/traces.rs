//! What DDL leaves in the catalog where it changes rows and the log has nothing of it: values that `ALTER COLUMN ... TYPE ...
//! USING` makes, partitions that are attached, detached, dropped or truncated, and changes of rows while the publication did
//! not carry their table.
//!
//! Source: PostgreSQL manual, "System Catalogs" and "System Columns". A row of the catalog that was replaced has another xmin.

use crate::connection::from_pg;
use rowferry_api::{Error, ErrorKind, Result, Untold};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};
use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

/// A table's storage, columns, leaves, and what of the publication carries it: its tables (pg_publication_rel) and its schemas.
/// Servers before 15 know of no schemas there, so those are found by what depends on them. A partition was made as one, and so began
/// empty, if its first columns are as old as the system's, of which ATTACH replaces none, and as what makes it a partition. The number
/// of a command within its transaction is in no log: a standby has none, and after a crash it is 0.
const TRACES: &str = "
    WITH RECURSIVE chosen AS (SELECT oid, relkind, relfilenode FROM pg_class WHERE oid = ANY($1)),
    tree AS (
        SELECT oid AS root, oid AS relid, true AS is_made, '' AS links FROM chosen WHERE relkind = 'p'
        UNION ALL
        SELECT t.root, i.inhrelid,
               t.is_made AND i.cmin::text <> '0' AND NOT pg_is_in_recovery() AND EXISTS (
                   SELECT FROM pg_attribute s JOIN pg_attribute a ON a.attrelid = s.attrelid AND a.attnum > 0
                   WHERE s.attrelid = i.inhrelid AND s.attnum = -1 AND s.xmin = i.xmin AND a.xmin = s.xmin AND a.cmin = s.cmin),
               concat_ws(' ', nullif(t.links, ''), i.xmin)
        FROM tree t JOIN pg_inherits i ON i.inhparent = t.relid
        WHERE NOT coalesce((to_jsonb(i)->>'inhdetachpending')::bool, false)),
    leaves AS (
        SELECT t.root, jsonb_object_agg(c.oid, jsonb_build_array(
                   c.relfilenode::int8, t.links, t.is_made, coalesce(pg_relation_size(c.oid) > 0, false),
                   c.relreplident::text || c.relpersistence::text)) AS leaves
        FROM tree t JOIN pg_class c ON c.oid = t.relid AND c.relkind = 'r' GROUP BY t.root),
    families AS (
        SELECT c.oid, a.relid FROM chosen c
        CROSS JOIN LATERAL (SELECT c.oid AS relid UNION SELECT relid FROM pg_partition_ancestors(c.oid)) a),
    schemas AS MATERIALIZED (
        SELECT n.refobjid AS schema, n.objid AS member
        FROM pg_publication p JOIN pg_depend d ON d.refclassid = 'pg_publication'::regclass AND d.refobjid = p.oid
        JOIN pg_depend n ON n.classid = d.classid AND n.objid = d.objid AND n.refclassid = 'pg_namespace'::regclass
        WHERE p.pubname = $2),
    members AS (
        SELECT f.oid, r.oid AS member
        FROM families f JOIN pg_publication_rel r ON r.prrelid = f.relid JOIN pg_publication p ON p.oid = r.prpubid
        WHERE p.pubname = $2
        UNION
        SELECT f.oid, s.member
        FROM families f JOIN pg_class c ON c.oid = f.relid JOIN schemas s ON s.schema = c.relnamespace),
    carriers AS (
        SELECT c.oid, concat_ws(' ', p.oid, p.xmin::text, string_agg(m.member::text, ' ' ORDER BY m.member)) AS carrier
        FROM pg_publication p CROSS JOIN chosen c LEFT JOIN members m ON m.oid = c.oid
        WHERE p.pubname = $2 AND (p.puballtables OR m.member IS NOT NULL)
        GROUP BY c.oid, p.oid, p.xmin::text)
    SELECT c.oid, jsonb_build_object(
               'node', c.relfilenode::int8,
               'columns', coalesce((SELECT jsonb_object_agg(a.attnum, a.xmin::text::int8) FROM pg_attribute a
                                    WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped), '{}'),
               'leaves', coalesce(l.leaves, '{}'),
               'horizon', CASE WHEN l.leaves IS NOT NULL THEN txid_snapshot_xmin(txid_current_snapshot()) & 4294967295 ELSE 0 END,
               'carrier', k.carrier)::text
    FROM chosen c LEFT JOIN leaves l ON l.root = c.oid LEFT JOIN carriers k ON k.oid = c.oid";

/// Pages of a leaf that are looked at for a row that was there before.
const PAGES_LOOKED_AT: u32 = 1_000;

/// What the catalog shows of one table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Traces {
    /// Where its rows are kept (pg_class.relfilenode): another one once they were all written again. 0 if it is partitioned.
    node: u32,
    /// The transaction that defined each column as it is (pg_attribute.xmin), by the column's number.
    columns: BTreeMap<i16, u32>,
    /// The partitions that hold its rows, by their oids.
    leaves: BTreeMap<u32, Leaf>,
    /// All transactions below it had ended. 0 if there are no leaves.
    horizon: u32,
    /// The publication and those of its members that carry the table.
    carrier: Option<String>,
}

/// Written as an array: there may be thousands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Leaf(
    /// Its node.
    u32,
    /// The transactions that made it, and the tables between, partitions (pg_inherits.xmin).
    String,
    /// All of them were made as partitions.
    bool,
    /// It has rows.
    bool,
    /// pg_class.relreplident and relpersistence, which a leaf does not take over from the table. No rows change with them.
    String,
);

impl Leaf {
    /// Whether its rows may be others than those that the log told of since it was made, a new one as it is seen first.
    fn is_untold(&self, oid: u32) -> bool {
        let Leaf(node, _, is_made, has_rows, _) = self;
        *node != oid || *has_rows && !is_made
    }
}

/// What two looks at a table say.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    /// Rows may have changed that the log does not tell of.
    Untold,
    /// So it is if one of these leaves has no row that was there at the look before: it was truncated then. What else gives it
    /// another node keeps rows and who wrote them (VACUUM FULL, CLUSTER).
    IfTruncated(Vec<u32>),
}

impl Traces {
    fn since(&self, before: &Self) -> Verdict {
        let is_carried_anew = before.carrier.is_some() && before.carrier != self.carrier || self.carrier.is_none();
        let kept = || self.leaves.iter().filter_map(|(oid, leaf)| Some((*oid, leaf, before.leaves.get(oid)?)));
        let rewritten: Vec<u32> = kept().filter(|(_, now, before)| now.0 != before.0).map(|(oid, ..)| oid).collect();
        let is_rewritten = before.node != self.node || !rewritten.is_empty();
        let is_defined_anew =
            before.columns.iter().any(|(number, xmin)| self.columns.get(number).is_some_and(|now| now != xmin));
        let has_lost_leaf = before.leaves.keys().any(|oid| !self.leaves.contains_key(oid));
        let is_attached_anew = kept().any(|(_, now, before)| now.1 != before.1);
        let mut new = self.leaves.iter().filter(|(oid, _)| !before.leaves.contains_key(oid));
        let is_untold = is_carried_anew
            || is_rewritten && is_defined_anew
            || has_lost_leaf
            || is_attached_anew
            || new.any(|(oid, leaf)| leaf.is_untold(*oid));
        if is_untold { Verdict::Untold } else { Verdict::IfTruncated(rewritten) }
    }

    /// Whether its leaves are others, or log otherwise.
    fn has_other_parts(&self, before: &Self) -> bool {
        let parts = |traces: &Self| traces.leaves.iter().map(|(oid, leaf)| (*oid, leaf.4.clone())).collect::<Vec<_>>();
        parts(self) != parts(before)
    }
}

/// What the catalog shows of these tables now, as text; those that are gone are absent.
pub(super) async fn load(client: &Client, tables: &[u32], publication: &str) -> Result<HashMap<u32, String>> {
    let rows = client.query(TRACES, &[&tables, &publication]).await;
    let rows = rows.map_err(|error| from_pg("read what the catalog shows of DDL", error))?;
    Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
}

/// What may have changed between two looks without a word in the log.
pub(crate) async fn untold(client: &Client, before: &str, now: &str) -> Result<Untold> {
    let now: Traces = serde_json::from_str(now)
        .map_err(|error| Error::new(ErrorKind::Other, "read what the catalog shows of DDL").because(error))?;
    // As another build wrote it.
    let Ok(before) = serde_json::from_str::<Traces>(before) else { return Ok(Untold { rows: true, parts: true }) };
    let parts = now.has_other_parts(&before);
    let Verdict::IfTruncated(leaves) = now.since(&before) else { return Ok(Untold { rows: true, parts }) };
    for leaf in leaves {
        if may_be_truncated(client, leaf, before.horizon).await? {
            return Ok(Untold { rows: true, parts });
        }
    }
    Ok(Untold { rows: false, parts })
}

/// Whether no row is found at the leaf's beginning that a transaction below `horizon` wrote; so it is too where none can be read.
async fn may_be_truncated(client: &Client, leaf: u32, horizon: u32) -> Result<bool> {
    let failed = |error| from_pg("look at the rows of a partition", error);
    let statement = "SELECT oid::regclass::text FROM pg_class WHERE oid = $1 AND has_schema_privilege(relnamespace, 'USAGE') \
                     AND has_table_privilege(oid, 'SELECT') AND NOT row_security_active(oid)";
    let Some(row) = client.query_opt(statement, &[&leaf]).await.map_err(failed)? else { return Ok(true) };
    let statement = format!(
        "SELECT NOT EXISTS (SELECT FROM ONLY {} WHERE ctid < '({PAGES_LOOKED_AT},0)' AND age(xmin) > age('{horizon}'::xid))",
        row.get::<_, &str>(0)
    );
    match client.query_one(&statement, &[]).await {
        Ok(row) => Ok(row.get(0)),
        // Renamed or dropped just now.
        Err(error) if error.code() == Some(&SqlState::UNDEFINED_TABLE) => Ok(true),
        Err(error) => Err(failed(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Nothing is left to ask: the log has told all.
    const TOLD: Verdict = Verdict::IfTruncated(Vec::new());

    fn leaf(node: u32, links: &str, is_made: bool, has_rows: bool) -> Leaf {
        Leaf(node, links.into(), is_made, has_rows, "dp".into())
    }

    fn table() -> Traces {
        let columns = BTreeMap::from([(1, 700), (2, 700)]);
        Traces { node: 10, columns, leaves: BTreeMap::new(), horizon: 0, carrier: Some("1 700 5".into()) }
    }

    fn partitioned() -> Traces {
        let leaves = BTreeMap::from([(20, leaf(20, "700", true, true)), (21, leaf(21, "700 710", false, false))]);
        Traces { node: 0, leaves, horizon: 750, ..table() }
    }

    /// What it says of a change of `before`.
    fn verdict(before: &Traces, change: impl FnOnce(&mut Traces)) -> Verdict {
        let mut now = before.clone();
        change(&mut now);
        now.since(before)
    }

    /// What it says of a leaf of that oid that is another one now, or a new one.
    fn verdict_of(oid: u32, leaf: Leaf) -> Verdict {
        verdict(&partitioned(), |now| drop(now.leaves.insert(oid, leaf)))
    }

    #[test]
    fn columns_and_rows_that_are_both_written_anew_are_untold() {
        let define = |now: &mut Traces| {
            now.columns.insert(2, 800);
        };
        let rewrite = |now: &mut Traces| now.node = 11;
        let rewrite_leaf = |now: &mut Traces| {
            now.leaves.insert(20, leaf(40, "700", true, true));
        };
        assert_eq!(verdict(&table(), |_| ()), TOLD);
        assert_eq!(verdict(&table(), rewrite), TOLD);
        assert_eq!(verdict(&table(), define), TOLD);
        assert_eq!(verdict(&partitioned(), rewrite_leaf), Verdict::IfTruncated(vec![20]));
        let both = |one: fn(&mut Traces)| move |now: &mut Traces| [one, define].iter().for_each(|change| change(now));
        assert_eq!(verdict(&table(), both(rewrite)), Verdict::Untold);
        assert_eq!(verdict(&partitioned(), both(rewrite_leaf)), Verdict::Untold);
    }

    #[test]
    fn a_column_that_is_new_or_gone_is_told() {
        assert_eq!(verdict(&table(), |now| (now.node, _) = (11, now.columns.insert(3, 800))), TOLD);
        assert_eq!(verdict(&table(), |now| (now.node, _) = (11, now.columns.remove(&2))), TOLD);
    }

    #[test]
    fn a_leaf_that_goes_or_was_away_is_untold() {
        assert_eq!(verdict(&partitioned(), |now| drop(now.leaves.remove(&21))), Verdict::Untold);
        assert_eq!(verdict_of(20, leaf(20, "800", true, true)), Verdict::Untold);
        assert_eq!(verdict_of(21, leaf(21, "700 800", false, false)), Verdict::Untold);
    }

    #[test]
    fn a_new_leaf_is_told_of_if_it_began_empty() {
        assert_eq!(verdict_of(22, leaf(22, "800", true, true)), TOLD);
        assert_eq!(verdict_of(22, leaf(22, "800", false, false)), TOLD);
        assert_eq!(verdict_of(22, leaf(22, "800", false, true)), Verdict::Untold);
        // Filled by the log, and truncated.
        assert_eq!(verdict_of(22, leaf(23, "800", true, false)), Verdict::Untold);
    }

    #[test]
    fn what_is_not_carried_or_carried_otherwise_is_untold() {
        let carry = |carrier: Option<&str>| carrier.map(str::to_owned);
        assert_eq!(verdict(&table(), |now| now.carrier = None), Verdict::Untold);
        assert_eq!(verdict(&table(), |now| now.carrier = carry(Some("1 800 5"))), Verdict::Untold);
        let before = Traces { carrier: None, ..table() };
        assert_eq!(verdict(&before, |now| now.carrier = carry(Some("1 700 5"))), TOLD);
        assert_eq!(verdict(&before, |_| ()), Verdict::Untold);
    }

    #[test]
    fn parts_are_others_if_they_log_otherwise() {
        let (before, mut now) = (partitioned(), partitioned());
        now.leaves.insert(20, leaf(40, "700", true, false));
        assert!(!now.has_other_parts(&before));
        now.leaves.insert(20, Leaf(20, "700".into(), true, true, "du".into()));
        assert!(now.has_other_parts(&before));
    }
}
