//! Reads fields off the front of an event's bytes. Every read is checked: what is cut short is an error, never a panic.

use bytes::Bytes;

/// The bytes end before what they announce, or hold what the format does not allow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Malformed(pub(super) &'static str);

/// What decoding a part of an event gives; who calls knows which event it was.
pub(super) type Decoded<T> = Result<T, Malformed>;

pub(super) const CUT: Malformed = Malformed("it is cut short");

/// A place in a slice.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(super) fn new(data: &'a [u8]) -> Self {
        Self { rest: data }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    pub(super) fn remaining(&self) -> usize {
        self.rest.len()
    }

    /// All that is left.
    pub(super) fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.rest)
    }

    #[inline]
    pub(super) fn take(&mut self, len: usize) -> Decoded<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(len).ok_or(CUT)?;
        self.rest = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Decoded<[u8; N]> {
        let (taken, rest) = self.rest.split_first_chunk::<N>().ok_or(CUT)?;
        self.rest = rest;
        Ok(*taken)
    }

    #[inline]
    pub(super) fn u8(&mut self) -> Decoded<u8> {
        Ok(self.array::<1>()?[0])
    }

    pub(super) fn u16(&mut self) -> Decoded<u16> {
        Ok(u16::from_le_bytes(self.array()?))
    }

    pub(super) fn u32(&mut self) -> Decoded<u32> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    pub(super) fn u64(&mut self) -> Decoded<u64> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    /// A little-endian number of `len` bytes, at most 8.
    #[inline]
    pub(super) fn uint(&mut self, len: usize) -> Decoded<u64> {
        Ok(le_uint(self.take(len)?))
    }

    /// A length-encoded integer (MySQL internals, "Protocol::LengthEncodedInteger").
    pub(super) fn lenenc(&mut self) -> Decoded<u64> {
        match self.u8()? {
            first @ 0..=0xfa => Ok(u64::from(first)),
            0xfc => self.uint(2),
            0xfd => self.uint(3),
            0xfe => self.u64(),
            _ => Err(Malformed("a length is neither 1, 3, 4 nor 9 bytes long")),
        }
    }

    /// A length-encoded integer that says how many bytes or entries follow.
    pub(super) fn lenenc_len(&mut self) -> Decoded<usize> {
        usize::try_from(self.lenenc()?).map_err(|_| CUT)
    }

    /// Bytes with a length-encoded length before them.
    pub(super) fn lenenc_bytes(&mut self) -> Decoded<&'a [u8]> {
        let len = self.lenenc_len()?;
        self.take(len)
    }
}

/// A little-endian number of at most 8 bytes.
#[inline]
pub(super) fn le_uint(bytes: &[u8]) -> u64 {
    match *bytes {
        // The lengths that most values have.
        [byte] => u64::from(byte),
        [a, b] => u64::from(u16::from_le_bytes([a, b])),
        [a, b, c, d] => u64::from(u32::from_le_bytes([a, b, c, d])),
        [a, b, c, d, e, f, g, h] => u64::from_le_bytes([a, b, c, d, e, f, g, h]),
        _ => bytes.iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte)),
    }
}

/// A big-endian number of at most 8 bytes.
#[inline]
pub(super) fn be_uint(bytes: &[u8]) -> u64 {
    match *bytes {
        [byte] => u64::from(byte),
        [a, b, c, d] => u64::from(u32::from_be_bytes([a, b, c, d])),
        [a, b, c, d, e] => u64::from(a) << 32 | u64::from(u32::from_be_bytes([b, c, d, e])),
        _ => bytes.iter().fold(0, |value, byte| value << 8 | u64::from(*byte)),
    }
}

/// The part of `whole` that `part`, a slice of it, is.
pub(super) fn slice_of(whole: &Bytes, part: &[u8]) -> Bytes {
    if part.is_empty() { Bytes::new() } else { whole.slice_ref(part) }
}

/// UTF-8, with what is not replaced.
pub(super) fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
