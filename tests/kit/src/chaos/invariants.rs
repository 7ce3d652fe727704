//! What holds in every state of the source, and so in every state of the target that a reader may see.
//!
//! Each invariant is a query that finds rows where it does not hold, in the words that all stores understand.

use super::tables::{ACCOUNTS, MONEY, SLOTS};

/// A promise over some tables.
pub(super) struct Invariant {
    pub(super) name: &'static str,
    /// It is looked at when all of these stream.
    pub(super) tables: &'static [&'static str],
    /// Finds what breaks it.
    pub(super) sql: String,
}

/// Numbers by key that never go back: the first column is the key, the second the number.
pub(super) const GROWING: [(&str, &str); 7] = [
    ("counters", "SELECT writer, ticks FROM counters"),
    ("mirror", "SELECT id, ticks FROM mirror"),
    ("accounts_a", "SELECT no, version FROM accounts_a"),
    ("accounts_b", "SELECT no, version FROM accounts_b"),
    ("orders", "SELECT id, version FROM orders"),
    ("documents", "SELECT no, version FROM documents"),
    ("tags", "SELECT no, version FROM tags"),
];

pub(super) fn all() -> Vec<Invariant> {
    let invariant = |name, tables, sql: String| Invariant { name, tables, sql };
    let balances = |side: &str| {
        format!(
            "SELECT a.no, a.balance, l.amount FROM accounts_{side} a LEFT JOIN (SELECT account, sum(amount) AS amount FROM ledger \
             WHERE side = '{side}' GROUP BY account) l ON l.account = a.no WHERE a.balance <> coalesce(l.amount, 0)"
        )
    };
    vec![
        invariant(
            "the money of all accounts is the same",
            &["accounts_a", "accounts_b"],
            format!(
                "SELECT a.n, a.s, b.n, b.s FROM (SELECT count(*) AS n, sum(balance) AS s FROM accounts_a) a \
                 CROSS JOIN (SELECT count(*) AS n, sum(balance) AS s FROM accounts_b) b \
                 WHERE a.n <> {ACCOUNTS} OR b.n <> {ACCOUNTS} OR a.s + b.s <> {MONEY}"
            ),
        ),
        invariant("the ledger says what accounts_a holds", &["accounts_a", "ledger"], balances("a")),
        invariant("the ledger says what accounts_b holds", &["accounts_b", "ledger"], balances("b")),
        invariant(
            "a writer's entries are counted",
            &["counters", "ledger"],
            "SELECT c.writer, c.ledger_rows, l.n FROM counters c LEFT JOIN (SELECT writer, count(*) AS n FROM ledger GROUP BY writer) l \
             ON l.writer = c.writer WHERE c.ledger_rows <> coalesce(l.n, 0)"
                .into(),
        ),
        invariant(
            "counters move together",
            &["counters", "mirror"],
            "SELECT c.writer, c.ticks, m.ticks FROM counters c LEFT JOIN mirror m ON m.id = c.writer \
             WHERE c.ticks <> coalesce(m.ticks, -1)"
                .into(),
        ),
        invariant(
            "an order is the sum of its items",
            &["orders", "items"],
            "SELECT o.id, o.total, o.items, i.s, i.n FROM orders o LEFT JOIN (SELECT order_id, sum(amount) AS s, count(*) AS n FROM items \
             GROUP BY order_id) i ON i.order_id = o.id WHERE o.total <> coalesce(i.s, 0) OR o.items <> coalesce(i.n, 0)"
                .into(),
        ),
        invariant(
            "an item has its order",
            &["orders", "items"],
            "SELECT order_id, line FROM items WHERE order_id NOT IN (SELECT id FROM orders)".into(),
        ),
        invariant(
            "a document has its own body",
            &["documents"],
            "SELECT no, version, size, length(body), bytes, length(data) FROM documents WHERE length(body) <> size OR \
             substr(body, 1, 12) <> token OR length(data) <> bytes OR body IS NULL OR data IS NULL"
                .into(),
        ),
        invariant(
            "slots have each code once",
            &["slots"],
            format!(
                "SELECT t.n, t.s FROM (SELECT count(*) AS n, count(DISTINCT code) AS d, sum(code) AS s, min(code) AS low FROM slots) t \
                 WHERE t.n <> {SLOTS} OR t.d <> {SLOTS} OR t.s <> {} OR t.low <> 0",
                SLOTS * (SLOTS - 1) / 2
            ),
        ),
        invariant(
            "scratch is of one round",
            &["scratch"],
            "SELECT t.low, t.high FROM (SELECT min(round) AS low, max(round) AS high FROM scratch) t WHERE t.low <> t.high".into(),
        ),
        invariant(
            "a batch is whole",
            &["batches", "bulk"],
            "SELECT b.id, b.expected, r.n FROM batches b LEFT JOIN (SELECT batch, count(*) AS n FROM bulk GROUP BY batch) r \
             ON r.batch = b.id WHERE b.expected <> coalesce(r.n, 0)"
                .into(),
        ),
        invariant(
            "a row of bulk has its batch",
            &["batches", "bulk"],
            "SELECT r.batch FROM (SELECT DISTINCT batch FROM bulk) r WHERE r.batch NOT IN (SELECT id FROM batches)".into(),
        ),
    ]
}
