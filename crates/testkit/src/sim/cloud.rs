//! A cloud: its VMs, events that happen to them by themselves, and its listings.

use std::collections::BTreeMap;

use kiln_driver::{Labels, Launched, Listed};
use kiln_pool::{End, EndKind, Life};

/// State of a VM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum VmState {
    /// It runs, and costs money.
    Running,
    /// It sleeps.
    Asleep,
    /// It has ended for ever.
    Ended {
        /// Time of its end.
        at_ms: i64,
        /// Time until which listings still show it as running.
        shown_running_ms: i64,
        /// Time until which listings show it at all.
        shown_ms: i64,
        /// The reason.
        why: String,
    },
}

/// One VM.
#[derive(Debug, Clone)]
pub struct Vm {
    /// Its id.
    pub id: String,
    /// Its labels.
    pub labels: Labels,
    /// Its image.
    pub image: String,
    /// Time of its creation.
    pub created_ms: i64,
    /// Time from which listings show it.
    pub visible_ms: i64,
    /// Time from which its address is known.
    pub addressed_ms: i64,
    /// Time from which its agent answers; none if it never does.
    pub boots_ms: Option<i64>,
    /// Time until which its agent hangs.
    pub hangs_ms: i64,
    /// When its agent last had authenticated contact.
    pub contact_ms: i64,
    /// For how long its agent answered, its row said that it should be asked, all runners could ask it, and none did.
    pub unasked_ms: i64,
    /// Whether its agent has its own identity.
    pub has_identity: bool,
    /// Whether it had no live row when it was made: by a late call, or by a stranger.
    pub late: bool,
    /// When each runner's listing last showed it.
    pub shown_ms: BTreeMap<usize, i64>,
    /// [`super::world::World::well_ms`] when it was found to have no live row.
    pub unowned_since: Option<i64>,
    /// [`super::world::World::able_ms`] when listings could first show it with its address.
    pub shown_able: Option<i64>,
    /// [`super::world::World::well_ms`] when it ended.
    pub ended_well: i64,
    /// Its state.
    pub state: VmState,
    port: u16,
}

/// The watchdogs in VMs, in milliseconds.
#[derive(Debug, Clone, Copy)]
pub struct Watchdog {
    /// Time without contact after which a VM powers itself off.
    pub lease_ms: i64,
    /// Age at which a VM powers itself off.
    pub max_age_ms: i64,
}

/// One cloud.
#[derive(Debug)]
pub struct Cloud {
    /// All VMs that ever existed.
    pub vms: BTreeMap<String, Vm>,
    /// Whether its VMs can be put to sleep.
    pub can_hibernate: bool,
    /// Whether it reports at once that a VM ended.
    pub tells_ends: bool,
    /// Pools for which it never has room.
    pub full_for: Vec<String>,
    /// Places in which it never has room.
    pub full_places: Vec<String>,
    /// The first use of each token.
    pub tokens: BTreeMap<String, String>,
    /// Settings of the VMs' watchdogs.
    pub watchdog: Watchdog,
    next_port: u16,
}

/// The fate of a new VM.
#[derive(Debug, Clone, Copy)]
pub struct Fate {
    /// Time from which listings show it.
    pub visible_ms: i64,
    /// Time from which its address is known.
    pub addressed_ms: i64,
    /// Time from which its agent answers.
    pub boots_ms: Option<i64>,
}

impl Vm {
    /// Returns whether it runs.
    #[must_use]
    pub fn runs(&self) -> bool {
        self.state == VmState::Running
    }

    /// Returns whether its agent answers under its own name.
    #[must_use]
    pub fn answers(&self, now_ms: i64) -> bool {
        self.runs() && self.boots_ms.is_some_and(|at| at <= now_ms) && self.hangs_ms <= now_ms && self.has_identity
    }

    /// Returns whether it exists, running or asleep.
    #[must_use]
    pub fn exists(&self) -> bool {
        !matches!(self.state, VmState::Ended { .. })
    }

    /// Returns the answer to its launch.
    #[must_use]
    pub fn launched(&self) -> Launched {
        Launched {
            id: self.id.clone(),
            reach: Some(std::net::SocketAddr::from(([10, 0, 0, 1], self.port)).into()),
            server_name: if self.has_identity { self.id.clone() } else { format!("golden-{}", self.image) },
            needs_claim: !self.has_identity,
            phases: Vec::new(),
        }
    }

    /// Returns the answer to its launch, without the address while that is not known.
    #[must_use]
    pub fn launched_at(&self, now_ms: i64) -> Launched {
        let launched = self.launched();
        Launched { reach: launched.reach.filter(|_| now_ms >= self.addressed_ms), ..launched }
    }

    /// Returns its entry in a listing.
    #[must_use]
    pub fn listed(&self, now_ms: i64) -> Option<Listed> {
        let life = match &self.state {
            VmState::Running if now_ms < self.addressed_ms => Life::Starting,
            VmState::Running => Life::Running,
            VmState::Asleep => Life::Asleep,
            VmState::Ended { shown_ms, .. } if now_ms >= *shown_ms => return None,
            VmState::Ended { shown_running_ms, .. } if now_ms < *shown_running_ms => Life::Running,
            VmState::Ended { why, .. } => Life::Ended(End::new(EndKind::Unknown, why.as_str())),
        };
        let launched = (!life.is_over()).then(|| self.launched_at(now_ms));
        (now_ms >= self.visible_ms).then(|| Listed { id: self.id.clone(), life, labels: self.labels.clone(), launched })
    }
}

impl Cloud {
    /// Creates a cloud without VMs.
    #[must_use]
    pub fn new(can_hibernate: bool, watchdog: Watchdog) -> Self {
        Self {
            vms: BTreeMap::new(),
            can_hibernate,
            tells_ends: false,
            full_for: Vec::new(),
            full_places: Vec::new(),
            tokens: BTreeMap::new(),
            watchdog,
            next_port: 10_000,
        }
    }

    /// Makes a VM.
    pub fn make(&mut self, id: &str, image: &str, labels: Labels, now_ms: i64, fate: Fate) -> &mut Vm {
        self.next_port = self.next_port.wrapping_add(1);
        let vm = Vm {
            id: id.to_owned(),
            labels,
            image: image.to_owned(),
            created_ms: now_ms,
            visible_ms: fate.visible_ms,
            addressed_ms: fate.addressed_ms,
            boots_ms: fate.boots_ms,
            hangs_ms: 0,
            contact_ms: now_ms,
            unasked_ms: 0,
            has_identity: false,
            late: false,
            shown_ms: BTreeMap::new(),
            unowned_since: None,
            shown_able: None,
            ended_well: 0,
            state: VmState::Running,
            port: self.next_port,
        };
        self.vms.entry(id.to_owned()).or_insert(vm)
    }

    /// Ends a VM.
    pub fn end(&mut self, id: &str, why: &str, now_ms: i64, well_ms: i64, shown_running_ms: i64, shown_ms: i64) {
        if let Some(vm) = self.vms.get_mut(id).filter(|vm| vm.exists()) {
            vm.ended_well = well_ms;
            vm.state = VmState::Ended { at_ms: now_ms, shown_running_ms, shown_ms, why: why.to_owned() };
        }
    }

    /// Returns the VMs whose watchdogs end them now, with the reasons.
    #[must_use]
    pub fn expired(&self, now_ms: i64) -> Vec<(String, &'static str)> {
        let due = |vm: &&Vm| {
            let reason = if now_ms - vm.created_ms > self.watchdog.max_age_ms {
                "its greatest age"
            } else if now_ms - vm.contact_ms > self.watchdog.lease_ms {
                "no contact for its lease"
            } else {
                return None;
            };
            Some((vm.id.clone(), reason))
        };
        // The watchdog of a sleeping VM does not run.
        self.vms.values().filter(|vm| vm.runs()).filter_map(|vm| due(&vm)).collect()
    }
}
