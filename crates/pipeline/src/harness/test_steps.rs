//! Reads steps that run tests. Kiln selects none of them: the whole command runs.

use kiln_document::diagnostic::Diagnostic;
use kiln_document::yaml::Node;

use super::reader::{Reader, name_place};
use super::{container, run, step_tables};
use crate::expr::Template;
use crate::plan::{Run, Shell, StepKind};

/// Keys that only a selection of tests has a use for.
const OF_SELECTION: [&str; 11] = [
    "runOnlySelectedTests",
    "packages",
    "namespaces",
    "testAnnotations",
    "testGlobs",
    "testRoot",
    "enableTestSplitting",
    "testSplitStrategy",
    "intelligenceMode",
    "globs",
    "buildEnvironment",
];

/// Reads the `spec` of a step of the type `RunTests` or `Test`.
pub(super) fn read(reader: &mut Reader<'_>, step: &Node, kind: &str) -> Option<StepKind> {
    let table = if kind == "Test" { &step_tables::TEST } else { &step_tables::RUN_TESTS };
    let Some(spec) = step.get("spec") else {
        reader.missing(step, &["spec"], name_place(step), "the step has no `spec`", "`spec` says what it runs");
        return None;
    };
    if !reader.check(spec, table) {
        return None;
    }
    let script = match kind {
        "Test" => command(reader, step, spec),
        _ => build_tool(reader, step, spec)?,
    };
    selection(reader, step, spec);
    let container = container::read(reader, spec);
    if container.is_none() {
        container::on_host(reader, spec);
    }
    let mut process = run::process(reader, spec);
    if process.reports.is_empty() && kind == "Test" {
        // What Harness looks for without being told.
        process.reports = ["**/*.xml", "**/*.trx"].map(Template::literal).into();
    }
    let shell = run::shell(reader, spec);
    Some(StepKind::RunTests(Run { shell, script: Some(script), container, process }))
}

fn command(reader: &mut Reader<'_>, step: &Node, spec: &Node) -> Template {
    let command = reader.template_at(spec, "command").filter(|command| !command.text().trim().is_empty());
    command.unwrap_or_else(|| {
        reader.missing(spec, &["command"], name_place(step), "the `Test` step has no `command`", "");
        Template::literal("")
    })
}

/// Says once per step that tests are not selected.
fn selection(reader: &mut Reader<'_>, step: &Node, spec: &Node) {
    let told = OF_SELECTION.iter().filter_map(|key| spec.entry(key)).find(|(_, value)| !value.is_null());
    let place = told.map_or_else(|| name_place(step).clone(), |(key, _)| key.location.clone());
    let message = "all tests run: Kiln selects and splits none";
    reader.push(Diagnostic::note("all-tests", &place, message));
}

/// Returns the script of a build tool: what goes before, the whole command line, what follows.
fn build_tool(reader: &mut Reader<'_>, step: &Node, spec: &Node) -> Option<Template> {
    let tool = match reader.fixed(spec, "buildTool") {
        Some(tool) => tool.to_owned(),
        None => {
            if spec.get("buildTool").is_none() {
                let help = "it says what runs the tests: `Maven`, `Gradle`, `Pytest`, ...";
                reader.missing(spec, &["buildTool"], name_place(step), "the step has no `buildTool`", help);
            }
            return None;
        }
    };
    let powershell = matches!(run::shell(reader, spec), Shell::Powershell | Shell::Pwsh);
    let program = match tool.as_str() {
        "Maven" => "mvn",
        "Gradle" if powershell => "./gradlew",
        // A wrapper comes with the sources, and need not be executable there.
        "Gradle" => "if [ -f ./gradlew ]; then set -- sh ./gradlew; else set -- gradle; fi\n\"$@\"",
        "Bazel" => "bazel",
        "SBT" => "sbt",
        "Dotnet" => "dotnet",
        "Nunitconsole" => "nunit3-console",
        "Pytest" => "python3 -m pytest",
        "Unittest" => "python3 -m unittest",
        _ => "bundle exec rspec",
    };
    let mut parts = Vec::new();
    if let Some(before) = reader.template_at(spec, "preCommand") {
        parts.extend([before, Template::literal("\n")]);
    }
    parts.push(Template::literal(program));
    if let Some(args) = reader.template_at(spec, "args") {
        parts.extend([Template::literal(" "), args]);
    }
    if let Some(after) = reader.template_at(spec, "postCommand") {
        parts.extend([Template::literal("\n"), after]);
    }
    Some(Template::joined(parts))
}
