//! Reads the templates of keys.

use super::{Fact, Part};

/// A key cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// A `{{` has no `}}`.
    #[error("`{{{{` is not closed by `}}}}`")]
    Open,
    /// There is nothing between the braces.
    #[error("`{{{{ }}}}` is empty")]
    Empty,
    /// A function has the wrong arguments.
    #[error("`{function}` {problem}")]
    Arguments {
        /// Its name.
        function: String,
        /// What is wrong with them.
        problem: &'static str,
    },
    /// There is no such function or name.
    #[error(
        "`{0}` means nothing in a key: there are checksum \"FILE\", hashFiles \"GLOB\", epoch, os, arch, .Branch, .Commit.Sha, \
         .Commit.Ref, .Repo.Name, .Build.Number and .Build.Event"
    )]
    Unknown(String),
}

/// Returns the parts of a key.
pub(super) fn parse(text: &str) -> Result<Vec<Part>, KeyError> {
    let (mut parts, mut rest) = (Vec::new(), text);
    while let Some((before, within)) = rest.split_once("{{") {
        let (within, after) = within.split_once("}}").ok_or(KeyError::Open)?;
        if !before.is_empty() {
            parts.push(Part::Text(before.to_owned()));
        }
        parts.push(part(within.trim())?);
        rest = after;
    }
    if !rest.is_empty() {
        parts.push(Part::Text(rest.to_owned()));
    }
    Ok(parts)
}

fn part(text: &str) -> Result<Part, KeyError> {
    let (function, arguments) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
    let wrong = |problem| KeyError::Arguments { function: function.to_owned(), problem };
    let alone = |part| if arguments.is_empty() { Ok(part) } else { Err(wrong("takes nothing")) };
    let fact = |fact| alone(Part::Fact(fact));
    match function {
        "" => Err(KeyError::Empty),
        "checksum" | "hashFiles" => {
            let files = quoted(arguments).ok_or_else(|| wrong("takes files within quotes: checksum \"go.sum\""))?;
            if files.is_empty() { Err(wrong("names no file")) } else { Ok(Part::Checksum(files)) }
        }
        "epoch" => alone(Part::Epoch),
        "os" => alone(Part::Os),
        "arch" => alone(Part::Arch),
        ".Branch" | ".Commit.Branch" | ".Repo.Branch" => fact(Fact::Branch),
        ".Commit.Sha" => fact(Fact::Commit),
        ".Commit.Ref" => fact(Fact::Ref),
        ".Repo.Name" | ".Repo.FullName" => fact(Fact::Repo),
        ".Build.Number" => fact(Fact::BuildNumber),
        ".Build.Event" => fact(Fact::Event),
        other => Err(KeyError::Unknown(other.to_owned())),
    }
}

/// Returns texts within quotes that follow each other.
fn quoted(text: &str) -> Option<Vec<String>> {
    let (mut files, mut rest) = (Vec::new(), text.trim());
    while let Some(quote) = rest.chars().next() {
        if !['"', '\'', '`'].contains(&quote) {
            return None;
        }
        let (file, after) = rest[1..].split_once(quote)?;
        files.push(file.to_owned());
        rest = after.trim_start();
    }
    Some(files)
}
