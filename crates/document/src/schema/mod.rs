//! Tables that say which keys a mapping may have and what their values look like. Each table has three users.
//!
//! [`check`] compares a tree with its table and reports unknown keys, wrong types and wrong words. The reader of the format
//! then takes the values that it needs, knowing that wrong shapes were already reported. [`json::Definitions`] writes the
//! same tables as JSON Schema for editors. So the three cannot drift apart.

mod check;
pub mod json;
mod suggest;

pub use check::{Language, check, is_number, truth, with_article};
pub use suggest::{closest, did_you_mean};

/// The keys of one kind of mapping.
#[derive(Debug)]
pub struct Table {
    /// What the mapping is, as in "unknown key `x` in a stage": `stage`, `step`.
    pub name: &'static str,
    /// Its keys.
    pub keys: &'static [Key],
    /// Whether unknown keys are warnings, because nothing that Kiln carries out can stand there.
    pub open: bool,
}

/// One key.
#[derive(Debug)]
pub struct Key {
    /// Its spelling.
    pub name: &'static str,
    /// What its value looks like.
    pub shape: Shape,
    /// What Kiln does with it.
    pub role: Role,
    /// One line for editors.
    pub doc: &'static str,
    /// Whether the value may be an expression as a whole although it is a collection.
    pub may_be_expression: bool,
}

/// What Kiln does with a key that the language knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// A reader takes it.
    Read,
    /// It only describes, and changes nothing that is carried out: names, tags, where something is kept.
    Describes,
    /// It has no effect in Kiln, which a note says when it is set. The text says why.
    NoEffect(&'static str),
    /// Kiln cannot do this yet. The text says what it is.
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
    /// Anything; at most the reader looks at it.
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

    /// Returns a key without effect here; `why` says why.
    #[must_use]
    pub const fn no_effect(name: &'static str, shape: Shape, why: &'static str) -> Key {
        Key::new(name, shape, Role::NoEffect(why), why)
    }

    /// Returns a key for what Kiln cannot do yet; `what` says what that is.
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

    /// Returns the key of that name.
    #[must_use]
    pub fn key(&self, name: &str) -> Option<&'static Key> {
        self.keys.iter().find(|key| key.name == name)
    }
}
