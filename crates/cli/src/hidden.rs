//! The given secrets, which the program must not show. They are masked in its log and its last error. A run's events
//! are masked by the run itself, which also knows the secrets of its steps.

use std::io::{self, Write};
use std::sync::{Arc, LazyLock};

use kiln_mask::{Masked, Secrets};

static SECRETS: LazyLock<Arc<Secrets>> = LazyLock::new(Arc::default);

/// Hides values from now on.
pub fn hide<'a>(values: impl IntoIterator<Item = &'a str>) {
    SECRETS.add(values.into_iter().filter(|value| !value.is_empty()));
}

/// Masks a text.
pub fn mask(text: String) -> Masked<String> {
    SECRETS.mask(text)
}

/// Standard error, masked event by event: each is written at once.
pub struct Log;

impl Write for Log {
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        let text = mask(String::from_utf8_lossy(event).into_owned());
        io::stderr().write_all(text.as_bytes())?;
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_that_was_given_is_shown_nowhere() {
        hide(["", "hunter2-of-the-test"]);
        assert_eq!(*mask("say hunter2-of-the-test".to_owned()), "say **************");
        let event = b"say hunter2-of-the-test\n";
        assert_eq!(Log.write(event).expect("standard error"), event.len());
    }
}
