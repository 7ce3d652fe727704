//! What the fuzzers run: the decoders of `tests/hostile.rs`.

#[path = "../tests/hostile/decoders.rs"]
mod decoders;

/// Runs a decoder by its name.
pub fn run(name: &str, data: &[u8]) {
    let decoder = decoders::DECODERS.iter().find(|decoder| decoder.name == name);
    (decoder.expect("each target is named after a decoder").run)(data);
}
