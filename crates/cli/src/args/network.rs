//! What the VMs of a run reach.

use std::net::SocketAddr;

use clap::Args;
use kiln_pool::Network;
use kiln_pool::network::{IpNet, parse_host, parse_net};

/// What the VMs of `kiln run` reach beside the public internet.
#[derive(Debug, Clone, Default, Args)]
pub struct NetworkArgs {
    /// Open an address at one port for the VMs; may be repeated. They reach public addresses only; 127.0.0.1:PORT of this
    /// machine is 10.0.2.2:PORT in a VM
    #[arg(long, value_name = "ADDR:PORT", value_parser = host, help_heading = "Network")]
    pub allow_host: Vec<SocketAddr>,
    /// Open a network for the VMs, such as 10.20.0.0/16; may be repeated
    #[arg(long, value_name = "NET", value_parser = net, help_heading = "Network")]
    pub allow: Vec<IpNet>,
    /// Close nothing: the VMs reach all that this machine reaches, and its own services
    #[arg(long, conflicts_with_all = ["allow", "allow_host"], help_heading = "Network")]
    pub without_isolation: bool,
}

impl NetworkArgs {
    /// Returns the network of the VMs.
    pub fn network(&self) -> Network {
        Network { isolated: !self.without_isolation, allow: self.allow.clone(), allow_hosts: self.allow_host.clone() }
    }

    /// Returns the first option that was given.
    pub fn given(&self) -> Option<&'static str> {
        let options = [
            ("--allow-host", !self.allow_host.is_empty()),
            ("--allow", !self.allow.is_empty()),
            ("--without-isolation", self.without_isolation),
        ];
        options.into_iter().find_map(|(name, given)| given.then_some(name))
    }
}

fn host(text: &str) -> Result<SocketAddr, String> {
    parse_host(text, "--allow").map_err(|error| error.to_string())
}

fn net(text: &str) -> Result<IpNet, String> {
    parse_net(text, "--allow-host").map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use crate::args::{Cli, Command};

    #[track_caller]
    fn check(options: &[&str], expect: &str) {
        let read = Cli::try_parse_from([&["kiln", "run", "p.yml"], options].concat());
        let told = match read {
            Ok(Cli { command: Command::Run(run) }) => serde_json::to_string(&run.network.network()).expect("JSON"),
            Ok(_) => panic!("no run"),
            Err(error) => error.to_string(),
        };
        assert!(told.contains(expect), "{options:?}: {told}");
    }

    #[test]
    fn openings() {
        check(&[], r#"{"isolated":true,"allow":[],"allow_hosts":[]}"#);
        check(
            &["--allow-host", "127.0.0.1:5000", "--allow-host=[fd00::1]:80", "--allow", "10.0.0.0/8"],
            r#"{"isolated":true,"allow":["10.0.0.0/8"],"allow_hosts":["127.0.0.1:5000","[fd00::1]:80"]}"#,
        );
        check(&["--without-isolation"], r#"{"isolated":false,"#);
        check(&["--without-isolation", "--allow", "10.0.0.0/8"], "cannot be used with");
        check(&["--allow-host", "10.1.2.3"], "`10.1.2.3` has no port: write the port that is to be open");
        check(&["--allow-host", "db:5432"], "`db:5432` is a name");
        check(&["--allow", "10.1.2.3/8"], "write `10.0.0.0/8` for the network");
        check(&["--allow", "10.1.2.3:80"], "`10.1.2.3:80` has a port: write it under `--allow-host`");
    }
}
