//! How rows of one form of a table are written: which columns the table has, and the parts of statements. Pure.

use super::catalog::{TargetTable, Unique};
use super::fit;
use super::load::Place;
use super::write::{Form, Layout};
use crate::connection::{Server, quote_name};
use crate::keys;
use crate::kind::Kind;
use rowferry_api::{Cell, Error, ErrorKind, Key, Result, Row, TableSchema, decode_copy_row};

/// A column that is written.
#[derive(Debug, Clone)]
pub(super) struct Written {
    /// The place of its cell in a row.
    pub(super) place: usize,
    /// Quoted.
    pub(super) name: String,
    pub(super) native: String,
    form: Form,
    pub(super) is_key: bool,
    /// NULL would be the present time, in silence.
    tells_the_time: bool,
}

/// Where the values of a row come from that was there already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Values {
    /// The list of a statement.
    List,
    /// A temporary table by the name of `s`, whose columns are `c0`, `c1` and so on.
    Stage,
}

/// How rows of one form are written.
#[derive(Debug)]
pub(super) struct Shape {
    /// Database and table, quoted.
    pub(super) table: String,
    /// The table's database, quoted.
    pub(super) database: String,
    /// What a message says that is done with it.
    pub(super) context: String,
    /// In the order of the cells.
    pub(super) columns: Vec<Written>,
    /// Indexes into `columns`, in key order.
    pub(super) key: Vec<usize>,
    /// Unique indexes that are not the key's.
    pub(super) others: Vec<Unique>,
    /// Quoted columns that take the time of an update unless it writes them.
    follow_updates: Vec<String>,
    /// The form with the server's own native texts.
    pub(super) localized: TableSchema,
    /// How many cells a row has.
    cells: usize,
    /// Its rows can be lines of fields.
    pub(super) has_lines: bool,
    /// The server has an alias for the rows of a list; before, and on MariaDB, VALUES().
    has_alias: bool,
    /// The table's bare name, quoted.
    own: String,
}

impl Shape {
    pub(super) fn new(form: &TableSchema, have: &TargetTable, server: Server) -> Result<Self> {
        let (mut columns, mut has_lines) = (Vec::new(), true);
        for (place, column) in form.columns.iter().enumerate() {
            let Some(there) = have.column(&column.name).filter(|there| !there.generated) else { continue };
            let kind = Kind::parse(&there.native);
            has_lines &= Form::has_fields(kind.as_ref(), server);
            let is_key = form.key.contains(&place);
            let loses_blanks = is_key && fit::loses_blanks(form.dialect, column, &there.native);
            columns.push(Written {
                place,
                name: quote_name(&column.name),
                native: there.native.clone(),
                form: if loses_blanks { Form::Unpadded } else { Form::of(kind.as_ref(), server) },
                is_key,
                tells_the_time: there.not_null && matches!(kind, Some(Kind::Timestamp { .. })),
            });
        }
        let at = |place: &usize| columns.iter().position(|column| column.place == *place);
        let key: Option<Vec<usize>> = form.key.iter().map(at).collect();
        let key = key.filter(|key| !key.is_empty()).ok_or_else(|| {
            Error::new(ErrorKind::Schema, format!("write table {}: it lacks a column of the key", form.name))
        })?;
        let names: Vec<&str> = form.key_columns().map(|column| column.name.as_str()).collect();
        let others = have.uniques.iter().filter(|unique| !unique.is_over(&names)).cloned().collect();
        let follow_updates = have.columns.iter().filter(|column| column.follows_updates);
        Ok(Self {
            table: have.quoted.clone(),
            database: quote_name(&form.name.schema),
            context: format!("write table {}", form.name),
            key,
            others,
            follow_updates: follow_updates.map(|column| quote_name(&column.name)).collect(),
            localized: keys::localized(form, |name| have.column(name).map(|there| there.native.clone())),
            cells: form.columns.len(),
            has_lines,
            has_alias: server.is_mysql(8, 0) && (server.version > (8, 0, 18)),
            own: quote_name(&form.name.name),
            columns,
        })
    }

    pub(super) fn key_columns(&self) -> impl Iterator<Item = &Written> {
        self.key.iter().map(|&index| &self.columns[index])
    }

    /// A temporary table beside it, which each connection has for itself.
    pub(super) fn stage(&self, name: &str) -> String {
        format!("{}.{}", self.database, quote_name(name))
    }

    pub(super) fn names(&self) -> String {
        self.columns.iter().map(|column| column.name.as_str()).collect::<Vec<_>>().join(", ")
    }

    /// Where rows go that are new to the table.
    pub(super) fn place(&self) -> Place {
        Place { table: self.table.clone(), columns: self.names() }
    }

    /// What follows the rows so that they take the place of those that are there. Where another row stands in the way of
    /// another unique index, the key is set to NULL, which a key refuses: see [`is_refused_by_guard`](Self::is_refused_by_guard).
    pub(super) fn upsert_tail(&self, values: Values) -> String {
        let alias = values == Values::List && self.has_alias;
        let new = |index: usize| match values {
            Values::Stage => format!("s.c{index}"),
            Values::List if alias => format!("rowferry_new.{}", self.columns[index].name),
            Values::List => format!("VALUES({})", self.columns[index].name),
        };
        let is_same =
            self.key.iter().map(|&index| format!("{}.{} <=> {}", self.own, self.columns[index].name, new(index)));
        let is_same = is_same.collect::<Vec<_>>().join(" AND ");
        // The key's first column comes first: those after it would see what it has been set to.
        let guard = self.key[0];
        let set = |index: usize| {
            let column = &self.columns[index];
            match index == guard && !self.others.is_empty() {
                true => format!("{} = IF({is_same}, {}, NULL)", column.name, new(index)),
                false => format!("{} = {}", column.name, new(index)),
            }
        };
        let others = (0..self.columns.len()).filter(|index| *index != guard);
        let kept = self.kept(|_| true);
        let list: Vec<String> = std::iter::once(guard).chain(others).map(set).chain(kept).collect();
        format!("{} ON DUPLICATE KEY UPDATE {}", if alias { " AS rowferry_new" } else { "" }, list.join(", "))
    }

    /// Assignments that keep the columns that would follow an update and that it does not write.
    fn kept(&self, is_set: impl Fn(&Written) -> bool) -> Vec<String> {
        let written = |name: &String| self.columns.iter().any(|column| column.name == *name && is_set(column));
        let kept = self.follow_updates.iter().filter(|name| !written(name));
        kept.map(|name| format!("{0}.{name} = {0}.{name}", self.own)).collect()
    }

    /// Whether an upsert met a row of another key.
    pub(super) fn is_refused_by_guard(&self, error: &Error) -> bool {
        let said = error.to_string();
        let key = self.columns[self.key[0]].name.trim_matches('`');
        !self.others.is_empty() && said.ends_with("(1048)") && said.contains(&format!("'{key}'"))
    }

    /// Appends `(1, 'a')`.
    pub(super) fn put_row(&self, row: &Row, out: &mut Vec<u8>) -> Result<()> {
        self.put(Layout::Literals, out, |put| row.cells().for_each(|cell| put.cell(cell)))
    }

    /// Appends a line of fields.
    pub(super) fn put_fields(&self, row: &Row, out: &mut Vec<u8>) -> Result<()> {
        self.put(Layout::Fields, out, |put| row.cells().for_each(|cell| put.cell(cell)))
    }

    /// Appends the row of a line of COPY text.
    pub(super) fn put_line(&self, line: &[u8], scratch: &mut Vec<u8>, out: &mut Vec<u8>) -> Result<()> {
        self.put(Layout::Literals, out, |put| put.line(line, scratch))
    }

    /// Appends a line of fields of a line of COPY text.
    pub(super) fn put_line_of_fields(&self, line: &[u8], scratch: &mut Vec<u8>, out: &mut Vec<u8>) -> Result<()> {
        self.put(Layout::Fields, out, |put| put.line(line, scratch))
    }

    fn put(&self, layout: Layout, out: &mut Vec<u8>, cells: impl FnOnce(&mut Put<'_>)) -> Result<()> {
        let mut put = Put { shape: self, layout, next: 0, seen: 0, result: Ok(()), out };
        cells(&mut put);
        put.finish()
    }

    fn put_cell(&self, layout: Layout, column: &Written, cell: Cell<'_>, out: &mut Vec<u8>) -> Result<()> {
        let put = match cell == Cell::Null && column.tells_the_time {
            true => Err(Error::new(ErrorKind::BadRow, "it is NULL, and the target's column is NOT NULL")),
            false => column.form.put(layout, cell, out),
        };
        put.map_err(|error| error.within(format!("{}: column {}", self.context, column.name)))
    }

    /// Appends a key's value: a literal, or several in parentheses.
    pub(super) fn put_key(&self, key: &Key, out: &mut Vec<u8>) -> Result<()> {
        self.put_key_cells(key, out, |_, out| out.extend_from_slice(b", "), |_, _| {})
    }

    /// Appends `a = 1 AND b = 'x'`.
    pub(super) fn put_key_condition(&self, key: &Key, out: &mut Vec<u8>) -> Result<()> {
        let and = |_: &Written, out: &mut Vec<u8>| out.extend_from_slice(b" AND ");
        self.put_key_cells(key, out, and, |column, out| {
            out.extend_from_slice(column.name.as_bytes());
            out.extend_from_slice(b" = ");
        })
    }

    fn put_key_cells(
        &self,
        key: &Key,
        out: &mut Vec<u8>,
        between: impl Fn(&Written, &mut Vec<u8>),
        before: impl Fn(&Written, &mut Vec<u8>),
    ) -> Result<()> {
        let mut cells = key.cells();
        for (place, column) in self.key_columns().enumerate() {
            let cell = cells
                .next()
                .ok_or_else(|| Error::new(ErrorKind::Protocol, format!("{}: a key has too few cells", self.context)))?;
            if place > 0 {
                between(column, out);
            }
            before(column, out);
            self.put_cell(Layout::Literals, column, cell, out)?;
        }
        Ok(())
    }

    /// Appends `UPDATE t SET b = 'x' WHERE `; `with_key` writes the key's cells too.
    pub(super) fn put_update(&self, row: &Row, with_key: bool, out: &mut Vec<u8>) -> Result<()> {
        out.extend_from_slice(format!("UPDATE {} SET ", self.table).as_bytes());
        let start = out.len();
        let mut wanted = self.columns.iter().peekable();
        let mut set = Vec::new();
        for (place, cell) in row.cells().enumerate() {
            let Some(column) = wanted.next_if(|column| column.place == place) else { continue };
            if cell == Cell::Unchanged || (column.is_key && !with_key) {
                continue;
            }
            if out.len() > start {
                out.extend_from_slice(b", ");
            }
            out.extend_from_slice(column.name.as_bytes());
            out.extend_from_slice(b" = ");
            self.put_cell(Layout::Literals, column, cell, out)?;
            set.push(place);
        }
        let mut kept = self.kept(|column| set.contains(&column.place));
        if out.len() == start && kept.is_empty() {
            // Nothing to write; the statement still says whether the row is there.
            let key = &self.columns[self.key[0]].name;
            kept.push(format!("{key} = {key}"));
        }
        if out.len() > start && !kept.is_empty() {
            out.extend_from_slice(b", ");
        }
        out.extend_from_slice(kept.join(", ").as_bytes());
        out.extend_from_slice(b" WHERE ");
        Ok(())
    }
}

/// A row on its way into a statement, or into a line.
struct Put<'a> {
    shape: &'a Shape,
    layout: Layout,
    /// The column that is written next.
    next: usize,
    /// Cells that have come.
    seen: usize,
    result: Result<()>,
    out: &'a mut Vec<u8>,
}

impl Put<'_> {
    fn cell(&mut self, cell: Cell<'_>) {
        let place = self.seen;
        self.seen += 1;
        let Some(column) = self.shape.columns.get(self.next).filter(|column| column.place == place) else { return };
        match (self.layout, self.next) {
            (Layout::Literals, 0) => self.out.push(b'('),
            (Layout::Literals, _) => self.out.push(b','),
            (Layout::Fields, 0) => {}
            (Layout::Fields, _) => self.out.push(b'\t'),
        }
        self.next += 1;
        if self.result.is_ok() {
            self.result = self.shape.put_cell(self.layout, column, cell, self.out);
        }
    }

    fn line(&mut self, line: &[u8], scratch: &mut Vec<u8>) {
        decode_copy_row(line, scratch, |_, cell| self.cell(cell.map_or(Cell::Null, Cell::Text)));
    }

    fn finish(self) -> Result<()> {
        self.out.push(if self.layout == Layout::Literals { b')' } else { b'\n' });
        if self.seen != self.shape.cells {
            let (seen, cells) = (self.seen, self.shape.cells);
            let what = format!("{}: a row has {seen} cells, not {cells}", self.shape.context);
            return Err(Error::new(ErrorKind::Protocol, what));
        }
        self.result
    }
}
