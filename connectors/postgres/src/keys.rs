//! Ranges and sets of keys as SQL, in the one order that all stores share.
//!
//! The order is that of the text which COPY prints, byte by byte, but of whole numbers. `concat` prints a value as COPY
//! does; a cast to text does not (`true`, `10.0.0.1/32`, a char(n) without its blanks). Where a type's own order is the
//! same, the column stands for itself, and its index serves. Literals are left without a type, so that the server takes
//! each for the type of its column; names and operators are found with an empty search_path.

use crate::connection::{from_pg, quote_name, quote_table, quote_text};
use rowferry_api::{Cell, Column, Dialect, Key, KeyOrder, Range, Result, TableName, TableSchema, Type};
use std::fmt::Write;
use tokio_postgres::Client;

/// What the server knows of a table's key beyond its form.
#[derive(Debug, Clone, Default)]
pub(crate) struct KeyFacts {
    /// Key columns, in key order, that the server orders by the bytes of UTF-8.
    pub in_bytes: Vec<bool>,
    /// An index holds exactly the key, in its order.
    pub indexed: bool,
    /// The bytes of the server's encoding have another order than those of UTF-8.
    pub other_encoding: bool,
}

/// The encodings whose bytes are in the order of UTF-8's.
const ORDERED_ENCODING: &str = "current_setting('server_encoding') IN ('UTF8', 'SQL_ASCII', 'LATIN1')";

impl KeyFacts {
    fn is_in_bytes(&self, place: usize) -> bool {
        self.in_bytes.get(place).copied().unwrap_or(false)
    }

    /// Whether the key's index can be walked in the common order, and meets every row.
    pub(crate) fn walkable(&self, table: &TableSchema) -> bool {
        let native =
            |(place, column): (usize, &Column)| !column.nullable && orders_itself(column, self.is_in_bytes(place));
        self.indexed && !table.key.is_empty() && table.key_columns().enumerate().all(native)
    }

    /// The list to order by, and to compare with.
    pub(crate) fn order(&self, table: &TableSchema) -> String {
        let columns = table.key_columns().enumerate();
        columns.map(|(place, column)| self.ordered(column, place)).collect::<Vec<_>>().join(", ")
    }

    fn ordered(&self, column: &Column, place: usize) -> String {
        match self.is_converted(column, place) {
            true => format!("convert_to(concat({}), 'UTF8')", quote_name(&column.name)),
            false => ordered(column, self.is_in_bytes(place)),
        }
    }

    /// Its texts are compared as the bytes of UTF-8, which are not the server's.
    fn is_converted(&self, column: &Column, place: usize) -> bool {
        let bytes = matches!(KeyOrder::of(&column.ty), KeyOrder::Bytes);
        self.other_encoding && bytes && !orders_itself(column, self.is_in_bytes(place))
    }

    /// A key's values, as [`order`](Self::order) compares them.
    fn literals(&self, table: &TableSchema, key: &Key) -> String {
        let literals = table.key_columns().enumerate().zip(key.cells()).map(|((place, column), cell)| {
            let literal = literal(cell);
            if self.is_converted(column, place) { format!("convert_to({literal}, 'UTF8')") } else { literal }
        });
        literals.collect::<Vec<_>>().join(", ")
    }

    /// The condition for rows above a key.
    pub(crate) fn above(&self, table: &TableSchema, key: &Key) -> String {
        format!("({}) > ({})", self.order(table), self.literals(table, key))
    }

    /// What a server says of itself, for tables of which nothing more is known.
    pub(crate) async fn of_server(client: &Client) -> Result<Self> {
        let row = client.query_one(&format!("SELECT NOT {ORDERED_ENCODING}"), &[]).await;
        let other_encoding = row.map_err(|error| from_pg("ask for the server's encoding", error))?.get(0);
        Ok(Self { other_encoding, ..Self::default() })
    }

    /// The condition for the rows of a range of keys or a set; `None` for all rows.
    pub(crate) fn condition(&self, table: &TableSchema, range: &Range) -> Option<String> {
        match range {
            Range::Whole | Range::Native(_) => None,
            Range::Keys { after, upto } => {
                let columns = self.order(table);
                let bound = |key: &Key, op: &str| format!("({columns}) {op} ({})", self.literals(table, key));
                let bounds: Vec<String> =
                    after.iter().map(|key| bound(key, ">")).chain(upto.iter().map(|key| bound(key, "<="))).collect();
                (!bounds.is_empty()).then(|| bounds.join(" AND "))
            }
            Range::Set(keys) => Some(in_set(table, keys)),
        }
    }
}

/// The type's own order is the common one, and so is its index's.
fn orders_itself(column: &Column, in_bytes: bool) -> bool {
    match &column.ty {
        Type::Int { .. } => !is_transaction_id(column),
        // false before true as f before t; digits before letters, and a prefix before what is longer.
        Type::Bool | Type::Uuid | Type::Bytes | Type::Float { .. } => true,
        Type::Text => in_bytes,
        _ => false,
    }
}

/// These have no order of their own.
fn is_transaction_id(column: &Column) -> bool {
    matches!(column.native.as_str(), "xid" | "cid")
}

fn ordered(column: &Column, in_bytes: bool) -> String {
    let name = quote_name(&column.name);
    match (&column.ty, KeyOrder::of(&column.ty)) {
        _ if orders_itself(column, in_bytes) => name,
        (_, KeyOrder::Integer) => format!("{name}::text::int8"),
        // To an ordinary text this does nothing, and an index with collation "C" serves.
        (Type::Text, _) => format!("{name}::text COLLATE \"C\""),
        _ => format!("concat({name}) COLLATE \"C\""),
    }
}

/// Whether the type's `=` is found without a search_path and means the same value; else texts are compared.
fn has_equality(column: &Column) -> bool {
    match &column.ty {
        Type::Other => matches!(column.native.as_str(), "inet" | "cidr" | "macaddr" | "macaddr8" | "pg_lsn" | "money"),
        Type::Text => !column.native.ends_with("citext"),
        Type::Json | Type::Xml | Type::Array(_) => false,
        _ => true,
    }
}

fn in_set<'a>(table: &'a TableSchema, keys: &[Key]) -> String {
    let columns: Vec<&'a Column> = table.key_columns().collect();
    let side = |column: &Column| {
        let name = quote_name(&column.name);
        if has_equality(column) { name } else { format!("concat({name})") }
    };
    let nth = |place: usize| array(keys.iter().map(move |key| key.cells().nth(place).unwrap_or(Cell::Null)));
    match columns.as_slice() {
        [] => "false".into(),
        _ if keys.is_empty() => "false".into(),
        [column] => format!("{} = ANY ({})", side(column), nth(0)),
        _ if table.dialect != Dialect::Postgres => any_of(&columns, keys),
        _ => {
            let ty = |column: &'a Column| {
                if has_equality(column) { column.native.as_str() } else { "text" }
            };
            let list = |(place, column): (usize, &&'a Column)| format!("{}::{}[]", nth(place), ty(column));
            let sides: Vec<String> = columns.iter().map(|column| side(column)).collect();
            let lists: Vec<String> = columns.iter().enumerate().map(list).collect();
            format!("({}) IN (SELECT * FROM unnest({}))", sides.join(", "), lists.join(", "))
        }
    }
}

fn any_of(columns: &[&Column], keys: &[Key]) -> String {
    let one = |key: &Key| {
        let pairs = columns
            .iter()
            .zip(key.cells())
            .map(|(column, cell)| format!("{} = {}", quote_name(&column.name), literal(cell)));
        format!("({})", pairs.collect::<Vec<_>>().join(" AND "))
    };
    format!("({})", keys.iter().map(one).collect::<Vec<_>>().join(" OR "))
}

fn literal(cell: Cell<'_>) -> String {
    text(cell).map_or_else(|| "NULL".into(), |text| quote_text(&text))
}

/// Keys come from a server that speaks UTF-8 to us.
fn text(cell: Cell<'_>) -> Option<String> {
    match cell {
        Cell::Text(text) => Some(String::from_utf8_lossy(text).into_owned()),
        Cell::Raw(bytes) => Some(bytes.iter().fold(String::from("\\x"), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })),
        Cell::Null | Cell::Unchanged => None,
    }
}

/// An array as a literal without a type.
fn array<'a>(cells: impl Iterator<Item = Cell<'a>>) -> String {
    let element = |cell| match text(cell) {
        Some(text) => format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"")),
        None => "NULL".into(),
    };
    quote_text(&format!("{{{}}}", cells.map(element).collect::<Vec<_>>().join(",")))
}

/// Asks of `relation`, which is the table or a leaf of it, its kind (`r` or `p`), what [`KeyFacts`] holds, and, before the
/// last of that, its pg_relation_filenode. A statement without parameters. Text of an extension (citext) is not in bytes
/// whatever its collation, also below a domain.
pub(crate) fn facts_statement(table: &TableSchema, relation: &TableName) -> String {
    let names = array(table.key_columns().map(|column| Cell::Text(column.name.as_bytes())));
    let relation = quote_text(&quote_table(relation));
    format!(
        "WITH key AS (
             SELECT k.place, a.attnum, a.attcollation,
                    coalesce(CASE WHEN co.collname = 'default' THEN db.in_bytes
                                  ELSE co.collprovider = 'b' OR co.collprovider = 'c' AND co.collcollate IN ('C', 'POSIX') END, false)
                    AND {ORDERED_ENCODING}
                    AND (WITH RECURSIVE base AS (
                             SELECT t.typbasetype, t.typnamespace FROM pg_type t WHERE t.oid = a.atttypid
                             UNION ALL SELECT t.typbasetype, t.typnamespace FROM base b JOIN pg_type t ON t.oid = b.typbasetype)
                         SELECT typnamespace = 'pg_catalog'::regnamespace FROM base WHERE typbasetype = 0) AS in_bytes
             FROM unnest({names}::text[]) WITH ORDINALITY AS k(name, place)
             JOIN pg_attribute a ON a.attrelid = to_regclass({relation}) AND a.attname = k.name
             LEFT JOIN pg_collation co ON co.oid = a.attcollation
             CROSS JOIN (SELECT CASE coalesce(to_jsonb(d)->>'datlocprovider', 'c')
                                WHEN 'b' THEN true WHEN 'c' THEN d.datcollate IN ('C', 'POSIX') ELSE false END AS in_bytes
                         FROM pg_database d WHERE d.datname = current_database()) AS db)
         SELECT c.relkind, (SELECT string_agg(CASE WHEN in_bytes THEN 't' ELSE 'f' END, '' ORDER BY place) FROM key),
                EXISTS (SELECT FROM pg_index i JOIN pg_class x ON x.oid = i.indexrelid JOIN pg_am am ON am.oid = x.relam
                        WHERE i.indrelid = c.oid AND i.indisvalid AND am.amname = 'btree' AND i.indpred IS NULL
                          AND (i.indkey::int2[])[0:i.indnkeyatts - 1] = (SELECT array_agg(attnum ORDER BY place) FROM key)
                          AND (i.indcollation::oid[])[0:i.indnkeyatts - 1] = (SELECT array_agg(attcollation ORDER BY place) FROM key)
                          AND NOT EXISTS (SELECT FROM unnest(i.indoption::int2[]) AS o WHERE o <> 0)),
                coalesce(pg_relation_filenode(c.oid), 0), NOT {ORDERED_ENCODING}
         FROM pg_class c WHERE c.oid = to_regclass({relation})"
    )
}
