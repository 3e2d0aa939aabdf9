//! Templates of keys: `gradle-{{ checksum "build.gradle" }}-{{ .Branch }}`.
//!
//! | | |
//! |---|---|
//! | `{{ checksum "FILE" ... }}` | SHA-256 of the content of the files, which may be globs |
//! | `{{ hashFiles "GLOB" ... }}` | the same |
//! | `{{ epoch }}` | seconds since 1970 |
//! | `{{ os }}`, `{{ arch }}` | `linux`, and `amd64` or `arm64` |
//! | `{{ .Branch }}`, `{{ .Commit.Sha }}` ... | what is known of the build, see [`Fact`] |
//!
//! The files are those of the instance, so a key is worked out in two steps: [`Key::files`] says which sums it needs.

mod parse;

use std::collections::BTreeMap;

pub use parse::KeyError;

/// A key that has been read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    Checksum(Vec<String>),
    Epoch,
    Os,
    Arch,
    Fact(Fact),
}

impl Part {
    fn files(&self) -> &[String] {
        match self {
            Self::Checksum(files) => files,
            Self::Text(_) | Self::Epoch | Self::Os | Self::Arch | Self::Fact(_) => &[],
        }
    }
}

/// Something that is known of the build, by the names that keys have for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fact {
    /// `.Branch`, `.Commit.Branch`, `.Repo.Branch`
    Branch,
    /// `.Commit.Sha`
    Commit,
    /// `.Commit.Ref`
    Ref,
    /// `.Repo.Name`, `.Repo.FullName`
    Repo,
    /// `.Build.Number`
    BuildNumber,
    /// `.Build.Event`
    Event,
}

/// What a key may use.
#[derive(Debug, Clone, Default)]
pub struct Values<'v> {
    /// Sums of files, by their paths as the key has them.
    pub sums: BTreeMap<&'v str, &'v str>,
    /// The processor, as Go calls it.
    pub arch: &'v str,
    /// Seconds since 1970.
    pub epoch_s: u64,
}

impl Key {
    /// Reads a key.
    ///
    /// # Errors
    /// When a part between braces means nothing.
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        parse::parse(text).map(|parts| Self { parts })
    }

    /// Returns the paths of the files whose sums the key needs.
    pub fn files(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().flat_map(Part::files).map(String::as_str)
    }

    /// Works the key out. A fact that is not known is an empty text, as is the sum of a file that is not among the values.
    #[must_use]
    pub fn render<'f>(&self, values: &Values<'_>, fact: impl Fn(Fact) -> &'f str) -> String {
        let mut text = String::new();
        for part in &self.parts {
            match part {
                Part::Text(part) => text.push_str(part),
                Part::Epoch => text.push_str(&values.epoch_s.to_string()),
                Part::Os => text.push_str("linux"),
                Part::Arch => text.push_str(values.arch),
                Part::Fact(of) => text.push_str(fact(*of)),
                Part::Checksum(files) => text.push_str(&sum_of(files, values)),
            }
        }
        text
    }
}

/// The sum of one file stands for itself; that of several is made of theirs.
fn sum_of(files: &[String], values: &Values<'_>) -> String {
    let sums: Vec<&str> = files.iter().filter_map(|file| values.sums.get(file.as_str()).copied()).collect();
    match sums.as_slice() {
        [one] => (*one).to_owned(),
        all => {
            let mut sum = kiln_tls::Sha256::default();
            all.iter().for_each(|of_file| sum.update(of_file.as_bytes()));
            sum.hex()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(key: &str, expected: &str) {
        let key = Key::parse(key).expect("a key");
        let sums = BTreeMap::from([("a b.lock", "abc"), ("go.sum", "def")]);
        let values = Values { sums, arch: "amd64", epoch_s: 7 };
        let fact = |fact| match fact {
            Fact::Branch => "main",
            Fact::Commit => "c0ffee",
            Fact::Ref => "refs/heads/main",
            Fact::Repo => "octo/hello",
            Fact::BuildNumber => "12",
            Fact::Event => "push",
        };
        assert_eq!(key.render(&values, fact), expected);
    }

    #[test]
    fn keys_are_worked_out() {
        check("plain", "plain");
        check(r#"go-{{ checksum "go.sum" }}"#, "go-def");
        check(r#"{{checksum "a b.lock"}}-{{ hashFiles 'go.sum' }}"#, "abc-def");
        check("{{ epoch }}-{{ os }}-{{ arch }}", "7-linux-amd64");
        check("{{ .Branch }}/{{ .Commit.Branch }}/{{.Commit.Sha}}", "main/main/c0ffee");
        check("{{ .Repo.Name }} {{ .Build.Number }} {{ .Build.Event }}", "octo/hello 12 push");
        check("a } b }} { c", "a } b }} { c");
        // Two files: the sum of their sums.
        let mut sum = kiln_tls::Sha256::default();
        sum.update(b"abcdef");
        check(r#"{{ checksum "a b.lock" "go.sum" }}"#, &sum.hex());
    }

    #[test]
    fn the_files_of_a_key_are_told() {
        let key = Key::parse(r#"x-{{ checksum "a" "b/*.lock" }}{{ epoch }}{{ hashFiles "c" }}"#).expect("a key");
        assert_eq!(key.files().collect::<Vec<_>>(), ["a", "b/*.lock", "c"]);
    }

    #[test]
    fn what_means_nothing_is_refused_with_what_there_is() {
        for (key, told) in [
            ("a-{{ checksum }}", "names no file"),
            ("a-{{ checksum go.sum }}", "within quotes"),
            ("a-{{ checksum \"go.sum }}", "within quotes"),
            ("a-{{ md5 \"x\" }}", "`md5`"),
            ("a-{{ .Nothing }}", "`.Nothing`"),
            ("a-{{ epoch 1 }}", "takes nothing"),
            ("a-{{ }}", "is empty"),
            ("a-{{ epoch", "is not closed"),
        ] {
            let error = Key::parse(key).expect_err(key).to_string();
            assert!(error.contains(told), "{key}: {error}");
        }
    }
}
