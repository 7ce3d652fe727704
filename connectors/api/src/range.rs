//! Parts of a table, and the one order of keys that both ends share.

use crate::{Key, Type};
use bytes::Bytes;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use std::cmp::Ordering;

/// A part of one table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Range {
    /// All of it.
    Whole,
    /// Keys `k` with `after < k <= upto` in the order of [`KeyOrder`]; `None` leaves that end open.
    Keys {
        /// Largest key below the range.
        #[serde(with = "key_bytes_opt")]
        after: Option<Key>,
        /// Largest key of the range.
        #[serde(with = "key_bytes_opt")]
        upto: Option<Key>,
    },
    /// A part that only the source's own connector understands (pages of a heap). It may miss rows that moved
    /// while it was read, and says nothing about which keys are absent: replacing it removes no row.
    Native(String),
    /// These keys. Replacing it removes those that the source no longer has.
    Set(#[serde(with = "key_bytes_vec")] Vec<Key>),
}

/// The order of one key column, the same at every store, so that a range of keys is the same set of rows at
/// both ends whatever their collations are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyOrder {
    /// By number.
    Integer,
    /// By number of 32 or 64 bits: both zeros are equal, and NaN comes last. Stores write the same number in their own ways.
    Float {
        /// Of 32 bits.
        single: bool,
    },
    /// By the bytes of the cell's text (PostgreSQL: `COLLATE "C"` of the text; SQLite: BINARY).
    Bytes,
}

impl KeyOrder {
    /// The order of a column of this type.
    pub fn of(ty: &Type) -> Self {
        match ty {
            Type::Int { .. } => Self::Integer,
            Type::Float { bits } => Self::Float { single: *bits == 32 },
            _ => Self::Bytes,
        }
    }

    /// Compares two cells' texts.
    pub fn compare(self, a: &[u8], b: &[u8]) -> Ordering {
        let number = |text| std::str::from_utf8(text).ok()?.parse::<i128>().ok();
        match self {
            Self::Integer => match (number(a), number(b)) {
                (Some(a), Some(b)) => a.cmp(&b),
                _ => a.cmp(b),
            },
            Self::Float { single } => match (float_order(a, single), float_order(b, single)) {
                (Some(a), Some(b)) => a.cmp(&b),
                _ => a.cmp(b),
            },
            Self::Bytes => a.cmp(b),
        }
    }
}

/// A whole number that is ordered as [`KeyOrder::Float`] orders what a text says; `None` if that is no number.
pub fn float_order(text: &[u8], single: bool) -> Option<i64> {
    let text = std::str::from_utf8(text).ok()?;
    // Read as what it is: a text of more digits may be the same number of 32 bits.
    let number = if single { text.parse::<f32>().map(f64::from) } else { text.parse() }.ok()?;
    Some(match number {
        number if number.is_nan() => i64::MAX,
        // The magnitude's bits are in its order.
        number if number < 0.0 => -(number.abs().to_bits() as i64),
        number => number.abs().to_bits() as i64,
    })
}

mod key_bytes_opt {
    use super::*;

    pub(super) fn serialize<S: Serializer>(key: &Option<Key>, serializer: S) -> Result<S::Ok, S::Error> {
        key.as_ref().map(|key| key.as_bytes().to_vec()).serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Key>, D::Error> {
        Option::<Vec<u8>>::deserialize(deserializer)?
            .map(|bytes| Key::from_bytes(Bytes::from(bytes)).map_err(D::Error::custom))
            .transpose()
    }
}

mod key_bytes_vec {
    use super::*;

    pub(super) fn serialize<S: Serializer>(keys: &[Key], serializer: S) -> Result<S::Ok, S::Error> {
        keys.iter().map(|key| key.as_bytes().to_vec()).collect::<Vec<_>>().serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Key>, D::Error> {
        Vec::<Vec<u8>>::deserialize(deserializer)?
            .into_iter()
            .map(|bytes| Key::from_bytes(Bytes::from(bytes)).map_err(D::Error::custom))
            .collect()
    }
}
