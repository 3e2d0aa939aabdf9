//! What is expected of a file.

use crate::tree::Tree;

/// A file that runs, with what is given to it and what is expected of it.
#[derive(Debug, Clone)]
pub struct Case {
    /// Its folder in the corpus.
    pub kind: &'static str,
    /// Its name there.
    pub file: &'static str,
    /// The sources.
    pub tree: Tree,
    /// Files beside them: path, text.
    pub files: Vec<(&'static str, &'static str)>,
    /// What is known about the build, over a push to `master`.
    pub facts: Vec<(&'static str, &'static str)>,
    /// Values for inputs.
    pub given: Vec<(&'static str, &'static str)>,
    /// Secrets.
    pub secrets: Vec<(&'static str, &'static str)>,
    /// Stages that run; all where it names none.
    pub stages: Vec<&'static str>,
    /// Why the other stages do not run; empty where all run.
    pub without: &'static str,
    /// Its steps only print what they are told to, so that it does not count.
    pub only_prints: bool,
    /// How each step ends, `stage.step passed`, and what some of them print, `stage.step | text`.
    pub expect: &'static str,
    /// Images that are in the registry afterwards.
    pub pushed: Vec<&'static str>,
    /// What was sent to services, in parts.
    pub sent: Vec<&'static str>,
}

/// Returns a file of Drone.
pub fn drone(file: &'static str, tree: Tree, expect: &'static str) -> Case {
    Case::new("drone", file, tree, expect)
}

/// Returns a file of Harness.
pub fn harness(file: &'static str, tree: Tree, expect: &'static str) -> Case {
    Case::new("harness", file, tree, expect)
}

impl Case {
    fn new(kind: &'static str, file: &'static str, tree: Tree, expect: &'static str) -> Self {
        let none = Vec::new;
        Self {
            kind,
            file,
            tree,
            files: none(),
            facts: none(),
            given: none(),
            secrets: none(),
            stages: Vec::new(),
            without: "",
            only_prints: false,
            expect,
            pushed: Vec::new(),
            sent: Vec::new(),
        }
    }

    /// With a file in its sources.
    pub fn file(mut self, path: &'static str, text: &'static str) -> Self {
        self.files.push((path, text));
        self
    }

    /// With a fact of the build.
    pub fn fact(mut self, name: &'static str, value: &'static str) -> Self {
        self.facts.push((name, value));
        self
    }

    /// With a value for an input.
    pub fn give(mut self, name: &'static str, value: &'static str) -> Self {
        self.given.push((name, value));
        self
    }

    /// With secrets that all have the same value.
    pub fn secrets(mut self, names: &[&'static str]) -> Self {
        self.secrets.extend(names.iter().map(|name| (*name, "hush-hush")));
        self
    }

    /// With a secret.
    pub fn secret(mut self, name: &'static str, value: &'static str) -> Self {
        self.secrets.push((name, value));
        self
    }

    /// Of which these stages run, and why the others do not.
    pub fn only(mut self, stages: &[&'static str], without: &'static str) -> Self {
        self.stages.extend(stages);
        self.without = without;
        self
    }

    /// Whose steps only print what they are told to.
    pub fn only_prints(mut self) -> Self {
        self.only_prints = true;
        self
    }

    /// After which these images are in the registry.
    pub fn pushes(mut self, images: &[&'static str]) -> Self {
        self.pushed.extend(images);
        self
    }

    /// After which this was sent to a service.
    pub fn sends(mut self, part: &'static str) -> Self {
        self.sent.push(part);
        self
    }
}
