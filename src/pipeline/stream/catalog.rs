//! Changes of form: new tables, new columns, wider types, new labels. The catalog leads, the log only tells when to look.
//!
//! The target is altered before rows of the new form are applied, never inside a transaction of the target; rows of older
//! forms that still come are lifted into the new form on the way.

use super::Stream;
use crate::pipeline::forms::{self, Chosen};
use crate::pipeline::life::Life;
use crate::pipeline::session::{self, PendingAlteration, Told};
use rowferry_api::{Error, ErrorKind, Result, TableName, failpoint};
use rowferry_state::TableState;
use std::collections::BTreeMap;

impl Stream<'_> {
    /// Looks at the catalog, and at its tables if its version is another. `needed`: rows wait for what it says.
    pub(super) async fn look_at_catalog(&mut self, needed: bool) -> Result<()> {
        if self.target_open && !needed {
            return Ok(());
        }
        let version = self.env.source.catalog_version().await?;
        if version == self.catalog_version && !needed {
            return Ok(());
        }
        let tables = self.env.source.tables().await?;
        let chosen = forms::choose(&tables, &self.env.config, &*self.env.target)?;
        let mut chosen: BTreeMap<TableName, Chosen> =
            chosen.into_iter().map(|table| (table.name().clone(), table)).collect();
        let known: Vec<TableName> = self.env.lives.lock().keys().cloned().collect();
        for name in known {
            match chosen.remove(&name) {
                Some(table) => self.compare(&name, table).await?,
                None => self.gone(&name).await?,
            }
        }
        if std::mem::take(&mut self.noted) {
            self.env.lives.save_all().await?;
        }
        self.add_tables(chosen).await?;
        let back = self.returned();
        if !back.is_empty() {
            self.resync(&back).await?;
        }
        if std::mem::take(&mut self.publish) {
            self.publish().await?;
        }
        self.catalog_version = version;
        Ok(())
    }

    async fn compare(&mut self, name: &TableName, table: Chosen) -> Result<()> {
        let untold = self.untold(name, &table).await?;
        let (pending, waits) = {
            let mut lives = self.env.lives.lock();
            let Some(life) = lives.get_mut(name) else { return Ok(()) };
            life.chosen.source.estimated_rows = table.source.estimated_rows;
            life.gone = false;
            let same = life.chosen.source.schema == table.source.schema
                && life.chosen.logged == table.logged
                && life.chosen.source.id == table.source.id;
            if same && !untold && life.taken == life.chosen.source.schema {
                self.noted |= life.traces != table.source.traces;
                life.traces.clone_from(&table.source.traces);
                life.chosen.source.traces = table.source.traces;
                return Ok(());
            }
            life.chosen = table;
            // The log has lost sight of a table that was dropped, whatever it is called.
            self.publish |= life.is_replaced();
            let pending = match life.state {
                TableState::Halted => None,
                _ => session::compare_forms(life, untold),
            };
            (pending, life.state == TableState::Pending)
        };
        if waits {
            // Nothing of it is read yet: what the log said before this look is not replayed over what will be.
            let head = session::head_to_pass(self.env).await?;
            if let Some(life) = self.env.lives.lock().get_mut(name) {
                life.high = Some(head);
            }
        }
        match pending {
            Some(pending) => self.alter(pending).await,
            None => self.reroute(name).await,
        }
    }

    /// Whether rows of a table may have changed without a word in the log. One whose new parts log too little is halted.
    async fn untold(&mut self, name: &TableName, table: &Chosen) -> Result<bool> {
        let traces = |life: &Life| (life.state != TableState::Halted).then(|| life.traces.clone());
        let Some(before) = self.env.lives.lock().get(name).and_then(traces) else { return Ok(false) };
        match session::untold(self.env, &before, table).await? {
            Told::All => Ok(false),
            Told::TooLittle(reason) => self.halt(name, reason).await.map(|()| false),
            Told::NotAll => {
                // It may be that the log did not carry it.
                self.publish = true;
                Ok(true)
            }
        }
    }

    pub(super) async fn reroute(&mut self, name: &TableName) -> Result<()> {
        let route = {
            let lives = self.env.lives.lock();
            lives.get(name).map(|life| (life.chosen.source.schema.clone(), life.chosen.target.clone(), life.is_open()))
        };
        if let Some((read, target, open)) = route {
            self.router.set(read, target.clone(), open);
            if open {
                self.router.relift(self.filling.changes_mut(), &target);
            } else {
                self.filling.forget(&target.name);
            }
        }
        self.env.lives.save(name).await
    }

    /// Makes the log carry the tables that are carried now. Those that are new to it are read once what was under way has ended.
    pub(super) async fn publish(&mut self) -> Result<()> {
        self.env.source.prepare(&session::carried(self.env), Some(&self.applied)).await?;
        self.settle();
        Ok(())
    }

    /// Carries a change of form to the target, and routes rows in the new form from then on.
    pub(super) async fn alter(&mut self, pending: PendingAlteration) -> Result<()> {
        if pending.after_this_copy && self.copies_once_more(&pending.table).await? {
            return Ok(());
        }
        self.wait_for_writers().await?;
        if self.target_open {
            return Err(Error::new(
                ErrorKind::Transient,
                format!(
                    "{} changed its form inside a large transaction: read it again under the new form",
                    pending.table
                ),
            ));
        }
        // Rows of the form before must not be replayed over what is copied again: their cells may mean something else.
        let high = if pending.copy_again { Some(session::head_to_pass(self.env).await?) } else { None };
        let form = self.env.lives.lock().get(&pending.table).map(|life| life.chosen.target.clone());
        let (Some(form), Some(applier)) = (form, self.applier.as_mut()) else { return Ok(()) };
        let what = crate::evolve::describe(&pending.alterations);
        failpoint!("form.planned");
        self.env.board.figures().work.alters = true;
        if !pending.alterations.is_empty()
            && let Err(error) = applier.alter(&form, &pending.alterations).await
        {
            // A table that is to be copied again is made or looked at when it starts, which says more than this error.
            let starts_over = self.env.lives.lock().get_mut(&pending.table).is_some_and(|life| {
                let starts_over = life.state == TableState::Pending && error.kind() == ErrorKind::Schema;
                if starts_over {
                    life.takes_chosen(high.as_ref());
                }
                starts_over
            });
            return match error.kind() {
                _ if starts_over => self.reroute(&pending.table).await,
                ErrorKind::Schema | ErrorKind::BadRow | ErrorKind::Denied => {
                    let reason = format!("carry over a change of form ({what}): {error}");
                    self.halt(&pending.table, reason).await
                }
                _ => Err(error),
            };
        }
        failpoint!("form.taken");
        if !pending.alterations.is_empty() {
            tracing::info!(table = %pending.table, "form changed: {what}");
        }
        if let Some(life) = self.env.lives.lock().get_mut(&pending.table) {
            life.takes_chosen(high.as_ref());
        }
        // Idle connections of workers may have prepared statements of the old form.
        self.workers.clear();
        if let Some(high) = high {
            tracing::info!(table = %pending.table, "what rows hold now is known to the source only: copying again");
            self.restart(&pending.table, Some(high)).await?;
        }
        self.reroute(&pending.table).await?;
        failpoint!("form.kept");
        Ok(())
    }

    /// Lets a copy that is under way come to its end before the next one begins: else it would never do where there is always something.
    /// Returns whether one is.
    async fn copies_once_more(&mut self, name: &TableName) -> Result<bool> {
        let is_copying = self.env.lives.lock().get_mut(name).is_some_and(|life| {
            let is_copying = life.state == TableState::Copying;
            if is_copying {
                life.again = true;
                life.takes_chosen(None);
            }
            is_copying
        });
        if is_copying {
            tracing::info!(table = %name, "its rows may be others than the log says: copying again after this copy");
            self.reroute(name).await?;
        }
        Ok(is_copying)
    }

    /// A table whose rows may be others now than the log's rows say.
    pub(super) async fn replaced(&mut self, name: &TableName) -> Result<()> {
        self.look_at_catalog(true).await?;
        self.copy_again(name).await
    }

    /// What the source has is compared with what is here, and copied over it.
    pub(super) async fn copy_again(&mut self, name: &TableName) -> Result<()> {
        let is_open = self.env.lives.lock().get(name).is_some_and(Life::is_open);
        if !is_open {
            return Ok(());
        }
        tracing::info!(table = %name, "its rows may be others than the log says: copying again");
        let high = session::head_to_pass(self.env).await?;
        self.wait_for_writers().await?;
        self.restart(name, Some(high)).await?;
        self.reroute(name).await
    }

    /// Rows of a table cannot be read. Those of one that is not copied yet are dropped anyway.
    pub(super) async fn unreadable(&mut self, name: &TableName, reason: String) -> Result<()> {
        let is_open = self.env.lives.lock().get(name).is_some_and(Life::is_open);
        if is_open { self.halt(name, reason).await } else { Ok(()) }
    }

    /// A table that the source no longer has.
    pub(super) async fn gone(&mut self, name: &TableName) -> Result<()> {
        let carried = self.env.lives.lock().get_mut(name).is_some_and(|life| {
            life.gone = true;
            life.state != TableState::Halted
        });
        if !carried {
            return Ok(());
        }
        self.halt(name, gone_reason(name)).await
    }

    /// Tables that were halted because they were gone, and are there again.
    pub(super) fn returned(&self) -> Vec<TableName> {
        let lives = self.env.lives.lock();
        let is_back = |name: &TableName, life: &Life| {
            life.state == TableState::Halted && !life.gone && life.reason.as_ref() == Some(&gone_reason(name))
        };
        let back: Vec<TableName> =
            lives.iter().filter(|(name, life)| is_back(name, life)).map(|(name, _)| name.clone()).collect();
        for name in &back {
            tracing::info!(table = %name, "it is there again: copying again");
        }
        back
    }

    async fn add_tables(&mut self, chosen: BTreeMap<TableName, Chosen>) -> Result<()> {
        if chosen.is_empty() {
            return Ok(());
        }
        let mut keyed = None;
        let head = session::head_to_pass(self.env).await?;
        for (name, table) in chosen {
            tracing::info!(table = %name, "new table");
            if table.config.key.is_some() {
                keyed = Some(name.clone());
            }
            let mut life = session::refuse_keyless(Life::new(table));
            // It halts by itself instead of taking the pipeline down.
            if life.state != TableState::Halted
                && let Some(reason) = session::unfit(self.env, &life.chosen).await?
            {
                session::halt(&mut life, reason);
            }
            // What the log said of it before this look is not replayed over what will be read.
            life.high = Some(head.clone());
            self.router.set(life.chosen.source.schema.clone(), life.chosen.target.clone(), false);
            self.env.lives.lock().insert(name.clone(), life);
            self.env.lives.save_anew(&name).await?;
        }
        if let Some(name) = keyed.filter(|_| !self.env.source.follows_forms()) {
            // The log's reader took the table's own key.
            let what = format!("{name} is new and has a `key` in the configuration: the log is read again with it");
            return Err(Error::new(ErrorKind::Transient, what));
        }
        // What the log carries must include the new tables before the first range of them is read.
        self.publish = true;
        Ok(())
    }
}

fn gone_reason(name: &TableName) -> String {
    format!(
        "{name} is gone at the source (dropped or renamed); its rows stay at the target. It is copied again once it is back; or leave it \
         out with \"!{name}\""
    )
}
