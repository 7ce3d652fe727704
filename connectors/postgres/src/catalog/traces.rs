//! What DDL leaves in the catalog where it changes rows and the log has nothing of it: values that `ALTER COLUMN ... TYPE ...
//! USING` makes, partitions that are attached, detached, dropped or truncated, and changes of rows while the publication did
//! not carry their table.
//!
//! Source: PostgreSQL manual, "System Catalogs" and "System Columns". A row of the catalog that was replaced has another xmin.

use crate::connection::from_pg;
use rowferry_api::{Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};
use tokio_postgres::Client;

/// A table's storage, columns, leaves, and what of the publication carries it: its tables (pg_publication_rel) and its schemas.
/// Servers before 15 know of no schemas there, so those are found by what depends on them.
const TRACES: &str = "
    WITH RECURSIVE chosen AS (SELECT oid, relkind, relfilenode, relnamespace FROM pg_class WHERE oid = ANY($1)),
    tree AS (
        SELECT oid AS root, oid AS relid, true AS made, NULL::xid AS xid, 0::int8 AS cid FROM chosen WHERE relkind = 'p'
        UNION ALL
        SELECT t.root, i.inhrelid, t.made AND i.xmin = y.xmin, i.xmin,
               CASE WHEN i.xmin = t.xid THEN greatest(t.cid, i.cmin::text::int8) ELSE i.cmin::text::int8 END
        FROM tree t JOIN pg_inherits i ON i.inhparent = t.relid
        JOIN pg_class c ON c.oid = i.inhrelid JOIN pg_type y ON y.oid = c.reltype
        WHERE NOT coalesce((to_jsonb(i)->>'inhdetachpending')::bool, false)),
    leaves AS (
        SELECT t.root, jsonb_object_agg(c.oid, jsonb_build_object(
                   'node', c.relfilenode::int8, 'written', coalesce(o.xmin, c.xmin)::text::int8,
                   'has_rows', coalesce(pg_relation_size(c.oid) > 0, false), 'identity', c.relreplident::text,
                   'since', CASE WHEN t.made THEN jsonb_build_array(t.xid::text::int8, t.cid) END)) AS leaves
        FROM tree t JOIN pg_class c ON c.oid = t.relid AND c.relkind = 'r' LEFT JOIN pg_class o ON o.oid = c.reltoastrelid
        GROUP BY t.root),
    schemas AS MATERIALIZED (
        SELECT n.refobjid AS schema, n.objid AS member
        FROM pg_publication p JOIN pg_depend d ON d.refclassid = 'pg_publication'::regclass AND d.refobjid = p.oid
        JOIN pg_depend n ON n.classid = d.classid AND n.objid = d.objid AND n.refclassid = 'pg_namespace'::regclass
        WHERE p.pubname = $2),
    members AS (
        SELECT c.oid, r.oid AS member
        FROM chosen c CROSS JOIN LATERAL (SELECT c.oid AS relid UNION SELECT relid FROM pg_partition_ancestors(c.oid)) a
        JOIN pg_publication_rel r ON r.prrelid = a.relid JOIN pg_publication p ON p.oid = r.prpubid WHERE p.pubname = $2
        UNION
        SELECT c.oid, s.member FROM chosen c JOIN schemas s ON s.schema = c.relnamespace),
    carriers AS (
        SELECT c.oid, concat_ws(' ', p.oid, p.xmin, string_agg(m.member::text, ' ' ORDER BY m.member)) AS carrier
        FROM pg_publication p CROSS JOIN chosen c LEFT JOIN members m ON m.oid = c.oid
        WHERE p.pubname = $2 AND (p.puballtables OR m.member IS NOT NULL)
        GROUP BY c.oid, p.oid, p.xmin)
    SELECT c.oid, jsonb_build_object(
               'node', c.relfilenode::int8,
               'columns', coalesce((SELECT jsonb_object_agg(a.attnum, a.xmin::text::int8) FROM pg_attribute a
                                    WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped), '{}'),
               'leaves', coalesce(l.leaves, '{}'),
               'carrier', k.carrier)::text
    FROM chosen c LEFT JOIN leaves l ON l.root = c.oid LEFT JOIN carriers k ON k.oid = c.oid";

/// What the catalog shows of one table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Traces {
    /// Where its rows are kept (pg_class.relfilenode): another one once they were all written again. 0 if it is partitioned.
    node: u32,
    /// The transaction that defined each column as it is (pg_attribute.xmin), by the column's number.
    columns: BTreeMap<i16, u32>,
    /// The partitions that hold its rows, by their oids.
    leaves: BTreeMap<u32, Leaf>,
    /// The publication and those of its members that carry the table.
    carrier: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Leaf {
    node: u32,
    /// The transaction that gave it this node, by the row of pg_class that hardly anything else replaces: the one of its TOAST table.
    written: u32,
    has_rows: bool,
    /// pg_class.relreplident, which a leaf does not take over from the table. No rows change with it.
    identity: String,
    /// The transaction, and the command in it, that made it a part of the table, if the same transaction made the leaf.
    since: Option<(u32, u32)>,
}

/// What two looks at a table say.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    /// Rows may have changed that the log does not tell of.
    Untold,
    /// So it is if one of the leaves answers yes.
    Ask(Vec<(u32, Question)>),
}

/// What a leaf's own rows tell, by the transactions that wrote them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Question {
    /// It had rows of its own transaction before this command made it a part of the table.
    WasFilled { xid: u32, cid: u32 },
    /// No row is from before this transaction: it was truncated then. What else gives it another node keeps rows and who wrote
    /// them (VACUUM FULL, CLUSTER), or wrote them before (pg_repack).
    WasTruncated { xid: u32 },
}

impl Traces {
    fn parse(text: &str) -> Result<Self> {
        serde_json::from_str(text).map_err(|error| {
            Error::new(ErrorKind::Other, "read what was kept of a table's place in the catalog").because(error)
        })
    }

    fn since(&self, before: &Self) -> Verdict {
        let is_carried_anew = before.carrier.is_some() && before.carrier != self.carrier;
        let rewritten: Vec<(u32, &Leaf)> = (self.leaves.iter())
            .filter(|(oid, leaf)| before.leaves.get(oid).is_some_and(|before| before.node != leaf.node))
            .map(|(oid, leaf)| (*oid, leaf))
            .collect();
        let is_rewritten = before.node != self.node || !rewritten.is_empty();
        let is_defined_anew =
            before.columns.iter().any(|(number, xmin)| self.columns.get(number).is_some_and(|now| now != xmin));
        let has_lost_leaf = before.leaves.keys().any(|oid| !self.leaves.contains_key(oid));
        let is_untold = is_carried_anew || is_rewritten && is_defined_anew || has_lost_leaf;
        let new = self.leaves.iter().filter(|(oid, leaf)| leaf.has_rows && !before.leaves.contains_key(oid));
        let filled: Option<Vec<(u32, Question)>> =
            new.map(|(oid, leaf)| leaf.since.map(|(xid, cid)| (*oid, Question::WasFilled { xid, cid }))).collect();
        match filled {
            Some(filled) if !is_untold => {
                let truncated = |(oid, leaf): (u32, &Leaf)| (oid, Question::WasTruncated { xid: leaf.written });
                Verdict::Ask(rewritten.into_iter().map(truncated).chain(filled).collect())
            }
            _ => Verdict::Untold,
        }
    }
}

/// What the catalog shows of these tables now, as text; those that are gone are absent.
pub(super) async fn load(client: &Client, tables: &[u32], publication: &str) -> Result<HashMap<u32, String>> {
    let rows = client.query(TRACES, &[&tables, &publication]).await;
    let rows = rows.map_err(|error| from_pg("read what the catalog shows of DDL", error))?;
    Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
}

/// Whether rows may have changed between two looks without a word in the log.
pub(crate) async fn changed_untold(client: &Client, before: &str, now: &str) -> Result<bool> {
    let Verdict::Ask(questions) = Traces::parse(now)?.since(&Traces::parse(before)?) else { return Ok(true) };
    for (leaf, question) in questions {
        if is_so(client, leaf, question).await? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Where a leaf's rows cannot be read the answer is yes, and no where it is gone, which the next look sees.
async fn is_so(client: &Client, leaf: u32, question: Question) -> Result<bool> {
    let failed = |error| from_pg("look at the rows of a partition", error);
    let statement = "SELECT oid::regclass::text, has_table_privilege(oid, 'SELECT') FROM pg_class WHERE oid = $1";
    let Some(row) = client.query_opt(statement, &[&leaf]).await.map_err(failed)? else { return Ok(false) };
    let (name, may_read): (String, Option<bool>) = (row.get(0), row.get(1));
    if may_read == Some(false) {
        return Ok(true);
    }
    let statement = match question {
        Question::WasFilled { xid, cid } => {
            format!("SELECT EXISTS (SELECT FROM ONLY {name} WHERE xmin = '{xid}'::xid AND cmin::text::int8 < {cid})")
        }
        Question::WasTruncated { xid } => {
            format!("SELECT NOT EXISTS (SELECT FROM ONLY {name} WHERE age(xmin) > age('{xid}'::xid))")
        }
    };
    Ok(client.query_one(&statement, &[]).await.map_err(failed)?.get(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Nothing is left to ask: the log has told all.
    const TOLD: Verdict = Verdict::Ask(Vec::new());

    fn leaf(node: u32, written: u32, has_rows: bool, since: Option<(u32, u32)>) -> Leaf {
        Leaf { node, written, has_rows, identity: "d".into(), since }
    }

    fn table() -> Traces {
        let columns = BTreeMap::from([(1, 700), (2, 700)]);
        Traces { node: 10, columns, leaves: BTreeMap::new(), carrier: Some("1 700 5".into()) }
    }

    fn partitioned() -> Traces {
        let leaves = BTreeMap::from([(20, leaf(20, 30, true, None)), (21, leaf(21, 0, false, None))]);
        Traces { node: 0, leaves, ..table() }
    }

    /// What it says of a change of `before`.
    fn verdict(before: &Traces, change: impl FnOnce(&mut Traces)) -> Verdict {
        let mut now = before.clone();
        change(&mut now);
        now.since(before)
    }

    #[test]
    fn columns_and_rows_that_are_both_written_anew_are_untold() {
        assert_eq!(verdict(&table(), |_| ()), TOLD);
        assert_eq!(verdict(&table(), |now| now.node = 11), TOLD);
        let define = |now: &mut Traces| {
            now.columns.insert(2, 800);
        };
        assert_eq!(verdict(&table(), define), TOLD);
        let both = |now: &mut Traces| {
            now.node = 11;
            define(now);
        };
        assert_eq!(verdict(&table(), both), Verdict::Untold);
        let rewrite = |now: &mut Traces| now.leaves.insert(20, leaf(40, 41, true, None));
        let asked = Verdict::Ask(vec![(20, Question::WasTruncated { xid: 41 })]);
        assert_eq!(verdict(&partitioned(), |now| drop(rewrite(now))), asked);
        assert_eq!(verdict(&partitioned(), |now| drop((rewrite(now), define(now)))), Verdict::Untold);
    }

    #[test]
    fn a_column_that_is_new_or_gone_is_told() {
        assert_eq!(verdict(&table(), |now| (now.node, _) = (11, now.columns.insert(3, 800))), TOLD);
        assert_eq!(verdict(&table(), |now| (now.node, _) = (11, now.columns.remove(&2))), TOLD);
    }

    #[test]
    fn a_leaf_that_goes_is_untold() {
        assert_eq!(verdict(&partitioned(), |now| drop(now.leaves.remove(&21))), Verdict::Untold);
    }

    #[test]
    fn a_new_leaf_is_told_of_if_it_began_empty() {
        assert_eq!(verdict(&partitioned(), |now| drop(now.leaves.insert(22, leaf(22, 0, false, None)))), TOLD);
        assert_eq!(
            verdict(&partitioned(), |now| drop(now.leaves.insert(22, leaf(22, 0, true, None)))),
            Verdict::Untold
        );
        let made = leaf(22, 0, true, Some((900, 2)));
        assert_eq!(
            verdict(&partitioned(), |now| drop(now.leaves.insert(22, made))),
            Verdict::Ask(vec![(22, Question::WasFilled { xid: 900, cid: 2 })])
        );
    }

    #[test]
    fn what_was_carried_and_is_carried_otherwise_is_untold() {
        assert_eq!(verdict(&table(), |now| now.carrier = None), Verdict::Untold);
        assert_eq!(verdict(&table(), |now| now.carrier = Some("1 800 5".into())), Verdict::Untold);
        let before = Traces { carrier: None, ..table() };
        assert_eq!(verdict(&before, |now| now.carrier = Some("1 700 5".into())), TOLD);
    }

    #[test]
    fn damaged_text_is_an_error() {
        assert!(Traces::parse("{\"node\": 1}").is_err());
        let text = serde_json::to_string(&partitioned()).unwrap();
        assert_eq!(Traces::parse(&text).unwrap(), partitioned());
    }
}
