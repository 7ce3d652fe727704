//! One record on disk: `magic[2] | version u16 | length u32 | payload (bincode) | crc32 u32`, little endian. bincode does
//! not describe itself, so the version says which struct the payload is; older versions stay readable.

use serde::Serialize;
use serde::de::DeserializeOwned;

const MAGIC: [u8; 2] = *b"RF";
const HEADER_BYTES: usize = 8;
const CRC_BYTES: usize = 4;

/// A kind of record: the struct is what is written. When a field is added, the struct of today becomes a private `...V1` with a
/// `From`, `VERSION` becomes 2, and `read_older` gets a line. One that is added at the end needs no struct: `read_older` appends its default.
pub(crate) trait Record: Serialize + DeserializeOwned {
    /// The version that is written now.
    const VERSION: u16 = 1;

    /// Reads a payload of a version before; `None` if the version is not known or the payload is not of it.
    fn read_older(version: u16, payload: &[u8]) -> Option<Self> {
        let _ = (version, payload);
        None
    }
}

/// Reads a payload of any version that was ever written.
pub(crate) fn read<R: Record>(version: u16, bytes: &[u8]) -> Option<R> {
    if version == R::VERSION { payload(bytes) } else { R::read_older(version, bytes) }
}

/// Reads a payload whose whole length must be used.
pub(crate) fn payload<T: DeserializeOwned>(payload: &[u8]) -> Option<T> {
    bincode::deserialize(payload).ok()
}

pub(crate) fn encode<R: Record>(record: &R) -> Vec<u8> {
    sealed(R::VERSION, &payload_of(record))
}

pub(crate) fn payload_of<R: Record>(record: &R) -> Vec<u8> {
    bincode::serialize(record).expect("plain structs always serialize into memory")
}

/// A payload with what stands around it.
pub(crate) fn sealed(version: u16, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEADER_BYTES + payload.len() + CRC_BYTES);
    bytes.extend_from_slice(&MAGIC);
    bytes.extend_from_slice(&version.to_le_bytes());
    bytes.extend_from_slice(&u32::try_from(payload.len()).expect("a record is far smaller than 4 GiB").to_le_bytes());
    bytes.extend_from_slice(payload);
    let crc = crc32fast::hash(&bytes);
    bytes.extend_from_slice(&crc.to_le_bytes());
    bytes
}

/// What is wrong with the bytes, for the message.
pub(crate) fn decode<R: Record>(bytes: &[u8]) -> Result<R, String> {
    let (body, crc) = bytes.split_last_chunk::<CRC_BYTES>().ok_or("a record is cut short")?;
    let (header, payload) = body.split_first_chunk::<HEADER_BYTES>().ok_or("a record is cut short")?;
    let [m0, m1, v0, v1, l0, l1, l2, l3] = *header;
    if [m0, m1] != MAGIC {
        return Err("a record does not begin as rowferry writes it".into());
    }
    if u32::from_le_bytes([l0, l1, l2, l3]) as usize != payload.len() {
        return Err("a record is cut short".into());
    }
    if crc32fast::hash(body) != u32::from_le_bytes(*crc) {
        return Err("a record's checksum is wrong".into());
    }
    let version = u16::from_le_bytes([v0, v1]);
    read(version, payload).ok_or_else(|| match version {
        version if version > R::VERSION => {
            format!("a record has version {version}: it was written by a newer rowferry")
        }
        version => format!("a record of version {version} cannot be read"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{CheckpointRecord, SliceRecord};
    use proptest::prelude::*;

    fn record(position: &str) -> CheckpointRecord {
        CheckpointRecord { position: position.into(), committed_at_us: Some(-1), saved_at_us: i64::MAX }
    }

    proptest! {
        /// Whatever lies on the disk is a record or an error, and claims no memory beyond its length.
        #[test]
        fn any_bytes_are_a_record_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(decode::<CheckpointRecord>(&bytes).is_err());
        }

        #[test]
        fn a_changed_byte_is_seen(position in ".{0,40}", at in any::<prop::sample::Index>(), by in 1..=255u8) {
            let mut bytes = encode(&record(&position));
            prop_assert_eq!(decode::<CheckpointRecord>(&bytes).unwrap(), record(&position));
            let at = at.index(bytes.len());
            bytes[at] ^= by;
            prop_assert!(decode::<CheckpointRecord>(&bytes).is_err());
        }

        #[test]
        fn a_cut_record_is_seen(position in ".{0,40}", keep in any::<prop::sample::Index>()) {
            let bytes = encode(&record(&position));
            prop_assert!(decode::<CheckpointRecord>(&bytes[..keep.index(bytes.len())]).is_err());
        }
    }

    #[test]
    fn a_record_of_another_kind_or_a_newer_version_is_an_error() {
        let bytes = encode(&record("0/1"));
        assert!(decode::<SliceRecord>(&bytes).is_err());
        let mut newer = bytes[..bytes.len() - CRC_BYTES].to_vec();
        newer[2] = 9;
        let crc = crc32fast::hash(&newer);
        newer.extend_from_slice(&crc.to_le_bytes());
        let error = decode::<CheckpointRecord>(&newer).unwrap_err();
        assert!(error.contains("newer rowferry"), "{error}");
    }
}
