//! Opens the places where caches and artifacts are kept.

use std::collections::BTreeMap;
use std::path::PathBuf;

use kiln_cache::{Location, Store};
use kiln_pipeline::plan::{Graph, Plan, StepKind, StepNode};

use crate::args::cache::StoreArgs;
use crate::exit::Usage;
use crate::home;

/// Opens what a run needs of both. A plan that keeps nothing needs none, and one that cannot be opened is told before a VM starts.
pub fn of_run(
    plan: &Plan,
    caches_at: &StoreArgs,
    artifacts_at: Option<&str>,
) -> anyhow::Result<(Option<Store>, Option<Store>)> {
    let mut kept = Kept::default();
    for stage in &plan.stages.nodes {
        kept.caches |= stage.item.cache.is_some();
        kept.steps(&stage.item.steps);
    }
    let caches = kept.caches.then(|| caches(caches_at)).transpose()?;
    let artifacts = kept.uploads.then(|| artifacts(artifacts_at)).transpose()?;
    Ok((caches, artifacts))
}

/// What a plan keeps.
#[derive(Default)]
struct Kept {
    caches: bool,
    uploads: bool,
}

impl Kept {
    fn steps(&mut self, steps: &Graph<StepNode>) {
        for node in &steps.nodes {
            match &node.item {
                StepNode::Group(group) => self.steps(&group.steps),
                StepNode::Step(step) => {
                    self.caches |= matches!(step.kind, StepKind::SaveCache(_) | StepKind::RestoreCache(_));
                    self.uploads |= matches!(step.kind, StepKind::Upload(_));
                }
            }
        }
    }
}

/// Opens the store of caches.
pub fn caches(args: &StoreArgs) -> anyhow::Result<Store> {
    let location = match &args.cache_store {
        Some(text) => location("--cache-store", text)?,
        None => Location::Directory(home::layout()?.caches()),
    };
    open(&location, args.cache_limit)
}

/// Opens the place where steps upload to.
pub fn artifacts(store: Option<&str>) -> anyhow::Result<Store> {
    let location = match store {
        Some(text) => location("--artifact-store", text)?,
        None => Location::Directory(home::layout()?.uploads()),
    };
    open(&location, u64::MAX)
}

fn location(option: &str, text: &str) -> anyhow::Result<Location> {
    Location::parse(text).map_err(|error| Usage(format!("{option} {text}: {error}")).into())
}

fn open(location: &Location, limit_mib: u64) -> anyhow::Result<Store> {
    let settings = match location {
        Location::Directory(_) => BTreeMap::new(),
        Location::S3(_) => kiln_cache::settings(environment(), &profiles()).map_err(|e| Usage(e.to_string()))?,
    };
    Ok(Store::open(location, &settings, limit_mib.saturating_mul(1 << 20))?)
}

/// Returns the variables of the environment that are text.
fn environment() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
}

/// Returns the texts of the files of AWS credentials and configuration that are there.
fn profiles() -> Vec<String> {
    let home = std::env::var_os("HOME").map(PathBuf::from).unwrap_or_default();
    let file = |variable: &str, name: &str| {
        let path = std::env::var_os(variable).map_or_else(|| home.join(".aws").join(name), PathBuf::from);
        std::fs::read_to_string(path).ok()
    };
    [file("AWS_SHARED_CREDENTIALS_FILE", "credentials"), file("AWS_CONFIG_FILE", "config")]
        .into_iter()
        .flatten()
        .collect()
}
