//! Which of the source's tables a pipeline carries, and in which form each has at either end. Pure.
//!
//! Three forms of one table meet here: what the catalog has, what is read from the source (fewer columns, another
//! key where the configuration says so), and what the target has (another name, foreign keys between carried tables
//! only).

use crate::config::{PipelineConfig, TableConfig};
use rowferry_api::{Error, ErrorKind, Result, SourceTable, TableName, TableSchema, Target};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// A table that the pipeline carries.
#[derive(Debug, Clone)]
pub struct Chosen {
    /// The table as it is to be read: only the columns that travel, with the key that is meant.
    pub source: SourceTable,
    /// The form with all of the catalog's columns and the same key: what the log carries.
    pub logged: Arc<TableSchema>,
    /// The form at the target.
    pub target: Arc<TableSchema>,
    /// What the configuration says of it.
    pub config: TableConfig,
}

impl Chosen {
    /// Its name at the source.
    pub fn name(&self) -> &TableName {
        &self.source.schema.name
    }
}

/// Chooses tables by the pipeline's patterns. A partition is skipped where a table above it is chosen. Errors are of the
/// configuration: a key or target that cannot be.
pub fn choose(tables: &[SourceTable], config: &PipelineConfig, target: &dyn Target) -> Result<Vec<Chosen>> {
    let matched: HashSet<&TableName> =
        tables.iter().map(|table| &table.schema.name).filter(|name| config.tables.matches(name)).collect();
    let kept: Vec<&SourceTable> = tables
        .iter()
        .filter(|table| matched.contains(&table.schema.name) && !table.ancestors.iter().any(|up| matched.contains(up)))
        .collect();
    let mut names = HashMap::new();
    for table in &kept {
        let name = &table.schema.name;
        let table_config = config.table_config(name);
        let target_name = match &table_config.target {
            Some(text) => target.parse_name(text, name),
            None => target.table_name(name),
        };
        names.insert(name.clone(), target_name);
    }
    refuse_shared_targets(&names)?;
    kept.into_iter().map(|table| chosen(table, config.table_config(&table.schema.name), &names)).collect()
}

/// Refuses a name of the configuration that no table of the source has, unless `is_known` from an earlier run.
pub fn refuse_missing(tables: &[SourceTable], config: &PipelineConfig, is_known: impl Fn(&str) -> bool) -> Result<()> {
    let known: Vec<TableName> = tables.iter().map(|table| table.schema.name.clone()).collect();
    match config.tables.unmatched_names(&known).iter().find(|name| !is_known(name)) {
        None => Ok(()),
        Some(name) => Err(Error::new(ErrorKind::Config, format!("choose tables: the source has no table {name}"))
            .hint(format!(
                "Correct or remove \"{name}\" in `tables` of pipeline \"{}\"; names are spelled as the catalog has them.",
                config.name
            ))),
    }
}

fn refuse_shared_targets(names: &HashMap<TableName, TableName>) -> Result<()> {
    let mut taken: HashMap<&TableName, &TableName> = HashMap::new();
    for (source, target) in names {
        if let Some(other) = taken.insert(target, source) {
            return Err(Error::new(
                ErrorKind::Config,
                format!("choose tables: {other} and {source} would both be written to {target}"),
            )
            .hint(format!("Set `target` for one of them: [pipeline.NAME.table.\"{source}\"] target = \"...\"")));
        }
    }
    Ok(())
}

fn chosen(table: &SourceTable, config: TableConfig, names: &HashMap<TableName, TableName>) -> Result<Chosen> {
    let logged = with_key(&table.schema, &config)?;
    let read = project(&logged, &config)?;
    let target = at_target(&read, names);
    let mut source = table.clone();
    source.schema = Arc::new(read);
    Ok(Chosen { source, logged: Arc::new(logged), target: Arc::new(target), config })
}

fn with_key(form: &TableSchema, config: &TableConfig) -> Result<TableSchema> {
    let mut form = form.clone();
    if let Some(columns) = &config.key {
        form.key = columns
            .iter()
            .map(|column| {
                form.column_index(column).ok_or_else(|| {
                    Error::new(ErrorKind::Config, format!("table {} has no column {column} for its key", form.name))
                        .hint("Name columns that the source's table has, spelled as its catalog has them, in `key`.")
                })
            })
            .collect::<Result<_>>()?;
    }
    Ok(form)
}

fn project(form: &TableSchema, config: &TableConfig) -> Result<TableSchema> {
    let keeps = |name: &str| config.columns.keeps(name);
    if let Some(column) = form.key_columns().find(|column| !keeps(&column.name)) {
        return Err(Error::new(
            ErrorKind::Config,
            format!("table {}: column {} is part of the key and cannot be left out", form.name, column.name),
        )
        .hint("Keep the key's columns in `columns`, or name another `key`."));
    }
    let everything = form.columns.iter().chain(&form.computed).all(|column| keeps(&column.name));
    let key: Vec<String> = form.key_columns().map(|column| column.name.clone()).collect();
    let mut form = form.clone();
    form.columns.retain(|column| keeps(&column.name));
    form.computed.retain(|column| keeps(&column.name));
    form.key = key.iter().filter_map(|name| form.column_index(name)).collect();
    if !everything {
        // An index over expressions may need a column that is left out.
        form.indexes.retain(|index| {
            !index.partial && !index.columns.is_empty() && index.columns.iter().all(|column| keeps(column))
        });
        form.foreign_keys.retain(|key| key.columns.iter().all(|column| keeps(column)));
        form.computed.clear();
    }
    Ok(form)
}

fn at_target(form: &TableSchema, names: &HashMap<TableName, TableName>) -> TableSchema {
    let mut form = form.clone();
    form.name = names[&form.name].clone();
    form.foreign_keys.retain_mut(|key| match names.get(&key.references) {
        Some(name) => {
            key.references = name.clone();
            true
        }
        None => false,
    });
    form
}
