//! Pools stay full, and stages get the instances that they asked for.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use kiln_driver::ErrorClass;
use kiln_driver::fake::Fault;
use kiln_engine::Host as _;
use kiln_pool::plan::WaitReason;
use kiln_pool::request::Request;
use kiln_pool::{Code, StageState, State};

use crate::rig::{HOUR_MS, MINUTE_MS, Runner, SECOND_MS, World, config, flavor, plain, until};

/// In the incumbent, one burst of refusals drained the pool until the next restart.
#[tokio::test]
async fn defect_08_the_pool_is_full_again_after_refusals() {
    let world = World::new();
    let runner = world.runner("a", &config(6, vec![flavor("p", 3)])).await;
    runner.settle().await;
    assert_eq!(runner.warm("p").await, 3);
    // The cloud has no more room while stages take all warm instances.
    world.cloud.fake.limit(3);
    for stage in ["s1", "s2", "s3"] {
        runner.serve(stage).await;
    }
    runner.go_through(HOUR_MS, 5 * MINUTE_MS).await;
    assert_eq!((runner.warm("p").await, runner.live().await.len()), (0, 3));
    world.cloud.fake.limit(100);
    runner.go_through(HOUR_MS, MINUTE_MS).await;
    assert_eq!(runner.warm("p").await, 3);
    // Each replacement fails a few times, for every possible reason.
    let classes = [
        ErrorClass::Throttled,
        ErrorClass::Capacity,
        ErrorClass::Quota,
        ErrorClass::Auth,
        ErrorClass::Invalid,
        ErrorClass::NotFound,
        ErrorClass::Transient,
        ErrorClass::Ambiguous,
    ];
    for (number, class) in classes.into_iter().enumerate() {
        for _ in 0..3 {
            world.cloud.fake.fail_next(Fault::Refuse(class));
        }
        world.cloud.fake.fail_next(Fault::LoseAnswer);
        for stage in ["s1", "s2", "s3"] {
            runner.end(&format!("{stage}{}", "+".repeat(number))).await;
        }
        runner.settle().await;
        for stage in ["s1", "s2", "s3"] {
            runner.serve(&format!("{stage}{}", "+".repeat(number + 1))).await;
        }
        runner.go_through(HOUR_MS, MINUTE_MS).await;
        assert_eq!(runner.warm("p").await, 3, "after {class:?}");
    }
    assert_eq!(world.cloud.ids().await, runner.live_ids().await);
}

/// The incumbent's claim took any free machine: another image, another size, another tenant's.
#[tokio::test]
async fn defect_09_claims_are_for_their_flavor_image_and_tenant_alone() {
    let world = World::new();
    let mut of_acme = flavor("p@acme", 1);
    of_acme.limit = Some(1);
    let runner = world.runner("a", &config(20, vec![flavor("p", 1), flavor("p/large", 1), of_acme])).await;
    runner.settle().await;
    let request = |account: &str, class: &str, image: &str| Request {
        account: account.into(),
        resource_class: class.into(),
        image: image.into(),
        ..plain()
    };
    for (number, (account, class, image, expected)) in [
        ("", "", "", "p debian"),
        ("globex", "", "", "p debian"),
        ("globex", "large", "", "p/large debian"),
        ("", "", "alpine", "p alpine"),
        ("", "large", "alpine", "p/large alpine"),
        ("acme", "", "", "p@acme debian"),
    ]
    .into_iter()
    .enumerate()
    {
        let stage = runner.ask(&format!("s{number}"), request(account, class, image)).await;
        let instance = runner.instance(stage.instance.expect("an instance").as_str()).await;
        assert_eq!(format!("{} {}", instance.flavor, instance.image), expected, "{account} {class} {image}");
    }
    // The tenant's own limit is reached, so its stage waits whatever else is warm.
    let waits = runner.ask("waits", request("acme", "", "")).await;
    assert_eq!((waits.state, waits.instance), (StageState::Waiting, None));
    assert!(runner.warm("p").await > 0 && runner.warm("p/large").await > 0);
    // The tenant's warm instance serves nobody else, even when the pool is full.
    runner.end("waits").await;
    runner.end("s5").await;
    runner.settle().await;
    assert_eq!(runner.warm("p@acme").await, 1);
    world.cloud.fake.limit(0);
    for number in 0..3 {
        let stage = runner.ask(&format!("t{number}"), request("globex", "", "")).await;
        if let Some(id) = stage.instance {
            assert_eq!(runner.instance(id.as_str()).await.flavor, "p");
        }
    }
    assert_eq!(runner.warm("p@acme").await, 1);
}

/// The incumbent held a lock during calls to the cloud: one slow machine blocked every `/setup` of its pool.
#[tokio::test]
async fn defect_10_a_slow_cloud_blocks_no_claim() {
    let world = World::new();
    let runner = Arc::new(world.runner("a", &config(8, vec![flavor("p", 2)])).await);
    runner.settle().await;
    let slow = runner.serve("s1").await.id;
    assert_eq!(runner.warm("p").await, 2);
    let destroy = format!("destroy {slow}");
    world.cloud.hang(&destroy);
    world.cloud.hang("launch");
    let passes = tokio::spawn(Arc::clone(&runner.engine).run(|_| {}));
    runner.end("s1").await;
    world.cloud.hangs(&destroy).await;
    let second = runner.acquire("s2").await.instance;
    world.cloud.hangs("launch").await;
    // Even the listing does not return.
    world.cloud.hang("list");
    runner.host.signal();
    world.cloud.hangs("list").await;
    let third = runner.acquire("s3").await.instance;
    assert_ne!(second.id, third.id);
    assert_eq!(runner.instance(slow.as_str()).await.state, State::Terminating);
    world.cloud.go_on();
    until("the end of the slow one", async || {
        (runner.instance(slow.as_str()).await.state == State::Gone).then_some(())
    })
    .await;
    until("a full pool", async || (runner.warm("p").await == 2).then_some(())).await;
    passes.abort();
}

/// The same holds when the answer never comes: the next pass ends an instance that nobody works on any more.
#[tokio::test]
async fn defect_10_a_call_that_never_returns_holds_no_instance() {
    let world = World::new();
    let mut impatient = config(8, vec![flavor("p", 0)]);
    impatient.timing.launch_timeout_ms = 50;
    let runner = world.runner("a", &impatient).await;
    let one = {
        runner.ask("s1", plain()).await;
        runner.settle().await;
        runner.acquire("s1").await.instance.id
    };
    let destroy = format!("destroy {one}");
    world.cloud.hang(&destroy);
    runner.end("s1").await;
    // The first pass marks it as terminating, the second one calls the cloud.
    runner.engine.pass().await.expect("a pass");
    runner.engine.pass().await.expect("a pass");
    world.cloud.hangs(&destroy).await;
    runner.engine.quiet().await;
    assert_eq!(runner.instance(one.as_str()).await.state, State::Terminating);
    world.cloud.go_on();
    runner.settle().await;
    assert_eq!(runner.instance(one.as_str()).await.state, State::Gone);
    // A console that never answers does not keep a dead instance from being judged either.
    runner.ask("s2", plain()).await;
    runner.settle().await;
    let two = runner.acquire("s2").await.instance.id;
    world.cloud.hang(&format!("console {two}"));
    world.cloud.fake.crash(two.as_str(), "panic");
    runner.settle().await;
    let ended = runner.instance(two.as_str()).await;
    assert_eq!((ended.state, ended.cause.map(|cause| cause.code)), (State::Gone, Some(Code::Died)));
}

/// The incumbent replaced an unreachable machine for ever, at once and without growing pauses.
#[tokio::test]
async fn defect_16_machines_that_are_never_reached_are_tried_ever_more_rarely() {
    let world = World::new();
    let mut config = config(3, vec![flavor("p", 2)]);
    config.timing.boot_timeout_ms = MINUTE_MS;
    let runner = world.runner("a", &config).await;
    world.agents.silent.store(true, Ordering::SeqCst);
    runner.settle().await;
    runner.go_through(3 * HOUR_MS, 30 * SECOND_MS).await;
    let launches = world.cloud.launches_ms.lock().expect("lock").clone();
    assert!(launches.len() <= 30, "{} launches in three hours: {launches:?}", launches.len());
    // An attempt itself takes a minute.
    let pauses: Vec<i64> = launches.windows(2).map(|pair| pair[1] - pair[0]).filter(|p| *p > 2 * MINUTE_MS).collect();
    assert!(pauses[0] < 5 * MINUTE_MS && pauses[pauses.len() - 1] >= 15 * MINUTE_MS, "{pauses:?}");
    assert!(pauses.is_sorted(), "{pauses:?}");
    let stage = runner.ask("s", plain()).await;
    assert!(
        matches!(&stage.why, Some(WaitReason::LaunchesFail { evidence, .. }) if evidence.contains("did not answer")),
        "{:?}",
        stage.why
    );
    // The fault is mended, and the next attempt closes the breaker.
    world.agents.silent.store(false, Ordering::SeqCst);
    runner.go_through(20 * MINUTE_MS, MINUTE_MS).await;
    assert!(runner.stage("s").await.expect("a stage").assigned_ms.is_some());
    assert_eq!(runner.warm("p").await, 2);
}

/// In the incumbent, an image that could not be looked up was dropped from the claim, and the stage ran on another one.
#[tokio::test]
async fn defect_18_an_unknown_image_is_not_replaced_by_another() {
    let world = World::new();
    let runner = world.runner("a", &config(6, vec![flavor("p", 2)])).await;
    runner.settle().await;
    let image = Request { image: "missing".into(), ..plain() };
    assert_eq!(runner.ask("s", image).await.state, StageState::Waiting);
    runner.go_through(29 * MINUTE_MS, MINUTE_MS).await;
    let stage = runner.stage("s").await.expect("a stage");
    assert_eq!((stage.state, stage.instance), (StageState::Waiting, None));
    assert!(
        matches!(&stage.why, Some(WaitReason::LaunchesFail { evidence, .. }) if evidence.contains("there is no image `missing`")),
        "{:?}",
        stage.why
    );
    assert_eq!(runner.warm("p").await, 2, "what is warm has another image");
    runner.go_through(2 * MINUTE_MS, MINUTE_MS).await;
    let cause = runner.stage("s").await.and_then(|stage| stage.cause).expect("an end");
    assert_eq!(cause.code, Code::NoCapacity);
    assert!(cause.evidence.contains("there is no image `missing`"), "{cause}");
    others_go_on(&runner).await;
}

async fn others_go_on(runner: &Runner) {
    runner.serve("other").await;
    runner.go_through(20 * MINUTE_MS, MINUTE_MS).await;
    assert_eq!(runner.warm("p").await, 2);
}
