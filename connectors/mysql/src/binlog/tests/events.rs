//! Events other than rows.

use super::fixture::Fixture;
use super::*;

/// One line an event.
fn story(name: &str) -> Vec<String> {
    let fixture = Fixture::read(name);
    let mut decoder = Decoder::new(fixture.flavor);
    fixture.events().iter().map(|raw| told(&decoder.parse(raw).unwrap().1)).collect()
}

fn told(event: &LogEvent) -> String {
    match event {
        LogEvent::Gtid(event) => {
            let gtid = event.gtid.as_ref().map_or("anonymous".to_owned(), ToString::to_string);
            let standalone = if event.is_standalone { " standalone" } else { "" };
            let alter = event.alter.map_or(String::new(), |phase| format!(" {phase:?}"));
            let prepares = event.prepares.as_ref().map_or(String::new(), |xid| format!(" prepares {xid}"));
            format!("gtid {gtid}{standalone}{alter}{prepares}")
        }
        LogEvent::Query(query) => {
            let ansi = if query.has_ansi_quotes() { " ansi" } else { "" };
            let plain = if query.has_no_backslash_escapes() { " no-escapes" } else { "" };
            format!("query {} {}{ansi}{plain}", query.schema, query.statement)
        }
        LogEvent::TableMap(map) => format!("table {}", map.table),
        LogEvent::Rows(rows) => format!("rows {:?} {}", rows.kind, rows.table.table),
        LogEvent::PreviousGtids(set) => format!("previous {set}").trim_end().to_owned(),
        LogEvent::Format { .. } => "format".to_owned(),
        other => format!("{other:?}"),
    }
}

/// The statements that made each log, its transactions and its ways to end them were read beside these.
#[test]
fn transactions_of_real_servers() {
    for name in ["mysql-9.7-transactions", "mariadb-10.11-transactions", "mysql-5.6-transactions"] {
        let path = format!("{}/tests/fixtures/{name}.events", env!("CARGO_MANIFEST_DIR"));
        let expected = std::fs::read_to_string(path).unwrap();
        assert_eq!(story(name), expected.lines().collect::<Vec<_>>(), "{name}");
    }
}

/// An event with the checksum of its bytes.
fn event(code: u8, flags: u16, end_position: u32, body: &[u8], with_checksum: bool) -> Bytes {
    let mut raw = vec![1, 0, 0, 0, code, 9, 0, 0, 0];
    let size = 19 + body.len() as u32 + if with_checksum { 4 } else { 0 };
    raw.extend(size.to_le_bytes());
    raw.extend(end_position.to_le_bytes());
    raw.extend(flags.to_le_bytes());
    raw.extend(body);
    if with_checksum {
        raw.extend(crc32fast::hash(&raw).to_le_bytes());
    }
    raw.into()
}

fn read(flavor: Flavor, code: u8, body: &[u8]) -> LogEvent {
    Decoder::new(flavor).parse(&event(code, 0, 77, body, false)).unwrap().1
}

#[test]
fn the_rotate_before_a_dump_may_have_a_checksum() {
    let body = [&4u64.to_le_bytes()[..], b"binlog.000007"].concat();
    for with_checksum in [false, true] {
        let raw = event(4, Header::ARTIFICIAL, 0, &body, with_checksum);
        let rotate = Decoder::new(Flavor::Mysql).parse(&raw).unwrap().1;
        assert_eq!(rotate, LogEvent::Rotate { file: "binlog.000007".into(), position: 4, is_artificial: true });
    }
}

#[test]
fn heartbeats_say_where_the_server_is() {
    let at = |position| LogEvent::Heartbeat { file: "binlog.000002".into(), position };
    assert_eq!(read(Flavor::Mysql, 27, b"binlog.000002"), at(77));
    let body = [&[1, 13][..], b"binlog.000002", &[2, 9, 0xfe], &(5u64 << 32).to_le_bytes(), &[0]].concat();
    assert_eq!(read(Flavor::Mysql, 41, &body), at(5 << 32));
    let body = [&(5u64 << 32).to_le_bytes()[..], b"binlog.000002"].concat();
    let raw = event(27, 0, 0, &body, false);
    assert_eq!(Decoder::new(Flavor::Mariadb).parse(&raw).unwrap().1, at(5 << 32));
}

#[test]
fn incidents_and_stops_are_told() {
    let incident = LogEvent::Incident { number: 1, message: "gap".into() };
    assert_eq!(read(Flavor::Mysql, 26, b"\x01\x00\x03gap"), incident);
    assert_eq!(read(Flavor::Mysql, 3, b""), LogEvent::Stop);
    assert_eq!(read(Flavor::Mysql, 18, b""), LogEvent::StatementLoad);
}

#[test]
fn an_unknown_type_may_be_skipped_only_if_it_says_so() {
    let mut decoder = Decoder::new(Flavor::Mysql);
    let ignorable = decoder.parse(&event(99, Header::IGNORABLE, 0, b"", false)).unwrap().1;
    assert_eq!(ignorable, LogEvent::Ignored);
    for code in [0, 1, 20, 21, 22, 43, 99, 172, 255] {
        let error = decoder.parse(&event(code, 0, 0, b"", false)).unwrap_err();
        assert!(error.to_string().contains(&format!("({code})")), "{error}");
    }
}

/// As MySQL 5.6 and 9.7 wrote them.
#[test]
fn gtids_before_a_file() {
    let uuid = [0xec, 0x54, 0x9a, 0x41, 0xea, 0x5a, 0x11, 0xf1, 0xa6, 0x2a, 2, 0xfc, 0, 0, 0, 1];
    let number = |number: u64| number.to_le_bytes();
    let set = |text: &str| LogEvent::PreviousGtids(GtidSet::parse(Flavor::Mysql, text).unwrap());
    let plain = [&number(1)[..], &uuid, &number(1), &number(1), &number(3)].concat();
    assert_eq!(read(Flavor::Mysql, 35, &plain), set("ec549a41-ea5a-11f1-a62a-02fc00000001:1-2"));
    let untagged = [&uuid[..], &[0], &number(1), &number(1), &number(2)].concat();
    let tagged = [&uuid[..], &[6], b"red", &number(1), &number(1), &number(2)].concat();
    let both = [&[1, 2, 0, 0, 0, 0, 0, 1][..], &untagged, &tagged].concat();
    assert_eq!(read(Flavor::Mysql, 35, &both), set("ec549a41-ea5a-11f1-a62a-02fc00000001:1:red:1"));
}

#[test]
fn lists_of_gtids() {
    let body = [&[1, 0, 0, 0x10][..], &[2, 0, 0, 0], &[3, 0, 0, 0], &4u64.to_le_bytes()].concat();
    assert_eq!(
        read(Flavor::Mariadb, 163, &body),
        LogEvent::GtidList(vec![Gtid::Mariadb { domain: 2, server: 3, sequence: 4 }])
    );
}

#[test]
fn rows_need_the_table_of_their_statement() {
    let body = [9, 0, 0, 0, 0, 0, 1, 0, 2, 0, 1, 0xff];
    let error = Decoder::new(Flavor::Mysql).parse(&event(30, 0, 0, &body, false)).unwrap_err();
    assert!(error.to_string().contains("TABLE_MAP"), "{error}");
    let ends_statement = [0xff, 0xff, 0xff, 0, 0, 0, 1, 0, 2, 0, 0];
    assert_eq!(read(Flavor::Mysql, 30, &ends_statement), LogEvent::Ignored);
}
