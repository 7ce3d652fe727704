//! Each kind of change, one by one.

use super::*;
use rowferry_api::{Dialect, Fill, Generated, TableName, Type};

fn column(id: i32, name: &str, native: &str) -> Column {
    Column {
        id,
        name: name.into(),
        ty: Type::Other,
        native: native.into(),
        nullable: true,
        default: None,
        identity: false,
        generated: None,
        fill: Fill::Null,
    }
}

fn table(columns: Vec<Column>) -> TableSchema {
    TableSchema {
        name: TableName::new("public", "t"),
        dialect: Dialect::Postgres,
        columns,
        computed: Vec::new(),
        key: vec![0],
        indexes: Vec::new(),
        foreign_keys: Vec::new(),
        types: Vec::new(),
    }
}

fn planned(before: Vec<Column>, now: Vec<Column>) -> Result<String, String> {
    let plan = plan(&table(before), &table(now)).map_err(|refusal| refusal.to_string())?;
    Ok(describe(&plan.alterations))
}

fn id() -> Column {
    column(1, "id", "integer")
}

#[test]
fn columns_come_and_go() {
    let old = column(2, "old", "text");
    let note = column(3, "note", "text");
    assert_eq!(planned(vec![id(), old.clone()], vec![id(), old.clone()]).unwrap(), "");
    assert_eq!(planned(vec![id()], vec![id(), note.clone()]).unwrap(), "add column note text");
    assert_eq!(planned(vec![id(), old.clone()], vec![id(), note]).unwrap(), "drop column old, add column note text");
    let again = column(4, "old", "integer");
    assert_eq!(planned(vec![id(), old], vec![id(), again]).unwrap(), "drop column old, add column old integer");
}

#[test]
fn a_rename_is_refused() {
    let refusal = planned(vec![id(), column(2, "a", "text")], vec![id(), column(2, "b", "text")]).unwrap_err();
    assert!(refusal.contains("column a of public.t was renamed to b"), "{refusal}");
    assert!(refusal.contains("rowferry resync --table public.t"), "{refusal}");
}

#[test]
fn types_may_widen_only() {
    let change = |before: &str, now: &str| planned(vec![id(), column(2, "c", before)], vec![id(), column(2, "c", now)]);
    for (before, now) in [
        ("smallint", "bigint"),
        ("integer", "numeric"),
        ("integer", "numeric(10,0)"),
        ("real", "double precision"),
        ("character varying(10)", "character varying(20)"),
        ("character varying(10)", "text"),
        ("numeric(10,2)", "numeric(12,2)"),
        ("numeric(10,2)", "numeric"),
        ("timestamp(3) without time zone", "timestamp without time zone"),
    ] {
        assert_eq!(change(before, now).unwrap(), format!("column c becomes {now}"), "{before} to {now}");
    }
    for (before, now) in [
        ("bigint", "integer"),
        ("bigint", "double precision"),
        ("numeric(10,2)", "numeric(10,4)"),
        ("integer", "numeric(12,2)"),
        ("text", "character varying(20)"),
        ("character(5)", "character(8)"),
        ("timestamp without time zone", "timestamp with time zone"),
        ("text", "jsonb"),
    ] {
        assert!(change(before, now).unwrap_err().contains("changed its type"), "{before} to {now}");
    }
}

#[test]
fn not_null_may_loosen() {
    let strict = Column { nullable: false, ..column(2, "c", "text") };
    let loose = column(2, "c", "text");
    assert_eq!(planned(vec![id(), strict.clone()], vec![id(), loose.clone()]).unwrap(), "column c may be NULL");
    assert_eq!(planned(vec![id(), loose], vec![id(), strict]).unwrap(), "");
}

#[test]
fn values_that_only_the_source_knows_need_another_copy() {
    let volatile = Column { fill: Fill::Unknown, ..column(2, "c", "uuid") };
    assert!(plan(&table(vec![id()]), &table(vec![id(), volatile])).unwrap().copy_again);
}

#[test]
fn another_key_is_refused() {
    let before = table(vec![id(), column(2, "c", "text")]);
    let now = TableSchema { key: vec![1], ..before.clone() };
    assert!(plan(&before, &now).unwrap_err().to_string().contains("from (id) to (c)"));
}

#[test]
fn labels_may_be_added_only() {
    let with = |labels: &[&str]| TableSchema {
        types: vec![TypeDef {
            name: TableName::new("public", "mood"),
            kind: TypeDefKind::Enum { labels: labels.iter().map(|&label| label.into()).collect() },
        }],
        ..table(vec![id()])
    };
    let plan_labels = |before: &[&str], now: &[&str]| plan(&with(before), &with(now));
    assert_eq!(describe(&plan_labels(&["a", "b"], &["a", "x", "b"]).unwrap().alterations), "new labels of public.mood");
    assert_eq!(plan_labels(&["a", "b"], &["a", "b"]).unwrap().alterations, []);
    assert!(plan_labels(&["a", "b"], &["a", "c"]).unwrap_err().to_string().contains("label 'b'"));
}

#[test]
fn computed_columns_come_and_go() {
    let sum = Column {
        generated: Some(Generated { expression: "(a + b)".into(), stored: true }),
        ..column(5, "sum", "integer")
    };
    let before = table(vec![id()]);
    let now = TableSchema { computed: vec![sum], ..before.clone() };
    assert_eq!(describe(&plan(&before, &now).unwrap().alterations), "add computed column sum integer");
    assert_eq!(describe(&plan(&now, &before).unwrap().alterations), "drop column sum");
}
