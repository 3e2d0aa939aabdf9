//! Turns commands into a script.

use crate::expr::{Quote, Template};
use crate::plan::Shell;

/// Returns the script of a list of commands: each is shown before it runs, with what was replaced in it, and the first
/// one that fails ends the step.
pub(super) fn script(commands: Vec<Template>, shell: Shell) -> Template {
    let mut parts = vec![Template::literal(prologue(shell))];
    for command in commands {
        parts.push(Template::literal("\n"));
        parts.push(show(command, shell));
        parts.push(Template::literal(epilogue(shell)));
    }
    Template::joined(parts)
}

fn prologue(shell: Shell) -> &'static str {
    match shell {
        Shell::Sh | Shell::Bash => "set -e\n",
        Shell::Pwsh | Shell::Powershell => "$ErrorActionPreference = 'Stop'\n",
        Shell::Python => "",
    }
}

/// Returns a command behind a line that prints it.
fn show(command: Template, shell: Shell) -> Template {
    match shell {
        // `echo` of some shells reads backslashes.
        Shell::Sh | Shell::Bash => command.shown("printf '%s\\n' '+ ", Quote::Sh, "'\n"),
        Shell::Pwsh | Shell::Powershell => command.shown("Write-Output '+ ", Quote::PowerShell, "'\n"),
        Shell::Python => Template::joined(vec![Template::literal("\n"), command]),
    }
}

/// Returns what follows each command. PowerShell goes on after a program that failed, so it needs a check.
fn epilogue(shell: Shell) -> &'static str {
    match shell {
        Shell::Sh | Shell::Bash | Shell::Python => "\n",
        Shell::Pwsh | Shell::Powershell => "\nif ($LASTEXITCODE -gt 0) { exit $LASTEXITCODE }\n",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::expr::{Map, Scope, Value};

    fn check(commands: &[&str], shell: Shell, expect: &str) {
        let place = kiln_document::Location::default();
        let commands =
            commands.iter().map(|text| Template::substituted(text, &place).unwrap_or_else(|e| panic!("{e:?}")));
        let scope = Scope::new(Map::from_iter([("drone", Value::from(Map::from_iter([("TAG", "it's")])))]));
        assert_eq!(script(commands.collect(), shell).render(&scope).as_deref(), Ok(expect));
    }

    #[test]
    fn scripts() {
        check(
            &["a 'b'", "c ${TAG}\nd\n"],
            Shell::Sh,
            "set -e\n\nprintf '%s\\n' '+ a '\\''b'\\'''\na 'b'\n\nprintf '%s\\n' '+ c it'\\''s\nd'\nc it's\nd\n\n",
        );
        check(
            &["a 'b'"],
            Shell::Powershell,
            "$ErrorActionPreference = 'Stop'\n\nWrite-Output '+ a ''b'''\na 'b'\nif ($LASTEXITCODE -gt 0) { exit $LASTEXITCODE }\n",
        );
    }
}
