//! What a column's values are called, whatever store they are read from.
//!
//! Whole numbers, dates, times and text are known by their text; a float by its bits; bytes by their hex digits. The
//! expressions are the server's own casts, so that nothing of how rowferry reads values has a part in it.

use super::MysqlDatabase;
use mysql_async::Value;

/// One column as the catalog has it.
#[derive(Debug, Clone)]
pub(super) struct Column {
    pub(super) name: String,
    /// `int`, `varchar`, in lower case.
    data_type: String,
    /// `int(10) unsigned`.
    column_type: String,
    pub(super) generated: bool,
}

/// How the values of a column are read and known.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Form {
    Int {
        unsigned: bool,
    },
    Decimal,
    Single,
    Double,
    Bits,
    Text,
    Bytes,
    /// With or without a fraction of seconds.
    Moment,
    Timestamp,
    Plain,
}

pub(super) async fn columns_of(database: &MysqlDatabase, table: &str) -> Vec<Column> {
    let sql = format!(
        "SELECT COLUMN_NAME, LOWER(DATA_TYPE), COLUMN_TYPE, EXTRA LIKE '%GENERATED%' AND EXTRA NOT LIKE 'DEFAULT_GENERATED%' \
         FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = {} ORDER BY ORDINAL_POSITION",
        text_quoted(table)
    );
    let column = |row: Vec<Option<String>>| {
        let [name, data_type, column_type, generated] = row.try_into().unwrap();
        Column {
            name: name.unwrap(),
            data_type: data_type.unwrap(),
            column_type: column_type.unwrap(),
            generated: generated.as_deref() == Some("1"),
        }
    };
    database.query_text(&sql).await.into_iter().map(column).collect()
}

impl Column {
    fn form(&self) -> Form {
        match self.data_type.as_str() {
            "tinyint" | "smallint" | "mediumint" | "int" | "bigint" => {
                Form::Int { unsigned: self.column_type.contains("unsigned") }
            }
            "year" => Form::Int { unsigned: true },
            "decimal" => Form::Decimal,
            "float" => Form::Single,
            "double" => Form::Double,
            "bit" => Form::Bits,
            "char" | "varchar" | "tinytext" | "text" | "mediumtext" | "longtext" | "enum" | "set" | "json" => {
                Form::Text
            }
            "date" | "uuid" | "inet4" | "inet6" => Form::Plain,
            "time" | "datetime" => Form::Moment,
            "timestamp" => Form::Timestamp,
            // Binary strings, spatial types and vectors.
            _ => Form::Bytes,
        }
    }

    pub(super) fn is_json(&self) -> bool {
        self.data_type == "json"
    }

    pub(super) fn is_single(&self) -> bool {
        self.form() == Form::Single
    }

    /// What to select, in a session of UTC.
    pub(super) fn expression(&self) -> String {
        let name = name_quoted(&self.name);
        match self.form() {
            Form::Int { unsigned: true } => format!("CAST({name} AS UNSIGNED)"),
            Form::Int { unsigned: false } => format!("CAST({name} AS SIGNED)"),
            Form::Decimal | Form::Plain | Form::Moment | Form::Timestamp => format!("CAST({name} AS CHAR)"),
            Form::Single | Form::Double => name,
            Form::Bits => {
                let bits: String = self.column_type.chars().filter(char::is_ascii_digit).collect();
                format!("LPAD(BIN({name} + 0), {bits}, '0')")
            }
            // As hex digits: no character set of the connection plays a part.
            Form::Text => format!("HEX(CONVERT({name} USING utf8mb4))"),
            Form::Bytes => format!("HEX({name})"),
        }
    }

    /// The text of a value that [`expression`](Self::expression) gave.
    pub(super) fn text(&self, value: Value) -> Option<String> {
        let text = match value {
            Value::NULL => return None,
            Value::Int(number) => return Some(number.to_string()),
            Value::UInt(number) => return Some(number.to_string()),
            Value::Float(number) => return Some(single(number)),
            Value::Double(number) => return Some(double(number)),
            Value::Bytes(bytes) => String::from_utf8(bytes).expect("digits and letters"),
            other => panic!("{}: {other:?}", self.name),
        };
        Some(match self.form() {
            Form::Text => String::from_utf8(unhex(&text)).expect("UTF-8"),
            Form::Bytes => text.to_ascii_lowercase(),
            Form::Moment => without_zeros(text),
            Form::Timestamp => format!("{}+00", without_zeros(text)),
            // ZEROFILL.
            Form::Decimal if self.column_type.contains("zerofill") => {
                let digits = text.trim_start_matches('0');
                if digits.is_empty() || digits.starts_with('.') { format!("0{digits}") } else { digits.to_owned() }
            }
            _ => text,
        })
    }

    /// The same of what PostgreSQL says.
    pub(super) fn postgres_text(&self, text: String) -> String {
        let parsed = || text.parse().unwrap_or_else(|_| panic!("{}: no number: {text}", self.name));
        match self.form() {
            Form::Single => text.parse().map_or_else(|_| format!("no number: {text}"), single),
            Form::Double => double(parsed()),
            Form::Bytes => text.strip_prefix("\\x").map_or_else(|| format!("no bytes: {text}"), str::to_owned),
            _ => text,
        }
    }

    /// What SQLite must hold for a text: storage class and value. It keeps no real of minus zero.
    pub(super) fn sqlite_text(&self, text: &str) -> String {
        match self.form() {
            Form::Int { .. } if text.parse::<i64>().is_ok() => format!("integer {text}"),
            Form::Single if text == single(-0.0) => "text -0".into(),
            Form::Double if text == double(-0.0) => "text -0".into(),
            Form::Single | Form::Double => text.to_owned(),
            Form::Bytes => format!("blob {text}"),
            _ => format!("text {text}"),
        }
    }
}

pub(super) fn single(number: f32) -> String {
    format!("real {:08x}", number.to_bits())
}

pub(super) fn double(number: f64) -> String {
    format!("real {:016x}", number.to_bits())
}

/// Without the zeros at the end of a fraction of seconds.
fn without_zeros(text: String) -> String {
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

fn unhex(digits: &str) -> Vec<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16).expect("a hex digit") as u8;
    digits.as_bytes().chunks(2).map(|pair| digit(pair[0]) << 4 | digit(pair[1])).collect()
}

pub(super) fn name_quoted(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}

pub(super) fn text_quoted(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "''"))
}
