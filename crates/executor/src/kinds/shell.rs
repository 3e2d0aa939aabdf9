//! Scripts that Kiln writes itself, for `sh` on the host of the instance.

/// Returns a word that a shell takes as it is.
pub(super) fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', "'\\''"))
}

/// Returns words as a command line.
pub(super) fn line<W: AsRef<str>>(words: impl IntoIterator<Item = W>) -> String {
    words.into_iter().map(|word| quoted(word.as_ref())).collect::<Vec<_>>().join(" ")
}

/// Returns a check that the machine has a program.
pub(super) fn needs(program: &str) -> String {
    format!(
        "command -v {program} >/dev/null 2>&1 || {{ echo 'this step needs {program}, which the image of this machine does not have' >&2; exit 127; }}\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_taken_as_they_are() {
        let words = ["printf", "%s|", "a b", "it's", "$HOME", "", "*", "-x", "\\n", "a\nb"];
        let out = std::process::Command::new("sh").args(["-c", &line(words)]).output().expect("a shell");
        assert_eq!(String::from_utf8_lossy(&out.stdout), "a b|it's|$HOME||*|-x|\\n|a\nb|");
    }
}
