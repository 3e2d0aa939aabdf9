//! What messages look like, as data: from it the description of an API is made, so that it cannot say something else than
//! the code does.

/// A message or a set of words.
#[derive(Debug, Clone, Copy)]
pub enum Shape {
    /// An object.
    Message {
        /// Its name.
        name: &'static str,
        /// What it is for.
        about: &'static str,
        /// Its fields, in the order in which they are written.
        fields: &'static [Field],
    },
    /// One of some words.
    Words {
        /// Its name.
        name: &'static str,
        /// What it is for.
        about: &'static str,
        /// The words; the first is what an unknown one is read as.
        words: &'static [&'static str],
    },
}

/// A field of a message.
#[derive(Debug, Clone, Copy)]
pub struct Field {
    /// Its name in JSON.
    pub name: &'static str,
    /// What it holds.
    pub about: &'static str,
    /// Its type, as it stands in the source: `BTreeMap<String, String>`.
    pub ty: &'static str,
    /// Whether it is written even when it is zero.
    pub always: bool,
}

/// Something that can be described.
pub trait Described {
    /// Its description.
    const SHAPE: Shape;
}

/// Whether the word behind a field of a message is `always`.
pub(crate) const fn is_always(word: &str) -> bool {
    // The macro takes no other word; comparing lengths is what a constant can do.
    word.len() == "always".len()
}
