//! Stages: their order, the reasons for which they wait, and their ends.

use kiln_pool::Flavor;
use kiln_pool::plan::WaitReason;

use crate::world::{World, leases_of};

#[test]
fn stages_end_with_their_time_and_with_their_instance() {
    let world = || World::new(&[("a", 0, 5)]);
    world()
        .with(&["i1 claimed stage=s", "s assigned instance=i1 set_up age=61 run=60"])
        .check("end_stage s: its time of 60 s ran out");
    world()
        .with(&["i1 claimed stage=s", "s assigned instance=i1 age=901"])
        .check("end_stage s: no caller came for it in the 901 s since it got an instance");
    world()
        .with(&["i1 terminating retry=9 stage=s", "s assigned instance=i1 set_up"])
        .check("lose_stage s: its instance no longer serves it");
    world().with(&["s waiting age=1801 why=full"]).check("end_stage s: its waiting time ran out");
}

#[test]
fn the_oldest_stage_gets_the_oldest_instance_and_the_rest_is_made() {
    World::new(&[("a", 0, 5)])
        .with(&[
            "i2 ready made=20 since=20",
            "i1 ready made=30 since=30",
            "s1 waiting age=1",
            "s3 waiting age=3",
            "s2 waiting age=2",
        ])
        .check(
            "assign s3: i1 is ready
             assign s2: i2 is ready
             create a img: a stage waits for it
             explain s1: a: an instance starts",
        );
    // A held instance is given to no stage.
    World::new(&[("a", 0, 5)]).with(&["i1 ready held=60", "s1 waiting why=x"]).check(
        "create a img: a stage waits for it
             explain s1: a: an instance starts",
    );
}

#[test]
fn a_full_pool_makes_room_and_a_busy_one_turns_to_its_fallback() {
    World::new(&[("a", 0, 1), ("b", 0, 5)])
        .with(&["i1 claimed stage=x", "x assigned instance=i1 set_up", "s waiting pool=a,b"])
        .check("create b img: a stage waits for it\nexplain s: b: an instance starts");
    World::new(&[("a", 1, 1)]).with(&["i1 ready since=5", "s waiting image=special"]).check(
        "terminate i1: made_room: the pool is full and a stage waits for a
             explain s: a: the limit of 1 of pool a is reached",
    );
    World::new(&[("a", 0, 1)])
        .with(&["i1 claimed stage=x", "x assigned instance=i1 set_up", "s waiting"])
        .check("explain s: a: the limit of 1 of pool a is reached");
}

#[test]
fn a_full_flavor_ends_only_its_own_and_its_stages_turn_to_their_fallback() {
    let large = |w: &mut World| {
        let pool = w.config.pools.get_mut("a").expect("a");
        let limit = Some(1);
        pool.flavors.push(Flavor { key: "a/large".to_owned(), limit, warm: 0, ..pool.flavors[0].clone() });
    };
    // The pool is full as well, and ending the warm instance would help nobody.
    let full = ["i1 ready", "i2 claimed flavor=a/large stage=x", "x assigned instance=i2 set_up"];
    let waits = "explain s: a/large: its limit of 1 is reached";
    let world = || World::new(&[("a", 1, 3), ("b", 0, 5)]).change(large).with(&full);
    world().with(&["s waiting pool=a/large"]).check(waits);
    world()
        .with(&["s waiting pool=a/large"])
        .change(|w| w.config.pools.get_mut("a").expect("a").limit = 2)
        .check("explain s: a/large: the limit of 2 of pool a is reached");
    world()
        .with(&["s waiting pool=a/large,b"])
        .check("create b img: a stage waits for it\nexplain s: b: an instance starts");
    // It creates as many as the flavor may still have.
    World::new(&[("a", 4, 4)])
        .change(large)
        .with(&[
            "i1 ready",
            "i2 ready",
            "i3 ready",
            "i4 ready",
            "s waiting pool=a/large",
            "s2 waiting pool=a/large why=x",
        ])
        .change(|w| {
            let (flavor, pool) = ("a/large".to_owned(), "a".to_owned());
            w.stages[1].why = Some(WaitReason::PoolLimit { flavor, pool, limit: 4 });
        })
        .check(
            "terminate i1: made_room: the pool is full and a stage waits for a/large
             explain s: a/large: the limit of 4 of pool a is reached",
        );
    World::new(&[("a", 4, 4)])
        .change(large)
        .with(&[
            "i1 ready",
            "i2 ready",
            "i3 ready",
            "i4 terminating retry=9",
            "s waiting pool=a/large",
            "s2 waiting pool=a/large",
        ])
        .check(
            "explain s: a/large: the limit of 4 of pool a is reached
             explain s2: a/large: the limit of 4 of pool a is reached",
        );
    // An instance of the same flavor with another image gives up its place.
    World::new(&[("a", 0, 9)])
        .change(large)
        .with(&["i1 ready flavor=a/large", "s waiting pool=a/large image=special"])
        .check(
            "terminate i1: made_room: the pool is full and a stage waits for a/large
         explain s: a/large: its limit of 1 is reached",
        );
}

#[test]
fn what_is_held_makes_no_room() {
    World::new(&[("a", 0, 1), ("b", 0, 5)])
        .with(&["i1 ready held=60", "s waiting pool=a,b"])
        .check("create b img: a stage waits for it\nexplain s: b: an instance starts");
}

#[test]
fn a_stage_whose_pool_went_from_the_file_is_told_and_ends_soon() {
    let gone = |seconds: i64| {
        move |w: &mut World| {
            w.leases.extend(leases_of("gone"));
            w.missing_ms.insert("gone".to_owned(), seconds * 1000);
        }
    };
    let stage = ["s waiting pool=gone age=900"];
    let world = || World::new(&[("a", 0, 9)]).with(&stage);
    world().change(gone(60)).check("explain s: gone is no longer in the pool file");
    world().change(gone(61)).check("end_stage s: gone is no longer in the pool file");
    world().check("");
}
