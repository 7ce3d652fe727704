//! One connected run of a pipeline: decides what runs when.
//!
//! Two kinds of jobs write to the target, and never at the same time: *apply* (a batch of the log) and *copy* (ranges of
//! tables). A range is read later than everything the log has said so far, so the log has to be replayed over it from
//! before its read; if the log were applied between the read and the write, the write would put old rows over newer
//! ones. So they take turns of the same length: with tables in step, one batch, and one range a worker or more; while
//! nothing is in step yet, ranges go on until the batch is full.

use super::Env;
use super::ahead::{Ahead, Net, Twin, make_ready};
use super::apply::{Outcome, Settled, apply};
use super::board::{Phase, UnderWay};
use super::checkpoint::{AppliedTo, Checkpointer};
use super::filling::{Filling, Work};
use super::followed;
use super::letters::Letter;
use super::life::{Life, now_us};
use super::overtaken::Rows;
use super::reader::{Log, ReaderTask};
use super::route::Router;
use super::session::{self, Start};
use super::{Request, Until};
use crate::pipeline::worker::{Copied, Worker};
use rowferry_api::{
    Applier, Column, Error, ErrorKind, Event, Finding, Position, Result, TableName, TableSchema, Timestamp, failpoint,
};
use rowferry_state::TableState;
use std::cmp::Ordering;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

mod catalog;
mod copy;

/// How often the catalog is looked at for changes that no row has announced.
const CATALOG_EVERY: Duration = Duration::from_secs(5);
/// How often an idle log's progress is written to the target.
const HEARTBEAT_EVERY: Duration = Duration::from_secs(10);
/// Chunks of about 256 KiB (1 MiB with the events around it) that wait between the reader and the stream.
const CHUNK_MEMORY_BYTES: u64 = 1 << 20;
/// The share of `memory` that is worth a commit while the log is behind.
const WORTH_A_COMMIT: u64 = 32;
/// The share of `memory` that one of the three batches may take that are under way at a time: one that is filled, one that is made ready
/// and one that is written.
const BATCH: u64 = 16;
/// And its share if it gains from more.
const LARGE_BATCH: u64 = 4;
/// The share of `memory` that waits between the reader and the batch.
const QUEUE: u64 = 16;

/// What a job came back with.
enum Done {
    Applied(Box<dyn Applier>, Box<Result<Outcome>>),
    Ready(u64, Net, Option<Twin>),
    Settled(u64, Result<()>),
    Started(Box<Worker>, copy::Started),
    Copied(Box<Worker>, TableName, usize, Result<Copied>),
    Finished(Box<Worker>, TableName, Result<Vec<Finding>>),
}

/// What copies may start before the log has its turn: a range a worker, and more for as long as the log's last turn took.
/// Else a log of slow changes would leave a copy no end.
struct CopyTurn {
    ranges: usize,
    until: Instant,
}

impl CopyTurn {
    fn new(workers: usize, lasts: Duration) -> Self {
        Self { ranges: workers, until: Instant::now() + lasts }
    }

    fn is_over(&self) -> bool {
        self.ranges == 0 && Instant::now() >= self.until
    }

    fn take(&mut self) {
        self.ranges = self.ranges.saturating_sub(1);
    }
}

/// The state of one run.
struct Stream<'a> {
    env: &'a Env,
    until: Until,
    router: Router,
    filling: Filling,
    ahead: Ahead,
    /// Events that were received and wait for a change of form before them.
    events: VecDeque<Event>,
    /// Absent while an apply job has it.
    applier: Option<Box<dyn Applier>>,
    /// Absent while it stages, and where the target has none.
    twin: Option<Twin>,
    workers: Vec<Worker>,
    jobs: JoinSet<Done>,
    copying: usize,
    copy_turn: CopyTurn,
    /// When the target transaction that is being applied was begun.
    log_turn_since: Option<Instant>,
    /// So much log waits at the source that copies pause until it is caught up.
    catching_up: bool,
    /// Somebody waits until nothing writes: nothing is started meanwhile.
    holds_writers: bool,
    /// A transaction of the target is open for parts of one that is larger than the budget.
    target_open: bool,
    applied: Position,
    /// The end of what has been read of the log.
    read: Position,
    goal: Option<Position>,
    checkpointer: Checkpointer,
    catalog_version: u64,
    /// The catalog is to be looked at before the next range is read.
    catalog_due: bool,
    /// The log has to carry other tables than before.
    publish: bool,
    /// What the catalog shows of tables is other than what is on disk.
    noted: bool,
    /// What was under way when the log began to carry its tables has ended: tables may be started.
    settled: bool,
    /// Numbers the waits for that; only the last one counts.
    settling: u64,
    last_position_write: Instant,
    /// Dead letters that are settled once the open transaction is committed.
    overtaken: Vec<Settled>,
    /// Until then somebody waits for the position.
    hurry_until: Option<Instant>,
    copy: copy::Copying,
}

/// Runs until told to stop, until the goal, or until an error.
pub(super) async fn run(
    env: &Env,
    until: Until,
    mut stop: watch::Receiver<bool>,
    requests: &mut mpsc::Receiver<Request>,
) -> Result<()> {
    env.board.figures().phase = Phase::Starting;
    let start = session::start(env).await?;
    let goal = if until == Until::CaughtUp { Some(env.source.head().await?) } else { None };
    if goal.is_some() {
        env.source.hurry().await?;
    }
    let (confirm, confirmed) = watch::channel(None);
    let mut stream = Stream::open(env, until, &start, goal, confirm).await?;
    for pending in start.alterations {
        stream.alter(pending).await?;
    }
    stream.restore_routes();
    stream.settle();
    stream.take_stored_requests().await?;
    session::refuse_halted(env)?;
    let logged: Vec<Arc<TableSchema>> = env.lives.lock().values().map(|life| life.chosen.logged.clone()).collect();
    let queue = (env.config.memory_bytes / QUEUE / CHUNK_MEMORY_BYTES).clamp(2, 64) as usize;
    let followed = match env.source.follows_forms() {
        true => followed::at(&env.lives, &*env.source, &start.position).await?,
        false => Vec::new(),
    };
    let log = Log { source: env.source.clone(), from: start.position.clone(), tables: logged, followed };
    let mut reader = ReaderTask::spawn(log, queue, confirmed).await?;
    failpoint!("read.opened");
    env.board.figures().applied = Some(start.position.clone());
    let result = stream.turn(&mut reader, &mut stop, requests).await;
    let result = stream.close(result).await;
    reader.close().await;
    result
}

impl<'a> Stream<'a> {
    async fn open(
        env: &'a Env,
        until: Until,
        start: &Start,
        goal: Option<Position>,
        confirm: watch::Sender<Option<Position>>,
    ) -> Result<Self> {
        let applier = env.target.open_applier(&env.config.name).await?;
        Ok(Self {
            env,
            until,
            router: Router::default(),
            filling: Filling::default(),
            ahead: Ahead::default(),
            events: VecDeque::new(),
            twin: applier.twin().map(Twin::Closed),
            applier: Some(applier),
            workers: Vec::new(),
            jobs: JoinSet::new(),
            copying: 0,
            copy_turn: CopyTurn::new(env.config.snapshot_workers, Duration::ZERO),
            log_turn_since: None,
            catching_up: false,
            holds_writers: false,
            target_open: false,
            applied: start.position.clone(),
            read: start.position.clone(),
            goal,
            checkpointer: Checkpointer::spawn(env.lives.clone(), confirm),
            catalog_version: start.catalog_version,
            catalog_due: false,
            publish: false,
            noted: false,
            settled: false,
            settling: 0,
            last_position_write: Instant::now(),
            overtaken: Vec::new(),
            hurry_until: None,
            copy: copy::Copying::default(),
        })
    }

    fn restore_routes(&mut self) {
        let lives = self.env.lives.lock();
        for life in lives.values() {
            self.router.set(life.chosen.source.schema.clone(), life.chosen.target.clone(), life.is_open());
        }
    }

    /// Tables are started once what was under way when the log began to carry them has ended.
    fn settle(&mut self) {
        self.settled = false;
        self.settling += 1;
        let (source, number) = (self.env.source.clone(), self.settling);
        self.jobs.spawn(async move { Done::Settled(number, source.settled().await) });
    }

    /// The loop. One turn starts what can start and waits for whatever happens first.
    async fn turn(
        &mut self,
        reader: &mut ReaderTask,
        stop: &mut watch::Receiver<bool>,
        requests: &mut mpsc::Receiver<Request>,
    ) -> Result<()> {
        let mut catalog = tokio::time::interval_at(Instant::now() + CATALOG_EVERY, CATALOG_EVERY);
        let mut heartbeat = tokio::time::interval_at(Instant::now() + HEARTBEAT_EVERY, HEARTBEAT_EVERY);
        loop {
            self.route_events().await?;
            self.promote().await?;
            session::refuse_halted(self.env)?;
            self.dispatch().await?;
            self.show();
            if requests.is_empty() && self.is_done().await? {
                return Ok(());
            }
            let room = self.filling.bytes() < self.fill_limit();
            tokio::select! {
                Some(done) = self.jobs.join_next() => {
                    let done = done.map_err(|error| Error::new(ErrorKind::Other, "a job ended in a panic").because(error))?;
                    self.done(done).await?;
                }
                chunk = reader.chunks.recv(), if room => {
                    self.env.board.figures().heard_us = Some(now_us());
                    self.events.extend(chunk.unwrap_or_else(|| Err(ReaderTask::closed()))?);
                    failpoint!("batch.received");
                }
                _ = catalog.tick() => {
                    self.weigh_log().await?;
                    self.look_at_catalog(false).await?;
                }
                _ = heartbeat.tick() => {}
                Some(request) = requests.recv() => self.request(request).await?,
                () = super::stopped(stop) => return self.drain().await,
            }
            if self.checkpointer.has_failed() {
                return Err(Error::new(ErrorKind::Other, "write the checkpoint"));
            }
        }
    }

    /// Bytes that the batch being filled may hold, and parts of a large transaction reach.
    fn fill_limit(&self) -> usize {
        self.share(if self.filling.gains_from_more() { LARGE_BATCH } else { BATCH })
    }

    fn share(&self, part: u64) -> usize {
        usize::try_from(self.env.config.memory_bytes / part).unwrap_or(usize::MAX)
    }

    /// Moves events into the batch being filled, up to its limit.
    async fn route_events(&mut self) -> Result<()> {
        while let Some(event) = self.events.pop_front() {
            match event {
                Event::Begin { xid } => self.begin(&xid)?,
                Event::Schema(form) => self.form(&form).await?,
                Event::Change(change) => {
                    if let Some(change) = self.router.route(change) {
                        self.filling.change(change);
                    }
                }
                Event::Commit { position, committed_at, is_late } => {
                    self.has_read(&position);
                    self.filling.commit(position, committed_at, is_late);
                }
                Event::Heartbeat { position } => {
                    self.has_read(&position);
                    self.filling.heartbeat(position);
                }
                Event::Dropped(table) => self.gone(&table).await?,
                Event::Replaced(table) => self.replaced(&table).await?,
                Event::Unreadable { table, reason } => self.unreadable(&table, reason).await?,
            }
        }
        Ok(())
    }

    fn begin(&mut self, xid: &str) -> Result<()> {
        if self.target_open && self.filling.end().is_none() {
            let what = format!("read the log: transaction {xid} begins inside of one that is applied in parts");
            return Err(Error::new(ErrorKind::Transient, what));
        }
        self.filling.begin();
        Ok(())
    }

    fn has_read(&mut self, position: &Position) {
        self.read = position.clone();
        self.env.board.figures().read = Some(position.clone());
    }

    /// Keeps a form of the log where the source needs it again after a restart.
    async fn form(&mut self, form: &TableSchema) -> Result<()> {
        let follows = self.env.source.follows_forms();
        let lost = if follows { followed::lost(&self.env.lives, form).await? } else { Vec::new() };
        let known = {
            let lives = self.env.lives.lock();
            lives.get(&form.name).map(|life| life.chosen.logged.clone())
        };
        if !lost.is_empty() || known.is_some_and(|known| self.router.is_news(form, &known)) {
            self.look_at_catalog(true).await?;
        }
        // What the catalog has all the same came back later, with other values.
        let is_gone = |lost: &Column| form.column_index(&lost.name).is_none();
        let is_back = |column: &Column| {
            lost.iter().any(|lost| lost.name == column.name && (is_gone(lost) || lost.ty == column.ty))
        };
        let is_another = {
            let lives = self.env.lives.lock();
            lives.get(&form.name).is_some_and(|life| life.taken.columns.iter().any(is_back))
        };
        if is_another {
            self.copy_again(&form.name).await?;
        }
        // On disk before a position behind it is applied, and after what would not be seen a second time.
        if follows {
            followed::keep(&self.env.lives, &*self.env.source, form, Some(&self.read), &self.applied).await?;
        }
        Ok(())
    }

    /// Copies give way to the log before it fills the source's disk, until half of the budget is free again.
    async fn weigh_log(&mut self) -> Result<()> {
        let head = self.env.source.head().await?;
        let Some(lag_bytes) = self.env.source.distance_bytes(&self.applied, &head) else { return Ok(()) };
        self.env.board.figures().lag_bytes = Some(lag_bytes);
        let budget = self.env.config.log_budget_bytes;
        let was = self.catching_up;
        self.catching_up = lag_bytes > if was { budget / 2 } else { budget };
        match (was, self.catching_up) {
            (false, true) if self.copies_wait() => {
                tracing::warn!(
                    lag_bytes,
                    log_budget = budget,
                    "much log waits at the source: copies pause until it is caught up"
                );
            }
            (true, false) => tracing::info!(lag_bytes, "the log is caught up: copies may go on"),
            _ => {}
        }
        Ok(())
    }

    /// Starts the jobs whose turn it is.
    async fn dispatch(&mut self) -> Result<()> {
        if self.catalog_due && !self.target_open {
            self.catalog_due = false;
            self.look_at_catalog(false).await?;
        }
        let copies_wait = self.copies_wait() && !self.catching_up;
        if self.copying == 0
            && let Some(applier) = self.applier.take()
        {
            match self.next_work(copies_wait) {
                Some(work) => {
                    match work.end.is_some() {
                        true => failpoint!("batch.whole"),
                        false => failpoint!("batch.part"),
                    }
                    self.start_apply(applier, work);
                }
                None => self.applier = Some(applier),
            }
        }
        self.work_ahead();
        if self.applier.is_some() && !self.target_open && copies_wait {
            if !self.log_is_urgent() {
                self.copy_turn = CopyTurn::new(self.env.config.snapshot_workers, Duration::ZERO);
            }
            self.dispatch_copies().await?;
        }
        self.dispatch_starts().await
    }

    fn start_apply(&mut self, mut applier: Box<dyn Applier>, mut work: Work) {
        // An open transaction goes on where it was begun.
        match (&mut work.net, &mut self.twin) {
            (Some(net), Some(Twin::Open(twin))) if net.staged && !self.target_open => {
                std::mem::swap(&mut applier, twin)
            }
            (Some(net), _) => net.staged = false,
            (None, _) => {}
        }
        let (lives, source, version) = (self.env.lives.clone(), self.env.source.clone(), self.catalog_version);
        self.target_open = work.end.is_none();
        self.log_turn_since.get_or_insert_with(Instant::now);
        self.env.board.figures().work.applying_since_us = Some(now_us());
        self.jobs.spawn(async move {
            let result = apply(&mut *applier, work, &lives, &*source, version).await;
            Done::Applied(applier, Box::new(result))
        });
    }

    /// Makes a full batch ready while the one before it is written.
    fn work_ahead(&mut self) {
        let (version, changes) = self.filling.whole();
        let waits = self.applier.is_none() && self.filling.bytes() >= self.fill_limit() && !changes.is_empty();
        if waits && self.ahead.begin(version) {
            let changes = changes.to_vec();
            let twin = if self.target_open { None } else { self.twin.take() };
            let patience = self.env.config.silent_after;
            self.jobs.spawn(async move {
                let (net, twin) = make_ready(changes, twin, patience).await;
                Done::Ready(version, net, twin)
            });
        }
    }

    /// What to apply now, if it is the log's turn.
    fn next_work(&mut self, copies_wait: bool) -> Option<Work> {
        if copies_wait && !self.target_open && !(self.log_is_urgent() && self.copy_turn.is_over()) {
            return None;
        }
        // In a backlog more follows at once: a commit a handful of rows would cost more than the rows.
        if self.filling.is_late() && self.filling.bytes() < self.share(WORTH_A_COMMIT) {
            return None;
        }
        // A position without changes goes out of the way of a transaction that has outgrown the budget.
        let outgrown = self.filling.bytes() >= self.fill_limit();
        let progress = self.filling.end().is_some() && (outgrown || self.position_is_wanted());
        if self.filling.has_transactions() || progress {
            let (version, _) = self.filling.whole();
            if self.ahead.is_under_way(version) {
                return None;
            }
            let net = self.ahead.take(version);
            return self.filling.take_whole().map(|work| Work { net, ..work });
        }
        self.filling.take_part(self.fill_limit())
    }

    /// The log must not wait until the copies are through.
    fn log_is_urgent(&self) -> bool {
        let full = self.filling.bytes() >= self.fill_limit();
        let in_step = || self.env.lives.lock().values().any(|life| life.state == TableState::Streaming);
        full || (self.filling.has_transactions() && in_step()) || self.heartbeat_is_due()
    }

    fn heartbeat_is_due(&self) -> bool {
        self.filling.end().is_some() && self.last_position_write.elapsed() >= HEARTBEAT_EVERY
    }

    /// Whether it is worth a commit to write a position without changes.
    fn position_is_wanted(&self) -> bool {
        let waits = self.goal.is_some() || self.env.lives.lock().values().any(|life| !life.is_settled());
        let hurry = self.hurry_until.is_some_and(|until| Instant::now() < until);
        waits || hurry || self.heartbeat_is_due()
    }

    async fn done(&mut self, done: Done) -> Result<()> {
        match done {
            Done::Applied(applier, outcome) => {
                let outcome = (*outcome)?;
                failpoint!("batch.applied");
                self.applier = Some(applier);
                self.env.board.moves();
                self.applied(outcome).await
            }
            Done::Ready(version, net, twin) => {
                self.twin = twin.or(self.twin.take());
                self.ahead.end(version, net);
                Ok(())
            }
            Done::Settled(number, result) => {
                self.settled |= number == self.settling;
                result
            }
            copied => self.copy_done(copied).await,
        }
    }

    async fn applied(&mut self, outcome: Outcome) -> Result<()> {
        let mut changes = 0;
        {
            let mut lives = self.env.lives.lock();
            for life in lives.values_mut() {
                let rows = outcome.applied.get(&life.chosen.target.name).copied().unwrap_or(0);
                life.rows_applied += rows;
                changes += rows;
            }
        }
        outcome.letters.iter().for_each(Letter::log);
        self.overtaken.extend(outcome.overtaken);
        if outcome.position.is_some() {
            self.settle_letters().await?;
        }
        for (table, keys) in &outcome.again {
            tracing::info!(table = %table.name, keys = keys.len(), "rows to read again from the source");
        }
        let mut figures = self.env.board.figures();
        figures.changes_applied += changes;
        if let Some(position) = outcome.position {
            self.target_open = false;
            let took = self.log_turn_since.take().map_or(Duration::ZERO, |since| since.elapsed());
            self.copy_turn = CopyTurn::new(self.env.config.snapshot_workers, took);
            self.last_position_write = Instant::now();
            self.applied = position.clone();
            figures.batches += 1;
            figures.applied = Some(position.clone());
            self.checkpointer.applied(AppliedTo { position, committed_at: outcome.committed_at });
        }
        Ok(())
    }

    /// What was committed has brought rows up to date that were let go before.
    async fn settle_letters(&mut self) -> Result<()> {
        for Settled { table, rows, below } in std::mem::take(&mut self.overtaken) {
            let Some(name) = self.env.lives.name_of(&table) else { continue };
            let keys = match &rows {
                Rows::All => None,
                Rows::Keys(keys) => Some(keys.as_slice()),
            };
            self.env.lives.letters.settle(&name.to_string(), keys, below).await?;
        }
        Ok(())
    }

    /// Whether the target holds everything up to there. A position that is not one of this source is not passed.
    fn has_passed(&self, position: &Position) -> bool {
        let order = self.env.source.compare(&self.applied, position);
        matches!(order, Ok(Some(Ordering::Equal | Ordering::Greater)))
    }

    fn show(&self) {
        let phase = {
            let lives = self.env.lives.lock();
            let any = |state| lives.values().any(|life| life.state == state);
            if any(TableState::Pending) || any(TableState::Copying) {
                Phase::Copying
            } else if any(TableState::CatchingUp) {
                Phase::CatchingUp
            } else if any(TableState::Halted) {
                Phase::Halted
            } else {
                Phase::Streaming
            }
        };
        let waits_for_transactions =
            !self.settled && self.env.lives.lock().values().any(|life| life.state == TableState::Pending);
        let mut figures = self.env.board.figures();
        figures.phase = phase;
        figures.retry = None;
        figures.work = UnderWay {
            applying_since_us: figures.work.applying_since_us.filter(|_| self.applier.is_none()),
            copies: self.copying + self.copy.starting() - self.copy.building(),
            builds: self.copy.building(),
            alters: false,
            waits_for_transactions,
            has_transactions: self.filling.has_transactions(),
        };
        figures.waiting_since = self.filling.oldest();
        let caught_up = self.applier.is_some() && !self.filling.has_transactions();
        if caught_up {
            figures.behind_since_us = None;
        } else {
            let since = figures.waiting_since.unwrap_or(Timestamp(now_us()));
            figures.behind_since_us.get_or_insert(since.0);
        }
    }

    async fn is_done(&mut self) -> Result<bool> {
        let busy = self.applier.is_none() || self.is_starting() || self.copies_wait();
        if self.until != Until::CaughtUp || busy {
            return Ok(false);
        }
        let Some(goal) = &self.goal else { return Ok(false) };
        if !self.has_passed(goal) || self.env.lives.lock().values().any(|life| !life.is_settled()) {
            return Ok(false);
        }
        // A change of form that no row has announced belongs to what the source was at the start.
        self.look_at_catalog(false).await?;
        Ok(!self.copies_wait() && self.env.lives.lock().values().all(Life::is_settled))
    }

    /// Applies the whole transactions at hand and ends; ranges that are being copied are given up and copied again later.
    async fn drain(&mut self) -> Result<()> {
        while self.applier.is_none() {
            match self.jobs.join_next().await {
                Some(Ok(Done::Applied(applier, outcome))) => {
                    let outcome = (*outcome)?;
                    self.applier = Some(applier);
                    self.applied(outcome).await?;
                }
                Some(_) => {}
                None => return Ok(()),
            }
        }
        let Some(mut applier) = self.applier.take() else { return Ok(()) };
        self.jobs.shutdown().await;
        if self.copying == 0
            && let Some(work) = self.filling.take_whole()
        {
            let outcome = apply(&mut *applier, work, &self.env.lives, &*self.env.source, self.catalog_version).await?;
            self.applied(outcome).await?;
        } else if self.target_open {
            applier.rollback().await?;
        }
        Ok(())
    }

    /// Ends the jobs, writes what there is to write. The first error counts, after one of the checkpoints.
    async fn close(mut self, result: Result<()>) -> Result<()> {
        self.jobs.shutdown().await;
        for life in self.env.lives.lock().values_mut() {
            life.slices.iter_mut().for_each(|slice| slice.running = false);
        }
        let saved = self.env.lives.save_all().await;
        // Where it has failed, its own error says why: what the loop saw is that it ended.
        let closed = self.checkpointer.close().await.map_err(|error| error.within("write the checkpoint"));
        closed.and(result).and(saved)
    }
}
