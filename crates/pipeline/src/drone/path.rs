//! `PATH` of a step, the one variable in which Drone expands others: `PATH: "$PATH:/opt/x/bin"`.

use crate::plan::Shell;

/// Returns a line for the beginning of a step's script that sets `PATH`, when its value has `$NAME` or `${NAME}` in it. They
/// stand for the variables of the step's environment, with the machine's own `PATH`, and nothing else is expanded.
#[must_use]
pub fn set(value: &str, shell: Shell) -> Option<String> {
    let pieces = pieces(value);
    if !pieces.iter().any(|piece| matches!(piece, Piece::Variable(_))) {
        return None;
    }
    let words: Vec<String> = pieces.iter().map(|piece| piece.word(shell)).collect();
    Some(match shell {
        Shell::Sh | Shell::Bash => format!("export PATH={}\n", words.concat()),
        Shell::Pwsh | Shell::Powershell => format!("$env:PATH = {}\n", words.join(" + ")),
        Shell::Python => format!("import os; os.environ['PATH'] = {}\n", words.join(" + ")),
    })
}

/// A piece of a value.
#[derive(Debug, PartialEq, Eq)]
enum Piece<'a> {
    Text(&'a str),
    Variable(&'a str),
}

impl Piece<'_> {
    /// Returns the piece as a word of the shell's language.
    fn word(&self, shell: Shell) -> String {
        match (self, shell) {
            (Piece::Text(text), Shell::Sh | Shell::Bash) => format!("'{}'", text.replace('\'', "'\\''")),
            (Piece::Text(text), Shell::Pwsh | Shell::Powershell) => format!("'{}'", text.replace('\'', "''")),
            (Piece::Text(text), Shell::Python) => serde_json::Value::from(*text).to_string(),
            (Piece::Variable(name), Shell::Sh | Shell::Bash) => format!("\"${{{name}-}}\""),
            (Piece::Variable(name), Shell::Pwsh | Shell::Powershell) => format!("${{env:{name}}}"),
            (Piece::Variable(name), Shell::Python) => format!("os.environ.get('{name}', '')"),
        }
    }
}

/// Splits a value at its variables. A `$` before anything but a name is plain text.
fn pieces(value: &str) -> Vec<Piece<'_>> {
    let mut pieces = Vec::new();
    let (mut from, mut at) = (0, 0);
    while let Some(dollar) = value[at..].find('$').map(|found| at + found) {
        at = dollar + 1;
        let Some((name, end)) = name(value, at) else { continue };
        if from < dollar {
            pieces.push(Piece::Text(&value[from..dollar]));
        }
        pieces.push(Piece::Variable(name));
        (from, at) = (end, end);
    }
    if from < value.len() {
        pieces.push(Piece::Text(&value[from..]));
    }
    pieces
}

/// Returns the name that begins at a place, in braces or without, and where what follows it begins.
fn name(value: &str, at: usize) -> Option<(&str, usize)> {
    let of = |from: usize| {
        let rest = &value[from..];
        let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(rest.len());
        let name = &rest[..end];
        (!name.is_empty() && !name.starts_with(|c: char| c.is_ascii_digit())).then_some((name, from + end))
    };
    if !value[at..].starts_with('{') {
        return of(at);
    }
    let (name, end) = of(at + 1)?;
    value[end..].starts_with('}').then_some((name, end + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_are_expanded() {
        for plain in ["", "/bin:/usr/bin", "/a$", "$(id):/x", "$1:/x", "${PATH:/x", "$$"] {
            assert_eq!(set(plain, Shell::Sh), None, "{plain}");
        }
        let value = "it's/$(id):$PATH:${HOME}/bin";
        assert_eq!(
            set(value, Shell::Sh).as_deref(),
            Some("export PATH='it'\\''s/$(id):'\"${PATH-}\"':'\"${HOME-}\"'/bin'\n")
        );
        assert_eq!(
            set(value, Shell::Powershell).as_deref(),
            Some("$env:PATH = 'it''s/$(id):' + ${env:PATH} + ':' + ${env:HOME} + '/bin'\n")
        );
        assert_eq!(
            set("$PATH:/\"x", Shell::Python).as_deref(),
            Some("import os; os.environ['PATH'] = os.environ.get('PATH', '') + \":/\\\"x\"\n")
        );
    }
}
