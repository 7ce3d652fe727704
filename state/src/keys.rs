//! Keys in the database: `escaped pipeline / kind / escaped name / number`. A part never holds the separator, so no name
//! collides with another's keys; numbers are big endian, so they sort.

/// Between the parts. Escaped names never hold it.
const SEPARATOR: u8 = 0;

/// A key that starts with these parts.
pub(crate) fn prefix(parts: &[&str]) -> Vec<u8> {
    let mut key = Vec::new();
    for part in parts {
        for &byte in part.as_bytes() {
            match byte {
                // 0 separates and 1 escapes.
                0 | 1 => key.extend_from_slice(&[1, byte + 1]),
                byte => key.push(byte),
            }
        }
        key.push(SEPARATOR);
    }
    key
}

/// The same, followed by a number.
pub(crate) fn numbered(parts: &[&str], number: u64) -> Vec<u8> {
    let mut key = prefix(parts);
    key.extend_from_slice(&number.to_be_bytes());
    key
}

/// The part after a prefix.
pub(crate) fn part_after(key: &[u8], prefix: &[u8]) -> Option<String> {
    let rest = key.strip_prefix(prefix)?;
    let end = rest.iter().position(|&byte| byte == SEPARATOR)?;
    let mut bytes = rest[..end].iter();
    let mut part = Vec::new();
    while let Some(&byte) = bytes.next() {
        part.push(if byte == 1 { bytes.next()?.checked_sub(1)? } else { byte });
    }
    String::from_utf8(part).ok()
}

/// The number at a key's end.
pub(crate) fn number(key: &[u8]) -> Option<u64> {
    key.last_chunk::<8>().map(|bytes| u64::from_be_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn names_come_back_and_never_collide(a in "[\\x00-\\x05a-c/]{0,6}", b in "[\\x00-\\x05a-c/]{0,6}", n in any::<u64>()) {
            let key = numbered(&["p", &a], n);
            prop_assert_eq!(part_after(&key, &prefix(&["p"])), Some(a.clone()));
            prop_assert_eq!(number(&key), Some(n));
            prop_assert_eq!(key.starts_with(&prefix(&["p", &b])), a == b);
        }
    }
}
