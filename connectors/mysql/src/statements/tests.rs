use super::*;
use crate::connection::Flavor;
use crate::kind::Kind;
use proptest::prelude::*;

mod columns;
mod migrations;

pub(super) fn ddl(statement: &str) -> Vec<Change> {
    match parse(statement, "shop", SqlMode::default()) {
        Statement::Ddl(changes) => changes,
        other => panic!("{statement} is read as {other:?}"),
    }
}

pub(super) fn forms(flavor: Flavor) -> Forms {
    let mut forms = Forms::new(flavor, false);
    forms.set_database("shop", Charset::new("utf8mb4", None));
    forms.set_database("old", Charset::new("latin1", None));
    forms
}

pub(super) fn shop(name: &str) -> TableName {
    TableName::new("shop", name)
}

pub(super) fn table(form: Option<&Form>) -> String {
    match form {
        None => "none".to_owned(),
        Some(form) if !form.is_known => "unknown".to_owned(),
        Some(form) => {
            let column = |column: &LogColumn| {
                assert!(Kind::parse(&column.native).is_some(), "{}", column.native);
                let generated = column.generated.map_or(String::new(), |generated| format!(" {generated:?}"));
                let native = column.native.replace(" character set utf8mb4", "");
                format!("{} {native}{generated}", column.name)
            };
            form.columns.iter().map(column).collect::<Vec<_>>().join(", ")
        }
    }
}

/// Runs the statements and compares the tables, which are written as `name: column type, ..`. utf8mb4 is left out.
pub(super) fn check(statements: &[&str], expected: &[(&str, &str)]) {
    check_on(Flavor::Mysql, statements, expected);
}

pub(super) fn check_on(flavor: Flavor, statements: &[&str], expected: &[(&str, &str)]) {
    let mut forms = forms(flavor);
    for statement in statements {
        if let Statement::Ddl(changes) = parse(statement, "shop", SqlMode::default()) {
            for change in changes {
                forms.apply(&change);
            }
        }
    }
    for (name, columns) in expected {
        assert_eq!(table(forms.get(&shop(name))), *columns, "{name} after {statements:#?}");
    }
}

#[test]
fn transactions_are_told_from_the_rest() {
    let xid = |text: &str| Xid(text.to_owned());
    let cases = [
        ("BEGIN", Statement::Begin),
        ("START TRANSACTION", Statement::Begin),
        ("COMMIT", Statement::Commit),
        ("COMMIT /* end */", Statement::Commit),
        ("ROLLBACK", Statement::Rollback),
        ("ROLLBACK WORK", Statement::Rollback),
        ("ROLLBACK TO `sp 1`", Statement::RollbackTo("sp 1".into())),
        ("rollback work to savepoint x", Statement::RollbackTo("x".into())),
        ("SAVEPOINT `a``b`", Statement::Savepoint("a`b".into())),
        ("RELEASE SAVEPOINT x", Statement::Release("x".into())),
        ("XA START X'6131',X'',1", Statement::Xa(XaVerb::Start, xid("X'6131',X'',1"))),
        ("XA BEGIN 'a1', 'b', 1", Statement::Xa(XaVerb::Start, xid("'a1','b',1"))),
        ("XA END X'6131',X'',1", Statement::Xa(XaVerb::End, xid("X'6131',X'',1"))),
        ("XA PREPARE X'6131',X'',1", Statement::Xa(XaVerb::Prepare, xid("X'6131',X'',1"))),
        ("XA COMMIT X'6131',X'',1", Statement::Xa(XaVerb::Commit { one_phase: false }, xid("X'6131',X'',1"))),
        ("XA COMMIT X'6131',X'',1 ONE PHASE", Statement::Xa(XaVerb::Commit { one_phase: true }, xid("X'6131',X'',1"))),
        ("XA ROLLBACK X'6131',X'',1", Statement::Xa(XaVerb::Rollback, xid("X'6131',X'',1"))),
    ];
    for (statement, expected) in cases {
        assert_eq!(parse(statement, "shop", SqlMode::default()), expected, "{statement}");
    }
}

#[test]
fn rows_changed_by_statements_are_seen() {
    use DmlKind::*;
    let cases = [
        ("INSERT INTO t VALUES (1, 'DROP TABLE t')", Insert, "shop.t"),
        ("insert ignore into `a b`.t (x) select 1", Insert, "a b.t"),
        ("/* app */ REPLACE INTO t SET a = 1", Replace, "shop.t"),
        ("UPDATE LOW_PRIORITY t JOIN s.u ON t.a = u.a, w SET t.b = 1", Update, "shop.t s.u shop.w"),
        ("DELETE FROM `shop`.`t`", Delete, "shop.t"),
        ("DELETE t FROM t INNER JOIN u USING (id) WHERE 1", Delete, "shop.t shop.u"),
        ("WITH x AS (SELECT 1) DELETE FROM t WHERE a IN (SELECT * FROM x)", Delete, "shop.t"),
        ("LOAD DATA LOCAL INFILE 'x' IGNORE INTO TABLE `t` FIELDS TERMINATED BY ','", Load, "shop.t"),
        ("SET STATEMENT max_statement_time=1 FOR UPDATE t SET a=1", Update, "shop.t"),
    ];
    for (statement, expected_kind, expected) in cases {
        match parse(statement, "shop", SqlMode::default()) {
            Statement::Dml { kind, tables } => {
                let tables: Vec<String> = tables.iter().map(ToString::to_string).collect();
                assert_eq!((kind, tables.join(" ").as_str()), (expected_kind, expected), "{statement}");
            }
            other => panic!("{statement} is read as {other:?}"),
        }
    }
}

#[test]
fn what_is_not_needed_never_stops() {
    let statements = [
        "",
        ";",
        "-- nothing",
        "# nothing",
        "/* nothing",
        "FLUSH TABLES",
        "GRANT ALL ON *.* TO 'x'@'%'",
        "CREATE USER 'a'@'b' IDENTIFIED BY 'c'",
        "RENAME USER a TO b",
        "CREATE ALGORITHM=UNDEFINED DEFINER=`root`@`%` SQL SECURITY DEFINER VIEW v AS SELECT 1",
        "CREATE OR REPLACE VIEW t AS SELECT * FROM u",
        "CREATE DEFINER=`root`@`localhost` TRIGGER x BEFORE INSERT ON t FOR EACH ROW BEGIN DROP TABLE t; END",
        "CREATE PROCEDURE p() BEGIN ALTER TABLE t ADD a INT; DROP TABLE t; END",
        "CREATE EVENT e ON SCHEDULE EVERY 1 DAY DO TRUNCATE TABLE t",
        "ALTER EVENT e RENAME TO f",
        "DROP VIEW IF EXISTS t",
        "DROP TEMPORARY TABLE IF EXISTS t",
        "DROP /*!40005 TEMPORARY */ TABLE IF EXISTS `t`",
        "CREATE TEMPORARY TABLE t (a INT)",
        "CREATE /*M! OR REPLACE */ TEMPORARY TABLE t (a INT)",
        "DROP TRIGGER t",
        "CREATE SEQUENCE t",
        "ALTER USER root IDENTIFIED BY 'ALTER TABLE t DROP a'",
        "ANALYZE TABLE t",
        "OPTIMIZE TABLE t",
        "SET PASSWORD FOR x = 'y'",
        "ALTER DATABASE shop READ ONLY = 1",
        "DROP",
        "ALTER",
        "ALTER TABLE",
        "CREATE TABLE",
        "RENAME TABLE",
        "CREATE TABLE `",
        "😀 DROP TABLE t",
        "ALTER TABLE t ADD COLUMN c INT, ALGORITHM=INSTANT, LOCK=NONE",
    ];
    for statement in statements {
        let mut forms = forms(Flavor::Mysql);
        let known = Form::known(vec![], None);
        forms.set(&shop("t"), known.clone());
        match parse(statement, "shop", SqlMode::default()) {
            Statement::Other => {}
            Statement::Ddl(changes) if statement.starts_with("ALTER TABLE t ") => assert_eq!(changes.len(), 1),
            other => panic!("{statement} is read as {other:?}"),
        }
    }
}

#[test]
fn names_are_read_however_they_are_written() {
    let cases = [
        ("DROP TABLE t", "shop.t"),
        ("drop table if exists `t`, `a`.`b`, c . d /* generated by server */", "shop.t a.b c.d"),
        ("DROP TABLE `we``ird`.`na.me`", "we`ird.na.me"),
        ("DROP TABLE `größe`, 表", "shop.größe shop.表"),
        ("DROP TABLES 1a CASCADE", "shop.1a"),
        ("DROP TABLE .t", "shop.t"),
        ("/*!40000 DROP TABLE IF EXISTS `t`*/;", "shop.t"),
        ("/*!50003 DROP */ /*M!100100 TABLE*/ -- x\n t # y", "shop.t"),
        ("DROP TABLE t WAIT 5", "shop.t"),
    ];
    for (statement, expected) in cases {
        let [Change::Drop(tables)] = &ddl(statement)[..] else { panic!("{statement}") };
        let tables: Vec<String> = tables.iter().map(ToString::to_string).collect();
        assert_eq!(tables.join(" "), expected, "{statement}");
    }
    let ansi = parse(r#"DROP TABLE "q ""1""""#, "shop", SqlMode::ANSI_QUOTES);
    assert_eq!(ansi, Statement::Ddl(vec![Change::Drop(vec![shop("q \"1\"")])]));
}

#[test]
fn databases_and_indexes_are_read() {
    assert_eq!(ddl("TRUNCATE t"), [Change::Truncate(shop("t"))]);
    assert_eq!(ddl("TRUNCATE TABLE `x`.`t`"), [Change::Truncate(TableName::new("x", "t"))]);
    assert_eq!(ddl("DROP DATABASE IF EXISTS `x`"), [Change::DropDatabase("x".into())]);
    assert_eq!(ddl("CREATE UNIQUE INDEX i USING BTREE ON t (a)"), [Change::Indexes(shop("t"))]);
    assert_eq!(ddl("DROP INDEX IF EXISTS `on` ON x.t"), [Change::Indexes(TableName::new("x", "t"))]);
    let latin1 = CharsetSpec::named("latin1");
    assert_eq!(
        ddl("ALTER DATABASE DEFAULT CHARACTER SET = latin1"),
        [Change::AlterDatabase { name: "shop".into(), charset: latin1.clone() }]
    );
    assert_eq!(
        ddl("CREATE SCHEMA IF NOT EXISTS x CHARSET latin1"),
        [Change::CreateDatabase { name: "x".into(), if_not_exists: true, or_replace: false, charset: latin1 }]
    );
}

#[test]
fn databases_give_their_tables_a_charset_and_take_them_along() {
    let mut forms = forms(Flavor::Mysql);
    let mut run = |statement: &str| {
        let changes = ddl(statement);
        changes.iter().flat_map(|change| forms.apply(change)).map(|table| table.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(run("CREATE DATABASE n COLLATE utf8_bin"), Vec::<String>::new());
    assert_eq!(run("CREATE TABLE n.t (a CHAR(2))"), ["n.t"]);
    assert_eq!(run("ALTER DATABASE n CHARACTER SET ascii"), Vec::<String>::new());
    assert_eq!(run("CREATE TABLE n.u (a CHAR(2))"), ["n.u"]);
    assert_eq!(run("CREATE TABLE elsewhere.u (a CHAR(2))"), ["elsewhere.u"]);
    let of = |forms: &Forms, schema: &str, name: &str| table(forms.get(&TableName::new(schema, name)));
    assert_eq!(of(&forms, "n", "t"), "a char(2) character set utf8mb3 collate utf8mb3_bin");
    assert_eq!(of(&forms, "n", "u"), "a char(2) character set ascii");
    assert_eq!(of(&forms, "elsewhere", "u"), "unknown");
    let dropped = forms.apply(&Change::DropDatabase("n".into()));
    assert_eq!(dropped, [TableName::new("n", "t"), TableName::new("n", "u")]);
    assert_eq!(of(&forms, "n", "t"), "none");
}

#[test]
fn names_are_folded_where_the_server_folds_them() {
    let mut forms = Forms::new(Flavor::Mysql, true);
    forms.set_database("Shop", Charset::new("latin1", None));
    let changes = ddl("CREATE TABLE SHOP.Orders (a INT)");
    assert_eq!(forms.apply(&changes[0]), [shop("orders")]);
    assert_eq!(table(forms.get(&shop("ORDERS"))), "a int");
}

proptest! {
    #[test]
    fn any_text_is_read(text in any::<String>(), ansi in any::<bool>()) {
        let mode = if ansi { SqlMode::ANSI_QUOTES } else { SqlMode::NO_BACKSLASH_ESCAPES };
        prop_assert!(Tokens::new(&text, mode).count() <= text.len());
        parse(&text, "shop", mode);
    }

    #[test]
    fn any_row_of_words_is_read(words in proptest::collection::vec(word(), 0..40), mode in 0_u64..8) {
        let text = words.join(" ");
        if let Statement::Ddl(changes) = parse(&text, "shop", SqlMode(mode)) {
            let mut forms = forms(Flavor::Mariadb);
            forms.apply(&ddl("CREATE TABLE t (a INT, b TEXT, c CHAR(3))")[0]);
            for change in changes {
                forms.apply(&change);
            }
        }
    }
}

fn word() -> impl Strategy<Value = &'static str> {
    proptest::sample::select(vec![
        "ALTER TABLE t",
        "CREATE TABLE t",
        "ADD",
        "DROP",
        "COLUMN",
        "MODIFY",
        "CHANGE",
        "RENAME",
        "TO",
        "a",
        "b",
        "c",
        "t",
        "INT",
        "CHAR(3)",
        "TEXT(70000)",
        "ENUM('a')",
        "SET(",
        "(",
        ")",
        ",",
        "FIRST",
        "AFTER",
        "CHARACTER SET",
        "latin1",
        "CONVERT TO",
        "COLLATE",
        "binary",
        "DEFAULT",
        "=",
        "IF EXISTS",
        "IF NOT EXISTS",
        "LIKE",
        "SELECT",
        "AS",
        "PARTITION",
        "BY",
        "/*!",
        "*/",
        "/*",
        "'",
        "`",
        "\"",
        "\\",
        ".",
        "--",
        "#",
        "\n",
        "VARCHAR(99999999999999999999)",
        "CHECK",
        "WAIT",
        "LONG",
        "NATIONAL",
        "DECIMAL(",
        "RENAME TABLE",
        "DROP TABLE",
        "DATABASE",
        "XA",
        "COMMIT",
        "SAVEPOINT",
        ";",
    ])
}
