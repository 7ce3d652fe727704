use super::*;
use proptest::prelude::*;
use std::fmt::Write;

const PIPELINE: &str = r#"
[pipeline.shop]
source = { kind = "postgres", url = "postgres://reader:hunter2@db:5432/shop" }
target = { kind = "sqlite", path = "shop.db" }
tables = ["public.*", "!public.audit_*"]
"#;

fn parse(text: &str) -> Result<Config, ConfigError> {
    Config::parse(Path::new("conf/rowferry.toml"), text)
}

fn valid(text: &str) -> PipelineConfig {
    parse(text).unwrap().pipelines.into_iter().next().unwrap()
}

/// `text` is refused with a message at `line` that holds all of `words`.
fn refused(text: &str, line: usize, words: &[&str]) {
    let error = parse(text).map(drop).unwrap_err();
    let mut shown = error.to_string();
    write!(shown, "{error:?}").unwrap();
    assert!(shown.contains(&format!("conf/rowferry.toml:{line}: ")), "line {line} in {shown}");
    words.iter().for_each(|word| assert!(shown.contains(word), "{word} in {shown}"));
    assert!(!shown.contains("hunter2"), "a secret in {shown}");
}

fn with(line: &str) -> String {
    format!("{PIPELINE}{line}\n")
}

#[test]
fn defaults_hold_where_nothing_is_said() {
    let config = parse(PIPELINE).unwrap();
    assert_eq!(config.state_dir, Path::new("conf/rowferry-state"));
    let pipeline = &config.pipelines[0];
    assert_eq!((pipeline.memory_bytes, pipeline.snapshot_workers, pipeline.slice_rows), (64 << 20, 2, 100_000));
    assert_eq!(pipeline.silent_after, Duration::from_secs(60));
    assert_eq!(pipeline.source.option("url"), Some("postgres://reader:hunter2@db:5432/shop"));
    let table = pipeline.table_config(&TableName::new("public", "orders"));
    assert_eq!((table.on_schema_change, table.on_bad_row), (OnSchemaChange::Evolve, OnBadRow::Halt));
}

#[test]
fn a_table_takes_its_own_settings_else_the_pipelines() {
    let pipeline = valid(&with(
        r#"
on_bad_row = "dead_letter"
memory = "1GiB"
[pipeline.shop.table."public.orders"]
key = ["id"]
target = "sales"
columns = ["!card_number"]
on_schema_change = "halt"
"#,
    ));
    assert_eq!(pipeline.memory_bytes, 1 << 30);
    let orders = pipeline.table_config(&TableName::new("public", "orders"));
    assert_eq!(orders.key, Some(vec!["id".to_owned()]));
    assert_eq!(orders.target.as_deref(), Some("sales"));
    assert_eq!((orders.on_schema_change, orders.on_bad_row), (OnSchemaChange::Halt, OnBadRow::DeadLetter));
    assert!(orders.columns.keeps("id") && !orders.columns.keeps("card_number"));
    let other = pipeline.table_config(&TableName::new("public", "items"));
    assert_eq!((other.on_schema_change, other.on_bad_row), (OnSchemaChange::Evolve, OnBadRow::DeadLetter));
}

#[test]
fn tables_are_chosen_by_patterns_with_exceptions() {
    let tables = valid(PIPELINE).tables;
    assert!(tables.matches(&TableName::new("public", "orders")));
    assert!(!tables.matches(&TableName::new("public", "audit_log")));
    assert!(!tables.matches(&TableName::new("sales", "orders")));
}

#[test]
fn errors_point_at_the_line_and_say_what_to_do() {
    refused(&with("tabels = []"), 6, &["unknown key: tabels", "Did you mean `tables`?"]);
    refused(&with("memory = \"1KiB\""), 6, &["1KiB is too little", "8MiB"]);
    refused(&with("log_budget = \"1MiB\""), 6, &["1MiB is too little", "16MiB"]);
    refused(&with("memory = \"lots\""), 6, &["not a size"]);
    refused(&with("snapshot_workers = 0"), 6, &["out of range", "1 to 64"]);
    refused(&with("on_bad_row = \"ignore\""), 6, &["ignore"]);
    refused(&with("[pipeline.shop.table.\"sales.x\"]"), 6, &["no pattern of `tables` matches table \"sales.x\""]);
    refused(&PIPELINE.replace("\"public.*\"", "\"orders\""), 5, &["names no schema", "public.orders"]);
    refused(&PIPELINE.replace("\"public.*\", ", ""), 5, &["names no table to carry"]);
    refused(&PIPELINE.replace("\"sqlite\"", "\"sqlight\""), 4, &["unknown kind of target: sqlight", "`sqlite`"]);
    refused(&PIPELINE.replace("path =", "pth ="), 4, &["unknown key of a sqlite target: pth", "`path`"]);
    refused(&PIPELINE.replace(", path = \"shop.db\"", ""), 4, &["target of kind sqlite has no `path`"]);
    refused(&PIPELINE.replace("kind = \"postgres\", ", ""), 3, &["source has no `kind`"]);
    refused(&PIPELINE.replace("tables", "#"), 2, &["`tables` is missing"]);
    refused(&PIPELINE.replace("\"shop.db\"", "7"), 4, &["expected text, found integer"]);
    let numbered = |id: &str| PIPELINE.replace("kind = \"postgres\"", &format!("kind = \"mysql\", server_id = {id}"));
    refused(&numbered("0"), 3, &["`server_id` is not a number", "from 1 to"]);
    refused(&numbered("\"7a\""), 3, &["`server_id` is not a number"]);
    assert_eq!(parse(&numbered("7")).unwrap().pipelines[0].source.option("server_id"), Some("7"));
    refused(&PIPELINE.replace("shop.db\" }", "shop.db\""), 5, &["missing comma"]);
    refused("state_dir = \"x\"\n", 1, &["there is no pipeline"]);
}

#[test]
fn several_mistakes_are_told_at_once() {
    let error = parse(&with("memory = \"lots\"\nslice_rows = 0")).map(drop).unwrap_err();
    assert_eq!(error.to_string().lines().count(), 2, "{error}");
}

#[test]
fn texts_are_filled_in_from_the_environment_and_from_files() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("secret");
    std::fs::write(&file, "s3cret\n").unwrap();
    let from_file = PIPELINE.replace("hunter2", &format!("${{file:{}}}", file.display()));
    assert_eq!(valid(&from_file).source.option("url"), Some("postgres://reader:s3cret@db:5432/shop"));
    let home = std::env::var("HOME").unwrap();
    let from_environment = PIPELINE.replace("shop.db", "${HOME}/shop.db");
    assert_eq!(valid(&from_environment).target.option("path"), Some(format!("{home}/shop.db").as_str()));
    refused(&PIPELINE.replace("hunter2", "${ROWFERRY_NOT_SET}"), 3, &["ROWFERRY_NOT_SET is not set", "export"]);
    refused(&PIPELINE.replace("hunter2", "${file:/nowhere/x}"), 3, &["/nowhere/x cannot be read"]);
    refused(&PIPELINE.replace("hunter2", "${HOME"), 3, &["no }"]);
}

#[test]
fn debug_shows_no_secret() {
    let shown = format!("{:?}", parse(PIPELINE).unwrap());
    assert!(!shown.contains("hunter2"), "{shown}");
}

#[test]
fn the_json_schema_names_every_key_with_its_meaning() {
    let schema = Config::json_schema().to_string();
    for key in ["state_dir", "pipeline", "source", "target", "tables", "memory", "snapshot_workers", "on_bad_row"] {
        assert!(schema.contains(&format!("\"{key}\"")), "{key} in {schema}");
    }
    assert!(schema.contains("Memory for changes on their way"), "{schema}");
}

proptest! {
    /// Broken files end in an error, and never in a panic.
    #[test]
    fn any_text_is_a_configuration_or_an_error(at in 0..PIPELINE.len(), noise in "\\PC{0,12}", cut in 0..12usize) {
        let end = (at + cut).min(PIPELINE.len());
        let text = format!("{}{noise}{}", &PIPELINE[..at], &PIPELINE[end..]);
        if let Err(error) = parse(&text) {
            let shown = format!("{error:?}");
            prop_assert!(!shown.is_empty());
        }
    }
}
