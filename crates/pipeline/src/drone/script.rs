//! Turns commands into a script.

use crate::expr::Template;
use crate::plan::Shell;

/// Returns the script of a list of commands: each is shown, as the file has it, before it runs, and the first one that
/// fails ends the step.
pub(super) fn script(commands: Vec<Template>, shell: Shell) -> Template {
    let mut parts = vec![Template::literal(prologue(shell))];
    for command in commands {
        parts.push(Template::literal(format!("\n{}\n", show(command.text(), shell))));
        parts.push(command);
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

/// Returns a line that prints a command. The text is quoted, and nothing in it is replaced, because a value could hold
/// quotes.
fn show(command: &str, shell: Shell) -> String {
    let command = command.trim_end();
    match shell {
        // `echo` of some shells reads backslashes.
        Shell::Sh | Shell::Bash => format!("printf '%s\\n' '+ {}'", command.replace('\'', "'\\''")),
        Shell::Pwsh | Shell::Powershell => format!("Write-Output '+ {}'", command.replace('\'', "''")),
        Shell::Python => String::new(),
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
            "set -e\n\nprintf '%s\\n' '+ a '\\''b'\\'''\na 'b'\n\nprintf '%s\\n' '+ c ${TAG}\nd'\nc it's\nd\n\n",
        );
        check(
            &["a 'b'"],
            Shell::Powershell,
            "$ErrorActionPreference = 'Stop'\n\nWrite-Output '+ a ''b'''\na 'b'\nif ($LASTEXITCODE -gt 0) { exit $LASTEXITCODE }\n",
        );
    }
}
