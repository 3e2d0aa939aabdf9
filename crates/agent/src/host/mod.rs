//! Steps on the host: from a request to a process with its arguments, environment, files and directory.

mod banner;
mod command;
mod environment;
mod error;
mod files;
mod script;
mod user;

pub(crate) use banner::of as banner;
pub(crate) use command::{is_installed, words};
pub(crate) use environment::of_container as container_environment;
pub use error::HostError;
pub(crate) use files::{make_dir, make_dir_of, make_file, make_private, missing};
pub(crate) use script::spill;
pub(crate) use user::{account_of, make_home};

use std::io;
use std::path::{Path, PathBuf};

use futures::future::{BoxFuture, ready};

use crate::ending::{Exit, Wish};
use crate::os::process::{Process, Processes, Start};
use crate::settings::Settings;
use crate::supervise::{Left, Order, Running, Runtime, StartError, Started};

/// The host, and the processes of steps on it.
#[derive(Debug)]
pub(crate) struct Host {
    processes: Processes,
    settings: Settings,
}

impl Host {
    /// The host, for steps whose marks begin with `mark`.
    pub(crate) fn new(mark: &str, settings: &Settings) -> Self {
        let processes = Processes::new(mark, settings.cgroups, settings.adopt_orphans);
        Self { processes, settings: settings.clone() }
    }

    fn begin(&self, order: &Order<'_>) -> Result<Started, HostError> {
        let request = order.request;
        let (mut entrypoint, mut commands) = command::words(request)?;
        let account = account_of(&self.settings, &request.user)?;
        for file in &request.files {
            make_file(file, account.as_ref())?;
        }
        if let Some(dir) = order.hand_over.scratch() {
            make_dir_of(dir, account.as_ref()).map_err(|source| HostError::File { path: dir.into(), source })?;
        }
        let made = order.hand_over.prepare().and_then(|vars_dir| match (vars_dir, &account) {
            (Some(dir), Some(account)) => account.own(dir),
            _ => Ok(()),
        });
        made.map_err(|source| HostError::File { path: order.engine_dir.into(), source })?;
        let banner = if request.log_drone { String::new() } else { banner::of(&commands) };
        order.hand_over.instrument(&entrypoint, &mut commands);
        let script_file = order.engine_dir.join(format!("{}-script", order.mark));
        script::spill(&mut entrypoint, &mut commands, &script_file, account.as_ref())
            .map_err(|source| HostError::File { path: script_file, source })?;

        let env = environment::of(order, account.as_ref());
        let dir = working_dir(&request.working_dir)?;
        let paths = [order.envs.first().and_then(|base| base.get("PATH")), env.get("PATH")];
        let program = command::program(&entrypoint[0], &paths, &dir)?;
        let start = Start {
            program: &program,
            words: &entrypoint,
            more: &commands,
            env: &env,
            dir: &dir,
            account: account.as_ref(),
            terminal: request.terminal.as_ref(),
            mark: order.mark,
        };
        let started = self.processes.start(&start).map_err(|source| match source.kind() {
            io::ErrorKind::ArgumentListTooLong => HostError::TooLong { program: entrypoint[0].clone() },
            _ => HostError::Spawn { program: entrypoint[0].clone(), source },
        })?;
        let (running, output) = (Box::new(started.process), (started.output, started.runs));
        Ok(Started { running, output, keyboard: started.keyboard, banner })
    }
}

fn working_dir(wanted: &str) -> Result<PathBuf, HostError> {
    let dir = Path::new(if wanted.is_empty() { "/" } else { wanted });
    let is_dir =
        std::fs::metadata(dir).and_then(|meta| meta.is_dir().then_some(()).ok_or(io::ErrorKind::NotADirectory.into()));
    is_dir.map_err(|source| HostError::WorkingDir { path: dir.into(), source })?;
    Ok(dir.into())
}

impl Runtime for Host {
    fn start<'a>(&'a self, order: &'a Order<'a>) -> BoxFuture<'a, Result<Started, StartError>> {
        Box::pin(ready(self.begin(order).map_err(Into::into)))
    }

    fn end_all(&self, wish: Wish) -> BoxFuture<'_, ()> {
        Box::pin(self.processes.end_all(wish))
    }

    fn end_left<'a>(&'a self, left: &'a Left<'a>, wish: Wish) -> BoxFuture<'a, ()> {
        Box::pin(self.processes.end_left(left.mark, &left.handles, left.alone, wish))
    }
}

impl Running for Process {
    fn ended(&mut self) -> BoxFuture<'_, io::Result<Exit>> {
        Box::pin(Self::ended(self))
    }

    fn end(&mut self, wish: Wish) -> BoxFuture<'_, io::Result<Exit>> {
        Box::pin(Self::end(self, wish))
    }

    fn handle(&self) -> Option<String> {
        Self::handle(self)
    }

    fn memory_ran_out(&self) -> bool {
        Self::memory_ran_out(self)
    }
}
