//! The number of instances that are created, their places, and which of them sleep.

use kiln_pool::plan::{Streak, Target, room_key};
use kiln_pool::schedule::Schedule;

use crate::world::{NOW, World, site};

#[test]
fn an_empty_pool_is_filled_to_its_target_and_never_over_its_limit() {
    World::new(&[("a", 2, 10)]).check(
        "create a img: too few instances are warm
         create a img: too few instances are warm",
    );
    World::new(&[("a", 5, 2)])
        .with(&["i1 claimed stage=s", "s assigned instance=i1 set_up"])
        .check("create a img: too few instances are warm");
    World::new(&[("a", 1, 10)]).with(&["i1 booting retry=5"]).check("");
}

#[test]
fn launches_without_an_outcome_and_ends_under_way_count_towards_the_limit() {
    World::new(&[("a", 3, 3)])
        .with(&["i1 launching unseen=1 retry=9", "i2 terminating retry=9", "i3 intended retry=9"])
        .check("");
}

#[test]
fn failures_pause_launches_then_one_is_tried_and_stages_turn_elsewhere() {
    World::new(&[("a", 3, 9)]).fails("a", 1, 4).check("");
    World::new(&[("a", 2, 9)])
        .fails("a", 1, 6)
        .check("create a img: too few instances are warm\ncreate a img: too few instances are warm");
    World::new(&[("a", 3, 9)]).fails("a", 3, 21).check("create a img: too few instances are warm");
    World::new(&[("a", 3, 9)]).fails("a", 3, 21).with(&["i1 booting retry=5"]).check("");
    World::new(&[("a", 0, 9), ("b", 0, 9)])
        .fails("a", 1, 1)
        .with(&["s waiting pool=a,b"])
        .check("create b img: a stage waits for it\nexplain s: b: an instance starts");
    World::new(&[("a", 0, 9)])
        .fails("a", 4, 1)
        .with(&["s waiting"])
        .check("explain s: a: the last 4 launches failed: no capacity");
}

#[test]
fn schedules_change_the_target() {
    let schedule = |warm| Schedule::new("* * * * *", "UTC", 3600, warm, None).expect("a schedule");
    World::new(&[("a", 5, 9)])
        .change(|w| w.config.pools.get_mut("a").expect("a").schedules.push(schedule(1)))
        .check("create a img: too few instances are warm");
    World::new(&[("a", 5, 9)])
        .change(|w| w.config.pools.get_mut("a").expect("a").schedules.push(schedule(0)))
        .check("");
}

fn sleeps(w: &mut World) {
    w.config.pools.get_mut("a").expect("a").flavors[0].hibernate = true;
    w.view().can_hibernate = true;
}

#[test]
fn a_pool_that_sleeps_wakes_for_stages() {
    World::new(&[("a", 1, 9)])
        .with(&["i1 ready"])
        .change(sleeps)
        .check("hibernate i1: its pool keeps warm instances asleep");
    World::new(&[("a", 1, 9)]).with(&["i1 hibernated"]).change(sleeps).check("");
    World::new(&[("a", 1, 9)]).with(&["i1 hibernated", "s waiting"]).change(sleeps).check(
        "resume i1: a stage waits for it
             create a img: too few instances are warm
             explain s: a: an instance starts",
    );
}

#[test]
fn what_falls_asleep_just_now_serves_nobody_soon() {
    World::new(&[("a", 1, 9)]).with(&["i1 hibernating retry=9", "s waiting why=x"]).change(sleeps).check(
        "create a img: a stage waits for it
         explain s: a: an instance starts",
    );
}

#[test]
fn targets_say_how_many_are_wanted_awake_and_asleep() {
    let world = World::new(&[("a", 2, 9)]).with(&["s waiting"]);
    assert_eq!(world.plan().targets["a"], Target { awake: 3, asleep: 0 });
    let world = world.change(sleeps);
    assert_eq!(world.plan().targets["a"], Target { awake: 1, asleep: 2 });
    assert!(world.change(|w| w.leases.clear()).plan().targets.is_empty(), "another runner sizes it");
}

#[test]
fn batches_are_as_large_as_the_site_takes_them_and_sites_limit_launches() {
    let batches = |w: &mut World| w.view().batch_max = 3;
    World::new(&[("a", 4, 9)]).change(batches).check(
        "create a img x3: too few instances are warm
         create a img: too few instances are warm",
    );
    let two_at_once = |w: &mut World| w.view().launches_at_once = Some(2);
    World::new(&[("a", 4, 9)])
        .with(&["i1 launching unseen=1 retry=9"])
        .change(two_at_once)
        .check("create a img: too few instances are warm");
}

#[test]
fn a_place_without_room_is_left_for_the_next_one() {
    let places = |w: &mut World| {
        let places = ["east", "west"].map(str::to_owned).to_vec();
        w.config.pools.get_mut("a").expect("a").flavors[0].places = places;
    };
    let full = |place: &'static str| {
        move |w: &mut World| {
            let streak = Streak { failures: 1, at_ms: NOW - 1_000, evidence: format!("no room in {place}") };
            w.streaks.insert(room_key(&site(), place), streak);
        }
    };
    let world = || World::new(&[("a", 1, 9)]).change(places);
    world().check("create a img in east: too few instances are warm");
    world().change(full("east")).check("create a img in west: too few instances are warm");
    world()
        .change(full("east"))
        .change(full("west"))
        .with(&["s waiting"])
        .check("explain s: a: the last launch failed: no room in west");
}

#[test]
fn flavors_share_the_one_try_in_a_place_that_had_no_room() {
    let half_open = |w: &mut World| {
        for name in ["a", "b"] {
            w.config.pools.get_mut(name).expect("a pool").flavors[0].places = vec!["east".to_owned()];
        }
        let streak = Streak { failures: 3, at_ms: NOW - 3_600_000, evidence: "no room".to_owned() };
        w.streaks.insert(room_key(&site(), "east"), streak);
    };
    World::new(&[("a", 2, 9), ("b", 2, 9)]).change(half_open).check("create a img in east: too few instances are warm");
}
