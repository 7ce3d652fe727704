//! Whether every value of one type is, unchanged, a value of another. Types are spelled as the dialect's catalog does:
//! PostgreSQL's `format_type`, MySQL's `COLUMN_TYPE`.

mod mysql;

use crate::Dialect;

/// A type's name and the numbers in its parentheses: `numeric(10,2)`, `timestamp(3) without time zone`, `bit varying(8)`.
#[derive(Debug, PartialEq, Eq)]
struct Spelled {
    name: String,
    numbers: Vec<i64>,
}

/// Whether a column can become `now` without losing or changing a value that it could hold before.
pub fn is_wider(dialect: Dialect, before: &str, now: &str) -> bool {
    match dialect {
        Dialect::Mysql => mysql::is_wider(before, now),
        Dialect::Postgres | Dialect::Sqlite => is_wider_in_postgres(before, now),
    }
}

fn is_wider_in_postgres(before: &str, now: &str) -> bool {
    if let (Some(before), Some(now)) = (before.strip_suffix("[]"), now.strip_suffix("[]")) {
        return is_wider_in_postgres(before, now);
    }
    let (before, now) = (spelled(before), spelled(now));
    if before == now {
        return true;
    }
    let wider = |order: &[&str]| {
        let place = |name: &str| order.iter().position(|other| *other == name);
        matches!((place(&before.name), place(&now.name)), (Some(before), Some(now)) if before < now)
    };
    if before.name == now.name {
        return same_name(&before, &now);
    }
    match now.name.as_str() {
        "numeric" => {
            matches!(before.name.as_str(), "smallint" | "integer" | "bigint") && holds_integer(&before.name, &now)
        }
        "text" => matches!(before.name.as_str(), "character varying" | "\"char\"" | "name"),
        "character varying" => now.numbers.is_empty() && before.name == "text",
        _ => wider(&["smallint", "integer", "bigint"]) || wider(&["real", "double precision"]),
    }
}

fn same_name(before: &Spelled, now: &Spelled) -> bool {
    match before.name.as_str() {
        "numeric" => match (before.numbers.as_slice(), now.numbers.as_slice()) {
            (_, []) => true,
            ([p1, s1], [p2, s2]) => s2 == s1 && p2 >= p1,
            _ => false,
        },
        // No number is no limit; for these the largest precision.
        "character varying"
        | "bit varying"
        | "timestamp without time zone"
        | "timestamp with time zone"
        | "time without time zone"
        | "time with time zone"
        | "interval" => match (before.numbers.as_slice(), now.numbers.as_slice()) {
            (_, []) => true,
            ([n1], [n2]) => n2 >= n1,
            _ => false,
        },
        // `character(5)` to `character(8)` pads what was stored: another text.
        _ => false,
    }
}

/// An integer of this type fits into the digits before the point.
fn holds_integer(integer: &str, numeric: &Spelled) -> bool {
    let digits = match integer {
        "smallint" => 5,
        "integer" => 10,
        _ => 19,
    };
    match numeric.numbers.as_slice() {
        [] => true,
        [precision, 0] => *precision >= digits,
        // A scale would print 5 as 5.00.
        _ => false,
    }
}

fn spelled(native: &str) -> Spelled {
    let (Some(open), Some(close)) = (native.find('('), native.find(')')) else {
        return Spelled { name: native.to_owned(), numbers: Vec::new() };
    };
    let name = format!("{}{}", &native[..open], &native[close + 1..]);
    let numbers = native[open + 1..close].split(',').filter_map(|number| number.trim().parse().ok()).collect();
    Spelled { name: name.trim().to_owned(), numbers }
}
