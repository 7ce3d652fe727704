//! `rowferry dead-letters`: the rows that a target refused. Asks the running process, or works on the state directory if none
//! runs. Values are left out of everything unless they are asked for.

use super::{OK, chosen, open_store, print_json, rfc3339, say};
use crate::cli::{DeadLettersCommand, PipelineArgs, WhichArgs};
use crate::config::{Config, PipelineConfig};
use crate::control::{self, Ask, LetterAsk, understood};
use crate::pipeline::letters::{Which, redacted_of};
use crate::pipeline::life::{Lives, blocking};
use crate::pipeline::session::REPLAY;
use rowferry_api::{Cell, Error, ErrorKind, Key, Row, TableSchema};
use rowferry_state::{DeadLetterRecord, RequestRecord, Store};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Letters of one answer.
const PAGE: usize = 500;
/// A value longer than this is shown cut.
const LONGEST_VALUE: usize = 1 << 20;

/// A letter as it is shown.
#[derive(Debug, Serialize, Deserialize)]
struct Shown {
    id: u64,
    pipeline: String,
    table: String,
    /// When it was refused, RFC 3339 in UTC.
    at: String,
    position: Option<String>,
    operation: String,
    /// `kept`, or `queued` while its row is being read again.
    state: String,
    reason: String,
    /// With values only.
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<Vec<String>>,
    /// The columns of the row in `show`; with values what they hold.
    #[serde(skip_serializing_if = "Option::is_none")]
    row: Option<BTreeMap<String, Value>>,
}

pub(super) async fn run(config: &Config, command: &DeadLettersCommand, as_json: bool) -> Result<u8, Error> {
    match command {
        DeadLettersCommand::List(args) => {
            let mut letters = Vec::new();
            for pipeline in chosen(config, &args.only)? {
                letters.extend(list(config, pipeline, args.table.as_deref(), args.values).await?);
            }
            if as_json { print_json(&json!({ "dead_letters": letters })) } else { print(&letters) }
        }
        DeadLettersCommand::Show(args) => {
            let pipeline = the_one(config, &args.only)?;
            let answer = ask(config, pipeline, LetterAsk::Show { id: args.id, values: args.values }).await?;
            if as_json { print_json(&answer) } else { print_one(&understood(answer)?) }
        }
        DeadLettersCommand::Replay(args) => {
            carry_out(config, args, "replayed", LetterAsk::Replay, as_json).await?;
        }
        DeadLettersCommand::Discard(args) => {
            carry_out(config, args, "discarded", LetterAsk::Discard, as_json).await?;
        }
    }
    Ok(OK)
}

/// Ids are of one pipeline.
fn the_one<'a>(config: &'a Config, only: &PipelineArgs) -> Result<&'a PipelineConfig, Error> {
    match chosen(config, only)?.as_slice() {
        [pipeline] => Ok(pipeline),
        several => {
            let names: Vec<_> = several.iter().map(|pipeline| pipeline.name.as_str()).collect();
            Err(Error::new(ErrorKind::Config, "find a dead letter by its id: each pipeline has ids of its own")
                .hint(format!("Name one with --pipeline: {}.", names.join(", "))))
        }
    }
}

async fn list(
    config: &Config,
    pipeline: &PipelineConfig,
    table: Option<&str>,
    values: bool,
) -> Result<Vec<Shown>, Error> {
    let mut letters: Vec<Shown> = Vec::new();
    loop {
        let after = letters.last().map(|letter| letter.id);
        let what = LetterAsk::List { table: table.map(ToOwned::to_owned), after, values };
        let page: Vec<Shown> = understood(ask(config, pipeline, what).await?)?;
        if page.is_empty() {
            return Ok(letters);
        }
        letters.extend(page);
    }
}

async fn carry_out(
    config: &Config,
    args: &WhichArgs,
    done: &str,
    ask_for: fn(Which) -> LetterAsk,
    as_json: bool,
) -> Result<(), Error> {
    let (which, pipelines) = match (args.all, args.tables.is_empty()) {
        (true, _) => (Which::All, chosen(config, &args.only)?),
        (_, false) => (Which::Tables(args.tables.clone()), chosen(config, &args.only)?),
        _ => (Which::Ids(args.ids.clone()), vec![the_one(config, &args.only)?]),
    };
    let mut report = Vec::new();
    for pipeline in pipelines {
        let what = ask_for(which.clone());
        let is_replay = matches!(what, LetterAsk::Replay(_));
        let running = control::is_served(&config.state_dir).await;
        let count = ask(config, pipeline, what).await?;
        say(&match (is_replay, running) {
            (true, true) => {
                format!("pipeline {}: {count} to be replayed; a letter goes once its row is in step", pipeline.name)
            }
            (true, false) => format!("pipeline {}: {count} noted; the next `rowferry run` replays them", pipeline.name),
            _ => format!("pipeline {}: {count} {done}", pipeline.name),
        });
        report.push(json!({ "name": pipeline.name, "running": running, done: count }));
    }
    if as_json {
        print_json(&json!({ "pipelines": report }));
    }
    Ok(())
}

/// Asks the running process, or looks into the state directory.
async fn ask(config: &Config, pipeline: &PipelineConfig, what: LetterAsk) -> Result<Value, Error> {
    let asked = Ask::DeadLetters { pipeline: pipeline.name.clone(), what: what.clone() };
    if let Some(answer) = control::ask(&config.state_dir, &asked).await? {
        return Ok(answer);
    }
    if !Store::exists(&config.state_dir) {
        return Err(Error::new(ErrorKind::Config, format!("find the state directory {}", config.state_dir.display()))
            .hint("Nothing was replicated with this configuration yet."));
    }
    let store = match open_store(config).await {
        // It started while we looked.
        Err(error) if error.kind() == ErrorKind::Busy => {
            return control::ask(&config.state_dir, &asked).await?.ok_or(error);
        }
        opened => opened?,
    };
    let name = pipeline.name.clone();
    let lives = blocking(move || Lives::open(store.clone(), store.pipeline(&name)?)).await?;
    answer(&pipeline.name, &lives, what).await
}

/// Answers from the state, also for the running process. A replay is noted down only.
pub(super) async fn answer(pipeline: &str, lives: &Lives, what: LetterAsk) -> Result<Value, Error> {
    match what {
        LetterAsk::List { table, after, values } => {
            let page = lives.letters.page(table, after, PAGE).await?;
            let shown = page.into_iter().map(|(id, record)| shown(pipeline, id, &record, values, false));
            as_value(shown.collect::<Result<Vec<_>, Error>>()?)
        }
        LetterAsk::Show { id, values } => {
            lives.letters.ids(&Which::Ids(vec![id]))?;
            match lives.letters.record(id).await? {
                Some(record) => as_value(shown(pipeline, id, &record, values, true)?),
                None => as_value(Value::Null),
            }
        }
        LetterAsk::Discard(which) => as_value(lives.letters.discard(&which).await?),
        LetterAsk::Replay(which) => {
            let ids = lives.letters.ids(&which)?;
            let count = ids.len();
            if count > 0 {
                let detail = as_value(ids)?.to_string();
                let request = RequestRecord { kind: REPLAY.into(), table: None, detail };
                lives.write(move |state| state.push_request(&request)).await?;
            }
            as_value(count)
        }
    }
}

fn shown(pipeline: &str, id: u64, record: &DeadLetterRecord, values: bool, with_row: bool) -> Result<Shown, Error> {
    let unreadable =
        |what: &str| Error::new(ErrorKind::Other, format!("read dead letter {id}: its {what} is malformed"));
    let form: TableSchema = serde_json::from_str(&record.schema_json).map_err(|_| unreadable("form"))?;
    let mut row_bytes = bytes::Bytes::copy_from_slice(&record.row);
    let row = match record.row.is_empty() {
        true => None,
        false => Some(Row::split_from(&mut row_bytes, form.columns.len()).map_err(|_| unreadable("row"))?),
    };
    let key = |bytes: &Vec<u8>| Key::from_bytes(bytes.clone().into()).map(|key| key.to_string());
    let keys = record.keys.iter().map(key).collect::<Result<Vec<_>, _>>().map_err(|_| unreadable("key"))?;
    Ok(Shown {
        id,
        pipeline: pipeline.to_owned(),
        table: record.table.clone(),
        at: rfc3339(record.at_us),
        position: record.position.clone(),
        operation: record.op.clone(),
        state: if record.queued { "queued" } else { "kept" }.into(),
        reason: if values { record.reason.clone() } else { redacted_of(&record.reason, &form, row.as_ref()) },
        key: values.then_some(keys),
        row: row.filter(|_| with_row).map(|row| cells(&form, &row, values)),
    })
}

/// What each column holds: its text, `null`, or an object that says why there is none.
fn cells(form: &TableSchema, row: &Row, values: bool) -> BTreeMap<String, Value> {
    let text = |text: String| match text.len() > LONGEST_VALUE {
        true => json!({ "bytes": text.len() }),
        false => json!(text),
    };
    let cell = |cell: Cell<'_>| match cell {
        Cell::Unchanged => json!({ "unchanged": true }),
        _ if !values => json!({ "hidden": true }),
        Cell::Null => Value::Null,
        Cell::Text(bytes) => text(String::from_utf8_lossy(bytes).into_owned()),
        Cell::Raw(bytes) => text(bytes.iter().fold("\\x".to_owned(), |hex, byte| format!("{hex}{byte:02x}"))),
    };
    form.columns.iter().zip(row.cells()).map(|(column, value)| (column.name.clone(), cell(value))).collect()
}

fn as_value(value: impl Serialize) -> Result<Value, Error> {
    serde_json::to_value(value).map_err(|error| Error::new(ErrorKind::Other, "answer").because(error))
}

fn print(letters: &[Shown]) {
    if letters.is_empty() {
        println!("no dead letters");
        return;
    }
    let width = letters.iter().map(|letter| letter.table.len()).max().unwrap_or(0).max(5);
    println!("{:>6}  {:12}  {:width$}  {:24}  {:8}  {:6}  reason", "id", "pipeline", "table", "at", "what", "state");
    for letter in letters {
        let key = letter.key.as_ref().map(|key| format!("{} ", key.join(" "))).unwrap_or_default();
        println!(
            "{:>6}  {:12}  {:width$}  {:24}  {:8}  {:6}  {key}{}",
            letter.id, letter.pipeline, letter.table, letter.at, letter.operation, letter.state, letter.reason
        );
    }
}

fn print_one(letter: &Shown) {
    println!("dead letter {} of pipeline {}", letter.id, letter.pipeline);
    println!("  table      {}", letter.table);
    println!("  at         {}", letter.at);
    println!("  position   {}", letter.position.as_deref().unwrap_or("none: read from the table"));
    println!("  operation  {}", letter.operation);
    println!("  state      {}", letter.state);
    println!("  reason     {}", letter.reason);
    if let Some(key) = &letter.key {
        println!("  key        {}", key.join(" and "));
    }
    for (column, value) in letter.row.iter().flatten() {
        let value = match value {
            Value::Null => "NULL".to_owned(),
            Value::String(text) => format!("'{text}'"),
            Value::Object(why) if why.contains_key("hidden") => "(hidden; --values shows it)".to_owned(),
            Value::Object(why) if why.contains_key("unchanged") => "(not in the log)".to_owned(),
            other => format!("({other})"),
        };
        println!("    {column} = {value}");
    }
}
