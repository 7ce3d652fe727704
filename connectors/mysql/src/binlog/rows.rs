//! Rows of one table: images cut into values, values made into cells.
//!
//! An image has only the columns that its bitmap names (`binlog_row_image`). A column that an image after lacks has the
//! value of the image before, and is [`Cell::Unchanged`] if that lacks it too. In an INSERT an absent column has its
//! default value, which is not in the log either: it is unchanged as well.

use super::event::{RowsEvent, RowsKind};
use super::fit::{Codec, codec};
use super::json_diff::push_patched;
use super::log_type::LogType;
use super::reader::{CUT, Decoded, Malformed, Reader};
use super::table_map::TableMap;
use super::values::Scratch;
use crate::charset::Charsets;
use crate::kind::Kind;
use rowferry_api::{Cell, Error, ErrorKind, Result, Row, RowBuilder};
use std::ops::Range;

/// Decodes the rows of one table in one form.
#[derive(Debug)]
pub(crate) struct RowDecoder {
    table: String,
    columns: Vec<Column>,
    select: Vec<usize>,
    json_columns: usize,
    before: Vec<Slot>,
    after: Vec<Slot>,
    scratch: Scratch,
    builder: RowBuilder,
}

#[derive(Debug)]
struct Column {
    name: String,
    log: LogType,
    codec: Codec,
}

/// What an image has of a column; ranges of the event's data.
#[derive(Debug, Clone)]
enum Slot {
    Absent,
    Null,
    Value(Range<usize>),
    /// JSON as differences from the image before.
    Differences(Range<usize>),
}

/// What went wrong with which column, if with one.
type Failed = (Option<usize>, Malformed);

impl RowDecoder {
    /// For rows of `map` whose columns are those of `form` (name and kind), in the log's order. `select` has the indexes
    /// of the columns that become cells, in the cells' order. A column that the log has in another type than the form, and
    /// names that differ where the log has them, are errors ([`ErrorKind::Schema`]).
    pub(crate) fn new(map: &TableMap, form: &[(String, Kind)], select: &[usize], charsets: &Charsets) -> Result<Self> {
        let table = format!("{}.{}", map.schema, map.table);
        let differs = |text: String| {
            Error::new(ErrorKind::Schema, format!("the log's rows of table {table} do not fit the table: {text}"))
        };
        if map.columns.len() != form.len() {
            return Err(differs(format!("they have {} columns, the table {}", map.columns.len(), form.len())));
        }
        if let Some(index) = select.iter().find(|index| **index >= form.len()) {
            return Err(differs(format!("column {index} is not there")));
        }
        let mut columns = Vec::with_capacity(form.len());
        for (index, (name, kind)) in form.iter().enumerate() {
            let log = map.columns[index];
            if let Some(logged) = map.names().map(|names| &names[index]).filter(|logged| *logged != name) {
                return Err(differs(format!("column {} is \"{logged}\", in the table \"{name}\"", index + 1)));
            }
            let codec =
                codec(log, kind, charsets).map_err(|error| error.within(format!("column \"{name}\" of {table}")))?;
            let codec = codec.filter(|_| fits_metadata(map, index, kind)).ok_or_else(|| {
                let unsigned = if map.is_unsigned(index) == Some(true) { " unsigned" } else { "" };
                let binary = if map.collation(index) == Some(BINARY) { " (binary)" } else { "" };
                differs(format!("column \"{name}\" is {log}{unsigned}{binary}, in the table it is {kind:?}"))
            })?;
            columns.push(Column { name: name.clone(), log, codec });
        }
        let json_columns = map.columns.iter().filter(|log| matches!(log, LogType::Json { .. })).count();
        Ok(Self {
            table,
            columns,
            select: select.to_vec(),
            json_columns,
            before: Vec::new(),
            after: Vec::new(),
            scratch: Scratch::default(),
            builder: RowBuilder::new(),
        })
    }

    /// Calls `each` for every row of the event with the row before (of an UPDATE or DELETE) and after (of an INSERT or
    /// UPDATE). Stops at the first error, its own or that of `each`; the rows before were handed out.
    ///
    /// A value that cannot be read is an error that names the column. So is JSON that the log holds as differences from a
    /// document that it leaves out (`binlog_row_value_options = PARTIAL_JSON` with `binlog_row_image = MINIMAL`).
    pub(crate) fn rows(
        &mut self,
        event: &RowsEvent,
        mut each: impl FnMut(Option<Row>, Option<Row>) -> Result<()>,
    ) -> Result<()> {
        let count = self.columns.len();
        if event.table.columns.len() != count
            || self.columns.iter().zip(&event.table.columns).any(|(c, log)| c.log != *log)
        {
            let text = format!("the log's rows of table {} are not of the form that they are read in", self.table);
            return Err(Error::new(ErrorKind::Schema, text));
        }
        let mut reader = Reader::new(&event.data);
        while !reader.is_empty() {
            let (before, after) = self.next(event, &mut reader).map_err(|cause| self.failed(cause))?;
            each(before, after)?;
        }
        Ok(())
    }

    fn next(&mut self, event: &RowsEvent, reader: &mut Reader<'_>) -> Result<(Option<Row>, Option<Row>), Failed> {
        let data: &[u8] = &event.data;
        let start = reader.remaining();
        let (has_before, has_after) = (event.kind != RowsKind::Insert, event.kind != RowsKind::Delete);
        if has_before {
            cut(&self.columns, &event.before, data, reader, &mut self.before, Diffed::default())?;
        } else {
            self.before.clear();
        }
        if has_after {
            let diffed =
                if event.is_partial { self.diffed(reader).map_err(|cause| (None, cause))? } else { Diffed::default() };
            cut(&self.columns, &event.after, data, reader, &mut self.after, diffed)?;
        }
        // Rows without columns would never end.
        if reader.remaining() == start {
            return Err((None, Malformed("rows have no columns")));
        }
        let before = if has_before { Some(self.build(data, false)?) } else { None };
        let after = if has_after { Some(self.build(data, true)?) } else { None };
        Ok((before, after))
    }

    /// What stands before an image after whose JSON may be differences: options, and a bit for each JSON column of the table.
    fn diffed<'a>(&self, reader: &mut Reader<'a>) -> Decoded<Diffed<'a>> {
        match reader.lenenc()? {
            0 => Ok(Diffed::default()),
            1 => Ok(Diffed { bits: reader.take(self.json_columns.div_ceil(8))? }),
            _ => Err(Malformed("rows have values in an unknown form")),
        }
    }

    fn build(&mut self, data: &[u8], is_after: bool) -> Result<Row, Failed> {
        let Self { columns, select, before, after, scratch, builder, .. } = self;
        for &index in select.iter() {
            let slot = match if is_after { &after[index] } else { &before[index] } {
                Slot::Absent if is_after => before.get(index).unwrap_or(&Slot::Absent),
                slot => slot,
            };
            let result = match slot {
                Slot::Absent => {
                    builder.push(Cell::Unchanged);
                    Ok(())
                }
                Slot::Null => {
                    builder.push(Cell::Null);
                    Ok(())
                }
                Slot::Value(range) => columns[index].codec.push(&data[range.clone()], scratch, builder),
                Slot::Differences(range) => {
                    let document = match before.get(index) {
                        Some(Slot::Value(before)) => Ok(&data[before.clone()]),
                        _ => Err(NO_DOCUMENT),
                    };
                    document.and_then(|document| scratch.push_patched(document, &data[range.clone()], builder))
                }
            };
            if let Err(cause) = result {
                // What is built of the row so far.
                drop(builder.finish());
                return Err((Some(index), cause));
            }
        }
        Ok(builder.finish())
    }

    fn failed(&self, (column, cause): Failed) -> Error {
        let table = &self.table;
        if cause == NO_DOCUMENT {
            let name = column.map_or("", |index| &self.columns[index].name);
            let text = format!(
                "column \"{name}\" of {table}: the log holds JSON as differences from a document that it lacks"
            );
            return Error::new(ErrorKind::Schema, text).hint(
                "set binlog_row_value_options = '' or binlog_row_image = FULL on the source, then copy the table again",
            );
        }
        let text = match column {
            Some(index) => format!("read a value of column \"{}\" of {table}: {}", self.columns[index].name, cause.0),
            None => format!("read the log's rows of {table}: {}", cause.0),
        };
        Error::new(ErrorKind::Protocol, text)
    }
}

/// The number of the collation of bytes that are no text.
const BINARY: u64 = 63;

/// Whether sign, text or bytes, and labels are as the metadata says, where the log has it.
fn fits_metadata(map: &TableMap, index: usize, kind: &Kind) -> bool {
    match kind {
        Kind::Int { unsigned, .. } => map.is_unsigned(index) != Some(!unsigned),
        Kind::Char { .. } | Kind::Varchar { .. } | Kind::Text { .. } => map.collation(index) != Some(BINARY),
        Kind::Binary { .. } | Kind::Varbinary { .. } | Kind::Blob { .. } => {
            map.collation(index).is_none_or(|collation| collation == BINARY)
        }
        Kind::Enum { labels, charset } | Kind::Set { labels, charset } => {
            map.labels(index).is_none_or(|logged| fits_labels(logged, labels, charset))
        }
        _ => true,
    }
}

/// The log has labels in the column's own character set: those of others than UTF-8 are only counted.
fn fits_labels(logged: &[Vec<u8>], labels: &[String], charset: &str) -> bool {
    let is_utf8 = charset.starts_with("utf8");
    let mut pairs = logged.iter().zip(labels);
    logged.len() == labels.len() && pairs.all(|(logged, label)| !is_utf8 || **logged == *label.as_bytes())
}

const NO_DOCUMENT: Malformed = Malformed("differences without a document");

impl Scratch {
    fn push_patched(&mut self, document: &[u8], differences: &[u8], row: &mut RowBuilder) -> Decoded<()> {
        let out = self.cleared();
        push_patched(out, document, differences)?;
        row.push(Cell::Text(out));
        Ok(())
    }
}

/// Which JSON columns of an image are differences; a bit for each.
#[derive(Debug, Clone, Copy, Default)]
struct Diffed<'a> {
    bits: &'a [u8],
}

/// Cuts one image into slots, one for each column. `present` has the columns that the image has; a bit for each of those
/// says whether it is NULL.
fn cut(
    columns: &[Column],
    present: &[u8],
    data: &[u8],
    reader: &mut Reader<'_>,
    slots: &mut Vec<Slot>,
    diffed: Diffed<'_>,
) -> Result<(), Failed> {
    slots.clear();
    let in_image = count_bits(present, columns.len());
    let nulls = reader.take(in_image.div_ceil(8)).map_err(|cause| (None, cause))?;
    let (mut place, mut json) = (0, 0);
    for (index, column) in columns.iter().enumerate() {
        let is_json = matches!(column.log, LogType::Json { .. });
        let is_diffed = is_json && bit(diffed.bits, json);
        json += usize::from(is_json);
        if !bit(present, index) {
            slots.push(Slot::Absent);
            continue;
        }
        let is_null = bit(nulls, place);
        place += 1;
        if is_null {
            slots.push(Slot::Null);
            continue;
        }
        let value = column.log.split_value(reader).map_err(|cause| (Some(index), cause))?;
        let end = data.len() - reader.remaining();
        let range = end.checked_sub(value.len()).ok_or((Some(index), CUT))?..end;
        slots.push(if is_diffed { Slot::Differences(range) } else { Slot::Value(range) });
    }
    Ok(())
}

#[inline]
fn bit(bits: &[u8], index: usize) -> bool {
    bits.get(index / 8).is_some_and(|byte| byte >> (index % 8) & 1 == 1)
}

/// Of the first `len` bits.
fn count_bits(bits: &[u8], len: usize) -> usize {
    let whole: u32 = bits.iter().take(len / 8).map(|byte| byte.count_ones()).sum();
    let rest = bits.get(len / 8).map_or(0, |byte| (byte & ((1 << (len % 8)) - 1)).count_ones());
    (whole + rest) as usize
}
