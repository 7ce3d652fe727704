//! Tables as both ends see them: names, columns, types, keys, and how a table's form changes.

use serde::{Deserialize, Serialize};
use std::fmt;

/// A table's name within one database. A store without schemas leaves `schema` empty.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct TableName {
    /// Schema (PostgreSQL) or database (MySQL).
    pub schema: String,
    /// Table, exactly as the catalog spells it.
    pub name: String,
}

impl TableName {
    /// A name from its two parts.
    pub fn new(schema: impl Into<String>, name: impl Into<String>) -> Self {
        Self { schema: schema.into(), name: name.into() }
    }
}

/// `schema.name`, unquoted, as configurations and messages write it.
impl fmt::Display for TableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.schema.is_empty() { f.write_str(&self.name) } else { write!(f, "{}.{}", self.schema, self.name) }
    }
}

/// Whose SQL the `native` texts of a schema are written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Dialect {
    /// PostgreSQL.
    Postgres,
    /// MySQL and MariaDB.
    Mysql,
    /// SQLite.
    Sqlite,
}

/// One form of one table. What the target sees carries the target's name and only the columns that go there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableSchema {
    /// The table's name at the store that this form is meant for.
    pub name: TableName,
    /// Whose SQL the native texts below are.
    pub dialect: Dialect,
    /// The columns that rows carry, in the order of their cells.
    pub columns: Vec<Column>,
    /// Columns that the store computes itself and no row carries.
    pub computed: Vec<Column>,
    /// Indexes into `columns`: primary key, else a unique not-null index, else what the configuration names.
    /// Empty if the table has none.
    pub key: Vec<usize>,
    /// Secondary indexes and unique constraints, built once the table is consistent.
    pub indexes: Vec<Index>,
    /// Foreign keys, built once both tables are consistent.
    pub foreign_keys: Vec<ForeignKey>,
    /// Types of the user that the columns need, each after those that it uses.
    pub types: Vec<TypeDef>,
}

impl TableSchema {
    /// A table of these columns and this key, and nothing else.
    pub fn new(name: TableName, dialect: Dialect, columns: Vec<Column>, key: Vec<usize>) -> Self {
        let (computed, indexes, foreign_keys, types) = Default::default();
        Self { name, dialect, columns, computed, key, indexes, foreign_keys, types }
    }

    /// The place of a column among the cells.
    pub fn column_index(&self, name: &str) -> Option<usize> {
        self.columns.iter().position(|column| column.name == name)
    }

    /// The key's columns, in key order.
    pub fn key_columns(&self) -> impl Iterator<Item = &Column> {
        self.key.iter().map(|&index| &self.columns[index])
    }
}

/// A column.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Column {
    /// The source's own id of the column, which survives a rename (PostgreSQL: attnum). 0 if unknown.
    pub id: i32,
    /// Exactly as the catalog spells it.
    pub name: String,
    /// What the text of its cells means.
    #[serde(rename = "type")]
    pub ty: Type,
    /// The type in the schema's dialect, ready for DDL: `numeric(12,2)`, `public."Mood"`.
    pub native: String,
    /// May hold NULL.
    pub nullable: bool,
    /// Default as an expression of the dialect, where it depends on nothing that the target may lack.
    pub default: Option<String>,
    /// The column counts up by itself (identity, serial, AUTO_INCREMENT).
    pub identity: bool,
    /// Set for the columns in [`TableSchema::computed`].
    pub generated: Option<Generated>,
    /// What rows hold that were there before the column was added.
    pub fill: Fill,
}

/// How the store computes a column.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Generated {
    /// An expression of the dialect.
    pub expression: String,
    /// Kept on disk, or computed when read.
    pub stored: bool,
}

/// What rows hold in a column that was added after them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Fill {
    /// NULL.
    Null,
    /// The same value everywhere, as text of the column's type.
    Value(String),
    /// A value a row that no catalog knows (a volatile default): the table has to be copied again.
    Unknown,
}

/// What a cell's text means. The text itself is lossless and the same for all stores:
///
/// | type | text |
/// |---|---|
/// | Bool | `t` or `f` |
/// | Int | decimal digits, `-` in front |
/// | Float | shortest text that reads back to the same bits; `NaN`, `Infinity`, `-Infinity` |
/// | Numeric | decimal digits with scale kept (`1.10`); `NaN`, `Infinity`, `-Infinity` |
/// | Text, Char | the text; Char padded with blanks as its source pads it |
/// | Bytes | `\x` and lower-case hex, or a raw cell |
/// | Date, Time, TimeTz, Timestamp, TimestampTz | ISO 8601 with a blank, UTC; `infinity`, `-infinity`, ` BC` |
/// | Interval | PostgreSQL's `postgres` style |
/// | Uuid | lower case with hyphens |
/// | Json, Xml, Enum | the text |
/// | Bits | `0` and `1` |
/// | Array, Other | the source's own text form, named by [`Column::native`] |
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Type {
    /// Truth value.
    Bool,
    /// Whole number of that many bits.
    Int {
        /// 8, 16, 24, 32 or 64.
        bits: u8,
        /// No sign: 0 to 2^bits-1.
        unsigned: bool,
    },
    /// IEEE 754 binary number of 32 or 64 bits.
    Float {
        /// 32 or 64.
        bits: u8,
    },
    /// Exact decimal number.
    Numeric,
    /// Text of any length or up to a limit.
    Text,
    /// Text padded with blanks to a fixed length.
    Char,
    /// Bytes.
    Bytes,
    /// Day.
    Date,
    /// Time of day.
    Time,
    /// Time of day with an offset.
    TimeTz,
    /// Day and time without a zone.
    Timestamp,
    /// A moment; text in UTC.
    TimestampTz,
    /// Length of time.
    Interval,
    /// UUID.
    Uuid,
    /// JSON.
    Json,
    /// XML.
    Xml,
    /// String of bits.
    Bits,
    /// One of a list of labels.
    Enum,
    /// Array of another type.
    Array(Box<Type>),
    /// Anything else.
    Other,
}

/// A type of the user that a column needs at the target.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TypeDef {
    /// Schema and name of the type.
    pub name: TableName,
    /// What it is.
    pub kind: TypeDefKind,
}

/// What a type of the user is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum TypeDefKind {
    /// Labels in order.
    Enum {
        /// Labels in their sort order.
        labels: Vec<String>,
    },
    /// A base type with constraints.
    Domain {
        /// The base type in the dialect.
        base: String,
        /// NOT NULL holds for it.
        not_null: bool,
        /// `CHECK (...)` clauses in the dialect.
        checks: Vec<String>,
    },
    /// A row type: names and types of its fields in the dialect.
    Composite {
        /// Field name and type.
        fields: Vec<(String, String)>,
    },
    /// A range over a subtype: the options of `CREATE TYPE ... AS RANGE (...)` in the dialect.
    Range {
        /// The text between the parentheses.
        options: String,
    },
    /// Comes with an extension (hstore, PostGIS).
    Extension {
        /// The extension's name.
        extension: String,
    },
}

/// A secondary index or unique constraint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Index {
    /// Its name at the source.
    pub name: String,
    /// No two rows are equal in it.
    pub unique: bool,
    /// Column names in order, where it is a plain index over columns; empty if it is over expressions.
    pub columns: Vec<String>,
    /// It covers only some rows.
    pub partial: bool,
    /// Full definition in the dialect, with `{table}` where the table's quoted name stands:
    /// `CREATE UNIQUE INDEX x ON {table} USING btree (lower(email))`.
    pub definition: String,
    /// Set if it is a constraint: the clause after `ADD CONSTRAINT name`, `UNIQUE (a, b) DEFERRABLE`.
    pub constraint: Option<String>,
}

/// A foreign key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ForeignKey {
    /// Its name at the source.
    pub name: String,
    /// Referencing column names.
    pub columns: Vec<String>,
    /// The table referred to, by its name at the store that the schema is meant for.
    pub references: TableName,
    /// Referenced column names.
    pub referenced_columns: Vec<String>,
    /// What follows the column lists in the dialect: `ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED`.
    pub actions: String,
}

/// One change of a target table's form. All of them are safe to repeat: a column that is there already is not
/// added again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Alteration {
    /// A new column; rows that are there take [`Column::fill`].
    AddColumn(Column),
    /// A new column that the target computes itself.
    AddComputed(Column),
    /// A column is gone at the source.
    DropColumn(String),
    /// A column has a wider type now (the new form).
    ChangeType(Column),
    /// A column may hold NULL now.
    DropNotNull(String),
    /// New labels of an enum; the list is the whole new list, in order.
    EnumLabels(TypeDef),
}
