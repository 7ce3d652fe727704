//! Every failpoint of the code, and where a pipeline passes it.

use rowferry_testkit::Kind;

use Kind::{Mysql, Postgres, Sqlite};
use Place::{Every, Source, Target};
use When::{FirstStart, Later};

/// Which pipelines pass a failpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    Every,
    Source(Kind),
    Target(Kind),
}

/// When it is walked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum When {
    /// While a pipeline starts for the first time: in the order of the list, each after the one before it.
    FirstStart,
    /// In a later run, where it is passed for at least the given number of times: that one acts.
    Later(u32),
}

/// In the order in which a row passes them.
pub(crate) const FAILPOINTS: &[(&str, Place, When)] = &[
    // The start: what is made at either end, and what is known of it here.
    ("start.tables_kept", Every, FirstStart),
    ("postgres.publication_made", Source(Postgres), FirstStart),
    ("postgres.slot_made", Source(Postgres), FirstStart),
    ("start.source_prepared", Every, FirstStart),
    ("postgres.prepared", Target(Postgres), FirstStart),
    ("mysql.prepared", Target(Mysql), FirstStart),
    ("sqlite.prepared", Target(Sqlite), FirstStart),
    ("start.target_prepared", Every, FirstStart),
    ("start.remembered", Every, FirstStart),
    ("postgres.publication_changed", Source(Postgres), Later(1)),
    // A change of form.
    ("form.followed", Source(Mysql), Later(1)),
    ("form.planned", Every, Later(1)),
    ("postgres.alter", Target(Postgres), Later(1)),
    ("mysql.alter", Target(Mysql), Later(1)),
    ("sqlite.alter", Target(Sqlite), Later(1)),
    ("postgres.altered", Target(Postgres), Later(1)),
    ("mysql.altered", Target(Mysql), Later(1)),
    ("sqlite.altered", Target(Sqlite), Later(1)),
    ("form.taken", Every, Later(1)),
    ("form.kept", Every, Later(1)),
    // The log, up to the target.
    ("read.opened", Every, Later(1)),
    ("read.received", Every, Later(2)),
    ("batch.received", Every, Later(2)),
    ("batch.whole", Every, Later(2)),
    ("batch.part", Every, Later(1)),
    ("postgres.begun", Target(Postgres), Later(2)),
    ("mysql.begun", Target(Mysql), Later(2)),
    ("sqlite.begun", Target(Sqlite), Later(2)),
    ("postgres.step", Target(Postgres), Later(2)),
    ("mysql.step", Target(Mysql), Later(2)),
    ("sqlite.step", Target(Sqlite), Later(2)),
    ("postgres.part", Target(Postgres), Later(1)),
    ("mysql.part", Target(Mysql), Later(1)),
    ("sqlite.part", Target(Sqlite), Later(1)),
    ("apply.sent", Every, Later(1)),
    ("apply.kept", Every, Later(1)),
    ("postgres.position", Target(Postgres), Later(2)),
    ("mysql.position", Target(Mysql), Later(2)),
    ("sqlite.position", Target(Sqlite), Later(2)),
    ("postgres.committed", Target(Postgres), Later(2)),
    ("mysql.committed", Target(Mysql), Later(2)),
    ("sqlite.committed", Target(Sqlite), Later(2)),
    ("batch.applied", Every, Later(2)),
    // The way back.
    ("checkpoint.applied", Every, Later(1)),
    ("state.changed", Every, Later(5)),
    ("state.durable", Every, Later(6)),
    ("checkpoint.durable", Every, Later(1)),
    ("confirm.told", Every, Later(1)),
    ("confirm.handed_on", Every, Later(1)),
    // A table that is copied.
    ("slice.announced", Every, Later(1)),
    ("postgres.create", Target(Postgres), Later(1)),
    ("mysql.create", Target(Mysql), Later(1)),
    ("sqlite.create", Target(Sqlite), Later(1)),
    ("postgres.created", Target(Postgres), Later(1)),
    ("mysql.created", Target(Mysql), Later(1)),
    ("sqlite.created", Target(Sqlite), Later(1)),
    ("slice.table_made", Every, Later(1)),
    ("slice.cut", Every, Later(1)),
    ("slice.planned", Every, Later(1)),
    ("slice.opened", Every, Later(2)),
    ("slice.block", Every, Later(2)),
    ("postgres.range", Target(Postgres), Later(2)),
    ("mysql.range", Target(Mysql), Later(2)),
    ("sqlite.range", Target(Sqlite), Later(2)),
    ("postgres.range_committed", Target(Postgres), Later(2)),
    ("mysql.range_committed", Target(Mysql), Later(2)),
    ("sqlite.range_committed", Target(Sqlite), Later(2)),
    ("slice.written", Every, Later(2)),
    ("slice.done", Every, Later(2)),
    ("slice.kept", Every, Later(2)),
    ("table.copied", Every, Later(1)),
    ("table.catching_up", Every, Later(1)),
    ("table.consistent", Every, Later(1)),
    ("postgres.index", Target(Postgres), Later(1)),
    ("mysql.index", Target(Mysql), Later(1)),
    ("sqlite.index", Target(Sqlite), Later(1)),
    ("table.finished", Every, Later(1)),
];

/// Those that a pipeline between these ends passes, with their numbers in the list.
pub(crate) fn between(source: Kind, target: Kind) -> impl Iterator<Item = (usize, &'static str, When)> {
    let passes = move |place: Place| match place {
        Every => true,
        Source(kind) => kind == source,
        Target(kind) => kind == target,
    };
    let passed = FAILPOINTS.iter().enumerate().filter(move |(_, (_, place, _))| passes(*place));
    passed.map(|(index, &(name, _, when))| (index, name, when))
}
