//! Logs that are cut short, changed in single bits, or made of anything: errors, never a panic or a huge buffer.

use super::fixture::{Fixture, Replica};
use super::*;
use proptest::prelude::*;
use rowferry_api::ErrorKind;

/// Each with rows of most types.
const FIXTURES: [&str; 5] = [
    "mariadb-10.11-types",
    "mysql-9.7-types",
    "mysql-9.7-partial-json",
    "mariadb-10.11-compressed",
    "mysql-9.7-payload",
];

/// A fixture's events with checksums turned off, so that what is damaged is read.
fn without_checksums(fixture: &Fixture) -> Vec<Bytes> {
    fixture
        .events()
        .iter()
        .map(|raw| {
            let mut event = raw.to_vec();
            if event[4] == 15 {
                let at = event.len() - 5;
                event[at] = 0;
            } else {
                event.truncate(event.len() - 4);
            }
            with_size(event)
        })
        .collect()
}

fn with_size(mut event: Vec<u8>) -> Bytes {
    let size = event.len() as u32;
    event[9..13].copy_from_slice(&size.to_le_bytes());
    event.into()
}

#[test]
fn a_changed_bit_is_seen_by_the_checksum() {
    let fixture = Fixture::read("mysql-9.7-partial-json");
    let events = fixture.events();
    for at in 19..events[5].len() {
        let mut decoder = Decoder::new(fixture.flavor);
        decoder.parse(&events[0]).unwrap();
        let mut damaged = events[5].to_vec();
        damaged[at] ^= 4;
        let error = decoder.parse(&damaged.into()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Protocol);
        assert!(error.to_string().contains("checksum"), "{error}");
    }
}

#[test]
fn events_that_are_cut_short_are_errors() {
    for name in FIXTURES {
        let fixture = Fixture::read(name);
        for raw in fixture.events() {
            for len in 0..raw.len() {
                assert!(Decoder::new(fixture.flavor).parse(&raw.slice(..len)).is_err());
            }
        }
    }
}

/// With the size in the header made to fit, so that the body is read.
#[test]
fn bodies_that_are_cut_short_do_not_panic() {
    for name in FIXTURES {
        let fixture = Fixture::read(name);
        let events = without_checksums(&fixture);
        let mut replica = Replica::new(&fixture);
        for raw in &events {
            for len in (19..raw.len()).step_by(7) {
                let _ = replica.damaged(&with_size(raw[..len].to_vec()));
            }
            let _ = replica.damaged(raw);
        }
    }
}

proptest! {
    #[test]
    fn changed_bytes_do_not_panic(which in 0..FIXTURES.len(), changes in prop::collection::vec((any::<u16>(), any::<u8>()), 1..40)) {
        let fixture = Fixture::read(FIXTURES[which]);
        let mut events: Vec<Vec<u8>> = without_checksums(&fixture).iter().map(|raw| raw.to_vec()).collect();
        let count = events.len();
        for (at, byte) in changes {
            let event = &mut events[1 + usize::from(at) % (count - 1)];
            let len = event.len();
            event[19 + usize::from(at / 7) % (len - 19)] = byte;
        }
        let mut replica = Replica::new(&fixture);
        for event in events {
            let _ = replica.damaged(&event.into());
        }
    }

    #[test]
    fn any_body_is_an_event_or_an_error(code: u8, flags: u16, body in prop::collection::vec(any::<u8>(), 0..200)) {
        for flavor in [Flavor::Mysql, Flavor::Mariadb] {
            let mut event = vec![0; 19];
            event[4] = code;
            event[17..].copy_from_slice(&flags.to_le_bytes());
            event.extend(&body);
            let raw = with_size(event);
            let _ = Decoder::new(flavor).parse(&raw);
            if let Ok((_, LogEvent::Payload(payload))) = Decoder::new(flavor).parse_inner(&raw) {
                payload.events().for_each(drop);
            }
        }
    }
}
