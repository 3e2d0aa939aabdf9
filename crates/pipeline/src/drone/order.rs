//! Turns names in `depends_on` into indices. As in Drone, only what stands above can be named, so the file's own order is
//! one in which each item stands behind those it needs.

use std::collections::{BTreeSet, HashMap};

use kiln_document::diagnostic::{Diagnostic, Location};
use kiln_document::schema::did_you_mean;

use super::reader::Reader;
use crate::plan::Node;

/// Something with a name that waits for others.
pub(super) struct Item<T> {
    pub name: String,
    /// Where the name stands, or the item when it has none.
    pub location: Location,
    /// Names of items that it waits for, each with the place where it is written.
    pub depends_on: Vec<(String, Location)>,
    /// Indices of items that it waits for without naming them.
    pub after: Vec<usize>,
    pub item: T,
}

/// The step that Drone puts before all others.
pub(super) const CLONE: &str = "clone";
/// Most names that an unknown one is compared with.
const MAX_COMPARED: usize = 200;

/// Makes nodes of the items. Reports duplicate and unknown names, and those of items that do not stand above.
pub(super) fn resolve<T>(reader: &mut Reader<'_>, items: Vec<Item<T>>, what: &str) -> Vec<Node<T>> {
    let index = index(reader, &items, what);
    let mut all: Vec<Vec<usize>> = Vec::with_capacity(items.len());
    for (at, item) in items.iter().enumerate() {
        let mut needs: BTreeSet<usize> = item.after.iter().copied().collect();
        for (name, place) in &item.depends_on {
            match index.get(name.as_str()) {
                Some(&need) if need < at => {
                    needs.insert(need);
                }
                Some(&need) => reader.push(not_above(item, &items[need], place, what)),
                None if what == "step" && name == CLONE => {}
                None => {
                    let message = format!("`{}` depends on `{name}`, and no {what} has that name", item.name);
                    let mut found = Diagnostic::invalid("unknown-dependency", place, message);
                    let near = items.iter().take(MAX_COMPARED).map(|item| item.name.as_str());
                    found.help = did_you_mean(name, near.filter(|name| *name != item.name));
                    reader.push(found);
                }
            }
        }
        all.push(needs.into_iter().collect());
    }
    items.into_iter().zip(all).map(|(item, needs)| Node { item: item.item, needs }).collect()
}

/// Returns the index of each name, and reports names that stand twice.
fn index<T>(reader: &mut Reader<'_>, items: &[Item<T>], what: &str) -> HashMap<String, usize> {
    let mut index = HashMap::new();
    for (at, item) in items.iter().enumerate() {
        let first = *index.entry(item.name.clone()).or_insert(at);
        if first != at {
            let message = format!("two {what}s have the name `{}`", item.name);
            let help = format!("the first one is in line {}; a name may stand only once", items[first].location.line);
            reader.push(Diagnostic::invalid("duplicate-name", &item.location, message).help(help));
        }
    }
    index
}

fn not_above<T>(item: &Item<T>, needed: &Item<T>, place: &Location, what: &str) -> Diagnostic {
    let (name, needed, line) = (&item.name, &needed.name, needed.location.line);
    if name == needed {
        let message = format!("the {what} `{name}` depends on itself");
        return Diagnostic::invalid("dependency-cycle", place, message).help("remove it from its `depends_on`");
    }
    let message = format!("`{name}` depends on `{needed}`, which stands below it, in line {line}");
    let help = format!("move the {what} `{needed}` above `{name}`: Drone knows only what stands above");
    Diagnostic::invalid("later-dependency", place, message).help(help)
}
