//! Whether a table that is there can hold what a source's table holds.

use crate::catalog::{ActualColumn, ActualTable, Unique};
use crate::types::Kind;
use rowferry_api::{Column, Index, TableSchema};

/// What stands in the way, each as a sentence without its end; empty if the table fits.
pub(crate) fn differences(actual: &ActualTable, wanted: &TableSchema) -> Vec<String> {
    if !actual.plain {
        return vec![format!("{} is not a table", actual.name)];
    }
    let key: Vec<&str> = wanted.key_columns().map(|column| column.name.as_str()).collect();
    let mut found = Vec::new();
    for column in &wanted.columns {
        match actual.column(&column.name) {
            None => found.push(format!("it has no column {}", column.name)),
            Some(there) => found.extend(column_difference(there, column, key.contains(&column.name.as_str()))),
        }
    }
    for column in &actual.columns {
        let known = wanted.columns.iter().any(|wanted| wanted.name.eq_ignore_ascii_case(&column.name));
        if !known && column.not_null && !column.has_default && !column.generated {
            found.push(format!(
                "its column {} must not be NULL, has no default, and the source does not have it",
                column.name
            ));
        }
    }
    if !key.is_empty() && !actual.has_key(&key) {
        found.push(format!(
            "it has no PRIMARY KEY or UNIQUE index over exactly ({}), compared by bytes",
            key.join(", ")
        ));
    }
    let stricter = actual.uniques.iter().filter(|unique| !unique.is_over(&key) && !is_kept_at_source(unique, wanted));
    found.extend(stricter.map(|unique| {
        let index = unique.index.as_deref().unwrap_or("of its primary key");
        format!("its unique index {index} may refuse rows that the source allows")
    }));
    found
}

/// Whether the source keeps at least what a unique set of the target asks for. Of expressions and of conditions only their
/// being there can be compared.
fn is_kept_at_source(unique: &Unique, wanted: &TableSchema) -> bool {
    let within = |columns: &[String]| {
        let has = |name: &String| unique.columns.iter().any(|column| column.eq_ignore_ascii_case(name));
        !columns.is_empty() && columns.iter().all(has)
    };
    let key: Vec<String> = wanted.key_columns().map(|column| column.name.clone()).collect();
    if unique.binary && within(&key) {
        return true;
    }
    let deferrable = |index: &Index| index.constraint.as_ref().is_some_and(|clause| clause.contains(" DEFERRABLE"));
    wanted.indexes.iter().filter(|index| index.unique && !deferrable(index)).any(|index| {
        if unique.columns.is_empty() || index.columns.is_empty() {
            return unique.columns.is_empty() == index.columns.is_empty();
        }
        unique.binary && within(&index.columns) && (unique.partial || !index.partial)
    })
}

fn column_difference(there: &ActualColumn, wanted: &Column, in_key: bool) -> Option<String> {
    let name = &wanted.name;
    if there.generated {
        return Some(format!("its column {name} is computed there"));
    }
    if !there.affinity.holds(&wanted.ty) {
        let declared = if there.declared.is_empty() { "nothing" } else { &there.declared };
        let mend = match Kind::of(&wanted.ty).declared() {
            "" => "declare it without a type".to_owned(),
            name => format!("declare it {name}"),
        };
        return Some(format!(
            "its column {name} is declared {declared}, which would change values of {}: {mend}",
            wanted.native
        ));
    }
    // A key's column never holds NULL here.
    (there.not_null && wanted.nullable && !in_key)
        .then(|| format!("its column {name} must not be NULL there, but may be at the source"))
}
