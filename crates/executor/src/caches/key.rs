//! Works keys out: from the file's template, or from what build tools are used.

use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use kiln_cache::key::{Fact, Key, Values};
use kiln_cache::{BUILD_TOOLS, BuildTool};
use kiln_pipeline::plan::Arch;
use kiln_wire::agent::archive::LookRequest;

use super::failure::Failure;
use super::keeper::Keeper;
use crate::again::again;
use crate::wait::Reason;

/// Digits of a sum in a key that nobody wrote so.
const SUM_DIGITS: usize = 32;

/// What is kept when the file does not say it.
pub(super) struct Found {
    /// The key.
    pub(super) key: String,
    /// The paths.
    pub(super) paths: Vec<String>,
}

impl Keeper<'_> {
    /// Works a key out, with sums of files in the instance.
    pub(super) async fn key(&self, template: &str, arch: Arch) -> Result<String, Failure> {
        let key = Key::parse(template).map_err(|error| Failure::Plan(format!("the key {template:?}: {error}")))?;
        let files: Vec<&str> = key.files().collect();
        let sums = self.sums(&files).await?;
        if let Some((file, _)) = files.iter().zip(&sums).find(|(_, sum)| sum.is_empty()) {
            return Err(Failure::Plan(format!("the key {template:?}: there is no file {file:?} in {}", self.base)));
        }
        let facts = &self.run.facts;
        let fact = |fact| match fact {
            Fact::Branch => facts.get("branch"),
            Fact::Commit => facts.get("commit"),
            Fact::Ref => facts.get("ref"),
            Fact::Repo => facts.get("repo"),
            Fact::BuildNumber => facts.get("build_number"),
            Fact::Event => facts.get("event"),
        };
        let values = Values {
            sums: files.iter().copied().zip(sums.iter().map(String::as_str)).collect(),
            arch: arch.word(),
            epoch_s: SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs(),
        };
        Ok(self.without_secrets(key.render(&values, fact)))
    }

    /// Returns a key in which a sum stands for secrets: keys are written down, and shown by lists.
    fn without_secrets(&self, key: String) -> String {
        let masked = self.run.secrets.mask(key.clone()).into_inner();
        if masked == key {
            return key;
        }
        let mut sum = kiln_cache::Sha256::default();
        sum.update(key.as_bytes());
        format!("{masked}-{}", &sum.hex()[..SUM_DIGITS])
    }

    /// Returns the sums of the files at paths, empty where there is none.
    async fn sums(&self, files: &[&str]) -> Result<Vec<String>, Failure> {
        if files.is_empty() {
            return Ok(Vec::new());
        }
        let digests = files.iter().map(ToString::to_string).collect();
        let request = LookRequest { base: self.base.to_owned(), digests, paths: Vec::new() };
        let reason = Reason::new("the files of the cache's key");
        let looked = again(&self.run.options.patience, || self.agent.look(&request));
        let looked = self.wait(&reason, looked).await?;
        // What an instance says is taken for what was asked for, and nothing more.
        let mut sums: Vec<String> = looked.digests.into_iter().map(|digest| digest.sha256).collect();
        sums.resize(files.len(), String::new());
        Ok(sums)
    }

    /// Looks for the build tools that are used, and returns what they keep.
    pub(super) async fn build_tools(&self, arch: Arch) -> Result<Option<Found>, Failure> {
        let files: Vec<&str> = BUILD_TOOLS.iter().flat_map(|tool| tool.files.iter().copied()).collect();
        let sums = self.sums(&files).await?;
        let sums: BTreeMap<&str, &str> =
            files.iter().copied().zip(sums.iter().map(String::as_str)).filter(|(_, sum)| !sum.is_empty()).collect();
        let is_used = |tool: &&BuildTool| tool.files.iter().any(|file| sums.contains_key(file));
        let tools: Vec<&BuildTool> = BUILD_TOOLS.iter().filter(is_used).collect();
        if tools.is_empty() {
            return Ok(None);
        }
        let mut sum = kiln_cache::Sha256::default();
        sums.iter().for_each(|(file, of_file)| sum.update(format!("{of_file}  {file}\n").as_bytes()));
        let names: Vec<&str> = tools.iter().map(|tool| tool.name).collect();
        let key = format!("{}-{}-{}", names.join("-"), arch.word(), &sum.hex()[..SUM_DIGITS]);
        let mut paths: Vec<String> = Vec::new();
        for path in tools.iter().flat_map(|tool| tool.paths) {
            if !paths.iter().any(|known| known == path) {
                paths.push((*path).to_owned());
            }
        }
        Ok(Some(Found { key, paths }))
    }
}
