//! The rules on the tree itself: who imports whom, where connectors are named, and that documents speak of what is there.

#![allow(clippy::unwrap_used)]

use cargo_metadata::{DependencyKind, MetadataCommand};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Files below a folder with one of these endings; build directories left out.
fn files(folder: &Path, endings: &[&str]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let (path, name) = (entry.path(), entry.file_name().to_string_lossy().into_owned());
        if path.is_dir()
            && !name.starts_with('.')
            && !["target", "work", "corpus", "artifacts"].contains(&name.as_str())
        {
            found.extend(files(&path, endings));
        } else if endings.iter().any(|ending| name.ends_with(ending)) {
            found.push(path);
        }
    }
    found
}

/// `connectors/api` and `state` import no crate of the workspace, a connector imports `connectors/api` only.
#[test]
fn crates_import_only_what_they_may() {
    let metadata = MetadataCommand::new().manifest_path(root().join("Cargo.toml")).no_deps().exec().unwrap();
    let members: BTreeSet<String> = metadata.packages.iter().map(|package| package.name.to_string()).collect();
    let imports: BTreeMap<String, Vec<String>> = metadata
        .packages
        .iter()
        .map(|package| {
            let used = package.dependencies.iter().filter(|dependency| dependency.kind == DependencyKind::Normal);
            let ours = used.map(|dependency| dependency.name.clone()).filter(|name| members.contains(name));
            (package.name.to_string(), ours.collect())
        })
        .collect();
    let connectors = files(&root().join("connectors"), &["Cargo.toml"]);
    assert!(connectors.len() >= 3, "{connectors:?}");
    for package in
        metadata.packages.iter().filter(|package| package.manifest_path.starts_with(root().join("connectors")))
    {
        let allowed: &[&str] = if package.name.as_str() == "rowferry-api" { &[] } else { &["rowferry-api"] };
        assert_eq!(imports[package.name.as_str()], allowed, "{}", package.name);
    }
    for alone in ["rowferry-state", "rowferry-testkit"] {
        assert!(imports[alone].is_empty(), "{alone} imports {:?}", imports[alone]);
    }
}

/// Only `src/connect.rs` names a connector's crate.
#[test]
fn connectors_are_named_in_one_file() {
    for file in files(&root().join("src"), &[".rs"]).into_iter().filter(|file| !file.ends_with("src/connect.rs")) {
        let code = fs::read_to_string(&file).unwrap();
        for (number, line) in code.lines().enumerate().filter(|(_, line)| !line.contains("rowferry_postgres={level}")) {
            for name in ["rowferry_mysql", "rowferry_postgres", "rowferry_sqlite"] {
                assert!(!line.contains(name), "{}:{}: {line}", file.display(), number + 1);
            }
        }
    }
}

/// Words of a document that are paths of this tree: `src/net.rs`, `stream/copy.rs` is relative and not meant.
fn paths_named(document: &str) -> impl Iterator<Item = &str> {
    const TOPS: [&str; 9] =
        ["src/", "fuzz/", "connectors/", "state/", "tests/", "examples/", "docs/", "benches/", "Cargo.toml"];
    let words = document.split(|char: char| char.is_whitespace() || "`()[],;:|\"'".contains(char));
    let words = words.map(|word| word.trim_end_matches('.'));
    words.filter(|word| TOPS.iter().any(|top| word.starts_with(top)) && !word.contains('*') && !word.contains('<'))
}

#[test]
fn documents_name_paths_that_exist() {
    for document in files(root(), &[".md"]) {
        let text = fs::read_to_string(&document).unwrap();
        for path in paths_named(&text) {
            let beside = document.parent().unwrap().join(path);
            assert!(root().join(path).exists() || beside.exists(), "{} names {path}", document.display());
        }
    }
    assert!(read("ARCHITECTURE.md").lines().count() < 300);
}

/// Links between documents lead somewhere.
#[test]
fn links_lead_somewhere() {
    for document in files(root(), &[".md"]) {
        let text = fs::read_to_string(&document).unwrap();
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if link.contains("://") || link.starts_with('#') {
                continue;
            }
            let path = document.parent().unwrap().join(link.split('#').next().unwrap());
            assert!(path.exists(), "{} links to {link}", document.display());
        }
    }
}

/// Every decoder has its fuzzer, and the document names it.
#[test]
fn fuzzers_are_those_of_the_decoders() {
    let named = |text: &str, before: &str| -> BTreeSet<String> {
        let rests = text.split(before).skip(1);
        rests.filter_map(|rest| Some(rest.split_once('"')?.0.to_owned())).collect()
    };
    let decoders = named(&read("tests/hostile/decoders.rs"), "name: \"");
    assert!(decoders.len() >= 9, "{decoders:?}");
    let manifest = read("fuzz/Cargo.toml");
    let paths = decoders.iter().map(|name| format!("fuzz_targets/{name}.rs")).collect();
    assert_eq!(named(&manifest, "path = \"fuzz_targets/"), decoders.iter().map(|name| format!("{name}.rs")).collect());
    let document = read("docs/fuzzing.md");
    for name in &decoders {
        let target = read(&format!("fuzz/fuzz_targets/{name}.rs"));
        assert!(target.contains(&format!("run(\"{name}\", data)")), "fuzz/fuzz_targets/{name}.rs runs another decoder");
        assert!(document.contains(&format!("`{name}`")), "docs/fuzzing.md does not name {name}");
    }
    let files: BTreeSet<String> = files(&root().join("fuzz/fuzz_targets"), &[".rs"])
        .iter()
        .map(|path| path.strip_prefix(root().join("fuzz")).unwrap().to_string_lossy().into_owned())
        .collect();
    assert_eq!(files, paths);
}

/// Every key of the configuration stands in its document.
#[test]
fn the_configuration_s_document_names_every_key() {
    let document = read("docs/configuration.md");
    let schema = rowferry::config::Config::json_schema();
    let mut keys = BTreeSet::new();
    gather_keys(&schema, &mut keys);
    assert!(keys.len() > 10, "{keys:?}");
    for key in keys {
        assert!(document.contains(&format!("`{key}")), "docs/configuration.md does not name `{key}`");
    }
}

fn gather_keys(schema: &serde_json::Value, keys: &mut BTreeSet<String>) {
    match schema {
        serde_json::Value::Object(fields) => {
            if let Some(serde_json::Value::Object(properties)) = fields.get("properties") {
                keys.extend(properties.keys().cloned());
            }
            fields.values().for_each(|value| gather_keys(value, keys));
        }
        serde_json::Value::Array(values) => values.iter().for_each(|value| gather_keys(value, keys)),
        _ => {}
    }
}

/// The examples' configurations are valid.
#[test]
fn examples_are_valid() {
    let examples: Vec<_> = files(&root().join("examples"), &["rowferry.toml"]);
    assert!(examples.len() >= 3, "{examples:?}");
    for example in examples {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_rowferry"));
        let urls = ["SHOP_URL", "OLD_URL", "NEW_URL", "SOURCE_URL", "TARGET_URL"];
        command.envs(urls.map(|name| (name, "postgres://reader@localhost/shop")));
        let ended = command.args(["config", "check", "-c"]).arg(&example).output().unwrap();
        assert!(ended.status.success(), "{}: {}", example.display(), String::from_utf8_lossy(&ended.stderr));
    }
}
