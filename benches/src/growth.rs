//! Whether rowferry stays as fast with more of everything: changes, tables, open transactions. It is its own peer.

use crate::Plan;
use crate::load::{self, Load};
use crate::replay::{Replay, Who};
use crate::report::{Figure, Wanted};

const TABLES: u64 = 1000;
const OPEN_TRANSACTIONS: usize = 500;

pub(crate) async fn growth(plan: &Plan) -> Vec<Figure> {
    let few = plan.rows / 2;
    let small = Replay::prepare(&plan.binary, load::inserts(few), false).await;
    let open = Load { open_transactions: OPEN_TRANSACTIONS, ..load::inserts(few) };
    vec![
        against(plan, &small, "growth: ten times the changes", load::inserts(few * 10)).await,
        against(plan, &small, "growth: 1,000 tables", load::inserts_over_tables(few, TABLES)).await,
        against(plan, &small, "growth: 500 open transactions", open).await,
    ]
}

async fn against(plan: &Plan, small: &Replay, what: &str, load: Load) -> Figure {
    let grown = Replay::prepare(&plan.binary, load, false).await;
    let (mut before, mut after) = (Vec::new(), Vec::new());
    for _ in 0..plan.repeat {
        before.push(small.run(Who::Rowferry).await);
        after.push(grown.run(Who::Rowferry).await);
    }
    Figure::rates(what, &before, &after, Some(Wanted::AtLeast(0.9)))
}
