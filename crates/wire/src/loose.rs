//! Reading values the way Go's `encoding/json` does: `null` stands for the zero value wherever it appears.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

/// A value that may be written as `null`, at any depth.
pub trait Loose<'de>: Sized {
    /// Reads the value; `null` gives the zero value.
    fn read<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error>;
}

/// Whether a value is the one that Go's `omitempty` leaves out.
pub trait Zero {
    /// True for `false`, 0, `""`, an empty list or map and an absent option. Never true for a structure.
    fn is_zero(&self) -> bool;
}

/// Carries a [`Loose`] value through an interface that wants [`Deserialize`].
pub(crate) struct Via<T>(pub(crate) T);

impl<'de, T: Loose<'de>> Deserialize<'de> for Via<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        T::read(from).map(Via)
    }
}

/// Reads the value of a field. Never inlined, so that it is compiled once per type and not once per field.
#[inline(never)]
pub(crate) fn set<'de, T: Loose<'de>, A: MapAccess<'de>>(from: &mut A, field: &mut T) -> Result<(), A::Error> {
    *field = from.next_value::<Via<T>>()?.0;
    Ok(())
}

macro_rules! plain {
    ($($ty:ty),*) => {$(
        impl<'de> Loose<'de> for $ty {
            fn read<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                Ok(Option::<$ty>::deserialize(from)?.unwrap_or_default())
            }
        }
        impl Zero for $ty {
            fn is_zero(&self) -> bool {
                *self == <$ty>::default()
            }
        }
    )*};
}
plain!(bool, i32, i64, u32, u64, f64, String, serde_json::Value);

impl<'de, T: Loose<'de>> Loose<'de> for Option<T> {
    fn read<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        Ok(Option::<Via<T>>::deserialize(from)?.map(|via| via.0))
    }
}

impl<T> Zero for Option<T> {
    fn is_zero(&self) -> bool {
        self.is_none()
    }
}

impl<'de, T: Loose<'de>> Loose<'de> for Vec<T> {
    fn read<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct List<T>(PhantomData<T>);
        impl<'de, T: Loose<'de>> Visitor<'de> for List<T> {
            type Value = Vec<T>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list or null")
            }
            fn visit_unit<E>(self) -> Result<Vec<T>, E> {
                Ok(Vec::new())
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut from: A) -> Result<Vec<T>, A::Error> {
                let mut out = Vec::new();
                while let Some(Via(item)) = from.next_element()? {
                    out.push(item);
                }
                Ok(out)
            }
        }
        from.deserialize_any(List(PhantomData))
    }
}

impl<T> Zero for Vec<T> {
    fn is_zero(&self) -> bool {
        self.is_empty()
    }
}

impl<'de, T: Loose<'de>> Loose<'de> for BTreeMap<String, T> {
    fn read<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Map<T>(PhantomData<T>);
        impl<'de, T: Loose<'de>> Visitor<'de> for Map<T> {
            type Value = BTreeMap<String, T>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object or null")
            }
            fn visit_unit<E>(self) -> Result<Self::Value, E> {
                Ok(BTreeMap::new())
            }
            fn visit_map<A: MapAccess<'de>>(self, mut from: A) -> Result<Self::Value, A::Error> {
                let mut out = BTreeMap::new();
                while let Some((key, Via(value))) = from.next_entry::<String, Via<T>>()? {
                    out.insert(key, value);
                }
                Ok(out)
            }
        }
        from.deserialize_any(Map(PhantomData))
    }
}

impl<T> Zero for BTreeMap<String, T> {
    fn is_zero(&self) -> bool {
        self.is_empty()
    }
}
