//! Copying tables: which table starts, which range goes to which worker, when a table is consistent, and what is built
//! then.

use super::{Done, Stream};
use crate::config::OnBadRow;
use crate::pipeline::letters::Letter;
use crate::pipeline::life::{Life, Slice};
use crate::pipeline::reaction::halts_table;
use crate::pipeline::session::{self, REPLAY, RESYNC};
use crate::pipeline::worker::{Copied, How, Worker};
use crate::pipeline::{HURRY_SECONDS, Request};
use rowferry_api::{
    Created, Error, ErrorKind, Finding, Key, Position, Range, Result, TableName, TableSchema, failpoint,
};
use rowferry_state::{AtTarget, TableState};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// Tries of one range before its error counts.
const MAX_TRIES: u32 = 5;

/// What is going on besides the ranges themselves.
#[derive(Debug, Default)]
pub(super) struct Copying {
    /// Tables that a worker creates and splits.
    starting: HashSet<TableName>,
    /// Tables that an earlier start may have made, about to be started.
    announced: HashSet<TableName>,
    /// Tables whose indexes a worker builds.
    finishing: HashSet<TableName>,
    /// Tables whose foreign keys needed an index of another table: tried once more at the end.
    second_look: HashSet<TableName>,
    /// Tables that had their second look, with what was found.
    looked_twice: HashSet<TableName>,
    tries: HashMap<(TableName, usize), u32>,
}

impl Copying {
    /// How many tables are being created and cut.
    pub(super) fn starting(&self) -> usize {
        self.starting.len()
    }

    /// How many tables have their indexes built.
    pub(super) fn building(&self) -> usize {
        self.finishing.len()
    }
}

/// What a free worker is to do.
enum Task {
    Start(TableName),
    Copy(TableName, usize),
    Finish(TableName),
}

/// How a table's start went.
pub(super) struct Started {
    table: TableName,
    /// The form that the target's table has been made in.
    form: Arc<TableSchema>,
    /// An earlier start may have made it.
    again: bool,
    result: Result<(Created, Vec<Range>)>,
}

impl Stream<'_> {
    /// Whether a worker that writes rows or builds indexes has or could have something to do.
    pub(super) fn copies_wait(&self) -> bool {
        self.copying > 0 || self.next_copy().is_some() || self.next_finish().is_some()
    }

    /// Whether tables are being created and cut.
    pub(super) fn is_starting(&self) -> bool {
        !self.copy.starting.is_empty()
    }

    fn next_copy(&self) -> Option<Task> {
        let lives = self.env.lives.lock();
        lives.iter().filter(|(_, life)| life.state == TableState::Copying).find_map(|(name, life)| {
            let index = life.slices.iter().position(|slice| !slice.done && !slice.running)?;
            Some(Task::Copy(name.clone(), index))
        })
    }

    fn next_start(&self) -> Option<Task> {
        if !self.settled {
            return None;
        }
        let may_start = |life: &Life| {
            life.state == TableState::Pending && life.high.as_ref().is_none_or(|high| self.has_passed(high))
        };
        let lives = self.env.lives.lock();
        let mut pending = lives.iter().filter(|(name, life)| may_start(life) && !self.copy.starting.contains(*name));
        pending.next().map(|(name, _)| Task::Start(name.clone()))
    }

    /// Indexes and foreign keys wait until all tables are consistent: keys refer from one to the other.
    fn next_finish(&self) -> Option<Task> {
        let lives = self.env.lives.lock();
        if lives.values().any(|life| !life.is_settled()) {
            return None;
        }
        let unfinished =
            |life: &Life| life.state == TableState::Streaming && life.at_target == AtTarget::Made && !life.finished;
        let unfinished = lives.iter().filter(|(_, life)| unfinished(life));
        let mut first_look = unfinished.filter(|(name, _)| !self.copy.finishing.contains(*name)).map(|(name, _)| name);
        if let Some(name) = first_look.find(|name| !self.copy.second_look.contains(*name)) {
            return Some(Task::Finish(name.clone()));
        }
        if !self.copy.finishing.is_empty() {
            return None;
        }
        self.copy.second_look.iter().next().map(|name| Task::Finish(name.clone()))
    }

    /// Workers that may still be given something.
    fn free_workers(&self) -> usize {
        let most = self.env.config.snapshot_workers.min(self.env.target.capabilities().parallel_writers.max(1));
        most.saturating_sub(self.copying + self.copy.starting.len())
    }

    /// Gives ranges and indexes to workers, as many as may run and as the log's turn allows.
    pub(super) async fn dispatch_copies(&mut self) -> Result<()> {
        while self.free_workers() > 0 && !self.copy_turn.is_over() {
            let Some(task) = self.next_copy().or_else(|| self.next_finish()) else { return Ok(()) };
            let worker = self.free_worker().await?;
            self.copying += 1;
            self.copy_turn.take();
            self.spawn(worker, task);
        }
        Ok(())
    }

    /// Creates and cuts tables, also while the log is applied: its changes of them do not pass yet.
    pub(super) async fn dispatch_starts(&mut self) -> Result<()> {
        while self.free_workers() > 0 {
            let Some(task) = self.next_start() else { return Ok(()) };
            let worker = self.free_worker().await?;
            if let Task::Start(name) = &task {
                self.announce(name).await?;
                failpoint!("slice.announced");
            }
            self.spawn(worker, task);
        }
        Ok(())
    }

    /// A table that is about to be made is known to be ours, also after a crash in between.
    async fn announce(&mut self, name: &TableName) -> Result<()> {
        {
            let mut lives = self.env.lives.lock();
            let Some(life) = lives.get_mut(name).filter(|life| life.at_target == AtTarget::Unknown) else {
                self.copy.announced.insert(name.clone());
                return Ok(());
            };
            life.at_target = AtTarget::Making;
        }
        self.env.lives.save(name).await
    }

    async fn free_worker(&mut self) -> Result<Worker> {
        match self.workers.pop() {
            Some(worker) => Ok(worker),
            None => Worker::open(&*self.env.source, &self.env.target, &self.env.config.name).await,
        }
    }

    fn spawn(&mut self, mut worker: Worker, task: Task) {
        let board = self.env.board.clone();
        let rows_per_slice = self.env.config.slice_rows;
        let mut lives = self.env.lives.lock();
        let (Task::Start(name) | Task::Copy(name, _) | Task::Finish(name)) = &task;
        let Some(life) = lives.get_mut(name) else { return };
        let (read, target) = (life.chosen.source.schema.clone(), life.chosen.target.clone());
        match task {
            Task::Start(name) => {
                self.copy.starting.insert(name.clone());
                let again = self.copy.announced.remove(&name);
                let half_made = session::half_made(life).filter(|_| again);
                self.jobs.spawn(async move {
                    let result = worker.start_table(&read, &target, half_made, rows_per_slice).await;
                    Done::Started(Box::new(worker), Started { table: name, form: read, again, result })
                });
            }
            Task::Copy(name, index) => {
                let slice = &mut life.slices[index];
                slice.running = true;
                let (range, compares) = (slice.range.clone(), life.compares);
                let lets_go = life.chosen.config.on_bad_row == OnBadRow::DeadLetter;
                self.jobs.spawn(async move {
                    let how = How { compares, lets_go };
                    let result = worker.copy(&read, &target, &range, how, &board).await;
                    Done::Copied(Box::new(worker), name, index, result)
                });
            }
            Task::Finish(name) => {
                if self.copy.second_look.remove(&name) {
                    self.copy.looked_twice.insert(name.clone());
                }
                self.copy.finishing.insert(name.clone());
                self.jobs.spawn(async move {
                    let result = worker.finish(&target).await;
                    Done::Finished(Box::new(worker), name, result)
                });
            }
        }
    }

    pub(super) async fn copy_done(&mut self, done: Done) -> Result<()> {
        self.env.board.moves();
        match done {
            Done::Started(worker, started) => {
                self.workers.push(*worker);
                self.copy.starting.remove(&started.table);
                self.started(started).await
            }
            Done::Copied(worker, name, index, result) => {
                self.copying -= 1;
                self.workers.push(*worker);
                self.copied(&name, index, result).await
            }
            Done::Finished(worker, name, result) => {
                self.copying -= 1;
                self.workers.push(*worker);
                self.copy.finishing.remove(&name);
                self.finished(&name, result).await
            }
            Done::Applied(..) | Done::Ready(..) | Done::Settled(..) => Ok(()),
        }
    }

    async fn started(&mut self, started: Started) -> Result<()> {
        let Started { table: name, form, again, result } = started;
        let (created, ranges) = match result {
            Ok(started) => started,
            Err(error) => return self.table_failed(&name, error).await,
        };
        failpoint!("slice.cut");
        {
            let mut lives = self.env.lives.lock();
            // It may have been halted or put off meanwhile: then it is started again in its time.
            let due = |life: &&mut Life| {
                let passed = life.high.as_ref().is_none_or(|high| self.has_passed(high));
                life.state == TableState::Pending && self.settled && passed
            };
            let Some(life) = lives.get_mut(&name).filter(due) else { return Ok(()) };
            life.at_target = match (created, life.at_target) {
                (Created::New, _) | (_, AtTarget::Made) => AtTarget::Made,
                (Created::Empty, AtTarget::Making) if again => AtTarget::Made,
                _ => AtTarget::Found,
            };
            life.finished &= created != Created::New;
            life.takes(form);
            life.slices = ranges.into_iter().map(Slice::new).collect();
            if life.slices.is_empty() {
                life.slices.push(Slice::new(Range::Whole));
            }
            life.state = TableState::Copying;
            life.high = None;
            life.compares = created == Created::Filled;
            tracing::info!(table = %name, slices = life.slices.len(), over_rows = life.compares, "copying");
            // What it was created in may be an older form by now, and changes under a newer one may have been dropped.
            if life.taken != life.chosen.source.schema {
                self.catalog_version = 0;
            }
        }
        self.env.lives.save_anew(&name).await?;
        failpoint!("slice.planned");
        // All rows of it are read again now.
        self.env.lives.letters.queue(&name.to_string(), None).await?;
        // From here on the log's changes pass; no range has been read yet, so none that was dropped is missed.
        self.router.open(&name, true);
        self.catalog_due = true;
        Ok(())
    }

    async fn copied(&mut self, name: &TableName, index: usize, result: Result<Copied>) -> Result<()> {
        let Copied { replaced, compared, refused } = match result {
            Ok(copied) => copied,
            Err(error) => return self.slice_failed(name, index, error).await,
        };
        // Before the slice counts as done: a crash in between copies it again.
        self.env.lives.letters.add(&refused, None).await?;
        refused.iter().for_each(Letter::log);
        self.copy.tries.remove(&(name.clone(), index));
        let high = self.env.source.head().await?;
        if let Some(life) = self.env.lives.lock().get_mut(name)
            && index < life.slices.len()
        {
            life.rows_compared += compared;
            life.slice_done(index, replaced.rows, replaced.bytes, &high);
        }
        // The worker need not wait until its last range is noted down: one that is not is copied again after a crash.
        if !self.holds_writers && !self.catching_up && !self.catalog_due && self.applier.is_some() && !self.target_open
        {
            self.dispatch_copies().await?;
        }
        self.evicted(name, &replaced.evicted).await?;
        failpoint!("slice.done");
        self.env.lives.save_slices(name, index..index + 1).await?;
        failpoint!("slice.kept");
        Ok(())
    }

    async fn evicted(&mut self, name: &TableName, keys: &[Key]) -> Result<()> {
        if keys.is_empty() {
            return Ok(());
        }
        let target = self.env.lives.lock().get(name).map(|life| life.chosen.target.name.clone());
        match target {
            Some(target) => self.env.lives.read_again(&target, keys).await,
            None => Ok(()),
        }
    }

    async fn slice_failed(&mut self, name: &TableName, index: usize, error: Error) -> Result<()> {
        if let Some(life) = self.env.lives.lock().get_mut(name)
            && let Some(slice) = life.slices.get_mut(index)
        {
            slice.running = false;
        }
        let tries = self.copy.tries.entry((name.clone(), index)).or_default();
        *tries += 1;
        match error.kind() {
            ErrorKind::Transient if *tries < MAX_TRIES => {
                tracing::info!(table = %name, error = %error, "range is read again");
                Ok(())
            }
            ErrorKind::Stale => self.leave_range(name, index, &error).await,
            // The table may have changed its form under the read; with the new form the range is read again.
            ErrorKind::Schema | ErrorKind::BadRow if *tries < 2 => self.look_at_catalog(true).await,
            _ => self.table_failed(name, error).await,
        }
    }

    /// A range that is none any more: the others go on, and then the whole table is copied again, by keys.
    async fn leave_range(&mut self, name: &TableName, index: usize, error: &Error) -> Result<()> {
        tracing::info!(table = %name, error = %error, "the table was rewritten at the source: copying again after this copy");
        let high = self.env.source.head().await?;
        if let Some(life) = self.env.lives.lock().get_mut(name)
            && index < life.slices.len()
        {
            life.again = true;
            life.slice_done(index, 0, 0, &high);
        }
        self.env.lives.save_slices(name, index..index + 1).await
    }

    /// An error of one table halts that table; one of the connection ends this run.
    async fn table_failed(&mut self, name: &TableName, error: Error) -> Result<()> {
        if !halts_table(error.kind()) {
            return Err(error);
        }
        let hint = error.hint_text().map(|hint| format!(" ({hint})")).unwrap_or_default();
        self.halt(name, format!("{error}{hint}; then run `rowferry resync --table {name}`")).await
    }

    async fn finished(&mut self, name: &TableName, result: Result<Vec<Finding>>) -> Result<()> {
        let findings = match result {
            Ok(findings) => findings,
            Err(error) => return self.table_failed(name, error).await,
        };
        if !findings.is_empty() && !self.copy.looked_twice.contains(name) {
            self.copy.second_look.insert(name.clone());
            return Ok(());
        }
        for finding in findings {
            let mend = finding.mend.unwrap_or_default();
            tracing::warn!(table = %name, subject = %finding.subject, mend = %mend, "not carried over: {}", finding.what);
        }
        if let Some(life) = self.env.lives.lock().get_mut(name) {
            life.finished = true;
        }
        failpoint!("table.finished");
        tracing::info!(table = %name, "in step");
        self.env.lives.save(name).await
    }

    /// Moves tables on: those whose parts are all copied wait for the log to pass the source's head, and those whose high it
    /// has passed are consistent.
    pub(super) async fn promote(&mut self) -> Result<()> {
        let (copied, fewer) = {
            let mut lives = self.env.lives.lock();
            let copied: Vec<_> =
                lives.iter().filter(|(_, life)| life.is_copied()).map(|(name, _)| name.clone()).collect();
            let mut fewer = Vec::new();
            for (name, life) in lives.iter_mut().filter(|(_, life)| life.in_window()) {
                life.passes(|high| self.has_passed(high));
                if life.drop_read_keys() {
                    fewer.push(name.clone());
                }
            }
            (copied, fewer)
        };
        for name in fewer {
            self.copy.tries.retain(|(table, _), _| *table != name);
            self.env.lives.save_anew(&name).await?;
        }
        for name in copied {
            self.all_copied(&name).await?;
        }
        // Those of just now among them: an idle log may have been read to its end before, and says nothing more.
        let waiting: Vec<_> = {
            let lives = self.env.lives.lock();
            let waits = lives.iter().filter(|(_, life)| life.state == TableState::CatchingUp);
            waits.filter_map(|(name, life)| Some((name.clone(), life.high.clone()?))).collect()
        };
        for (name, high) in waiting {
            if !self.has_passed(&high) {
                continue;
            }
            // A key may have been queued since.
            let still = |life: &&mut Life| life.state == TableState::CatchingUp && life.high.as_ref() == Some(&high);
            let is_consistent = self.env.lives.lock().get_mut(&name).filter(still).map(Life::streams).is_some();
            if is_consistent {
                tracing::info!(table = %name, high = %high, "consistent");
                failpoint!("table.consistent");
                self.env.lives.save_anew(&name).await?;
                self.env.lives.letters.settle_queued(&name.to_string()).await?;
            }
        }
        Ok(())
    }

    async fn all_copied(&mut self, name: &TableName) -> Result<()> {
        let high = session::head_to_pass(self.env).await?;
        let again = self.env.lives.lock().get(name).is_some_and(|life| life.again || life.slices.is_empty());
        if again {
            tracing::info!(table = %name, "rows have to be read again: copying again");
            return self.restart(name, Some(high)).await;
        }
        if let Some(life) = self.env.lives.lock().get_mut(name).filter(|life| life.is_copied()) {
            tracing::info!(table = %name, rows = life.rows_copied, compared = life.rows_compared, high = %high, "copied, catching up");
            life.catches_up(high);
        }
        failpoint!("table.copied");
        self.env.lives.save(name).await?;
        failpoint!("table.catching_up");
        Ok(())
    }

    /// Halts one table. Whether the others go on is seen before anything else is applied.
    pub(super) async fn halt(&mut self, name: &TableName, reason: String) -> Result<()> {
        let target = self.env.lives.lock().get_mut(name).map(|life| {
            session::halt(life, reason);
            life.chosen.target.name.clone()
        });
        self.router.open(name, false);
        // It is copied again when it goes on.
        if let Some(target) = target {
            self.filling.forget(&target);
        }
        self.env.lives.save(name).await
    }

    /// Starts a table again from its beginning, once the log has passed `high`: every range replaces what the target has.
    pub(super) async fn restart(&mut self, name: &TableName, high: Option<Position>) -> Result<()> {
        self.wait_for_writers().await?;
        let target = {
            let mut lives = self.env.lives.lock();
            let Some(life) = lives.get_mut(name) else { return Ok(()) };
            life.restart(high);
            *life = session::refuse_keyless(life.clone());
            life.chosen.target.name.clone()
        };
        // It is read again as it is later than these.
        self.filling.forget(&target);
        self.copy.looked_twice.remove(name);
        self.copy.tries.retain(|(table, _), _| table != name);
        self.router.open(name, false);
        self.env.lives.save_anew(name).await
    }

    /// What a person asks for. A halted table may have another form by now, and the log may have stopped carrying it.
    pub(super) async fn request(&mut self, request: Request) -> Result<()> {
        match request {
            Request::Stored => {
                self.look_at_catalog(true).await?;
                self.take_stored_requests().await
            }
            Request::Hurry => {
                self.hurry_until = Some(Instant::now() + Duration::from_secs(HURRY_SECONDS));
                Ok(())
            }
            Request::Repair(name, keys) => self.evicted(&name, &keys).await,
        }
    }

    pub(super) async fn resync(&mut self, names: &[TableName]) -> Result<()> {
        // What the log says up to here may be of forms that mean something else by now.
        let high = session::head_to_pass(self.env).await?;
        for name in names {
            if self.env.lives.lock().get(name).is_some_and(|life| life.gone) {
                tracing::warn!(table = %name, "not copied again: the source does not have it");
                continue;
            }
            self.restart(name, Some(high.clone())).await?;
            let pending = self.env.lives.lock().get_mut(name).and_then(session::compare_resynced);
            if let Some(pending) = pending {
                self.alter(pending).await?;
            }
            self.reroute(name).await?;
        }
        self.publish().await
    }

    /// Requests that are kept on disk until they are carried out.
    pub(super) async fn take_stored_requests(&mut self) -> Result<()> {
        let requests = self.env.lives.read(|state| state.requests()).await?;
        let mut names = Vec::new();
        for (_, request) in &requests {
            match request.kind.as_str() {
                RESYNC => names.extend(self.known(request.table.as_deref().unwrap_or_default())),
                REPLAY => names.extend(self.replay(&request.detail).await?),
                _ => {}
            }
        }
        names.extend(self.returned());
        names.sort();
        names.dedup();
        if !names.is_empty() {
            self.resync(&names).await?;
        }
        for (id, _) in requests.iter().filter(|(_, request)| [RESYNC, REPLAY].contains(&request.kind.as_str())) {
            let id = *id;
            self.env.lives.write(move |state| state.remove_request(id)).await?;
        }
        Ok(())
    }

    fn known(&self, table: &str) -> Option<TableName> {
        self.env.lives.lock().keys().find(|name| name.to_string() == table).cloned()
    }

    /// Has the rows of dead letters read again from the source, so that nothing old is written over what is newer; returns
    /// tables that have to be copied as a whole. Rows of a table that is not open wait until it is copied again.
    async fn replay(&mut self, ids_json: &str) -> Result<Vec<TableName>> {
        let malformed =
            |error| Error::new(ErrorKind::Other, "read a stored request to replay dead letters").because(error);
        let ids: Vec<u64> = serde_json::from_str(ids_json).map_err(|error: serde_json::Error| malformed(error))?;
        let mut whole = Vec::new();
        for (table, rows) in self.env.lives.letters.to_read(&ids).await? {
            let Some(name) = self.known(&table) else {
                tracing::warn!(table, "dead letters are not replayed: the table is not carried any more");
                continue;
            };
            tracing::info!(table, rows = rows.keys.len(), whole = rows.whole, "rows of dead letters are read again");
            if rows.whole {
                whole.push(name);
            } else {
                self.evicted(&name, &rows.keys).await?;
            }
        }
        Ok(whole)
    }

    /// Waits until no job writes rows.
    pub(super) async fn wait_for_writers(&mut self) -> Result<()> {
        let held = std::mem::replace(&mut self.holds_writers, true);
        while self.applier.is_none() || self.copying > 0 {
            let Some(done) = self.jobs.join_next().await else { break };
            let done = done.map_err(|error| Error::new(ErrorKind::Other, "a job ended in a panic").because(error))?;
            Box::pin(self.done(done)).await?;
        }
        self.holds_writers = held;
        Ok(())
    }
}
