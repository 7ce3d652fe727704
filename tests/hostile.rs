//! Every decoder of bytes that come from outside, with valid inputs that were damaged: an error, never a panic, and never
//! memory beyond the order of the input's size, whatever a length in it claims.
//!
//! The same decoders run longer in `fuzz/`, led by what they have covered (docs/fuzzing.md).

#![allow(clippy::unwrap_used)]

#[path = "hostile/decoders.rs"]
mod decoders;

use decoders::{DECODERS, Decoder};
use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::{RngAlgorithm, TestError, TestRng, TestRunner};
use rowferry_testkit::Random;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::Path;

/// One damage. Places count from the input's start and wrap.
#[derive(Debug, Clone)]
enum Damage {
    FlipBit(Index, u8),
    Set(Index, u8),
    /// A length of 2, 4 or 8 bytes that nothing can have.
    Huge(Index, usize),
    Insert(Index, Vec<u8>),
    Remove(Index, usize),
    /// A part again, behind itself.
    Repeat(Index, usize, usize),
    Cut(Index),
    /// What follows is another input's.
    Splice(Index, Index, Index),
}

fn damage() -> impl Strategy<Value = Damage> {
    let at = any::<Index>;
    prop_oneof![
        (at(), 0..8u8).prop_map(|(at, bit)| Damage::FlipBit(at, bit)),
        (at(), any::<u8>()).prop_map(|(at, byte)| Damage::Set(at, byte)),
        (at(), prop::sample::select(vec![2, 4, 8])).prop_map(|(at, bytes)| Damage::Huge(at, bytes)),
        (at(), prop::collection::vec(any::<u8>(), 1..12)).prop_map(|(at, bytes)| Damage::Insert(at, bytes)),
        (at(), 1..40usize).prop_map(|(at, len)| Damage::Remove(at, len)),
        (at(), 1..40usize, 1..200usize).prop_map(|(at, len, times)| Damage::Repeat(at, len, times)),
        at().prop_map(Damage::Cut),
        (at(), at(), at()).prop_map(|(at, which, from)| Damage::Splice(at, which, from)),
    ]
}

fn damaged(seeds: &[Vec<u8>], which: Index, damages: &[Damage]) -> Vec<u8> {
    let mut bytes = which.get(seeds).clone();
    for damage in damages {
        let len = bytes.len();
        match damage {
            _ if len == 0 => break,
            Damage::FlipBit(at, bit) => bytes[at.index(len)] ^= 1 << bit,
            Damage::Set(at, byte) => bytes[at.index(len)] = *byte,
            Damage::Huge(at, count) => bytes[at.index(len)..].iter_mut().take(*count).for_each(|byte| *byte = 0xff),
            Damage::Insert(at, more) => drop(bytes.splice(at.index(len)..at.index(len), more.iter().copied())),
            Damage::Remove(at, count) => drop(bytes.drain(at.index(len)..(at.index(len) + count).min(len))),
            Damage::Repeat(at, count, times) => {
                let part = bytes[at.index(len)..(at.index(len) + count).min(len)].repeat(*times);
                bytes.splice(at.index(len)..at.index(len), part);
            }
            Damage::Cut(at) => bytes.truncate(at.index(len)),
            Damage::Splice(at, which, from) => {
                let other = which.get(seeds);
                bytes.truncate(at.index(len));
                bytes.extend(&other[from.index(other.len())..]);
            }
        }
    }
    bytes
}

/// The most memory that a run had at a time.
fn peak(decoder: &Decoder, input: &[u8]) -> usize {
    // The counter must see the end of what it measures, also of a panic.
    let mut ended = Ok(());
    let run = || ended = catch_unwind(AssertUnwindSafe(|| (decoder.run)(input)));
    let peak = allocation_counter::measure(run).bytes_max;
    ended.unwrap_or_else(|panic| resume_unwind(panic));
    usize::try_from(peak).unwrap()
}

fn check(name: &str, cases: u32) {
    let decoder = DECODERS.iter().find(|decoder| decoder.name == name).unwrap();
    let seeds = (decoder.seeds)();
    assert!(!seeds.is_empty() && seeds.iter().all(|seed| !seed.is_empty()));
    let (start, per_byte) = decoder.memory;
    let check = |input: &[u8]| {
        let (peak, allowed) = (peak(decoder, input), start + per_byte * input.len());
        prop_assert!(peak <= allowed, "{peak} bytes for an input of {}, {allowed} are allowed", input.len());
        Ok(())
    };
    for seed in &seeds {
        check(seed).unwrap();
    }
    let mut random = Random::from_env();
    let seed: Vec<u8> = std::iter::repeat_with(|| random.number().to_le_bytes()).take(4).flatten().collect();
    let config = ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &seed));
    let inputs = (any::<Index>(), prop::collection::vec(damage(), 1..12));
    let result = runner.run(&inputs, |(which, damages)| check(&damaged(&seeds, which, &damages)));
    match result {
        Err(TestError::Fail(reason, (which, damages))) => {
            let path = std::env::temp_dir().join(format!("rowferry-hostile-{name}"));
            std::fs::write(&path, damaged(&seeds, which, &damages)).unwrap();
            panic!("{reason}; the input is in {0}: `cargo fuzz run {name} {0}` repeats it", path.display());
        }
        result => result.unwrap(),
    }
}

/// Writes the valid inputs into a folder, for the fuzzers to start from, if `ROWFERRY_CORPUS` names one.
#[test]
fn corpus() {
    let Ok(corpus) = std::env::var("ROWFERRY_CORPUS") else { return };
    for decoder in &DECODERS {
        let folder = Path::new(&corpus).join(decoder.name);
        std::fs::create_dir_all(&folder).unwrap();
        for (number, seed) in (decoder.seeds)().iter().enumerate() {
            std::fs::write(folder.join(format!("seed-{number}")), seed).unwrap();
        }
    }
}

#[test]
fn messages_of_pgoutput() {
    check("pgoutput", 4000);
}

#[test]
fn binary_logs() {
    check("binlog", 1500);
}

#[test]
fn compressed_transactions() {
    check("payload", 500);
}

#[test]
fn documents_of_mysql() {
    check("json", 6000);
}

#[test]
fn differences_of_documents() {
    check("json_differences", 6000);
}

#[test]
fn statements() {
    check("statement", 3000);
}

#[test]
fn records_of_the_state() {
    check("state", 3000);
}

#[test]
fn rows_and_keys() {
    check("row", 6000);
}

#[test]
fn configurations() {
    check("configuration", 400);
}
