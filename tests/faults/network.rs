//! The network between rowferry and either end.

use crate::scene::{Place, Scene, meanwhile, open, until};
use rowferry_testkit::Kind;
use rowferry_testkit::Link;
use serde_json::Value;

#[tokio::test(flavor = "multi_thread")]
async fn of_postgres() {
    break_links(Kind::Postgres).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_mysql() {
    break_links(Kind::Mysql).await;
}

/// Resets, connections that are cut inside of a frame, and a slow link, at one end and at the other.
async fn break_links(kind: Kind) {
    let mut scene = Scene::set(kind, kind, "", &[]).await;
    scene.faults = 8;
    let (traffic, mut running) = scene.start();
    for (end, place) in [("source", &scene.source), ("target", &scene.target)] {
        for link in [Link::Reset, Link::Cut, Link::Reset, Link::Slow(100_000)] {
            place.proxy().set(link);
            match link {
                Link::Slow(_) => meanwhile(2000).await,
                // What is cut is closed, and what comes next is cut again.
                _ => lost(place).await,
            }
            open(place.proxy());
            running = scene.goes_on(running, &format!("{kind:?} {end} {link:?}")).await;
        }
    }
    scene.close(traffic, running).await;
}

async fn lost(place: &Place) {
    until("all connections lost", async || place.proxy().connections() == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn stalls_at_postgres() {
    stall(Kind::Postgres).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn stalls_at_mysql() {
    stall(Kind::Mysql).await;
}

/// Bytes stop, and nothing is closed: that is noticed by the time in which a server has to answer, and another connection is
/// opened when the link is there again.
async fn stall(kind: Kind) {
    let mut scene = Scene::set(kind, kind, "silent_after = \"3s\"\nslice_rows = 100", &[]).await;
    scene.faults = 4;
    let traffic = scene.chaos.start(scene.status());
    let mut running = scene.rowferry.spawn_run();
    let stalls = [("source", &scene.source), ("target", &scene.target)];
    // While tables are copied: ranges that were under way have to be copied again.
    for (end, place) in stalls {
        let copied = |pipeline: &Value| {
            pipeline["tables"].as_array().unwrap().iter().any(|table| table["slices_done"].as_u64() > Some(0))
        };
        running.wait_status("ranges copied", copied);
        place.proxy().set(Link::Stalled);
        running.wait_status("the stall noticed", |pipeline| pipeline["state"] == "retrying");
        println!("{kind:?} {end}: noticed in a copy");
        open(place.proxy());
    }
    running.wait_streaming();
    for (end, place) in stalls {
        place.proxy().set(Link::Stalled);
        running.wait_status("the stall noticed", |pipeline| pipeline["state"] == "retrying");
        println!("{}", running.stderr().lines().rfind(|line| line.contains("trying again")).unwrap_or_default());
        open(place.proxy());
        running = scene.goes_on(running, &format!("{kind:?} {end} stalled")).await;
    }
    scene.close(traffic, running).await;
}
