//! The parts of `deny.toml` that are needed here.

use std::fs;

use anyhow::{Context, Result};
use spdx::{Expression, LicenseReq, ParseMode};
use toml::{Table, Value};

use crate::cargo;

/// The rules for linking.
#[derive(Debug, Default)]
pub struct Policy {
    /// Allowed licences, the preferred ones first.
    pub allowed: Vec<String>,
    /// Banned crates.
    pub banned: Vec<String>,
}

impl Policy {
    /// Reads the file.
    pub fn read() -> Result<Self> {
        let text = fs::read_to_string(cargo::root().join("deny.toml")).context("cannot read deny.toml")?;
        Self::parse(&text).context("deny.toml")
    }

    fn parse(text: &str) -> Result<Self> {
        let table: Table = text.parse().context("it is not TOML")?;
        let list = |section: &str, key: &str| {
            let list = table.get(section).and_then(|section| section.get(key)).and_then(Value::as_array);
            list.with_context(|| format!("it has no list {section}.{key}"))
        };
        let allowed = list("licenses", "allow")?.iter().map(|licence| licence.as_str());
        let banned = list("bans", "deny")?.iter().map(|ban| ban.get("crate").and_then(Value::as_str));
        let owned = |text: Option<&str>| text.map(str::to_owned).context("a list holds something that is not a name");
        Ok(Self {
            allowed: allowed.map(owned).collect::<Result<_>>()?,
            banned: banned.map(owned).collect::<Result<_>>()?,
        })
    }

    /// Returns the licences to use, of those that an expression offers; none if no allowed combination fulfils it.
    pub fn taken(&self, expression: &str) -> Result<Option<Vec<String>>> {
        let parsed = Expression::parse_mode(expression, ParseMode::LAX)
            .with_context(|| format!("`{expression}` is not an SPDX expression"))?;
        let named = |req: &LicenseReq, licence: &str| {
            req.addition.is_none() && req.license.id().is_some_and(|id| id.name == licence)
        };
        if !parsed.evaluate(|req| self.allowed.iter().any(|licence| named(req, licence))) {
            return Ok(None);
        }
        // As few as suffice, the preferred ones first.
        let mut taken: Vec<String> = Vec::new();
        for licence in &self.allowed {
            if parsed.requirements().any(|req| named(&req.req, licence)) {
                taken.push(licence.clone());
            }
            if parsed.evaluate(|req| taken.iter().any(|licence| named(req, licence))) {
                break;
            }
        }
        Ok(Some(taken))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(expression: &str, expected: Option<&[&str]>) {
        let allowed = ["Apache-2.0", "MIT", "ISC"].map(str::to_owned).to_vec();
        let policy = Policy { allowed, banned: Vec::new() };
        let taken = policy.taken(expression).expect("an expression");
        assert_eq!(taken, expected.map(|names| names.iter().map(|name| (*name).to_owned()).collect()), "{expression}");
    }

    #[test]
    fn the_preferred_licence_is_taken() {
        check("MIT OR Apache-2.0", Some(&["Apache-2.0"]));
        check("MIT/Apache-2.0", Some(&["Apache-2.0"]));
        check("MIT", Some(&["MIT"]));
        check("Apache-2.0 AND ISC", Some(&["Apache-2.0", "ISC"]));
        check("(MIT OR GPL-3.0-only) AND ISC", Some(&["MIT", "ISC"]));
        check("Apache-2.0 WITH LLVM-exception OR MIT", Some(&["MIT"]));
    }

    #[test]
    fn what_is_not_listed_is_refused() {
        check("GPL-3.0-only", None);
        check("MIT AND GPL-3.0-only", None);
    }

    #[test]
    fn lists_are_read() {
        let policy =
            Policy::parse("[licenses]\nallow = ['MIT']\n[bans]\ndeny = [{ crate = 'openssl' }]\n").expect("a policy");
        assert_eq!((policy.allowed, policy.banned), (vec!["MIT".to_owned()], vec!["openssl".to_owned()]));
        assert!(Policy::parse("[licenses]\n").is_err());
    }
}
