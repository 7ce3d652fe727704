//! Dates and times in all their binary forms, as text.

use super::digits::push_padded;
use super::reader::{CUT, Decoded, be_uint, le_uint};

/// DATE: 3 bytes, day in 5 bits, month in 4, year above.
pub(super) fn push_date(out: &mut Vec<u8>, bytes: &[u8]) {
    let value = le_uint(bytes);
    push_ymd(out, value >> 9, value >> 5 & 15, value & 31);
}

/// TIME of 5.5: 3 bytes, signed, `hhmmss` as a decimal number.
pub(super) fn push_old_time(out: &mut Vec<u8>, bytes: &[u8]) {
    let value = sign_extended(bytes);
    let size = value.unsigned_abs();
    if value < 0 {
        out.push(b'-');
    }
    push_hms(out, size / 10_000, size / 100 % 100, size % 100);
}

/// DATETIME of 5.5: 8 bytes, `yyyymmddhhmmss` as a decimal number.
pub(super) fn push_old_datetime(out: &mut Vec<u8>, bytes: &[u8]) {
    let value = le_uint(bytes);
    let (date, time) = (value / 1_000_000, value % 1_000_000);
    push_ymd(out, date / 10_000, date / 100 % 100, date % 100);
    out.push(b' ');
    push_hms(out, time / 10_000, time / 100 % 100, time % 100);
}

/// TIMESTAMP of 5.5: 4 bytes, seconds since 1970.
pub(super) fn push_old_timestamp(out: &mut Vec<u8>, bytes: &[u8]) {
    push_timestamp_parts(out, le_uint(bytes), 0);
}

/// TIME from 5.6.4 on: big-endian, hours in 10 bits, minutes and seconds in 6, then the fraction; an offset makes all
/// values positive.
pub(super) fn push_time(out: &mut Vec<u8>, bytes: &[u8]) {
    let fraction_bits = bytes.len().saturating_sub(3) as u32 * 8;
    let packed = (be_uint(bytes) as i64).wrapping_sub(0x80_0000 << fraction_bits);
    if packed < 0 {
        out.push(b'-');
    }
    let packed = packed.unsigned_abs();
    let whole = packed >> fraction_bits;
    push_hms(out, whole >> 12 & 1023, whole >> 6 & 63, whole & 63);
    push_fraction(out, micros(packed & ((1 << fraction_bits) - 1), fraction_bits));
}

/// DATETIME from 5.6.4 on: big-endian, year * 13 + month in 17 bits, day and hour in 5, minute and second in 6, then the
/// fraction; an offset as before.
pub(super) fn push_datetime(out: &mut Vec<u8>, bytes: &[u8]) -> Decoded<()> {
    let (whole, fraction) = bytes.split_at_checked(5).ok_or(CUT)?;
    push_packed_datetime(out, be_uint(whole) & 0x7f_ffff_ffff);
    push_fraction(out, micros(be_uint(fraction), fraction.len() as u32 * 8));
    Ok(())
}

/// TIMESTAMP from 5.6.4 on: big-endian seconds, then the fraction.
pub(super) fn push_timestamp(out: &mut Vec<u8>, bytes: &[u8]) -> Decoded<()> {
    let (seconds, fraction) = bytes.split_at_checked(4).ok_or(CUT)?;
    push_timestamp_parts(out, be_uint(seconds), micros(be_uint(fraction), fraction.len() as u32 * 8));
    Ok(())
}

/// A time or date inside of a JSON document: 8 bytes, always with six digits of the fraction.
pub(super) fn push_json_time(out: &mut Vec<u8>, bytes: &[u8]) {
    let packed = le_uint(bytes) as i64;
    if packed < 0 {
        out.push(b'-');
    }
    let packed = packed.unsigned_abs();
    let whole = packed >> 24;
    push_hms(out, whole >> 12 & 1023, whole >> 6 & 63, whole & 63);
    out.push(b'.');
    push_padded(out, packed & 0xff_ffff, 6);
}

/// The same of a DATETIME or TIMESTAMP; of a DATE without its time.
pub(super) fn push_json_datetime(out: &mut Vec<u8>, bytes: &[u8], is_date: bool) {
    let packed = le_uint(bytes);
    let whole = packed >> 24 & 0x7f_ffff_ffff;
    if is_date {
        let date = whole >> 17;
        return push_ymd(out, (date >> 5) / 13, (date >> 5) % 13, date & 31);
    }
    push_packed_datetime(out, whole);
    out.push(b'.');
    push_padded(out, packed & 0xff_ffff, 6);
}

fn push_packed_datetime(out: &mut Vec<u8>, packed: u64) {
    let (date, time) = (packed >> 17, packed & 0x1_ffff);
    push_ymd(out, (date >> 5) / 13, (date >> 5) % 13, date & 31);
    out.push(b' ');
    push_hms(out, time >> 12, time >> 6 & 63, time & 63);
}

/// In UTC. Second 0 of 1970 is no value of the type: it stands for the zero timestamp.
fn push_timestamp_parts(out: &mut Vec<u8>, seconds: u64, micros: u64) {
    if seconds == 0 && micros == 0 {
        return out.extend_from_slice(b"0000-00-00 00:00:00+00");
    }
    let (year, month, day) = civil_date(seconds / 86_400);
    push_ymd(out, year, month, day);
    out.push(b' ');
    let second = seconds % 86_400;
    push_hms(out, second / 3600, second / 60 % 60, second % 60);
    push_fraction(out, micros);
    out.extend_from_slice(b"+00");
}

/// Of the proleptic Gregorian calendar, from days since 1970. Years are counted from March on, so that a leap day is the
/// last of one; 400 of them have 146,097 days.
fn civil_date(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

fn push_ymd(out: &mut Vec<u8>, year: u64, month: u64, day: u64) {
    push_padded(out, year, 4);
    out.push(b'-');
    push_padded(out, month, 2);
    out.push(b'-');
    push_padded(out, day, 2);
}

fn push_hms(out: &mut Vec<u8>, hour: u64, minute: u64, second: u64) {
    push_padded(out, hour, 2);
    out.push(b':');
    push_padded(out, minute, 2);
    out.push(b':');
    push_padded(out, second, 2);
}

/// A fraction of one byte counts hundredths, of two ten thousandths, of three millionths.
fn micros(fraction: u64, bits: u32) -> u64 {
    match bits {
        8 => fraction * 10_000,
        16 => fraction * 100,
        _ => fraction,
    }
}

/// Without trailing zeros, and without a point if nothing is left.
fn push_fraction(out: &mut Vec<u8>, micros: u64) {
    if micros == 0 {
        return;
    }
    out.push(b'.');
    push_padded(out, micros, 6);
    while out.last() == Some(&b'0') {
        out.pop();
    }
}

/// A little-endian number of 1 to 8 bytes in two's complement.
#[inline]
pub(super) fn sign_extended(bytes: &[u8]) -> i64 {
    let unused = 64_u32.saturating_sub(bytes.len() as u32 * 8);
    (le_uint(bytes) << unused.min(63)) as i64 >> unused.min(63)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(push: impl Fn(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        push(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn forms_of_5_5() {
        assert_eq!(text(|out| push_date(out, &[0x8a, 0xd0, 0x0f])), "2024-04-10");
        assert_eq!(text(|out| push_date(out, &[0, 0, 0])), "0000-00-00");
        assert_eq!(text(|out| push_old_time(out, &8_385_959i32.to_le_bytes()[..3])), "838:59:59");
        assert_eq!(text(|out| push_old_time(out, &(-102i32).to_le_bytes()[..3])), "-00:01:02");
        assert_eq!(text(|out| push_old_datetime(out, &20_240_229_235_958u64.to_le_bytes())), "2024-02-29 23:59:58");
        assert_eq!(text(|out| push_old_timestamp(out, &1u32.to_le_bytes())), "1970-01-01 00:00:01+00");
        assert_eq!(text(|out| push_old_timestamp(out, &[0; 4])), "0000-00-00 00:00:00+00");
    }

    #[test]
    fn times_with_fractions() {
        assert_eq!(text(|out| push_time(out, &[0x80, 0, 0])), "00:00:00");
        assert_eq!(text(|out| push_time(out, &[0x7f, 0xff, 0xff])), "-00:00:01");
        // -00:00:00.10 and -00:00:01.10 in time(2): whole seconds round down, the fraction counts up.
        assert_eq!(text(|out| push_time(out, &[0x7f, 0xff, 0xff, 0xf6])), "-00:00:00.1");
        assert_eq!(text(|out| push_time(out, &[0x7f, 0xff, 0xfe, 0xf6])), "-00:00:01.1");
        let packed: u64 = 0x8000_0000_0000 + (((838 << 12 | 59 << 6 | 58) << 24) + 120_000);
        assert_eq!(text(|out| push_time(out, &packed.to_be_bytes()[2..])), "838:59:58.12");
    }

    #[test]
    fn datetimes_with_fractions() {
        let packed: u64 = 0x80_0000_0000 + ((9999 * 13 + 12) << 22 | 31 << 17 | 23 << 12 | 59 << 6 | 59);
        let bytes = [&packed.to_be_bytes()[3..], &[0x0f, 0x42, 0x3f]].concat();
        assert_eq!(text(|out| push_datetime(out, &bytes).unwrap()), "9999-12-31 23:59:59.999999");
        assert_eq!(text(|out| push_datetime(out, &[0x80, 0, 0, 0, 0]).unwrap()), "0000-00-00 00:00:00");
        assert!(push_datetime(&mut Vec::new(), &[0x80]).is_err());
        assert_eq!(text(|out| push_timestamp(out, &[0, 0, 0, 0, 50]).unwrap()), "1970-01-01 00:00:00.5+00");
    }

    #[test]
    fn days_of_leap_years() {
        for (seconds, expected) in [
            (951_782_400u32, "2000-02-29 00:00:00+00"),
            (951_868_800, "2000-03-01 00:00:00+00"),
            (2_147_483_647, "2038-01-19 03:14:07+00"),
            (u32::MAX, "2106-02-07 06:28:15+00"),
        ] {
            assert_eq!(text(|out| push_timestamp(out, &seconds.to_be_bytes()).unwrap()), expected);
        }
    }
}
