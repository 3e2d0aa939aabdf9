//! What expressions can see.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use super::Value;

/// Returns the value of a secret, or none when it is not known.
type Secrets = Arc<dyn Fn(&str) -> Option<String> + Send + Sync>;

/// What expressions can see: named values and secrets.
pub struct Scope {
    root: Value,
    secrets: Secrets,
    used: Mutex<BTreeSet<String>>,
}

impl Scope {
    /// Returns a scope of these values (a [`Value::Map`]) and no secrets.
    pub fn new(root: impl Into<Value>) -> Self {
        Self { root: root.into(), secrets: Arc::new(|_| None), used: Mutex::default() }
    }

    /// Gives the scope its secrets. The name is what the file says, with its `account.` or `org.` prefix.
    #[must_use]
    pub fn with_secrets(mut self, secrets: impl Fn(&str) -> Option<String> + Send + Sync + 'static) -> Self {
        self.secrets = Arc::new(secrets);
        self
    }

    /// Returns the values.
    pub fn root(&self) -> &Value {
        &self.root
    }

    /// Puts a value at a path of names, making maps on the way.
    pub fn set(&mut self, path: &[&str], value: impl Into<Value>) {
        self.root.set(path, value);
    }

    /// Returns the values of the secrets that evaluations have taken from this scope so far: what is to be masked.
    pub fn secrets_used(&self) -> Vec<String> {
        let used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        used.iter().cloned().collect()
    }

    pub(super) fn secret(&self, name: &str) -> Option<String> {
        let value = (self.secrets)(name)?;
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        if !used.contains(&value) {
            used.insert(value.clone());
        }
        Some(value)
    }
}

/// Copies the values and secrets. The copy has its own record of the secrets used.
impl Clone for Scope {
    fn clone(&self) -> Self {
        Self { root: self.root.clone(), secrets: Arc::clone(&self.secrets), used: Mutex::default() }
    }
}

/// Shows only the names of the values: a value may be secret.
impl fmt::Debug for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = match &self.root {
            Value::Map(map) => map.keys().collect(),
            _ => Vec::new(),
        };
        f.debug_struct("Scope").field("names", &names).finish_non_exhaustive()
    }
}
