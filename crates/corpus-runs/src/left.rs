//! Why files do not count.

use serde::Serialize;

/// What keeps a file from running here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// None of its stages builds: it deploys, or runs on Harness itself.
    NoCiStage,
    /// It is made of a template that is not in the repository.
    OnlyATemplate,
    /// Its stages are for another system or processor.
    OtherMachine,
    /// What its steps call is no package of the distribution.
    NotPackaged,
    /// Its steps need what the test has not: modules of the network, hosts to deploy to.
    NeedsNetwork,
    /// It has a kind of step that Kiln refuses.
    Refused,
    /// The system that it is written for refuses it too, or its container starts nothing there either.
    Broken,
}

impl Reason {
    /// All, in the order of the table.
    pub const ALL: [Self; 7] = [
        Self::NoCiStage,
        Self::OnlyATemplate,
        Self::OtherMachine,
        Self::NotPackaged,
        Self::NeedsNetwork,
        Self::Refused,
        Self::Broken,
    ];

    /// What it means, for people.
    pub fn words(self) -> &'static str {
        match self {
            Self::NoCiStage => "no stage of type CI: it deploys, or runs on Harness itself",
            Self::OnlyATemplate => "only a template, which is not in its repository",
            Self::OtherMachine => "its CI stages are for another system or processor",
            Self::NotPackaged => "its steps call what is no package of the distribution",
            Self::NeedsNetwork => "its steps need modules or hosts of the network",
            Self::Refused => "it has a kind of step that Kiln refuses",
            Self::Broken => "it runs on the system that it is written for no more than here",
        }
    }
}

/// A file that does not count.
#[derive(Debug, Clone, Copy)]
pub struct Left {
    /// Its folder in the corpus.
    pub kind: &'static str,
    /// Its name there.
    pub file: &'static str,
    /// What keeps it.
    pub reason: Reason,
    /// What exactly; empty where the reason says all.
    pub what: &'static str,
}

impl Left {
    /// Returns the breaches between what is said of the file and what is in it.
    pub fn contradicts(&self, text: &str) -> Option<String> {
        let stages = ci_stages(text);
        match self.reason {
            Reason::NoCiStage | Reason::OnlyATemplate if stages > 0 => {
                Some(format!("{} is listed without a stage of type CI, and has {stages}", self.file))
            }
            Reason::OtherMachine
            | Reason::NotPackaged
            | Reason::NeedsNetwork
            | Reason::Refused
            | Reason::Broken
            | Reason::NoCiStage
            | Reason::OnlyATemplate => None,
        }
    }
}

/// Returns how many stages of type CI a file of Harness has, by its lines.
pub fn ci_stages(text: &str) -> usize {
    text.lines().filter(|line| line.trim().trim_start_matches("- ") == "type: CI").count()
}
