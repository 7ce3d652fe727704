//! Each kind of change, one by one.

use super::*;
use proptest::prelude::*;
use rowferry_api::{Dialect, Fill, Generated, TableName, Type};
use std::collections::BTreeMap;

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
    TableSchema::new(TableName::new("public", "t"), Dialect::Postgres, columns, vec![0])
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
        ("smallint[]", "bigint[]"),
        ("character varying(10)[]", "text[]"),
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
        ("date", "timestamp without time zone"),
        ("bigint[]", "integer[]"),
        ("integer[]", "bigint"),
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
fn values_that_the_source_computed_or_rounded_need_another_copy() {
    let generated = Some(Generated { expression: "(id * 2)".into(), stored: true });
    let before = TableSchema { computed: vec![Column { generated, ..column(2, "c", "integer") }], ..table(vec![id()]) };
    let plan_of = |now| plan(&before, &now).unwrap();
    let plain = plan_of(table(vec![id(), column(2, "c", "integer")]));
    assert_eq!(describe(&plain.alterations), "drop column c, add column c integer");
    assert!(plain.copy_again);

    let real = table(vec![id(), column(2, "c", "real")]);
    assert!(plan(&real, &table(vec![id(), column(2, "c", "double precision")])).unwrap().copy_again);
}

#[test]
fn keys_that_sort_in_another_way_need_another_copy() {
    let int = |native: &str| Column { ty: Type::Int { bits: 64, unsigned: false }, ..column(1, "id", native) };
    let numeric = Column { ty: Type::Numeric, ..column(1, "id", "numeric") };
    assert!(!plan(&table(vec![int("integer")]), &table(vec![int("bigint")])).unwrap().copy_again);
    assert!(plan(&table(vec![int("integer")]), &table(vec![numeric])).unwrap().copy_again);
}

#[test]
fn types_of_the_user_keep_their_shape() {
    let with = |kind| TableSchema {
        types: vec![TypeDef { name: TableName::new("public", "own"), kind }],
        ..table(vec![id()])
    };
    let composite = |fields: &[&str]| TypeDefKind::Composite {
        fields: fields.iter().map(|field| (field.to_string(), "integer".to_string())).collect(),
    };
    let refusal = plan(&with(composite(&["a"])), &with(composite(&["a", "b"]))).unwrap_err();
    assert!(refusal.to_string().contains("type public.own"), "{refusal}");
    assert!(plan(&with(composite(&["a"])), &with(composite(&["a"]))).is_ok());
    let domain = |base: &str, check: &str| TypeDefKind::Domain {
        base: base.into(),
        not_null: false,
        checks: vec![check.into()],
    };
    assert!(plan(&with(domain("integer", "CHECK (VALUE > 0)")), &with(domain("integer", "CHECK (VALUE > 1)"))).is_ok());
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
    let mut other = now.clone();
    other.computed[0].native = "bigint".into();
    let changed = plan(&now, &other).unwrap();
    assert_eq!(describe(&changed.alterations), "drop column sum, add computed column sum bigint");
}

/// What a target makes of the alterations, by name: type and whether NULL is allowed.
fn altered(taken: &TableSchema, alterations: &[Alteration]) -> BTreeMap<String, (String, bool)> {
    let shape = |column: &Column| (column.name.clone(), (column.native.clone(), column.nullable));
    let mut columns: BTreeMap<_, _> = taken.columns.iter().map(shape).collect();
    for alteration in alterations {
        match alteration {
            Alteration::AddColumn(column) => {
                let (name, column) = shape(column);
                assert!(columns.insert(name, column).is_none(), "added over a column that is there");
            }
            Alteration::DropColumn(name) => assert!(columns.remove(name).is_some()),
            Alteration::ChangeType(column) => columns.get_mut(&column.name).unwrap().0.clone_from(&column.native),
            Alteration::DropNotNull(name) => columns.get_mut(name).unwrap().1 = true,
            Alteration::AddComputed(_) | Alteration::EnumLabels(_) => {}
        }
    }
    columns
}

proptest! {
    /// 0: drop, 1: add, 2: widen, 3: loosen, 4: tighten; over a few names, which may come back as other columns.
    #[test]
    fn the_plan_leads_from_one_form_to_the_other(steps in prop::collection::vec((0..5u8, 0..4usize), 0..12)) {
        let widths = ["smallint", "integer", "bigint", "numeric"];
        let names = ["a", "b", "c", "d"];
        let taken = table(vec![id(), column(2, "a", "smallint"), Column { nullable: false, ..column(3, "b", "integer") }]);
        let mut now = taken.clone();
        for (next_id, (step, name)) in (4..).zip(steps) {
            let place = now.columns.iter().position(|column| column.name == names[name]);
            match (step, place) {
                (0, Some(place)) => drop(now.columns.remove(place)),
                (1, None) => now.columns.push(column(next_id, names[name], "smallint")),
                (2, Some(place)) => {
                    let width = widths.iter().position(|width| *width == now.columns[place].native).unwrap();
                    now.columns[place].native = widths[(width + 1).min(3)].into();
                }
                (3 | 4, Some(place)) => now.columns[place].nullable = step == 3,
                _ => {}
            }
        }
        let after = altered(&taken, &plan(&taken, &now).unwrap().alterations);
        prop_assert_eq!(after.len(), now.columns.len());
        for column in &now.columns {
            let (native, nullable) = &after[&column.name];
            prop_assert_eq!(native, &column.native);
            prop_assert!(*nullable || !column.nullable, "the target must take every NULL that may come");
        }
    }
}
