//! One value: its bytes in the log to a cell.

use super::compressed;
use super::decimal::push_decimal;
use super::digits::{push_f32, push_f64, push_i64, push_u64};
use super::fit::Codec;
use super::json::push_json;
use super::reader::{CUT, Decoded, Malformed, be_uint, le_uint};
use super::temporal::{
    push_date, push_datetime, push_old_datetime, push_old_time, push_old_timestamp, push_time, push_timestamp,
    sign_extended,
};
use crate::charset::Charset;
use rowferry_api::{Cell, RowBuilder};
use std::io::Write as _;
use std::net::{Ipv4Addr, Ipv6Addr};

/// Buffers that all values share.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    text: Vec<u8>,
    inflated: Vec<u8>,
}

impl Scratch {
    /// The buffer for text, empty.
    pub(super) fn cleared(&mut self) -> &mut Vec<u8> {
        self.text.clear();
        &mut self.text
    }
}

impl Codec {
    /// Pushes the value as the row's next cell. `value` is framed by the column's type in the log: a fixed length is right.
    #[inline]
    pub(super) fn push(&self, value: &[u8], scratch: &mut Scratch, row: &mut RowBuilder) -> Decoded<()> {
        let Scratch { text: out, inflated } = scratch;
        out.clear();
        match self {
            Self::Signed => push_i64(out, sign_extended(value)),
            Self::Unsigned => push_u64(out, le_uint(value)),
            Self::Text { charset, is_padded, is_compressed } => {
                let value = inflate(value, *is_compressed, inflated)?;
                return push_text(charset, *is_padded, value, out, row);
            }
            Self::Bytes { is_compressed } => {
                row.push(Cell::Raw(inflate(value, *is_compressed, inflated)?));
                return Ok(());
            }
            Self::PaddedBytes { len } => {
                row.push(Cell::Raw(padded(value, *len, out)?));
                return Ok(());
            }
            Self::Enum { labels } => {
                row.push(Cell::Text(label(labels, le_uint(value))?.as_bytes()));
                return Ok(());
            }
            _ => self.push_rarer(value, out)?,
        }
        row.push(Cell::Text(out));
        Ok(())
    }

    fn push_rarer(&self, value: &[u8], out: &mut Vec<u8>) -> Decoded<()> {
        match self {
            Self::Year => {
                push_u64(out, value.first().map_or(0, |year| if *year == 0 { 0 } else { 1900 + u64::from(*year) }))
            }
            Self::Decimal { precision, scale } => push_decimal(out, value, *precision, *scale)?,
            Self::Float => push_f32(out, f32::from_le_bytes(value.try_into().map_err(|_| CUT)?)),
            Self::Double => push_f64(out, f64::from_le_bytes(value.try_into().map_err(|_| CUT)?)),
            Self::Bit { bits } => {
                let value = be_uint(value);
                out.extend((0..*bits).rev().map(|bit| if value >> bit & 1 == 1 { b'1' } else { b'0' }));
            }
            Self::Set { labels } => push_set(labels, le_uint(value), out)?,
            Self::Date => push_date(out, value),
            Self::OldTime => push_old_time(out, value),
            Self::OldDatetime => push_old_datetime(out, value),
            Self::OldTimestamp => push_old_timestamp(out, value),
            Self::Time => push_time(out, value),
            Self::Datetime => push_datetime(out, value)?,
            Self::Timestamp => push_timestamp(out, value)?,
            Self::Json => push_json(out, value)?,
            Self::Uuid => push_uuid(value, out)?,
            Self::Inet4 => write!(out, "{}", Ipv4Addr::from(fixed::<4>(value)?)).expect("a buffer in memory takes all"),
            Self::Inet6 => push_inet6(Ipv6Addr::from(fixed::<16>(value)?), out),
            Self::Signed
            | Self::Unsigned
            | Self::Text { .. }
            | Self::Bytes { .. }
            | Self::PaddedBytes { .. }
            | Self::Enum { .. } => return Err(CUT),
        }
        Ok(())
    }
}

fn inflate<'a>(value: &'a [u8], is_compressed: bool, inflated: &'a mut Vec<u8>) -> Decoded<&'a [u8]> {
    if !is_compressed {
        return Ok(value);
    }
    inflated.clear();
    compressed::mariadb_column(value, inflated)?;
    Ok(inflated)
}

fn push_text(charset: &Charset, is_padded: bool, value: &[u8], out: &mut Vec<u8>, row: &mut RowBuilder) -> Decoded<()> {
    let text = match charset.borrow(value) {
        Some(text) => text,
        None => {
            charset.decode(value, out).ok_or(Malformed("its bytes are no text of the column's character set"))?;
            out
        }
    };
    let text = if is_padded { without_trailing_blanks(text) } else { text };
    row.push(Cell::Text(text));
    Ok(())
}

fn without_trailing_blanks(text: &[u8]) -> &[u8] {
    let blanks = text.iter().rev().take_while(|byte| **byte == b' ').count();
    &text[..text.len() - blanks]
}

/// With the zero bytes that the log leaves out at the end.
fn padded<'a>(value: &'a [u8], len: usize, out: &'a mut Vec<u8>) -> Decoded<&'a [u8]> {
    if value.len() == len {
        return Ok(value);
    }
    if value.len() > len {
        return Err(Malformed("it is longer than the column"));
    }
    out.extend_from_slice(value);
    out.resize(len, 0);
    Ok(out)
}

/// Number 0 is the empty text.
fn label(labels: &[String], number: u64) -> Decoded<&str> {
    match usize::try_from(number).unwrap_or(usize::MAX).checked_sub(1) {
        None => Ok(""),
        Some(index) => labels.get(index).map(String::as_str).ok_or(Malformed("it is a label that the column has not")),
    }
}

fn push_set(labels: &[String], mut bits: u64, out: &mut Vec<u8>) -> Decoded<()> {
    while bits != 0 {
        let bit = bits.trailing_zeros();
        bits &= bits - 1;
        let label = labels.get(bit as usize).ok_or(Malformed("it has a label that the column has not"))?;
        if !out.is_empty() {
            out.push(b',');
        }
        out.extend_from_slice(label.as_bytes());
    }
    Ok(())
}

/// Up to `N` bytes with zero bytes behind them.
fn fixed<const N: usize>(value: &[u8]) -> Decoded<[u8; N]> {
    let mut bytes = [0; N];
    bytes.get_mut(..value.len()).ok_or(Malformed("it is longer than the column"))?.copy_from_slice(value);
    Ok(bytes)
}

/// As the server prints it: the first of the longest runs of zeros, even of one, becomes `::`, and the last four bytes are
/// an IPv4 address if only 0:0:0:0:0:ffff or zeros stand before them.
fn push_inet6(address: Ipv6Addr, out: &mut Vec<u8>) {
    let words = address.segments();
    let run = |start: usize| words[start..].iter().take_while(|word| **word == 0).count();
    let gap = (0..words.len()).rev().max_by_key(|start| run(*start)).filter(|start| run(*start) > 0);
    let gap = gap.map_or(words.len()..words.len(), |start| start..start + run(start));
    let holds_ipv4 = gap == (0..6) || gap == (0..5) && words[5] == 0xffff;
    for (i, word) in words.iter().enumerate() {
        if gap.contains(&i) {
            out.extend_from_slice(if i == gap.start { if i == 0 { b"::" } else { b":" } } else { b"" });
            continue;
        }
        let written = match word {
            _ if holds_ipv4 && i > 6 => Ok(()),
            high if holds_ipv4 && i == 6 => {
                write!(out, "{}", Ipv4Addr::from(u32::from(*high) << 16 | u32::from(words[7])))
            }
            word if i == 7 => write!(out, "{word:x}"),
            word => write!(out, "{word:x}:"),
        };
        written.expect("a buffer in memory takes all");
    }
}

fn push_uuid(value: &[u8], out: &mut Vec<u8>) -> Decoded<()> {
    let bytes = fixed::<16>(value)?;
    for (i, byte) in bytes.iter().enumerate() {
        if matches!(i, 4 | 6 | 8 | 10) {
            out.push(b'-');
        }
        for digit in [byte >> 4, byte & 15] {
            out.push(if digit < 10 { b'0' + digit } else { b'a' + digit - 10 });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What MariaDB 10.11 prints.
    #[test]
    fn addresses_are_printed_as_the_server_prints_them() {
        let cases = [
            "::",
            "::1",
            "1::",
            "::1:0:2:0:3:0",
            "1::2:3:4:5:6:7",
            "1:2:3:4:5:6:7:8",
            "::0.1.2.3",
            "::ffff:1.2.3.4",
            "2001:db8::1:0:0:1",
            "fe80::1:0:0:1",
            "::1.0.0.0",
            "1:2:3:4:5:6:7::",
        ];
        for case in cases {
            let mut out = Vec::new();
            push_inet6(case.parse().unwrap(), &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), case);
        }
    }
}
