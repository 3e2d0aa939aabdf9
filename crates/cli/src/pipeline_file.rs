//! Reads a pipeline file and the files that belong to it: input sets, and templates of the same repository.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use kiln_document::yaml::MAX_BYTES;
use kiln_pipeline::{Loaded, Options, Source};

use crate::args::GivenArgs;
use crate::exit::Usage;
use crate::{git, input};

/// Most files that are searched for templates.
const MAX_TEMPLATE_FILES: usize = 1000;
/// Greatest depth of folders below `.harness` that are searched for templates.
const MAX_FOLDERS: usize = 12;

/// The caller's input to reading pipeline files.
pub struct Given {
    lenient: bool,
    inputs: BTreeMap<String, String>,
    input_sets: Vec<Source>,
}

impl Given {
    /// Reads the input sets.
    pub fn read(args: &GivenArgs) -> Result<Self, Usage> {
        let read = |path: &PathBuf| match input::read(path, MAX_BYTES) {
            Ok(bytes) => Ok(Source { name: input::name(path), bytes }),
            Err(error) => Err(Usage(format!("could not read {}: {error}", path.display()))),
        };
        let input_sets = args.inputs.iter().map(read).collect::<Result<_, _>>()?;
        Ok(Self { lenient: args.lenient, inputs: args.var.iter().cloned().collect(), input_sets })
    }
}

/// Reads a pipeline file with the caller's input.
pub fn load(path: &Path, given: &Given) -> std::io::Result<Loaded> {
    let bytes = input::read(path, MAX_BYTES)?;
    let links = bytes.windows(LINK.len()).any(|window| window == LINK);
    let templates = if links { templates(path) } else { Vec::new() };
    let Given { lenient, inputs, input_sets } = given;
    let options = Options { lenient: *lenient, inputs: inputs.clone(), input_sets: input_sets.clone(), templates };
    Ok(kiln_pipeline::load(&input::name(path), &bytes, &options))
}

/// Text that every file with a reference to a template contains.
const LINK: &[u8] = b"templateRef";

/// Returns the folder of a pipeline file, or that of this process for standard input.
pub fn beside(pipeline: &Path) -> &Path {
    pipeline.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Returns the repository of a pipeline file, or else its folder.
pub fn root(pipeline: &Path) -> PathBuf {
    git::root(beside(pipeline)).unwrap_or_else(|| beside(pipeline).to_owned())
}

/// Returns the files of the repository that may contain templates: those below its `.harness`, and those beside the
/// pipeline. An unreadable file is left out, so a reference to it is reported as a missing template.
fn templates(pipeline: &Path) -> Vec<Source> {
    let (beside, root) = (beside(pipeline), root(pipeline));
    let mut files = Vec::new();
    collect(&root.join(".harness"), MAX_FOLDERS, &mut files);
    collect(beside, 0, &mut files);
    let mut seen = std::collections::BTreeSet::new();
    files.retain(|file| file.canonicalize().is_ok_and(|real| seen.insert(real)));
    let shown = |file: &Path| file.strip_prefix(&root).unwrap_or(file).display().to_string();
    let sources =
        files.iter().filter_map(|file| Some(Source { name: shown(file), bytes: input::read(file, MAX_BYTES).ok()? }));
    sources.collect()
}

/// Adds the YAML files of a folder and its subfolders, in the order of their names. Links are not followed.
fn collect(dir: &Path, folders: usize, files: &mut Vec<PathBuf>) {
    let Ok(entries) = std::fs::read_dir(dir) else { return };
    let mut entries: Vec<_> = entries.flatten().collect();
    entries.sort_by_key(std::fs::DirEntry::file_name);
    for entry in entries {
        let (path, Ok(kind)) = (entry.path(), entry.file_type()) else { continue };
        let yaml = path.extension().is_some_and(|extension| extension == "yml" || extension == "yaml");
        if kind.is_file() && yaml && files.len() < MAX_TEMPLATE_FILES {
            files.push(path);
        } else if kind.is_dir() && folders > 0 {
            collect(&path, folders - 1, files);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PIPELINE: &str = "pipeline:
  name: p
  stages:
    - stage: {name: s, identifier: s, template: {templateRef: t, versionLabel: v1, templateInputs: {timeout: <+input>}}}
";
    const TEMPLATE: &str = "template:
  {identifier: t, versionLabel: v1, type: Stage, spec: {type: CI, timeout: <+input>, spec: {platform: {os: Linux, arch: Amd64}, execution: {steps: [{step: {name: a, type: Run, spec: {command: x}}}]}}}}
";

    fn read(args: &GivenArgs) -> Given {
        Given::read(args).expect("input sets")
    }

    fn timeout(loaded: &Loaded) -> Option<&str> {
        loaded.plan.as_ref().and_then(|plan| Some(plan.stages.nodes[0].item.timeout.as_ref()?.written.as_str()))
    }

    #[test]
    fn templates_are_found_below_the_folder_of_the_repository_and_beside_the_pipeline() {
        let dir = tempfile::tempdir().expect("a folder");
        let pipeline = dir.path().join("pipeline.yml");
        std::fs::write(&pipeline, PIPELINE).expect("a file");
        let given = GivenArgs { var: vec![("pipeline.stages.s.timeout".into(), "3m".into())], ..GivenArgs::default() };
        let none = load(&pipeline, &read(&GivenArgs::default())).expect("a report");
        assert_eq!(none.report.status(), kiln_document::Status::Unsupported);
        for folder in [".harness/templates/deep", ""] {
            let folder = dir.path().join(folder);
            std::fs::create_dir_all(&folder).expect("a folder");
            std::fs::write(folder.join("t.yaml"), TEMPLATE).expect("a file");
            let loaded = load(&pipeline, &read(&given)).expect("a report");
            assert_eq!(timeout(&loaded), Some("3m"), "{}", loaded.report.text(false));
            std::fs::remove_file(folder.join("t.yaml")).expect("it was there");
        }
    }

    #[test]
    fn input_sets_are_read_and_a_missing_one_is_named() {
        let dir = tempfile::tempdir().expect("a folder");
        let (pipeline, set) = (dir.path().join("pipeline.yml"), dir.path().join("set.yml"));
        std::fs::write(&pipeline, PIPELINE).expect("a file");
        std::fs::write(dir.path().join("t.yaml"), TEMPLATE).expect("a file");
        let inputs =
            "inputSet: {pipeline: {stages: [{stage: {identifier: s, template: {templateInputs: {timeout: 4m}}}}]}}";
        std::fs::write(&set, inputs).expect("a file");
        let given = GivenArgs { inputs: vec![set], ..GivenArgs::default() };
        let loaded = load(&pipeline, &read(&given)).expect("a report");
        assert_eq!(timeout(&loaded), Some("4m"), "{}", loaded.report.text(false));
        let given = GivenArgs { inputs: vec![dir.path().join("none.yml")], ..GivenArgs::default() };
        let error = Given::read(&given).err().expect("it is not there").to_string();
        assert!(error.contains("none.yml"), "{error}");
    }
}
