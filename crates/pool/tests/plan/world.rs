//! A small world described in words, and the actions that follow.
//!
//! ```text
//! instance: ID STATE [since=-S] [made=-S] [flavor=F] [image=I] [stage=S] [held=S] [unseen=S] [silent=S] [dead] [old] [other]
//! stage:    ID waiting|assigned [instance=I] [age=S] [pool=P,Q] [image=I] [set_up] [run=S]
//! ```

use std::collections::{BTreeMap, BTreeSet};

use kiln_pool::config::{Ages, Launch};
use kiln_pool::plan::{
    Action, Health, Input, Listing, Noticed, Seen, SiteView, Streak, WaitReason, plan, pool_lease, queue_lease,
    streak_key, sweep_lease,
};
use kiln_pool::{
    Candidate, Config, End, EndKind, Flavor, Instance, InstanceId, Life, Pool, SiteId, Stage, StageId, StageState,
    State, Timing,
};

pub const NOW: i64 = 1_790_000_000_000;
/// The uptime at which the listing was requested.
pub const ASKED: i64 = 1_000_000;

pub fn leases_of(pool: &str) -> [String; 2] {
    [queue_lease(pool), pool_lease(pool, &site())]
}

pub fn site() -> SiteId {
    SiteId::new("d")
}

pub struct World {
    pub config: Config,
    pub instances: Vec<Instance>,
    pub stages: Vec<Stage>,
    pub streaks: BTreeMap<String, Streak>,
    pub sites: BTreeMap<SiteId, SiteView>,
    pub closed: BTreeMap<SiteId, String>,
    pub noticed: Noticed,
    pub ends: BTreeMap<InstanceId, End>,
    pub unreadable: BTreeSet<InstanceId>,
    pub health: BTreeMap<InstanceId, Health>,
    pub leases: BTreeSet<String>,
    pub missing_ms: BTreeMap<String, i64>,
    pub drained: BTreeSet<String>,
    pub uptime_ms: i64,
    pub watched_ms: i64,
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
        docker_socket: false,
    }
}

impl World {
    pub fn new(pools: &[(&str, u32, u32)]) -> Self {
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

    pub fn with(mut self, lines: &[&str]) -> Self {
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
            self.health.insert(id.clone(), Health { failing_since_ms: Some(NOW - silent), ..Health::default() });
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

    pub fn view(&mut self) -> &mut SiteView {
        self.sites.get_mut(&site()).expect("the site")
    }

    pub fn listing(&mut self) -> &mut Listing {
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

    pub fn fails(mut self, flavor: &str, failures: u32, ago_s: i64) -> Self {
        let streak = Streak { failures, at_ms: NOW - ago_s * 1000, evidence: "no capacity".to_owned() };
        self.streaks.insert(streak_key(flavor, "img"), streak);
        self
    }

    pub fn change(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }

    pub fn plan(&self) -> kiln_pool::plan::Plan {
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

    /// Writes each action as `NAME SUBJECT: REASON`, `create` as `create FLAVOR IMAGE [in PLACE] [xCOUNT]`.
    #[track_caller]
    pub fn check(&self, expect: &str) {
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
