//! DECIMAL's binary form: groups of nine decimal digits, the sign in the first bit (MySQL source, `decimal2bin`).

use super::digits::{push_padded, push_u64};
use super::reader::{CUT, Decoded, Malformed, be_uint};

const GROUP_DIGITS: usize = 9;
/// The bytes that a group of so many digits takes.
const GROUP_BYTES: [usize; GROUP_DIGITS + 1] = [0, 1, 1, 2, 2, 3, 3, 4, 4, 4];

/// Ten to the power of so many digits.
const POWERS: [u64; GROUP_DIGITS + 1] =
    [1, 10, 100, 1000, 10_000, 100_000, 1_000_000, 10_000_000, 100_000_000, 1_000_000_000];

/// How many bytes a value takes.
#[inline]
pub(super) fn binary_len(precision: u8, scale: u8) -> usize {
    let len = |digits: u8| {
        let digits = usize::from(digits);
        digits / GROUP_DIGITS * 4 + GROUP_BYTES[digits % GROUP_DIGITS]
    };
    len(precision.saturating_sub(scale)) + len(scale)
}

/// Appends the value's text: no leading zeros, all digits of the scale.
pub(super) fn push_decimal(out: &mut Vec<u8>, bytes: &[u8], precision: u8, scale: u8) -> Decoded<()> {
    const MAX_BYTES: usize = 32;
    let mut buffer = [0u8; MAX_BYTES];
    let buffer = buffer.get_mut(..bytes.len()).ok_or(CUT)?;
    buffer.copy_from_slice(bytes);
    let first = buffer.first_mut().ok_or(CUT)?;
    let is_negative = *first & 0x80 == 0;
    *first ^= 0x80;
    if is_negative {
        buffer.iter_mut().for_each(|byte| *byte = !*byte);
        if buffer.iter().any(|byte| *byte != 0) {
            out.push(b'-');
        }
    }
    let (integer, scale) = (usize::from(precision.saturating_sub(scale)), usize::from(scale));
    let mut groups = Groups { rest: buffer };
    // Before the point the short group comes first, behind it last.
    let mut is_zero = true;
    let mut push_whole = |out: &mut Vec<u8>, digits| -> Decoded<()> {
        let value = groups.next(digits)?;
        if !is_zero {
            push_padded(out, value, digits);
        } else if value != 0 {
            is_zero = false;
            push_u64(out, value);
        }
        Ok(())
    };
    push_whole(out, integer % GROUP_DIGITS)?;
    for _ in 0..integer / GROUP_DIGITS {
        push_whole(out, GROUP_DIGITS)?;
    }
    if is_zero {
        out.push(b'0');
    }
    if scale > 0 {
        out.push(b'.');
        for _ in 0..scale / GROUP_DIGITS {
            push_padded(out, groups.next(GROUP_DIGITS)?, GROUP_DIGITS);
        }
        let last = scale % GROUP_DIGITS;
        if last > 0 {
            push_padded(out, groups.next(last)?, last);
        }
    }
    Ok(())
}

/// Takes groups of digits off the front; positive by now.
struct Groups<'a> {
    rest: &'a [u8],
}

impl Groups<'_> {
    fn next(&mut self, digits: usize) -> Decoded<u64> {
        let (bytes, after) = self.rest.split_at_checked(GROUP_BYTES[digits]).ok_or(CUT)?;
        self.rest = after;
        let value = be_uint(bytes);
        if value < POWERS[digits] { Ok(value) } else { Err(Malformed("a decimal has a group of too many digits")) }
    }
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
