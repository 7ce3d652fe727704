//! What stands around the rows of COPY's binary format.
//!
//! Source: PostgreSQL manual, COPY, "Binary Format".

/// Before the first row: the signature, no flags, no extension.
pub(crate) const HEADER: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
/// Behind the last row.
pub(crate) const TRAILER: &[u8] = &[0xff, 0xff];
