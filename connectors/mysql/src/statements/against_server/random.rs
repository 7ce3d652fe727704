//! Random DDL statements: most of them fit the tables that are there.

use crate::connection::{Flavor, Server};
use std::collections::BTreeMap;

pub(super) struct Random {
    state: u64,
    server: Server,
}

const TABLES: [&str; 4] = ["t", "u", "`v w`", "x"];
const COLUMNS: [&str; 8] = ["a", "b", "c", "d", "`e f`", "G", "first", "`i``j`"];
const CHARSETS: [&str; 7] = ["latin1", "utf8mb4", "utf8", "ucs2", "gbk", "ascii", "binary"];

impl Random {
    pub(super) fn new(seed: u64, server: Server) -> Self {
        Self { state: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1, server }
    }

    /// Less than `bound` (xorshift64*).
    fn below(&mut self, bound: usize) -> usize {
        self.state ^= self.state >> 12;
        self.state ^= self.state << 25;
        self.state ^= self.state >> 27;
        let mixed = self.state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33;
        usize::try_from(mixed).unwrap() % bound
    }

    fn chance(&mut self, one_in: usize) -> bool {
        self.below(one_in) == 0
    }

    fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[self.below(from.len())]
    }

    fn maybe(&mut self, text: &str) -> String {
        if self.chance(3) { format!(" {text}") } else { String::new() }
    }

    pub(super) fn charset(&mut self) -> &'static str {
        self.pick(&CHARSETS)
    }

    fn is_mariadb(&self) -> bool {
        self.server.flavor == Flavor::Mariadb
    }

    pub(super) fn statement(&mut self, tables: &BTreeMap<String, Vec<String>>) -> String {
        let there: Vec<&String> = tables.keys().collect();
        if there.is_empty() || self.chance(25) {
            return self.create();
        }
        let name = there[self.below(there.len())].clone();
        let table = format!("`{name}`");
        match self.below(60) {
            0 => format!("DROP TABLE IF EXISTS nobody, {table}"),
            1 => format!("CREATE TABLE {} LIKE {table}", self.pick(&TABLES)),
            2 => format!("RENAME TABLE {table} TO {}", self.pick(&TABLES)),
            3 => format!("RENAME TABLE {table} TO tmp, `{}` TO {table}", there[self.below(there.len())]),
            4 => format!("CREATE TABLE IF NOT EXISTS {table} (z INT)"),
            5 => format!("ALTER TABLE {table} RENAME {}", self.pick(&TABLES)),
            6 if self.is_mariadb() => self.create().replacen("CREATE", "CREATE OR REPLACE", 1),
            7 => format!("CREATE INDEX i{} ON {table} ({}(1))", self.below(1000), self.pick(&COLUMNS)),
            8 => format!("ALTER DATABASE CHARACTER SET {}", self.charset()),
            _ => self.alter(&table, &tables[&name]),
        }
    }

    fn create(&mut self) -> String {
        let count = 1 + self.below(6);
        let columns: Vec<String> = COLUMNS[..count].iter().map(|name| self.column(name)).collect();
        let index = self.maybe(", KEY k (a)");
        let options = match self.below(5) {
            0 => format!(" CHARSET={}", self.charset()),
            1 => format!(" ENGINE=InnoDB DEFAULT CHARACTER SET {} COMMENT 'x, y'", self.charset()),
            2 => format!(" COLLATE = {}", self.collation()),
            3 => " DEFAULT CHARSET DEFAULT".into(),
            _ => String::new(),
        };
        format!("CREATE TABLE {} ({}{index}){options}", self.pick(&TABLES), columns.join(", "))
    }

    fn alter(&mut self, table: &str, columns: &[String]) -> String {
        let count = 1 + self.below(4);
        let actions: Vec<String> = (0..count).map(|_| self.action(columns)).collect();
        let head = if self.is_mariadb() && self.chance(9) { "ALTER TABLE IF EXISTS" } else { "ALTER TABLE" };
        format!("{head} {table} {}", actions.join(", "))
    }

    fn existing(&mut self, columns: &[String]) -> String {
        if columns.is_empty() || self.chance(20) {
            return self.pick(&COLUMNS).to_owned();
        }
        format!("`{}`", columns[self.below(columns.len())].replace('`', "``"))
    }

    fn if_exists(&mut self, words: &str) -> String {
        if self.is_mariadb() { self.maybe(words) } else { String::new() }
    }

    fn action(&mut self, columns: &[String]) -> String {
        let new = self.pick(&COLUMNS);
        let old = self.existing(columns);
        let word = self.maybe("COLUMN");
        match self.below(24) {
            0..=4 => {
                let condition = self.if_exists("IF NOT EXISTS");
                format!("ADD{word}{condition} {}{}", self.column(new), self.place(columns))
            }
            5 => format!("ADD ({}, {})", self.column(new), self.column("zz")),
            6..=7 => format!("DROP{word}{} {old}", self.if_exists("IF EXISTS")),
            8..=11 => {
                let condition = self.if_exists("IF EXISTS");
                format!("MODIFY{word}{condition} {}{}", self.column(&old), self.place(columns))
            }
            12..=14 => {
                let condition = self.if_exists("IF EXISTS");
                format!("CHANGE{word}{condition} {old} {}{}", self.column(new), self.place(columns))
            }
            15..=16 if self.is_mariadb() || self.server.is_mysql(8, 0) => format!("RENAME COLUMN {old} TO {new}"),
            17..=18 => format!("CONVERT TO CHARACTER SET {}", self.charset()),
            19 => format!("CONVERT TO CHARACTER SET {}", self.pick(&["DEFAULT", "latin1 COLLATE latin1_bin"])),
            20 => format!("DEFAULT CHARACTER SET = {}", self.charset()),
            21 => format!("COLLATE {}", self.collation()),
            22 => format!("ALTER {old} DROP DEFAULT"),
            _ => self
                .pick(&["ENGINE=InnoDB", "FORCE", "ADD KEY (a)", "COMMENT='z, DROP a'", "ALGORITHM=COPY", "ORDER BY a"])
                .to_owned(),
        }
    }

    fn place(&mut self, columns: &[String]) -> String {
        match self.below(6) {
            0 => " FIRST".into(),
            1 | 2 => format!(" AFTER {}", self.existing(columns)),
            _ => String::new(),
        }
    }

    fn collation(&mut self) -> &'static str {
        self.pick(&["utf8_bin", "latin1_general_ci", "utf8mb4_unicode_ci", "binary", "ucs2_bin"])
    }

    fn column(&mut self, name: &str) -> String {
        let (ty, attributes) = match self.below(3) {
            0 => (self.plain_type(), self.maybe("NOT NULL")),
            1 => (self.text_type(), format!("{}{}", self.text_attributes(), self.maybe("NULL"))),
            _ if self.chance(4) && (self.is_mariadb() || self.server.is_mysql(5, 7)) => {
                let ways = ["GENERATED ALWAYS AS (1 + (2)) STORED", "AS (3)", "AS (length('a,b')) VIRTUAL"];
                ("INT".into(), format!(" {}", self.pick(&ways)))
            }
            _ => (self.sized_type(), String::new()),
        };
        let comment = self.maybe("COMMENT 'first, AFTER '' CHARACTER SET greek'");
        format!("{name} {ty}{attributes}{comment}")
    }

    fn plain_type(&mut self) -> String {
        let common = [
            "INT",
            "INTEGER(5) UNSIGNED",
            "INT4 ZEROFILL",
            "BOOL",
            "TINYINT(1)",
            "INT1 UNSIGNED",
            "SMALLINT",
            "MIDDLEINT",
            "BIGINT(20) UNSIGNED",
            "DEC",
            "NUMERIC(7)",
            "FIXED(9,4) UNSIGNED",
            "DECIMAL(0)",
            "FLOAT",
            "FLOAT(20)",
            "FLOAT(30)",
            "FLOAT(7,3)",
            "FLOAT4",
            "REAL",
            "DOUBLE PRECISION",
            "DOUBLE(8,2)",
            "FLOAT8",
            "BIT",
            "BIT(17)",
            "DATE",
            "TIME(2)",
            "DATETIME",
            "DATETIME(6)",
            "YEAR",
            "YEAR(4)",
            "GEOMETRY",
            "POINT",
            "MULTIPOLYGON",
            "GEOMETRYCOLLECTION",
            "TINYBLOB",
            "BLOB",
            "LONGBLOB",
            "BINARY(5)",
            "VARBINARY(9)",
            "LONG VARBINARY",
            "TIME",
        ];
        if self.chance(6) {
            if self.is_mariadb() {
                return self.pick(&["JSON", "INET6", "UUID", "INET4"]).into();
            }
            if self.server.is_mysql(5, 7) {
                return self.pick(&["JSON", "JSON", "GEOMCOLLECTION", "VECTOR(3)"]).into();
            }
        }
        self.pick(&common).into()
    }

    fn text_type(&mut self) -> String {
        let types = [
            "CHAR",
            "CHAR(7)",
            "CHARACTER(9)",
            "VARCHAR(10)",
            "CHARACTER VARYING(300)",
            "VARCHAR(20000)",
            "TINYTEXT",
            "TEXT",
            "MEDIUMTEXT",
            "LONGTEXT",
            "LONG",
            "LONG VARCHAR",
            "ENUM('a','b,c','it''s ')",
            "SET('x', 'y')",
            "ENUM('')",
        ];
        self.pick(&types).into()
    }

    fn sized_type(&mut self) -> String {
        let sizes =
            [0, 1, 60, 63, 64, 85, 86, 127, 128, 255, 256, 16_383, 16_384, 21_845, 32_768, 65_535, 65_536, 5_000_000];
        let size = sizes[self.below(sizes.len())];
        let ty =
            self.pick(&["TEXT", "BLOB", "VARCHAR", "VARBINARY", "NVARCHAR", "NATIONAL CHAR", "NCHAR VARYING", "CHAR"]);
        format!("{ty}({size})")
    }

    fn text_attributes(&mut self) -> String {
        match self.below(10) {
            0 => format!(" CHARACTER SET {}", self.charset()),
            1 => format!(" CHARSET {} NULL", self.charset()),
            2 => format!(" COLLATE {}", self.collation()),
            3 => " ASCII".into(),
            4 => " UNICODE".into(),
            5 => " BINARY".into(),
            6 => " CHARACTER SET latin1 COLLATE latin1_bin".into(),
            _ => String::new(),
        }
    }
}
