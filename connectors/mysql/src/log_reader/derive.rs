//! A column's native text from what the log says of it (`binlog_row_metadata = FULL`).
//!
//! The log does not tell MariaDB's UUID from BINARY(16) or its JSON from text: there the catalog's word counts, as long as
//! it can be so.

use crate::binlog::{LogType, TableMap};
use crate::catalog::query_text;
use crate::connection::Server;
use crate::kind::Kind;
use crate::statements::LogColumn;
use mysql_async::Conn;
use rowferry_api::{Error, ErrorKind, Result};
use std::collections::HashMap;

/// The server's collations by number.
#[derive(Debug, Default)]
pub(super) struct Collations(HashMap<u64, Collation>);

#[derive(Debug)]
struct Collation {
    name: String,
    charset: String,
    /// Bytes of its longest character.
    max_bytes: u32,
}

impl Collations {
    pub(super) async fn load(conn: &mut Conn, server: Server) -> Result<Self> {
        let sql = if server.is_mariadb(10, 10) {
            "SELECT a.ID, a.FULL_COLLATION_NAME, a.CHARACTER_SET_NAME, s.MAXLEN \
             FROM information_schema.COLLATION_CHARACTER_SET_APPLICABILITY a \
             JOIN information_schema.CHARACTER_SETS s ON s.CHARACTER_SET_NAME = a.CHARACTER_SET_NAME"
        } else {
            "SELECT c.ID, c.COLLATION_NAME, c.CHARACTER_SET_NAME, s.MAXLEN FROM information_schema.COLLATIONS c \
             JOIN information_schema.CHARACTER_SETS s ON s.CHARACTER_SET_NAME = c.CHARACTER_SET_NAME"
        };
        let rows = query_text(conn, "read the server's collations", sql).await?;
        let collation = |row: Vec<Option<String>>| {
            let mut row = row.into_iter();
            let id = row.next()??.parse().ok()?;
            let (name, charset) = (row.next()??, row.next()??);
            Some((id, Collation { name, charset, max_bytes: row.next()??.parse().ok()? }))
        };
        Ok(Self(rows.into_iter().filter_map(collation).collect()))
    }

    fn get(&self, id: u64) -> Option<&Collation> {
        self.0.get(&id)
    }
}

/// The column at `place` as the log has it.
pub(super) fn column(
    map: &TableMap,
    place: usize,
    name: &str,
    known: &[LogColumn],
    collations: &Collations,
) -> Result<LogColumn> {
    let known = known.iter().find(|column| column.name == name);
    let derived = native(map, place, collations);
    let derived_kind = derived.as_deref().and_then(Kind::parse);
    if let Some(known) = known {
        let known_kind = Kind::parse(&known.native);
        let agrees = match (&known_kind, &derived_kind) {
            (Some(known), Some(derived)) => looks_like(known, derived),
            // The log says less than it takes to know.
            (Some(_), None) => true,
            _ => false,
        };
        if agrees {
            return Ok(known.clone());
        }
    }
    match derived {
        Some(native) => {
            let generated = known.and_then(|known| known.generated);
            Ok(LogColumn { name: name.to_owned(), native, generated })
        }
        None => Err(Error::new(
            ErrorKind::Schema,
            format!(
                "read rows of {}.{}: the log has a column {name} that the catalog does not know",
                map.schema, map.table
            ),
        )),
    }
}

/// Whether a column of the kind `known` may be described in the log as one of the kind `derived`.
fn looks_like(known: &Kind, derived: &Kind) -> bool {
    match (known, derived) {
        (Kind::Uuid | Kind::Inet6, Kind::Binary { bytes: 16 }) | (Kind::Inet4, Kind::Binary { bytes: 4 }) => true,
        (Kind::Json, Kind::Text { .. }) | (Kind::Vector, Kind::Varbinary { .. } | Kind::Blob { .. }) => true,
        (Kind::Enum { labels, .. }, Kind::Enum { labels: derived, .. })
        | (Kind::Set { labels, .. }, Kind::Set { labels: derived, .. }) => labels == derived,
        (known, derived) => known == derived,
    }
}

fn native(map: &TableMap, place: usize, collations: &Collations) -> Option<String> {
    let unsigned = match map.is_unsigned(place) {
        Some(true) => " unsigned",
        _ => "",
    };
    let digits = |name: &str, digits: u8| if digits == 0 { name.to_owned() } else { format!("{name}({digits})") };
    let collation = || map.collation(place).and_then(|id| collations.get(id));
    let text = |name: String, collation: &Collation| {
        format!("{name} character set {} collate {}", collation.charset, collation.name)
    };
    let size = |length_bytes: u8| match length_bytes {
        1 => "tiny",
        2 => "",
        3 => "medium",
        _ => "long",
    };
    match *map.columns.get(place)? {
        LogType::Int { bytes } => {
            let name = match bytes {
                1 => "tinyint",
                2 => "smallint",
                3 => "mediumint",
                4 => "int",
                _ => "bigint",
            };
            map.is_unsigned(place)?;
            Some(format!("{name}{unsigned}"))
        }
        LogType::Float => Some(format!("float{unsigned}")),
        LogType::Double => Some(format!("double{unsigned}")),
        LogType::Decimal { precision, scale } => Some(format!("decimal({precision},{scale}){unsigned}")),
        LogType::Year => Some("year".into()),
        LogType::Bit { bits } => Some(format!("bit({bits})")),
        LogType::Date => Some("date".into()),
        LogType::OldTime => Some("time".into()),
        LogType::OldDatetime => Some("datetime".into()),
        LogType::OldTimestamp => Some("timestamp".into()),
        LogType::Time { digits: count } => Some(digits("time", count)),
        LogType::Datetime { digits: count } => Some(digits("datetime", count)),
        LogType::Timestamp { digits: count } => Some(digits("timestamp", count)),
        LogType::String { max_bytes } => collation().map(|collation| match collation.charset.as_str() {
            "binary" => format!("binary({max_bytes})"),
            _ => text(format!("char({})", u32::from(max_bytes) / collation.max_bytes.max(1)), collation),
        }),
        LogType::Varchar { max_bytes, .. } => collation().map(|collation| match collation.charset.as_str() {
            "binary" => format!("varbinary({max_bytes})"),
            _ => text(format!("varchar({})", u32::from(max_bytes) / collation.max_bytes.max(1)), collation),
        }),
        LogType::Blob { length_bytes, .. } => collation().map(|collation| match collation.charset.as_str() {
            "binary" => format!("{}blob", size(length_bytes)),
            _ => text(format!("{}text", size(length_bytes)), collation),
        }),
        LogType::Geometry { .. } => Some("geometry".into()),
        LogType::Json { .. } => Some("json".into()),
        LogType::Vector { .. } => Some("vector".into()),
        LogType::Enum { .. } => labels(map, place).map(|labels| format!("enum({labels})")),
        LogType::Set { .. } => labels(map, place).map(|labels| format!("set({labels})")),
    }
}

/// The labels as a native text has them; `None` if they are not UTF-8, which only the catalog can tell then.
fn labels(map: &TableMap, place: usize) -> Option<String> {
    let quoted = |label: &Vec<u8>| Some(format!("'{}'", std::str::from_utf8(label).ok()?.replace('\'', "''")));
    Some(map.labels(place)?.iter().map(quoted).collect::<Option<Vec<_>>>()?.join(","))
}
