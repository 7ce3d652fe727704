//! How values are kept, so that nothing is lost, and which existing columns can hold them.
//!
//! # How values are kept
//!
//! | [`Type`] | declared | stored as |
//! |---|---|---|
//! | Bool | `INTEGER` | INTEGER 0 or 1 |
//! | Int | `INTEGER` | INTEGER |
//! | Int, 64 bits without sign | none | INTEGER, above 2^63-1 TEXT with its digits |
//! | Float | none | REAL; `NaN` and `-0` as TEXT, which SQLite keeps as NULL and 0 otherwise |
//! | Bytes | `BLOB` | BLOB |
//! | Numeric | `TEXT` | TEXT, the digits with their scale: `1.10`, `NaN` |
//! | everything else | `TEXT` | TEXT, as [`Type`] says |
//!
//! A declared name decides a column's *affinity* (SQLite manual, "Datatypes In SQLite", section 3), which may convert
//! what is stored: in a column declared `NUMERIC` the text `1.10` becomes the number 1.1, and one declared `POINT` is an
//! integer column. So new tables use these few names only. Floats have no declared type, since `REAL` would turn the
//! text `-0` into 0.
//!
//! Tables that are there already fit where the affinity of every column keeps each value of the source's type: dates,
//! times and UUIDs also under `NUMERIC` (they do not look like numbers), booleans under `BOOLEAN`, floats under
//! `REAL` (a `-0` that arrives there is refused as a bad row, not changed).

use rowferry_api::Type;

/// What SQLite does to a value that is stored in a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Affinity {
    /// Nothing.
    None,
    /// Text and blobs stay; numbers become text.
    Text,
    /// Text that looks like a number becomes one; a real without fraction becomes an integer.
    Numeric,
    /// As `Numeric`.
    Integer,
    /// Text that looks like a number and integers become reals.
    Real,
    /// A `BLOB` column of a STRICT table refuses all else.
    OnlyBlobs,
}

impl Affinity {
    /// By the rules of the SQLite manual, in their order.
    pub(crate) fn of(declared: &str, strict: bool) -> Self {
        let declared = declared.to_ascii_uppercase();
        let has = |names: &[&str]| names.iter().any(|name| declared.contains(name));
        match declared.as_str() {
            "ANY" if strict => Self::None,
            "BLOB" if strict => Self::OnlyBlobs,
            _ if has(&["INT"]) => Self::Integer,
            _ if has(&["CHAR", "CLOB", "TEXT"]) => Self::Text,
            "" => Self::None,
            _ if has(&["BLOB"]) => Self::None,
            _ if has(&["REAL", "FLOA", "DOUB"]) => Self::Real,
            _ => Self::Numeric,
        }
    }

    /// Whether a column of this affinity keeps, or refuses loudly, every value of the type.
    pub(crate) fn holds(self, ty: &Type) -> bool {
        match (Kind::of(ty), self) {
            (Kind::Bytes, _) | (_, Self::None) => true,
            (Kind::Bool | Kind::Int, affinity) => matches!(affinity, Self::Integer | Self::Numeric),
            (Kind::Float { .. }, affinity) => affinity == Self::Real,
            // Text that looks like a number would lose the digits that a real has no room for.
            (Kind::Unsigned, _) => false,
            (Kind::Text, Self::Text) => true,
            (Kind::Text, Self::Numeric) => matches!(
                ty,
                Type::Date
                    | Type::Time
                    | Type::TimeTz
                    | Type::Timestamp
                    | Type::TimestampTz
                    | Type::Interval
                    | Type::Uuid
            ),
            (Kind::Text, _) => false,
        }
    }
}

/// How cells of a type travel between their text and SQLite.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Bool,
    Int,
    /// 64 bits without sign.
    Unsigned,
    /// Of 32 or 64 bits.
    Float {
        single: bool,
    },
    Bytes,
    Text,
}

impl Kind {
    pub(crate) fn of(ty: &Type) -> Self {
        match ty {
            Type::Bool => Self::Bool,
            Type::Int { bits: 64, unsigned: true } => Self::Unsigned,
            Type::Int { .. } => Self::Int,
            Type::Float { bits } => Self::Float { single: *bits == 32 },
            Type::Bytes => Self::Bytes,
            _ => Self::Text,
        }
    }

    /// The type's name in DDL; empty for none.
    pub(crate) fn declared(self) -> &'static str {
        match self {
            Self::Bool | Self::Int => "INTEGER",
            Self::Unsigned | Self::Float { .. } => "",
            Self::Bytes => "BLOB",
            Self::Text => "TEXT",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn affinity_is_that_of_the_manual() {
        let cases = [
            ("", Affinity::None),
            ("INT", Affinity::Integer),
            ("POINT", Affinity::Integer),
            ("CHARINT", Affinity::Integer),
            ("varchar(10)", Affinity::Text),
            ("BLOB", Affinity::None),
            ("double precision", Affinity::Real),
            ("FLOATING POINT", Affinity::Integer),
            ("DECIMAL(10,5)", Affinity::Numeric),
            ("timestamp", Affinity::Numeric),
            ("ANY", Affinity::Numeric),
        ];
        for (declared, affinity) in cases {
            assert_eq!(Affinity::of(declared, false), affinity, "{declared}");
        }
        assert_eq!(Affinity::of("ANY", true), Affinity::None);
    }

    #[test]
    fn a_column_that_would_change_values_does_not_fit() {
        assert!(!Affinity::Numeric.holds(&Type::Numeric));
        assert!(!Affinity::Integer.holds(&Type::Text));
        assert!(!Affinity::Real.holds(&Type::Int { bits: 64, unsigned: false }));
        assert!(!Affinity::Numeric.holds(&Type::Json));
        assert!(Affinity::Numeric.holds(&Type::Timestamp));
        assert!(Affinity::Numeric.holds(&Type::Bool));
        assert!(!Affinity::OnlyBlobs.holds(&Type::Text));
    }
}
