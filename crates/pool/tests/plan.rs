//! What is planned, as tables: a small world in words, and the actions that follow.
//!
//! ```text
//! instance: ID STATE [since=-S] [made=-S] [flavor=F] [image=I] [stage=S] [held=S] [unseen=S] [silent=S] [dead] [old] [other]
//! stage:    ID waiting|assigned [instance=I] [age=S] [pool=P,Q] [image=I] [set_up] [run=S]
//! ```

use std::collections::{BTreeMap, BTreeSet};

use kiln_pool::config::{Ages, Launch};
use kiln_pool::plan::{
    Action, Health, Input, Listing, Noticed, Seen, SiteView, Streak, Target, WaitReason, plan, pool_lease, queue_lease,
    room_key, streak_key, sweep_lease,
};
use kiln_pool::schedule::Schedule;
use kiln_pool::{
    Candidate, Config, End, EndKind, Flavor, Instance, InstanceId, Life, Pool, SiteId, Stage, StageId, StageState,
    State, Timing,
};

const NOW: i64 = 1_790_000_000_000;
/// The uptime at which the listing was asked for.
const ASKED: i64 = 1_000_000;

fn leases_of(pool: &str) -> [String; 2] {
    [queue_lease(pool), pool_lease(pool, &site())]
}

fn site() -> SiteId {
    SiteId::new("d")
}

struct World {
    config: Config,
    instances: Vec<Instance>,
    stages: Vec<Stage>,
    streaks: BTreeMap<String, Streak>,
    sites: BTreeMap<SiteId, SiteView>,
    closed: BTreeMap<SiteId, String>,
    noticed: Noticed,
    ends: BTreeMap<InstanceId, End>,
    unreadable: BTreeSet<InstanceId>,
    health: BTreeMap<InstanceId, Health>,
    leases: BTreeSet<String>,
    missing_ms: BTreeMap<String, i64>,
    drained: BTreeSet<String>,
    uptime_ms: i64,
    watched_ms: i64,
}

fn launch() -> Launch {
    Launch { image: "img".to_owned(), cpus: 1, memory_mib: 512, disk_gib: 8, ..Launch::default() }
}

fn pool(name: &str, warm: u32, limit: u32) -> Pool {
    let flavor = Flavor {
        key: name.to_owned(),
        variant: None,
        tenant: None,
        resource_class: None,
        nested_virtualization: false,
        warm,
        limit: None,
        hibernate: false,
        places: Vec::new(),
        launch: launch(),
    };
    Pool {
        name: name.to_owned(),
        driver: "d".to_owned(),
        site: site(),
        os: "linux".to_owned(),
        arch: "amd64".to_owned(),
        limit,
        flavors: vec![flavor],
        schedules: Vec::new(),
        ages: Ages::default(),
        fallbacks: Vec::new(),
        imds: false,
    }
}

impl World {
    fn new(pools: &[(&str, u32, u32)]) -> Self {
        let pools: BTreeMap<String, Pool> = pools.iter().map(|(n, w, l)| ((*n).to_owned(), pool(n, *w, *l))).collect();
        let mut leases: BTreeSet<String> = pools.keys().flat_map(|pool| leases_of(pool)).collect();
        leases.insert(sweep_lease(&site()));
        let view = SiteView { listing: Some(Listing { asked_ms: ASKED, ..Listing::default() }), ..SiteView::default() };
        Self {
            config: Config { pools, timing: Timing::default() },
            instances: Vec::new(),
            stages: Vec::new(),
            streaks: BTreeMap::new(),
            sites: BTreeMap::from([(site(), view)]),
            closed: BTreeMap::new(),
            noticed: Noticed::default(),
            ends: BTreeMap::new(),
            unreadable: BTreeSet::new(),
            health: BTreeMap::new(),
            leases,
            missing_ms: BTreeMap::new(),
            drained: BTreeSet::new(),
            uptime_ms: 365 * 24 * 3_600_000,
            watched_ms: 365 * 24 * 3_600_000,
        }
    }

    fn with(mut self, lines: &[&str]) -> Self {
        for line in lines {
            let words: Vec<&str> = line.split_whitespace().collect();
            if words[1] == "waiting" || words[1] == "assigned" { self.stage(&words) } else { self.instance(&words) }
        }
        self
    }

    fn instance(&mut self, words: &[&str]) {
        let value = |key: &str| words.iter().find_map(|w| w.strip_prefix(key)?.strip_prefix('='));
        let seconds = |key: &str| value(key).map(|v| v.parse::<i64>().expect("seconds") * 1000);
        let has = |word: &str| words.contains(&word);
        let id = InstanceId::new(words[0]);
        let state = State::from_word(words[1]).expect("a state");
        let made = NOW - seconds("made").or(seconds("since")).unwrap_or(10_000);
        let flavor = value("flavor").unwrap_or("a");
        let digest = if has("old") { "0".to_owned() } else { launch().digest() };
        let seen = !matches!(state, State::Intended) && value("unseen").is_none();
        if seen {
            let life = match state {
                _ if has("dead") => Life::Ended(End::new(EndKind::Unknown, "it is dead")),
                State::Hibernated => Life::Asleep,
                _ => Life::Running,
            };
            self.listing()
                .seen
                .insert(id.clone(), Seen { life, launched: !has("hidden"), addressed: !has("unaddressed") });
        } else if let Some(unseen) = seconds("unseen") {
            self.listing().unseen_ms.insert(id.clone(), unseen);
        }
        if let Some(silent) = seconds("silent") {
            self.health.insert(id.clone(), Health { answered_ms: None, failing_since_ms: Some(NOW - silent) });
        }
        self.instances.push(Instance {
            id,
            pool: flavor.split('/').next().unwrap_or_default().to_owned(),
            flavor: flavor.to_owned(),
            site: site(),
            place: value("place").unwrap_or_default().to_owned(),
            token: words[0].to_owned(),
            batch_index: 0,
            batch_size: 1,
            image: value("image").unwrap_or("img").to_owned(),
            digest,
            state,
            generation: 7,
            runner: if has("other") { "other" } else { "me" }.to_owned(),
            stage: value("stage").map(StageId::from),
            created_ms: made,
            since_ms: NOW - seconds("since").unwrap_or(10_000),
            ready_ms: None,
            claimed_ms: None,
            deadline_ms: None,
            hold_until_ms: seconds("held").map(|held| NOW + held),
            retry_ms: seconds("retry").map(|retry| NOW + retry),
            attempts: 0,
            address: (!has("unaddressed")).then(|| "10.0.0.1:9079".parse().expect("an address")),
            server_name: None,
            needs_claim: true,
            cause: None,
        });
    }

    fn view(&mut self) -> &mut SiteView {
        self.sites.get_mut(&site()).expect("the site")
    }

    fn listing(&mut self) -> &mut Listing {
        self.view().listing.as_mut().expect("a listing")
    }

    fn stage(&mut self, words: &[&str]) {
        let value = |key: &str| words.iter().find_map(|w| w.strip_prefix(key)?.strip_prefix('='));
        let seconds = |key: &str| value(key).map(|v| v.parse::<i64>().expect("seconds") * 1000);
        let pools: Vec<&str> = value("pool").unwrap_or("a").split(',').collect();
        let image = value("image").unwrap_or("img");
        let candidate = |pool: &&str| Candidate {
            pool: pool.split('/').next().unwrap_or_default().to_owned(),
            flavor: (*pool).to_owned(),
            image: image.to_owned(),
        };
        let created_ms = NOW - seconds("age").unwrap_or(1_000);
        self.stages.push(Stage {
            id: StageId::new(words[0]),
            pool: pools[0].split('/').next().unwrap_or_default().to_owned(),
            candidates: pools.iter().map(candidate).collect(),
            account: String::new(),
            state: if words[1] == "waiting" { StageState::Waiting } else { StageState::Assigned },
            generation: 3,
            instance: value("instance").map(InstanceId::from),
            created_ms,
            wait_until_ms: created_ms + 1_800_000,
            run_ms: seconds("run").unwrap_or(86_400_000),
            assigned_ms: Some(created_ms),
            set_up: words.contains(&"set_up"),
            attempts: 0,
            why: value("why").map(|flavor| WaitReason::NotInPoolFile { flavor: flavor.to_owned() }),
            cause: None,
            ended_ms: None,
        });
    }

    fn fails(mut self, flavor: &str, failures: u32, ago_s: i64) -> Self {
        let streak = Streak { failures, at_ms: NOW - ago_s * 1000, evidence: "no capacity".to_owned() };
        self.streaks.insert(streak_key(flavor, "img"), streak);
        self
    }

    fn change(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }

    fn plan(&self) -> kiln_pool::plan::Plan {
        plan(&Input {
            now_ms: NOW,
            uptime_ms: self.uptime_ms,
            watched_ms: self.watched_ms,
            me: "me",
            config: &self.config,
            instances: &self.instances,
            stages: &self.stages,
            streaks: &self.streaks,
            sites: &self.sites,
            closed: &self.closed,
            noticed: &self.noticed,
            ends: &self.ends,
            unreadable: &self.unreadable,
            health: &self.health,
            busy: &BTreeSet::new(),
            leases: &self.leases,
            drained: &self.drained,
            missing_ms: &self.missing_ms,
        })
    }

    /// Each action as `NAME SUBJECT: REASON`, `create` as `create FLAVOR IMAGE [in PLACE] [xCOUNT]`.
    #[track_caller]
    fn check(&self, expect: &str) {
        let line = |planned: &kiln_pool::plan::Planned| {
            let action = &planned.action;
            let subject = action.instance().map(ToString::to_string).or(action.stage().map(ToString::to_string));
            let subject = subject.unwrap_or_else(|| match action {
                Action::Create { candidate, place, count } => {
                    let place = if place.is_empty() { String::new() } else { format!(" in {place}") };
                    let times = if *count == 1 { String::new() } else { format!(" x{count}") };
                    format!("{} {}{place}{times}", candidate.flavor, candidate.image)
                }
                _ => String::new(),
            });
            format!("{} {subject}: {}", action.name(), planned.reason)
        };
        let got: Vec<String> = self.plan().actions.iter().map(line).collect();
        let want: Vec<&str> = expect.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        assert_eq!(got, want);
    }
}

#[test]
fn an_empty_pool_is_filled_to_its_target_and_never_over_its_limit() {
    World::new(&[("a", 2, 10)]).check(
        "create a img: fewer are warm than are wanted
         create a img: fewer are warm than are wanted",
    );
    World::new(&[("a", 5, 2)])
        .with(&["i1 claimed stage=s", "s assigned instance=i1 set_up"])
        .check("create a img: fewer are warm than are wanted");
    World::new(&[("a", 1, 10)]).with(&["i1 booting retry=5"]).check("");
}

#[test]
fn launches_without_an_outcome_and_ends_under_way_count_towards_the_limit() {
    World::new(&[("a", 3, 3)])
        .with(&["i1 launching unseen=1 retry=9", "i2 terminating retry=9", "i3 intended retry=9"])
        .check("");
}

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
        // The failure just found counts, so there is a pause.
        "terminate i1: launch_timeout: no answer after 0 tries",
    );
    World::new(&[("a", 1, 5)]).with(&["i1 launching dead"]).check(
        // The failure just found counts, so there is a pause.
        "terminate i1: launch_failed: it is dead",
    );
}

#[test]
fn what_another_runner_works_on_is_left_alone_until_it_was_not_touched_for_a_minute() {
    World::new(&[("a", 1, 5)]).with(&["i1 intended other since=59"]).check("");
    World::new(&[("a", 1, 5)])
        .with(&["i1 intended other since=61"])
        .check("launch i1: its row is written and nobody launches it");
}

#[test]
fn an_instance_without_a_row_is_an_orphan() {
    let orphan = |w: &mut World| {
        w.listing().seen.insert("x".into(), Seen { life: Life::Running, launched: true, addressed: true });
    };
    World::new(&[("a", 0, 5)])
        .change(orphan)
        .check("destroy_orphan x: its site shows it and no row knows it, or its row says that it is gone");
    // Only the holder of the driver's lease sweeps.
    World::new(&[("a", 0, 5)]).change(orphan).change(|w| w.leases = leases_of("a").into()).check("");
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

/// What could not be written down while the store failed is no sign that nothing happened.
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
    // Agents are asked all the while.
    world().with(&["i1 ready silent=61"]).change(blind).change(|w| w.config.timing.surplus_after_ms = i64::MAX).check(
        "terminate i1: unreachable: its agent has not answered for 61 s
             create a img: fewer are warm than are wanted",
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
        .check("terminate i1: setup_failed: its stage goes on without it");
    // A pool that is drained or gone lets its busy instances finish.
    world().with(&["i1 claimed stage=s", stage]).change(|w| assert!(w.drained.insert("a".to_owned()))).check("");
}

#[test]
fn stages_end_with_their_time_and_with_their_instance() {
    let world = || World::new(&[("a", 0, 5)]);
    world()
        .with(&["i1 claimed stage=s", "s assigned instance=i1 set_up age=61 run=60"])
        .check("end_stage s: its time of 60 s was up");
    world()
        .with(&["i1 claimed stage=s", "s assigned instance=i1 age=901"])
        .check("end_stage s: nobody came for it in the 901 s since it has an instance");
    world()
        .with(&["i1 terminating retry=9 stage=s", "s assigned instance=i1 set_up"])
        .check("lose_stage s: its instance does not serve it any more");
    world().with(&["s waiting age=1801 why=full"]).check("end_stage s: its waiting time was up");
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
             explain s1: waits for a: an instance starts",
        );
    // One that is held is nobody's.
    World::new(&[("a", 0, 5)]).with(&["i1 ready held=60", "s1 waiting why=x"]).check(
        "create a img: a stage waits for it
             explain s1: waits for a: an instance starts",
    );
}

#[test]
fn a_full_pool_makes_room_and_a_busy_one_turns_to_its_fallback() {
    World::new(&[("a", 0, 1), ("b", 0, 5)])
        .with(&["i1 claimed stage=x", "x assigned instance=i1 set_up", "s waiting pool=a,b"])
        .check("create b img: a stage waits for it\nexplain s: waits for b: an instance starts");
    World::new(&[("a", 1, 1)]).with(&["i1 ready since=5", "s waiting image=special"]).check(
        "terminate i1: made_room: the pool is full and a stage waits for a
             explain s: waits for a: the limit of 1 of pool a is reached",
    );
    World::new(&[("a", 0, 1)])
        .with(&["i1 claimed stage=x", "x assigned instance=i1 set_up", "s waiting"])
        .check("explain s: waits for a: the limit of 1 of pool a is reached");
}

#[test]
fn a_full_flavor_ends_only_its_own_and_its_stages_turn_to_their_fallback() {
    let large = |w: &mut World| {
        let pool = w.config.pools.get_mut("a").expect("a");
        let limit = Some(1);
        pool.flavors.push(Flavor { key: "a/large".to_owned(), limit, warm: 0, ..pool.flavors[0].clone() });
    };
    // The pool is full as well, and an end of the warm one would help nobody.
    let full = ["i1 ready", "i2 claimed flavor=a/large stage=x", "x assigned instance=i2 set_up"];
    let waits = "explain s: waits for a/large: its limit of 1 is reached";
    let world = || World::new(&[("a", 1, 3), ("b", 0, 5)]).change(large).with(&full);
    world().with(&["s waiting pool=a/large"]).check(waits);
    world()
        .with(&["s waiting pool=a/large"])
        .change(|w| w.config.pools.get_mut("a").expect("a").limit = 2)
        .check("explain s: waits for a/large: the limit of 2 of pool a is reached");
    world()
        .with(&["s waiting pool=a/large,b"])
        .check("create b img: a stage waits for it\nexplain s: waits for b: an instance starts");
    // As many as it may still have.
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
             explain s: waits for a/large: the limit of 4 of pool a is reached",
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
            "explain s: waits for a/large: the limit of 4 of pool a is reached
             explain s2: waits for a/large: the limit of 4 of pool a is reached",
        );
    // One of its own with another image gives up its place.
    World::new(&[("a", 0, 9)])
        .change(large)
        .with(&["i1 ready flavor=a/large", "s waiting pool=a/large image=special"])
        .check(
            "terminate i1: made_room: the pool is full and a stage waits for a/large
         explain s: waits for a/large: its limit of 1 is reached",
        );
}

#[test]
fn what_is_held_makes_no_room() {
    World::new(&[("a", 0, 1), ("b", 0, 5)])
        .with(&["i1 ready held=60", "s waiting pool=a,b"])
        .check("create b img: a stage waits for it\nexplain s: waits for b: an instance starts");
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
    world().change(gone(60)).check("explain s: the pool file does not have gone any more");
    world().change(gone(61)).check("end_stage s: the pool file does not have gone any more");
    world().check("");
}

#[test]
fn failures_pause_launches_then_one_is_tried_and_stages_turn_elsewhere() {
    World::new(&[("a", 3, 9)]).fails("a", 1, 4).check("");
    World::new(&[("a", 2, 9)])
        .fails("a", 1, 6)
        .check("create a img: fewer are warm than are wanted\ncreate a img: fewer are warm than are wanted");
    World::new(&[("a", 3, 9)]).fails("a", 3, 21).check("create a img: fewer are warm than are wanted");
    World::new(&[("a", 3, 9)]).fails("a", 3, 21).with(&["i1 booting retry=5"]).check("");
    World::new(&[("a", 0, 9), ("b", 0, 9)])
        .fails("a", 1, 1)
        .with(&["s waiting pool=a,b"])
        .check("create b img: a stage waits for it\nexplain s: waits for b: an instance starts");
    World::new(&[("a", 0, 9)])
        .fails("a", 4, 1)
        .with(&["s waiting"])
        .check("explain s: waits for a: the last 4 launches failed: no capacity");
}

#[test]
fn what_nobody_wants_ends() {
    let world = || World::new(&[("a", 1, 9)]);
    world()
        .with(&["i1 ready since=61", "i2 ready since=5"])
        .check("terminate i1: surplus: 2 are there and 1 are wanted");
    world().with(&["i1 ready since=59", "i2 ready since=5"]).check("");
    world().with(&["i1 ready old"]).check(
        "terminate i1: outdated: the pool file describes another instance now
         create a img: fewer are warm than are wanted",
    );
    world().with(&["i1 ready made=259201"]).check(
        "terminate i1: free_max_age: nobody claimed it for 259201 s
         create a img: fewer are warm than are wanted",
    );
    world().with(&["i1 ready flavor=gone"]).change(|w| w.leases.extend(leases_of("gone"))).check(
        "terminate i1: drained: the pool file does not have its pool and flavor any more
         create a img: fewer are warm than are wanted",
    );
    world()
        .with(&["i1 ready"])
        .change(|w| assert!(w.drained.insert("a".to_owned())))
        .check("terminate i1: drained: its pool is drained");
    world().with(&["i1 ready held=60 old"]).check("create a img: fewer are warm than are wanted");
}

#[test]
fn nothing_is_concluded_from_a_listing_that_failed() {
    let world = World::new(&[("a", 1, 9)]).with(&["i1 ready unseen=9999"]);
    world.check(
        "terminate i1: vanished: no listing has shown it for 9999 s
         create a img: fewer are warm than are wanted",
    );
    let failed = world.change(|w| w.view().listing = None);
    failed.check("");
}

#[test]
fn schedules_change_the_target() {
    let schedule = |warm| Schedule::new("* * * * *", "UTC", 3600, warm, None).expect("a schedule");
    World::new(&[("a", 5, 9)])
        .change(|w| w.config.pools.get_mut("a").expect("a").schedules.push(schedule(1)))
        .check("create a img: fewer are warm than are wanted");
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
             create a img: fewer are warm than are wanted
             explain s: waits for a: an instance starts",
    );
}

#[test]
fn what_falls_asleep_just_now_serves_nobody_soon() {
    World::new(&[("a", 1, 9)]).with(&["i1 hibernating retry=9", "s waiting why=x"]).change(sleeps).check(
        "create a img: a stage waits for it
         explain s: waits for a: an instance starts",
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
fn a_listing_says_nothing_about_a_row_that_changed_since() {
    let changed = |at: i64| move |w: &mut World| w.noticed.changed_ms.extend([("i1".into(), at)]);
    let world = || World::new(&[("a", 0, 9)]).with(&["i1 ready dead"]);
    world().change(changed(ASKED - 1)).check("terminate i1: died: it is dead");
    world().change(changed(ASKED)).check("");
    // An orphan is what a listing shows that was asked for after its row went.
    let went = |at: i64| {
        move |w: &mut World| {
            w.listing().seen.insert("x".into(), Seen { life: Life::Running, launched: true, addressed: true });
            w.noticed.went_ms.insert("x".into(), at);
        }
    };
    let orphan = "destroy_orphan x: its site shows it and no row knows it, or its row says that it is gone";
    World::new(&[]).change(went(ASKED - 1)).check(orphan);
    World::new(&[]).change(went(ASKED)).check("");
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
fn what_a_driver_tells_is_the_cause() {
    let told = |kind| move |w: &mut World| drop(w.ends.insert("i1".into(), End::new(kind, "as it said")));
    let world = || World::new(&[("a", 0, 9)]).with(&["i1 claimed stage=s", "s assigned instance=i1 set_up"]);
    world().change(told(EndKind::Crashed)).check("terminate i1: died: as it said");
    world().change(told(EndKind::Interrupted)).check("terminate i1: interrupted: as it said");
    world().change(told(EndKind::DiskFull)).check("terminate i1: disk_full: as it said");
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
        .check("explain s: waits for a: its site d is not open here: no such region");
}

#[test]
fn addresses_may_come_late() {
    World::new(&[("a", 1, 9)]).with(&["i1 booting unaddressed"]).check("");
    World::new(&[("a", 1, 9)])
        .with(&["i1 booting unaddressed"])
        .change(|w| w.listing().seen.get_mut(&"i1".into()).expect("i1").addressed = true)
        .check("adopt i1: its site tells its address");
}

#[test]
fn batches_are_as_large_as_the_site_takes_them_and_sites_limit_launches() {
    let batches = |w: &mut World| w.view().batch_max = 3;
    World::new(&[("a", 4, 9)]).change(batches).check(
        "create a img x3: fewer are warm than are wanted
         create a img: fewer are warm than are wanted",
    );
    let two_at_once = |w: &mut World| w.view().launches_at_once = Some(2);
    World::new(&[("a", 4, 9)])
        .with(&["i1 launching unseen=1 retry=9"])
        .change(two_at_once)
        .check("create a img: fewer are warm than are wanted");
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
    // A listing of before the row changed does not tell.
    broken().change(|w| w.noticed.changed_ms.extend([("i1".into(), ASKED)])).check("");
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
    world().check("create a img in east: fewer are warm than are wanted");
    world().change(full("east")).check("create a img in west: fewer are warm than are wanted");
    world()
        .change(full("east"))
        .change(full("west"))
        .with(&["s waiting"])
        .check("explain s: waits for a: the last 1 launches failed: no room in west");
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
    World::new(&[("a", 2, 9), ("b", 2, 9)])
        .change(half_open)
        .check("create a img in east: fewer are warm than are wanted");
}

#[test]
fn another_runners_pools_are_left_to_it() {
    World::new(&[("a", 1, 9)])
        .with(&["i1 terminating", "i2 ready dead", "s waiting"])
        .change(|w| w.leases.clear())
        .check("");
}
