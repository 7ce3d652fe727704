//! DECIMAL's binary form: groups of nine decimal digits, the sign in the first bit (MySQL source, `decimal2bin`).

use super::digits::push_padded;
use super::reader::{CUT, Decoded, Malformed, be_uint};

const DIGITS_PER_GROUP: usize = 9;
/// The bytes that a group of so many digits takes.
const GROUP_BYTES: [usize; DIGITS_PER_GROUP + 1] = [0, 1, 1, 2, 2, 3, 3, 4, 4, 4];

/// How many bytes a value takes.
#[inline]
pub(super) fn binary_len(precision: u8, scale: u8) -> usize {
    let len = |digits: u8| {
        let digits = usize::from(digits);
        digits / DIGITS_PER_GROUP * 4 + GROUP_BYTES[digits % DIGITS_PER_GROUP]
    };
    len(precision.saturating_sub(scale)) + len(scale)
}

/// Appends the value's text: no leading zeros, all digits of the scale.
pub(super) fn push_decimal(out: &mut Vec<u8>, bytes: &[u8], precision: u8, scale: u8) -> Decoded<()> {
    let mut buffer = [0u8; 32];
    let buffer = buffer.get_mut(..bytes.len()).ok_or(CUT)?;
    buffer.copy_from_slice(bytes);
    let first = buffer.first_mut().ok_or(CUT)?;
    let is_negative = *first & 0x80 == 0;
    *first ^= 0x80;
    if is_negative {
        buffer.iter_mut().for_each(|byte| *byte = !*byte);
    }
    let start = out.len();
    let (integer, scale) = (usize::from(precision.saturating_sub(scale)), usize::from(scale));
    let mut rest: &[u8] = buffer;
    let mut group = |out: &mut Vec<u8>, digits: usize| -> Decoded<()> {
        let (bytes, after) = rest.split_at_checked(GROUP_BYTES[digits]).ok_or(CUT)?;
        rest = after;
        let value = be_uint(bytes);
        if value >= 10u64.pow(digits as u32) {
            return Err(Malformed("a decimal has a group of too many digits"));
        }
        push_padded(out, value, digits);
        Ok(())
    };
    // Before the point the short group comes first, behind it last.
    if integer % DIGITS_PER_GROUP > 0 {
        group(out, integer % DIGITS_PER_GROUP)?;
    }
    for _ in 0..integer / DIGITS_PER_GROUP {
        group(out, DIGITS_PER_GROUP)?;
    }
    let point = out.len();
    for _ in 0..scale / DIGITS_PER_GROUP {
        group(out, DIGITS_PER_GROUP)?;
    }
    if scale % DIGITS_PER_GROUP > 0 {
        group(out, scale % DIGITS_PER_GROUP)?;
    }
    set_out(out, start, point, is_negative);
    Ok(())
}

/// Puts sign and point in, and takes leading zeros out.
fn set_out(out: &mut Vec<u8>, start: usize, point: usize, is_negative: bool) {
    let is_zero = out[start..].iter().all(|digit| *digit == b'0');
    if point < out.len() {
        out.insert(point, b'.');
    }
    let zeros = out[start..point].iter().take_while(|digit| **digit == b'0').count();
    let sign: &[u8] = if is_negative && !is_zero { b"-" } else { b"" };
    let kept_zero: &[u8] = if zeros == point - start { b"0" } else { b"" };
    out.splice(start..start + zeros, sign.iter().chain(kept_zero).copied());
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn text(bytes: &[u8], precision: u8, scale: u8) -> String {
        let mut out = b"x".to_vec();
        push_decimal(&mut out, bytes, precision, scale).unwrap();
        String::from_utf8(out).unwrap().split_off(1)
    }

    #[test]
    fn values_of_the_servers_documentation() {
        // 1234567890.1234 in decimal(14,4), both signs: the example of decimal2bin.
        let plus = [0x81, 0x0d, 0xfb, 0x38, 0xd2, 0x04, 0xd2];
        let minus = plus.map(|byte: u8| !byte);
        assert_eq!(binary_len(14, 4), plus.len());
        assert_eq!(text(&plus, 14, 4), "1234567890.1234");
        assert_eq!(text(&minus, 14, 4), "-1234567890.1234");
    }

    #[test]
    fn zeros_and_points() {
        assert_eq!(text(&[0x80], 1, 0), "0");
        assert_eq!(text(&[0x80, 0], 3, 2), "0.00");
        assert_eq!(text(&[0x7f, 0xfe], 3, 2), "-0.01");
        assert_eq!(text(&[0x81], 2, 2), "0.01");
        assert_eq!(text(&[0x80, 0x07], 4, 0), "7");
        assert!(push_decimal(&mut Vec::new(), &[0xe4], 2, 2).is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_number_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..40), precision in 0..=65u8, scale in 0..=65u8) {
            let scale = scale.min(precision);
            let mut out = Vec::new();
            let _ = push_decimal(&mut out, &bytes, precision, scale);
            prop_assert!(out.len() <= 70);
        }
    }
}
