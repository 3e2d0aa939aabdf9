//! Rules for refusing crates.

use std::collections::BTreeSet;

use super::packages::Package;
use super::policy::Policy;

/// Returns the breaches, in words.
pub fn breaches(policy: &Policy, packages: &[Package]) -> Vec<String> {
    // All crates must come from one registry, whatever its name was when they were locked.
    let registries: BTreeSet<&str> =
        packages.iter().filter_map(|p| p.source.as_deref()).filter(|s| registry(s)).collect();
    let mut breaches = Vec::new();
    if registries.len() > 1 {
        breaches.push(format!("crates come from {} registries", registries.len()));
    }
    for package in packages {
        let Package { name, version, .. } = package;
        let mut breach = |what: String| breaches.push(format!("{name} {version}: {what}"));
        if policy.banned.contains(name) {
            breach(format!("is banned; see why it is there with: cargo tree --workspace --all-features -i {name}"));
        }
        match package.source.as_deref() {
            Some(source) if registry(source) => {}
            Some(source) => breach(format!("comes from {source}, not from a registry")),
            None => breach("is a folder outside of the workspace".to_owned()),
        }
        match package.license.as_deref().map(|expression| policy.taken(expression)) {
            Some(Ok(Some(_))) => {}
            Some(Ok(None)) => {
                breach(format!("its licence `{}` is not allowed", package.license.as_deref().unwrap_or("?")))
            }
            Some(Err(error)) => breach(format!("{error:#}")),
            None => breach("says no licence".to_owned()),
        }
    }
    breaches
}

fn registry(source: &str) -> bool {
    source.starts_with("registry+")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good() -> Package {
        Package {
            name: "a".to_owned(),
            version: "1.0.0".to_owned(),
            license: Some("MIT".to_owned()),
            source: Some("registry+one".to_owned()),
            ..Package::default()
        }
    }

    #[track_caller]
    fn check(packages: &[Package], expected: &[&str]) {
        let policy = Policy { allowed: vec!["MIT".to_owned()], banned: vec!["openssl".to_owned()] };
        let found = breaches(&policy, packages);
        assert_eq!(found.len(), expected.len(), "{found:?}");
        for (found, expected) in found.iter().zip(expected) {
            assert!(found.contains(expected), "{found}");
        }
    }

    #[test]
    fn an_ordinary_crate_passes() {
        check(&[good()], &[]);
    }

    #[test]
    fn licences_are_checked() {
        check(&[Package { license: Some("GPL-3.0-only".to_owned()), ..good() }], &["`GPL-3.0-only` is not allowed"]);
        check(&[Package { license: None, ..good() }], &["says no licence"]);
        check(&[Package { license: Some("nonsense".to_owned()), ..good() }], &["is not an SPDX expression"]);
    }

    #[test]
    fn banned_crates_are_found() {
        check(&[Package { name: "openssl".to_owned(), ..good() }], &["openssl 1.0.0: is banned"]);
    }

    #[test]
    fn sources_are_checked() {
        check(&[Package { source: Some("git+https://a".to_owned()), ..good() }], &["comes from git+https://a"]);
        check(&[Package { source: None, ..good() }], &["outside of the workspace"]);
        check(&[good(), Package { source: Some("registry+two".to_owned()), ..good() }], &["2 registries"]);
    }
}
