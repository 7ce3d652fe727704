use super::*;
use proptest::prelude::*;
use std::collections::BTreeSet;

const A: &str = "3e11fa47-71ca-11e1-9e33-c80aa9429562";
const B: &str = "4350f323-7565-4e59-8763-4b1b83a0ce0e";

fn mysql(text: &str) -> GtidSet {
    GtidSet::parse(Flavor::Mysql, text).unwrap()
}

fn mariadb(text: &str) -> GtidSet {
    GtidSet::parse(Flavor::Mariadb, text).unwrap()
}

#[test]
fn sets_are_printed_as_the_server_prints_them() {
    let cases = [
        (String::new(), String::new()),
        (format!("{A}:1-5"), format!("{A}:1-5")),
        (format!("{}:7:1-5:6", A.to_uppercase()), format!("{A}:1-7")),
        (format!("{B}:9 ,\n {A}:1:3-3"), format!("{A}:1:3,{B}:9")),
        (format!("{A}:1-5:Red:1-3:7:blue:2"), format!("{A}:1-5:blue:2:red:1-3:7")),
        (format!("{A}:red:1-3"), format!("{A}:red:1-3")),
        (format!("{A}:5-3"), String::new()),
    ];
    for (text, expected) in cases {
        assert_eq!(mysql(&text).to_string(), expected, "{text}");
        assert_eq!(mysql(&expected), mysql(&text));
    }
    assert_eq!(mariadb("1-2-5, 0-1-100,0-3-90").to_string(), "0-1-100,1-2-5");
}

#[test]
fn what_is_no_set_is_an_error() {
    for text in
        ["hello", A.get(1..).unwrap(), &format!("{A}:0"), &format!("{A}:1-99999999999999999999"), &format!("{A}:1:")]
    {
        assert!(GtidSet::parse(Flavor::Mysql, text).is_err(), "{text}");
    }
    for text in ["0-1", "0-1-2-3", "a-1-1", "4294967296-1-1"] {
        assert!(GtidSet::parse(Flavor::Mariadb, text).is_err(), "{text}");
    }
}

#[test]
fn domains_are_compared_by_their_sequence() {
    let (mut set, later) = (mariadb("0-1-100,1-1-5"), mariadb("0-2-101,1-1-5,2-1-1"));
    assert!(set.is_subset(&later) && !later.is_subset(&set));
    assert!(set.contains(&Gtid::Mariadb { domain: 0, server: 9, sequence: 100 }));
    assert!(!set.contains(&Gtid::Mariadb { domain: 2, server: 1, sequence: 1 }));
    set.add(&Gtid::Mariadb { domain: 0, server: 3, sequence: 101 });
    assert_eq!(set.to_string(), "0-3-101,1-1-5");
    set.unite(&later);
    assert_eq!(set.to_string(), "0-3-101,1-1-5,2-1-1");
}

#[test]
fn a_dump_asks_with_all_intervals_and_tags() {
    let sids: Vec<String> = mysql(&format!("{A}:1-5:9:red:3,{B}:1")).sids().iter().map(ToString::to_string).collect();
    assert_eq!(sids, [format!("{A}:1-5:9"), format!("{A}:red:3"), format!("{B}:1")]);
}

/// A set as its numbers.
type Model = BTreeSet<(bool, u64)>;

fn build(ranges: &[(bool, u64, u64)]) -> (GtidSet, Model) {
    let (mut set, mut model) = (GtidSet::new(Flavor::Mysql), Model::new());
    for (tagged, start, len) in ranges {
        let source = SourceId { uuid: [7; 16], tag: if *tagged { "red".into() } else { String::new() } };
        for number in *start..start + len {
            set.add(&Gtid::Mysql { source: source.clone(), number });
            model.insert((*tagged, number));
        }
    }
    (set, model)
}

proptest! {
    #[test]
    fn a_set_is_its_numbers(
        left in prop::collection::vec((any::<bool>(), 1..60u64, 0..8u64), 0..12),
        right in prop::collection::vec((any::<bool>(), 1..60u64, 0..8u64), 0..12),
    ) {
        let ((mut set, mut model), (other, other_model)) = (build(&left), build(&right));
        prop_assert_eq!(&mysql(&set.to_string()), &set);
        prop_assert_eq!(set.is_subset(&other), model.is_subset(&other_model));
        for tagged in [false, true] {
            for number in 0..70 {
                let source = SourceId { uuid: [7; 16], tag: if tagged { "red".into() } else { String::new() } };
                prop_assert_eq!(set.contains(&Gtid::Mysql { source, number }), model.contains(&(tagged, number)));
            }
        }
        set.unite(&other);
        model.extend(&other_model);
        let ranges: Vec<(bool, u64, u64)> = model.iter().map(|(tagged, number)| (*tagged, *number, 1)).collect();
        prop_assert_eq!(set, build(&ranges).0);
    }

    #[test]
    fn any_text_is_a_set_or_an_error(text in "[0-9a-f:, -]{0,80}") {
        for flavor in [Flavor::Mysql, Flavor::Mariadb] {
            if let Ok(set) = GtidSet::parse(flavor, &text) {
                prop_assert_eq!(GtidSet::parse(flavor, &set.to_string()).unwrap(), set);
            }
        }
    }
}
