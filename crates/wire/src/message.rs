//! Makes message structures and word enumerations with their reading and writing.

/// Defines structures that are read loosely and written without their zero values.
///
/// A field is `name: Type = "json name"`; with `always` behind it, it is written even when zero.
macro_rules! message {
    ($(
        $(#[doc = $doc:literal])*
        pub struct $name:ident {
            $( $(#[doc = $field_doc:literal])* $field:ident : $ty:ty = $json:literal $($always:ident)? ),* $(,)?
        }
    )*) => {$(
        $(#[doc = $doc])*
        #[derive(Debug, Clone, Default, PartialEq)]
        pub struct $name { $( $(#[doc = $field_doc])* pub $field: $ty, )* }

        impl $crate::described::Described for $name {
            const SHAPE: $crate::described::Shape = $crate::described::Shape::Message {
                name: stringify!($name),
                about: concat!($($doc),*),
                fields: &[$($crate::described::Field {
                    name: $json,
                    about: concat!($($field_doc),*),
                    ty: stringify!($ty),
                    always: false $(|| $crate::described::is_always(stringify!($always)))?,
                }),*],
            };
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                use serde::ser::SerializeMap as _;
                let mut map = to.serialize_map(None)?;
                $(
                    if false $(|| stringify!($always) == "always")? || !$crate::loose::Zero::is_zero(&self.$field) {
                        map.serialize_entry($json, &self.$field)?;
                    }
                )*
                map.end()
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                struct Fields;
                impl<'de> serde::de::Visitor<'de> for Fields {
                    type Value = $name;
                    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        f.write_str(concat!("an object (", stringify!($name), ") or null"))
                    }
                    fn visit_unit<E>(self) -> Result<$name, E> {
                        Ok($name::default())
                    }
                    fn visit_map<A: serde::de::MapAccess<'de>>(self, mut from: A) -> Result<$name, A::Error> {
                        let mut out = $name::default();
                        while let Some(key) = from.next_key::<String>()? {
                            $(
                                if key.eq_ignore_ascii_case($json) {
                                    $crate::loose::set(&mut from, &mut out.$field)?;
                                    continue;
                                }
                            )*
                            from.next_value::<serde::de::IgnoredAny>()?;
                        }
                        Ok(out)
                    }
                }
                from.deserialize_any(Fields)
            }
        }

        impl<'de> $crate::loose::Loose<'de> for $name {
            fn read<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                serde::Deserialize::deserialize(from)
            }
        }

        impl $crate::loose::Zero for $name {
            fn is_zero(&self) -> bool {
                false
            }
        }
    )*};
}

/// Defines an enumeration written as a word. The first word is the default, and what an unknown word is read as.
macro_rules! words {
    ($(
        $(#[doc = $doc:literal])*
        pub enum $name:ident {
            $(#[$first_meta:meta])* $first:ident = $first_word:literal,
            $( $(#[$other_meta:meta])* $other:ident = $other_word:literal ),* $(,)?
        }
    )*) => {$(
        $(#[doc = $doc])*
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
        pub enum $name { $(#[$first_meta])* #[default] $first, $( $(#[$other_meta])* $other, )* }

        impl $crate::described::Described for $name {
            const SHAPE: $crate::described::Shape = $crate::described::Shape::Words {
                name: stringify!($name),
                about: concat!($($doc),*),
                words: &[$first_word, $($other_word),*],
            };
        }

        impl $name {
            /// The word on the wire.
            pub fn as_str(self) -> &'static str {
                match self { Self::$first => $first_word, $( Self::$other => $other_word, )* }
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                to.serialize_str(self.as_str())
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                $crate::loose::Loose::read(from)
            }
        }

        impl<'de> $crate::loose::Loose<'de> for $name {
            fn read<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                let word: String = $crate::loose::Loose::read(from)?;
                Ok(match word.as_str() { $( $other_word => Self::$other, )* _ => Self::$first })
            }
        }

        impl $crate::loose::Zero for $name {
            fn is_zero(&self) -> bool {
                *self == Self::default()
            }
        }
    )*};
}

pub(crate) use {message, words};
