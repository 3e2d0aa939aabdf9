//! Faults, by name.

use std::collections::BTreeMap;

use super::rng::Rng;

macro_rules! faults {
    ($($(#[$doc:meta])* $variant:ident = $text:literal, $most:literal;)*) => {
        /// A kind of fault.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Fault { $($(#[$doc])* $variant,)* }

        impl Fault {
            /// All faults.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// Returns its name in scenario files and transcripts.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }

            /// Returns the greatest rate that a seed may have, in a thousand occasions.
            fn most(self) -> i64 {
                match self { $(Self::$variant => $most,)* }
            }
        }
    };
}

faults! {
    /// A call of the cloud took effect, and its answer is lost.
    ResponseLost = "response_lost", 200;
    /// A call of the store returns an error that leaves open whether it took effect.
    CommitUnknown = "commit_unknown", 40;
    /// The cloud has no room for a launch.
    Capacity = "capacity", 400;
    /// A limit of the account is reached.
    Quota = "quota", 200;
    /// Too many calls were made.
    Throttled = "throttled", 300;
    /// A temporary failure.
    Transient = "transient", 300;
    /// The call is not allowed.
    Auth = "auth", 100;
    /// A new VM is listed late, and an ended one is still listed.
    DelayedVisibility = "delayed_visibility", 900;
    /// A listing misses or repeats instances.
    PagingChanges = "paging_changes", 150;
    /// A listing fails.
    ListFails = "list_fails", 300;
    /// A VM dies by itself, in any state.
    VmDies = "vm_dies", 8;
    /// A VM's agent never answers.
    BootNeverEnds = "boot_never_ends", 300;
    /// An agent does not answer for a while, or for ever.
    AgentHangs = "agent_hangs", 8;
    /// A request is delivered twice.
    DuplicatedDelivery = "duplicated_delivery", 500;
    /// A caller goes away before its answer.
    Disconnect = "disconnect", 400;
    /// A runner's process ends before a call takes effect.
    CrashBefore = "crash_before", 6;
    /// A runner's process ends after a call took effect and before it knows.
    CrashAfter = "crash_after", 6;
    /// The wall clock of one runner jumps.
    ClockJump = "clock_jump", 4;
    /// The store refuses a call.
    DatabaseBusy = "database_busy", 60;
    /// One runner cannot reach the store, the clouds or the agents for a while.
    Partition = "partition", 3;
    /// A call of the cloud takes long.
    SlowCall = "slow_call", 200;
    /// One runner's process is paused for a while.
    Pause = "pause", 3;
    /// The store answers slowly.
    SlowStore = "slow_store", 30;
    /// A second process is started under the name of a runner.
    EqualName = "equal_name", 1000;
    /// There is a VM without any former row, as after the loss of a database.
    Stray = "stray", 2;
    /// There is a VM of a stranger in the shared cloud.
    Stranger = "stranger", 2;
    /// A launch makes only a part of its batch.
    PartialFill = "partial_fill", 500;
    /// Only a later listing has the address of a new VM.
    AddressLate = "address_late", 500;
    /// A cloud takes seconds for a listing.
    SlowListing = "slow_listing", 900;
    /// The store's disk is full for a while: nothing new is written, and ends only where there is a reserve for them.
    DiskFull = "disk_full", 3;
    /// The store answers nobody, at times for longer than VMs survive without contact.
    StoreOutage = "store_outage", 2;
    /// An agent is started again, and has lost its identity and its stage.
    AgentForgets = "agent_forgets", 8;
}

impl Fault {
    /// Returns the fault with that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|fault| fault.name() == name)
    }
}

/// The rates of the faults in a seed.
#[derive(Debug, Clone, Default)]
pub struct Rates {
    rates: BTreeMap<Fault, u32>,
    armed: BTreeMap<(Fault, String), u32>,
    struck: BTreeMap<Fault, u64>,
}

impl Rates {
    /// Returns a random subset with random rates.
    pub fn random(rng: &mut Rng) -> Self {
        let mut rates = BTreeMap::new();
        let each = *rng.pick(&[100, 250, 400, 600]).unwrap_or(&300);
        for fault in Fault::ALL {
            if rng.chance(each) {
                let rate = rng.between(1, fault.most());
                rates.insert(*fault, u32::try_from(rate).unwrap_or(1));
            }
        }
        Self { rates, ..Self::default() }
    }

    /// Returns whether this seed has the fault at all.
    #[must_use]
    pub fn has(&self, fault: Fault) -> bool {
        self.rates.contains_key(&fault)
    }

    /// Makes the next occasions of a fault certain: those in calls of this name, or in any calls when it is empty.
    pub fn arm(&mut self, fault: Fault, call: &str, times: u32) {
        *self.armed.entry((fault, call.to_owned())).or_default() += times;
    }

    /// Stops all faults.
    pub fn stop(&mut self) {
        self.rates.clear();
        self.armed.clear();
    }

    /// Returns how often each fault happened.
    #[must_use]
    pub fn struck(&self) -> &BTreeMap<Fault, u64> {
        &self.struck
    }

    /// Records that a fault happened.
    pub fn note(&mut self, fault: Fault) {
        *self.struck.entry(fault).or_default() += 1;
    }

    /// Decides whether a fault happens on this occasion, in a call of this name.
    pub fn strikes(&mut self, fault: Fault, call: &str, rng: &mut Rng) -> bool {
        let strikes = self.decide(fault, call, rng);
        if strikes {
            self.note(fault);
        }
        strikes
    }

    fn decide(&mut self, fault: Fault, call: &str, rng: &mut Rng) -> bool {
        if !self.armed.is_empty() {
            for name in [call, ""] {
                if let Some(left) = self.armed.get_mut(&(fault, name.to_owned())).filter(|left| **left > 0) {
                    *left -= 1;
                    return true;
                }
            }
        }
        self.rates.get(&fault).is_some_and(|rate| rng.chance(*rate))
    }

    /// Returns the names and rates, for people.
    #[must_use]
    pub fn describe(&self) -> String {
        let all: Vec<String> = self.rates.iter().map(|(fault, rate)| format!("{}={rate}", fault.name())).collect();
        if all.is_empty() { "none".to_owned() } else { all.join(" ") }
    }
}
