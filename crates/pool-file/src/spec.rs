//! Checked specs of all drivers, as JSON.

use kiln_document::schema::Shape;
use kiln_document::yaml::Node;
use serde_json::Value;

use crate::json;
use crate::reader::{Reader, Words};
use crate::section::{Limit, Section, Variant};

/// Greatest size of a spec. It is stored with each kind of instance.
const MAX_SPEC_BYTES: usize = 32 * 1024;

/// Reads a spec. `whole` is false for a spec that is merged into a pool's spec.
pub(crate) fn read(section: &dyn Section, node: &Node, whole: bool, reader: &mut Reader<'_>) -> Value {
    let shape = section.shape();
    let spec = if matches!(shape, Shape::Any) {
        node.to_json()
    } else {
        let Some(checked) = reader.checked(node, &shape, Words::Incumbent) else { return Value::Null };
        for limit in section.limits() {
            limit.check(&checked, reader);
        }
        section.check(&checked, whole, reader);
        json::of(&checked, &shape)
    };
    if spec.to_string().len() > MAX_SPEC_BYTES {
        let message = format!("the `spec` has more than {MAX_SPEC_BYTES} bytes");
        reader.invalid("spec-too-large", &node.location, message, "put what is large into the image");
        return Value::Null;
    }
    spec
}

/// Returns a pool's spec after merging in a variant's keys and then its `kiln.spec`.
pub(crate) fn varied(
    section: &dyn Section,
    base: &Value,
    variant: &Variant,
    over: Option<&Value>,
    reader: &mut Reader<'_>,
) -> Value {
    let mut spec = base.clone();
    section.vary(&mut spec, variant, reader);
    for limit in section.limits() {
        tell_beyond(limit, base, &spec, variant, reader);
    }
    if let Some(over) = over {
        json::merge(&mut spec, over);
    }
    spec
}

/// Reports a number that a variant's keys move beyond its limit. Numbers within a spec have been checked there.
fn tell_beyond(limit: &Limit, base: &Value, spec: &Value, variant: &Variant, reader: &mut Reader<'_>) {
    let Some(beyond) = limit.beyond(spec).filter(|beyond| limit.beyond(base) != Some(*beyond)) else { return };
    let (id, path) = (&variant.id, limit.path.join("."));
    let message = format!("the variant `{id}` asks for a `{path}` of {beyond}, which is {limit} here");
    reader.invalid("out-of-range", &variant.location, message, "give the variant a number that is possible");
}
