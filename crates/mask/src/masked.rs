//! Masked messages, as a type.

use std::fmt;
use std::ops::Deref;

use serde::{Serialize, Serializer};

/// A message with masked texts. Only [`crate::Secrets::mask`] makes one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Masked<T>(pub(crate) T);

/// A message whose texts can be masked.
///
/// Its texts are the parts that people read. Identifiers, numbers and words of the protocol are none. Values for
/// programs are none either: an output that is passed to another step is useful only whole.
pub trait Texts {
    /// Calls `mask` for each text.
    ///
    /// An implementation names every field, so that a new one cannot be forgotten.
    fn texts(&mut self, mask: &mut dyn FnMut(&mut String));
}

impl<T> Masked<T> {
    /// Returns the message. Texts that are added later are not masked, and the type no longer proves anything.
    pub fn into_inner(self) -> T {
        self.0
    }
}

impl<T> Deref for Masked<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T: fmt::Display> fmt::Display for Masked<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<T: Serialize> Serialize for Masked<T> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(to)
    }
}

impl Texts for String {
    fn texts(&mut self, mask: &mut dyn FnMut(&mut String)) {
        mask(self);
    }
}

impl<T: Texts> Texts for Option<T> {
    fn texts(&mut self, mask: &mut dyn FnMut(&mut String)) {
        self.iter_mut().for_each(|message| message.texts(mask));
    }
}

impl<T: Texts> Texts for Vec<T> {
    fn texts(&mut self, mask: &mut dyn FnMut(&mut String)) {
        self.iter_mut().for_each(|message| message.texts(mask));
    }
}
