//! Turns names in `depends_on` into indices, and orders the items so that each stands behind those it needs.

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

/// Most names that an unknown one is compared with.
const MAX_COMPARED: usize = 200;
/// Most names of a cycle that are shown.
const MAX_SHOWN: usize = 12;

/// Reports duplicate and unknown names and cycles, and orders the items. Items of a cycle keep their places and do not
/// wait for each other; the file is invalid then.
pub(super) fn sort<T>(reader: &mut Reader<'_>, items: Vec<Item<T>>, what: &str) -> Vec<Node<T>> {
    let needs = resolve(reader, &items, what);
    let order = match topological(&needs) {
        Ok(order) => order,
        Err(cycle) => {
            tell_cycle(reader, &items, &cycle, what);
            return items.into_iter().map(|item| Node { item: item.item, needs: Vec::new() }).collect();
        }
    };
    let mut position = vec![0; order.len()];
    for (new, &old) in order.iter().enumerate() {
        position[old] = new;
    }
    let mut nodes: Vec<(usize, Node<T>)> = items
        .into_iter()
        .zip(needs)
        .enumerate()
        .map(|(old, (item, needs))| {
            let needs: BTreeSet<usize> = needs.into_iter().map(|need| position[need]).collect();
            (position[old], Node { item: item.item, needs: needs.into_iter().collect() })
        })
        .collect();
    nodes.sort_by_key(|(position, _)| *position);
    nodes.into_iter().map(|(_, node)| node).collect()
}

fn resolve<T>(reader: &mut Reader<'_>, items: &[Item<T>], what: &str) -> Vec<BTreeSet<usize>> {
    let mut index = HashMap::new();
    for (at, item) in items.iter().enumerate() {
        if let Some(first) = index.get(item.name.as_str()).copied() {
            let first: &Item<T> = &items[first];
            let message = format!("two {what}s have the name `{}`", item.name);
            let help = format!("the first one is in line {}; a name may stand only once", first.location.line);
            reader.push(Diagnostic::invalid("duplicate-name", &item.location, message).help(help));
        } else {
            index.insert(item.name.as_str(), at);
        }
    }
    let mut all = Vec::with_capacity(items.len());
    for item in items {
        let mut needs: BTreeSet<usize> = item.after.iter().copied().collect();
        for (name, place) in &item.depends_on {
            match index.get(name.as_str()) {
                Some(&need) => {
                    needs.insert(need);
                }
                // Drone puts a step of this name before all others.
                None if what == "step" && name == "clone" => {}
                None => {
                    let message = format!("`{}` depends on `{name}`, and no {what} has that name", item.name);
                    let mut found = Diagnostic::invalid("unknown-dependency", place, message);
                    let near = items.iter().take(MAX_COMPARED).map(|item| item.name.as_str());
                    found.help = did_you_mean(name, near.filter(|name| *name != item.name));
                    reader.push(found);
                }
            }
        }
        all.push(needs);
    }
    all
}

/// Returns an order in which each index stands behind those it needs, as close to the given one as possible, or else
/// the indices of a cycle, each of which needs the next.
fn topological(needs: &[BTreeSet<usize>]) -> Result<Vec<usize>, Vec<usize>> {
    let mut waiting: Vec<usize> = needs.iter().map(BTreeSet::len).collect();
    let mut wanted_by: Vec<Vec<usize>> = vec![Vec::new(); needs.len()];
    for (at, needs) in needs.iter().enumerate() {
        for &need in needs {
            wanted_by[need].push(at);
        }
    }
    let mut free: BTreeSet<usize> = (0..needs.len()).filter(|&at| waiting[at] == 0).collect();
    let mut order = Vec::with_capacity(needs.len());
    while let Some(at) = free.pop_first() {
        order.push(at);
        for &next in &wanted_by[at] {
            waiting[next] -= 1;
            if waiting[next] == 0 {
                free.insert(next);
            }
        }
    }
    if order.len() == needs.len() {
        return Ok(order);
    }
    let done: BTreeSet<usize> = order.into_iter().collect();
    Err(cycle(needs, &done))
}

/// Finds a cycle. Every index that is not done needs another one that is not done, so following these must come back to
/// one.
fn cycle(needs: &[BTreeSet<usize>], done: &BTreeSet<usize>) -> Vec<usize> {
    let mut path = Vec::new();
    let mut seen = HashMap::new();
    let mut at = (0..needs.len()).find(|at| !done.contains(at));
    while let Some(here) = at {
        if let Some(start) = seen.insert(here, path.len()) {
            return path.split_off(start);
        }
        path.push(here);
        at = needs[here].iter().copied().find(|need| !done.contains(need));
    }
    path
}

fn tell_cycle<T>(reader: &mut Reader<'_>, items: &[Item<T>], cycle: &[usize], what: &str) {
    let Some(first) = cycle.first().and_then(|&at| items.get(at)) else { return };
    let next = cycle.get(1).map_or(&first.name, |&at| &items[at].name);
    let place = first.depends_on.iter().find(|(name, _)| name == next).map_or(&first.location, |(_, place)| place);
    let mut path: Vec<String> = cycle.iter().take(MAX_SHOWN).map(|&at| format!("`{}`", items[at].name)).collect();
    if cycle.len() > MAX_SHOWN {
        path.push(format!("{} more", cycle.len() - MAX_SHOWN));
    }
    path.extend(path.first().cloned());
    let message = match cycle.len() {
        1 => format!("the {what} {} depends on itself", path[0]),
        _ => format!("these {what}s wait for each other: {}", path.join(" → ")),
    };
    reader.push(Diagnostic::invalid("dependency-cycle", place, message).help("remove one of the `depends_on`"));
}
