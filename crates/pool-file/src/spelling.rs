//! Spelling of keys. Case does not matter, but underscores do: `Limit` is `limit`, `privateIP` is not `private_ip`.

use kiln_document::diagnostic::{Diagnostic, Findings};
use kiln_document::schema::{Key, Shape, Table};
use kiln_document::yaml::{Kind, Node};

/// Returns the table's key with this spelling.
fn known(table: &Table, written: &str) -> Option<&'static Key> {
    table.keys.iter().find(|key| key.name.eq_ignore_ascii_case(written))
}

/// Changes all known keys to the spelling of their tables. Reports a key that occurs in two spellings, and keeps the
/// first.
pub(crate) fn unify(node: &mut Node, shape: &Shape, findings: &mut Findings) {
    match (&mut node.kind, shape) {
        (Kind::Mapping(entries), Shape::Of(table)) => {
            let mut lines: Vec<(&str, u32)> = Vec::new();
            let all = std::mem::take(entries);
            for (mut key, mut value) in all {
                if let Some(known) = known(table, key.text().unwrap_or_default()) {
                    if let Some((_, line)) = lines.iter().find(|(name, _)| *name == known.name) {
                        let message = format!("the key `{}` occurs twice in the same mapping", known.name);
                        let help = format!("upper and lower case are the same here; the first one is in line {line}");
                        findings.push(Diagnostic::invalid("duplicate-key", &key.location, message).help(help));
                        continue;
                    }
                    lines.push((known.name, key.location.line));
                    if let Kind::Scalar(scalar) = &mut key.kind {
                        known.name.clone_into(&mut scalar.text);
                    }
                    unify(&mut value, &known.shape, findings);
                }
                entries.push((key, value));
            }
        }
        (Kind::Mapping(entries), Shape::Map(inner)) => {
            entries.iter_mut().for_each(|(_, value)| unify(value, inner, findings));
        }
        (Kind::Sequence(items), Shape::List(inner)) => items.iter_mut().for_each(|item| unify(item, inner, findings)),
        _ => {}
    }
}
