//! Forms of tables, as the catalog has them.

use crate::Shop;
use rowferry_api::{Fill, Source, TableSchema, Type, TypeDefKind};
use std::time::{Duration, Instant};

fn natives(table: &TableSchema) -> Vec<String> {
    table.columns.iter().map(|column| format!("{} {}", column.name, column.native)).collect()
}

fn key_names(table: &TableSchema) -> Vec<&str> {
    table.key_columns().map(|column| column.name.as_str()).collect()
}

#[tokio::test]
async fn built_in_types_have_their_common_form() {
    let shop = Shop::new(
        r#"CREATE TABLE t (id int PRIMARY KEY, b bool, s int2, l int8, o oid, f float4, d float8, n numeric(12,2), m numeric,
            x text, v varchar(20), c char(5), c1 bpchar, q "char", nm name, y bytea, da date, ti time(3), tz timetz,
            ts timestamp(3), tsz timestamptz, iv interval day to second, u uuid, j json, jb jsonb, xm xml, bi bit(3), vb varbit,
            ai int[], an numeric(5,1)[], at text[][], ip inet, mo money, pt point, tv tsvector, ir int4range, lsn pg_lsn,
            iv2 int2vector)"#,
    )
    .await;
    let table = shop.table("t").await.schema;
    let int = |bits| Type::Int { bits, unsigned: false };
    let array = |ty| Type::Array(Box::new(ty));
    let expected = [
        ("id", "integer", int(32)),
        ("b", "boolean", Type::Bool),
        ("s", "smallint", int(16)),
        ("l", "bigint", int(64)),
        ("o", "oid", Type::Int { bits: 32, unsigned: true }),
        ("f", "real", Type::Float { bits: 32 }),
        ("d", "double precision", Type::Float { bits: 64 }),
        ("n", "numeric(12,2)", Type::Numeric),
        ("m", "numeric", Type::Numeric),
        ("x", "text", Type::Text),
        ("v", "character varying(20)", Type::Text),
        ("c", "character(5)", Type::Char),
        ("c1", "bpchar", Type::Char),
        ("q", "\"char\"", Type::Text),
        ("nm", "name", Type::Text),
        ("y", "bytea", Type::Bytes),
        ("da", "date", Type::Date),
        ("ti", "time(3) without time zone", Type::Time),
        ("tz", "time with time zone", Type::TimeTz),
        ("ts", "timestamp(3) without time zone", Type::Timestamp),
        ("tsz", "timestamp with time zone", Type::TimestampTz),
        ("iv", "interval day to second", Type::Interval),
        ("u", "uuid", Type::Uuid),
        ("j", "json", Type::Json),
        ("jb", "jsonb", Type::Json),
        ("xm", "xml", Type::Xml),
        ("bi", "bit(3)", Type::Bits),
        ("vb", "bit varying", Type::Bits),
        ("ai", "integer[]", array(int(32))),
        ("an", "numeric(5,1)[]", array(Type::Numeric)),
        ("at", "text[]", array(Type::Text)),
        ("ip", "inet", Type::Other),
        ("mo", "money", Type::Other),
        ("pt", "point", Type::Other),
        ("tv", "tsvector", Type::Other),
        ("ir", "int4range", Type::Other),
        ("lsn", "pg_lsn", Type::Other),
        ("iv2", "int2vector", Type::Other),
    ];
    let found: Vec<_> =
        table.columns.iter().map(|column| (column.name.as_str(), column.native.as_str(), column.ty.clone())).collect();
    assert_eq!(found, expected);
    assert!(table.types.is_empty());
}

#[tokio::test]
async fn types_of_the_user_come_in_the_order_of_their_needs() {
    let shop = Shop::new(
        r#"CREATE EXTENSION citext; CREATE EXTENSION hstore; CREATE SCHEMA "Odd one"; CREATE FUNCTION mine(int) RETURNS bool LANGUAGE sql AS 'SELECT true';
           CREATE TYPE "Odd one"."Mood" AS ENUM ('sad', 'o''k', 'happy');
           CREATE DOMAIN grade AS numeric(4,2) NOT NULL CHECK (VALUE > 0) CHECK (mine(1));
           CREATE TYPE pair AS (mood "Odd one"."Mood", "the grade" grade);
           CREATE DOMAIN pairs AS pair[];
           CREATE TYPE graderange AS RANGE (subtype = grade);
           CREATE TYPE textual AS RANGE (subtype = text, collation = "C");
           CREATE TABLE t (id int PRIMARY KEY, m "Odd one"."Mood", ms "Odd one"."Mood"[], g grade, p pair, ps pairs, gr graderange,
                           te textual, ci citext, h hstore)"#,
    )
    .await;
    let table = shop.table("t").await.schema;
    assert_eq!(
        natives(&table)[1..],
        [
            "m \"Odd one\".\"Mood\"",
            "ms \"Odd one\".\"Mood\"[]",
            "g public.grade",
            "p public.pair",
            "ps public.pairs",
            "gr public.graderange",
            "te public.textual",
            "ci public.citext",
            "h public.hstore"
        ]
    );
    let types: Vec<Type> = table.columns[1..].iter().map(|column| column.ty.clone()).collect();
    let array = |ty| Type::Array(Box::new(ty));
    assert_eq!(
        types,
        [
            Type::Enum,
            array(Type::Enum),
            Type::Numeric,
            Type::Other,
            array(Type::Other),
            Type::Other,
            Type::Other,
            Type::Text,
            Type::Other
        ]
    );
    let defs: Vec<_> = table.types.iter().map(|def| (def.name.name.as_str(), def.kind.clone())).collect();
    let fields = vec![("mood".into(), "\"Odd one\".\"Mood\"".into()), ("the grade".into(), "public.grade".into())];
    let extension = |name: &str| TypeDefKind::Extension { extension: name.into() };
    let domain = |base: &str| TypeDefKind::Domain { base: base.into(), not_null: false, checks: vec![] };
    let grade = TypeDefKind::Domain {
        base: "numeric(4,2)".into(),
        not_null: true,
        checks: vec!["CHECK ((VALUE > (0)::numeric))".into()],
    };
    assert_eq!(
        defs,
        [
            ("Mood", TypeDefKind::Enum { labels: vec!["sad".into(), "o'k".into(), "happy".into()] }),
            ("grade", grade),
            ("pair", TypeDefKind::Composite { fields }),
            ("pairs", domain("public.pair[]")),
            ("graderange", TypeDefKind::Range { options: "SUBTYPE = public.grade".into() }),
            ("textual", TypeDefKind::Range { options: "SUBTYPE = text, COLLATION = pg_catalog.\"C\"".into() }),
            ("citext", extension("citext")),
            ("hstore", extension("hstore")),
        ]
    );
    let other = Shop::new("CREATE SCHEMA \"Odd one\"").await;
    for def in &table.types {
        let TypeDefKind::Range { options } = &def.kind else { continue };
        if !options.contains("grade") {
            other.execute(&format!("CREATE TYPE {} AS RANGE ({options})", def.name.name)).await;
        }
    }
}

#[tokio::test]
async fn a_multirange_needs_its_range() {
    let shop = Shop::new("").await;
    if shop.version < 14 {
        return;
    }
    shop.execute(
        "CREATE TYPE span AS RANGE (subtype = float8, subtype_diff = float8mi, multirange_type_name = spans);
         CREATE TYPE timerange AS RANGE (subtype = time);
         CREATE TABLE t (id int PRIMARY KEY, s spans, t timemultirange[])",
    )
    .await;
    let table = shop.table("t").await.schema;
    let options: Vec<_> = table
        .types
        .iter()
        .map(|def| match &def.kind {
            TypeDefKind::Range { options } => (def.name.name.as_str(), options.as_str()),
            other => panic!("{other:?}"),
        })
        .collect();
    let span =
        "SUBTYPE = double precision, SUBTYPE_DIFF = pg_catalog.float8mi, MULTIRANGE_TYPE_NAME = \"public\".\"spans\"";
    assert_eq!(options, [("span", span), ("timerange", "SUBTYPE = time without time zone")]);
}

#[tokio::test]
async fn names_are_as_the_catalog_spells_them() {
    let shop = Shop::new(
        r#"CREATE SCHEMA "Sélect"; CREATE TABLE "Sélect"."a ""b"" 'c' \d.{table}" ("ORDER" int, "x y" text, "日本" int, "e""f" int,
               PRIMARY KEY ("日本", "ORDER"));
           CREATE UNIQUE INDEX "i ON x" ON "Sélect"."a ""b"" 'c' \d.{table}" ("x y") INCLUDE ("e""f") WHERE "e""f" > 1"#,
    )
    .await;
    let table = shop.tables().await.remove(0).schema;
    assert_eq!((table.name.schema.as_str(), table.name.name.as_str()), ("Sélect", "a \"b\" 'c' \\d.{table}"));
    assert_eq!(natives(&table), ["ORDER integer", "x y text", "日本 integer", "e\"f integer"]);
    assert_eq!(key_names(&table), ["日本", "ORDER"]);
    let index = &table.indexes[0];
    assert_eq!((index.name.as_str(), index.unique, index.partial), ("i ON x", true, true));
    assert_eq!(index.columns, ["x y"]);
    assert_eq!(
        index.definition,
        r#"CREATE UNIQUE INDEX "i ON x" ON {table} USING btree ("x y") INCLUDE ("e""f") WHERE ("e""f" > 1)"#
    );
}

#[tokio::test]
async fn the_key_is_what_names_rows_in_the_log() {
    let shop = Shop::new(
        "CREATE TABLE pk (a int, b int, c int UNIQUE, PRIMARY KEY (c, a));
         CREATE TABLE named (a int PRIMARY KEY, b int NOT NULL, c int NOT NULL);
         CREATE UNIQUE INDEX named_cb ON named (c, b); ALTER TABLE named REPLICA IDENTITY USING INDEX named_cb;
         CREATE TABLE full_unique (a int NOT NULL, b int NOT NULL, c int UNIQUE, d int NOT NULL UNIQUE DEFERRABLE, UNIQUE (a, b));
         ALTER TABLE full_unique REPLICA IDENTITY FULL; CREATE UNIQUE INDEX half ON full_unique (a) WHERE a > 1;
         CREATE UNIQUE INDEX odd ON full_unique ((a + 1));
         CREATE TABLE default_unique (a int NOT NULL UNIQUE);
         CREATE TABLE late (a int, PRIMARY KEY (a) DEFERRABLE);
         CREATE TABLE keyless (a int)",
    )
    .await;
    let tables = shop.tables().await;
    let keys: Vec<_> = tables.iter().map(|table| (table.schema.name.name.as_str(), key_names(&table.schema))).collect();
    assert_eq!(
        keys,
        [
            ("default_unique", vec![]),
            ("full_unique", vec!["a", "b"]),
            ("keyless", vec![]),
            ("late", vec!["a"]),
            ("named", vec!["c", "b"]),
            ("pk", vec!["c", "a"])
        ]
    );
    let named = &tables[4].schema;
    let indexes: Vec<_> =
        named.indexes.iter().map(|index| (index.name.as_str(), index.constraint.as_deref())).collect();
    assert_eq!(
        indexes,
        [("named_pkey", Some("PRIMARY KEY (a)")), ("named_cb", None)],
        "the key's own index is kept too"
    );
}

#[tokio::test]
async fn indexes_and_constraints_can_be_made_again() {
    let shop = Shop::new(
        "CREATE EXTENSION btree_gist;
         CREATE TABLE t (id int PRIMARY KEY, a int, b text, r int4range, CONSTRAINT uq UNIQUE (a, b) DEFERRABLE INITIALLY DEFERRED,
             CONSTRAINT ex EXCLUDE USING gist (a WITH =, r WITH &&) WHERE (a > 0));
         CREATE INDEX lower_b ON t (lower(b) DESC NULLS LAST); CREATE INDEX inc ON t (a) INCLUDE (b); CREATE INDEX h ON t USING hash (b);
         CREATE TABLE other (LIKE t)",
    )
    .await;
    let table = shop.table("t").await.schema;
    let shown: Vec<_> = table
        .indexes
        .iter()
        .map(|index| (index.name.as_str(), index.columns.len(), index.constraint.as_deref()))
        .collect();
    assert_eq!(
        shown,
        [
            ("uq", 2, Some("UNIQUE (a, b) DEFERRABLE INITIALLY DEFERRED")),
            ("ex", 2, Some("EXCLUDE USING gist (a WITH =, r WITH &&) WHERE ((a > 0))")),
            ("lower_b", 0, None),
            ("inc", 1, None),
            ("h", 1, None)
        ]
    );
    shop.execute("DROP TABLE t").await;
    for index in &table.indexes {
        match &index.constraint {
            Some(clause) => shop.execute(&format!("ALTER TABLE other ADD CONSTRAINT {} {clause}", index.name)).await,
            None => shop.execute(&index.definition.replace("{table}", "public.other")).await,
        }
    }
}

#[tokio::test]
async fn foreign_keys_are_those_that_the_user_made() {
    let shop = Shop::new(
        r#"CREATE TABLE a (x int, "y)" int, PRIMARY KEY (x, "y)"));
           CREATE TABLE parted (id int PRIMARY KEY, x int, y int, CONSTRAINT to_a FOREIGN KEY (x, y) REFERENCES a (x, "y)")
               MATCH FULL ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED) PARTITION BY RANGE (id);
           CREATE TABLE leaf PARTITION OF parted FOR VALUES FROM (0) TO (10);
           CREATE TABLE child (id int PRIMARY KEY, p int REFERENCES parted ON UPDATE SET NULL)"#,
    )
    .await;
    let child = shop.table("child").await.schema;
    assert_eq!(child.foreign_keys.len(), 1);
    assert_eq!(child.foreign_keys[0].actions, "ON UPDATE SET NULL");
    assert_eq!(child.foreign_keys[0].references.name, "parted");
    let key = &shop.table("parted").await.schema.foreign_keys[0];
    assert_eq!((key.columns.join(","), key.referenced_columns.join(",")), ("x,y".into(), "x,y)".into()));
    assert_eq!(key.actions, "MATCH FULL ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED");
    assert!(shop.table("leaf").await.schema.foreign_keys.is_empty());
}

#[tokio::test]
async fn defaults_travel_if_they_need_nothing_of_the_source() {
    let shop = Shop::new(
        "CREATE FUNCTION mine() RETURNS int LANGUAGE sql AS 'SELECT 1'; CREATE SEQUENCE s; CREATE TYPE mood AS ENUM ('sad', 'ok');
         CREATE TABLE t (id serial PRIMARY KEY, i int GENERATED ALWAYS AS IDENTITY, n timestamptz DEFAULT now(),
             t text NOT NULL DEFAULT 'it''s', m mood DEFAULT 'ok', f int DEFAULT mine(), f1 int DEFAULT (mine() + 1), s text DEFAULT nextval('s')::text,
             g int GENERATED ALWAYS AS (length('x') + 1) STORED, u uuid DEFAULT '00000000-0000-0000-0000-000000000000', p int)",
    )
    .await;
    let table = shop.table("t").await.schema;
    let shown: Vec<_> = table
        .columns
        .iter()
        .map(|column| (column.name.as_str(), column.default.as_deref(), column.identity, column.nullable))
        .collect();
    assert_eq!(
        shown,
        [
            ("id", None, true, false),
            ("i", None, true, false),
            ("n", Some("now()"), false, true),
            ("t", Some("'it''s'::text"), false, false),
            ("m", Some("'ok'::public.mood"), false, true),
            ("f", None, false, true),
            ("f1", None, false, true),
            ("s", None, false, true),
            ("u", Some("'00000000-0000-0000-0000-000000000000'::uuid"), false, true),
            ("p", None, false, true)
        ]
    );
    let computed = &table.computed[0];
    assert_eq!((computed.name.as_str(), computed.generated.as_ref().unwrap().stored), ("g", true));
    assert_eq!(computed.generated.as_ref().unwrap().expression, "(length('x'::text) + 1)");
    assert!(computed.default.is_none());
}

#[tokio::test]
async fn rows_that_were_there_before_a_column_hold_what_the_catalog_kept() {
    let shop = Shop::new(
        r#"CREATE DOMAIN filled AS int DEFAULT 7 CHECK (VALUE > 0);
           CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1);
           ALTER TABLE t ADD a int, ADD b text DEFAULT E'x "y" \\ {z}, ', ADD c int[] DEFAULT '{1,2}', ADD d text DEFAULT '', ADD e text DEFAULT 'NULL',
               ADD f date DEFAULT now()::date - now()::date + '2020-01-02'::date, ADD g char(4) DEFAULT 'ab', ADD h float8 DEFAULT random(), ADD i int GENERATED ALWAYS AS IDENTITY,
               ADD j jsonb DEFAULT '{"a": 1}', ADD k bytea DEFAULT '\x00ff', ADD l bool DEFAULT true NOT NULL;
           ALTER TABLE t ALTER b DROP DEFAULT;
           CREATE TABLE p (id int PRIMARY KEY) PARTITION BY RANGE (id); CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (5);
           CREATE TABLE p2 PARTITION OF p FOR VALUES FROM (5) TO (9); ALTER TABLE p ADD b float8 DEFAULT random(); ALTER TABLE p ADD a int DEFAULT 5;
           CREATE TABLE d (id int PRIMARY KEY); INSERT INTO d VALUES (1); ALTER TABLE d ADD x filled"#,
    )
    .await;
    let value = |text: &str| Fill::Value(text.into());
    let fills = async |name: &str| {
        let table = shop.table(name).await.schema;
        table.columns[1..].iter().map(|column| column.fill.clone()).collect::<Vec<_>>()
    };
    assert_eq!(
        fills("t").await,
        [
            Fill::Null,
            // The table was rewritten for the volatile ones, so all of its rows have theirs.
            Fill::Null,
            Fill::Unknown,
            Fill::Unknown,
            Fill::Unknown,
            Fill::Unknown,
            Fill::Unknown,
            Fill::Unknown,
            Fill::Unknown,
            Fill::Unknown,
            Fill::Unknown,
            Fill::Unknown
        ]
    );
    shop.execute(
        r#"CREATE TABLE q (id int PRIMARY KEY); INSERT INTO q VALUES (1);
           ALTER TABLE q ADD a int, ADD b text DEFAULT E'x "y" \\ {z}, ', ADD c int[] DEFAULT '{1,2}', ADD d text DEFAULT '', ADD e text DEFAULT 'NULL',
               ADD f timestamptz DEFAULT '2020-01-02 00:00+02', ADD g char(4) DEFAULT 'ab', ADD j jsonb DEFAULT '{"a": 1}', ADD k bytea DEFAULT '\x00ff',
               ADD l bool DEFAULT true NOT NULL;
           ALTER TABLE q ALTER b DROP DEFAULT"#,
    )
    .await;
    assert_eq!(
        fills("q").await,
        [
            Fill::Null,
            value("x \"y\" \\ {z}, "),
            value("{1,2}"),
            value(""),
            value("NULL"),
            value("2020-01-01 22:00:00+00"),
            value("ab  "),
            value("{\"a\": 1}"),
            value("\\x00ff"),
            value("t")
        ]
    );
    assert_eq!(fills("p").await, [Fill::Unknown, value("5")]);
    assert_eq!(fills("d").await, [Fill::Unknown]);
}

#[tokio::test]
async fn rows_never_hold_null_in_a_column_whose_default_was_dropped_right_away() {
    let shop = Shop::new(
        "CREATE TABLE p (id int PRIMARY KEY) PARTITION BY RANGE (id); CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (5);
         ALTER TABLE p ADD a int DEFAULT 5, ADD b int DEFAULT 6; ALTER TABLE p ALTER a DROP DEFAULT;
         CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1); ALTER TABLE t ADD a int DEFAULT 5, ADD n int NOT NULL DEFAULT 6;
         ALTER TABLE t ALTER a DROP DEFAULT, ALTER n DROP DEFAULT",
    )
    .await;
    let fills = async |name: &str| {
        let table = shop.table(name).await.schema;
        table.columns[1..].iter().map(|column| column.fill.clone()).collect::<Vec<_>>()
    };
    let value = |text: &str| Fill::Value(text.into());
    assert_eq!(fills("p").await, [value("5"), value("6")]);
    assert_eq!(fills("t").await, [value("5"), value("6")]);
    // A partition that was made later keeps no value, and a table that was rewritten neither.
    shop.execute("CREATE TABLE p2 PARTITION OF p FOR VALUES FROM (5) TO (9); INSERT INTO p VALUES (7)").await;
    shop.execute("ALTER TABLE t ADD x float8 DEFAULT random()").await;
    assert_eq!(fills("p").await, [Fill::Unknown, Fill::Unknown]);
    assert_eq!(
        fills("t").await,
        [Fill::Null, Fill::Unknown, Fill::Unknown],
        "only NOT NULL says that there was a value"
    );
}

#[tokio::test]
async fn generated_columns_are_carried_where_the_log_has_them() {
    let shop = Shop::new("").await;
    if shop.version < 18 {
        return;
    }
    let publication = shop.database.name();
    shop.execute(
        "CREATE TABLE t (id int PRIMARY KEY, s int GENERATED ALWAYS AS (id * 2) STORED, v int GENERATED ALWAYS AS (id * 3))",
    )
    .await;
    let names = |columns: &[rowferry_api::Column]| {
        columns.iter().map(|column| column.name.clone()).collect::<Vec<_>>().join(" ")
    };
    let table = shop.table("t").await.schema;
    assert_eq!((names(&table.columns), names(&table.computed)), ("id".into(), "s v".into()));
    shop.execute(&format!("CREATE PUBLICATION {publication} FOR TABLE t WITH (publish_generated_columns = stored)"))
        .await;
    let table = shop.table("t").await.schema;
    assert_eq!((names(&table.columns), names(&table.computed)), ("id s".into(), "v".into()));
    shop.execute("CREATE TABLE n (id int PRIMARY KEY, x int); INSERT INTO n VALUES (1, NULL); ALTER TABLE n ADD CONSTRAINT nn NOT NULL x NOT VALID").await;
    assert!(shop.table("n").await.schema.columns[1].nullable, "not yet proven");
}

#[tokio::test]
async fn only_tables_that_can_be_followed_are_shown() {
    let shop = Shop::new(
        "CREATE EXTENSION file_fdw; CREATE SERVER f FOREIGN DATA WRAPPER file_fdw; CREATE FOREIGN TABLE foreign_one (a int) SERVER f OPTIONS (filename '/dev/null');
         CREATE SCHEMA rowferry; CREATE TABLE rowferry.positions (a int PRIMARY KEY); CREATE UNLOGGED TABLE unlogged_one (a int PRIMARY KEY);
         CREATE VIEW v AS SELECT 1; CREATE MATERIALIZED VIEW mv AS SELECT 1; CREATE SCHEMA s;
         CREATE TABLE s.root (id int, at date, PRIMARY KEY (id, at)) PARTITION BY RANGE (at);
         CREATE TABLE s.mid PARTITION OF s.root FOR VALUES FROM ('2020-01-01') TO ('2021-01-01') PARTITION BY LIST (at);
         CREATE TABLE public.leaf PARTITION OF s.mid DEFAULT; INSERT INTO s.root SELECT n, '2020-05-05' FROM generate_series(1, 1000) n; ANALYZE",
    )
    .await;
    let tables = shop.tables().await;
    let shown: Vec<_> = tables
        .iter()
        .map(|table| {
            let ancestors: Vec<String> = table.ancestors.iter().map(ToString::to_string).collect();
            (table.schema.name.to_string(), ancestors.join(" "), table.estimated_rows, table.estimated_bytes > 30_000)
        })
        .collect();
    assert_eq!(
        shown,
        [
            ("public.leaf".to_string(), "s.root s.mid".to_string(), 1000, true),
            ("s.mid".into(), "s.root".into(), 1000, true),
            ("s.root".into(), String::new(), 1000, true)
        ]
    );
}

#[tokio::test]
async fn the_version_changes_with_every_form_and_with_nothing_else() {
    let shop = Shop::new(
        "CREATE TYPE mood AS ENUM ('a', 'c'); CREATE DOMAIN dom AS int; CREATE TYPE pair AS (a int);
         CREATE TABLE t (id int PRIMARY KEY, m mood, v varchar(5)); CREATE TABLE u (id int NOT NULL UNIQUE); CREATE SCHEMA s",
    )
    .await;
    let mut before = shop.source.catalog_version().await.unwrap();
    let changes = [
        "ALTER TABLE t ADD x int",
        "ALTER TABLE t RENAME x TO y",
        "ALTER TABLE t ALTER v TYPE varchar(9)",
        "ALTER TABLE t ALTER y SET NOT NULL",
        "ALTER TABLE t DROP y",
        "ALTER TYPE mood ADD VALUE 'b' BEFORE 'c'",
        "ALTER TYPE mood RENAME VALUE 'b' TO 'd'",
        "ALTER TYPE mood RENAME TO humour",
        "ALTER TYPE pair ADD ATTRIBUTE b int",
        "ALTER DOMAIN dom SET NOT NULL",
        "CREATE TABLE w (id int)",
        "ALTER TABLE w RENAME TO x",
        "ALTER TABLE x SET SCHEMA s",
        "ALTER SCHEMA s RENAME TO r",
        "DROP TABLE r.x",
        "ALTER TABLE u REPLICA IDENTITY USING INDEX u_id_key",
        "ALTER TABLE u ADD PRIMARY KEY (id)",
        "ALTER TABLE t ALTER v TYPE varchar(9) USING upper(v)",
        "VACUUM FULL t",
        "CREATE TABLE p (id int PRIMARY KEY) PARTITION BY RANGE (id)",
        "CREATE TABLE leaf (id int PRIMARY KEY)",
        "ALTER TABLE p ATTACH PARTITION leaf FOR VALUES FROM (0) TO (5)",
        "ALTER TABLE p DETACH PARTITION leaf",
        "CREATE PUBLICATION ours",
        "ALTER PUBLICATION ours ADD TABLE t",
        "ALTER PUBLICATION ours SET (publish = 'insert')",
        "ALTER PUBLICATION ours DROP TABLE t",
    ];
    for change in changes {
        let change = change.replace("ours", &format!("\"{}\"", shop.database.name()));
        shop.execute(&change).await;
        let now = shop.source.catalog_version().await.unwrap();
        assert_ne!(before, now, "{change}");
        before = now;
    }
    for statement in
        ["INSERT INTO t VALUES (1, 'a', 'x')", "ANALYZE", "VACUUM t", "CREATE PUBLICATION other FOR TABLE t"]
    {
        shop.execute(statement).await;
    }
    let client = shop.database.client().await;
    client.batch_execute("CREATE TEMP TABLE tmp (id int PRIMARY KEY)").await.unwrap();
    assert_eq!(shop.source.catalog_version().await.unwrap(), before);
}

#[tokio::test]
async fn thousands_of_tables_are_read_at_once() {
    let shop = Shop::new(
        "DO $$ BEGIN FOR i IN 1..1500 LOOP
             EXECUTE format('CREATE TABLE t%s (id int PRIMARY KEY, a text DEFAULT ''x'', b numeric, c timestamptz, UNIQUE (a))', i);
         END LOOP; END $$",
    )
    .await;
    let began = Instant::now();
    assert_eq!(shop.tables().await.len(), 1500);
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    let began = Instant::now();
    shop.source.catalog_version().await.unwrap();
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
}
