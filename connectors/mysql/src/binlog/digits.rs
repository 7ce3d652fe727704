//! Numbers as text, written behind what a buffer holds already, without allocation.

use std::io::Write as _;

const PAIRS: &[u8; 200] = b"00010203040506070809101112131415161718192021222324252627282930313233343536373839\
    40414243444546474849505152535455565758596061626364656667686970717273747576777879\
    8081828384858687888990919293949596979899";

pub(super) fn push_u64(out: &mut Vec<u8>, mut value: u64) {
    let mut buffer = [0u8; 20];
    let mut at = buffer.len();
    while value >= 100 {
        at -= 2;
        buffer[at..at + 2].copy_from_slice(pair(value % 100));
        value /= 100;
    }
    if value >= 10 {
        at -= 2;
        buffer[at..at + 2].copy_from_slice(pair(value));
    } else {
        at -= 1;
        buffer[at] = b'0' + (value % 10) as u8;
    }
    out.extend_from_slice(&buffer[at..]);
}

pub(super) fn push_i64(out: &mut Vec<u8>, value: i64) {
    if value < 0 {
        out.push(b'-');
    }
    push_u64(out, value.unsigned_abs());
}

/// With zeros before it up to `width` digits.
pub(super) fn push_padded(out: &mut Vec<u8>, value: u64, width: usize) {
    if width == 2 && value < 100 {
        return out.extend_from_slice(pair(value));
    }
    let digits = value.checked_ilog10().unwrap_or(0) as usize + 1;
    out.extend(std::iter::repeat_n(b'0', width.saturating_sub(digits)));
    push_u64(out, value);
}

fn pair(value: u64) -> &'static [u8] {
    let at = (value % 100) as usize * 2;
    &PAIRS[at..at + 2]
}

/// The shortest decimal that reads back as the same number, with an exponent where that is shorter.
pub(super) fn push_f64(out: &mut Vec<u8>, value: f64) {
    let size = value.abs();
    let written =
        if value != 0.0 && !(1e-5..1e16).contains(&size) { write!(out, "{value:e}") } else { write!(out, "{value}") };
    written.expect("a buffer in memory takes all");
}

/// The same for 32 bits.
pub(super) fn push_f32(out: &mut Vec<u8>, value: f32) {
    let size = value.abs();
    let written =
        if value != 0.0 && !(1e-5..1e16).contains(&size) { write!(out, "{value:e}") } else { write!(out, "{value}") };
    written.expect("a buffer in memory takes all");
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn numbers_are_printed_as_rust_prints_them(value: i64, shift in 0..64u32, width in 0..12usize) {
            let value = value >> shift;
            let mut out = b"x".to_vec();
            push_i64(&mut out, value);
            prop_assert_eq!(String::from_utf8(out).unwrap(), format!("x{value}"));
            let mut out = Vec::new();
            push_padded(&mut out, value.unsigned_abs(), width);
            prop_assert_eq!(String::from_utf8(out).unwrap(), format!("{:0width$}", value.unsigned_abs()));
        }

        #[test]
        fn floats_read_back(value: f64) {
            let mut out = Vec::new();
            push_f64(&mut out, value);
            let text = String::from_utf8(out).unwrap();
            prop_assert_eq!(text.parse::<f64>().unwrap().to_bits(), value.to_bits());
            prop_assert!(text.len() <= 24);
        }
    }
}
