//! `kiln pool`: the warm instances of a runner, and checks of its file.

use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};

use kiln_document::Report;
use kiln_runner_client::{RunnerError, route};
use kiln_wire::runner::kiln::{self as wire, DrainRequest, Flavor, Pool, PoolList, Wanted};

use crate::args::Format;
use crate::args::operator::{Asking, PoolCommand};
use crate::exit::Exit;
use crate::table::{Cell, Side, Table, clean, terminal_width};
use crate::{drivers, input, print, runner_access, unreadable};

/// Carries out one of the commands.
pub async fn pool(command: PoolCommand) -> anyhow::Result<Exit> {
    match command {
        PoolCommand::List { asking } => list(&asking).await.map_err(runner_access::report)?,
        PoolCommand::Check { files, format } => return check(&files, format),
        PoolCommand::Drain { name, undo, asking } => {
            drain(&asking, &name, !undo).await.map_err(runner_access::report)?
        }
    }
    Ok(Exit::Ok)
}

fn check(files: &[PathBuf], format: Format) -> anyhow::Result<Exit> {
    input::at_most_one(files.iter().map(PathBuf::as_path))?;
    let mut worst = Exit::Ok;
    for path in files {
        let (report, config, exit) = match load(path) {
            Ok(loaded) if loaded.is_ok() => (loaded.report, loaded.config, Exit::Ok),
            Ok(loaded) => (loaded.report, None, Exit::Failed),
            Err(error) => (Report::unreadable(&input::name(path), &error), None, Exit::Usage),
        };
        worst = worst.worse(exit);
        if format == Format::Json {
            print::line(report.json());
            continue;
        }
        let findings = report.text(std::io::stdout().is_terminal());
        if !findings.is_empty() {
            print::line(findings);
        }
        print::line(format!("{}: {}", report.file, if exit == Exit::Ok { "ok" } else { "not ok" }));
        if let Some(config) = &config {
            print::text(summary(config).text(terminal_width()));
        }
    }
    Ok(worst)
}

fn load(path: &Path) -> std::io::Result<kiln_pool_file::Loaded> {
    let bytes = input::read(path, kiln_pool_file::MAX_BYTES)?;
    let env = |variable: &str| std::env::var(variable).ok();
    let options = kiln_pool_file::Options { env: &env, sections: &drivers::SECTIONS };
    Ok(kiln_pool_file::load(&input::name(path), &bytes, &options))
}

/// Returns the content of a file as a table, so that its author can see whether that was meant.
fn summary(config: &kiln_pool::Config) -> Table {
    let columns = [("FLAVOR", Side::Left), ("DRIVER", Side::Left), ("PLATFORM", Side::Left), ("WARM", Side::Right)];
    let mut table = Table::new(&[&columns[..], &[("LIMIT", Side::Right), ("IMAGE", Side::Left)]].concat());
    for pool in config.pools.values() {
        for flavor in &pool.flavors {
            let platform = format!("{}/{}", pool.os, pool.arch);
            let limit = flavor.limit.unwrap_or(pool.limit);
            table.row([
                (&flavor.key).into(),
                (&pool.driver).into(),
                platform.into(),
                flavor.warm.into(),
                limit.into(),
                (&flavor.launch.image).into(),
            ]);
        }
    }
    table
}

async fn list(asking: &Asking) -> Result<(), RunnerError> {
    let answer = runner_access::asked(asking)?.get::<PoolList>(wire::POOLS, &[]).await?;
    match asking.format {
        Format::Json => print::line(answer.text),
        Format::Text if answer.message.pools.is_empty() => print::line("no pools"),
        Format::Text => print::text(table(&answer.message).text(terminal_width())),
    }
    unreadable::tell(asking.format, &answer.message.unreadable);
    Ok(())
}

async fn drain(asking: &Asking, name: &str, drained: bool) -> Result<(), RunnerError> {
    let path = route(wire::POOL_DRAIN, "{name}", name);
    let answer = runner_access::asked(asking)?.post::<Pool>(&path, &DrainRequest { drained: Some(drained) }).await?;
    match asking.format {
        Format::Json => print::line(answer.text),
        Format::Text => print::line(told(&answer.message)),
    }
    Ok(())
}

/// Returns the effect of a drain, or of its end, on the pool.
fn told(pool: &Pool) -> String {
    let name = clean(&pool.name);
    if !pool.drained {
        return format!("pool {name} is not drained: it keeps instances warm and serves stages");
    }
    let busy = match pool.claimed {
        0 => "no instance serves a stage".to_owned(),
        1 => "1 instance serves a stage to its end".to_owned(),
        many => format!("{many} instances serve stages to their end"),
    };
    let waiting = match pool.waiting {
        0 => String::new(),
        1 => "; 1 stage keeps waiting".to_owned(),
        many => format!("; {many} stages keep waiting"),
    };
    format!("pool {name} is drained: nothing new is made; {busy}{waiting}")
}

fn table(list: &PoolList) -> Table {
    let numbers = ["READY", "WANTED", "STARTING", "ASLEEP", "BUSY", "ENDING", "LIMIT", "WAITING"];
    let mut columns = vec![("POOL", Side::Left), ("DRIVER", Side::Left), ("PLATFORM", Side::Left)];
    columns.extend(numbers.map(|name| (name, Side::Right)));
    columns.push(("NOTE", Side::Left));
    let mut table = Table::new(&columns);
    for pool in &list.pools {
        let warm: u32 = pool.flavors.iter().map(|flavor| flavor.warm).sum();
        let numbers = [pool.starting, pool.hibernated, pool.claimed, pool.terminating, pool.limit, pool.waiting];
        let mut cells: Vec<Cell> = vec![
            (&pool.name).into(),
            (&pool.driver).into(),
            format!("{}/{}", pool.os, pool.arch).into(),
            format!("{}/{warm}", pool.ready).into(),
            wanted(pool.flavors.iter().filter_map(|flavor| flavor.wanted.as_ref())),
        ];
        cells.extend(numbers.map(Cell::from));
        cells.push(note(pool));
        table.row(cells);
        if pool.flavors.len() > 1 {
            pool.flavors.iter().for_each(|flavor| table.row(flavor_row(flavor, columns.len())));
        }
    }
    table
}

/// Returns the row of a flavor. A pool with several kinds of instances shows each of them below it.
fn flavor_row(flavor: &Flavor, columns: usize) -> Vec<Cell> {
    let mut cells = vec![Cell::default(); columns];
    cells[0] = format!("  {}", flavor.key).into();
    cells[3] = format!("{}/{}", flavor.ready, flavor.warm).into();
    cells[4] = wanted(flavor.wanted.iter());
    cells[columns - 1] = flavor_note(flavor);
    cells
}

/// Returns the latest pass's target: `2`, or `2+1` with one asleep; empty where another runner works on the pool.
fn wanted<'w>(flavors: impl Iterator<Item = &'w Wanted>) -> Cell {
    let sum = flavors.map(|wanted| (wanted.awake, wanted.asleep)).reduce(|a, b| (a.0 + b.0, a.1 + b.1));
    match sum {
        None => Cell::default(),
        Some((awake, 0)) => awake.into(),
        Some((awake, asleep)) => format!("{awake}+{asleep}").into(),
    }
}

fn note(pool: &Pool) -> Cell {
    if pool.drained {
        return Cell::warning("drained");
    }
    match pool.flavors.as_slice() {
        [only] => flavor_note(only),
        _ => Cell::default(),
    }
}

fn flavor_note(flavor: &Flavor) -> Cell {
    match flavor.failures {
        0 => Cell::default(),
        1 => Cell::warning(format!("the last start failed: {}", flavor.last_failure)),
        many => Cell::warning(format!("the last {many} starts failed: {}", flavor.last_failure)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flavor(key: &str, warm: u32, ready: u32) -> Flavor {
        let wanted = Some(Wanted { awake: warm, asleep: 0 });
        Flavor { key: key.into(), image: "debian".into(), warm, wanted, ready, ..Flavor::default() }
    }

    fn local() -> Pool {
        Pool {
            name: "local".into(),
            driver: "qemu".into(),
            os: "linux".into(),
            arch: "amd64".into(),
            limit: 8,
            ready: 2,
            claimed: 1,
            flavors: vec![flavor("local", 2, 2)],
            ..Pool::default()
        }
    }

    #[track_caller]
    fn plain(pools: Vec<Pool>) -> String {
        anstream::adapter::strip_str(&table(&PoolList { pools, ..PoolList::default() }).text(None)).to_string()
    }

    #[test]
    fn pools_and_their_kinds() {
        let failing = Flavor {
            failures: 3,
            last_failure: "boot_timeout: its agent never answered".into(),
            ..flavor("build/large", 1, 0)
        };
        let build = Pool { name: "build".into(), ready: 1, claimed: 0, starting: 1, waiting: 12, ..local() };
        let awaited = Flavor { wanted: Some(Wanted { awake: 12, asleep: 2 }), ..flavor("build", 1, 1) };
        let build = Pool { flavors: vec![awaited, failing], ..build };
        let drained = Pool { name: "old".into(), drained: true, ready: 0, terminating: 2, ..local() };
        let elsewhere = Flavor { wanted: None, ..flavor("far", 2, 2) };
        let elsewhere = Pool { name: "far".into(), flavors: vec![elsewhere], ..local() };
        insta::assert_snapshot!(plain(vec![build, local(), drained, elsewhere]), @r"
        POOL           DRIVER  PLATFORM     READY  WANTED  STARTING  ASLEEP  BUSY  ENDING  LIMIT  WAITING  NOTE
        build          qemu    linux/amd64    1/2    13+2         1       0     0       0      8       12
          build                               1/1    12+2
          build/large                         0/1       1                                                  the last 3 starts failed: boot_timeout: its agent never answered
        local          qemu    linux/amd64    2/2       2         0       0     1       0      8        0
        old            qemu    linux/amd64    0/2       2         0       0     1       2      8        0  drained
        far            qemu    linux/amd64    2/2                 0       0     1       0      8        0
        ");
    }

    #[test]
    fn drains_are_told() {
        let drained = |claimed, waiting| told(&Pool { drained: true, claimed, waiting, ..local() });
        let all = [told(&local()), drained(0, 0), drained(1, 1), drained(3, 2)];
        insta::assert_snapshot!(all.join("\n"), @r"
        pool local is not drained: it keeps instances warm and serves stages
        pool local is drained: nothing new is made; no instance serves a stage
        pool local is drained: nothing new is made; 1 instance serves a stage to its end; 1 stage keeps waiting
        pool local is drained: nothing new is made; 3 instances serve stages to their end; 2 stages keep waiting
        ");
    }
}
