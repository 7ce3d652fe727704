//! `rowferry resync`: copies tables again, range by range over what the target has; the target is never emptied.

use super::{OK, chosen, open_store, print_json, say};
use crate::cli::ResyncArgs;
use crate::config::{Config, PipelineConfig};
use crate::control::{self, Ask};
use crate::pipeline::life::blocking;
use crate::pipeline::session::{RESYNC, RESYNC_ALL};
use rowferry_api::{Error, ErrorKind};
use rowferry_state::{RequestRecord, Store};
use serde_json::json;

pub(super) async fn run(config: &Config, args: &ResyncArgs, as_json: bool) -> Result<u8, Error> {
    let mut done = Vec::new();
    for pipeline in chosen(config, &args.only)? {
        let running = if args.all { false } else { ask_running(config, pipeline, &args.tables).await? };
        if !running {
            store_request(config, pipeline, args).await?;
        }
        say(&if running {
            format!("pipeline {}: the running process copies them again; see `rowferry status`", pipeline.name)
        } else {
            format!("pipeline {}: noted; the next `rowferry run` copies them again", pipeline.name)
        });
        done.push(json!({ "name": pipeline.name, "running": running, "tables": args.tables, "all": args.all }));
    }
    if as_json {
        print_json(&json!({ "pipelines": done }));
    }
    Ok(OK)
}

async fn ask_running(config: &Config, pipeline: &PipelineConfig, tables: &[String]) -> Result<bool, Error> {
    let ask = Ask::Resync { pipeline: pipeline.name.clone(), tables: tables.to_vec() };
    Ok(control::ask::<bool>(&config.state_dir, &ask).await?.is_some())
}

/// Writes down that these tables are to be copied again. Not durable before the store is synced.
pub(super) fn push(state: &rowferry_state::Pipeline, tables: Vec<String>) -> rowferry_state::Result<()> {
    tables.into_iter().try_for_each(|table| state.push_request(&request(RESYNC, Some(table))))
}

fn request(kind: &str, table: Option<String>) -> RequestRecord {
    RequestRecord { kind: kind.into(), table, detail: String::new() }
}

async fn store_request(config: &Config, pipeline: &PipelineConfig, args: &ResyncArgs) -> Result<(), Error> {
    if !Store::exists(&config.state_dir) {
        return Err(Error::new(ErrorKind::Config, format!("find the state directory {}", config.state_dir.display()))
            .hint("Nothing was replicated with this configuration yet: `rowferry run` copies every table."));
    }
    let store = open_store(config).await?;
    let (name, tables, all) = (pipeline.name.clone(), args.tables.clone(), args.all);
    let unknown = blocking(move || {
        let state = store.pipeline(&name)?;
        let known: Vec<String> = state.tables()?.into_iter().map(|(table, _)| table).collect();
        if let Some(unknown) = tables.iter().find(|table| !known.contains(table)) {
            return Ok(Some(unknown.clone()));
        }
        if all {
            state.push_request(&request(RESYNC_ALL, None))?;
        }
        push(&state, tables)?;
        store.sync()?;
        Ok(None)
    })
    .await?;
    match unknown {
        None => Ok(()),
        Some(table) => {
            Err(Error::new(ErrorKind::Config, format!("pipeline \"{}\" carries no table {table}", pipeline.name))
                .hint("`rowferry status` lists the tables that it carries."))
        }
    }
}
