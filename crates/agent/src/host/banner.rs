//! What the original prints before the output of a step that has a log of its own.

/// The banner of these commands.
pub(crate) fn of(commands: &[String]) -> String {
    commands.first().map_or_else(String::new, |script| {
        let lines: String = script.lines().map(|line| format!("\u{1b}[33;1m{line}\u{1b}[0m\n")).collect();
        format!("\u{1b}[33;1mExecuting the following command(s):\u{1b}[0m\n{lines}")
    })
}
