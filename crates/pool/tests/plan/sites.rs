//! Orphans, and sites that are not ours to judge.

use kiln_pool::plan::Seen;
use kiln_pool::{End, EndKind, Life};

use crate::world::{World, leases_of, site};

#[test]
fn an_instance_without_a_row_is_an_orphan() {
    let orphan = |w: &mut World| {
        w.listing().seen.insert("x".into(), Seen { life: Life::Running, launched: true, addressed: true });
    };
    World::new(&[("a", 0, 5)])
        .change(orphan)
        .check("destroy_orphan x: its site shows it, but it has no row, or its row says that it is gone");
    // Only the holder of the site's sweep lease ends orphans.
    World::new(&[("a", 0, 5)]).change(orphan).change(|w| w.leases = leases_of("a").into()).check("");
}

#[test]
fn only_what_needs_an_end_is_an_orphan() {
    let check = |life: Life, expected: bool| {
        let world = World::new(&[]).change(|w| {
            w.listing().seen.insert("x".into(), Seen { life: life.clone(), launched: false, addressed: false });
        });
        assert_eq!(world.plan().actions.len(), usize::from(expected), "{life:?}");
        let unreadable = world.change(|w| assert!(w.unreadable.insert("x".into())));
        assert_eq!(unreadable.plan().actions, [], "its row is there");
    };
    check(Life::Starting, true);
    check(Life::Running, true);
    check(Life::Stopping, true);
    check(Life::Asleep, true);
    check(Life::LeftOver, true);
    check(Life::Ending, false);
    check(Life::Ended(End::new(EndKind::PoweredOff, "")), false);
}

#[test]
fn a_site_that_is_not_open_here_keeps_its_rows() {
    let closed = |w: &mut World| {
        w.sites.clear();
        w.closed.insert(site(), "no such region".to_owned());
    };
    World::new(&[("a", 3, 9)])
        .with(&["i1 terminating", "i2 booting dead", "i3 claimed stage=x", "i4 launching", "s waiting"])
        .change(closed)
        .check("explain s: a: its site d is not open here: no such region");
}

#[test]
fn another_runners_pools_are_left_to_it() {
    World::new(&[("a", 1, 9)])
        .with(&["i1 terminating", "i2 ready dead", "s waiting"])
        .change(|w| w.leases.clear())
        .check("");
}
