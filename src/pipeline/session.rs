//! The start of a pipeline, and every restart after a lost connection: who are both ends, where do we stand, which
//! tables are there, and what has changed since.
//!
//! Nothing is created before every look at both ends has found nothing in the way. The target's own position wins over
//! the checkpoint. A pipeline never starts over and never skips ahead by itself.

use super::forms::{self, Chosen};
use super::life::Life;
use super::{Env, watch};
use crate::config::{OnSchemaChange, OnTableHalt};
use crate::evolve;
use rowferry_api::failpoint;
use rowferry_api::{
    Alteration, Dialect, Error, ErrorKind, Finding, Identity, Position, Result, Severity, SourceTable, TableName,
    TableSchema,
};
use rowferry_state::{AtTarget, OriginRecord, TableRecord, TableState};
use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::sync::Arc;

/// A change of form that the target's table still has to take.
#[derive(Debug)]
pub struct PendingAlteration {
    /// The table at the source.
    pub table: TableName,
    /// What to do at the target.
    pub alterations: Vec<Alteration>,
    /// Rows there cannot be brought up to date by it: copy the table again.
    pub copy_again: bool,
    /// A copy that is under way makes sense to its end before.
    pub after_this_copy: bool,
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
/// Read the rows of dead letters again; the detail is their ids as JSON.
pub const REPLAY: &str = "replay";

/// Brings a pipeline to the point where its log can be opened.
pub async fn start(env: &Env) -> Result<Start> {
    let source_identity = env.source.identity().await?;
    let anew = env.lives.read(|state| state.requests()).await?.iter().any(|(_, request)| request.kind == RESYNC_ALL);
    if !anew {
        watch::refuse_given_up(env).await?;
    }
    let resume = resume_position(env, &source_identity, anew).await?;
    let catalog_version = env.source.catalog_version().await?;
    let tables = env.source.tables().await?;
    let known = env.lives.read(|state| state.tables()).await?;
    // One that was carried and is gone is told of below, and does not keep the others from going on.
    forms::refuse_missing(&tables, &env.config, |name| known.iter().any(|(known, _)| known == name))?;
    let chosen = forms::choose(&tables, &env.config, &*env.target)?;
    if chosen.is_empty() {
        return Err(Error::new(ErrorKind::Config, "choose tables: no table of the source matches `tables`").hint(
            format!("Look at `tables` of pipeline \"{}\"; patterns are written \"schema.table\".", env.config.name),
        ));
    }
    if resume.is_none() {
        refuse_blocked(&check(env, &chosen).await?)?;
    }
    let alterations = restore_tables(env, chosen, anew).await?;
    if let Some(resume) = &resume {
        if let Some(branch) = env.lives.read(|state| state.origin()).await?.and_then(|origin| origin.branch) {
            env.source.refuse_branched(&branch, resume).await?;
        }
        refuse_unreachable_goals(env).await?;
    }
    let tables = carried(env);
    failpoint!("start.tables_kept");
    let log = env.source.prepare(&tables, resume.as_ref()).await?;
    failpoint!("start.source_prepared");
    if log.is_older {
        skip_what_was_before(env).await?;
    }
    let position = resume.clone().unwrap_or(log.position);
    let target_identity = env.target.prepare(&env.config.name, &source_identity, &position, anew).await?;
    failpoint!("start.target_prepared");
    remember(env, &source_identity, &target_identity, anew, &position).await?;
    failpoint!("start.remembered");
    Ok(Start { position, alterations, catalog_version })
}

/// The source's head, for tables that wait until the log has passed it: an idle source hands its end out at once then.
pub async fn head_to_pass(env: &Env) -> Result<Position> {
    let head = env.source.head().await?;
    env.source.hurry().await?;
    Ok(head)
}

/// Tables of which nothing was read are read once the log has come to what it says now: rows of older forms, whose columns had other
/// names, must not be replayed over what is read.
async fn skip_what_was_before(env: &Env) -> Result<()> {
    let head = head_to_pass(env).await?;
    for life in env.lives.lock().values_mut().filter(|life| life.state == TableState::Pending) {
        life.high = Some(head.clone());
    }
    Ok(())
}

/// What a table waits for may be a place in the log of a server that is gone, with transactions that its heir never had: then
/// it is copied again.
async fn refuse_unreachable_goals(env: &Env) -> Result<()> {
    let head = env.source.head().await?;
    let mut again = Vec::new();
    for (name, life) in env.lives.lock().iter_mut().filter(|(_, life)| life.state != TableState::Halted) {
        let Some(high) = &life.high else { continue };
        if !matches!(env.source.compare(&head, high), Ok(Some(Ordering::Equal | Ordering::Greater))) {
            tracing::warn!(table = %name, waits_for = %high, "the source's log will not come to where the table waits for it: copying again");
            life.restart(Some(head.clone()));
            again.push(name.clone());
        }
    }
    for name in again {
        env.lives.save_anew(&name).await?;
    }
    Ok(())
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

/// How much of a table's changes its log has told.
#[derive(Debug, PartialEq, Eq)]
pub enum Told {
    /// All of them.
    All,
    /// Rows may have changed without a word.
    NotAll,
    /// New parts of it log too little from here on, for this reason.
    TooLittle(String),
}

/// What the log has told of a table since a look that found `before` in its traces.
pub async fn untold(env: &Env, before: &str, table: &Chosen) -> Result<Told> {
    let untold = env.source.untold(before, &table.source.traces).await?;
    let reason = if untold.parts { unfit(env, table).await? } else { None };
    Ok(match reason {
        Some(reason) => Told::TooLittle(reason),
        None if untold.rows => Told::NotAll,
        None => Told::All,
    })
}

/// What in a table stands in the way of a rule, by a look at both ends.
pub async fn unfit(env: &Env, table: &Chosen) -> Result<Option<String>> {
    let findings = check(env, std::slice::from_ref(table)).await?;
    let name = table.name().to_string();
    let about: Vec<_> = findings.iter().filter(|finding| finding.subject.contains(&name)).cloned().collect();
    Ok(refuse_blocked(&about).err().map(|error| error.to_string()))
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
        .hint(format!(
            "Give this pipeline another name or another target, or point `source` back to the server it was made from. If the \
             source was replaced on purpose, `rowferry resync --all --pipeline {name}` compares and copies every table again."
        ))),
        (Some(held), None) => {
            tracing::warn!(position = %held.position, "the state directory has nothing of this pipeline, the target has: going on from the target's \
                position; which tables were in step is not known, so each is copied again over what is there");
            Ok(Some(held.position))
        }
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
             `rowferry resync --all --pipeline {name}` compares and copies every table again."
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
        "The target was emptied, replaced or restored. `rowferry resync --all --pipeline {name}` compares and copies every table again."
    ))
}

/// Sets up the tables' lives: those that the state knows go on, others begin.
async fn restore_tables(env: &Env, chosen: Vec<Chosen>, anew: bool) -> Result<Vec<PendingAlteration>> {
    let records: BTreeMap<String, TableRecord> = env.lives.read(|state| state.tables()).await?.into_iter().collect();
    let mut alterations = Vec::new();
    let mut lives = BTreeMap::new();
    let mut changed = Vec::new();
    for table in chosen {
        let name = table.name().clone();
        let record = records.get(&name.to_string());
        let mut life = match record.filter(|record| is_same_target(record, &table)) {
            None => Life::new(table),
            // What the target has of it is replaced range by range, and altered first if its form is an older one.
            Some(record) if anew => {
                let mut life = Life::restored(table, record.clone(), Vec::new())?;
                life.restart(None);
                life.high = None;
                life
            }
            Some(record) => {
                let key = name.to_string();
                let slices = env.lives.read(move |state| state.slices(&key)).await?;
                Life::restored(table, record.clone(), slices)?
            }
        };
        match life.state {
            TableState::Halted => {}
            _ if anew => alterations.extend(compare_resynced(&mut life)),
            _ => match untold(env, &life.traces, &life.chosen).await? {
                Told::TooLittle(reason) => halt(&mut life, reason),
                told => alterations.extend(compare_forms(&mut life, told == Told::NotAll)),
            },
        }
        let life = refuse_keyless(life);
        let is_noted = |record: &TableRecord| {
            let target = life.chosen.target.name.to_string();
            record.state == life.state && record.target == target && record.traces == life.traces
        };
        if !record.is_some_and(is_noted) {
            changed.push(name.clone());
        }
        lives.insert(name, life);
    }
    for (name, _) in records.iter().filter(|(name, _)| !lives.keys().any(|known| known.to_string() == **name)) {
        tracing::warn!(table = %name, "no longer carried: it is gone at the source, or `tables` leaves it out; its rows stay at the target");
        let name = name.clone();
        env.lives.write(move |state| state.remove_table(&name)).await?;
    }
    // An end in between may have kept letters of a table that was in step already.
    for (name, _) in lives.iter().filter(|(_, life)| life.state == TableState::Streaming) {
        env.lives.letters.settle_queued(&name.to_string()).await?;
    }
    *env.lives.lock() = lives;
    // A start from anew is written down once the target's position is the new one.
    for name in changed.iter().filter(|_| !anew) {
        env.lives.save_anew(name).await?;
    }
    Ok(alterations)
}

/// Under another name at the target it is another table: nothing of it is there.
fn is_same_target(record: &TableRecord, table: &Chosen) -> bool {
    let now = table.target.name.to_string();
    if record.target != now {
        tracing::warn!(table = %table.name(), before = %record.target, now = %now, "has another `target` now: copied there from its beginning");
    }
    record.target == now
}

/// A table that has no key cannot be followed: it is halted before anything at the source is changed for it.
pub fn refuse_keyless(mut life: Life) -> Life {
    if life.chosen.source.schema.key.is_empty() && life.state != TableState::Halted {
        let name = life.chosen.name();
        life.state = TableState::Halted;
        let with = match life.chosen.source.schema.dialect {
            Dialect::Mysql => "",
            _ => " with REPLICA IDENTITY FULL",
        };
        life.reason = Some(format!(
            "{name} has no primary key and no usable unique index: add one (ALTER TABLE {name} ADD PRIMARY KEY (...)), name \
             `key` columns for it{with}, or leave it out with \"!{name}\""
        ));
    }
    life
}

/// What the target has to do to take rows of the form that the catalog has now; or the table is halted.
/// `untold`: its rows may have changed without a word in the log.
pub fn compare_forms(life: &mut Life, untold: bool) -> Option<PendingAlteration> {
    let name = life.chosen.name().clone();
    let now = life.chosen.source.schema.clone();
    match life.at_target {
        AtTarget::Unknown => {
            life.takes(now);
            return None;
        }
        // Its start brings it into the present form.
        AtTarget::Making => return None,
        AtTarget::Found | AtTarget::Made => {}
    }
    let replaced = life.is_replaced();
    let plan = match evolve::plan(&taken_by_name(life), &now) {
        Err(refusal) => {
            halt(life, refusal.to_string());
            return None;
        }
        Ok(plan) => plan,
    };
    // A column that was there all the time and did not travel: only the source knows what rows hold in it.
    let seen = life.columns_seen;
    let was_left_out = |alteration: &Alteration| match alteration {
        Alteration::AddColumn(column) => column.id != 0 && column.id <= seen,
        _ => false,
    };
    let was_dropped = |alteration: &Alteration| match alteration {
        Alteration::AddColumn(column) => life.dropped.contains(&column.name),
        _ => false,
    };
    let is_unknown = |alteration: &Alteration| was_left_out(alteration) || was_dropped(alteration);
    let has_other_cells = plan.copy_again || replaced || plan.alterations.iter().any(is_unknown);
    let copy_again = has_other_cells || untold;
    if plan.alterations.is_empty() && !copy_again {
        life.takes(now);
        return None;
    }
    if life.chosen.config.on_schema_change == OnSchemaChange::Halt && !plan.alterations.is_empty() {
        halt(
            life,
            format!(
                "the form of {name} changed at the source ({}) and on_schema_change = \"halt\"; change the target to fit, then run \
                 `rowferry resync --table {name}`, or set on_schema_change = \"evolve\" and run it",
                evolve::describe(&plan.alterations)
            ),
        );
        return None;
    }
    let after_this_copy = !has_other_cells && plan.alterations.is_empty();
    Some(PendingAlteration { table: name, alterations: plan.alterations, copy_again, after_this_copy })
}

/// What the target has to do before a table is copied again as somebody asked, who may have changed the target by hand: what
/// was refused or is left to hand is taken as done, and the look at the table before the copy says if it is not.
pub fn compare_resynced(life: &mut Life) -> Option<PendingAlteration> {
    let now = life.chosen.source.schema.clone();
    let by_hand = life.chosen.config.on_schema_change == OnSchemaChange::Halt;
    match life.at_target {
        AtTarget::Unknown => life.takes(now),
        AtTarget::Making => {}
        AtTarget::Found | AtTarget::Made => match evolve::plan(&taken_by_name(life), &now) {
            Ok(plan) if !by_hand && !plan.alterations.is_empty() => {
                let table = life.chosen.name().clone();
                let alterations = plan.alterations;
                return Some(PendingAlteration { table, alterations, copy_again: false, after_this_copy: false });
            }
            _ => life.takes(now),
        },
    }
    None
}

/// The form that the target's table may have been made in, and what brings it into the present one, where an earlier start
/// ended before it was known to be made.
pub fn half_made(life: &Life) -> Option<(TableSchema, Vec<Alteration>)> {
    let evolves = life.at_target == AtTarget::Making && life.chosen.config.on_schema_change == OnSchemaChange::Evolve;
    let plan = evolve::plan(&taken_by_name(life), &life.chosen.source.schema).ok().filter(|_| evolves)?;
    let name = life.chosen.target.name.clone();
    let form = TableSchema { name, foreign_keys: Vec::new(), ..(*life.taken).clone() };
    Some((form, plan.alterations)).filter(|(_, alterations)| !alterations.is_empty())
}

/// The form that the target's table has. Columns of another table by the same name are told by their names alone.
fn taken_by_name(life: &Life) -> Arc<TableSchema> {
    if life.is_replaced() { Arc::new(without_ids(&life.taken)) } else { life.taken.clone() }
}

fn without_ids(form: &TableSchema) -> TableSchema {
    let mut form = form.clone();
    form.columns.iter_mut().chain(&mut form.computed).for_each(|column| column.id = 0);
    form
}

/// Halts one table; the others go on.
pub fn halt(life: &mut Life, reason: String) {
    tracing::error!(table = %life.chosen.name(), reason = %reason, "table halted");
    life.state = TableState::Halted;
    life.reason = Some(reason);
}

/// Refuses to go on with a halted table, where the configuration says so.
pub fn refuse_halted(env: &Env) -> Result<()> {
    if env.config.on_table_halt != OnTableHalt::Stop {
        return Ok(());
    }
    let lives = env.lives.lock();
    let Some((name, life)) = lives.iter().find(|(_, life)| life.state == TableState::Halted) else { return Ok(()) };
    let reason = life.reason.as_deref().unwrap_or("no reason recorded");
    Err(Error::new(ErrorKind::Schema, format!("table {name} is halted, and on_table_halt = \"stop\": {reason}")).hint(format!(
        "Mend it and run `rowferry resync --table {name}`, or set on_table_halt = \"continue\" to let the other tables go on \
         without it."
    )))
}

/// Writes down who both ends are, and after a start from anew the tables as they begin.
async fn remember(env: &Env, source: &Identity, target: &Identity, anew: bool, position: &Position) -> Result<()> {
    let origin = OriginRecord {
        source: source.as_str().to_owned(),
        target: target.as_str().to_owned(),
        source_name: env.source.describe(),
        target_name: env.target.describe(),
        branch: env.source.branch().await?,
    };
    if anew {
        let names: Vec<TableName> = env.lives.lock().keys().cloned().collect();
        for name in &names {
            env.lives.save_anew(name).await?;
            // Forms of the log before say nothing of the one that begins now.
            let name = name.to_string();
            env.lives.write(move |state| state.set_forms(&name, &[])).await?;
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
                if anew && (request.kind == RESYNC_ALL || request.kind == watch::GIVEN_UP) {
                    state.remove_request(id)?;
                }
            }
            Ok(())
        })
        .await
}
