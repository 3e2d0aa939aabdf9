//! What a container is reached by, and whom it reaches.

use std::collections::HashMap;
use std::net::IpAddr;

use bollard::models::{EndpointSettings, HostConfig, NetworkingConfig, PortBinding};
use kiln_wire::agent::StartStepRequest;

use super::wrong;
use crate::container::error::ContainerError;

/// Networks in which the engine gives no names.
const NAMELESS: [&str; 4] = ["host", "none", "bridge", "default"];
/// What stands for the address of the machine.
const HOST_GATEWAY: &str = "host-gateway";
const PROTOCOLS: [&str; 3] = ["tcp", "udp", "sctp"];

/// The networks of a container.
#[derive(Debug, Default, PartialEq)]
pub(in crate::container) struct Networks {
    /// What it is made with, if the engine's own default is not meant.
    pub(in crate::container) first: Option<String>,
    /// What it is attached to before it starts.
    pub(in crate::container) further: Vec<String>,
    /// How others find it in them.
    pub(in crate::container) aliases: Vec<String>,
}

/// The ports that a container shows, and where on the machine.
type Ports = (Vec<String>, HashMap<String, Option<Vec<PortBinding>>>);

impl Networks {
    /// Those of a step, in a stage of this network.
    pub(in crate::container) fn of(request: &StartStepRequest, stage: &str) -> Result<Self, ContainerError> {
        let given = [&request.network, stage].into_iter().find(|name| !name.is_empty());
        let first = given.map(str::to_owned);
        for name in first.iter().chain(&request.networks) {
            if !is_mode(name) && !is_name(name) {
                return Err(wrong("network", name, "name of a network: letters, digits and _.-"));
            }
        }
        let further = request.networks.iter().filter(|name| Some(*name) != first.as_ref()).cloned().collect();
        let mut aliases: Vec<String> = Vec::new();
        for alias in [&request.name].into_iter().chain(&request.network_aliases) {
            if !alias.is_empty() && !aliases.contains(alias) {
                aliases.push(alias.clone());
            }
        }
        Ok(Self { first, further, aliases })
    }

    /// How it is found in the first one, if that gives names.
    pub(super) fn config(&self) -> Option<NetworkingConfig> {
        let name = self.first.as_ref().filter(|name| !is_mode(name))?;
        Some(NetworkingConfig { endpoints_config: Some(HashMap::from([(name.clone(), self.endpoint())])) })
    }

    /// How it is found in a network.
    pub(in crate::container) fn endpoint(&self) -> EndpointSettings {
        let aliases = Some(self.aliases.clone()).filter(|aliases| !aliases.is_empty());
        EndpointSettings { aliases, ..EndpointSettings::default() }
    }
}

/// Puts names and addresses of others into the configuration.
pub(super) fn put(request: &StartStepRequest, config: &mut HostConfig) -> Result<(), ContainerError> {
    for server in &request.dns {
        if server.parse::<IpAddr>().is_err() {
            return Err(wrong("dns", server, "IP address"));
        }
    }
    for host in &request.extra_hosts {
        let address =
            host.split_once([':', '=']).filter(|(name, _)| !name.trim().is_empty()).map(|(_, address)| address);
        let address = address.map(|address| address.trim_start_matches('[').trim_end_matches(']'));
        if !address.is_some_and(|address| address == HOST_GATEWAY || address.parse::<IpAddr>().is_ok()) {
            return Err(wrong("extra_hosts", host, "HOST:ADDRESS with an IP address"));
        }
    }
    let some = |list: &[String]| Some(list.to_vec()).filter(|list| !list.is_empty());
    config.dns = some(&request.dns);
    config.dns_search = some(&request.dns_search);
    config.extra_hosts = some(&request.extra_hosts);
    Ok(())
}

/// The ports of a step.
pub(super) fn ports(request: &StartStepRequest) -> Result<Option<Ports>, ContainerError> {
    let (mut shown, mut bound) = (Vec::new(), HashMap::<String, Option<Vec<PortBinding>>>::new());
    for (host, container) in &request.port_bindings {
        if !host.is_empty() && host.parse::<u16>().is_err() {
            return Err(wrong("port_bindings", host, "port of the machine, which is a number up to 65535"));
        }
        let (number, protocol) = container.split_once('/').unwrap_or((container, PROTOCOLS[0]));
        let is_port = number.parse::<u16>().is_ok_and(|port| port > 0) && PROTOCOLS.contains(&protocol);
        if !is_port {
            return Err(wrong("port_bindings", container, "port of a container, which is written as 80 or 53/udp"));
        }
        let port = format!("{number}/{protocol}");
        shown.push(port.clone());
        let binding = PortBinding { host_ip: None, host_port: Some(host.clone()) };
        bound.entry(port).or_default().get_or_insert_default().push(binding);
    }
    Ok(Some((shown, bound)).filter(|(shown, _)| !shown.is_empty()))
}

/// Whether it is no network of its own.
fn is_mode(name: &str) -> bool {
    NAMELESS.contains(&name) || name.starts_with("container:")
}

/// Whether an engine takes it for a name of something.
pub(in crate::container) fn is_name(name: &str) -> bool {
    let is_inner = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
    name.bytes().next().is_some_and(|first| first.is_ascii_alphanumeric()) && name.bytes().all(is_inner)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn strings(list: &[&str]) -> Vec<String> {
        list.iter().map(ToString::to_string).collect()
    }

    fn bound(pairs: &[(&str, &str)]) -> Result<Option<Ports>, String> {
        let port_bindings: BTreeMap<_, _> = pairs.iter().map(|(h, c)| ((*h).to_owned(), (*c).to_owned())).collect();
        ports(&StartStepRequest { port_bindings, ..Default::default() }).map_err(|error| error.to_string())
    }

    #[test]
    fn ports_are_bound_as_they_are_given() {
        assert_eq!(bound(&[]), Ok(None));
        let (mut shown, bound) =
            bound(&[("8080", "80"), ("53", "53/udp"), ("8081", "80/tcp")]).expect("ports").expect("some");
        shown.sort();
        assert_eq!(shown, ["53/udp", "80/tcp", "80/tcp"]);
        assert_eq!(bound["80/tcp"].as_ref().map(Vec::len), Some(2));
        assert_eq!(bound["53/udp"].as_ref().expect("one")[0].host_port.as_deref(), Some("53"));
    }

    /// Of the list of defects: a malformed port ended the step with a panic.
    #[test]
    fn a_port_that_is_none_is_told_with_its_value() {
        for (host, container, named) in [
            ("http", "80", "\"http\""),
            ("80", "http", "\"http\""),
            ("80", "0", "\"0\""),
            ("99999", "1", "\"99999\""),
            ("80", "80/xyz", "\"80/xyz\""),
            ("80", "", "\"\""),
        ] {
            let error = bound(&[(host, container)]).expect_err("no port");
            assert!(error.starts_with("port_bindings of the step holds") && error.contains(named), "{error}");
        }
    }

    /// Of the list of defects: an address that is none was dropped without a word.
    #[test]
    fn an_address_that_is_none_is_told_with_its_value() {
        let check = |request: StartStepRequest, expected: &str| {
            let error = put(&request, &mut HostConfig::default()).expect_err("a refusal").to_string();
            assert!(error.contains(expected), "{error}");
        };
        check(StartStepRequest { dns: strings(&["1.1.1.1", "dns.example"]), ..Default::default() }, "\"dns.example\"");
        check(StartStepRequest { extra_hosts: strings(&["db"]), ..Default::default() }, "\"db\"");
        check(StartStepRequest { extra_hosts: strings(&["db:1.2.3"]), ..Default::default() }, "\"db:1.2.3\"");
        check(StartStepRequest { extra_hosts: strings(&[":1.2.3.4"]), ..Default::default() }, "\":1.2.3.4\"");
        let fine = strings(&["db:1.2.3.4", "six:::1", "host.docker.internal:host-gateway"]);
        let mut config = HostConfig::default();
        put(&StartStepRequest { extra_hosts: fine.clone(), dns: strings(&["::1"]), ..Default::default() }, &mut config)
            .expect("a configuration");
        assert_eq!(config.extra_hosts, Some(fine));
    }

    #[test]
    fn a_step_is_in_its_stages_network_unless_it_names_another() {
        let request = |network: &str, networks: &[&str]| StartStepRequest {
            name: "db".into(),
            network: network.into(),
            networks: strings(networks),
            network_aliases: strings(&["postgres", "db"]),
            ..Default::default()
        };
        let networks = Networks::of(&request("", &["other", "net-1"]), "net-1").expect("networks");
        assert_eq!((networks.first.as_deref(), &networks.further), (Some("net-1"), &strings(&["other"])));
        assert_eq!(networks.aliases, ["db", "postgres"]);
        assert!(networks.config().is_some());
        let host = Networks::of(&request("host", &[]), "net-1").expect("networks");
        assert_eq!((host.first.as_deref(), host.config()), (Some("host"), None));
        assert_eq!(Networks::of(&request("", &[]), "").expect("networks").first, None);
        assert!(Networks::of(&request("../containers", &[]), "").is_err());
        assert!(Networks::of(&request("", &["a?b"]), "").is_err());
    }
}
