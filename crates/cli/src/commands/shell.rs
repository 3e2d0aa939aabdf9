//! `kiln shell`: a terminal in a kept instance.
//!
//! The shell is a step like any other, in a terminal: its output, its end and its exit code use the same routes.

use std::io::{IsTerminal as _, Write as _};
use std::time::Duration;

use anyhow::Context as _;
use futures::StreamExt as _;
use futures::stream::BoxStream;
use kiln_agent_client::Agent;
use kiln_wire::agent::kiln::{ResizeRequest, Terminal};
use kiln_wire::agent::{RunConfig, StartStepRequest};
use nix::sys::termios::{self, SetArg, Termios};
use tokio_util::io::ReaderStream;

use crate::args::ShellArgs;
use crate::exit::{Exit, Usage};
use crate::identity::Identity;
use crate::kept::Kept;
use crate::{home, kept, waits};

/// Longest wait for an instance that may have been ended.
const UNREACHABLE_FOR: Duration = Duration::from_secs(5);

/// Opens a shell in the instance, or runs a command there.
pub async fn shell(args: ShellArgs) -> anyhow::Result<Exit> {
    let kept = kept::find(args.instance.as_deref())?;
    let credentials = Identity::of(&home::layout()?)?.credentials;
    let agent = Agent::new(&kept.agent, &kept.instance, &credentials)?;
    let answered = waits::shown("the instance's agent", agent.health()).await;
    answered.with_context(|| format!("instance {} does not answer; it has ended", kept.instance))?;
    let interactive = std::io::stdin().is_terminal() && std::io::stdout().is_terminal();
    if !interactive && args.command.is_empty() {
        anyhow::bail!(Usage(
            "a shell needs a terminal; give a command instead: kiln shell INSTANCE -- COMMAND".to_owned()
        ));
    }
    let request = request(&kept, args.command, interactive.then(size));
    agent.start_step(&request).await?;
    let code = talk(&agent, &request.id, interactive).await?;
    Ok(Exit::Code(u8::try_from(code).unwrap_or(255)))
}

fn request(kept: &Kept, command: Vec<String>, terminal: Option<Terminal>) -> StartStepRequest {
    let mut entrypoint = command;
    if entrypoint.is_empty() {
        entrypoint = vec!["bash".to_owned(), "-l".to_owned()];
    }
    let mut environment = std::collections::BTreeMap::from([("HOME".to_owned(), "/root".to_owned())]);
    if let Ok(term) = std::env::var("TERM") {
        environment.insert("TERM".to_owned(), term);
    }
    StartStepRequest {
        id: format!("shell-{}", uuid::Uuid::now_v7().simple()),
        name: "shell".to_owned(),
        working_dir: kept.workspace_dir.clone(),
        log_drone: true,
        run: RunConfig { entrypoint, commands: Vec::new() },
        environment,
        terminal,
        ..StartStepRequest::default()
    }
}

/// Passes both directions on until the shell ends, and returns its exit code.
async fn talk(agent: &Agent, id: &str, interactive: bool) -> anyhow::Result<i64> {
    let _raw = if interactive { Some(RawMode::enter()?) } else { None };
    let typed: BoxStream<'static, std::io::Result<bytes::Bytes>> = match interactive {
        true => ReaderStream::new(tokio::io::stdin()).boxed(),
        false => futures::stream::empty().boxed(),
    };
    let input = async {
        if interactive && let Err(error) = agent.input(id, typed).await {
            tracing::debug!(%error, "typing ended");
        }
        // The end of the input does not end the shell.
        std::future::pending::<()>().await;
    };
    let resized = async {
        let mut windows = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::window_change())?;
        while windows.recv().await.is_some() {
            let request = ResizeRequest { id: id.to_owned(), terminal: size() };
            agent.resize(&request).await?;
        }
        Ok::<(), anyhow::Error>(())
    };
    let shown = async {
        let mut output = std::pin::pin!(agent.output(id, 0, UNREACHABLE_FOR));
        while let Some(chunk) = output.next().await {
            let mut out = std::io::stdout().lock();
            out.write_all(&chunk?.bytes)?;
            out.flush()?;
        }
        Ok::<(), anyhow::Error>(())
    };
    tokio::select! {
        ended = shown => ended?,
        () = input => {}
        Err(error) = resized, if interactive => return Err(error),
    }
    Ok(agent.poll_step(id, UNREACHABLE_FOR).await?.exit_code)
}

fn size() -> Terminal {
    let (cols, rows) = terminal_size::terminal_size().map_or((80, 24), |(width, height)| (width.0, height.0));
    Terminal { rows: rows.into(), cols: cols.into() }
}

/// Lets the user's terminal pass on every key. Dropping it restores the terminal.
struct RawMode {
    before: Termios,
}

impl RawMode {
    fn enter() -> anyhow::Result<Self> {
        let before = termios::tcgetattr(std::io::stdin())?;
        let mut raw = before.clone();
        termios::cfmakeraw(&mut raw);
        termios::tcsetattr(std::io::stdin(), SetArg::TCSANOW, &raw)?;
        Ok(Self { before })
    }
}

impl Drop for RawMode {
    fn drop(&mut self) {
        // A terminal that is gone needs no repair.
        let _gone = termios::tcsetattr(std::io::stdin(), SetArg::TCSANOW, &self.before);
    }
}
