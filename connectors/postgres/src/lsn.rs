//! Log sequence numbers.

use rowferry_api::{Error, ErrorKind, Position, Result};
use std::fmt;

/// A byte position in PostgreSQL's log, written `16/B374D848`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Lsn(pub u64);

const PAGE_BYTES: u64 = 8192;
/// Headers of a page of the log: short, and long on the first page of a segment (PostgreSQL source, xlog_internal.h).
const HEADERS: [u64; 2] = [24, 40];

impl Lsn {
    /// Reads `16/B374D848`.
    pub fn parse(text: &str) -> Result<Self> {
        text.split_once('/')
            .and_then(|(high, low)| {
                let (high, low) = (u32::from_str_radix(high, 16).ok()?, u32::from_str_radix(low, 16).ok()?);
                Some(Self(u64::from(high) << 32 | u64::from(low)))
            })
            .ok_or_else(|| Error::new(ErrorKind::Protocol, format!("read the log position \"{text}\": not an LSN")))
    }

    /// Moves a position right behind a page's header back to the page's start: nothing is written in between, and a
    /// server that has sent everything reports the start.
    pub fn before_header(self) -> Self {
        let offset = self.0 % PAGE_BYTES;
        if HEADERS.contains(&offset) { Self(self.0 - offset) } else { self }
    }
}

impl fmt::Display for Lsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:X}/{:X}", self.0 >> 32, self.0 & 0xffff_ffff)
    }
}

impl From<Lsn> for Position {
    fn from(lsn: Lsn) -> Self {
        Self::new(lsn.to_string())
    }
}

impl TryFrom<&Position> for Lsn {
    type Error = Error;

    fn try_from(position: &Position) -> Result<Self> {
        Self::parse(position.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn text_comes_back(number in any::<u64>()) {
            prop_assert_eq!(Lsn::parse(&Lsn(number).to_string()).unwrap(), Lsn(number));
        }

        #[test]
        fn any_text_is_read_or_refused(text in ".{0,20}") {
            let _ = Lsn::parse(&text);
        }
    }

    #[test]
    fn a_position_behind_a_header_is_the_page_s_start() {
        assert_eq!(Lsn(8192 * 5 + 24).before_header(), Lsn(8192 * 5));
        assert_eq!(Lsn(8192 * 5 + 40).before_header(), Lsn(8192 * 5));
        assert_eq!(Lsn(8192 * 5 + 48).before_header(), Lsn(8192 * 5 + 48));
    }
}
