//! How fast a backlog is worked off: rowferry against PostgreSQL's own subscription, the same log, the same start.

use crate::Plan;
use crate::load::{self, Load};
use crate::replay::{Replay, Who};
use crate::report::{Figure, Wanted};

pub(crate) async fn inserts(plan: &Plan) -> Vec<Figure> {
    let replay = Replay::prepare(&plan.binary, load::inserts(plan.rows), true).await;
    let (mut native, mut rowferry, mut sqlite) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..plan.repeat {
        native.push(replay.run(Who::Native).await);
        rowferry.push(replay.run(Who::Rowferry).await);
        sqlite.push(replay.run(Who::RowferrySqlite).await);
    }
    vec![
        Figure::rates("drain-inserts", &native, &rowferry, Some(Wanted::AtLeast(2.0))),
        Figure::rates("drain-inserts to SQLite, by PostgreSQL", &rowferry, &sqlite, Some(Wanted::AtLeast(1.0))),
    ]
}

pub(crate) async fn updates_1000(plan: &Plan) -> Vec<Figure> {
    against_native(plan, "drain-updates-1000", load::updates_1000(plan.rows), Some(Wanted::AtLeast(2.0))).await
}

pub(crate) async fn updates_1(plan: &Plan) -> Vec<Figure> {
    against_native(plan, "drain-updates-1", load::updates_1(plan.rows), Some(Wanted::AtLeast(2.5))).await
}

pub(crate) async fn hot_keys(plan: &Plan) -> Vec<Figure> {
    against_native(plan, "drain-hot-keys", load::hot_keys(plan.rows), Some(Wanted::AtLeast(4.0))).await
}

pub(crate) async fn deletes(plan: &Plan) -> Vec<Figure> {
    against_native(plan, "drain-deletes", load::deletes(plan.rows), Some(Wanted::AtLeast(1.3))).await
}

pub(crate) async fn wide(plan: &Plan) -> Vec<Figure> {
    against_native(plan, "wide: 100 columns", load::wide(plan.rows / 10), None).await
}

pub(crate) async fn large_values(plan: &Plan) -> Vec<Figure> {
    against_native(plan, "large-values: texts of 4 kB", load::large_values(plan.rows / 10), None).await
}

async fn against_native(plan: &Plan, what: &str, load: Load, wanted: Option<Wanted>) -> Vec<Figure> {
    let replay = Replay::prepare(&plan.binary, load, false).await;
    let (mut native, mut rowferry) = (Vec::new(), Vec::new());
    for _ in 0..plan.repeat {
        native.push(replay.run(Who::Native).await);
        rowferry.push(replay.run(Who::Rowferry).await);
    }
    vec![Figure::rates(what, &native, &rowferry, wanted)]
}
