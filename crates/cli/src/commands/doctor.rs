//! `kiln doctor`: what works on this machine, what is missing, and the command that mends it; with `--try`, by trying it.

use kiln_driver_qemu::{Check, Settings};

use crate::args::{DoctorArgs, Format};
use crate::exit::Exit;
use crate::{home, print, trial, waits};

/// Checks the machine, and fails when VMs lack something.
pub async fn doctor(args: DoctorArgs) -> anyhow::Result<Exit> {
    let (layout, settings) = (home::layout()?.qemu(), Settings::default());
    let looking = kiln_driver_qemu::doctor(&layout, &settings);
    let mut checks = waits::shown("the checks of this machine", looking).await;
    checks.push(agent());
    let all_ok = checks.iter().all(|check| check.ok || check.optional);
    for check in &checks {
        match args.format {
            Format::Json => print::line(json(check)?),
            Format::Text => show(check),
        }
    }
    if args.tries {
        let passed = trial::run(&args, &checks).await?;
        return Ok(if all_ok && passed { Exit::Ok } else { Exit::Failed });
    }
    if args.format == Format::Text {
        print::line(if all_ok { "local VMs can run here" } else { "local VMs cannot run here yet" });
    }
    Ok(if all_ok { Exit::Ok } else { Exit::Failed })
}

fn agent() -> Check {
    let beside = std::env::current_exe().ok().map(|program| program.with_file_name("kiln-agent"));
    let found = std::env::var_os("KILN_AGENT").map(Into::into).or(beside).filter(|path| path.is_file());
    Check {
        name: "kiln-agent",
        ok: found.is_some(),
        optional: false,
        detail: found.as_ref().map_or_else(|| "not beside this program".to_owned(), |path| path.display().to_string()),
        remedy: if found.is_some() { String::new() } else { "make build".to_owned() },
    }
}

fn show(check: &Check) {
    let mark = match (check.ok, check.optional) {
        (true, _) => "\u{1b}[32m✓\u{1b}[0m",
        (false, true) => "\u{1b}[33m!\u{1b}[0m",
        (false, false) => "\u{1b}[31m✗\u{1b}[0m",
    };
    print::line(format!("{mark} {:<12} {}", check.name, check.detail));
    if !check.remedy.is_empty() {
        print::line(format!("  {:<12} mend it with: {}", "", check.remedy));
    }
}

fn json(check: &Check) -> anyhow::Result<String> {
    let Check { name, ok, optional, detail, remedy } = check;
    let object =
        serde_json::json!({ "name": name, "ok": ok, "optional": optional, "detail": detail, "remedy": remedy });
    Ok(serde_json::to_string(&object)?)
}
