//! What keys a mapping may have and what their values look like: one table, three users.
//!
//! [`check`] walks a tree beside its table and tells about unknown keys, wrong types and wrong words. The dialects'
//! readers then take what they need, knowing that the shape was told about already. [`json::Definitions`] writes the same
//! tables as JSON Schema for editors. So the three cannot drift apart.

mod check;
pub mod json;
mod suggest;

pub(crate) use check::with_article;
pub use check::{Language, check, is_expression, truth};
pub use suggest::{closest, did_you_mean};

/// The keys of one kind of mapping.
#[derive(Debug)]
pub struct Table {
    /// What the mapping is, as in "unknown key `x` in a stage": `stage`, `step`.
    pub name: &'static str,
    /// Its keys.
    pub keys: &'static [Key],
    /// Keys beyond the known ones are only warned about: nothing that Kiln carries out can stand there.
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
}

/// What is done with a key that the dialect knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// A reader takes it.
    Read,
    /// It says nothing about how the pipeline runs: names, tags, where it is kept.
    Describes,
    /// It has no effect in a run by Kiln, which is told in a note when it is set; the text says why.
    NoEffect(&'static str),
    /// Kiln cannot do this yet; the text says what it is.
    Unsupported(&'static str),
}

/// What a value looks like. Null is always allowed and counts as absent.
#[derive(Debug, Clone, Copy)]
pub enum Shape {
    /// Any scalar.
    Text,
    /// `true` or `false`.
    Bool,
    /// A number.
    Number,
    /// Looked at by nobody, or by the reader alone.
    Any,
    /// A duration: `10m`, `1h 30m`.
    Duration,
    /// One of these words.
    Enum(&'static [&'static str]),
    /// One of these words; others are allowed and only warned about.
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
    /// A key that a reader takes.
    #[must_use]
    pub const fn read(name: &'static str, shape: Shape, doc: &'static str) -> Key {
        Key { name, shape, role: Role::Read, doc }
    }

    /// A key that says nothing about how the pipeline runs.
    #[must_use]
    pub const fn describes(name: &'static str) -> Key {
        Key { name, shape: Shape::Any, role: Role::Describes, doc: "" }
    }

    /// A key without effect here, and why.
    #[must_use]
    pub const fn no_effect(name: &'static str, shape: Shape, why: &'static str) -> Key {
        Key { name, shape, role: Role::NoEffect(why), doc: why }
    }

    /// A key for what Kiln cannot do yet, and what that is.
    #[must_use]
    pub const fn unsupported(name: &'static str, what: &'static str) -> Key {
        Key { name, shape: Shape::Any, role: Role::Unsupported(what), doc: what }
    }
}

impl Table {
    /// A mapping in which any other key is a mistake.
    #[must_use]
    pub const fn closed(name: &'static str, keys: &'static [Key]) -> Table {
        Table { name, keys, open: false }
    }

    /// A mapping in which any other key is only warned about.
    #[must_use]
    pub const fn open(name: &'static str, keys: &'static [Key]) -> Table {
        Table { name, keys, open: true }
    }

    /// The key of that name.
    #[must_use]
    pub fn key(&self, name: &str) -> Option<&'static Key> {
        self.keys.iter().find(|key| key.name == name)
    }
}
