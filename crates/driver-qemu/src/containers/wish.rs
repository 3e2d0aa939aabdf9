//! What a pool wants in its VMs beside the image, as its spec says.

use kiln_driver::user_data::Engine;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::build_cache::check_build_cache;
use super::error::ContainerError;
use super::reference::{check_mirror, check_registry, parse};
use crate::error::QemuError;

/// The part of a spec that only this driver understands.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Wish {
    /// Container images that the VMs have from the start.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) preload: Vec<String>,
    /// Whether they are fetched with the credentials of the host's Docker configuration.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) host_credentials: bool,
    /// Where the engine, and this host, look first for images of Docker Hub.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) registry_mirror: Option<String>,
    /// Registries that may be spoken to without TLS.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) insecure_registries: Vec<String>,
    /// Where the layers of image builds are kept: a repository, or a bucket in BuildKit's words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) build_cache: Option<String>,
}

/// The variable that tells steps where the layers of image builds are kept.
const BUILD_CACHE: &str = "KILN_BUILD_CACHE";

impl Wish {
    /// Reads it back from a launch.
    ///
    /// # Errors
    /// When it is another driver's, or not possible.
    pub(crate) fn of(spec: &Value) -> Result<Self, QemuError> {
        if spec.is_null() {
            return Ok(Self::default());
        }
        let wish: Self = serde_json::from_value(spec.clone())
            .map_err(|error| QemuError::Invalid(format!("the launch is not one of a local VM: {error}")))?;
        wish.check()?;
        Ok(wish)
    }

    fn check(&self) -> Result<(), ContainerError> {
        for reference in &self.preload {
            parse(reference)?;
        }
        if let Some(place) = &self.build_cache {
            check_build_cache(place)?;
        }
        for registry in &self.insecure_registries {
            check_registry(registry)?;
        }
        self.registry_mirror.as_ref().map_or(Ok(()), |url| check_mirror(url).map(drop))
    }

    /// What a launch carries of it; nothing where nothing is wanted.
    pub(crate) fn to_spec(&self) -> Value {
        if *self == Self::default() { Value::Null } else { serde_json::to_value(self).unwrap_or_default() }
    }

    /// What is put into the environment of every step.
    pub(crate) fn environment(&self) -> impl Iterator<Item = (String, String)> + '_ {
        self.build_cache.iter().map(|place| (BUILD_CACHE.to_owned(), place.clone()))
    }

    /// What the engine in the VMs is told.
    pub(crate) fn engine(&self) -> Engine {
        Engine {
            registry_mirrors: self.registry_mirror.iter().cloned().collect(),
            insecure_registries: self.insecure_registries.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_launch_carries_what_is_wanted_and_nothing_else() {
        let check = |spec: Value, expect: &str| {
            let found = Wish::of(&spec).map_or_else(|error| error.to_string(), |wish| wish.to_spec().to_string());
            assert!(found.starts_with(expect), "{spec}: {found}");
        };
        check(Value::Null, "null");
        check(json!({}), "null");
        check(json!({"preload": ["alpine:3"], "host_credentials": false}), r#"{"preload":["alpine:3"]}"#);
        check(json!({"registry_mirror": "http://10.0.2.2:5000"}), r#"{"registry_mirror":"http://10.0.2.2:5000"}"#);
        check(json!({"build_cache": "r.example/cache"}), r#"{"build_cache":"r.example/cache"}"#);
        check(json!({"build_cache": "r.example/Cache"}), "`r.example/Cache` names no container image");
        check(json!({"preload": ["A"]}), "`A` names no container image");
        check(json!({"registry_mirror": "a"}), "`a` is no registry: write a URL");
        check(json!({"insecure_registries": ["a/b"]}), "`a/b` is no registry: write a host");
        check(json!({"size": "m6i.large"}), "the launch is not one of a local VM: ");
    }
}
