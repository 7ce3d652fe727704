//! See `tests/hostile/decoders.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| rowferry_fuzz::run("json_differences", data));
