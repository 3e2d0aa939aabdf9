//! Tables of the keys of mappings and the shapes of their values. Each table has three users.
//!
//! [`check`] compares a tree with its table and reports unknown keys, wrong types and wrong words. The reader of the
//! format then takes its values and relies on wrong shapes having been reported. [`json::Definitions`] writes the same
//! tables as JSON Schema for editors. So the three cannot diverge.

mod check;
pub mod json;
mod suggest;

pub use check::{Language, check, is_number, truth, with_article};
pub use suggest::{closest, did_you_mean};

/// The keys of one kind of mapping.
#[derive(Debug)]
pub struct Table {
    /// Name of the mapping, as in "unknown key `x` in a stage": `stage`, `step`.
    pub name: &'static str,
    /// Its keys.
    pub keys: &'static [Key],
    /// Whether unknown keys are only warnings, because Kiln carries out nothing in such a mapping.
    pub open: bool,
}

/// One key.
#[derive(Debug)]
pub struct Key {
    /// Its spelling.
    pub name: &'static str,
    /// The shape of its value.
    pub shape: Shape,
    /// Its use in Kiln.
    pub role: Role,
    /// Its description for editors, in one line.
    pub doc: &'static str,
    /// Whether the value may be an expression as a whole although it is a collection.
    pub may_be_expression: bool,
}

/// Kiln's use of a key that the language knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// A reader takes the value.
    Read,
    /// The key only describes, and changes nothing in a run: names, tags, storage places.
    Describes,
    /// The key has no effect in Kiln. A note with this reason says so when it is set.
    NoEffect(&'static str),
    /// Kiln cannot do this yet. The text names the feature.
    Unsupported(&'static str),
}

/// Form of a value. Null is always allowed and counts as absent.
#[derive(Debug, Clone, Copy)]
pub enum Shape {
    /// Any scalar.
    Text,
    /// `true` or `false`.
    Bool,
    /// A number.
    Number,
    /// Any value; only the reader checks it.
    Any,
    /// A duration: `10m`, `1h 30m`.
    Duration,
    /// One of these words.
    Enum(&'static [&'static str]),
    /// One of these words; any other is a warning.
    OpenEnum(&'static [&'static str]),
    /// A list.
    List(&'static Shape),
    /// A list, or a single one of its items.
    OneOrMore(&'static Shape),
    /// A mapping with keys of the user's choice.
    Map(&'static Shape),
    /// A mapping with known keys.
    Of(&'static Table),
    /// A mapping with known keys, or a list of a single kind, or a scalar: any of these.
    AnyOf(&'static [Shape]),
}

impl Key {
    /// Returns a key of any role.
    #[must_use]
    pub const fn new(name: &'static str, shape: Shape, role: Role, doc: &'static str) -> Key {
        Key { name, shape, role, doc, may_be_expression: false }
    }

    /// Returns a key that a reader takes.
    #[must_use]
    pub const fn read(name: &'static str, shape: Shape, doc: &'static str) -> Key {
        Key::new(name, shape, Role::Read, doc)
    }

    /// Returns a key that only describes.
    #[must_use]
    pub const fn describes(name: &'static str) -> Key {
        Key::new(name, Shape::Any, Role::Describes, "")
    }

    /// Returns a key without effect here, for the reason `why`.
    #[must_use]
    pub const fn no_effect(name: &'static str, shape: Shape, why: &'static str) -> Key {
        Key::new(name, shape, Role::NoEffect(why), why)
    }

    /// Returns a key for a feature that Kiln lacks; `what` names the feature.
    #[must_use]
    pub const fn unsupported(name: &'static str, what: &'static str) -> Key {
        Key::new(name, Shape::Any, Role::Unsupported(what), what)
    }

    /// Lets an expression stand for the value as a whole although it is a collection.
    #[must_use]
    pub const fn or_expression(self) -> Key {
        Key { may_be_expression: true, ..self }
    }
}

impl Table {
    /// Returns a mapping in which any other key is an error.
    #[must_use]
    pub const fn closed(name: &'static str, keys: &'static [Key]) -> Table {
        Table { name, keys, open: false }
    }

    /// Returns a mapping in which any other key is a warning.
    #[must_use]
    pub const fn open(name: &'static str, keys: &'static [Key]) -> Table {
        Table { name, keys, open: true }
    }

    /// Returns the key with that name.
    #[must_use]
    pub fn key(&self, name: &str) -> Option<&'static Key> {
        self.keys.iter().find(|key| key.name == name)
    }
}
