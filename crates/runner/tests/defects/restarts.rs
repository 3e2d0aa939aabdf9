//! Instances and rows that must survive days, restarts, other runners, and a failing database.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use kiln_engine::Store as _;
use kiln_pool::{Code, Config, InstanceId, StageState, State};

use crate::rig::{HOUR_MS, MINUTE_MS, PATIENCE, Runner, SECOND_MS, World, config, flavor, plain};

/// How long ended rows are remembered, as in the real runner.
const HISTORY_MS: i64 = 7 * 24 * HOUR_MS;

async fn hold(runner: &Runner, id: &InstanceId, time_ms: i64) {
    use kiln_engine::Host as _;
    runner.engine.hold(id, runner.host.now_ms() + time_ms).await.expect("a hold");
}

/// Sets up a running stage, an ended stage whose machine is held, and a warm machine that is held.
async fn busy_and_held(runner: &Runner) -> [InstanceId; 3] {
    runner.settle().await;
    let busy = runner.serve("busy").await.id;
    let looked_at = runner.serve("looked-at").await.id;
    hold(runner, &looked_at, 24 * HOUR_MS).await;
    runner.end("looked-at").await;
    runner.settle().await;
    let warm = runner.live().await.into_iter().find(|i| i.state == State::Ready).expect("a warm one").id;
    hold(runner, &warm, 24 * HOUR_MS).await;
    runner.settle().await;
    [busy, looked_at, warm]
}

async fn assert_untouched(world: &World, runner: &Runner, ids: &[InstanceId; 3]) {
    let [busy, looked_at, warm] = ids;
    for (id, state) in [(busy, State::Claimed), (looked_at, State::Claimed), (warm, State::Ready)] {
        assert_eq!(runner.instance(id.as_str()).await.state, state, "{id}");
    }
    assert_eq!(runner.stage("busy").await.expect("a stage").state, StageState::Assigned);
    let ended = world.cloud.destroyed();
    assert!(!ended.iter().any(|id| ids.iter().any(|kept| kept.as_str() == id)), "{ended:?}");
}

/// The incumbent deleted rows of warm and held machines by age, and the machines ran for ever.
#[tokio::test]
async fn defect_01_what_is_warm_or_held_is_ended_before_it_is_forgotten() {
    let world = World::new();
    let runner = world.runner("a", &config(6, vec![flavor("p", 2)])).await;
    let [busy, looked_at, held] = busy_and_held(&runner).await;
    for id in [&looked_at, &held] {
        hold(&runner, id, 30 * 24 * HOUR_MS).await;
    }
    let mut causes = BTreeMap::new();
    for _ in 0..9 * 24 / 3 {
        runner.go_through(3 * HOUR_MS, 3 * HOUR_MS).await;
        for instance in runner.store.newest_instances(1_000).await.expect("a database") {
            let ended = instance.state == State::Gone;
            let cause = instance.cause.map(|cause| cause.code);
            assert_eq!(ended, world.cloud.destroyed().contains(&instance.id.to_string()), "{}", instance.id);
            if ended {
                causes.insert(instance.id, cause.expect("every end has a cause"));
            }
        }
        use kiln_engine::Host as _;
        runner.store.prune(runner.host.now_ms() - HISTORY_MS).await.expect("a database");
        // There is neither a machine without a row, nor a row without its machine.
        assert_eq!(world.cloud.ids().await, runner.live_ids().await);
    }
    assert_eq!(causes.get(&busy), Some(&Code::StageDeadline));
    assert_eq!((causes.get(&looked_at), causes.get(&held)), (Some(&Code::MaxAge), Some(&Code::MaxAge)));
    assert!(causes.values().any(|code| *code == Code::FreeMaxAge), "{causes:?}");
    assert_eq!(runner.warm("p").await, 2);
}

/// With the incumbent, a runner that was created anew, as containers are, had another name and an empty database. The
/// program's own tests check that the default database has an absolute path in the state folder.
#[tokio::test]
async fn defect_12_a_runner_of_another_name_goes_on_with_what_there_is() {
    let world = World::new();
    let config = config(4, vec![flavor("p", 1)]);
    let first = world.runner("4f1c2a7be0d3", &config).await;
    let ids = busy_and_held(&first).await;
    first.kill();
    let next = world.runner("9a0b77c1d2e4", &config).await;
    // It sees the leases of the first runner, which are no longer renewed.
    next.settle().await;
    next.turn_clock(MINUTE_MS);
    next.settle().await;
    assert_untouched(&world, &next, &ids).await;
    assert_eq!(world.cloud.ids().await, next.live_ids().await);
    let launches = world.cloud.fake.launches();
    next.end("busy").await;
    for id in &ids[1..] {
        next.engine.unhold(id).await.expect("released");
    }
    next.settle().await;
    assert_eq!(next.instance(ids[0].as_str()).await.state, State::Gone);
    assert_eq!(next.instance(ids[1].as_str()).await.state, State::Gone);
    assert_eq!(world.cloud.fake.launches(), launches, "what the first one warmed is there");
    assert_ne!(next.serve("later").await.runner, "9a0b77c1d2e4", "and serves the next one's stages");
    assert_eq!(world.cloud.ids().await, next.live_ids().await);
}

/// In the incumbent, a restart ended busy machines, and maintenance ended retained ones.
#[tokio::test]
async fn defect_14_a_restart_ends_nothing_that_is_held_or_busy() {
    let world = World::new();
    let mut runner = world.runner("a", &config(4, vec![flavor("p", 1)])).await;
    let ids = busy_and_held(&runner).await;
    let mut changed = flavor("p", 1);
    changed.launch.cpus = 4;
    // The same file again, one with fewer warm machines, one with other machines, and one without the pool.
    let files = [
        config(4, vec![flavor("p", 1)]),
        config(1, vec![flavor("p", 0)]),
        config(4, vec![changed]),
        Config { pools: BTreeMap::new(), ..Config::default() },
    ];
    for file in files {
        runner.kill();
        runner = world.runner("a", &file).await;
        runner.settle().await;
        runner.go_through(20 * MINUTE_MS, 5 * MINUTE_MS).await;
        assert_untouched(&world, &runner, &ids).await;
    }
}

/// The incumbent took a database error for a missing row.
#[tokio::test]
async fn defect_15_a_database_that_fails_ends_nothing() {
    let world = World::new();
    let runner = world.runner("a", &config(6, vec![flavor("p", 1)])).await;
    let ids = busy_and_held(&runner).await;
    let mut failed = 0;
    for carried_out in [false, true] {
        for number in 1..=24 {
            // Meanwhile another stage ends and a new one begins.
            let beside = format!("ends-{carried_out}-{number}");
            runner.serve(&beside).await;
            runner.store.fail_call(number, carried_out);
            // Its end is one of the calls that may fail.
            drop(runner.engine.end_stage(&beside.as_str().into(), Code::Destroyed, "").await);
            for _ in 0..4 {
                drop(runner.engine.pass().await);
                runner.engine.quiet().await;
                runner.turn_clock(6 * SECOND_MS);
            }
            failed += u32::from(!runner.store.is_armed());
            assert_untouched(&world, &runner, &ids).await;
            // The stage ends at last, if its end could not be written before.
            runner.end(&beside).await;
            runner.turn_clock(2 * MINUTE_MS);
            runner.settle().await;
        }
    }
    assert!(failed >= 40, "only {failed} calls failed");
    assert_eq!(world.cloud.ids().await, runner.live_ids().await);
    // Now the database fails for a long time.
    runner.store.down.store(true, Ordering::SeqCst);
    let (before, ended) = (world.cloud.ids().await, world.cloud.destroyed());
    for _ in 0..10 {
        runner.turn_clock(5 * MINUTE_MS);
        assert!(runner.engine.pass().await.is_err());
        runner.engine.quiet().await;
    }
    assert_eq!((world.cloud.ids().await, world.cloud.destroyed()), (before, ended));
    runner.store.down.store(false, Ordering::SeqCst);
    runner.settle().await;
    assert_untouched(&world, &runner, &ids).await;
}

/// In the incumbent, the work of a killed runner stayed `running` for ever.
#[tokio::test]
async fn defect_16_the_work_of_a_killed_runner_is_taken_up() {
    // The runner is killed before it called the cloud, and after the cloud carried out the call.
    for (hangs, launches) in [("launch", 0), ("answer", 1)] {
        let world = World::new();
        let config = config(2, vec![flavor("p", 1)]);
        let first = world.runner("a", &config).await;
        world.cloud.hang(hangs);
        first.engine.pass().await.expect("a pass");
        world.cloud.hangs(hangs).await;
        let begun = first.live().await.remove(0);
        assert_eq!((begun.state, world.cloud.fake.launches()), (State::Launching, launches), "{hangs}");
        first.kill();
        world.cloud.go_on();
        let next = world.runner("b", &config).await;
        next.settle().await;
        next.turn_clock(2 * MINUTE_MS);
        next.settle().await;
        assert_eq!(next.instance(begun.id.as_str()).await.state, State::Ready, "{hangs}");
        assert_eq!(world.cloud.fake.launches(), 1, "{hangs}");
    }
    // A terminating machine is ended.
    let world = World::new();
    let config = config(3, vec![flavor("p", 1)]);
    let first = world.runner("a", &config).await;
    first.settle().await;
    let id = first.serve("s").await.id;
    world.cloud.hang(&format!("destroy {id}"));
    first.end("s").await;
    for _ in 0..2 {
        first.engine.pass().await.expect("a pass");
    }
    world.cloud.hangs(&format!("destroy {id}")).await;
    first.kill();
    world.cloud.go_on();
    let next = world.runner("b", &config).await;
    next.settle().await;
    next.turn_clock(MINUTE_MS);
    next.settle().await;
    assert_eq!(next.instance(id.as_str()).await.state, State::Gone);
    assert!(next.ask("t", plain()).await.instance.is_some());
}

#[tokio::test]
async fn a_process_ends_when_a_later_one_of_its_name_was_started() {
    let world = World::new();
    let config = config(4, vec![flavor("p", 1)]);
    let first = world.runner("same", &config).await;
    first.settle().await;
    let second = world.runner("same", &config).await;
    second.settle().await;
    assert!(!first.engine.is_superseded(), "nobody told it");
    // It renews its leases.
    first.turn_clock(MINUTE_MS / 2);
    let passes = std::sync::Arc::clone(&first.engine).run(|_| ());
    tokio::time::timeout(PATIENCE, passes).await.expect("it ends by itself");
    assert!(first.engine.is_superseded());
    assert_eq!(first.engine.pass().await.expect("a pass").planned, [], "and does nothing any more");
    second.serve("s").await;
    assert!(!second.engine.is_superseded());
}
