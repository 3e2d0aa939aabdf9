//! The request that prepares a stage's agent: what it masks, and for containers the network and the volumes that they share.

use std::collections::BTreeMap;

use kiln_pipeline::plan::{Volume as Planned, VolumeSource};
use kiln_pipeline::scope::Place;
use kiln_wire::agent::{Network, SetupRequest, Volume, VolumeEmptyDir, VolumeHostPath};

use crate::fleet::error_chain;
use crate::stage_context::StageContext;

/// Name of the volume that is the directory of the sources.
pub(crate) const WORKSPACE: &str = "kiln-workspace";
/// The kind of temporary volume that is kept in memory.
const IN_MEMORY: &str = "memory";
/// Longest name of what a container engine keeps. The engine takes longer ones; the names of hosts are shorter.
const LONGEST_NAME: usize = 63;

impl StageContext<'_> {
    /// Returns the request that prepares the agent. Whether containers see the engine's socket is for the pool to say, in the claim.
    ///
    /// # Errors
    /// In one line for people: a path of a volume has no value.
    pub(crate) fn setup_request(&self) -> Result<SetupRequest, String> {
        let secrets = self.run.secrets.values();
        if !self.stage.steps.has_containers() {
            return Ok(SetupRequest { secrets, ..SetupRequest::default() });
        }
        let own = name(&format!("kiln-{}-{}", self.run.id, self.id));
        let mut volumes = vec![host(WORKSPACE, &own, self.stage.workspace_base.clone())];
        for volume in &self.stage.volumes {
            volumes.push(self.volume(volume, &own)?);
        }
        let network = Network { id: own, labels: self.labels(), ..Network::default() };
        Ok(SetupRequest { secrets, network, volumes, ..SetupRequest::default() })
    }

    fn volume(&self, volume: &Planned, own: &str) -> Result<Volume, String> {
        match &volume.source {
            VolumeSource::Host(path) => {
                let place = Place { stage: Some((self.stage, self.id)), stage_run: self.iteration, ..Place::default() };
                let path = path.render(&self.run.scope(&place));
                let path = path
                    .map_err(|e| format!("the path of the volume {} has no value: {}", volume.name, error_chain(&e)))?;
                Ok(host(&volume.name, own, path))
            }
            VolumeSource::Temp { memory, size_bytes } => {
                let temp = VolumeEmptyDir {
                    id: id(own, &volume.name),
                    name: volume.name.clone(),
                    medium: if *memory { IN_MEMORY.to_owned() } else { String::new() },
                    size_limit: i64::try_from(*size_bytes).unwrap_or(i64::MAX),
                    labels: self.labels(),
                };
                Ok(Volume { temp: Some(temp), host: None })
            }
        }
    }

    /// Returns the labels of what a container engine keeps for the stage.
    pub(crate) fn labels(&self) -> BTreeMap<String, String> {
        [("kiln.run", self.run.id.as_str()), ("kiln.stage", self.id)]
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .into()
    }
}

fn host(name: &str, own: &str, path: String) -> Volume {
    let host = VolumeHostPath { id: id(own, name), name: name.to_owned(), path, ..VolumeHostPath::default() };
    Volume { temp: None, host: Some(host) }
}

fn id(own: &str, volume: &str) -> String {
    format!("{own}-{}", name(volume))
}

/// Returns a name that a container engine takes for what it keeps, and its name server for a host.
pub(crate) fn name(text: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || "_.-".contains(c) { c } else { '-' };
    let made: String = text.chars().map(plain).collect();
    let made = made.trim_start_matches(|c: char| !c.is_ascii_alphanumeric());
    // What tells names from each other stands at their end.
    let from = made.len().saturating_sub(LONGEST_NAME);
    let made = made[from..].trim_start_matches(|c: char| !c.is_ascii_alphanumeric());
    if made.is_empty() { "kiln".to_owned() } else { made.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::name;

    #[test]
    fn names_that_a_container_engine_takes() {
        let check = |text: &str, expect: &str| assert_eq!(name(text), expect);
        check("redis", "redis");
        check("_my db$1", "my-db-1");
        check("größe", "gr--e");
        check("$", "kiln");
        check(&format!("{}-{}", "a".repeat(70), "0123"), &format!("{}-0123", "a".repeat(58)));
    }
}
