//! PostgreSQL's types in the common form.

use rowferry_api::Type;

/// Spells types as DDL does, one row a pair: `$1` oids, `$2` modifiers.
pub(crate) const SPELL_TYPES: &str = "SELECT coalesce(format_type(t.oid, t.mod), '???') \
     FROM unnest($1::oid[], $2::int4[]) WITH ORDINALITY AS t(oid, mod, place) ORDER BY t.place";

/// The common type of a type by its row in pg_type: typname, typtype, and whether it is in pg_catalog. A domain is to be
/// followed to its base, an array to its element, before.
pub(crate) fn of(name: &str, kind: &str, built_in: bool) -> Type {
    match (kind, built_in) {
        ("e", _) => Type::Enum,
        ("b", true) => of_name(name),
        // Text with another comparison.
        ("b", false) if name == "citext" => Type::Text,
        _ => Type::Other,
    }
}

/// The common type of a type of pg_catalog, by its name there. Array types are named `_element`.
pub(crate) fn of_name(name: &str) -> Type {
    match name {
        "bool" => Type::Bool,
        "int2" => Type::Int { bits: 16, unsigned: false },
        "int4" => Type::Int { bits: 32, unsigned: false },
        "int8" => Type::Int { bits: 64, unsigned: false },
        "oid" | "xid" | "cid" => Type::Int { bits: 32, unsigned: true },
        "xid8" => Type::Int { bits: 64, unsigned: true },
        "float4" => Type::Float { bits: 32 },
        "float8" => Type::Float { bits: 64 },
        "numeric" => Type::Numeric,
        "text" | "varchar" | "name" | "char" => Type::Text,
        "bpchar" => Type::Char,
        "bytea" => Type::Bytes,
        "date" => Type::Date,
        "time" => Type::Time,
        "timetz" => Type::TimeTz,
        "timestamp" => Type::Timestamp,
        "timestamptz" => Type::TimestampTz,
        "interval" => Type::Interval,
        "uuid" => Type::Uuid,
        "json" | "jsonb" => Type::Json,
        "xml" => Type::Xml,
        "bit" | "varbit" => Type::Bits,
        _ => match name.strip_prefix('_') {
            Some(element) => Type::Array(Box::new(of_name(element))),
            None => Type::Other,
        },
    }
}

/// The common type by a built-in type's oid, for columns that the catalog no longer has.
pub(crate) fn of_builtin(oid: u32) -> Type {
    tokio_postgres::types::Type::from_oid(oid).map_or(Type::Other, |ty| of_name(ty.name()))
}
