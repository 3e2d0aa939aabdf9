//! Whom the steps run as that do not say it.

use std::fs;
use std::path::Path;

use super::HostError;
use super::files::{missing, own};
use crate::os::account::{self, Account};
use crate::os::files::set_mode;
use crate::settings::Settings;

/// Whom a home belongs to, and nobody else.
const HOME_MODE: u32 = 0o700;

/// The account for a step's `user`, or for the setting when that is empty; none for the agent's own.
///
/// # Errors
/// When there is no such user.
pub(crate) fn account_of(settings: &Settings, user: &str) -> Result<Option<Account>, HostError> {
    let by_setting = user.is_empty();
    let mut account = account::find(if by_setting { &settings.step_user } else { user })?;
    if let Some(account) = account.as_mut().filter(|_| by_setting) {
        // An id without an account still needs a place for what tools keep.
        let beside = || settings.engine_dir.join("home").to_string_lossy().into_owned();
        account.home.get_or_insert_with(beside);
    }
    Ok(account)
}

/// Makes the home of an account, unless it is there.
pub(crate) fn make_home(account: &Account) -> Result<(), HostError> {
    let Some(home) = account.home.as_ref().map(Path::new).filter(|home| !home.exists()) else { return Ok(()) };
    let above = missing(home);
    // What is above a home belongs to the machine.
    let made = fs::create_dir_all(home).and_then(|()| own(&above[..above.len().min(1)], Some(account)));
    let made = made.and_then(|()| set_mode(home, HOME_MODE));
    made.map_err(|source| HostError::File { path: home.into(), source })
}
