//! The tables that are changed, and the statements that change them.
//!
//! Everything follows from a row's id and a version number, so that two databases can be given the same rows and a
//! run can be repeated. Loads commit inside a DO block, in a session with `synchronous_commit = off`: making a
//! backlog should not take longer than replaying it.

/// A backlog: what is there before it, and what makes it.
#[derive(Debug, Clone)]
pub(crate) struct Load {
    /// Makes the tables at the source, and at the target of a peer that does not make them by itself.
    pub(crate) tables_sql: String,
    /// Fills them before anything is measured.
    pub(crate) rows_sql: Vec<String>,
    /// The changes.
    pub(crate) changes_sql: Vec<String>,
    /// All published tables but `done`.
    pub(crate) tables: Vec<String>,
    /// Changes of rows, in all.
    pub(crate) changes: u64,
    /// Bytes of a row as text, about, for the figures of MB/s.
    pub(crate) row_bytes_sql: String,
    /// Sessions that each hold a transaction open, with a row in a table that is not published, from before the
    /// load to after the last run.
    pub(crate) open_transactions: usize,
}

/// Eight columns, about 150 bytes.
const COLUMNS: &str = "id bigint PRIMARY KEY, quantity int NOT NULL, name text NOT NULL, price numeric(12,2) NOT NULL, \
    note text, attributes jsonb, created_at timestamptz NOT NULL, changed_at timestamptz NOT NULL";

/// The cells of row `id` in version `v`, both SQL.
fn cells(id: &str, v: &str) -> String {
    format!(
        "({id} % 1000 + {v})::int, 'customer ' || left(md5(({id})::text), 16), \
         (({id} * 7 + {v}) % 1000000)::numeric / 100, 'version ' || {v} || ' of ' || {id} || ', as it was ordered', \
         jsonb_build_object('state', {v} % 5, 'channel', 'web', 'points', {id} % 977), \
         timestamptz '2024-01-01 00:00:00+00' + ({id}) * interval '1 second', \
         timestamptz '2025-01-01 00:00:00+00' + ({id} + {v}) * interval '1 second'"
    )
}

fn set(id: &str, v: &str) -> String {
    format!("SET (quantity, name, price, note, attributes, created_at, changed_at) = ROW ({})", cells(id, v))
}

fn loop_of(times: u64, body: &str) -> String {
    format!("DO $$ BEGIN FOR i IN 0..{} LOOP {body}; COMMIT; END LOOP; END $$", times.max(1) - 1)
}

/// The table `t` with `rows` rows in it, and no changes yet.
pub(crate) fn table(rows: u64) -> Load {
    let fill = format!("INSERT INTO t SELECT id, {} FROM generate_series(1::bigint, {rows}) id", cells("id", "0"));
    Load {
        tables_sql: format!("CREATE TABLE t ({COLUMNS})"),
        rows_sql: if rows == 0 { Vec::new() } else { vec![fill] },
        changes_sql: Vec::new(),
        tables: vec!["t".to_owned()],
        changes: 0,
        row_bytes_sql: format!(
            "SELECT avg(octet_length(r::text)) FROM (SELECT id, {} FROM generate_series(1::bigint, 1000) id) r",
            cells("id", "0")
        ),
        open_transactions: 0,
    }
}

/// Inserts one row; its parameter is the id.
pub(crate) fn insert_one() -> String {
    format!("INSERT INTO t SELECT id, {} FROM (VALUES ($1::bigint)) given (id)", cells("id", "0"))
}

/// Ten new rows a transaction.
pub(crate) fn inserts(changes: u64) -> Load {
    let insert = format!(
        "INSERT INTO t SELECT id, {} FROM generate_series(i::bigint * 10 + 1, i::bigint * 10 + 10) id",
        cells("id", "0")
    );
    Load { changes_sql: vec![loop_of(changes / 10, &insert)], changes: changes / 10 * 10, ..table(0) }
}

/// A step through all rows that comes by each once before it repeats; prime, so that it shares no factor with their number.
const STRIDE: u64 = 7919;

/// How many rows a table has whose rows are updated.
fn updated_rows(changes: u64) -> u64 {
    (changes * 3 / 10).max(1000)
}

/// A thousand updates a transaction, all over the table.
pub(crate) fn updates_1000(changes: u64) -> Load {
    let rows = updated_rows(changes);
    let id = format!("k * {STRIDE} % {rows} + 1");
    let update = format!(
        "UPDATE t {} FROM generate_series(i::bigint * 1000, i::bigint * 1000 + 999) k WHERE t.id = {id}",
        set("t.id", &format!("(k / {rows} + 1)"))
    );
    let no_scans = "SET enable_hashjoin = off; SET enable_mergejoin = off; SET enable_seqscan = off".to_owned();
    let changes_sql = vec![no_scans, loop_of(changes / 1000, &update)];
    Load { changes_sql, changes: changes / 1000 * 1000, ..table(rows) }
}

/// One update a transaction, all over the table.
pub(crate) fn updates_1(changes: u64) -> Load {
    let rows = updated_rows(changes);
    let update = format!(
        "UPDATE t {} WHERE id = i::bigint * {STRIDE} % {rows} + 1",
        set("id", &format!("(i::bigint / {rows} + 1)"))
    );
    Load { changes_sql: vec![loop_of(changes, &update)], changes, ..table(rows) }
}

/// One update a transaction, of a hundred rows in turn.
pub(crate) fn hot_keys(changes: u64) -> Load {
    let rows = updated_rows(changes);
    let update =
        format!("UPDATE t {} WHERE id = i::bigint % 100 * {} + 1", set("id", "(i::bigint / 100 + 1)"), rows / 100);
    Load { changes_sql: vec![loop_of(changes, &update)], changes, ..table(rows) }
}

/// A thousand deletes a transaction until the table is empty.
pub(crate) fn deletes(changes: u64) -> Load {
    let changes = changes / 1000 * 1000;
    let delete = "DELETE FROM t WHERE id > i::bigint * 1000 AND id <= i::bigint * 1000 + 1000";
    Load { changes_sql: vec![loop_of(changes / 1000, delete)], changes, ..table(changes) }
}

/// The inserts, ten a transaction, spread over many tables: each transaction is of one table.
pub(crate) fn inserts_over_tables(changes: u64, tables: u64) -> Load {
    let make = |n| format!("CREATE TABLE t{n} ({COLUMNS});");
    let insert = format!(
        "EXECUTE format('INSERT INTO t%s SELECT id, {} FROM generate_series($1 * 10 + 1, $1 * 10 + 10) id', i % {tables}) \
         USING i::bigint",
        cells("id", "0").replace('\'', "''").replace('%', "%%")
    );
    Load {
        tables_sql: (0..tables).map(make).collect(),
        changes_sql: vec![loop_of(changes / 10, &insert)],
        tables: (0..tables).map(|n| format!("t{n}")).collect(),
        changes: changes / 10 * 10,
        ..table(0)
    }
}

/// Ten rows of a hundred columns a transaction.
pub(crate) fn wide(changes: u64) -> Load {
    let kinds = ["int", "text", "numeric(12,2)"];
    let columns: String = (1..100).map(|n| format!(", c{n} {}", kinds[n % 3])).collect();
    let cell = |n: usize| match n % 3 {
        0 => format!(", ((id + {n}) % 100000)::int"),
        1 => format!(", 'cell ' || id + {n}"),
        _ => format!(", ((id * {n}) % 1000000)::numeric / 100"),
    };
    let row: String = (1..100).map(cell).collect();
    other_table(changes, &format!("id bigint PRIMARY KEY{columns}"), &format!("id{row}"))
}

/// Ten rows with a text of 4,000 bytes a transaction; it hardly compresses, so that it is stored out of line.
pub(crate) fn large_values(changes: u64) -> Load {
    let body = "(SELECT string_agg(md5(id || '-' || part), '') FROM generate_series(1, 125) part)";
    other_table(changes, "id bigint PRIMARY KEY, body text NOT NULL", &format!("id, {body}"))
}

fn other_table(changes: u64, columns: &str, row: &str) -> Load {
    let rows = format!("SELECT {row} FROM generate_series(i::bigint * 10 + 1, i::bigint * 10 + 10) id");
    Load {
        tables_sql: format!("CREATE TABLE t ({columns})"),
        changes_sql: vec![loop_of(changes / 10, &format!("INSERT INTO t {rows}"))],
        changes: changes / 10 * 10,
        row_bytes_sql: format!(
            "SELECT avg(octet_length(r::text)) FROM (SELECT {row} FROM generate_series(1::bigint, 1000) id) r"
        ),
        ..table(0)
    }
}
