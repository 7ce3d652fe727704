//! TABLE_MAP: which table the rows that follow belong to, its columns' types, and what `binlog_row_metadata` adds.

use super::log_type::LogType;
use super::reader::{Decoded, Malformed, Reader, lossy};
use crate::connection::Flavor;

/// A table as the log describes it (MySQL source documentation, "Table_map_event").
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TableMap {
    flavor: Flavor,
    pub(crate) table_id: u64,
    pub(crate) schema: String,
    pub(crate) table: String,
    pub(crate) columns: Vec<LogType>,
    /// Columns that may be NULL.
    pub(crate) nullable: Vec<bool>,
    pub(crate) metadata: Metadata,
}

impl TableMap {
    /// The columns' names, with `binlog_row_metadata = FULL`.
    pub(crate) fn names(&self) -> Option<&[String]> {
        self.metadata.names.as_deref()
    }

    /// Whether column `index` is unsigned; `None` if the log does not say it or it is no number.
    pub(crate) fn is_unsigned(&self, index: usize) -> Option<bool> {
        let bits = self.metadata.unsigned.as_ref()?;
        let place = self.columns.get(..index)?.iter().filter(|log| log.has_sign()).count();
        self.columns.get(index)?.has_sign().then(|| bits.get(place).copied()).flatten()
    }

    /// The collation's number of a character column (63: binary), if the log says it. ENUM and SET are not among them.
    pub(crate) fn collation(&self, index: usize) -> Option<u64> {
        let place = self.columns.get(..index)?.iter().filter(|log| log.has_charset(self.flavor)).count();
        self.columns.get(index)?.has_charset(self.flavor).then(|| self.metadata.charsets.as_ref()?.get(place)).flatten()
    }

    /// The labels of an ENUM or SET column in the column's own character set, with `binlog_row_metadata = FULL`.
    pub(crate) fn labels(&self, index: usize) -> Option<&[Vec<u8>]> {
        let column = self.columns.get(index)?;
        let all = match column {
            LogType::Enum { .. } => self.metadata.enum_labels.as_ref()?,
            LogType::Set { .. } => self.metadata.set_labels.as_ref()?,
            _ => return None,
        };
        let same = |log: &&LogType| std::mem::discriminant(*log) == std::mem::discriminant(column);
        let place = self.columns.get(..index)?.iter().filter(same).count();
        all.get(place).map(Vec::as_slice)
    }

    pub(super) fn read(body: &[u8], flavor: Flavor) -> Decoded<Self> {
        let mut reader = Reader::new(body);
        let table_id = reader.uint(6)?;
        let _flags = reader.u16()?;
        let name = |reader: &mut Reader<'_>| -> Decoded<String> {
            let len = usize::from(reader.u8()?);
            let name = lossy(reader.take(len)?);
            reader.u8()?;
            Ok(name)
        };
        let (schema, table) = (name(&mut reader)?, name(&mut reader)?);
        let count = reader.lenenc_len()?;
        let codes = reader.take(count)?;
        let mut metadata = Reader::new(reader.lenenc_bytes()?);
        let columns = codes.iter().map(|code| LogType::read(*code, &mut metadata)).collect::<Decoded<Vec<_>>>()?;
        let bits = reader.take(count.div_ceil(8))?;
        let nullable = (0..count).map(|i| bits[i / 8] >> (i % 8) & 1 == 1).collect();
        let metadata = Metadata::read(reader.rest(), &columns)?;
        Ok(Self { flavor, table_id, schema, table, columns, nullable, metadata })
    }
}

/// What follows the columns' types from MySQL 8.0.1 and MariaDB 10.5 on. What the log leaves out is `None`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Metadata {
    /// Of each column that has a sign.
    unsigned: Option<Vec<bool>>,
    charsets: Option<Charsets>,
    names: Option<Vec<String>>,
    enum_labels: Option<Vec<Vec<Vec<u8>>>>,
    set_labels: Option<Vec<Vec<Vec<u8>>>>,
    /// Of each geometry column: 0 for any, 1 POINT, 2 LINESTRING, 3 POLYGON, 4 to 7 collections.
    pub(crate) geometry_types: Option<Vec<u64>>,
    /// Column indexes, in key order.
    pub(crate) primary_key: Option<Vec<usize>>,
    /// One for each column.
    pub(crate) visible: Option<Vec<bool>>,
}

/// Collations of the character columns, by their place among those.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Charsets {
    /// One for most, and those that differ.
    Default {
        collation: u64,
        others: Vec<(usize, u64)>,
    },
    Each(Vec<u64>),
}

impl Charsets {
    fn get(&self, place: usize) -> Option<u64> {
        match self {
            Self::Default { collation, others } => {
                Some(others.iter().find(|(other, _)| *other == place).map_or(*collation, |(_, collation)| *collation))
            }
            Self::Each(collations) => collations.get(place).copied(),
        }
    }

    fn read_default(field: &mut Reader<'_>) -> Decoded<Self> {
        let collation = field.lenenc()?;
        let others = all(field, |field| Ok((field.lenenc_len()?, field.lenenc()?)))?;
        Ok(Self::Default { collation, others })
    }

    fn read_each(field: &mut Reader<'_>) -> Decoded<Self> {
        Ok(Self::Each(all(field, Reader::lenenc)?))
    }
}

impl Metadata {
    /// Fields of the form type (1 byte), length, value. Types that are not known are skipped, as the format wants it.
    fn read(data: &[u8], columns: &[LogType]) -> Decoded<Self> {
        let mut metadata = Self::default();
        let mut reader = Reader::new(data);
        while !reader.is_empty() {
            let code = reader.u8()?;
            let mut field = Reader::new(reader.lenenc_bytes()?);
            metadata.read_field(code, &mut field, columns)?;
        }
        if metadata.names.as_ref().is_some_and(|names| names.len() != columns.len()) {
            return Err(Malformed("it has not as many names as columns"));
        }
        Ok(metadata)
    }

    fn read_field(&mut self, code: u8, field: &mut Reader<'_>, columns: &[LogType]) -> Decoded<()> {
        match code {
            1 => self.unsigned = Some(high_bits_first(field.rest())),
            2 => self.charsets = Some(Charsets::read_default(field)?),
            3 => self.charsets = Some(Charsets::read_each(field)?),
            4 => self.names = Some(all(field, |field| Ok(lossy(field.lenenc_bytes()?)))?),
            5 => self.set_labels = Some(all(field, labels)?),
            6 => self.enum_labels = Some(all(field, labels)?),
            7 => self.geometry_types = Some(all(field, Reader::lenenc)?),
            8 => self.primary_key = Some(all(field, |field| column(field, columns))?),
            9 => {
                let with_prefix = |field: &mut Reader<'_>| {
                    let index = column(field, columns)?;
                    let _prefix_len = field.lenenc()?;
                    Ok(index)
                };
                self.primary_key = Some(all(field, with_prefix)?);
            }
            12 => {
                let mut visible = high_bits_first(field.rest());
                visible.truncate(columns.len());
                self.visible = Some(visible);
            }
            // The collations of ENUM and SET, the dimensions of vectors, and what is newer.
            _ => {}
        }
        Ok(())
    }
}

/// Entries up to the field's end.
fn all<'a, T>(field: &mut Reader<'a>, mut one: impl FnMut(&mut Reader<'a>) -> Decoded<T>) -> Decoded<Vec<T>> {
    let mut entries = Vec::new();
    while !field.is_empty() {
        entries.push(one(field)?);
    }
    Ok(entries)
}

fn labels(field: &mut Reader<'_>) -> Decoded<Vec<Vec<u8>>> {
    let count = field.lenenc_len()?;
    let mut labels = Vec::new();
    for _ in 0..count {
        labels.push(field.lenenc_bytes()?.to_vec());
    }
    Ok(labels)
}

fn column(field: &mut Reader<'_>, columns: &[LogType]) -> Decoded<usize> {
    let index = field.lenenc_len()?;
    if index < columns.len() { Ok(index) } else { Err(Malformed("its key names a column that it has not")) }
}

fn high_bits_first(bytes: &[u8]) -> Vec<bool> {
    bytes.iter().flat_map(|byte| (0..8).rev().map(move |bit| byte >> bit & 1 == 1)).collect()
}
