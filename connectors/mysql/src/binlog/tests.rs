//! Logs that real servers wrote, against what the servers' SELECT printed afterwards; and damaged ones.

mod damage;
mod events;
mod fixture;
mod forms;

use super::event::{LogEvent, RowsKind};
use super::rows::RowDecoder;
use super::table_map::TableMap;
use super::{Decoder, Header};
use crate::connection::Flavor;
use crate::gtid::{Gtid, GtidSet};
use crate::kind::Kind;
use bytes::Bytes;
use fixture::{Fixture, Replica, Seen};

/// Replays the log and compares every cell of every table with what the server said.
fn check(name: &str) -> Seen {
    let fixture = Fixture::read(name);
    let mut replica = Replica::new(&fixture);
    for raw in fixture.events() {
        replica.apply(&raw).unwrap();
    }
    for table in &fixture.tables {
        replica.compare(table);
    }
    replica.seen
}

#[test]
fn every_type_of_mariadb() {
    let seen = check("mariadb-10.11-types");
    assert!(seen.texts.contains(&"gtid 0-1-1".to_owned()));
    assert!(seen.texts.iter().any(|seen| seen.starts_with("rows query insert into types")));
}

/// And images after an update without what did not change (`binlog_row_image = FULL_NODUP`).
#[test]
fn newer_types_of_mariadb() {
    check("mariadb-11.8-types");
}

#[test]
fn every_type_of_mysql() {
    let seen = check("mysql-9.7-types");
    assert!(seen.texts.iter().any(|seen| seen == "commit time"));
}

/// `binlog_row_metadata = FULL`, whose fields count only some of the columns.
#[test]
fn metadata_is_of_the_right_columns() {
    for name in ["mariadb-10.11-types", "mariadb-11.8-types", "mysql-9.7-types"] {
        let fixture = Fixture::read(name);
        for table in &fixture.tables {
            let map = fixture.table_map(&table.name);
            assert_eq!(map.metadata.primary_key, Some(vec![0]));
            let names: Vec<&String> = table.form.iter().map(|(name, _)| name).collect();
            assert_eq!(map.names().unwrap().iter().collect::<Vec<_>>(), names);
            for (index, (name, kind)) in table.form.iter().enumerate() {
                check_metadata(&map, index, name, kind);
            }
        }
    }
}

fn check_metadata(map: &TableMap, index: usize, name: &str, kind: &Kind) {
    const BINARY: u64 = 63;
    match kind {
        Kind::Int { unsigned, .. } => assert_eq!(map.is_unsigned(index), Some(*unsigned), "{name}"),
        Kind::Char { charset, .. } | Kind::Varchar { charset, .. } | Kind::Text { charset, .. } => {
            let collation = map.collation(index).unwrap();
            assert_ne!(collation, BINARY, "{name}");
            let latin1 = [5, 8, 15, 31, 47, 48, 49, 94].contains(&collation);
            assert_eq!(latin1, charset == "latin1", "{name} {collation}");
        }
        Kind::Binary { .. } | Kind::Varbinary { .. } | Kind::Blob { .. } => {
            assert_eq!(map.collation(index), Some(BINARY), "{name}");
        }
        Kind::Enum { labels, .. } | Kind::Set { labels, .. } => {
            let logged = map.labels(index).unwrap().iter().map(|label| String::from_utf8(label.clone()).unwrap());
            assert_eq!(logged.collect::<Vec<_>>(), *labels, "{name}");
        }
        _ => {}
    }
}

#[test]
fn every_type_of_mysql_5_6() {
    check("mysql-5.6-types");
}

#[test]
fn compressed_events_of_mariadb() {
    let seen = check("mariadb-10.11-compressed");
    assert!(seen.types.contains(&165) && seen.types.iter().any(|code| (166..=171).contains(code)));
}

#[test]
fn compressed_transactions_of_mysql() {
    let seen = check("mysql-9.7-payload");
    assert!(seen.types.contains(&40));
}

#[test]
fn minimal_row_images() {
    for name in ["mariadb-10.11-minimal", "mysql-9.7-minimal", "mysql-5.6-minimal"] {
        let seen = check(name);
        assert!(seen.unchanged > 0, "{name} has an image that lacks columns");
    }
}

#[test]
fn row_images_without_blobs() {
    for name in ["mariadb-10.11-noblob", "mysql-9.7-noblob"] {
        assert!(check(name).unchanged > 0);
    }
}

#[test]
fn json_as_differences() {
    let seen = check("mysql-9.7-partial-json");
    assert!(seen.types.contains(&39));
}
