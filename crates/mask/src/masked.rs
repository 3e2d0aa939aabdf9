//! What was masked, as a type.

use std::fmt;
use std::ops::Deref;

use serde::{Serialize, Serializer};

/// A message whose texts were masked. Only [`crate::Secrets::mask`] makes one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Masked<T>(pub(crate) T);

/// A message, in the eyes of a masker.
///
/// Its texts are what people read. Identifiers, numbers and words of the protocol are none; nor are values that a program takes:
/// an output that another step is given is of use only whole.
pub trait Texts {
    /// Gives `mask` each text.
    ///
    /// An implementation names every field, so that a new one cannot be forgotten.
    fn texts(&mut self, mask: &mut dyn FnMut(&mut String));
}

impl<T> Masked<T> {
    /// Returns the message. It is masked as far as its texts go that were there, and nothing proves it any more.
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
