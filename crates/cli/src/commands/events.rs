//! `kiln events`: the changes on a runner.

use std::time::Duration;

use kiln_runner_client::{Answer, Events, Next, Runner, RunnerError};
use kiln_wire::runner::kiln::Change;

use crate::ages::{clock, now_ms};
use crate::args::Format;
use crate::args::operator::EventsArgs;
use crate::exit::Exit;
use crate::table::clean;
use crate::{print, runner_access, waits};

/// Pause that ends the past changes, which the runner sends without a pause.
const PAST_PAUSE: Duration = Duration::from_secs(1);
/// Pause before a broken stream is reopened.
const REOPEN_PAUSE: Duration = Duration::from_secs(1);
/// Number of attempts after which a runner counts as gone.
const REOPENS: u32 = 60;

/// Prints the past changes, or the changes from now on.
pub async fn events(args: EventsArgs) -> anyhow::Result<Exit> {
    let runner = runner_access::asked(&args.asking).map_err(runner_access::report)?;
    if !args.follow {
        past(&runner, args.asking.format).await.map_err(runner_access::report)?;
        return Ok(Exit::Ok);
    }
    tokio::select! {
        done = follow(&runner, args.asking.format) => done.map_err(runner_access::report).map(|()| Exit::Ok),
        // There is no other way to end it, so it is a success.
        interrupt = tokio::signal::ctrl_c() => Ok(interrupt.map(|()| Exit::Ok)?),
    }
}

async fn past(runner: &Runner, format: Format) -> Result<(), RunnerError> {
    let asked_ms = now_ms();
    let mut stream = waits::shown("the runner", runner.events(Some(0))).await?;
    let mut seen = false;
    while let Ok(next) = tokio::time::timeout(PAST_PAUSE, stream.next()).await {
        match next? {
            // On a busy runner the stream never pauses.
            Next::Change(change) if change.message.at_unix_ms <= asked_ms => show(&change, format),
            Next::Change(_) | Next::End => break,
        }
        seen = true;
    }
    if !seen && format == Format::Text {
        print::line("no events");
    }
    Ok(())
}

async fn follow(runner: &Runner, format: Format) -> Result<(), RunnerError> {
    let mut last = None;
    let mut stream = waits::shown("the runner", runner.events(last)).await?;
    loop {
        match stream.next().await {
            Ok(Next::Change(change)) => {
                last = Some(change.message.seq);
                show(&change, format);
            }
            Err(error) if !error.may_pass() => return Err(error),
            Ok(Next::End) | Err(_) => stream = waits::shown("the runner", reopen(runner, last)).await?,
        }
    }
}

/// Reopens the stream after the last change that was seen.
async fn reopen(runner: &Runner, last: Option<i64>) -> Result<Events, RunnerError> {
    let mut tries = 0;
    loop {
        tokio::time::sleep(REOPEN_PAUSE).await;
        tries += 1;
        match runner.events(last).await {
            Err(error) if tries < REOPENS && error.may_pass() => {
                if tries == 1 {
                    eprintln!("the runner cannot be reached; the events continue when it is back");
                }
            }
            done => return done,
        }
    }
}

fn show(change: &Answer<Change>, format: Format) {
    match format {
        Format::Json => print::line(&change.text),
        Format::Text => print::line(line(&change.message)),
    }
}

fn line(change: &Change) -> String {
    let Change { at_unix_ms, subject, id, pool, state, reason, .. } = change;
    let head = format!("{}  {:<8}  {id}  {pool}  {state}", clock(*at_unix_ms), subject.as_str());
    clean(&if reason.is_empty() { head } else { format!("{head}: {reason}") })
}

#[cfg(test)]
mod tests {
    use kiln_wire::runner::kiln::Subject;

    use super::*;

    #[test]
    fn one_line_for_each_change() {
        let change = Change {
            seq: 7,
            at_unix_ms: 1_764_029_781_123,
            subject: Subject::Instance,
            id: "kiln-1".into(),
            pool: "local".into(),
            state: "ready".into(),
            reason: "its agent\nanswers".into(),
        };
        let stage = Change {
            subject: Subject::Stage,
            id: "s1".into(),
            state: "waiting".into(),
            reason: String::new(),
            ..change.clone()
        };
        insta::assert_snapshot!([line(&change), line(&stage)].join("\n"), @r"
        2025-11-25 00:16:21Z  instance  kiln-1  local  ready: its agent answers
        2025-11-25 00:16:21Z  stage     s1  local  waiting
        ");
    }
}
