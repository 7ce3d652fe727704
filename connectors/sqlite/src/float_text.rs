//! Floats as PostgreSQL prints them (`float8out` with `extra_float_digits` above 0), byte for byte, so that keys of
//! floats have one text at both ends. Rust's shortest digits differ in form (`1e20`, `1e+20`) and, rarely, in the digits:
//! PostgreSQL does not use a decimal that lies exactly between two floats, and of two decimals that are equally near it
//! takes the even one. Compared with PostgreSQL 15 over 640,000 floats, the rare cases among them.

use std::fmt::Write;

/// Longest: sign, 17 digits, point, `e`, sign, three digits; or sign, `0.`, three zeros, 17 digits.
const MAX_LEN: usize = 32;

/// Text on the stack.
#[derive(Default, Clone, Copy)]
pub(crate) struct FloatText {
    bytes: [u8; MAX_LEN],
    len: usize,
}

impl FloatText {
    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    fn push(&mut self, bytes: &[u8]) {
        self.bytes[self.len..self.len + bytes.len()].copy_from_slice(bytes);
        self.len += bytes.len();
    }

    fn zeros(&mut self, count: i32) {
        (0..count).for_each(|_| self.push(b"0"));
    }
}

impl Write for FloatText {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        if self.len + text.len() > MAX_LEN {
            return Err(std::fmt::Error);
        }
        self.push(text.as_bytes());
        Ok(())
    }
}

/// The text of a `float8`.
pub(crate) fn float8(value: f64) -> FloatText {
    let shape = Shape {
        mantissa_bits: 52,
        bias: 1075,
        bits: value.to_bits() & !(1 << 63),
        fixed_below: 15,
        print: &|precision| scientific(value.abs(), precision),
        reads_back: &|text| text.parse::<f64>().is_ok_and(|back| back.to_bits() == value.abs().to_bits()),
    };
    text(value, &shape)
}

/// The text of a `float4`.
pub(crate) fn float4(value: f32) -> FloatText {
    let shape = Shape {
        mantissa_bits: 23,
        bias: 150,
        bits: u64::from(value.to_bits() & !(1 << 31)),
        fixed_below: 6,
        print: &|precision| scientific(value.abs(), precision),
        reads_back: &|text| text.parse::<f32>().is_ok_and(|back| back.to_bits() == value.abs().to_bits()),
    };
    text(f64::from(value), &shape)
}

/// What is known of one float, whatever its width.
struct Shape<'a> {
    mantissa_bits: u32,
    /// Subtracted from the exponent field so that the mantissa counts as a whole number.
    bias: i32,
    /// Without the sign.
    bits: u64,
    /// Decimal exponents from -4 to below this one are printed without `e`.
    fixed_below: i32,
    /// `d.ddde-7`, with the shortest digits or with so many after the point.
    print: &'a dyn Fn(Option<usize>) -> FloatText,
    reads_back: &'a dyn Fn(&str) -> bool,
}

impl Shape<'_> {
    /// The float as a whole number times a power of two.
    fn parts(&self) -> (u64, i32) {
        let field = (self.bits >> self.mantissa_bits) as i32;
        let fraction = self.bits & ((1 << self.mantissa_bits) - 1);
        let mantissa = if field == 0 { fraction } else { fraction | 1 << self.mantissa_bits };
        (mantissa, field.max(1) - self.bias)
    }
}

fn scientific<F: std::fmt::LowerExp>(value: F, precision: Option<usize>) -> FloatText {
    let mut text = FloatText::default();
    let written = match precision {
        None => write!(text, "{value:e}"),
        Some(precision) => write!(text, "{value:.precision$e}"),
    };
    written.expect("17 digits and an exponent fit");
    text
}

fn text(value: f64, shape: &Shape<'_>) -> FloatText {
    let mut out = FloatText::default();
    if value.is_nan() {
        out.push(b"NaN");
        return out;
    }
    if value.is_sign_negative() {
        out.push(b"-");
    }
    if value.is_infinite() {
        out.push(b"Infinity");
    } else if value == 0.0 {
        out.push(b"0");
    } else {
        layout(&digits(shape), shape.fixed_below, &mut out);
    }
    out
}

/// Decimal digits with a point after the first, times ten to the exponent.
struct Decimal {
    digits: u64,
    len: i32,
    exponent: i32,
}

impl Decimal {
    fn parse(text: &FloatText) -> Self {
        let (mut digits, mut len, mut exponent, mut negative, mut after) = (0u64, 0, 0, false, false);
        for &byte in text.as_bytes() {
            match byte {
                b'e' => after = true,
                b'-' => negative = true,
                b'0'..=b'9' if after => exponent = exponent * 10 + i32::from(byte - b'0'),
                b'0'..=b'9' => (digits, len) = (digits * 10 + u64::from(byte - b'0'), len + 1),
                _ => {}
            }
        }
        Self { digits, len, exponent: if negative { -exponent } else { exponent } }
    }

    /// `123e-45`, which reads back without a point.
    fn reads_as(&self) -> FloatText {
        let mut text = FloatText::default();
        write!(text, "{}e{}", self.digits, self.power()).expect("17 digits and an exponent fit");
        text
    }

    /// The power of ten of the last digit.
    fn power(&self) -> i32 {
        self.exponent + 1 - self.len
    }
}

/// The shortest digits that lie strictly between the two neighbours' midpoints.
fn digits(shape: &Shape<'_>) -> Decimal {
    let shortest = Decimal::parse(&(shape.print)(None));
    let fits = |decimal: &Decimal| {
        let text = decimal.reads_as();
        let text = std::str::from_utf8(text.as_bytes()).expect("digits are ASCII");
        (shape.reads_back)(text) && !is_midpoint(decimal, shape)
    };
    if let Some(even) = even_of_two(&shortest, shape)
        && fits(&even)
    {
        return even;
    }
    // Rust takes a midpoint for even mantissas only.
    if shape.bits & 1 == 1 || !is_midpoint(&shortest, shape) {
        return shortest;
    }
    for digits in [shortest.digits + 1, shortest.digits - 1] {
        let beside = Decimal { digits, ..shortest };
        if digits.checked_ilog10() == shortest.digits.checked_ilog10() && fits(&beside) {
            return beside;
        }
    }
    let mut precision = shortest.len as usize;
    loop {
        let longer = Decimal::parse(&(shape.print)(Some(precision)));
        if fits(&longer) || precision >= 17 {
            return longer;
        }
        precision += 1;
    }
}

/// The even decimal beside an odd one, where the float lies exactly between them.
fn even_of_two(decimal: &Decimal, shape: &Shape<'_>) -> Option<Decimal> {
    if decimal.digits.is_multiple_of(2) {
        return None;
    }
    let (mantissa, exponent) = shape.parts();
    let half_beside = |twice| is_equal(twice, decimal.power(), mantissa, exponent + 1);
    let digits = if half_beside(2 * decimal.digits - 1) {
        decimal.digits - 1
    } else if half_beside(2 * decimal.digits + 1) {
        decimal.digits + 1
    } else {
        return None;
    };
    (digits.checked_ilog10() == decimal.digits.checked_ilog10()).then_some(Decimal { digits, ..*decimal })
}

fn is_midpoint(decimal: &Decimal, shape: &Shape<'_>) -> bool {
    let (mantissa, exponent) = shape.parts();
    let equals = |mantissa, exponent| is_equal(decimal.digits, decimal.power(), mantissa, exponent);
    // Below a power of two the floats lie closer.
    let closer_below = mantissa == 1 << shape.mantissa_bits && exponent > 1 - shape.bias;
    let below =
        if closer_below { equals(4 * mantissa - 1, exponent - 2) } else { equals(2 * mantissa - 1, exponent - 1) };
    below || equals(2 * mantissa + 1, exponent - 1)
}

/// Whether `a * 10^tens == b * 2^twos`, exactly. Where a product does not fit, the sides cannot be equal: `b` has at
/// most 55 bits and `a` at most 58, so that 5 to the power in question divides neither.
fn is_equal(a: u64, tens: i32, b: u64, twos: i32) -> bool {
    let fives = |power: i32| 5u128.checked_pow(power.unsigned_abs());
    let (left, right) = if tens >= 0 {
        (fives(tens).and_then(|five| five.checked_mul(a.into())), Some(u128::from(b)))
    } else {
        (Some(u128::from(a)), fives(tens).and_then(|five| five.checked_mul(b.into())))
    };
    let (Some(left), Some(right)) = (left, right) else {
        return false;
    };
    let (left_zeros, right_zeros) = (left.trailing_zeros() as i32 + tens, right.trailing_zeros() as i32 + twos);
    left_zeros == right_zeros && left >> left.trailing_zeros() == right >> right.trailing_zeros()
}

fn layout(decimal: &Decimal, fixed_below: i32, out: &mut FloatText) {
    let mut plain = FloatText::default();
    // Zeros at the end come from Rust's digits only where there are none, so they carry no meaning.
    let mut number = decimal.digits;
    while number.is_multiple_of(10) {
        number /= 10;
    }
    write!(plain, "{number}").expect("20 digits fit");
    let digits = plain.as_bytes();
    let (len, exponent) = (digits.len() as i32, decimal.exponent);
    if !(-4..fixed_below).contains(&exponent) {
        out.push(&digits[..1]);
        if len > 1 {
            out.push(b".");
            out.push(&digits[1..]);
        }
        let sign = if exponent < 0 { '-' } else { '+' };
        write!(out, "e{sign}{:02}", exponent.abs()).expect("three digits fit");
    } else if exponent < 0 {
        out.push(b"0.");
        out.zeros(-exponent - 1);
        out.push(digits);
    } else if len <= exponent + 1 {
        out.push(digits);
        out.zeros(exponent + 1 - len);
    } else {
        let (whole, fraction) = digits.split_at(exponent as usize + 1);
        out.push(whole);
        out.push(b".");
        out.push(fraction);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check8(value: f64, text: &str) {
        assert_eq!(std::str::from_utf8(float8(value).as_bytes()).unwrap(), text);
    }

    fn check4(value: f32, text: &str) {
        assert_eq!(std::str::from_utf8(float4(value).as_bytes()).unwrap(), text);
    }

    #[test]
    fn float8_is_printed_as_postgres_prints_it() {
        // Taken from PostgreSQL 15.
        check8(0.0, "0");
        check8(-0.0, "-0");
        check8(f64::NAN, "NaN");
        check8(f64::NEG_INFINITY, "-Infinity");
        check8(1.5, "1.5");
        check8(100.0, "100");
        check8(-0.1, "-0.1");
        check8(0.0001, "0.0001");
        check8(0.00001, "1e-05");
        check8(1e14, "100000000000000");
        check8(1e15, "1e+15");
        check8(123456789012345680.0, "1.2345678901234568e+17");
        check8(5e-324, "5e-324");
        check8(f64::MAX, "1.7976931348623157e+308");
        check8(1e22, "1e+22");
        check8(1e23, "9.999999999999999e+22");
        check8(800_000_000_000_000.3, "800000000000000.2");
        check8(9007199254740993.0, "9.007199254740992e+15");
    }

    #[test]
    fn float4_is_printed_as_postgres_prints_it() {
        check4(0.1, "0.1");
        check4(100000.0, "100000");
        check4(1000000.0, "1e+06");
        check4(3.402_823_5e38, "3.4028235e+38");
        check4(1e-45, "1e-45");
        check4(16777216.0, "1.6777216e+07");
    }

    proptest! {
        #[test]
        fn every_text_reads_back_to_the_same_bits(bits in any::<u64>(), small in any::<u32>()) {
            let value = f64::from_bits(bits);
            let text = float8(value);
            let back: f64 = std::str::from_utf8(text.as_bytes()).unwrap().parse().unwrap();
            prop_assert!(back.to_bits() == bits || value.is_nan());
            let value = f32::from_bits(small);
            let text = float4(value);
            let back: f32 = std::str::from_utf8(text.as_bytes()).unwrap().parse().unwrap();
            prop_assert!(back.to_bits() == small || value.is_nan());
        }
    }
}
