//! Displays of a run in progress.

pub mod files;
mod json;
mod lines;
mod markdown;
mod plain;
mod row;
pub mod summary;
mod tree;

use std::io::IsTerminal as _;

use std::sync::OnceLock;

use clap::ValueEnum;
use indicatif::MultiProgress;
use kiln_mask::Masked;
use kiln_wire::run::Event;

/// The forms in which a run can be shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// A tree on a terminal, plain lines elsewhere.
    Auto,
    /// A live tree of stages and steps, with output above it.
    Tree,
    /// Lines, each with its stage and step.
    Plain,
    /// One JSON object per event and line.
    Json,
}

impl Output {
    /// Returns the actual form in place of [`Output::Auto`].
    #[must_use]
    pub fn form(self) -> Self {
        match self {
            Self::Auto if std::io::stdout().is_terminal() && std::io::stderr().is_terminal() => Self::Tree,
            Self::Auto => Self::Plain,
            form => form,
        }
    }
}

/// Shows events as they arrive. Called from one thread at a time.
pub trait View: Send {
    /// Shows one event.
    fn show(&mut self, event: &Masked<Event>);
}

/// Returns the moving lines at the bottom of the terminal. All code that draws shares them; otherwise it would
/// overwrite each other's lines.
pub fn bars() -> &'static MultiProgress {
    static BARS: OnceLock<MultiProgress> = OnceLock::new();
    BARS.get_or_init(MultiProgress::new)
}

/// Returns the view for a form.
#[must_use]
pub fn view(output: Output) -> Box<dyn View> {
    match output.form() {
        Output::Json => Box::new(json::Json),
        Output::Tree => Box::new(tree::Tree::new()),
        Output::Plain | Output::Auto => Box::new(plain::Plain::default()),
    }
}
