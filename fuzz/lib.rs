//! What the fuzzers run: the decoders of `tests/hostile.rs`.

// What only the test needs of them: inputs to start from, and the memory that is allowed.
#[allow(dead_code)]
#[path = "../tests/hostile/decoders.rs"]
mod decoders;

/// Runs a decoder by its name.
pub fn run(name: &str, data: &[u8]) {
    let decoder = decoders::DECODERS.iter().find(|decoder| decoder.name == name);
    (decoder.expect("each target is named after a decoder").run)(data);
}
