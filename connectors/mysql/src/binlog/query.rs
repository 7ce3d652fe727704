//! QUERY: a statement's text, and the session's settings that it depends on.

use super::compressed;
use super::event::QueryEvent;
use super::reader::{Decoded, Reader, lossy};

/// Reads a QUERY, or MariaDB's QUERY_COMPRESSED, whose statement may have as many bytes as `inflate_up_to` says.
pub(super) fn read(body: &[u8], inflate_up_to: Option<u64>) -> Decoded<QueryEvent> {
    let mut reader = Reader::new(body);
    let _thread = reader.u32()?;
    let _seconds = reader.u32()?;
    let schema_len = usize::from(reader.u8()?);
    let error_code = reader.u16()?;
    let settings_len = usize::from(reader.u16()?);
    let settings = Settings::read(reader.take(settings_len)?);
    let schema = lossy(reader.take(schema_len)?);
    reader.u8()?;
    let text = reader.rest();
    let inflated;
    let text = match inflate_up_to {
        Some(max_bytes) => {
            inflated = compressed::mariadb(text, max_bytes)?;
            &inflated
        }
        None => text,
    };
    let statement = settings.decode(text);
    let Settings { sql_mode, client_collation } = settings;
    Ok(QueryEvent { schema, statement, error_code, sql_mode, client_collation })
}

/// What we need of the "status variables".
#[derive(Debug, Default)]
struct Settings {
    sql_mode: Option<u64>,
    client_collation: Option<u16>,
}

impl Settings {
    /// A code, then a value whose length depends on the code: what comes after an unknown code cannot be read. What we
    /// need is written first.
    fn read(data: &[u8]) -> Self {
        let mut settings = Self::default();
        let mut reader = Reader::new(data);
        while !reader.is_empty() {
            match settings.read_one(&mut reader) {
                Ok(true) => {}
                _ => break,
            }
        }
        settings
    }

    fn read_one(&mut self, reader: &mut Reader<'_>) -> Decoded<bool> {
        match reader.u8()? {
            // flags2, auto_increment
            0 | 3 => reader.take(4).map(drop)?,
            1 => self.sql_mode = Some(reader.u64()?),
            // The catalog's name, with a zero byte behind it.
            2 => {
                let len = usize::from(reader.u8()?) + 1;
                reader.take(len)?;
            }
            4 => {
                self.client_collation = Some(reader.u16()?);
                reader.take(4)?;
            }
            // The time zone's name, the catalog's without a zero byte.
            5 | 6 => {
                let len = usize::from(reader.u8()?);
                reader.take(len)?;
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Clients that speak latin1 are read too; others are taken to speak UTF-8.
    fn decode(&self, text: &[u8]) -> String {
        const LATIN1: [u16; 8] = [5, 8, 15, 31, 47, 48, 49, 94];
        match self.client_collation {
            Some(collation) if LATIN1.contains(&collation) && !text.is_ascii() => {
                text.iter().map(|byte| crate::charset::latin1(*byte)).collect()
            }
            _ => lossy(text),
        }
    }
}
