//! What a step hands over: output variables, exported environment, artifacts.
//!
//! Values of shell variables are written one file each when the shell ends, by a trap that is set before the user's
//! first line, so that a script that calls `exit` loses none, and a value may be long and have several lines.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use kiln_wire::agent::{OutputType, OutputV2, PollStepResponse, StartStepRequest};

use crate::dotenv;

/// Variables that tell plugins of files. Those of several steps would write over each other's under the names they are
/// given.
const PLUGIN_FILES: [&str; 4] =
    ["PLUGIN_METADATA_FILE", "PLUGIN_CACHE_METRICS_FILE", "PLUGIN_CACHE_INTEL_METRICS_FILE", "PLUGIN_BUILD_TOOL_FILE"];
/// Where the trap writes to.
const VARS_DIR: &str = "KILN_VARS_DIR";
/// More of a file is not read.
const FILE_LIMIT_BYTES: u64 = 16 << 20;

/// The files of one step under the engine directory.
#[derive(Debug)]
pub(crate) struct HandOver {
    vars_dir: PathBuf,
    outputs: PathBuf,
    secrets: PathBuf,
    exports: PathBuf,
    artifact: PathBuf,
    native_artifact: PathBuf,
    annotations: PathBuf,
    /// The step's own names for files that plugins are told, by the variables that tell them.
    plugin_files: BTreeMap<&'static str, PathBuf>,
    scratch: Option<PathBuf>,
    /// Whether the scratch folder was not there before the step. One that was there, `/tmp` say, is never removed.
    scratch_is_new: bool,
    wanted: Vec<Wanted>,
    declared: bool,
    remove: bool,
}

#[derive(Debug)]
struct Wanted {
    key: String,
    variable: String,
    kind: OutputType,
}

impl HandOver {
    pub(super) fn new(engine_dir: &Path, request: &StartStepRequest) -> Self {
        let id: String =
            request.id.chars().map(|c| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '_' }).collect();
        let own = |suffix: &str| engine_dir.join(format!("{id}-{suffix}"));
        let plugin_files = PLUGIN_FILES.iter().filter_map(|variable| {
            let path = request.environment.get(*variable).filter(|path| !path.is_empty())?;
            Some((*variable, own(path.rsplit('/').next().unwrap_or(path))))
        });
        let given = |path: &str, suffix: &str| if path.is_empty() { own(suffix) } else { path.into() };
        let plain = request.output_vars.iter().map(|name| Wanted {
            key: name.clone(),
            variable: name.clone(),
            kind: OutputType::Text,
        });
        let typed = request.outputs.iter().filter(|output| !output.key.is_empty()).map(|output| Wanted {
            key: output.key.clone(),
            variable: if output.value.is_empty() { output.key.clone() } else { output.value.clone() },
            kind: output.kind,
        });
        let scratch = Some(&request.scratch_dir).filter(|dir| !dir.is_empty()).map(PathBuf::from);
        Self {
            vars_dir: own("vars"),
            outputs: given(&request.output_var_file, "output.env"),
            secrets: given(&request.secret_var_file, "output-secrets.env"),
            exports: own("export.env"),
            artifact: own("artifact"),
            native_artifact: own("artifact.json"),
            annotations: own("annotations.json"),
            plugin_files: plugin_files.collect(),
            scratch_is_new: scratch.as_deref().is_some_and(is_missing),
            scratch,
            wanted: plain.chain(typed).collect(),
            declared: !request.outputs.is_empty(),
            remove: request.delete_temp_step_files,
        }
    }

    /// The variables that tell a step where to write.
    pub(crate) fn env(&self) -> BTreeMap<String, String> {
        let pairs = [
            ("DRONE_ENV", &self.exports),
            ("DRONE_OUTPUT", &self.outputs),
            ("HARNESS_OUTPUT_FILE", &self.outputs),
            ("HARNESS_OUTPUT_SECRET_FILE", &self.secrets),
            ("PLUGIN_ARTIFACT_FILE", &self.artifact),
            ("HARNESS_ANNOTATIONS_FILE", &self.annotations),
            ("HARNESS_ARTIFACT_FILE_PATH", &self.native_artifact),
        ];
        let vars_dir = (!self.wanted.is_empty()).then_some((VARS_DIR, &self.vars_dir));
        let scratch = self.scratch.as_ref().map(|dir| ("HARNESS_SCRATCH_DIR", dir));
        pairs
            .into_iter()
            .chain(vars_dir)
            .chain(scratch)
            .chain(self.plugin_files.iter().map(|(variable, path)| (*variable, path)))
            .map(|(name, path)| (name.to_owned(), path.to_string_lossy().into_owned()))
            .collect()
    }

    /// Removes what an earlier step of the same id left. Makes the directory for the variables and gives its path, if
    /// variables are wanted; the step must be able to write there.
    pub(crate) fn prepare(&self) -> io::Result<Option<&Path>> {
        self.clear();
        if self.wanted.is_empty() {
            return Ok(None);
        }
        fs::create_dir_all(&self.vars_dir)?;
        Ok(Some(&self.vars_dir))
    }

    /// The command with what writes the wanted variables.
    pub(crate) fn instrument(&self, entrypoint: &[String], commands: &mut [String]) {
        let names: Vec<&str> = self.wanted.iter().map(|w| w.variable.as_str()).filter(|name| is_name(name)).collect();
        let (Some(script), Some(program), Some(flag)) = (commands.first_mut(), entrypoint.first(), entrypoint.last())
        else {
            return;
        };
        if names.is_empty() {
            return;
        }
        let program = program.rsplit('/').next().unwrap_or(program);
        let takes_script = flag.starts_with('-') && flag.to_ascii_lowercase().ends_with('c');
        match program {
            "sh" | "bash" | "dash" | "ash" | "zsh" | "ksh" | "busybox" if takes_script => {
                *script = shell(script, &names)
            }
            python if python.starts_with("python") && takes_script => *script = python_script(script, &names),
            "powershell" | "pwsh" => *script = powershell(script, &names),
            _ => {}
        }
    }

    /// Reads everything into the answer; gives the secret values, which must be masked from now on.
    pub(super) fn collect(&self, succeeded: bool, response: &mut PollStepResponse) -> Vec<String> {
        let mut outputs: BTreeMap<String, String> =
            read(&self.outputs).map(|t| dotenv::parse(&t)).unwrap_or_default().into_iter().collect();
        let mut secrets = Vec::new();
        for wanted in &self.wanted {
            let captured = is_name(&wanted.variable).then(|| read(&self.vars_dir.join(&wanted.variable))).flatten();
            let value = captured.or_else(|| outputs.get(&wanted.key).cloned());
            let value = value.or_else(|| succeeded.then(String::new));
            let Some(value) = value else { continue };
            if wanted.kind == OutputType::Secret {
                secrets.push(value.clone());
            }
            outputs.insert(wanted.key.clone(), value.clone());
            if self.declared {
                response.outputs_v2.push(OutputV2 { key: wanted.key.clone(), value, kind: wanted.kind });
            }
        }
        if !self.declared {
            let text =
                outputs.iter().map(|(k, v)| OutputV2 { key: k.clone(), value: v.clone(), kind: OutputType::Text });
            response.outputs_v2.extend(text);
        }
        for (key, value) in read(&self.secrets).map(|t| dotenv::parse(&t)).unwrap_or_default() {
            secrets.push(value.clone());
            if succeeded {
                response.outputs_v2.push(OutputV2 { key, value, kind: OutputType::Secret });
            } else {
                response.secrets.push(value);
            }
        }
        response.outputs = outputs;
        response.envs = read(&self.exports).map(|t| dotenv::parse(&t)).unwrap_or_default().into_iter().collect();
        response.artifact = read(&self.artifact).map(|text| STANDARD.encode(text)).unwrap_or_default();
        response.native_artifact_output = read(&self.native_artifact).unwrap_or_default();
        secrets
    }

    /// Removes the files if the request asked for it.
    pub(super) fn clean_up(&self) {
        // The values of shell variables were only for us.
        drop(fs::remove_dir_all(&self.vars_dir));
        if self.remove {
            self.clear();
            for file in self.plugin_files.values() {
                // Most plugins write none of them.
                drop(fs::remove_file(file));
            }
            // A relative path is a mistake, not a folder for a step.
            if let Some(dir) = self.scratch.as_ref().filter(|dir| self.scratch_is_new && dir.is_absolute()) {
                drop(fs::remove_dir_all(dir));
            }
        }
    }

    /// The folder for the step's own use, if it has one.
    pub(crate) fn scratch(&self) -> Option<&Path> {
        self.scratch.as_deref()
    }

    /// Where the step writes down values that are secret.
    pub(super) fn secrets_file(&self) -> &Path {
        &self.secrets
    }

    /// What the step wrote down as annotations; none when it did not, or too much.
    pub(super) fn annotations(&self, most_bytes: u64) -> Option<String> {
        self.annotations.metadata().ok().filter(|meta| meta.len() <= most_bytes)?;
        read(&self.annotations)
    }

    /// Whether there is nothing to collect, and nothing to clean up.
    pub(super) fn is_empty(&self) -> bool {
        let beside = || self.plugin_files.values().map(PathBuf::as_path).chain(self.scratch());
        let is_to_go = |path: &Path| self.remove && !is_missing(path);
        self.wanted.is_empty() && self.files().into_iter().all(is_missing) && !beside().any(is_to_go)
    }

    fn files(&self) -> [&Path; 6] {
        [&self.outputs, &self.secrets, &self.exports, &self.artifact, &self.native_artifact, &self.annotations]
    }

    fn clear(&self) {
        for file in self.files() {
            // Most steps write none of them.
            drop(fs::remove_file(file));
        }
        drop(fs::remove_dir_all(&self.vars_dir));
    }
}

/// Returns whether nothing is at `path`. What cannot be looked at may be there.
fn is_missing(path: &Path) -> bool {
    path.symlink_metadata().is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
}

pub(super) fn read(path: &Path) -> Option<String> {
    // A pipe or device in its place must not hold the agent.
    let file = fs::metadata(path).ok().filter(fs::Metadata::is_file).and_then(|_| fs::File::open(path).ok())?;
    let mut bytes = Vec::new();
    file.take(FILE_LIMIT_BYTES).read_to_end(&mut bytes).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

fn is_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    let first = bytes.next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_');
    first && bytes.all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

fn shell(script: &str, names: &[&str]) -> String {
    // Tracing is off in the trap, so that `set -x` does not print the values.
    let mut body = "{ set +x; } 2>/dev/null; ".to_owned();
    for name in names {
        body.push_str(&format!(
            "if [ \"${{{name}+x}}\" = x ]; then printf %s \"${name}\" >|\"${VARS_DIR}/{name}\" || :; fi; "
        ));
    }
    // On the user's first line, so that line numbers in messages stay right.
    let mut out = format!("trap '{body}' EXIT; {script}");
    if script.contains("trap") {
        // The script may replace the trap. Its exit status is kept.
        out.push_str(&format!("\nkiln_status=$?; {body} (exit \"$kiln_status\")"));
    }
    out
}

fn python_script(script: &str, names: &[&str]) -> String {
    let list = names.iter().map(|name| format!("'{name}'")).collect::<Vec<_>>().join(",");
    let hook = format!(
        "exec(\"def _kiln():\\n import os,__main__\\n for n in [{list}]:\\n  v=os.environ.get(n,getattr(__main__,n,None))\\n  \
         if v is not None: open(os.path.join(os.environ['{VARS_DIR}'],n),'w',newline='').write(str(v))\\n\
         import atexit\\natexit.register(_kiln)\")"
    );
    // Nothing may stand before such an import.
    if script.contains("from __future__") { format!("{script}\n{hook}") } else { format!("{hook}\n{script}") }
}

fn powershell(script: &str, names: &[&str]) -> String {
    let mut out = script.to_owned();
    for name in names {
        out.push_str(&format!(
            "\nif (Test-Path Env:{name}) {{ [IO.File]::WriteAllText((Join-Path $Env:{VARS_DIR} '{name}'), $Env:{name}) }} \
             elseif (Test-Path Variable:{name}) {{ [IO.File]::WriteAllText((Join-Path $Env:{VARS_DIR} '{name}'), \"${name}\") }}"
        ));
    }
    out
}
