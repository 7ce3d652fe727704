//! One session that writes: transactions over several tables, some of them undone.
//!
//! Accounts and slots are shared, every other row has one writer. Statements do not depend on what was read before, so a
//! connection that is lost in a COMMIT does no harm: whether it was carried out or not, the invariants hold.

use super::tables::{self, ACCOUNTS, DOCUMENTS, ORDERS, ROWS_AT_ONCE, SLOTS, TAGS};
use super::{Plan, Written};
use crate::Random;
use crate::{End, Session};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

/// Changes of form, in their order. What they add is written to from then on. None is of a table with foreign keys: MariaDB
/// sees no deadlock between such an ALTER and rows of the other table, and its sessions wait for a minute.
const FORMS: [&str; 5] = [
    "ALTER TABLE accounts_a ADD extra int{after}",
    "ALTER TABLE documents ADD extra {text}",
    "CREATE TABLE late (id int PRIMARY KEY, v {short})",
    "ALTER TABLE accounts_b ADD flag int NOT NULL DEFAULT 7",
    "ALTER TABLE tags DROP COLUMN spare",
];
/// No such table or column, another row with the key, a syntax error: by SQLSTATE, and by MySQL's numbers.
const MISTAKES: [&str; 10] =
    ["E42601", "E42P01", "E42703", "E23505", "E23503", "(1064)", "(1054)", "(1146)", "(1062)", "(1452)"];
/// Large transactions of a writer that are there at once.
const BATCHES: u64 = 2;
/// The one that changes forms, truncates, and writes large transactions.
const FIRST: u64 = 0;

/// How many of [`FORMS`] are done.
#[derive(Debug, Default)]
pub(super) struct Stage(AtomicUsize);

pub(super) struct Writer {
    number: u64,
    source: Arc<End>,
    plan: Plan,
    random: Random,
    stage: Arc<Stage>,
    session: Option<Session>,
    batches: u64,
}

impl Writer {
    pub(super) fn new(number: u64, source: Arc<End>, plan: Plan, random: Random, stage: Arc<Stage>) -> Self {
        Self { number, source, plan, random, stage, session: None, batches: 0 }
    }

    /// Writes until told to stop, or to the plan's end.
    pub(super) async fn write(mut self, writing: Arc<AtomicBool>) -> Written {
        let mut written = Written::default();
        let mut tried = 0;
        while writing.load(Ordering::Relaxed) && written.transactions < self.plan.transactions {
            tried += 1;
            let large = self.number == FIRST && tried % self.plan.large_every == 0;
            let statements = if large { self.large() } else { self.transaction() };
            match self.run(&statements).await {
                Ok(()) => {
                    written.transactions += 1;
                    written.large += u64::from(large);
                }
                Err((error, statement)) => {
                    written.undone += 1;
                    self.give_up(&error, &statement).await;
                }
            }
            if self.number == FIRST && tried % self.plan.ddl_every == 0 {
                written.ddl += u64::from(self.change_form().await);
            }
            tokio::time::sleep(Duration::from_millis(self.plan.pause_ms)).await;
        }
        written
    }

    /// The error is what the server said, and of which statement.
    async fn run(&mut self, statements: &[String]) -> Result<(), (String, String)> {
        if self.session.is_none() {
            self.session = Some(self.source.open().await.map_err(|error| (error, "connect".to_owned()))?);
        }
        let session = self.session.as_mut().expect("opened above");
        for statement in statements {
            session.run(statement).await.map_err(|error| (error, statement.chars().take(300).collect()))?;
        }
        Ok(())
    }

    /// A deadlock leaves a transaction to be rolled back, a server that went away a session to be opened again. What the
    /// workload itself gets wrong must not pass for one of these.
    async fn give_up(&mut self, error: &str, statement: &str) {
        let is_mistake = MISTAKES.iter().any(|mistake| error.contains(mistake));
        assert!(!is_mistake, "the workload's own mistake: {error} in: {statement}");
        let rolled_back = match &mut self.session {
            Some(session) => session.run("ROLLBACK").await.is_ok(),
            None => false,
        };
        if !rolled_back {
            self.session = None;
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// The next change of form, if there is one.
    async fn change_form(&mut self) -> bool {
        let at = self.stage.0.load(Ordering::Relaxed);
        let Some(form) = FORMS.get(at) else { return false };
        let done = self.run(&[tables::in_words_of(&self.source, form)]).await;
        // It may have been carried out by a server that could not say so any more.
        let is_there = |error: &str| ["exist", "Duplicate column", "(1091)"].iter().any(|word| error.contains(word));
        match done {
            Err((error, statement)) if !is_there(&error) => {
                self.give_up(&error, &statement).await;
                false
            }
            done => {
                self.stage.0.store(at + 1, Ordering::Relaxed);
                done.is_ok()
            }
        }
    }

    fn is_done(&self, form: usize) -> bool {
        self.stage.0.load(Ordering::Relaxed) > form
    }

    fn transaction(&mut self) -> Vec<String> {
        let mut statements = Vec::new();
        // TRUNCATE ends a transaction of MySQL by itself: an empty table is a state, too.
        let truncate = self.number == FIRST && self.random.below(12) == 0;
        if truncate && self.source.is_mysql() {
            statements.push("TRUNCATE TABLE scratch".to_owned());
        }
        statements.push("BEGIN".to_owned());
        let writer = self.number;
        statements.push(format!("UPDATE counters SET ticks = ticks + 1 WHERE writer = {writer}"));
        if truncate {
            if !self.source.is_mysql() {
                statements.push("TRUNCATE scratch".to_owned());
            }
            let rows: Vec<_> = (0..200).map(|id| format!("SELECT {id} AS id")).collect();
            let rows = rows.join(" UNION ALL ");
            statements.push(format!("INSERT INTO scratch SELECT r.id, {}, 'v' FROM ({rows}) r", self.ticks()));
        }
        for _ in 0..1 + self.random.below(3) {
            if self.random.below(8) == 0 {
                statements.push("SAVEPOINT undone".to_owned());
                statements.extend(self.spoil());
                statements.push("ROLLBACK TO SAVEPOINT undone".to_owned());
            }
            self.operation(&mut statements);
        }
        statements.push(format!("UPDATE mirror SET ticks = {} WHERE id = {writer}", self.ticks()));
        statements.push(if self.random.below(12) == 0 { "ROLLBACK" } else { "COMMIT" }.to_owned());
        statements
    }

    /// The number of this transaction, as SQL: it grows with each one that is committed.
    fn ticks(&self) -> String {
        format!("(SELECT ticks FROM counters WHERE writer = {})", self.number)
    }

    fn operation(&mut self, statements: &mut Vec<String>) {
        match self.random.below(16) {
            0..5 => self.transfer(statements),
            5 => self.move_account(statements),
            6 | 7 => self.replace_order(statements),
            8 => self.change_order(statements),
            9 | 10 => self.change_document(statements),
            11 => self.move_document(statements),
            12 => self.change_tag(statements),
            13 => self.compact(statements),
            // A batch that has one is applied row by row: most batches are to go the other way.
            14 if self.random.below(8) == 0 => self.swap_slots(statements),
            _ => self.late(statements),
        }
    }

    fn side(&mut self) -> &'static str {
        if self.random.below(2) == 0 { "a" } else { "b" }
    }

    fn account(&mut self) -> u64 {
        1 + self.random.below(ACCOUNTS)
    }

    /// Money goes from one account to another one, mostly in the other table; both entries are in the ledger.
    fn transfer(&mut self, statements: &mut Vec<String>) {
        let (from, to) = ((self.side(), self.account()), (self.side(), self.account()));
        let amount = self.random.below(100);
        let writer = self.number;
        for (side, no, sign) in [(from.0, from.1, '-'), (to.0, to.1, '+')] {
            let note = match side {
                "a" if self.is_done(0) => format!(", extra = {amount}"),
                "a" => format!(", note = 'né {amount}'"),
                _ if self.random.below(3) == 0 && self.is_done(3) => format!(", flag = {amount}"),
                _ if self.random.below(3) == 0 => {
                    format!(", rate = {amount}.5, big = '{}'", tables::filler(amount, 2500))
                }
                _ => String::new(),
            };
            statements.push(format!(
                "UPDATE accounts_{side} SET balance = balance {sign} {amount}, version = version + 1{note} WHERE no = {no}"
            ));
        }
        statements.push(format!(
            "INSERT INTO ledger (writer, side, account, amount, at) VALUES ({writer}, '{}', {}, -{amount}, CURRENT_TIMESTAMP), \
             ({writer}, '{}', {}, {amount}, CURRENT_TIMESTAMP)",
            from.0, from.1, to.0, to.1
        ));
        statements.push(format!("UPDATE counters SET ledger_rows = ledger_rows + 2 WHERE writer = {writer}"));
    }

    /// The key goes away and comes back; the large value is not in the log.
    fn move_account(&mut self, statements: &mut Vec<String>) {
        let (side, no) = (self.side(), self.account());
        statements.push(format!(
            "UPDATE accounts_{side} SET id = CASE WHEN id > 100000 THEN id - 100000 ELSE id + 100000 END, version = version + 1 \
             WHERE no = {no}"
        ));
    }

    /// Deleted and made again under the same key, with other items.
    fn replace_order(&mut self, statements: &mut Vec<String>) {
        let id = self.number * 1000 + self.random.below(ORDERS);
        statements.push(format!("DELETE FROM items WHERE order_id = {id}"));
        statements.push(format!("DELETE FROM orders WHERE id = {id}"));
        if self.random.below(5) == 0 {
            return;
        }
        let amounts: Vec<u64> = (0..1 + self.random.below(4)).map(|_| self.random.below(1000)).collect();
        let sum: u64 = amounts.iter().sum();
        statements.push(format!(
            "INSERT INTO orders (id, total, items, version, note) VALUES ({id}, {sum}, {}, {}, 'made again')",
            amounts.len(),
            self.ticks()
        ));
        let items: Vec<_> =
            amounts.iter().enumerate().map(|(line, amount)| format!("({id}, {line}, {amount}, 'x')")).collect();
        statements.push(format!("INSERT INTO items VALUES {}", items.join(", ")));
    }

    fn change_order(&mut self, statements: &mut Vec<String>) {
        let id = self.number * 1000 + self.random.below(ORDERS);
        statements.push(format!("DELETE FROM items WHERE order_id = {id} AND line = {}", self.random.below(3)));
        statements.push(format!("UPDATE items SET amount = amount + 7 WHERE order_id = {id}"));
        statements.push(format!(
            "UPDATE orders SET total = (SELECT coalesce(sum(amount), 0) FROM items WHERE order_id = {id}), \
             items = (SELECT count(*) FROM items WHERE order_id = {id}), version = {} WHERE id = {id}",
            self.ticks()
        ));
    }

    fn change_document(&mut self, statements: &mut Vec<String>) {
        let no = self.number * 1000 + self.random.below(DOCUMENTS);
        let ticks = self.ticks();
        match self.random.below(4) {
            0 => {
                let document = tables::document(&self.source, &mut self.random);
                statements.push(format!("DELETE FROM documents WHERE no = {no}"));
                statements.push(format!(
                    "INSERT INTO documents (id, no, version, token, size, body, bytes, data) VALUES ({no}, {no}, {ticks}, {document})"
                ));
            }
            1 if self.is_done(1) => statements.push(format!(
                "UPDATE documents SET version = {ticks}, extra = '{}' WHERE no = {no}",
                tables::filler(no, 50 + self.random.below(4000))
            )),
            // Body and data stay as they are.
            _ => statements.push(format!("UPDATE documents SET version = {ticks} WHERE no = {no}")),
        }
    }

    fn move_document(&mut self, statements: &mut Vec<String>) {
        let no = self.number * 1000 + self.random.below(DOCUMENTS);
        statements.push(format!(
            "UPDATE documents SET id = CASE WHEN id > 100000 THEN id - 100000 ELSE id + 100000 END, version = {} WHERE no = {no}",
            self.ticks()
        ));
    }

    fn change_tag(&mut self, statements: &mut Vec<String>) {
        let no = self.number * 1000 + self.random.below(TAGS);
        statements.push(format!("DELETE FROM tags WHERE name = {}", tables::tag(no)));
        if self.random.below(4) > 0 {
            let values = format!("({}, {no}, {})", tables::tag(no), self.ticks());
            statements.push(format!("INSERT INTO tags (name, no, version) VALUES {values}"));
        }
    }

    /// A writer's entries of an account become one.
    fn compact(&mut self, statements: &mut Vec<String>) {
        let (side, no, writer) = (self.side(), self.account(), self.number);
        let of_account = format!("writer = {writer} AND side = '{side}' AND account = {no}");
        statements.push(format!(
            "INSERT INTO ledger (writer, side, account, amount, at) SELECT writer, side, account, sum(amount), CURRENT_TIMESTAMP \
             FROM ledger WHERE {of_account} GROUP BY writer, side, account"
        ));
        statements.push(format!(
            "DELETE FROM ledger WHERE {of_account} AND id < (SELECT t.last FROM (SELECT max(id) AS last FROM ledger WHERE {of_account}) t)"
        ));
        statements.push(format!(
            "UPDATE counters SET ledger_rows = (SELECT count(*) FROM ledger WHERE writer = {writer}) WHERE writer = {writer}"
        ));
    }

    /// Two rows take each other's unique value.
    fn swap_slots(&mut self, statements: &mut Vec<String>) {
        let a = self.random.below(SLOTS);
        let both = format!("id IN ({a}, {})", (a + 1 + self.random.below(SLOTS - 1)) % SLOTS);
        // A sum that was taken before another session let go of the rows would be of the past.
        statements.push(format!("SELECT code FROM slots WHERE {both} ORDER BY id FOR UPDATE"));
        statements.push(format!(
            "UPDATE slots SET code = code - 1 - (SELECT t.s FROM (SELECT sum(code) AS s FROM slots WHERE {both}) t) WHERE {both}"
        ));
        statements.push(format!("UPDATE slots SET code = -1 - code WHERE {both}"));
    }

    fn late(&mut self, statements: &mut Vec<String>) {
        if self.is_done(2) {
            let id = self.number * 100_000 + self.random.below(100);
            statements.push(format!("DELETE FROM late WHERE id = {id}"));
            statements.push(format!("INSERT INTO late VALUES ({id}, 'late')"));
        }
    }

    /// What must never be seen.
    fn spoil(&mut self) -> Vec<String> {
        let (side, no, writer) = (self.side(), self.account(), self.number);
        vec![
            format!("UPDATE accounts_{side} SET balance = balance + 999 WHERE no = {no}"),
            format!("DELETE FROM documents WHERE no = {}", writer * 1000),
            format!("INSERT INTO ledger (writer, side, account, amount) VALUES ({writer}, 'a', {no}, 999)"),
        ]
    }

    /// Tens of thousands of rows in one transaction, beside money that moves in it; the oldest batch goes.
    fn large(&mut self) -> Vec<String> {
        self.batches += 1;
        let (id, rows) = (self.number * 1_000_000 + self.batches, self.plan.large_rows);
        let mut statements = vec![
            "BEGIN".to_owned(),
            format!("UPDATE counters SET ticks = ticks + 1 WHERE writer = {}", self.number),
            format!("INSERT INTO batches VALUES ({id}, {rows})"),
        ];
        self.transfer(&mut statements);
        let mut first = 0;
        while first < rows {
            let part = first..rows.min(first + ROWS_AT_ONCE);
            let values: Vec<_> = part.map(|n| format!("({id}, {n}, 'row {n}')")).collect();
            statements.push(format!("INSERT INTO bulk VALUES {}", values.join(", ")));
            first += ROWS_AT_ONCE;
        }
        if let Some(old) = id.checked_sub(BATCHES) {
            statements.push(format!("DELETE FROM bulk WHERE batch <= {old}"));
            statements.push(format!("DELETE FROM batches WHERE id <= {old}"));
        }
        statements.push(format!("UPDATE mirror SET ticks = {} WHERE id = {}", self.ticks(), self.number));
        statements.push("COMMIT".to_owned());
        statements
    }
}
