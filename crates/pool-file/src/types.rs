//! The drivers that `type` can name: those of the program, and known ones that it lacks.

use kiln_document::diagnostic::Diagnostic;
use kiln_document::schema::{Shape, did_you_mean};
use kiln_document::yaml::Node;
use kiln_pool::config::Launch;
use serde_json::Value;

use crate::amazon::Amazon;
use crate::reader::Reader;
use crate::section::{Instances, Section, Variant};

/// The drivers of the program.
#[derive(Clone, Copy)]
pub(crate) struct Drivers<'a>(pub &'a [&'a dyn Section]);

/// The driver that a `type` names.
#[derive(Clone, Copy)]
pub(crate) struct Found<'a> {
    pub section: &'a dyn Section,
    /// Whether the program has the driver. Otherwise the pool is only shown.
    pub usable: bool,
}

/// A driver of drone-runner-aws that this program may lack, and an alternative for people.
struct Known {
    section: &'static dyn Section,
    instead: &'static str,
}

static KNOWN: &[Known] = &[
    Known { section: &Amazon, instead: CLOUD },
    Known { section: &Unread { name: "google", aliases: &["gcp", "gce"] }, instead: CLOUD },
    Known { section: &Unread { name: "azure", aliases: &[] }, instead: CLOUD },
    Known { section: &Unread { name: "digitalocean", aliases: &["do"] }, instead: CLOUD },
    Known { section: &Unread { name: "nomad", aliases: &[] }, instead: CLOUD },
    Known { section: &Unread { name: "anka", aliases: &[] }, instead: MAC },
    Known { section: &Unread { name: "ankabuild", aliases: &[] }, instead: MAC },
    Known { section: &Unread { name: "vmfusion", aliases: &[] }, instead: MAC },
    Known { section: &Unread { name: "noop", aliases: &[] }, instead: NOOP },
];

const CLOUD: &str = "move the pool to a driver of this release ({ours}), or leave it with drone-runner-aws and remove it from this file";
const MAC: &str =
    "instances of macOS are not possible yet: leave the pool with drone-runner-aws and remove it from this file";
const NOOP: &str = "remove the pool: it makes no instances";

impl<'a> Drivers<'a> {
    /// Returns the names of the program's drivers, as a list for a message.
    pub fn names(self) -> String {
        self.0.iter().map(|section| format!("`{}`", section.name())).collect::<Vec<_>>().join(", ")
    }

    /// Returns a smallest pool that the program can run, for suggestions.
    pub fn example(self) -> String {
        match self.0.first() {
            Some(first) => {
                let (name, spec) = (first.name(), first.example());
                format!("a pool: `instances: [{{name: linux, type: {name}, pool: 1, spec: {spec}}}]`")
            }
            None => "list the pools under `instances`".to_owned(),
        }
    }

    /// Returns all sections, those of the program first.
    pub fn all(self) -> impl Iterator<Item = &'a dyn Section> + Clone {
        let ours = self.0;
        let missing = KNOWN.iter().map(|known| -> &'a dyn Section { known.section });
        ours.iter().copied().chain(missing.filter(|known| !ours.iter().any(|section| section.name() == known.name())))
    }

    /// Returns the section of a `type`. Reports a driver that the program lacks, and returns nothing for an unknown
    /// one.
    pub fn find(self, name: &str, place: &Node, reader: &mut Reader<'_>) -> Option<Found<'a>> {
        if let Some(section) = self.0.iter().find(|section| section.name() == name) {
            return Some(Found { section: *section, usable: true });
        }
        if let Some(known) = KNOWN.iter().find(|known| known.section.name() == name) {
            let message = format!("there is no {name} driver in this release");
            let help = known.instead.replace("{ours}", &self.names());
            reader.push(Diagnostic::unsupported("unsupported-driver", &place.location, message).help(help));
            return Some(Found { section: known.section, usable: false });
        }
        let mut found = Diagnostic::invalid("unknown-type", &place.location, format!("`type` cannot be `{name}`"));
        let is_alias = |section: &&dyn Section| section.aliases().iter().any(|alias| alias.eq_ignore_ascii_case(name));
        found.help = match self.all().find(is_alias) {
            Some(meant) => Some(format!("did you mean `{}`?", meant.name())),
            None => did_you_mean(name, self.all().map(Section::name)),
        };
        reader.push(found);
        None
    }
}

/// A driver that does not exist yet. Its spec is not checked.
#[derive(Debug)]
struct Unread {
    name: &'static str,
    aliases: &'static [&'static str],
}

impl Section for Unread {
    fn name(&self) -> &'static str {
        self.name
    }

    fn aliases(&self) -> &'static [&'static str] {
        self.aliases
    }

    fn example(&self) -> &'static str {
        "{}"
    }

    fn shape(&self) -> Shape {
        Shape::Any
    }

    fn check(&self, _: &Node, _: bool, _: &mut Reader<'_>) {}

    fn vary(&self, _: &mut Value, _: &Variant, _: &mut Reader<'_>) {}

    fn instances(&self, spec: Value) -> Instances {
        Instances { launch: Launch { spec, ..Launch::default() }, hibernate: false }
    }
}
