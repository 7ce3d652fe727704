//! Ranges of keys as SQL, in the one order that both ends share.

use crate::catalog::quoted;
use crate::error::Explain;
use crate::plan::Plan;
use crate::types::Kind;
use rowferry_api::{Cell, Error, ErrorKind, Key, Result, float_order};
use rusqlite::{Connection, Statement};

/// How the keys of one table are compared.
pub(crate) struct Order<'a> {
    plan: &'a Plan,
    terms: Vec<Term>,
}

struct Term {
    expression: String,
    kind: Kind,
    /// Stored values sort as they should, so that an index serves.
    stored: bool,
}

impl<'a> Order<'a> {
    /// Looks at the rows too: whole numbers without sign sort by themselves as long as none is above 2^63-1.
    pub(crate) fn new(connection: &Connection, plan: &'a Plan) -> Result<Self> {
        let mut terms = Vec::new();
        for column in plan.key_columns() {
            let name = quoted(&column.name);
            let function = match column.kind {
                Kind::Float { single: true } => Some("rowferry_float4"),
                Kind::Float { single: false } => Some("rowferry_float8"),
                Kind::Unsigned => {
                    let sql = format!("SELECT EXISTS (SELECT 1 FROM {} WHERE {name} >= '')", quoted(&plan.table));
                    let found = connection.query_row(&sql, [], |row| row.get(0));
                    let has_text: bool = found.explain(|| format!("look at the keys of {}", plan.table))?;
                    has_text.then_some("rowferry_unsigned")
                }
                _ => None,
            };
            let stored = function.is_none();
            let expression = function.map_or(column.compared(), |function| format!("{function}({name})"));
            terms.push(Term { expression, kind: column.kind, stored });
        }
        Ok(Self { plan, terms })
    }

    /// Whether an index can serve.
    pub(crate) fn is_stored(&self) -> bool {
        self.terms.iter().all(|term| term.stored)
    }

    /// For `ORDER BY`.
    pub(crate) fn list(&self) -> String {
        self.terms.iter().map(|term| term.expression.as_str()).collect::<Vec<_>>().join(", ")
    }

    /// ` WHERE` for the keys after the one in `?first...` and up to the one that follows it; empty for all.
    pub(crate) fn clause(&self, after: bool, upto: bool, first: usize) -> String {
        let mut conditions = Vec::new();
        if after {
            conditions.push(self.compare(">", first));
        }
        if upto {
            conditions.push(self.compare("<=", if after { first + self.terms.len() } else { first }));
        }
        if conditions.is_empty() { String::new() } else { format!(" WHERE {}", conditions.join(" AND ")) }
    }

    fn compare(&self, operator: &str, first: usize) -> String {
        let values: Vec<_> = (0..self.terms.len()).map(|at| format!("?{}", first + at)).collect();
        format!("({}) {operator} ({})", self.list(), values.join(", "))
    }

    /// Binds the ends that [`clause`](Self::clause) was made for.
    pub(crate) fn bind(
        &self,
        statement: &mut Statement<'_>,
        after: Option<&Key>,
        upto: Option<&Key>,
        first: usize,
    ) -> Result<()> {
        let mut next = first;
        for key in [after, upto].into_iter().flatten() {
            self.bind_end(statement, key, next)?;
            next += self.terms.len();
        }
        Ok(())
    }

    fn bind_end(&self, statement: &mut Statement<'_>, key: &Key, first: usize) -> Result<()> {
        if self.is_stored() {
            return self.plan.bind_key_from(statement, first, key, &mut Vec::new());
        }
        let what = || format!("compare keys of {}", self.plan.table);
        if key.cells().count() != self.terms.len() {
            return Err(Error::new(ErrorKind::Protocol, format!("{}: a key has too few cells", what())));
        }
        for (at, (term, cell)) in self.terms.iter().zip(key.cells()).enumerate() {
            let at = first + at;
            let text = match cell {
                Cell::Text(text) | Cell::Raw(text) => std::str::from_utf8(text).ok(),
                Cell::Null | Cell::Unchanged => None,
            };
            let bound = match (term.stored, term.kind, text) {
                (true, ..) => {
                    let mut scratch = Vec::new();
                    let bound = crate::bind::bind(statement, at, term.kind, false, cell, &mut scratch);
                    bound.map_err(|refusal| refusal.of_column(&self.plan.table, &term.expression))?;
                    continue;
                }
                (false, Kind::Unsigned, Some(text)) => {
                    let number: u64 =
                        text.parse().map_err(|error| Error::new(ErrorKind::Protocol, what()).because(error))?;
                    statement.raw_bind_parameter(at, number.to_be_bytes().as_slice())
                }
                (false, Kind::Float { single }, Some(text)) => match float_order(text.as_bytes(), single) {
                    Some(order) => statement.raw_bind_parameter(at, order),
                    None => statement.raw_bind_parameter(at, text),
                },
                (false, _, text) => statement.raw_bind_parameter(at, text),
            };
            bound.explain(what)?;
        }
        Ok(())
    }
}
