//! Data types, attributes, and the actions of `ALTER TABLE`.

use super::*;

fn one(flavor: Flavor, definition: &str) -> String {
    let mut forms = forms(flavor);
    forms.apply(&ddl(&format!("CREATE TABLE t (c {definition})"))[0]);
    table(forms.get(&shop("t"))).strip_prefix("c ").unwrap_or("unknown").to_owned()
}

#[test]
fn types_have_their_native_text() {
    let cases = [
        ("INTEGER(11) NOT NULL AUTO_INCREMENT PRIMARY KEY", "int"),
        ("INT4 UNSIGNED", "int unsigned"),
        ("INT(5) ZEROFILL", "int unsigned zerofill"),
        ("BOOL DEFAULT TRUE", "tinyint"),
        ("BOOLEAN", "tinyint"),
        ("SERIAL", "bigint unsigned"),
        ("BIGINT UNSIGNED SERIAL DEFAULT VALUE", "bigint unsigned"),
        ("MIDDLEINT", "mediumint"),
        ("DEC", "decimal(10,0)"),
        ("NUMERIC(5) UNSIGNED", "decimal(5,0) unsigned"),
        ("FIXED(12, 3)", "decimal(12,3)"),
        ("FLOAT(24)", "float"),
        ("FLOAT(25)", "double"),
        ("FLOAT(53,2)", "float"),
        ("REAL", "double"),
        ("DOUBLE PRECISION(9,2)", "double"),
        ("BIT", "bit(1)"),
        ("BIT(64) DEFAULT b'101'", "bit(64)"),
        ("CHAR", "char(1)"),
        ("CHARACTER VARYING(7)", "varchar(7)"),
        ("NATIONAL CHARACTER VARYING (7)", "varchar(7) character set utf8mb3"),
        ("NCHAR(3)", "char(3) character set utf8mb3"),
        ("NVARCHAR(3)", "varchar(3) character set utf8mb3"),
        ("NCHAR VARYING(3)", "varchar(3) character set utf8mb3"),
        ("LONG VARCHAR", "mediumtext"),
        ("LONG", "mediumtext"),
        ("LONG CHARACTER SET latin1", "mediumtext character set latin1"),
        ("NATIONAL CHAR CHARACTER SET latin1", "char(1) character set latin1"),
        ("LONG CHARACTER VARYING", "mediumtext"),
        ("VARBINARY(65532)", "varbinary(65532)"),
        ("VARBINARY(65533)", "unknown"),
        ("LONG VARBINARY", "mediumblob"),
        ("TEXT(63)", "tinytext"),
        ("TEXT(64)", "text"),
        ("TEXT(16383)", "text"),
        ("TEXT(16384)", "mediumtext"),
        ("TEXT(255) CHARACTER SET latin1", "tinytext character set latin1"),
        ("TEXT(0)", "unknown"),
        ("BLOB(0)", "unknown"),
        ("BLOB(256)", "blob"),
        ("BLOB(255)", "tinyblob"),
        ("BLOB(16777216)", "longblob"),
        ("VARCHAR(16384)", "mediumtext"),
        ("VARBINARY(65536)", "mediumblob"),
        ("CHAR(4) BYTE", "binary(4)"),
        ("BINARY", "binary(1)"),
        ("VARCHAR(9) CHARACTER SET binary", "varbinary(9)"),
        ("TEXT CHARSET binary", "blob"),
        ("LONGTEXT COLLATE binary", "longblob"),
        ("VARCHAR(9) ASCII", "varchar(9) character set latin1"),
        ("VARCHAR(9) UNICODE", "varchar(9) character set ucs2"),
        ("VARCHAR(9) BINARY", "varchar(9) collate utf8mb4_bin"),
        ("VARCHAR(9) CHARACTER SET latin1 BINARY", "varchar(9) character set latin1 collate latin1_bin"),
        ("VARCHAR(9) COLLATE latin2_bin NOT NULL DEFAULT 'x'", "varchar(9) character set latin2 collate latin2_bin"),
        ("VARCHAR(9) DEFAULT 'a' COLLATE utf8_bin", "varchar(9) character set utf8mb3 collate utf8mb3_bin"),
        ("VARCHAR(9) CHARACTER SET utf8", "varchar(9) character set utf8mb3"),
        ("VARCHAR(9) COLLATE uca1400_ai_ci", "varchar(9) collate uca1400_ai_ci"),
        ("VARCHAR(9) CHARACTER SET 'ascii' COMMENT 'character set greek, first'", "varchar(9) character set ascii"),
        (r"ENUM('a,b','it''s','\'x\'',  'y\\ ')", r"enum('a,b','it''s','''x''','y\')"),
        ("SET('a', 'b') CHARACTER SET latin1", "set('a','b') character set latin1"),
        ("ENUM(\"x\") COLLATE binary", "enum('x') character set binary collate binary"),
        ("DATETIME(6) DEFAULT CURRENT_TIMESTAMP(6) ON UPDATE CURRENT_TIMESTAMP(6)", "datetime(6)"),
        ("TIMESTAMP NULL DEFAULT NULL", "timestamp"),
        ("TIME(3)", "time(3)"),
        ("YEAR(4)", "year"),
        ("JSON", "json"),
        ("POINT NOT NULL /*!80003 SRID 4326 */", "point"),
        ("GEOMETRYCOLLECTION REF_SYSTEM_ID=1", "geometrycollection"),
        ("VECTOR(3)", "vector(3)"),
        ("UUID DEFAULT UUID()", "uuid"),
        ("INET6", "inet6"),
        ("INT GENERATED ALWAYS AS (1 + (2)) STORED", "int Stored"),
        ("INT AS (1)", "int Virtual"),
        ("INT AS (1) PERSISTENT UNIQUE", "int Stored"),
        (
            "VARCHAR(3) CHARACTER SET latin1 AS (concat('a', char(1))) VIRTUAL",
            "varchar(3) character set latin1 Virtual",
        ),
        ("TIMESTAMP(6) GENERATED ALWAYS AS ROW START INVISIBLE", "timestamp(6)"),
        ("INT REFERENCES u(a) ON DELETE SET NULL", "int"),
        ("INT CONSTRAINT ascii CHECK (c > 0)", "int"),
        ("INT DEFAULT (1) COLUMN_FORMAT DYNAMIC STORAGE DISK INVISIBLE", "int"),
        ("VARCHAR(9) COLLATE nobody_knows", "unknown"),
        ("VARCHAR(9) CHARACTER SET klingon", "unknown"),
        ("ENUM(0x61)", "unknown"),
        ("WONDER(3)", "unknown"),
        ("mariadb_schema.date", "unknown"),
        ("VARCHAR", "unknown"),
    ];
    for (definition, expected) in cases {
        assert_eq!(one(Flavor::Mysql, definition), expected, "{definition}");
    }
    let json = "longtext CHARACTER SET utf8mb4 COLLATE utf8mb4_bin DEFAULT NULL CHECK (json_valid(`c`))";
    assert_eq!(one(Flavor::Mariadb, json), "json");
    assert_eq!(one(Flavor::Mysql, json), "longtext collate utf8mb4_bin");
}

#[test]
fn the_mode_changes_how_texts_read() {
    let read = |statement: &str, mode| {
        let Statement::Ddl(changes) = parse(statement, "shop", mode) else { panic!("{statement}") };
        let mut forms = forms(Flavor::Mysql);
        forms.apply(&changes[0]);
        table(forms.get(&shop("t")))
    };
    assert_eq!(
        read(r#"CREATE TABLE t ("a" ENUM('\'), `b` REAL)"#, SqlMode(1 | 1 << 2 | 1 << 20)),
        r"a enum('\'), b float"
    );
    assert_eq!(read("CREATE TABLE t (a DATE)", SqlMode::ORACLE), "unknown");
}

const THREE: &str = "CREATE TABLE t (a INT, b VARCHAR(10), c TEXT) CHARSET latin1";

#[test]
fn actions_of_one_statement_take_effect_together() {
    let cases = [
        ("ADD d INT", "a, b, c, d"),
        ("ADD COLUMN d INT FIRST, ADD e INT AFTER d", "d, e, a, b, c"),
        ("ADD (d INT, e INT)", "a, b, c, d, e"),
        ("ADD COLUMN (d INT, KEY (d), e DECIMAL(5,2) DEFAULT '1,5')", "a, b, c, d, e"),
        ("ADD d INT AFTER a, DROP a, MODIFY b INT", "unknown"),
        ("DROP a, ADD a INT", "b, c, a"),
        ("DROP COLUMN `A`", "b, c"),
        ("DROP IF EXISTS x, DROP COLUMN IF EXISTS b", "a, c"),
        ("DROP x", "unknown"),
        ("ADD IF NOT EXISTS a TEXT, ADD COLUMN IF NOT EXISTS d INT", "a, b, c, d"),
        ("ADD a INT", "unknown"),
        ("CHANGE IF EXISTS x y INT, ADD IF NOT EXISTS y INT", "a, b, c"),
        ("MODIFY a BIGINT FIRST, MODIFY c TEXT AFTER a", "a, c, b"),
        ("CHANGE a z INT AFTER c", "b, c, z"),
        ("CHANGE a b INT, CHANGE b a INT", "b, a, c"),
        ("CHANGE COLUMN a a2 INT, ADD d INT AFTER a2", "a2, d, b, c"),
        ("RENAME COLUMN a TO b, RENAME COLUMN b TO a", "b, a, c"),
        ("RENAME COLUMN a TO z, ADD y INT AFTER z", "z, y, b, c"),
        ("ALTER COLUMN a SET DEFAULT 3, ALTER b DROP DEFAULT, ALTER COLUMN c SET INVISIBLE", "a, b, c"),
        ("ADD INDEX (a), ADD CONSTRAINT x UNIQUE KEY (b(3)), DROP PRIMARY KEY, ADD d INT", "a, b, c, d"),
        ("DROP KEY k, DROP FOREIGN KEY f, DROP CHECK x, RENAME INDEX a TO b", "a, b, c"),
        ("ENGINE=InnoDB ROW_FORMAT=DYNAMIC COMMENT='x, DROP a', AUTO_INCREMENT 5", "a, b, c"),
        ("ORDER BY a, b DESC", "a, b, c"),
        (
            "ADD d INT PARTITION BY RANGE (a) (PARTITION p VALUES LESS THAN (5), PARTITION q VALUES LESS THAN MAXVALUE)",
            "a, b, c, d",
        ),
        ("REORGANIZE PARTITION p, q INTO (PARTITION r VALUES LESS THAN (9))", "a, b, c"),
        ("EXCHANGE PARTITION p WITH TABLE u WITHOUT VALIDATION", "a, b, c"),
        ("DROP PARTITION p, q", "a, b, c"),
        ("ENGINE InnoDB, REMOVE PARTITIONING", "a, b, c"),
        ("ADD d INT COMMENT 'x' AFTER `a`, ALGORITHM=INPLACE, LOCK=NONE", "a, d, b, c"),
        ("DISABLE KEYS", "a, b, c"),
        ("FORCE", "a, b, c"),
        ("ADD SYSTEM VERSIONING", "unknown"),
        ("FROBNICATE b", "unknown"),
        ("ADD d WONDER", "unknown"),
        ("ADD d INT SOMETHING NEW AFTER a", "a, d, b, c"),
    ];
    for (actions, expected) in cases {
        let mut forms = forms(Flavor::Mysql);
        forms.apply(&ddl(THREE)[0]);
        forms.apply(&ddl(&format!("ALTER TABLE t {actions}"))[0]);
        let form = forms.get(&shop("t")).unwrap();
        let names: Vec<&str> = form.columns.iter().map(|column| column.name.as_str()).collect();
        let found = if form.is_known { names.join(", ") } else { "unknown".into() };
        assert_eq!(found, expected, "{actions}");
    }
}

#[test]
fn character_sets_follow_the_table() {
    check(
        &[THREE, "ALTER TABLE t DEFAULT CHARACTER SET utf8mb4, ADD d CHAR(2), MODIFY b VARCHAR(5)"],
        &[("t", "a int, b varchar(5), c text character set latin1, d char(2)")],
    );
    check(
        &[
            THREE,
            "ALTER TABLE t CONVERT TO CHARACTER SET utf8mb4 COLLATE utf8mb4_bin, ADD d CHAR(2) CHARACTER SET latin1",
        ],
        &[(
            "t",
            "a int, b varchar(10) collate utf8mb4_bin, c mediumtext collate utf8mb4_bin, d char(2) collate utf8mb4_bin",
        )],
    );
    check(&[THREE, "ALTER TABLE t CONVERT TO CHARACTER SET utf8mb4, MODIFY c TEXT"], &[("t", "unknown")]);
    check(&[THREE, "ALTER TABLE t CONVERT TO CHARACTER SET utf8mb4, CHARSET latin1"], &[("t", "unknown")]);
    check(
        &[
            "CREATE TABLE t (a INT) CHARSET latin1",
            "ALTER TABLE t CONVERT TO CHARACTER SET utf8mb4",
            "ALTER TABLE t ADD b CHAR(1)",
        ],
        &[("t", "unknown")],
    );
    check_on(Flavor::Mariadb, &[THREE, "ALTER TABLE t CONVERT TO CHARACTER SET gbk, ADD d JSON"], &[("t", "unknown")]);
    check(&[THREE, "ALTER TABLE t CONVERT TO CHARACTER SET DEFAULT"], &[("t", "a int, b varchar(10), c mediumtext")]);
    check(&[THREE, "ALTER TABLE t CONVERT TO CHARACTER SET binary"], &[("t", "a int, b varbinary(10), c blob")]);
    check(
        &[THREE, "ALTER TABLE t COLLATE=utf8mb4_bin", "ALTER TABLE t ADD d CHAR"],
        &[(
            "t",
            "a int, b varchar(10) character set latin1, c text character set latin1, d char(1) collate utf8mb4_bin",
        )],
    );
}

#[test]
fn what_is_not_understood_is_known_to_be_unknown() {
    check(&["CREATE TABLE t (a INT) SELECT 1 AS b"], &[("t", "unknown")]);
    check(&["CREATE TABLE t AS SELECT 1"], &[("t", "unknown")]);
    check(&["CREATE TABLE t (a INT) IGNORE AS (SELECT 1)"], &[("t", "unknown")]);
    check(&["CREATE TABLE t (SELECT 1)"], &[("t", "unknown")]);
    check(&["CREATE TABLE t TABLE u"], &[("t", "unknown")]);
    check(&["CREATE TABLE t (a INT) WITH SYSTEM VERSIONING"], &[("t", "unknown")]);
    check(&["CREATE TABLE t (a INT"], &[("t", "unknown")]);
    check(&["CREATE TABLE t LIKE nobody"], &[("t", "unknown")]);
    check(&[THREE, "RENAME TABLE nobody TO t"], &[("t", "unknown")]);
    check(&[THREE, "ALTER TABLE t FROBNICATE, RENAME TO u"], &[("t", "none"), ("u", "unknown")]);
    // Nothing is known of the database: the table may have been there.
    let mut forms = forms(Flavor::Mysql);
    forms.apply(&ddl("CREATE TABLE IF NOT EXISTS elsewhere.t (a INT)")[0]);
    assert_eq!(table(forms.get(&TableName::new("elsewhere", "t"))), "unknown");
}

#[test]
fn only_what_changes_is_told() {
    let mut forms = forms(Flavor::Mysql);
    let mut told = |statement: &str| ddl(statement).iter().flat_map(|change| forms.apply(change)).collect::<Vec<_>>();
    assert_eq!(told(THREE), [shop("t")]);
    assert_eq!(told("CREATE TABLE IF NOT EXISTS t (z INT)"), []);
    assert_eq!(told("ALTER TABLE t ENGINE=InnoDB"), []);
    assert_eq!(told("ALTER TABLE t ADD INDEX (a)"), []);
    assert_eq!(told("TRUNCATE t"), []);
    assert_eq!(told("ALTER TABLE t ADD d INT"), [shop("t")]);
    assert_eq!(told("ALTER TABLE t RENAME u"), [shop("t"), shop("u")]);
    assert_eq!(told("DROP TABLE IF EXISTS nobody, u"), [shop("u")]);
}
