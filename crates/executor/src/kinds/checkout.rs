//! Steps that clone a repository: `git` on the host of the instance, or the working tree of whoever runs the pipeline in its place.

use std::fmt::Write as _;

use kiln_pipeline::expr::Template;
use kiln_pipeline::plan::{CloneFrom, GitClone, Revision, Shell, Submodules};

use super::shell::{line, needs, quoted};
use super::{Turn, Work, run};

const USERNAME: &str = "KILN_GIT_USERNAME";
const PASSWORD: &str = "KILN_GIT_PASSWORD";
/// Lets `git` take the credentials from the environment, so that no command line and no file shows them.
const HELPER: &str = "credential.helper=!f() { test \"$1\" = get && printf 'username=%s\\npassword=%s\\n' \
                      \"$KILN_GIT_USERNAME\" \"$KILN_GIT_PASSWORD\"; }; f";

/// Works out what puts a repository into the instance.
pub(super) fn work(turn: &Turn<'_, '_>, clone: &GitClone) -> Result<Work<'static>, String> {
    let workspace = &turn.stage.stage.workspace_dir;
    let directory = run::within(workspace, turn.text("cloneDirectory", &clone.directory)?.trim());
    let CloneFrom::Address { url, connector } = &clone.from else {
        return Ok(Work::Sources { directory });
    };
    let url = turn.text("repoName", url)?.trim().to_owned();
    if url.is_empty() || url.starts_with('-') {
        return Err(format!("line {}: `{url}` is no address of a repository", clone.location.line));
    }
    let mut request = run::request(turn, &clone.process)?;
    let mut has_credentials = false;
    if let Some(connector) = connector {
        let connector = turn.text("connectorRef", connector)?;
        if let Some((login, source)) = turn.of_connector(&connector, &url)? {
            turn.stage.note_once(format!("{url} is cloned as {}, by {source}", login.username));
            request.environment.insert(USERNAME.to_owned(), login.username);
            request.environment.insert(PASSWORD.to_owned(), login.password);
            has_credentials = true;
        }
    }
    request.environment.entry("GIT_TERMINAL_PROMPT".to_owned()).or_insert_with(|| "0".to_owned());
    let script = script(turn, clone, &directory, &url, has_credentials)?;
    request.run = run::script(Shell::Sh, script);
    Ok(Work::Start(Box::new(run::prepared(turn, &clone.process, request)?)))
}

fn script(
    turn: &Turn<'_, '_>,
    clone: &GitClone,
    directory: &str,
    url: &str,
    has_credentials: bool,
) -> Result<String, String> {
    let text = |what: &str, template: &Template| Ok::<_, String>(turn.text(what, template)?.trim().to_owned());
    let mut out = needs("git");
    if clone.traces {
        out.push_str("export GIT_TRACE=1 GIT_CURL_VERBOSE=1\n");
    }
    let helper: &[&str] = if has_credentials { &["-c", HELPER] } else { &[] };
    let verify = if clone.verifies { &[][..] } else { &["-c", "http.sslVerify=false"][..] };
    let git = |words: &[&str]| line([&["git"], helper, verify, words].concat());
    let _ = writeln!(out, "mkdir -p {0}\ncd {0}", quoted(directory));
    let _ = writeln!(out, "{}\n{}", git(&["init", "--quiet"]), git(&["remote", "add", "origin", url]));
    let sparse = clone.sparse.iter().map(|path| text("sparseCheckout", path)).collect::<Result<Vec<_>, _>>()?;
    if !sparse.is_empty() {
        let paths: Vec<&str> = sparse.iter().map(String::as_str).collect();
        let _ = writeln!(out, "{}", git(&[&["sparse-checkout", "set", "--"], paths.as_slice()].concat()));
    }
    if let Some(before) = &clone.before {
        let _ = writeln!(out, "{}", text("preFetchCommand", before)?);
    }
    let depth = clone.depth.as_ref().map(|depth| text("depth", depth)).transpose()?.filter(|depth| depth != "0");
    if let Some(depth) = depth.as_ref().filter(|depth| depth.parse::<u32>().is_err()) {
        return Err(format!("line {}: `depth` takes a number, not `{depth}`", clone.location.line));
    }
    let depth = depth.filter(|depth| !depth.is_empty()).map(|depth| format!("--depth={depth}"));
    let (wanted, local) = wanted(turn, clone)?;
    let tags = if clone.tags { "--tags" } else { "--no-tags" };
    let fetch: Vec<&str> =
        ["fetch", tags].into_iter().chain(depth.as_deref()).chain(["origin", wanted.as_str()]).collect();
    let _ = writeln!(out, "{}", git(&fetch));
    let checkout: Vec<&str> = match &local {
        Some(branch) => vec!["checkout", "--quiet", "-B", branch, "FETCH_HEAD"],
        None => vec!["checkout", "--quiet", "--detach", "FETCH_HEAD"],
    };
    let _ = writeln!(out, "{}", git(&checkout));
    match clone.submodules {
        Submodules::None => {}
        Submodules::Own => drop(writeln!(out, "{}", git(&["submodule", "update", "--init"]))),
        Submodules::All => drop(writeln!(out, "{}", git(&["submodule", "update", "--init", "--recursive"]))),
    }
    if clone.lfs {
        let _ = writeln!(out, "{}", git(&["lfs", "pull"]));
    }
    out.push_str("git log -1 --format='%H %s'\n");
    Ok(out)
}

/// Returns what is fetched, and the branch that it becomes.
fn wanted(turn: &Turn<'_, '_>, clone: &GitClone) -> Result<(String, Option<String>), String> {
    let value = |what: &str, template: &Template| {
        let value = turn.text(what, template)?.trim().to_owned();
        match value.is_empty() || value.starts_with('-') {
            true => Err(format!("line {}: `{value}` is no {what}", clone.location.line)),
            false => Ok(value),
        }
    };
    Ok(match &clone.revision {
        Revision::Default => ("HEAD".to_owned(), None),
        Revision::Branch(branch) => {
            let branch = value("branch", branch)?;
            (format!("refs/heads/{branch}"), Some(branch))
        }
        Revision::Tag(tag) => (format!("refs/tags/{}", value("tag", tag)?), None),
        Revision::Commit(commit) => (value("commit", commit)?, None),
        Revision::PullRequest(number) => (format!("refs/pull/{}/head", value("pull request", number)?), None),
    })
}
