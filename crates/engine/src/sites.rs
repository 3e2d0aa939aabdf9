//! The sites: opened on demand, and listed beside the passes.
//!
//! ```text
//! needed ─► open ─(fails: again later)─► listed ─► listed again, sooner while something changes there
//! ```
//! A pass never waits for a site. It uses the latest listing that was complete when it began, with the uptime at which
//! that listing was requested.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures::FutureExt as _;
use kiln_driver::{Abilities, Driver, Listed};
use kiln_pool::plan::{Listing, Seen, SiteView};
use kiln_pool::{Config, Instance, InstanceId, SiteId, State};

use crate::{Engine, INSTALLATION_LABEL, Memory, chain};

/// Time between two listings of a site while something changes there, in milliseconds from asking to asking.
const LIST_WHILE_CHANGING_MS: i64 = 2_000;
/// Time between two listings of a site while nothing changes there, in milliseconds.
const LIST_AT_REST_MS: i64 = 15_000;
/// Longest time that a listing may take, in milliseconds.
const LIST_WITHIN_MS: i64 = 60_000;
/// Longest time that opening a site may take, in milliseconds.
const OPEN_WITHIN_MS: i64 = 60_000;
/// Pause before a site that could not be opened is tried again, in milliseconds.
const REOPEN_AFTER_MS: i64 = 30_000;

/// This process's knowledge of one site.
#[derive(Default)]
pub(crate) struct Site {
    driver: Option<Arc<dyn Driver>>,
    /// Why the site is not open, or why its latest listing failed.
    trouble: Option<String>,
    listing: Option<Snapshot>,
    /// The uptime at which the latest attempt to open or list the site began, in milliseconds.
    tried_ms: Option<i64>,
    /// Whether an attempt to open or list the site is under way.
    tending: bool,
    /// The uptime at which the first listing that lacked a row was requested, in milliseconds, by the row's id.
    unseen_ms: BTreeMap<InstanceId, i64>,
}

/// A complete listing of this installation's instances.
#[derive(Clone)]
struct Snapshot {
    asked_ms: i64,
    listed: Arc<Vec<Listed>>,
}

impl Site {
    fn trouble(&self) -> Option<String> {
        let opening = || self.driver.is_none().then(|| "it is being opened".to_owned());
        self.trouble.clone().or_else(opening)
    }

    fn is_due(&self, changing: bool, uptime_ms: i64) -> bool {
        !self.tending && self.due_ms(changing).is_none_or(|due| uptime_ms >= due)
    }

    fn due_ms(&self, changing: bool) -> Option<i64> {
        let pause = match &self.driver {
            None => REOPEN_AFTER_MS,
            Some(_) if changing => LIST_WHILE_CHANGING_MS,
            Some(_) => LIST_AT_REST_MS,
        };
        self.tried_ms.map(|tried| tried + pause)
    }
}

impl Engine {
    /// Spawns the opening or listing of each site that is due, of those in the pool file and in the rows.
    pub(crate) fn tend_sites(self: &Arc<Self>, config: &Config, instances: &[Instance]) {
        let mut needed: BTreeMap<SiteId, bool> = config.pools.values().map(|pool| (pool.site.clone(), false)).collect();
        for instance in instances {
            *needed.entry(instance.site.clone()).or_default() |= changes(instance);
        }
        let uptime = self.host.uptime_ms();
        let mut due = Vec::new();
        let mut memory = self.memory();
        memory.changing_sites = needed.iter().filter(|(_, changing)| **changing).map(|(id, _)| id.clone()).collect();
        // An open site is still listed, so that its orphans end. A site that is neither needed nor open is forgotten:
        // it would always be due and keep the passes from resting.
        memory.sites.retain(|id, site| needed.contains_key(id) || site.driver.is_some() || site.tending);
        for id in memory.sites.keys() {
            needed.entry(id.clone()).or_default();
        }
        for (id, changing) in needed {
            let site = memory.sites.entry(id.clone()).or_default();
            if site.is_due(changing, uptime) {
                (site.tending, site.tried_ms) = (true, Some(uptime));
                due.push(id);
            }
        }
        drop(memory);
        for id in due {
            let engine = Arc::clone(self);
            self.host.spawn(async move { engine.tend(&id).await }.boxed());
        }
    }

    /// Opens and lists all known sites now and returns when that is done. Passes do the same beside their work. This is
    /// for callers that want the next pass to use a fresh listing.
    pub async fn look_at_sites(self: &Arc<Self>) {
        for id in self.known_sites() {
            if self.driver_of(&id).is_none() {
                self.tend(&id).await;
            }
            self.tend(&id).await;
        }
    }

    /// Returns the sites of the pool file and those that were known before.
    fn known_sites(&self) -> Vec<SiteId> {
        let config = self.config();
        let mut memory = self.memory();
        for pool in config.pools.values() {
            memory.sites.entry(pool.site.clone()).or_default();
        }
        memory.sites.keys().cloned().collect()
    }

    /// Returns the time until the next site is due, in milliseconds, at most `most_ms`.
    pub(crate) fn site_due_in_ms(&self, most_ms: i64) -> i64 {
        let (uptime, memory) = (self.host.uptime_ms(), self.memory());
        let due = memory.sites.iter().filter(|(_, site)| !site.tending);
        let due = due.filter_map(|(id, site)| site.due_ms(memory.changing_sites.contains(id)));
        due.map(|at| (at - uptime).max(0)).min().unwrap_or(most_ms).min(most_ms)
    }

    /// Makes a site due at once, because its latest listing does not answer a question.
    pub(crate) fn list_soon(&self, site: &SiteId) {
        if let Some(site) = self.memory().sites.get_mut(site) {
            site.tried_ms = None;
        }
        self.host.signal();
    }

    async fn tend(self: &Arc<Self>, id: &SiteId) {
        let asked_ms = self.host.uptime_ms();
        let outcome = match self.driver_of(id) {
            Some(driver) => self.list(&driver).await.map(Some),
            None => self.open(id).await.map(|()| None),
        };
        let mut memory = self.memory();
        let Some(site) = memory.sites.get_mut(id) else { return };
        site.tending = false;
        match outcome {
            Ok(listed) => {
                site.trouble = None;
                match listed {
                    Some(listed) => site.listing = Some(Snapshot { asked_ms, listed: Arc::new(listed) }),
                    // The site was only opened, so it is listed now.
                    None => site.tried_ms = None,
                }
            }
            Err(why) => {
                let open = site.driver.is_some();
                tracing::warn!(site = %id, why, "{}", if open { "the site could not be listed" } else { "the site could not be opened" });
                site.trouble = Some(why);
            }
        }
        drop(memory);
        self.host.signal();
    }

    async fn open(&self, id: &SiteId) -> Result<(), String> {
        let opened = self.within(OPEN_WITHIN_MS, self.drivers.open(id)).await;
        let driver = opened
            .ok_or_else(|| format!("no answer within {} s", OPEN_WITHIN_MS / 1000))?
            .map_err(|error| chain(&error))?;
        tracing::info!(site = %id, "the site is open");
        if let Some(site) = self.memory().sites.get_mut(id) {
            site.driver = Some(driver);
        }
        Ok(())
    }

    /// Lists this installation's instances at a site. Where a listing may include instances of others, only the exact
    /// label proves that an instance is ours.
    async fn list(&self, driver: &Arc<dyn Driver>) -> Result<Vec<Listed>, String> {
        let listed = self.within(LIST_WITHIN_MS, driver.list()).await;
        let mut listed = listed
            .ok_or_else(|| format!("no answer within {} s", LIST_WITHIN_MS / 1000))?
            .map_err(|error| chain(&error))?;
        if driver.abilities().lists_others {
            listed.retain(|l| l.labels.get(INSTALLATION_LABEL) == Some(&self.installation));
        }
        Ok(listed)
    }

    /// Returns the driver of a site, if it is open.
    pub(crate) fn driver_of(&self, site: &SiteId) -> Option<Arc<dyn Driver>> {
        self.memory().sites.get(site)?.driver.clone()
    }

    /// Returns the launch answer of an instance as the latest listing of its site shows it.
    pub(crate) fn listed_launch(&self, row: &Instance) -> Option<kiln_driver::Launched> {
        let memory = self.memory();
        let snapshot = memory.sites.get(&row.site)?.listing.as_ref()?;
        snapshot.listed.iter().find(|l| l.id == row.id.as_str())?.launched.clone()
    }

    /// Returns the sites of the pool file and of the rows, each with the trouble that keeps it from being used or
    /// listed.
    #[must_use]
    pub fn sites(&self) -> BTreeMap<SiteId, Option<String>> {
        self.memory().sites.iter().map(|(id, site)| (id.clone(), site.trouble())).collect()
    }

    /// Returns the latest listing of each open site, and why the others are not open.
    ///
    /// Call this **before** the rows are read: then every instance of a listing had its row already.
    pub(crate) fn snapshots(&self) -> Snapshots {
        let memory = self.memory();
        let (mut open, mut closed) = (BTreeMap::new(), BTreeMap::new());
        for (id, site) in &memory.sites {
            match &site.driver {
                Some(driver) => {
                    open.insert(id.clone(), (driver.abilities(), site.listing.clone()));
                }
                None => drop(closed.insert(id.clone(), site.trouble().unwrap_or_default())),
            }
        }
        Snapshots { open, closed }
    }

    /// Turns snapshots into the plan's view of sites. The view also tells since when rows have been missing from
    /// listings.
    pub(crate) fn views(&self, snapshots: &Snapshots, instances: &[Instance]) -> BTreeMap<SiteId, SiteView> {
        let mut memory = self.memory();
        let Memory { sites, noticed, .. } = &mut *memory;
        let mut views = BTreeMap::new();
        for (id, (abilities, listing)) in &snapshots.open {
            let listing = listing.as_ref().map(|Snapshot { asked_ms, listed }| {
                let seen: BTreeMap<InstanceId, Seen> = listed.iter().map(seen).collect();
                // An instance that has not been made yet cannot be in a listing.
                let made = |i: &&Instance| i.site == *id && !matches!(i.state, State::Intended | State::Launching);
                let rows: BTreeSet<&InstanceId> = instances.iter().filter(made).map(|i| &i.id).collect();
                let unseen = sites.get_mut(id).map(|site| &mut site.unseen_ms);
                let unseen = unseen.map(|unseen| {
                    unseen.retain(|id, _| rows.contains(id) && !seen.contains_key(id));
                    // A listing that was requested before the row changed proves nothing about it.
                    let lacks = |id: &&InstanceId| !seen.contains_key(id) && noticed.is_current(id, *asked_ms);
                    for id in rows.into_iter().filter(lacks) {
                        unseen.entry(id.clone()).or_insert(*asked_ms);
                    }
                    unseen.iter().map(|(id, since)| (id.clone(), asked_ms - since)).collect()
                });
                Listing { asked_ms: *asked_ms, seen, unseen_ms: unseen.unwrap_or_default() }
            });
            let view = SiteView {
                can_hibernate: abilities.hibernate,
                batch_max: abilities.batch_max,
                launches_at_once: abilities.launches_at_once,
                listing,
            };
            views.insert(id.clone(), view);
        }
        views
    }
}

/// The result of [`Engine::snapshots`].
pub(crate) struct Snapshots {
    open: BTreeMap<SiteId, (Abilities, Option<Snapshot>)>,
    /// The reason why each other site is not open.
    pub(crate) closed: BTreeMap<SiteId, String>,
}

fn seen(listed: &Listed) -> (InstanceId, Seen) {
    let launched = listed.launched.as_ref();
    let seen = Seen {
        life: listed.life.clone(),
        launched: launched.is_some(),
        addressed: launched.is_some_and(|launched| launched.reach.is_some()),
    };
    (InstanceId::new(&listed.id), seen)
}

/// Tells whether a listing may soon show a change of the instance.
fn changes(instance: &Instance) -> bool {
    match instance.state {
        State::Launching | State::Hibernating | State::Resuming | State::Terminating => true,
        State::Booting => instance.address.is_none(),
        State::Intended | State::Ready | State::Claimed | State::Hibernated | State::Gone => false,
    }
}
