//! Every decoder of bytes that come from outside, as a function of bytes, with valid inputs to start from. `tests/hostile.rs`
//! and the fuzzers in `fuzz/` run them.

use bytes::Bytes;
use rowferry::config::Config;
use rowferry_api::{Key, Row, decode_copy_row};
use rowferry_postgres::pgoutput;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

/// A decoder under test.
pub(crate) struct Decoder {
    /// What its fuzzer is called.
    pub(crate) name: &'static str,
    /// Reads the bytes to the end.
    pub(crate) run: fn(&[u8]),
    /// Inputs to start from, valid or nearly.
    pub(crate) seeds: fn() -> Vec<Vec<u8>>,
    /// Bytes of memory that it may have at a time whatever the input is, and those for each byte of the input.
    pub(crate) memory: (usize, usize),
}

const KIB: usize = 1024;
/// Most take less than this at the start.
const START: usize = 64 * KIB;

/// All of them.
pub(crate) const DECODERS: [Decoder; 9] = [
    Decoder { name: "pgoutput", run: pgoutput, seeds: pgoutput_seeds, memory: (START, 32) },
    // What MariaDB compresses is inflated to as much as the caller allows: here 256 KiB, in a buffer that grows by doubling.
    Decoder { name: "binlog", run: binlog, seeds: binlog_seeds, memory: (START + KIB * KIB, 32) },
    // A zstd frame takes the window that it claims at once, 100 MiB at most.
    Decoder { name: "payload", run: payload, seeds: payload_seeds, memory: (101 * KIB * KIB, 32) },
    Decoder { name: "json", run: rowferry_mysql::fuzzing::json, seeds: json_seeds, memory: (START, 32) },
    Decoder {
        name: "json_differences",
        run: rowferry_mysql::fuzzing::json_differences,
        seeds: json_differences_seeds,
        memory: (START, 32),
    },
    // A token takes up to 32 bytes, in a list that grows by doubling, and may be of one byte.
    Decoder { name: "statement", run: statement, seeds: statement_seeds, memory: (START, 128) },
    // serde takes up to 1 MiB ahead for each list whose length it is told.
    Decoder {
        name: "state",
        run: state,
        seeds: rowferry_state::fuzzing::payloads,
        memory: (2 * KIB * KIB + START, 32),
    },
    Decoder { name: "row", run: row, seeds: row_seeds, memory: (START, 32) },
    // Local, small, and parsed into a tree with the place of every word.
    Decoder { name: "configuration", run: configuration, seeds: configuration_seeds, memory: (START, 256) },
];

/// The number of the relation's columns, and a message.
fn pgoutput(data: &[u8]) {
    let Some((&columns, message)) = data.split_first() else { return };
    let _ = pgoutput::decode(Bytes::copy_from_slice(message), |_| Some(columns.into()));
}

fn pgoutput_seeds() -> Vec<Vec<u8>> {
    let messages: [&[u8]; 9] = [
        b"B\0\0\0\0\x01\x6b\x37\x48\0\x02\xa0\0\0\0\0\0\0\0\x02\xee",
        b"C\0\0\0\0\0\x01\x6b\x37\x48\0\0\0\0\x01\x6b\x37\x90\0\x02\xa0\0\0\0\0\0",
        b"R\0\0\x40\0public\0orders\0d\0\x02\x01id\0\0\0\0\x17\xff\xff\xff\xff\0note\0\0\0\0\x19\xff\xff\xff\xff",
        b"I\0\0\x40\0N\0\x02t\0\0\0\x017n",
        b"U\0\0\x40\0K\0\x02t\0\0\0\x017nN\0\x02t\0\0\0\x018u",
        b"U\0\0\x40\0O\0\x02t\0\0\0\x017t\0\0\0\x03oldN\0\x02t\0\0\0\x017t\0\0\0\x03new",
        b"D\0\0\x40\0K\0\x02t\0\0\0\x017n",
        b"T\0\0\0\x02\0\0\0\x40\0\0\0\x40\x01",
        b"M\x01\0\0\0\0\0\0\0\0prefix\0\0\0\0\x02hi",
    ];
    messages.iter().map(|message| [&[2], *message].concat()).collect()
}

/// Whether the log is MariaDB's, and its events.
fn binlog(data: &[u8]) {
    let Some((&is_mariadb, events)) = data.split_first() else { return };
    rowferry_mysql::fuzzing::log(events, is_mariadb & 1 == 1, false);
}

/// The same of MySQL's, with the transactions that are compressed as a whole.
fn payload(data: &[u8]) {
    rowferry_mysql::fuzzing::log(data.get(1..).unwrap_or_default(), false, true);
}

fn root() -> PathBuf {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    if package.ends_with("fuzz") { package.join("..") } else { package.to_owned() }
}

/// Logs of real servers, without checksums, so that what is damaged is read.
fn binlog_seeds() -> Vec<Vec<u8>> {
    let folder = root().join("connectors/mysql/tests/fixtures");
    let mut files: Vec<PathBuf> = std::fs::read_dir(&folder)
        .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|end| end == "gz"))
        .collect();
    files.sort();
    files.iter().map(|path| log_without_checksums(path)).chain([claims_much()]).collect()
}

/// A compressed statement of MariaDB's that claims 4 GiB, and holds a megabyte of nothing.
fn claims_much() -> Vec<u8> {
    const QUERY_COMPRESSED: u8 = 165;
    let mut zlib = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::best());
    zlib.write_all(&[0; KIB * KIB]).unwrap();
    let mut event = vec![0; 19];
    event[4] = QUERY_COMPRESSED;
    // Thread, seconds, no schema, no error, no settings; then how it is compressed.
    event.extend([0; 14]);
    event.extend([0x84, 0xff, 0xff, 0xff, 0xff]);
    event.extend(zlib.finish().unwrap());
    let size = event.len() as u32;
    event[9..13].copy_from_slice(&size.to_le_bytes());
    [&[1], &event[..]].concat()
}

fn payload_seeds() -> Vec<Vec<u8>> {
    vec![log_without_checksums(&root().join("connectors/mysql/tests/fixtures/mysql-9.7-payload.binlog.gz"))]
}

fn log_without_checksums(path: &Path) -> Vec<u8> {
    const FORMAT_DESCRIPTION: u8 = 15;
    let mut log = Vec::new();
    flate2::read::GzDecoder::new(std::fs::File::open(path).unwrap()).read_to_end(&mut log).unwrap();
    let is_mariadb = path.file_name().unwrap().to_string_lossy().starts_with("mariadb");
    let mut out = vec![u8::from(is_mariadb)];
    let mut rest = &log[4..];
    while !rest.is_empty() {
        let size = u32::from_le_bytes(rest[9..13].try_into().unwrap()) as usize;
        let mut event = rest[..size].to_vec();
        rest = &rest[size..];
        if event[4] == FORMAT_DESCRIPTION {
            event[size - 5] = 0;
        } else {
            event.truncate(size - 4);
        }
        let size = event.len() as u32;
        event[9..13].copy_from_slice(&size.to_le_bytes());
        out.extend(event);
    }
    out
}

/// `{"a": 1, "b": [true, "x"]}`.
const DOCUMENT: [u8; 33] =
    [0, 2, 0, 32, 0, 18, 0, 1, 0, 19, 0, 1, 0, 5, 1, 0, 2, 20, 0, b'a', b'b', 2, 0, 12, 0, 4, 1, 0, 12, 10, 0, 1, b'x'];

fn json_seeds() -> Vec<Vec<u8>> {
    let mut large = vec![3, 2, 0, 0, 0, 45, 0, 0, 0];
    large.extend([12, 18, 0, 0, 0, 15, 24, 0, 0, 0]);
    large.extend(b"\x05large\x0c\x08");
    large.extend([0; 21]);
    let double = [&[11][..], &1.5f64.to_le_bytes()].concat();
    let decimal = vec![15, 246, 4, 3, 1, 0x80, 12];
    vec![DOCUMENT.to_vec(), large, double, decimal, b"\x0c\x04text".to_vec(), vec![4, 1]]
}

fn json_differences_seeds() -> Vec<Vec<u8>> {
    let differences: [&[u8]; 4] =
        [b"\0\x03$.a\x03\x0c\x01y", b"\x01\x06$.b[0]\x03\x05\x07\0", b"\x02\x03$.a", b"\0\x05$.\"b\"\x21"];
    let with = |difference: &&[u8]| [&[33, 0], &DOCUMENT[..], difference].concat();
    let mut seeds: Vec<Vec<u8>> = differences.iter().map(with).collect();
    seeds[3].extend(DOCUMENT);
    seeds
}

/// Four bits of `sql_mode`, and a statement.
fn statement(data: &[u8]) {
    let Some((&bits, text)) = data.split_first() else { return };
    let modes = [(1, 1), (2, 1 << 2), (4, 1 << 9), (8, 1 << 20)];
    let mode = modes.iter().filter(|(bit, _)| bits & bit != 0).map(|(_, mode)| mode).sum();
    rowferry_mysql::fuzzing::statement(&String::from_utf8_lossy(text), mode);
}

fn statement_seeds() -> Vec<Vec<u8>> {
    let statements = [
        "ALTER TABLE t ADD COLUMN d DECIMAL(10, 2) NOT NULL DEFAULT 0 AFTER a, DROP COLUMN b, MODIFY c VARCHAR(30)",
        "CREATE TABLE shop.`odd ``name` (id BIGINT UNSIGNED AUTO_INCREMENT PRIMARY KEY, e ENUM('a', 'b''c') CHARACTER SET \
         latin1, g INT AS (id + 1) STORED, KEY (e)) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COMMENT 'x'",
        "CREATE TABLE IF NOT EXISTS u LIKE t",
        "RENAME TABLE t TO u, shop.v TO `w`",
        "/*!50100 ALTER TABLE t CHANGE a \"b\" INT, CONVERT TO CHARACTER SET utf8mb3 COLLATE utf8mb3_bin */",
        "SET STATEMENT max_statement_time = 1 FOR DROP TABLE t, u",
        "XA COMMIT X'6131',X'',1 ONE PHASE",
        "SAVEPOINT `s`",
        "INSERT INTO t VALUES (1, 'it''s', \"x\\\"y\") -- end",
        "ALTER DATABASE shop CHARACTER SET = latin1",
    ];
    statements.iter().map(|statement| [&[0], statement.as_bytes()].concat()).collect()
}

/// A record or key of the state directory.
fn state(data: &[u8]) {
    rowferry_state::fuzzing::record(data);
    rowferry_state::fuzzing::key(data);
}

/// The number of columns, and an encoded row; the same as a key and as lines of COPY.
fn row(data: &[u8]) {
    let Some((&columns, rest)) = data.split_first() else { return };
    let bytes = Bytes::copy_from_slice(rest);
    if let Ok(row) = Row::split_from(&mut bytes.clone(), columns.into()) {
        assert_eq!(row.cells().count(), usize::from(columns));
    }
    if let Ok(key) = Key::from_bytes(bytes) {
        let _ = key.to_string();
        let _ = format!("{key:?}");
    }
    let mut scratch = Vec::new();
    for line in rest.split(|byte| *byte == b'\n') {
        decode_copy_row(line, &mut scratch, |_, _| {});
    }
}

fn row_seeds() -> Vec<Vec<u8>> {
    vec![
        b"\x04t\0\0\0\x05northb\0\0\0\x02\xff\0nu".to_vec(),
        b"\x01t\0\0\0\x017".to_vec(),
        b"\x037\\tx\t\\N\ta\\\\b\\n\n8\t\\.\t\n".to_vec(),
    ]
}

/// A configuration file. Those that name other files are left out: they would be read.
fn configuration(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    if text.contains("${file:") {
        return;
    }
    if let Err(error) = Config::parse(Path::new("rowferry.toml"), &text) {
        assert!(!format!("{error:?}").is_empty());
        assert!(!error.to_string().is_empty());
    }
}

fn configuration_seeds() -> Vec<Vec<u8>> {
    let mut seeds: Vec<Vec<u8>> = ["quickstart"]
        .iter()
        .map(|name| std::fs::read(root().join(format!("examples/{name}/rowferry.toml"))).unwrap())
        .collect();
    seeds.push(
        br#"state_dir = "state"
[pipeline.shop]
source = { kind = "postgres", url = "postgres://reader:hunter2@db:5432/shop?password=hunter2", slot = "s" }
target = { kind = "sqlite", path = "${HOME}/shop.db" }
tables = ["public.*", "!public.audit_*"]
memory = "1GiB"
[pipeline.shop.table."public.orders"]
key = ["id"]
columns = ["!card_number"]
on_bad_row = "dead_letter"
"#
        .to_vec(),
    );
    seeds
}
