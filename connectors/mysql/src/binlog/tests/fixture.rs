//! Reads fixtures, and replays their log into tables.

use super::*;
use crate::charset::Charsets;
use rowferry_api::{Cell, Result, Row};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io::Read as _;
use std::path::PathBuf;
use std::sync::Arc;

/// A log, and the tables at its end. The texts beside it are lines: `server` and its version, `table`, its `column`s with
/// their native texts, its `row`s with tabs between cells (`NULL`, or `=` and the text that SELECT printed, escaped as by
/// the client's batch mode). All servers answer the same for latin2.
pub(super) struct Fixture {
    pub(super) flavor: Flavor,
    pub(super) log: Bytes,
    pub(super) tables: Vec<Table>,
    pub(super) charsets: Charsets,
}

pub(super) struct Table {
    pub(super) name: String,
    pub(super) form: Vec<(String, Kind)>,
    rows: Vec<Vec<Option<String>>>,
}

impl Fixture {
    pub(super) fn read(name: &str) -> Self {
        let path =
            |end: &str| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(format!("{name}.{end}"));
        let mut log = Vec::new();
        let file = std::fs::File::open(path("binlog.gz")).unwrap();
        flate2::read::GzDecoder::new(file).read_to_end(&mut log).unwrap();
        assert_eq!(log[..4], *b"\xfebin");
        let text = std::fs::read_to_string(path("expected")).unwrap();
        let mut fixture = Self {
            flavor: Flavor::Mysql,
            log: Bytes::from(log).slice(4..),
            tables: Vec::new(),
            charsets: Charsets::default(),
        };
        for line in text.lines() {
            fixture.read_line(line);
        }
        let latin2 = include_str!("../../../tests/fixtures/latin2.charset").trim_end();
        fixture.charsets.learn("latin2", &[latin2.to_owned()]).unwrap();
        fixture
    }

    fn read_line(&mut self, line: &str) {
        let (word, rest) = line.split_once(' ').unwrap();
        match word {
            "server" if rest.contains("MariaDB") => self.flavor = Flavor::Mariadb,
            "server" => {}
            "table" => self.tables.push(Table { name: rest.into(), form: Vec::new(), rows: Vec::new() }),
            "column" => {
                let (name, native) = rest.split_once(' ').unwrap();
                let kind = Kind::parse(native).unwrap_or_else(|| panic!("{native}"));
                self.tables.last_mut().unwrap().form.push((name.into(), kind));
            }
            "row" => {
                let cells = rest.split('\t').map(|cell| cell.strip_prefix('=').map(unescape)).collect();
                self.tables.last_mut().unwrap().rows.push(cells);
            }
            _ => panic!("{line}"),
        }
    }

    /// The last description of a table.
    pub(super) fn table_map(&self, name: &str) -> Arc<TableMap> {
        let mut decoder = Decoder::new(self.flavor);
        let maps = self.events().into_iter().filter_map(|raw| match decoder.parse(&raw).unwrap().1 {
            LogEvent::TableMap(map) => Some(map),
            _ => None,
        });
        maps.filter(|map| format!("{}.{}", map.schema, map.table) == name).last().unwrap()
    }

    /// The log cut into whole events.
    pub(super) fn events(&self) -> Vec<Bytes> {
        let (mut rest, mut events) = (self.log.clone(), Vec::new());
        while !rest.is_empty() {
            let size = u32::from_le_bytes(rest[9..13].try_into().unwrap()) as usize;
            events.push(rest.split_to(size));
        }
        events
    }
}

fn unescape(text: &str) -> String {
    let mut chars = text.chars();
    let mut out = String::new();
    while let Some(char) = chars.next() {
        out.push(match char {
            '\\' => match chars.next().unwrap() {
                'n' => '\n',
                't' => '\t',
                '0' => '\0',
                char => char,
            },
            char => char,
        });
    }
    out
}

/// A cell that owns its bytes.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    Null,
    Unchanged,
    Text(String),
    Raw(Vec<u8>),
}

/// Tables by name, rows by their first cell.
pub(super) struct Replica<'a> {
    decoder: Decoder,
    forms: HashMap<String, &'a [(String, Kind)]>,
    charsets: Charsets,
    tables: HashMap<String, BTreeMap<String, Vec<Value>>>,
    decoders: HashMap<String, (Arc<TableMap>, RowDecoder)>,
    pub(super) seen: Seen,
}

/// What a log had.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// Types of the events.
    pub(super) types: BTreeSet<u8>,
    /// What some events said.
    pub(super) texts: Vec<String>,
    /// Cells that images lacked.
    pub(super) unchanged: usize,
}

impl<'a> Replica<'a> {
    pub(super) fn new(fixture: &'a Fixture) -> Self {
        let forms = fixture.tables.iter().map(|table| (table.name.clone(), &*table.form)).collect();
        Self {
            decoder: Decoder::new(fixture.flavor),
            forms,
            charsets: fixture.charsets.clone(),
            tables: HashMap::new(),
            decoders: HashMap::new(),
            seen: Seen::default(),
        }
    }

    pub(super) fn apply(&mut self, raw: &Bytes) -> Result<()> {
        let (header, event) = self.decoder.parse(raw)?;
        if let LogEvent::Payload(payload) = &event {
            self.seen.types.insert(header.type_code);
            for inner in payload.events() {
                let (header, event) = self.decoder.parse_inner(&inner?)?;
                self.apply_event(header, event)?;
            }
            return Ok(());
        }
        self.apply_event(header, event)
    }

    /// Reads an event that may be damaged, and its rows, for nothing.
    pub(super) fn damaged(&mut self, raw: &Bytes) -> Result<()> {
        let (_, event) = self.decoder.parse(raw)?;
        let mut events = vec![event];
        if let LogEvent::Payload(payload) = &events[0] {
            let inner = payload.events().filter_map(|raw| Some(self.decoder.parse_inner(&raw.ok()?).ok()?.1));
            events = inner.collect();
        }
        for event in events {
            let LogEvent::Rows(rows) = event else { continue };
            let name = format!("{}.{}", rows.table.schema, rows.table.table);
            let Some(form) = self.forms.get(&name) else { continue };
            let select: Vec<usize> = (0..form.len()).collect();
            let Ok(mut decoder) = RowDecoder::new(&rows.table, form, &select, &self.charsets) else { continue };
            let _ = decoder.rows(&rows, |_, _| Ok(()));
        }
        Ok(())
    }

    fn apply_event(&mut self, header: Header, event: LogEvent) -> Result<()> {
        self.seen.types.insert(header.type_code);
        match event {
            LogEvent::Gtid(event) => {
                self.seen.texts.extend(event.gtid.map(|gtid| format!("gtid {gtid}")));
                self.seen.texts.extend(event.commit_time_us.map(|_| "commit time".to_owned()));
            }
            LogEvent::RowsQuery(text) => self.seen.texts.push(format!("rows query {text}")),
            LogEvent::Rows(rows) => {
                let name = format!("{}.{}", rows.table.schema, rows.table.table);
                let form = self.forms[&name];
                let select: Vec<usize> = (0..form.len()).collect();
                let known = self.decoders.get(&name).is_some_and(|(map, _)| Arc::ptr_eq(map, &rows.table));
                if !known {
                    let decoder = RowDecoder::new(&rows.table, form, &select, &self.charsets)?;
                    self.decoders.insert(name.clone(), (Arc::clone(&rows.table), decoder));
                }
                let table = self.tables.entry(name.clone()).or_default();
                let unchanged = &mut self.seen.unchanged;
                let (_, decoder) = self.decoders.get_mut(&name).unwrap();
                decoder.rows(&rows, |before, after| {
                    let (before, after) = (before.map(values), after.map(values));
                    let cells = before.iter().chain(&after).flatten();
                    *unchanged += cells.filter(|cell| **cell == Value::Unchanged).count();
                    apply_row(table, rows.kind, before, after);
                    Ok(())
                })?;
            }
            _ => {}
        }
        Ok(())
    }

    /// Every cell against what the server printed.
    pub(super) fn compare(&self, table: &Table) {
        let rows = &self.tables[&table.name];
        assert_eq!(rows.len(), table.rows.len());
        for expected in &table.rows {
            let row = &rows[expected[0].as_ref().unwrap()];
            for (((name, kind), cell), expected) in table.form.iter().zip(row).zip(expected) {
                // A default value that the log left out.
                if *cell == Value::Unchanged {
                    continue;
                }
                let expected = expected.as_ref().map_or(Value::Null, |text| said(kind, text));
                assert_eq!(shown(kind, cell), shown(kind, &expected), "column {name} of row {:?}", row[0]);
            }
        }
    }
}

fn apply_row(
    table: &mut BTreeMap<String, Vec<Value>>,
    kind: RowsKind,
    before: Option<Vec<Value>>,
    after: Option<Vec<Value>>,
) {
    let key = |row: &[Value]| match &row[0] {
        Value::Text(text) => text.clone(),
        other => panic!("{other:?}"),
    };
    let old = before.map(|before| {
        let old = table.remove(&key(&before)).unwrap();
        for (before, old) in before.iter().zip(&old) {
            assert!(*before == Value::Unchanged || *old == Value::Unchanged || before == old, "{before:?} {old:?}");
        }
        old
    });
    assert_eq!(old.is_none(), kind == RowsKind::Insert);
    let Some(mut after) = after else { return };
    for (cell, old) in after.iter_mut().zip(old.iter().flatten()) {
        if *cell == Value::Unchanged {
            *cell = old.clone();
        }
    }
    if let Some(old) = old.filter(|_| after[0] == Value::Unchanged) {
        after[0] = old[0].clone();
    }
    table.insert(key(&after), after);
}

pub(super) fn values(row: Row) -> Vec<Value> {
    row.cells()
        .map(|cell| match cell {
            Cell::Null => Value::Null,
            Cell::Unchanged => Value::Unchanged,
            Cell::Text(text) => Value::Text(String::from_utf8(text.to_vec()).unwrap()),
            Cell::Raw(raw) => Value::Raw(raw.to_vec()),
        })
        .collect()
}

/// What SELECT printed, as the cell that it stands for.
fn said(kind: &Kind, text: &str) -> Value {
    let trimmed = || match text.split_once('.') {
        Some(_) => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        None => text.to_owned(),
    };
    match kind {
        Kind::Binary { .. } | Kind::Varbinary { .. } | Kind::Blob { .. } | Kind::Geometry | Kind::Vector => {
            let digits = |at: usize| u8::from_str_radix(&text[at..at + 2], 16).unwrap();
            Value::Raw((0..text.len()).step_by(2).map(digits).collect())
        }
        Kind::Time { .. } | Kind::Datetime { .. } => Value::Text(trimmed()),
        Kind::Timestamp { .. } => Value::Text(trimmed() + "+00"),
        _ => Value::Text(text.to_owned()),
    }
}

/// Floats by their value, since the server prints them in its own way.
fn shown(kind: &Kind, value: &Value) -> String {
    match (kind, value) {
        (Kind::Float, Value::Text(text)) => format!("{:?}", text.parse::<f64>().unwrap() as f32),
        (Kind::Double, Value::Text(text)) => format!("{:?}", text.parse::<f64>().unwrap()),
        _ => format!("{value:?}"),
    }
}
