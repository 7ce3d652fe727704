//! The start of a pipeline, and every restart after a lost connection: who are both ends, where do we stand, which
//! tables are there, and what has changed since.
//!
//! Nothing is created before every look at both ends has found nothing in the way. The target's own position wins over
//! the checkpoint. A pipeline never starts over and never skips ahead by itself.

use super::Env;
use super::forms::{self, Chosen};
use super::life::Life;
use crate::config::OnSchemaChange;
use crate::evolve;
use rowferry_api::{
    Alteration, Error, ErrorKind, Finding, Identity, Position, Result, Severity, SourceTable, TableName,
};
use rowferry_state::{OriginRecord, TableRecord, TableState};
use std::cmp::Ordering;
use std::collections::{BTreeMap, HashMap};

/// A change of form that the target's table still has to take.
#[derive(Debug)]
pub struct PendingAlteration {
    /// The table at the source.
    pub table: TableName,
    /// What to do at the target.
    pub alterations: Vec<Alteration>,
    /// Rows there cannot be brought up to date by it: copy the table again.
    pub copy_again: bool,
}

/// What a start found.
pub struct Start {
    /// Where the log is to be read from.
    pub position: Position,
    /// Changes of form to carry over first.
    pub alterations: Vec<PendingAlteration>,
    /// The catalog's version that the tables were read under.
    pub catalog_version: u64,
}

/// Request kinds in the state.
pub const RESYNC: &str = "resync";
/// Copy everything again from a new start of the log.
pub const RESYNC_ALL: &str = "resync_all";
/// Read keys of a table again.
pub const REPAIR: &str = "repair";

/// Brings a pipeline to the point where its log can be opened.
pub async fn start(env: &Env) -> Result<Start> {
    let source_identity = env.source.identity().await?;
    let anew = env.lives.read(|state| state.requests()).await?.iter().any(|(_, request)| request.kind == RESYNC_ALL);
    let resume = resume_position(env, &source_identity, anew).await?;
    let catalog_version = env.source.catalog_version().await?;
    let chosen = forms::choose(&env.source.tables().await?, &env.config, &*env.target)?;
    if chosen.is_empty() {
        return Err(Error::new(ErrorKind::Config, "choose tables: no table of the source matches `tables`").hint(
            format!("Look at `tables` of pipeline \"{}\"; patterns are written \"schema.table\".", env.config.name),
        ));
    }
    if resume.is_none() {
        refuse_blocked(&check(env, &chosen).await?)?;
    }
    let alterations = restore_tables(env, chosen, anew).await?;
    let tables = carried(env);
    let log = env.source.prepare(&tables, resume.as_ref()).await?;
    let position = resume.clone().unwrap_or(log.position);
    let target_identity = env.target.prepare(&env.config.name, &source_identity, &position).await?;
    remember(env, &source_identity, &target_identity, anew, &position).await?;
    Ok(Start { position, alterations, catalog_version })
}

/// What both ends say of these tables; changes nothing.
pub async fn check(env: &Env, chosen: &[Chosen]) -> Result<Vec<Finding>> {
    let tables: Vec<SourceTable> = chosen.iter().map(|table| table.source.clone()).collect();
    let forms: Vec<_> = chosen.iter().map(|table| (*table.target).clone()).collect();
    let mut findings = env.source.check(&tables).await?;
    findings.extend(env.target.check(&forms).await?);
    Ok(findings)
}

/// An error that lists what is blocked, if anything is.
pub fn refuse_blocked(findings: &[Finding]) -> Result<()> {
    let blocked: Vec<&Finding> = findings.iter().filter(|finding| finding.severity == Severity::Blocked).collect();
    if blocked.is_empty() {
        return Ok(());
    }
    let lines: Vec<String> = blocked.iter().map(|finding| format!("{}: {}", finding.subject, finding.what)).collect();
    let mends: Vec<&str> = blocked.iter().filter_map(|finding| finding.mend.as_deref()).collect();
    Err(Error::new(ErrorKind::Config, format!("start: {}", lines.join("; "))).hint(mends.join("\n")))
}

/// The tables that the log has to carry.
pub fn carried(env: &Env) -> Vec<SourceTable> {
    let lives = env.lives.lock();
    // A table without a key never enters the publication: its updates would start to fail at the source.
    lives
        .values()
        .filter(|life| life.state != TableState::Halted && !life.chosen.source.schema.key.is_empty())
        .map(|life| life.chosen.source.clone())
        .collect()
}

async fn resume_position(env: &Env, source: &Identity, anew: bool) -> Result<Option<Position>> {
    if anew {
        return Ok(None);
    }
    let name = env.config.name.clone();
    let (origin, checkpoint, others) =
        env.lives.read(|state| Ok((state.origin()?, state.checkpoint()?, state.tables()?.len()))).await?;
    let target = env.target.identity().await?;
    if let Some(origin) = &origin {
        refuse_strangers(env, origin, source, target.as_ref())?;
    }
    let held = env.target.position(&name).await?;
    let checkpoint = checkpoint.map(|record| Position::new(record.position));
    match (held, checkpoint) {
        (None, None) if origin.is_some() && others > 0 => Err(target_lost(env)),
        (None, None) => Ok(None),
        (None, Some(_)) => Err(target_lost(env)),
        (Some(held), _) if held.source != *source => Err(Error::new(
            ErrorKind::Identity,
            format!(
                "resume: {} holds pipeline \"{name}\" of another source ({}, while {} is {source})",
                env.target.describe(),
                held.source,
                env.source.describe()
            ),
        )
        .hint("Give this pipeline another name or another target, or point `source` back to the server it was made from.")),
        (Some(held), None) => Ok(Some(held.position)),
        (Some(held), Some(checkpoint)) => match env.source.compare(&held.position, &checkpoint)? {
            Some(Ordering::Equal | Ordering::Greater) => Ok(Some(held.position)),
            _ => Err(Error::new(
                ErrorKind::Identity,
                format!(
                    "resume: {} went back in time: it stands at {}, and {checkpoint} was applied to it before",
                    env.target.describe(),
                    held.position
                ),
            )
            .hint(format!(
                "It was probably restored from a backup. `rowferry resync --all --pipeline {name}` compares and copies every \
                 table again."
            ))),
        },
    }
}

fn refuse_strangers(env: &Env, origin: &OriginRecord, source: &Identity, target: Option<&Identity>) -> Result<()> {
    let name = &env.config.name;
    let stranger = |what: &str, before: &str, before_name: &str, now: &str, now_name: String| {
        Error::new(
            ErrorKind::Identity,
            format!(
                "resume: the state directory belongs to another {what}: pipeline \"{name}\" was made with {before_name} \
                 ({before}), and the configuration names {now_name} ({now})"
            ),
        )
        .hint(format!(
            "Set another state_dir for this configuration, or point `{what}` back. If the {what} was replaced on purpose, \
             `rowferry resync --all --pipeline {name}` copies every table again."
        ))
    };
    if origin.source != source.as_str() {
        return Err(stranger("source", &origin.source, &origin.source_name, source.as_str(), env.source.describe()));
    }
    match target {
        Some(target) if target.as_str() == origin.target => Ok(()),
        Some(target) => {
            Err(stranger("target", &origin.target, &origin.target_name, target.as_str(), env.target.describe()))
        }
        None => Err(target_lost(env)),
    }
}

fn target_lost(env: &Env) -> Error {
    let name = &env.config.name;
    Error::new(
        ErrorKind::Identity,
        format!("resume: {} holds no position of pipeline \"{name}\", though it was replicated into before", env.target.describe()),
    )
    .hint(format!(
        "The target was emptied, replaced or restored. `rowferry resync --all --pipeline {name}` copies every table again."
    ))
}

/// Sets up the tables' lives: those that the state knows go on, others begin.
async fn restore_tables(env: &Env, chosen: Vec<Chosen>, anew: bool) -> Result<Vec<PendingAlteration>> {
    let records: BTreeMap<String, TableRecord> = env.lives.read(|state| state.tables()).await?.into_iter().collect();
    let mut alterations = Vec::new();
    let mut lives = BTreeMap::new();
    let mut seen = HashMap::new();
    for table in chosen {
        let name = table.name().clone();
        seen.insert(name.to_string(), ());
        let life = match records.get(&name.to_string()) {
            None => Life { replace: anew, ..Life::new(table) },
            Some(record) if anew => {
                Life { replace: true, made: record.made, finished: record.finished, ..Life::new(table) }
            }
            Some(record) => {
                let key = name.to_string();
                let slices = env.lives.read(move |state| state.slices(&key)).await?;
                let mut life = Life::restored(table, record.clone(), slices)?;
                if life.state != TableState::Halted && life.state != TableState::Pending {
                    alterations.extend(compare_forms(&mut life));
                }
                life
            }
        };
        lives.insert(name, refuse_keyless(life));
    }
    for (name, _) in records.iter().filter(|(name, _)| !seen.contains_key(*name)) {
        tracing::warn!(table = %name, "no longer carried: it is gone at the source, or `tables` leaves it out; its rows stay at the target");
        let name = name.clone();
        env.lives.write(move |state| state.remove_table(&name)).await?;
    }
    let names: Vec<TableName> = lives.keys().cloned().collect();
    *env.lives.lock() = lives;
    if !alterations.is_empty() || anew {
        return Ok(alterations);
    }
    // A form is written once the target has it, so only tables without a change of form are written here.
    for name in names.iter().filter(|name| !records.contains_key(&name.to_string())) {
        env.lives.save(name, true).await?;
    }
    Ok(alterations)
}

/// A table that has no key cannot be followed: it is halted before anything at the source is changed for it.
pub fn refuse_keyless(mut life: Life) -> Life {
    if life.chosen.source.schema.key.is_empty() && life.state != TableState::Halted {
        let name = life.chosen.name();
        life.state = TableState::Halted;
        life.reason = Some(format!(
            "{name} has no primary key and no usable unique index: add one (ALTER TABLE {name} ADD PRIMARY KEY (...)), name \
             `key` columns for it with REPLICA IDENTITY FULL, or leave it out with \"!{name}\""
        ));
    }
    life
}

/// What the target has to do to take rows of the form that the catalog has now; or the table is halted.
pub fn compare_forms(life: &mut Life) -> Option<PendingAlteration> {
    let name = life.chosen.name().clone();
    match evolve::plan(&life.taken, &life.chosen.source.schema) {
        Err(refusal) => {
            halt(life, refusal.to_string());
            None
        }
        Ok(plan) if plan.alterations.is_empty() => {
            life.taken = life.chosen.source.schema.clone();
            None
        }
        Ok(plan) if life.chosen.config.on_schema_change == OnSchemaChange::Halt => {
            halt(
                life,
                format!(
                    "the form of {name} changed at the source ({}) and on_schema_change = \"halt\"; change the target to fit, \
                     then run `rowferry resync --table {name}`, or set on_schema_change = \"evolve\"",
                    evolve::describe(&plan.alterations)
                ),
            );
            None
        }
        Ok(plan) => Some(PendingAlteration { table: name, alterations: plan.alterations, copy_again: plan.copy_again }),
    }
}

/// Halts one table; the others go on.
pub fn halt(life: &mut Life, reason: String) {
    tracing::error!(table = %life.chosen.name(), reason = %reason, "table halted");
    life.state = TableState::Halted;
    life.reason = Some(reason);
}

/// Writes down who both ends are. After a start from anew, also where the log starts.
async fn remember(env: &Env, source: &Identity, target: &Identity, anew: bool, position: &Position) -> Result<()> {
    let origin = OriginRecord {
        source: source.as_str().to_owned(),
        target: target.as_str().to_owned(),
        source_name: env.source.describe(),
        target_name: env.target.describe(),
    };
    if anew {
        let mut applier = env.target.open_applier(&env.config.name).await?;
        let batch = rowferry_api::Batch { steps: Vec::new(), end: Some(position.clone()) };
        applier.apply(&batch).await?;
        let names: Vec<TableName> = env.lives.lock().keys().cloned().collect();
        for name in &names {
            env.lives.save(name, true).await?;
        }
    }
    let checkpoint = rowferry_state::CheckpointRecord {
        position: position.to_string(),
        committed_at_us: None,
        saved_at_us: super::life::now_us(),
    };
    env.lives
        .write(move |state| {
            state.set_origin(&origin)?;
            state.set_checkpoint(&checkpoint)?;
            for (id, request) in state.requests()? {
                if anew && request.kind == RESYNC_ALL {
                    state.remove_request(id)?;
                }
            }
            Ok(())
        })
        .await
}
