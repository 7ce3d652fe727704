//! What tables are made, altered and finished, and what `check` says of those that are there.

use super::*;

#[tokio::test]
async fn a_table_is_made_once_and_its_indexes_later() {
    let ferry = Ferry::new(
        "CREATE TABLE parents (id int PRIMARY KEY);
         CREATE TABLE t (id bigint unsigned AUTO_INCREMENT PRIMARY KEY, name varchar(30) NOT NULL DEFAULT 'x', body text,
             at timestamp NOT NULL DEFAULT CURRENT_TIMESTAMP, parent int, UNIQUE KEY by_name (name), KEY by_body (body(20)),
             CONSTRAINT of_parent FOREIGN KEY (parent) REFERENCES parents (id) ON DELETE CASCADE)",
        "",
    )
    .await;
    let (parents, t, mut applier) = (ferry.form("parents").await, ferry.form("t").await, ferry.applier().await);
    assert_eq!(applier.create(&parents).await.unwrap(), Created::New);
    assert_eq!(applier.create(&t).await.unwrap(), Created::New);
    assert_eq!(applier.create(&t).await.unwrap(), Created::Empty);
    apply(&mut applier, vec![upserts(&t, &["1 a b 2024-01-02 7"])], Some("1")).await.unwrap_err();
    let moment = "1\ta\tb\t2024-01-02 03:04:05+00\t7";
    let line: Vec<Option<&[u8]>> = moment.split('\t').map(|text| Some(text.as_bytes())).collect();
    applier.replace(&t, &Range::Whole, block([line])).await.unwrap();
    assert_eq!(applier.create(&t).await.unwrap(), Created::Filled);
    for _ in 0..2 {
        assert_eq!(applier.finish(&t).await.unwrap(), []);
    }
    let indexes = "SELECT DISTINCT INDEX_NAME, NON_UNIQUE, SUB_PART FROM information_schema.STATISTICS \
                   WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = 't' ORDER BY LOWER(INDEX_NAME)";
    assert_eq!(ferry.rows(indexes).await, ["by_body 1 20", "by_name 0 -", "of_parent 1 -", "PRIMARY 0 -"]);
    assert_eq!(applier.create(&t).await.unwrap(), Created::Filled);
    assert_eq!(ferry.read(&t, &Range::Whole).await, [moment]);
    let shown = ferry.target.query_text("SHOW CREATE TABLE t").await[0][1].clone().unwrap();
    for part in ["AUTO_INCREMENT", "DEFAULT 'x'", "ON DELETE CASCADE"] {
        assert!(shown.contains(part), "{part} in {shown}");
    }
}

#[tokio::test]
async fn a_change_of_form_is_carried_over_and_repeated() {
    let before = "CREATE TABLE t (id int PRIMARY KEY, v varchar(5) NOT NULL DEFAULT 'it''s', gone int)";
    let ferry = Ferry::new(
        "CREATE TABLE t (id int PRIMARY KEY, v varchar(50) DEFAULT 'it''s', n int NOT NULL DEFAULT 7, w text)",
        &format!("{before}; INSERT INTO t VALUES (1, 'a', 1)"),
    )
    .await;
    let (t, mut applier) = (ferry.form("t").await, ferry.applier().await);
    let column = |name: &str| t.columns[t.column_index(name).unwrap()].clone();
    let alterations = [
        Alteration::ChangeType(column("v")),
        Alteration::DropNotNull("v".into()),
        Alteration::AddColumn(Column { fill: Fill::Value("7".into()), ..column("n") }),
        Alteration::AddColumn(Column { fill: Fill::Value("it's".into()), ..column("w") }),
        Alteration::DropColumn("gone".into()),
    ];
    for _ in 0..2 {
        applier.alter(&t, &alterations).await.unwrap();
    }
    assert_eq!(ferry.rows("SELECT * FROM t").await, ["1 a 7 it's"]);
    let longer = "a-text-of-more-than-five";
    apply(&mut applier, vec![upserts(&t, &[&format!("2 {longer} 8 -"), "3 - 9 -"])], Some("1")).await.unwrap();
    assert_eq!(ferry.rows("SELECT * FROM t WHERE id > 1").await, [format!("2 {longer} 8 -"), "3 - 9 -".into()]);
    ferry.target.execute("INSERT INTO t (id) VALUES (4)").await;
    assert_eq!(ferry.rows("SELECT * FROM t WHERE id = 4").await, ["4 it's 7 -"]);
}

#[tokio::test]
async fn a_check_says_what_does_not_fit() {
    let ferry = Ferry::new(
        "CREATE TABLE t (id int PRIMARY KEY, v varchar(10), w int)",
        "CREATE TABLE t (id int PRIMARY KEY, v varchar(5), w int NOT NULL, UNIQUE KEY u (v), KEY (w)) ENGINE = MyISAM",
    )
    .await;
    ferry.target.execute("CREATE TRIGGER tr BEFORE INSERT ON t FOR EACH ROW SET NEW.w = 1").await;
    let t = ferry.form("t").await;
    let findings = ferry.target().check(&[(*t).clone()]).await.unwrap();
    let about: Vec<&str> = findings
        .iter()
        .filter(|finding| finding.severity == Severity::Blocked)
        .map(|finding| finding.what.as_str())
        .collect();
    for (place, part) in
        ["MyISAM", "column v is varchar(5)", "column w is NOT NULL", "unique index u"].iter().enumerate()
    {
        assert!(about.get(place).is_some_and(|what| what.contains(part)), "{part} in {about:?}");
    }
    assert_eq!(about.len(), 4, "{about:?}");
    assert!(
        findings.iter().any(|finding| finding.mend.as_deref().is_some_and(|mend| mend.starts_with("DROP TRIGGER")))
    );
    let error = ferry.applier().await.create(&t).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Schema, "{error}");
}
