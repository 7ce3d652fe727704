//! Copying tables: which table starts, which range goes to which worker, when a table is consistent, and what is built
//! then.

use super::{Done, Stream};
use crate::pipeline::Request;
use crate::pipeline::life::{Life, Slice};
use crate::pipeline::session::{self, RESYNC};
use crate::pipeline::worker::Worker;
use rowferry_api::{Created, Error, ErrorKind, Finding, Key, Range, Replaced, Result, TableName};
use rowferry_state::TableState;
use std::collections::{HashMap, HashSet};

/// Tries of one range before its error counts.
const MAX_TRIES: u32 = 5;

/// What is going on besides the ranges themselves.
#[derive(Debug, Default)]
pub(super) struct Copying {
    /// Tables that a worker creates and splits.
    starting: HashSet<TableName>,
    /// Tables whose indexes a worker builds.
    finishing: HashSet<TableName>,
    /// Tables whose foreign keys needed an index of another table: tried once more at the end.
    second_look: HashSet<TableName>,
    /// Tables that had their second look, with what was found.
    looked_twice: HashSet<TableName>,
    tries: HashMap<(TableName, usize), u32>,
}

/// What a free worker is to do.
enum Task {
    Start(TableName),
    Copy(TableName, usize),
    Finish(TableName),
}

impl Stream<'_> {
    /// Whether a worker has or could have something to do.
    pub(super) fn copies_wait(&self) -> bool {
        self.copying > 0 || self.next_task().is_some()
    }

    fn next_task(&self) -> Option<Task> {
        let lives = self.env.lives.lock();
        for (name, life) in lives.iter() {
            if life.state == TableState::Copying
                && let Some(index) = life.slices.iter().position(|slice| !slice.done && !slice.running)
            {
                return Some(Task::Copy(name.clone(), index));
            }
        }
        let may_start = |life: &Life| {
            life.state == TableState::Pending && life.high.as_ref().is_none_or(|high| self.has_passed(high))
        };
        let pending = lives.iter().find(|(name, life)| may_start(life) && !self.copy.starting.contains(*name));
        if let Some((name, _)) = pending {
            return Some(Task::Start(name.clone()));
        }
        // Indexes and foreign keys wait until all tables are consistent: keys refer from one to the other.
        let unsettled = |state| matches!(state, TableState::Pending | TableState::Copying | TableState::CatchingUp);
        if lives.values().any(|life| unsettled(life.state)) {
            return None;
        }
        let unfinished = |life: &Life| life.state == TableState::Streaming && life.made && !life.finished;
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

    /// Gives tasks to workers, as many as may run and as the log's turn allows.
    pub(super) async fn dispatch_copies(&mut self) -> Result<()> {
        let most = self.env.config.snapshot_workers.min(self.env.target.capabilities().parallel_writers.max(1));
        while self.copying < most && self.copies_left > 0 {
            let Some(task) = self.next_task() else { return Ok(()) };
            let worker = match self.workers.pop() {
                Some(worker) => worker,
                None => {
                    let env = self.env;
                    Worker::open(&*env.source, &*env.target, &env.config.name).await?
                }
            };
            self.copying += 1;
            self.copies_left -= 1;
            self.spawn(worker, task);
        }
        Ok(())
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
                self.jobs.spawn(async move {
                    let result = worker.start_table(&read, &target, rows_per_slice).await;
                    Done::Started(Box::new(worker), name, result)
                });
            }
            Task::Copy(name, index) => {
                let slice = &mut life.slices[index];
                slice.running = true;
                let range = slice.range.clone();
                self.jobs.spawn(async move {
                    let result = worker.copy(&read, &target, &range, &board).await;
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
        self.copying -= 1;
        match done {
            Done::Started(worker, name, result) => {
                self.workers.push(*worker);
                self.copy.starting.remove(&name);
                self.started(&name, result).await
            }
            Done::Copied(worker, name, index, result) => {
                self.workers.push(*worker);
                self.copied(&name, index, result).await
            }
            Done::Finished(worker, name, result) => {
                self.workers.push(*worker);
                self.copy.finishing.remove(&name);
                self.finished(&name, result).await
            }
            Done::Applied(..) => Ok(()),
        }
    }

    async fn started(&mut self, name: &TableName, result: Result<(Created, Vec<Range>)>) -> Result<()> {
        let (created, ranges) = match result {
            Ok(started) => started,
            Err(error) => return self.table_failed(name, error).await,
        };
        {
            let mut lives = self.env.lives.lock();
            let Some(life) = lives.get_mut(name) else { return Ok(()) };
            life.replace = created == Created::Filled;
            life.made |= created == Created::New;
            life.taken = life.chosen.source.schema.clone();
            life.slices = ranges.into_iter().map(Slice::new).collect();
            life.state = TableState::Copying;
            life.high = None;
            tracing::info!(table = %name, slices = life.slices.len(), replace = life.replace, "copying");
        }
        self.env.lives.save(name, true).await?;
        // From here on the log's changes pass; no range has been read yet, so none that was dropped is missed.
        self.router.open(name, true);
        Ok(())
    }

    async fn copied(&mut self, name: &TableName, index: usize, result: Result<Replaced>) -> Result<()> {
        let replaced = match result {
            Ok(replaced) => replaced,
            Err(error) => return self.slice_failed(name, index, error).await,
        };
        self.copy.tries.remove(&(name.clone(), index));
        self.evicted(name, &replaced.evicted).await?;
        let all_done = {
            let mut lives = self.env.lives.lock();
            let Some(life) = lives.get_mut(name) else { return Ok(()) };
            life.rows_copied += replaced.rows;
            let slice = &mut life.slices[index];
            (slice.done, slice.running, slice.rows, slice.bytes) = (true, false, replaced.rows, replaced.bytes);
            life.slices.iter().all(|slice| slice.done)
        };
        if all_done {
            let high = self.env.source.head().await?;
            let mut lives = self.env.lives.lock();
            if let Some(life) = lives.get_mut(name) {
                tracing::info!(table = %name, rows = life.rows_copied, high = %high, "copied, catching up");
                life.high = Some(high);
                life.state = TableState::CatchingUp;
            }
        }
        self.env.lives.save_slice(name, index).await
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
            ErrorKind::Stale => {
                tracing::info!(table = %name, error = %error, "the table was rewritten at the source: cut again");
                self.resync(std::slice::from_ref(name)).await
            }
            // The table may have changed its form under the read; with the new form the range is read again.
            ErrorKind::Schema if *tries < 2 => self.look_at_catalog(true).await,
            _ => self.table_failed(name, error).await,
        }
    }

    /// An error of one table halts that table; one of the connection ends this run.
    async fn table_failed(&mut self, name: &TableName, error: Error) -> Result<()> {
        match error.kind() {
            ErrorKind::Schema | ErrorKind::BadRow | ErrorKind::Unique | ErrorKind::Denied => {
                let hint = error.hint_text().map(|hint| format!(" ({hint})")).unwrap_or_default();
                self.halt(name, format!("{error}{hint}; then run `rowferry resync --table {name}`")).await
            }
            _ => Err(error),
        }
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
        tracing::info!(table = %name, "in step");
        self.env.lives.save(name, false).await
    }

    /// Tables whose high the log has passed are consistent.
    pub(super) async fn promote(&mut self) -> Result<()> {
        let waiting: Vec<_> = {
            let lives = self.env.lives.lock();
            let waits = lives.iter().filter(|(_, life)| life.state == TableState::CatchingUp);
            waits.filter_map(|(name, life)| Some((name.clone(), life.high.clone()?))).collect()
        };
        for (name, high) in waiting {
            if !self.has_passed(&high) {
                continue;
            }
            if let Some(life) = self.env.lives.lock().get_mut(&name) {
                life.state = TableState::Streaming;
                life.slices.retain(|slice| !matches!(slice.range, Range::Set(_)));
                life.replace = false;
            }
            tracing::info!(table = %name, high = %high, "consistent");
            self.env.lives.save(&name, true).await?;
        }
        Ok(())
    }

    /// Halts one table; the others go on.
    pub(super) async fn halt(&mut self, name: &TableName, reason: String) -> Result<()> {
        if let Some(life) = self.env.lives.lock().get_mut(name) {
            session::halt(life, reason);
        }
        self.router.open(name, false);
        self.env.lives.save(name, false).await
    }

    /// Starts tables again from their beginning: every range replaces what the target has.
    pub(super) async fn resync(&mut self, names: &[TableName]) -> Result<()> {
        for name in names {
            self.wait_for_jobs().await?;
            let target = self.env.lives.lock().get(name).map(|life| life.chosen.target.name.clone());
            if let Some(target) = target {
                self.filling.forget(&target);
            }
            if let Some(life) = self.env.lives.lock().get_mut(name) {
                life.state = TableState::Pending;
                life.reason = None;
                life.high = None;
                life.slices.clear();
                life.rows_copied = 0;
                life.finished = false;
                *life = session::refuse_keyless(life.clone());
            }
            self.copy.looked_twice.remove(name);
            self.router.open(name, false);
            self.env.lives.save(name, true).await?;
        }
        Ok(())
    }

    pub(super) async fn request(&mut self, request: Request) -> Result<()> {
        match request {
            Request::Resync(names) => {
                // A halted table may have another form by now, and the log may have stopped carrying it.
                self.resync(&names).await?;
                self.env.source.prepare(&session::carried(self.env), Some(&self.applied)).await.map(drop)
            }
            Request::Repair(name, keys) => self.evicted(&name, &keys).await,
        }
    }

    /// Requests that were made while no process ran.
    pub(super) async fn take_stored_requests(&mut self) -> Result<()> {
        let requests = self.env.lives.read(|state| state.requests()).await?;
        for (id, request) in requests {
            let known = {
                let lives = self.env.lives.lock();
                let table = request.table.clone().unwrap_or_default();
                lives.keys().find(|name| name.to_string() == table).cloned()
            };
            if let Some(name) = known.filter(|_| request.kind == RESYNC) {
                self.resync(std::slice::from_ref(&name)).await?;
            }
            self.env.lives.write(move |state| state.remove_request(id)).await?;
        }
        Ok(())
    }

    /// Waits until no job runs.
    pub(super) async fn wait_for_jobs(&mut self) -> Result<()> {
        while let Some(done) = self.jobs.join_next().await {
            let done = done.map_err(|error| Error::new(ErrorKind::Other, "a job ended in a panic").because(error))?;
            Box::pin(self.done(done)).await?;
        }
        Ok(())
    }
}
