//! The tables of the workload and what they hold at first, in the words of either source.

use crate::{End, Random, Session};

/// All of them, parents before children.
pub const NAMES: [&str; 13] = [
    "accounts_a",
    "accounts_b",
    "ledger",
    "counters",
    "mirror",
    "orders",
    "items",
    "documents",
    "tags",
    "slots",
    "scratch",
    "batches",
    "bulk",
];

/// Accounts of each of the two tables.
pub(super) const ACCOUNTS: u64 = 150;
/// What all accounts hold together, always.
pub(super) const MONEY: u64 = 2 * ACCOUNTS * OPENING_ENTRIES * OPENING_AMOUNT;
const OPENING_ENTRIES: u64 = 20;
const OPENING_AMOUNT: u64 = 50;
/// Orders of a writer, documents of a writer, tags of a writer.
pub(super) const ORDERS: u64 = 60;
pub(super) const DOCUMENTS: u64 = 40;
pub(super) const TAGS: u64 = 40;
/// Rows of `slots`, which hold the codes 0 to one less.
pub(super) const SLOTS: u64 = 60;
/// Rows of one INSERT.
pub(super) const ROWS_AT_ONCE: u64 = 2000;

/// `{text}` and such become the dialect's own.
const TABLES: &str = "
CREATE TABLE accounts_a (id int PRIMARY KEY, no int NOT NULL UNIQUE, balance bigint NOT NULL, version bigint NOT NULL,
    note {short}, big {text});
CREATE TABLE accounts_b (id int PRIMARY KEY, no int NOT NULL UNIQUE, balance bigint NOT NULL, version bigint NOT NULL,
    rate decimal(14, 4), big {text});
CREATE TABLE ledger (id {serial} PRIMARY KEY, writer int NOT NULL, side char(1) NOT NULL, account int NOT NULL,
    amount bigint NOT NULL, at {moment});
CREATE INDEX ledger_of_writer ON ledger (writer, side, account);
CREATE TABLE counters (writer int PRIMARY KEY, ticks bigint NOT NULL, ledger_rows bigint NOT NULL);
CREATE TABLE mirror (id int PRIMARY KEY, ticks bigint NOT NULL);
CREATE TABLE orders (id int PRIMARY KEY, total bigint NOT NULL, items int NOT NULL, version bigint NOT NULL, note {short});
CREATE TABLE items (order_id int NOT NULL, line int NOT NULL, amount bigint NOT NULL, what {short}, PRIMARY KEY (order_id, line),
    FOREIGN KEY (order_id) REFERENCES orders (id));
CREATE TABLE documents (id int PRIMARY KEY, no int NOT NULL UNIQUE, version bigint NOT NULL, token {short}, size int NOT NULL,
    body {text}, bytes int NOT NULL, data {bytes});
CREATE TABLE tags (name {key} PRIMARY KEY, no int NOT NULL, version bigint NOT NULL, spare {short});
CREATE TABLE slots (id int PRIMARY KEY, code int UNIQUE);
CREATE TABLE scratch (id int PRIMARY KEY, round bigint NOT NULL, v {short});
CREATE TABLE batches (id bigint PRIMARY KEY, expected bigint NOT NULL);
CREATE TABLE bulk (batch bigint NOT NULL, n int NOT NULL, v {short}, PRIMARY KEY (batch, n))";

/// Large values stay out of the row and are not compressed: updates of other columns leave them out of the log.
const STORAGE: [&str; 4] = [
    "ALTER TABLE accounts_a ALTER big SET STORAGE EXTERNAL",
    "ALTER TABLE accounts_b ALTER big SET STORAGE EXTERNAL",
    "ALTER TABLE documents ALTER body SET STORAGE EXTERNAL",
    "ALTER TABLE documents ALTER data SET STORAGE EXTERNAL",
];

pub(super) async fn create(source: &End, random: &mut Random, writers: u64) {
    let mut session = source.open().await.expect("connect to the source");
    for statement in TABLES.split(';') {
        run(&mut session, &in_words_of(source, statement)).await;
    }
    if !source.is_mysql() {
        for statement in STORAGE {
            run(&mut session, statement).await;
        }
    }
    for side in ["a", "b"] {
        let account = |no: u64| {
            let middle = if side == "a" { format!("'né {no}'") } else { format!("{no}.0625") };
            let balance = OPENING_ENTRIES * OPENING_AMOUNT;
            format!("({no}, {no}, {balance}, 0, {middle}, '{}')", filler(no, 2200 + no))
        };
        insert(&mut session, &format!("accounts_{side}"), 1..ACCOUNTS + 1, account).await;
        let entry = |n: u64| {
            let no = 1 + n % ACCOUNTS;
            format!("({}, '{side}', {no}, {OPENING_AMOUNT}, CURRENT_TIMESTAMP)", no % writers)
        };
        let columns = "ledger (writer, side, account, amount, at)";
        insert(&mut session, columns, 0..ACCOUNTS * OPENING_ENTRIES, entry).await;
    }
    insert(&mut session, "mirror", 0..writers, |writer| format!("({writer}, 0)")).await;
    run(
        &mut session,
        "INSERT INTO counters SELECT id, 0, (SELECT count(*) FROM ledger WHERE writer = mirror.id) FROM mirror",
    )
    .await;
    insert(&mut session, "slots", 0..SLOTS, |id| format!("({id}, {id})")).await;
    for writer in 0..writers {
        let orders = (0..ORDERS).map(|n| writer * 1000 + n);
        insert(&mut session, "orders", orders.clone(), |id| format!("({id}, 30, 2, 0, NULL)")).await;
        let item = |id| format!("({id}, 1, 10, 'ten'), ({id}, 2, 20, NULL)");
        insert(&mut session, "items", orders, item).await;
        let documents = (0..DOCUMENTS).map(|n| writer * 1000 + n);
        let mut bodies = Random::new(random.number());
        let document = |no| format!("({no}, {no}, 0, {})", document(source, &mut bodies));
        insert(&mut session, "documents", documents, document).await;
        let tags = (0..TAGS).map(|n| writer * 1000 + n);
        insert(&mut session, "tags", tags, |no| format!("({}, {no}, 0, 'spare')", tag(no))).await;
    }
    if !source.is_mysql() {
        run(&mut session, "ANALYZE").await;
    }
}

/// Token, size, body, bytes and data of a document, as a list of values: the body begins with the token.
pub(super) fn document(source: &End, random: &mut Random) -> String {
    let token = format!("{:012x}", random.number() & 0xffff_ffff_ffff);
    let body = format!("{token}{}", filler(random.number(), 2500 + random.below(6000)));
    let bytes = 2100 + random.below(3000);
    let hex = filler(random.number(), 2 * bytes);
    let data = if source.is_mysql() { format!("x'{hex}'") } else { format!("'\\x{hex}'") };
    format!("'{token}', {}, '{body}', {bytes}, {data}", body.len())
}

/// The text key of a tag, as a literal.
pub(super) fn tag(no: u64) -> String {
    format!("'tag-é-{no}'")
}

/// So many hex digits that differ by the seed.
pub(super) fn filler(seed: u64, length: u64) -> String {
    let mut random = Random::new(seed);
    let mut text = String::new();
    while (text.len() as u64) < length {
        text += &format!("{:016x}", random.number());
    }
    text.truncate(length as usize);
    text
}

pub(super) fn in_words_of(source: &End, statement: &str) -> String {
    let words = match source.is_mysql() {
        true => [
            "LONGTEXT",
            "VARCHAR(200)",
            "VARCHAR(100)",
            "LONGBLOB",
            "DATETIME(6)",
            "BIGINT AUTO_INCREMENT",
            " AFTER no",
        ],
        false => ["text", "text", "text", "bytea", "timestamptz", "bigserial", ""],
    };
    let names = ["{text}", "{short}", "{key}", "{bytes}", "{moment}", "{serial}", "{after}"];
    names.iter().zip(words).fold(statement.to_owned(), |sql, (name, word)| sql.replace(name, word))
}

/// Inserts a row, or some, for each number.
async fn insert(
    session: &mut Session,
    into: &str,
    numbers: impl Iterator<Item = u64>,
    mut values: impl FnMut(u64) -> String,
) {
    let values: Vec<_> = numbers.map(&mut values).collect();
    for values in values.chunks(ROWS_AT_ONCE as usize) {
        run(session, &format!("INSERT INTO {into} VALUES {}", values.join(", "))).await;
    }
}

async fn run(session: &mut Session, sql: &str) {
    if let Err(error) = session.run(sql).await {
        panic!("{error} in: {}", sql.chars().take(300).collect::<String>());
    }
}
