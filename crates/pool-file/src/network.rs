//! The `kiln.network` mapping of a pool: what its instances may reach.

use std::collections::BTreeSet;

use kiln_document::diagnostic::Diagnostic;
use kiln_document::yaml::Node;
use kiln_pool::Network;
use kiln_pool::network::{MAX_OPENINGS, OpeningError, parse_host, parse_net};

use crate::reader::Reader;
use crate::section::Section;

/// Keys of the lists, which messages name.
const ALLOW: &str = "allow";
const ALLOW_HOSTS: &str = "allow_hosts";

/// Reads the network of a pool from its checked `kiln` mapping.
pub(crate) fn of_pool(own: &Node, section: &dyn Section, reader: &mut Reader<'_>) -> Network {
    let Some(node) = own.get("network").filter(|node| node.entries().is_some()) else { return Network::default() };
    // Both lists are read in any case, so that their faults are told whatever the driver does.
    let network = Network {
        isolated: reader.switch(node, "isolation").unwrap_or(true),
        allow: all(node, ALLOW, &|text| parse_net(text, ALLOW_HOSTS), reader),
        allow_hosts: all(node, ALLOW_HOSTS, &|text| parse_host(text, ALLOW), reader),
    };
    if !section.isolates() {
        if let Some((place, _)) = own.entry("network") {
            let message = format!("`network` has no effect here yet: the driver {} does not isolate", section.name());
            let help = "leave it out; what instances reach is up to the site, such as its security groups";
            reader.warn("no-effect", &place.location, message, help);
        }
        return Network::default();
    }
    if !network.isolated {
        tell_without_effect(node, reader);
    }
    network
}

/// Returns what the texts of a list stand for, in an order of its own, so that the order in the file makes no other
/// launch of it.
fn all<T: Ord>(
    node: &Node,
    key: &str,
    parse: &dyn Fn(&str) -> Result<T, OpeningError>,
    reader: &mut Reader<'_>,
) -> Vec<T> {
    let mut found = BTreeSet::new();
    for item in reader.few(node, key, MAX_OPENINGS) {
        match item.text().map(parse) {
            Some(Ok(opening)) => drop(found.insert(opening)),
            Some(Err(error)) => {
                let message = format!("`{key}`: {error}");
                reader.push(Diagnostic::invalid("bad-opening", &item.location, message));
            }
            // The check reports what is no text.
            None => {}
        }
    }
    found.into_iter().collect()
}

/// Reports openings of instances that are not closed.
fn tell_without_effect(node: &Node, reader: &mut Reader<'_>) {
    for key in [ALLOW, ALLOW_HOSTS] {
        if let (Some((place, _)), Some([_, ..])) = (node.entry(key), node.get(key).and_then(Node::items)) {
            let message = format!("`{key}` has no effect: with `isolation: off` everything is open");
            reader.warn("no-effect", &place.location, message, "remove it, or `isolation: off`");
        }
    }
}
