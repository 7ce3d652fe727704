//! What the servers compress: MySQL whole transactions (zstd), MariaDB statements, rows and columns (zlib). Buffers grow
//! with what is really there, never to a size that a field claims; what does not inflate to that size is an error, and so
//! is a size beyond what the caller allows. A zstd frame takes its window at once, which is 100 MiB at most.

use super::header::HEADER_LEN;
use super::reader::{CUT, Decoded, Malformed, Reader, be_uint};
use crate::connection::MAX_PACKET_BYTES;
use bytes::{Buf, Bytes};
use flate2::read::{DeflateDecoder, ZlibDecoder};
use rowferry_api::{Error, ErrorKind, Result};
use ruzstd::decoding::{FrameDecoder, StreamingDecoder};
use std::io::Read;

const DAMAGED: Malformed = Malformed("what it holds compressed is damaged");
const TOO_LONG: Malformed = Malformed("what it holds compressed is longer than a server's longest packet");

/// The events of a transaction that MySQL compressed (`binlog_transaction_compression`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Payload {
    data: Bytes,
    is_zstd: bool,
    inflated_len: Option<u64>,
    max_event_bytes: u64,
}

impl Payload {
    /// TRANSACTION_PAYLOAD: fields of the form type, length, value up to type 0, then the payload (MySQL source
    /// documentation, "Transaction_payload_event"). No event inside may be longer than `max_event_bytes`.
    pub(super) fn read(body: &Bytes, max_event_bytes: u64) -> Decoded<Self> {
        let mut reader = Reader::new(body);
        let (mut size, mut algorithm, mut inflated_len) = (None, None, None);
        loop {
            let field = reader.lenenc()?;
            if field == 0 {
                break;
            }
            let mut value = Reader::new(reader.lenenc_bytes()?);
            match field {
                1 => size = Some(value.lenenc_len()?),
                2 => algorithm = Some(value.lenenc()?),
                3 => inflated_len = Some(value.lenenc()?),
                _ => {}
            }
        }
        let payload = reader.take(size.ok_or(Malformed("it does not say its size"))?)?;
        let is_zstd = match algorithm {
            Some(0) => true,
            Some(255) => false,
            _ => return Err(Malformed("it is compressed in an unknown way")),
        };
        Ok(Self { data: super::reader::slice_of(body, payload), is_zstd, inflated_len, max_event_bytes })
    }

    /// The events inside, one after the other, each inflated when it is asked for. After an error there are no more.
    pub(crate) fn events(&self) -> PayloadEvents {
        let source = self.data.clone().reader();
        let source = if self.is_zstd { Source::Zstd { next: source, frame: None } } else { Source::Plain(source) };
        let Self { inflated_len, max_event_bytes, .. } = *self;
        PayloadEvents { source, inflated_len, max_event_bytes, read: 0, is_over: false }
    }
}

/// Iterates over a [`Payload`].
pub(crate) struct PayloadEvents {
    source: Source,
    inflated_len: Option<u64>,
    max_event_bytes: u64,
    read: u64,
    is_over: bool,
}

impl Iterator for PayloadEvents {
    type Item = Result<Bytes>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.is_over {
            return None;
        }
        let event = self.read_event().map_err(|Malformed(cause)| {
            let text = format!("inflate a transaction of MySQL's log (TRANSACTION_PAYLOAD): {cause}");
            Error::new(ErrorKind::Protocol, text)
        });
        self.is_over = !matches!(event, Ok(Some(_)));
        event.transpose()
    }
}

impl PayloadEvents {
    fn read_event(&mut self) -> Decoded<Option<Bytes>> {
        /// Where a header has its event's size.
        const SIZE_AT: usize = 9;
        let mut event = Vec::with_capacity(256);
        self.fill(&mut event, HEADER_LEN)?;
        if event.is_empty() {
            return match self.inflated_len {
                Some(len) if len != self.read => Err(Malformed("it does not have the size that it announces")),
                _ => Ok(None),
            };
        }
        let size = Reader::new(event.get(SIZE_AT..).ok_or(CUT)?).u32()? as usize;
        if size as u64 > self.max_event_bytes {
            return Err(TOO_LONG);
        }
        self.fill(&mut event, size.checked_sub(HEADER_LEN).ok_or(DAMAGED)?)?;
        if event.len() != size {
            return Err(CUT);
        }
        self.read += size as u64;
        Ok(Some(event.into()))
    }

    /// Appends `len` bytes, or as many as there are.
    fn fill(&mut self, event: &mut Vec<u8>, len: usize) -> Decoded<()> {
        (&mut self.source).take(len as u64).read_to_end(event).map(drop).map_err(|_| DAMAGED)
    }
}

enum Source {
    Plain(bytes::buf::Reader<Bytes>),
    /// A frame that is being read, or what comes next.
    Zstd {
        next: bytes::buf::Reader<Bytes>,
        frame: Option<Box<StreamingDecoder<bytes::buf::Reader<Bytes>, FrameDecoder>>>,
    },
}

impl Read for Source {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let (next, frame) = match self {
            Self::Plain(plain) => return plain.read(buffer),
            Self::Zstd { next, frame } => (next, frame),
        };
        loop {
            if let Some(open) = frame {
                let read = open.read(buffer)?;
                if read > 0 || buffer.is_empty() {
                    return Ok(read);
                }
                *next = frame.take().map(|open| open.into_inner()).expect("a frame is open");
            }
            if next.get_ref().is_empty() {
                return Ok(0);
            }
            let source = std::mem::replace(next, Bytes::new().reader());
            *frame = Some(Box::new(StreamingDecoder::new(source).map_err(std::io::Error::other)?));
        }
    }
}

/// A statement or rows that MariaDB compressed (`log_bin_compress`): a byte with the number of the length's bytes in its
/// low three bits and the method above, the inflated length big-endian, zlib. `max_bytes` may it be long.
pub(super) fn mariadb(data: &[u8], max_bytes: u64) -> Decoded<Vec<u8>> {
    let mut reader = Reader::new(data);
    let first = reader.u8()?;
    if first & 0xf0 != 0x80 {
        return Err(Malformed("it is compressed in an unknown way"));
    }
    let len = inflated_len(&mut reader, first & 7)?;
    let mut out = Vec::new();
    inflate(ZlibDecoder::new(reader.rest()), len, max_bytes, &mut out)?;
    Ok(out)
}

/// Appends the value of a COMPRESSED column of MariaDB's: a byte with the number of the length's bytes in its low three
/// bits, whether zlib's frame is left out in the next, and the method above (0: not compressed).
pub(super) fn mariadb_column(data: &[u8], out: &mut Vec<u8>) -> Decoded<()> {
    let Some((first, plain)) = data.split_first() else { return Ok(()) };
    match first >> 4 {
        0 => {
            out.extend_from_slice(plain);
            Ok(())
        }
        8 => {
            let mut reader = Reader::new(plain);
            let len = inflated_len(&mut reader, first & 7)?;
            if first & 8 == 0 {
                inflate(ZlibDecoder::new(reader.rest()), len, MAX_PACKET_BYTES as u64, out)
            } else {
                inflate(DeflateDecoder::new(reader.rest()), len, MAX_PACKET_BYTES as u64, out)
            }
        }
        _ => Err(Malformed("it is compressed in an unknown way")),
    }
}

fn inflated_len(reader: &mut Reader<'_>, bytes: u8) -> Decoded<u64> {
    if bytes == 0 || bytes > 4 { Err(DAMAGED) } else { Ok(be_uint(reader.take(usize::from(bytes))?)) }
}

fn inflate(source: impl Read, len: u64, max_bytes: u64, out: &mut Vec<u8>) -> Decoded<()> {
    if len > max_bytes {
        return Err(TOO_LONG);
    }
    // One byte more than announced tells a longer one.
    let read = source.take(len + 1).read_to_end(out).map_err(|_| DAMAGED)?;
    if read as u64 == len { Ok(()) } else { Err(Malformed("it does not inflate to the size that it announces")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    #[test]
    fn a_compressed_column_says_how_it_is_stored() {
        let text = b"the same, the same, the same".repeat(20);
        let mut zlib = flate2::write::ZlibEncoder::new(vec![0x82, 2, 0x30], flate2::Compression::default());
        zlib.write_all(&text).unwrap();
        let mut raw = flate2::write::DeflateEncoder::new(vec![0x8a, 2, 0x30], flate2::Compression::default());
        raw.write_all(&text).unwrap();
        let plain = [&[0], &text[..]].concat();
        for stored in [zlib.finish().unwrap(), raw.finish().unwrap(), plain] {
            let mut out = Vec::new();
            mariadb_column(&stored, &mut out).unwrap();
            assert_eq!(out, text);
        }
        let mut out = Vec::new();
        mariadb_column(&[], &mut out).unwrap();
        assert!(out.is_empty());
    }

    #[test]
    fn what_inflates_to_another_size_is_an_error() {
        let mut zlib = flate2::write::ZlibEncoder::new(vec![0x81, 4], flate2::Compression::default());
        zlib.write_all(b"12345").unwrap();
        let mut data = zlib.finish().unwrap();
        assert!(mariadb(&data, 9).is_err());
        data[1] = 5;
        assert_eq!(mariadb(&data, 9).unwrap(), b"12345");
        data[1] = 6;
        assert!(mariadb(&data, 9).is_err());
        data[1] = 5;
        assert_eq!(mariadb(&data, 4), Err(TOO_LONG));
    }
}
