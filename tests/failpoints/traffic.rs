//! What a source does in each round: the same SQL for every server, in transactions that each leave their number behind.

/// The sum of all balances, whatever is transferred.
pub(crate) const BALANCES: &str = "10000";
/// Columns that changes of form have added and not dropped again.
const COLUMNS_KEPT: u32 = 3;
/// Tables of the rounds before: more than there are between two comparisons.
const TABLES_KEPT: u32 = 5;
/// Rows of each table that a round makes.
const ROWS: u32 = 1000;

/// Statements of a round.
pub(crate) enum Step {
    /// One transaction of rows.
    Rows(String),
    /// Statements that some servers commit by themselves.
    Ddl(String),
}

/// The tables before the first round.
pub(crate) fn tables() -> Vec<String> {
    let accounts: Vec<_> = (0..100).map(|id| format!("({id}, 100, 'n{id}', repeat('b', 3000))")).collect();
    let names: Vec<_> = (0..70).map(|n| format!("('n{n}', {n})")).collect();
    let bulk: Vec<_> = (0..25).map(|id| format!("({id}, '')")).collect();
    let mut statements = vec![
        "CREATE TABLE marker (id int PRIMARY KEY, n int NOT NULL)".to_owned(),
        "INSERT INTO marker VALUES (1, 0)".to_owned(),
        "CREATE TABLE accounts (id int PRIMARY KEY, balance bigint NOT NULL, note varchar(20), big text)".to_owned(),
        format!("INSERT INTO accounts VALUES {}", accounts.join(", ")),
        "CREATE TABLE ledger (id int PRIMARY KEY, account int NOT NULL, amount int NOT NULL)".to_owned(),
        "CREATE TABLE names (name varchar(190) PRIMARY KEY, n int NOT NULL)".to_owned(),
        format!("INSERT INTO names VALUES {}", names.join(", ")),
        "CREATE TABLE scratch (id int PRIMARY KEY, v varchar(20))".to_owned(),
        "INSERT INTO scratch VALUES (1, 'first'), (50, 'first')".to_owned(),
        "CREATE TABLE forms (id int PRIMARY KEY, v varchar(20))".to_owned(),
        "INSERT INTO forms VALUES (0, 'first')".to_owned(),
        "CREATE TABLE bulk (id int PRIMARY KEY, v VALUE_OF_100_KB)".to_owned(),
        format!("INSERT INTO bulk VALUES {}", bulk.join(", ")),
    ];
    statements.extend(made(0));
    statements
}

/// A table that is made in a round, and so is copied by the next run.
fn made(round: u32) -> [String; 3] {
    let rows: Vec<_> = (1..=ROWS).map(|id| format!("({id}, 'r{round}-{id}', {})", id % 10)).collect();
    [
        format!("CREATE TABLE t{round} (id int PRIMARY KEY, v varchar(80), n int)"),
        format!("CREATE INDEX t{round}_n ON t{round} (n)"),
        format!("INSERT INTO t{round} VALUES {}", rows.join(", ")),
    ]
}

/// A round, numbered from 1 on. Its tables may be half copied when the next one changes them.
pub(crate) fn round(round: u32) -> Vec<Step> {
    let (from, to, before) = (round % 100, (round * 7 + 1) % 100, round - 1);
    let to = if from == to { (to + 1) % 100 } else { to };
    let entry = round * 100;
    let again: Vec<_> = (1..=20).map(|id| format!("({id}, 'r{round}')")).collect();
    let mut steps = vec![
        Step::Rows(format!(
            "UPDATE accounts SET balance = balance - 5, note = 'r{round}' WHERE id = {from};
             UPDATE accounts SET balance = balance + 5 WHERE id = {to};
             INSERT INTO ledger VALUES ({entry}, {from}, -5), ({}, {to}, 5)",
            entry + 1
        )),
        Step::Rows(format!("UPDATE names SET name = concat('m{round}-', name) WHERE n % 7 = {}", round % 7)),
        Step::Rows(format!("DELETE FROM ledger WHERE id < {entry} AND id % 5 = {}", round % 5)),
        // A row on either side of the truncate, and one that must not come back.
        Step::Rows(format!("UPDATE scratch SET v = 'late' WHERE id = 1; INSERT INTO scratch VALUES ({entry}, 'late')")),
        Step::Ddl("TRUNCATE TABLE scratch".to_owned()),
        Step::Rows(format!("INSERT INTO scratch VALUES {}", again.join(", "))),
        Step::Rows(format!("UPDATE bulk SET v = repeat(concat('{round}-', id, '-'), 24000)")),
        Step::Ddl(format!("ALTER TABLE forms ADD COLUMN c{round} int DEFAULT {round}")),
        Step::Rows(format!("INSERT INTO forms (id, v, c{round}) VALUES ({round}, 'f', {entry})")),
        Step::Rows(format!(
            "UPDATE t{before} SET n = n + 1 WHERE n < 5; DELETE FROM t{before} WHERE id % 11 = 3;
             UPDATE t{before} SET id = id + 100000 WHERE id % 13 = 5"
        )),
        Step::Rows(format!("UPDATE forms SET v = 'g' WHERE id = {before}")),
    ];
    if let Some(old) = round.checked_sub(COLUMNS_KEPT).filter(|old| *old > 0) {
        steps.push(Step::Ddl(format!("ALTER TABLE forms DROP COLUMN c{old}")));
    }
    if let Some(old) = round.checked_sub(TABLES_KEPT) {
        steps.push(Step::Ddl(format!("DROP TABLE t{old}")));
    }
    steps.extend(made(round).map(Step::Ddl));
    // Else a server may take the new table for empty, and the copy would be of one slice.
    steps.push(Step::Ddl(format!("ANALYZE TABLE t{round}")));
    steps
}
