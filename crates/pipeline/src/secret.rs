//! Which of the secrets that were given a name in a file means.

use crate::plan::Dialect;

impl Dialect {
    /// Returns where the secret that a file calls `name` is among those that were given, by their names.
    ///
    /// In a Harness file `account.token` and `org.token` name the same one as `token`, unless they are given in full; within a connector's
    /// secrets its name is what that holds for. Drone passes over the case of letters; a name that is the same to the letter goes first.
    #[must_use]
    pub fn find_secret<'n>(self, name: &str, given: impl Iterator<Item = &'n str> + Clone) -> Option<usize> {
        let find = |wanted: &str| given.clone().position(|given| given == wanted);
        find(name).or_else(|| match self {
            Dialect::Harness => find(&unscoped(name)?),
            Dialect::Drone => {
                let wanted = name.to_lowercase();
                given.clone().position(|given| given.to_lowercase() == wanted)
            }
        })
    }
}

/// Returns a name without its scope, if it has one.
fn unscoped(name: &str) -> Option<String> {
    let (before, own) = name.strip_prefix("connectors.").map_or(("", name), |own| ("connectors.", own));
    let bare = own.strip_prefix("account.").or_else(|| own.strip_prefix("org."))?;
    Some(format!("{before}{bare}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(dialect: Dialect, name: &str, given: &[&str], found: Option<&str>) {
        assert_eq!(dialect.find_secret(name, given.iter().copied()).map(|at| given[at]), found, "{name} in {given:?}");
    }

    #[test]
    fn a_name_with_a_scope_means_the_bare_one_in_harness() {
        let check = |name, given, found| check(Dialect::Harness, name, given, found);
        check("token", &["other", "token"], Some("token"));
        check("account.token", &["token"], Some("token"));
        check("org.token", &["token", "org.token"], Some("org.token"));
        check("connectors.account.hub.password", &["connectors.hub.password"], Some("connectors.hub.password"));
        check("token", &["account.token"], None);
        check("token", &["TOKEN"], None);
    }

    #[test]
    fn drone_passes_over_the_case_of_letters() {
        let check = |name, given, found| check(Dialect::Drone, name, given, found);
        check("CODECOV_TOKEN", &["codecov_token"], Some("codecov_token"));
        check("docker-Password", &["other", "DOCKER-PASSWORD"], Some("DOCKER-PASSWORD"));
        check("token", &["TOKEN", "token"], Some("token"));
        check("org.token", &["token"], None);
        check("token", &[], None);
    }
}
