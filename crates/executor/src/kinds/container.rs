//! What a step's container is like, in the words of the agent's request.

use std::collections::BTreeMap;

use kiln_pipeline::expr::Template;
use kiln_pipeline::plan::{Container, Limits, Mount, Pull};
use kiln_wire::agent::{PullPolicy, RunConfig, StartStepRequest, VolumeDevice, VolumeMount};

use super::Turn;
use crate::setup::{WORKSPACE, name};

impl Turn<'_, '_> {
    /// Puts a container into the request of a step.
    ///
    /// # Errors
    /// In one line for people.
    pub(super) fn contain(&self, container: &Container, request: &mut StartStepRequest) -> Result<(), String> {
        let image = self.text("image", &container.image)?.trim().to_owned();
        if image.is_empty() {
            return Err(format!("line {}: `image` is empty", container.location.line));
        }
        request.auth = self.login(&container.credentials, &image)?;
        request.secrets = self.stage.run.secrets.values();
        request.image = image;
        // The agent calls the container by the step's id.
        request.id = name(&request.id);
        request.pull = match container.pull {
            Pull::Default => PullPolicy::Default,
            Pull::Always => PullPolicy::Always,
            Pull::IfMissing => PullPolicy::IfNotPresent,
            Pull::Never => PullPolicy::Never,
        };
        request.privileged = container.privileged;
        request.port_bindings =
            container.ports.iter().map(|port| (port.host.clone(), port.container.clone())).collect::<BTreeMap<_, _>>();
        limit(&container.limits, request);
        self.see(container, request);
        self.connect(container, request)
    }

    /// Returns what runs in a container: a script, or else the program that the step or the image names.
    pub(super) fn program(&self, container: &Container) -> Result<RunConfig, String> {
        let words = |what: &str, list: &[Template]| {
            list.iter().map(|word| self.text(what, word)).collect::<Result<Vec<String>, String>>()
        };
        Ok(RunConfig {
            entrypoint: words("entrypoint", &container.entrypoint)?,
            commands: words("command", &container.args)?,
        })
    }

    /// Lets the container see the source tree at the same path, the volumes of the stage, and those of its step.
    fn see(&self, container: &Container, request: &mut StartStepRequest) {
        let stage = self.stage.stage;
        request.volumes.push(VolumeMount { name: WORKSPACE.to_owned(), path: stage.workspace_base.clone() });
        for volume in &stage.volumes {
            let path = volume.everywhere.iter().cloned();
            request.volumes.extend(path.map(|path| VolumeMount { name: volume.name.clone(), path }));
        }
        let own = |mount: &Mount| VolumeMount { name: mount.volume.clone(), path: mount.path.clone() };
        request.volumes.extend(container.volumes.iter().map(own));
        let device = |mount: &Mount| VolumeDevice { name: mount.volume.clone(), device_path: mount.path.clone() };
        request.devices = container.devices.iter().map(device).collect();
    }

    /// Connects the container to the stage's network, where others find it by the step's names, or as the step says.
    fn connect(&self, container: &Container, request: &mut StartStepRequest) -> Result<(), String> {
        let net = &container.net;
        let list = |what: &str, of: &[Template]| {
            of.iter().map(|item| self.text(what, item)).collect::<Result<Vec<String>, String>>()
        };
        request.dns = list("dns", &net.dns)?;
        request.dns_search = list("dns_search", &net.dns_search)?;
        request.extra_hosts = list("extra_hosts", &net.extra_hosts)?;
        match &net.mode {
            Some(mode) => mode.clone_into(&mut request.network),
            None => request.network_aliases = self.aliases(&net.aliases),
        }
        Ok(())
    }

    /// Returns the names of the step on its network: those that the file gives, its id, and its id behind those of its groups.
    fn aliases(&self, given: &[String]) -> Vec<String> {
        let mut aliases = given.to_vec();
        aliases.push(self.id.to_owned());
        if !self.nest.groups.is_empty() {
            aliases.push(format!("{}_{}", self.nest.groups.join("_"), self.id));
        }
        let mut seen = std::collections::BTreeSet::new();
        aliases.into_iter().map(|alias| name(&alias)).filter(|alias| seen.insert(alias.clone())).collect()
    }
}

fn limit(limits: &Limits, request: &mut StartStepRequest) {
    let signed = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    request.mem_limit = signed(limits.memory_bytes);
    request.memswap_limit = signed(limits.memory_and_swap_bytes);
    request.shm_size = signed(limits.shm_bytes);
    request.cpu_period = signed(limits.cpu_period_us);
    request.cpu_quota = signed(limits.cpu_quota_us);
    request.cpu_shares = signed(limits.cpu_shares);
    request.cpu_set.clone_from(&limits.cpu_set);
}
