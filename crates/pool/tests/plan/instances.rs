//! Instances that have rows.

use kiln_pool::plan::{Health, Seen};
use kiln_pool::{Cause, Code, End, EndKind, Life};

use crate::world::{ASKED, World, leases_of};

#[test]
fn a_lost_launch_answer_is_adopted_and_an_unknown_outcome_is_asked_again() {
    World::new(&[("a", 0, 5)]).with(&["i1 launching"]).check(
        "adopt i1: its site shows it; the answer to its launch was lost
",
    );
    World::new(&[("a", 1, 5)]).with(&["i1 launching unseen=10"]).check("launch i1: its launch has no outcome yet");
    // The clock was ahead by hours when the last try failed.
    World::new(&[("a", 1, 5)])
        .with(&["i1 launching unseen=10 retry=7200"])
        .check("launch i1: its launch has no outcome yet");
    World::new(&[("a", 1, 5)]).with(&["i1 launching since=601 unseen=601"]).check(
        // The failure that this plan finds counts, so there is a pause.
        "terminate i1: launch_timeout: no answer after 0 tries",
    );
    World::new(&[("a", 1, 5)]).with(&["i1 launching dead"]).check(
        // The failure that this plan finds counts, so there is a pause.
        "terminate i1: launch_failed: it is dead",
    );
}

#[test]
fn what_another_runner_works_on_is_left_alone_until_it_was_not_touched_for_a_minute() {
    World::new(&[("a", 1, 5)]).with(&["i1 intended other since=59"]).check("");
    World::new(&[("a", 1, 5)])
        .with(&["i1 intended other since=61"])
        .check("launch i1: its row is written and its launch is due");
}

#[test]
fn silence_counts_from_our_own_start() {
    let ready = ["i1 ready silent=61"];
    World::new(&[("a", 0, 5)])
        .with(&ready)
        .change(|w| w.config.timing.surplus_after_ms = i64::MAX)
        .check("terminate i1: unreachable: its agent has not answered for 61 s");
    let young = |w: &mut World| {
        w.uptime_ms = 59_000;
        w.config.timing.surplus_after_ms = i64::MAX;
    };
    World::new(&[("a", 0, 5)]).with(&ready).change(young).check("");
}

/// A row without an event proves nothing when the event could not be written because the store failed.
#[test]
fn what_a_row_does_not_say_counts_from_when_it_could() {
    let blind = |w: &mut World| w.watched_ms = 59_000;
    let world = || World::new(&[("a", 1, 5)]);
    for row in ["i1 booting since=100000 retry=5", "i1 launching since=100000 unseen=100000 retry=5"] {
        world().with(&[row]).change(blind).check("");
        assert_eq!(world().with(&[row]).plan().actions.len(), 1, "{row}");
    }
    let unattended = ["i1 claimed stage=s", "s assigned instance=i1 age=901"];
    World::new(&[("a", 0, 5)]).with(&unattended).change(blind).check("");
    // Agents are asked all the while, so silence counts.
    world().with(&["i1 ready silent=61"]).change(blind).change(|w| w.config.timing.surplus_after_ms = i64::MAX).check(
        "terminate i1: unreachable: its agent has not answered for 61 s
             create a img: too few instances are warm",
    );
}

#[test]
fn a_claimed_instance_ends_only_when_it_is_really_lost_or_its_stage_is() {
    let stage = "s assigned instance=i1 set_up";
    let world = || World::new(&[("a", 0, 5)]);
    world().with(&["i1 claimed stage=s", stage]).check("");
    world().with(&["i1 claimed stage=s unseen=9999", stage]).check("");
    world().with(&["i1 claimed stage=s silent=9999", stage]).check("");
    world()
        .with(&["i1 claimed stage=s silent=301 unseen=301", stage])
        .check("terminate i1: vanished: no listing has shown it for 301 s");
    world().with(&["i1 claimed stage=s dead", stage]).check("terminate i1: died: it is dead");
    world().with(&["i1 claimed stage=s"]).check("release i1: its stage ended");
    world().with(&["i1 claimed stage=s held=60"]).check("");
    world().with(&["i1 claimed stage=s made=604801 held=60"]).check("terminate i1: max_age: it is 604801 s old");
    world()
        .with(&["i1 claimed stage=s", "i2 claimed stage=s", "s assigned instance=i2 set_up"])
        .check("terminate i1: setup_failed: its stage continues without it");
    // A drained or missing pool lets its busy instances finish.
    world().with(&["i1 claimed stage=s", stage]).change(|w| assert!(w.drained.insert("a".to_owned()))).check("");
}

#[test]
fn what_nobody_wants_ends() {
    let world = || World::new(&[("a", 1, 9)]);
    world().with(&["i1 ready since=61", "i2 ready since=5"]).check("terminate i1: surplus: 2 exist and 1 are wanted");
    world().with(&["i1 ready since=59", "i2 ready since=5"]).check("");
    world().with(&["i1 ready old"]).check(
        "terminate i1: outdated: the pool file now describes a different instance
         create a img: too few instances are warm",
    );
    world().with(&["i1 ready made=259201"]).check(
        "terminate i1: free_max_age: nobody claimed it for 259201 s
         create a img: too few instances are warm",
    );
    world().with(&["i1 ready flavor=gone"]).change(|w| w.leases.extend(leases_of("gone"))).check(
        "terminate i1: drained: its pool or flavor is no longer in the pool file
         create a img: too few instances are warm",
    );
    world()
        .with(&["i1 ready"])
        .change(|w| assert!(w.drained.insert("a".to_owned())))
        .check("terminate i1: drained: its pool is drained");
    world().with(&["i1 ready held=60 old"]).check("create a img: too few instances are warm");
}

#[test]
fn nothing_is_concluded_from_a_listing_that_failed() {
    let world = World::new(&[("a", 1, 9)]).with(&["i1 ready unseen=9999"]);
    world.check(
        "terminate i1: vanished: no listing has shown it for 9999 s
         create a img: too few instances are warm",
    );
    let failed = world.change(|w| w.view().listing = None);
    failed.check("");
}

#[test]
fn a_listing_says_nothing_about_a_row_that_changed_since() {
    let changed = |at: i64| move |w: &mut World| w.noticed.changed_ms.extend([("i1".into(), at)]);
    let world = || World::new(&[("a", 0, 9)]).with(&["i1 ready dead"]);
    world().change(changed(ASKED - 1)).check("terminate i1: died: it is dead");
    world().change(changed(ASKED)).check("");
    // An instance is an orphan if a listing that was requested after its row went shows it.
    let went = |at: i64| {
        move |w: &mut World| {
            w.listing().seen.insert("x".into(), Seen { life: Life::Running, launched: true, addressed: true });
            w.noticed.went_ms.insert("x".into(), at);
        }
    };
    let orphan = "destroy_orphan x: its site shows it, but it has no row, or its row says that it is gone";
    World::new(&[]).change(went(ASKED - 1)).check(orphan);
    World::new(&[]).change(went(ASKED)).check("");
}

#[test]
fn what_a_driver_tells_is_the_cause() {
    let told = |kind| move |w: &mut World| drop(w.ends.insert("i1".into(), End::new(kind, "as it said")));
    let world = || World::new(&[("a", 0, 9)]).with(&["i1 claimed stage=s", "s assigned instance=i1 set_up"]);
    world().change(told(EndKind::Crashed)).check("terminate i1: died: as it said");
    world().change(told(EndKind::Interrupted)).check("terminate i1: interrupted: as it said");
    world().change(told(EndKind::DiskFull)).check("terminate i1: disk_full: as it said");
}

#[test]
fn one_whose_agent_was_started_again_ends_unless_it_is_held() {
    let restarted = |w: &mut World| {
        let over = Some(Cause::new(Code::AgentRestarted, "as it said"));
        w.health.insert("i1".into(), Health { over, ..Health::default() });
    };
    let told = "terminate i1: agent_restarted: as it said";
    let world = |line| World::new(&[("a", 0, 9)]).with(&[line, "s assigned instance=i1 set_up"]).change(restarted);
    world("i1 claimed stage=s").check(told);
    world("i1 claimed stage=s held=60").check("");
    World::new(&[("a", 0, 9)]).with(&["i1 ready"]).change(restarted).check(told);
    World::new(&[("a", 0, 9)]).with(&["i1 ready held=60"]).change(restarted).check("");
}

#[test]
fn addresses_may_come_late() {
    World::new(&[("a", 1, 9)]).with(&["i1 booting unaddressed"]).check("");
    World::new(&[("a", 1, 9)])
        .with(&["i1 booting unaddressed"])
        .change(|w| w.listing().seen.get_mut(&"i1".into()).expect("i1").addressed = true)
        .check("adopt i1: its site reports its address");
}

#[test]
fn a_batch_of_which_some_have_ended_is_not_launched_again() {
    let batch = |w: &mut World| {
        for (index, row) in w.instances.iter_mut().enumerate() {
            (row.token, row.batch_index, row.batch_size) = ("t".to_owned(), u32::try_from(index).expect("few"), 2);
        }
    };
    let world = || World::new(&[("a", 0, 9)]).change(|w| w.config.timing.surplus_after_ms = i64::MAX);
    world()
        .with(&["i1 launching unseen=10", "i2 booting retry=9"])
        .change(batch)
        .check("launch i1: its launch has no outcome yet");
    let broken = || world().with(&["i1 launching unseen=10", "i2 terminating retry=9"]).change(batch);
    broken().check("terminate i1: launch_failed: others of its batch have ended, and its site does not show it");
    // A listing from before the row changed proves nothing.
    broken().change(|w| w.noticed.changed_ms.extend([("i1".into(), ASKED)])).check("");
}
