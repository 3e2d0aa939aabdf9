//! Credentials from the environment and from the files of Amazon's tools.

use std::collections::BTreeMap;

/// The profile that counts when none is named.
const DEFAULT: &str = "default";
/// What is taken of a profile.
const TAKEN: [(&str, &str); 4] = [
    ("aws_access_key_id", "AWS_ACCESS_KEY_ID"),
    ("aws_secret_access_key", "AWS_SECRET_ACCESS_KEY"),
    ("aws_session_token", "AWS_SESSION_TOKEN"),
    ("region", "AWS_REGION"),
];

/// A profile that was asked for by name is not there.
#[derive(Debug, thiserror::Error)]
#[error("there is no profile {0:?} in the files of AWS credentials")]
pub struct ProfileError(String);

/// Returns the settings of a store: the variables of the environment that begin with `AWS_`, and what a profile has beside them. Without
/// keys in the environment, the profile is the one that `AWS_PROFILE` names, or the one that is called default. `files` are the texts
/// of the files of credentials and of configuration.
///
/// # Errors
/// When `AWS_PROFILE` names a profile that is not there.
pub fn settings(
    environment: impl IntoIterator<Item = (String, String)>,
    files: &[String],
) -> Result<BTreeMap<String, String>, ProfileError> {
    let mut settings: BTreeMap<String, String> =
        environment.into_iter().filter(|(name, value)| name.starts_with("AWS_") && !value.is_empty()).collect();
    if settings.contains_key("AWS_ACCESS_KEY_ID") {
        return Ok(settings);
    }
    let named = settings.get("AWS_PROFILE").cloned();
    let profile = named.as_deref().unwrap_or(DEFAULT);
    let sections: Vec<_> = files.iter().filter_map(|file| section(file, profile)).collect();
    if sections.is_empty() && named.is_some() {
        return Err(ProfileError(profile.to_owned()));
    }
    for (key, variable) in TAKEN {
        let value = sections.iter().find_map(|section| section.get(key));
        if let Some(value) = value {
            settings.entry(variable.to_owned()).or_insert_with(|| value.clone());
        }
    }
    Ok(settings)
}

/// Returns the keys and values below `[NAME]`, or `[profile NAME]` as it is in files of configuration.
fn section(file: &str, name: &str) -> Option<BTreeMap<String, String>> {
    let mut found: Option<BTreeMap<String, String>> = None;
    let mut is_within = false;
    for line in file.lines() {
        let trimmed = line.trim();
        if let Some(title) = trimmed.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            let title = title.trim();
            is_within = title.strip_prefix("profile").map_or(title, str::trim_start) == name || title == name;
            if is_within {
                found.get_or_insert_default();
            }
            continue;
        }
        // A line that is indented belongs to the key above it, of which none is taken.
        let is_key = is_within && !line.starts_with([' ', '\t', '#', ';']);
        if let (true, Some((key, value)), Some(found)) = (is_key, trimmed.split_once('='), &mut found) {
            found.insert(key.trim().to_ascii_lowercase(), value.trim().to_owned());
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    const CREDENTIALS: &str = "# mine\n[default]\naws_access_key_id = D\naws_secret_access_key=DS\n\n[ci]\nAWS_ACCESS_KEY_ID = C\naws_secret_access_key = C=S\n";
    const CONFIG: &str = "[default]\nregion = eu-1\n[profile ci]\nregion = us-2\ns3 =\n  region = nested\n";

    fn of(environment: &[(&str, &str)]) -> Result<String, ProfileError> {
        let environment = environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let settings = settings(environment, &[CREDENTIALS.to_owned(), CONFIG.to_owned()])?;
        let get = |name: &str| settings.get(name).cloned().unwrap_or_default();
        Ok(format!("{} {} {}", get("AWS_ACCESS_KEY_ID"), get("AWS_SECRET_ACCESS_KEY"), get("AWS_REGION")))
    }

    #[test]
    fn the_environment_comes_before_profiles() {
        assert_eq!(of(&[]).expect("settings"), "D DS eu-1");
        assert_eq!(of(&[("AWS_PROFILE", "ci")]).expect("settings"), "C C=S us-2");
        assert_eq!(of(&[("AWS_REGION", "here"), ("HOME", "/root")]).expect("settings"), "D DS here");
        let keys = [("AWS_ACCESS_KEY_ID", "E"), ("AWS_SECRET_ACCESS_KEY", "ES"), ("AWS_PROFILE", "none")];
        assert_eq!(of(&keys).expect("settings"), "E ES ");
        let error = of(&[("AWS_PROFILE", "none")]).expect_err("a refusal");
        assert!(error.to_string().contains("\"none\""), "{error}");
    }
}
