//! The command line's arguments.

pub mod cache;
pub mod network;
pub mod operator;
pub mod runner;
pub mod tests;

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::RangedI64ValueParser;
use clap::{Args, Parser, Subcommand, ValueEnum, ValueHint};
use kiln_driver_qemu::limits::{CPUS, DEFAULT_SHAPE, MEMORY_MIB};

use crate::ui::Output;

/// Runs each CI stage on its own throw-away VM.
#[derive(Debug, Parser)]
#[command(name = "kiln", version, about, arg_required_else_help = true, after_help = EXIT_CODES)]
pub struct Cli {
    /// The command.
    #[command(subcommand)]
    pub command: Command,
}

const EXIT_CODES: &str = "Exit codes: 0 all went well; 1 the pipeline failed, or a file is not ok; 2 wrong usage, or a \
                          file that cannot be read or run; 3 Kiln itself or the machine failed; 130 ended by Ctrl-C.";

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run a pipeline file, each stage on a fresh local VM
    Run(Box<RunArgs>),
    /// Keep pools of warm VMs and serve them over HTTP
    Runner(Box<runner::RunnerArgs>),
    /// Check pipeline files without running anything
    Validate(ValidateArgs),
    /// Make, fetch, list and remove VM images
    #[command(subcommand)]
    Image(ImageCommand),
    /// Look at a runner's pools, and check pool files
    #[command(subcommand)]
    Pool(operator::PoolCommand),
    /// Look at a runner's instances, hold them for debugging, destroy them
    #[command(subcommand)]
    Instance(operator::InstanceCommand),
    /// Look at a runner's stages, and cancel them
    #[command(subcommand)]
    Stage(operator::StageCommand),
    /// Print what changes on a runner
    Events(operator::EventsArgs),
    /// Show test reports, and split tests into shares
    #[command(subcommand)]
    Tests(tests::TestsCommand),
    /// Look at the caches that runs keep, and remove them
    #[command(subcommand)]
    Cache(cache::CacheCommand),
    /// Open a shell in an instance that `kiln run --keep-on-failure` keeps
    Shell(ShellArgs),
    /// Show what works on this machine, what is missing and how to mend it
    Doctor(Box<DoctorArgs>),
    /// Print the completions of a shell
    Completions {
        /// Which shell
        shell: clap_complete::Shell,
    },
    /// Print the JSON Schema of pipeline files, for editors
    Schema,
}

/// `kiln run`
#[derive(Debug, Args)]
pub struct RunArgs {
    /// The pipeline file; `-` is standard input
    #[arg(value_hint = ValueHint::FilePath)]
    pub file: PathBuf,
    /// Directory whose tree the stages get [default: the file's repository, else its directory]
    #[arg(long, short, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub workspace: Option<PathBuf>,
    /// Environment variable of every step; may be repeated
    #[arg(long, short, value_name = "NAME=VALUE", value_parser = pair)]
    pub env: Vec<(String, String)>,
    /// Secret by name; its value is masked in all output; may be repeated. `NAME` alone takes it from the environment
    #[arg(long, value_name = "NAME[=VALUE]")]
    pub secret: Vec<String>,
    /// File of secrets: lines of NAME=VALUE; values of several lines must be in quotes
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub secret_file: Option<PathBuf>,
    /// Docker's `config.json`, with registry credentials for images whose own are not in the file or not given
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub docker_config: Option<PathBuf>,
    /// Values for the file's variables and inputs
    #[command(flatten)]
    pub given: GivenArgs,
    /// Keep a failed stage's instance for this long, for debugging (`30m`, `1h`)
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub keep_on_failure: Option<Duration>,
    /// Form in which the run is shown
    #[arg(long, short, value_enum, default_value_t = Output::Auto)]
    pub output: Output,
    /// Also write the output of `--output json` to this file, with every test case
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub json_file: Option<PathBuf>,
    /// Also append a summary in Markdown to this file, such as `"$GITHUB_STEP_SUMMARY"`
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub summary: Option<PathBuf>,
    /// Print the times up to each stage's first output
    #[arg(long)]
    pub timings: bool,
    /// Image for a pool: `POOL=IMAGE`, or `IMAGE` for all pools; may be repeated
    #[arg(long, value_name = "[POOL=]IMAGE")]
    pub image: Vec<String>,
    /// Where caches are kept
    #[command(flatten)]
    pub caches: cache::StoreArgs,
    /// Where steps upload to: a directory, or `s3://BUCKET/PREFIX?endpoint=URL` [default: kiln in the user's state folder]
    #[arg(long, value_name = "DIR|URL", env = "KILN_ARTIFACT_STORE", help_heading = "Caches")]
    pub artifact_store: Option<String>,
    /// What the VMs reach
    #[command(flatten)]
    pub network: network::NetworkArgs,
    /// Run the stages on this runner's instances instead of VMs of this machine
    #[arg(long, value_name = "URL", help_heading = "Runner")]
    pub runner: Option<String>,
    /// Credentials for the runner
    #[command(flatten)]
    pub access: operator::Access,
    /// Size and settings of the VMs
    #[command(flatten)]
    pub vm: VmArgs,
}

/// The size and settings of VMs.
#[derive(Debug, Clone, Args)]
pub struct VmArgs {
    /// Processors of each VM
    #[arg(long, value_name = "N", default_value_t = DEFAULT_SHAPE.cpus, env = "KILN_CPUS", value_parser = within(&CPUS))]
    pub cpus: u32,
    /// Memory of each VM in MiB
    #[arg(long, value_name = "MIB", default_value_t = DEFAULT_SHAPE.memory_mib, env = "KILN_MEMORY_MIB", value_parser = within(&MEMORY_MIB))]
    pub memory: u32,
    /// Settings of this machine
    #[command(flatten)]
    pub host: HostArgs,
}

/// Settings of this machine for VMs of any size.
#[derive(Debug, Clone, Args)]
pub struct HostArgs {
    /// Acceleration of VMs
    #[arg(long, value_enum, default_value_t = Accel::Auto, env = "KILN_ACCEL")]
    pub accel: Accel,
    /// The kiln-agent for the VMs [default: the one beside this program]
    #[arg(long, value_name = "FILE", env = "KILN_AGENT", value_hint = ValueHint::FilePath)]
    pub agent: Option<PathBuf>,
    /// Free disk in MiB to reserve for each VM; a VM that would leave less than the sum of the reserves is not started
    #[arg(long, value_name = "MIB", default_value_t = 2048, env = "KILN_DISK_RESERVE_MIB")]
    pub disk_reserve: u32,
    /// End the VM that has written the most when less disk than this is free, in MiB
    #[arg(long, value_name = "MIB", default_value_t = 1024, env = "KILN_DISK_WATERMARK_MIB")]
    pub disk_watermark: u32,
    /// Memory of all VMs together, as a multiple of the host's memory
    #[arg(long, value_name = "FACTOR", default_value_t = 1.0, env = "KILN_MEMORY_OVERCOMMIT", value_parser = overcommit)]
    pub memory_overcommit: f64,
}

/// Acceleration of VMs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Accel {
    /// KVM if a VM really boots with it, else software emulation
    Auto,
    /// KVM only
    Kvm,
    /// Software emulation
    Tcg,
}

/// Additional tools of an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum With {
    /// node and npm
    Node,
    /// java, javac and mvn
    Jdk,
}

/// `kiln validate`
#[derive(Debug, Args)]
pub struct ValidateArgs {
    /// Pipeline files; `-` is standard input
    #[arg(required = true, value_hint = ValueHint::FilePath)]
    pub files: Vec<PathBuf>,
    /// Output format of the findings
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub format: Format,
    /// Check for a run on a runner's instances instead of VMs of this machine
    #[arg(long)]
    pub runner: bool,
    /// Values for the file's variables and inputs
    #[command(flatten)]
    pub given: GivenArgs,
}

/// The caller's input to reading a pipeline file, and the selection of its stages.
#[derive(Debug, Clone, Default, Args)]
pub struct GivenArgs {
    /// Only this stage, by its identifier; may be repeated
    #[arg(long, value_name = "ID")]
    pub stage: Vec<String>,
    /// Build event that conditions see
    #[arg(long, value_name = "EVENT", default_value = "push")]
    pub event: String,
    /// Branch that conditions see [default: the working tree's]
    #[arg(long)]
    pub branch: Option<String>,
    /// Value of a variable or of an <+input>, by name or path; may be repeated
    #[arg(long, value_name = "NAME=VALUE", value_parser = pair)]
    pub var: Vec<(String, String)>,
    /// Input set of a Harness pipeline; may be repeated, and the last one with a value wins
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub inputs: Vec<PathBuf>,
    /// Treat unknown keys as warnings, not errors
    #[arg(long)]
    pub lenient: bool,
}

/// Output format of lists and findings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people
    Text,
    /// For programs
    Json,
}

/// `kiln image`
#[derive(Debug, Subcommand)]
pub enum ImageCommand {
    /// Make the Debian image; root is not needed
    Build {
        /// Name of the image
        #[arg(long, default_value = crate::images::DEFAULT)]
        name: String,
        /// Package source in apt's one-line format; may be repeated [default: the host's apt configuration]
        #[arg(long, value_name = "LINE")]
        source: Vec<String>,
        /// Further packages; may be repeated
        #[arg(long, value_name = "NAME")]
        package: Vec<String>,
        /// Additional tools; may be repeated, or a list with commas
        #[arg(long, value_enum, value_delimiter = ',', value_name = "TOOLS")]
        with: Vec<With>,
        /// Build only if the image is missing, or if its recipe has changed since; replaces the old image
        #[arg(long)]
        update: bool,
    },
    /// Import a cloud image (Debian, Ubuntu, Fedora: any with cloud-init)
    Import {
        /// File or URL
        source: String,
        /// Name of the image
        #[arg(long)]
        name: String,
        /// SHA-256 of the file, in hex; required for a URL
        #[arg(long, value_name = "HEX")]
        sha256: Option<String>,
    },
    /// Put container images into an image, so that no step has to pull them
    Preload {
        /// Name of the image
        image: String,
        /// Names and tags of the container images, such as `alpine:3.20`
        #[arg(required = true, value_name = "REF")]
        references: Vec<String>,
        /// Fetch them with the Docker credentials of this user
        #[arg(long)]
        host_credentials: bool,
        /// Registry without TLS, as HOST:PORT; may be repeated. Registries on this machine's loopback need no TLS
        #[arg(long, value_name = "REGISTRY")]
        insecure_registry: Vec<String>,
        /// URL of a registry to ask first for images of Docker Hub
        #[arg(long, value_name = "URL")]
        registry_mirror: Option<String>,
        /// Acceleration of the VM that loads them
        #[arg(long, value_enum, default_value_t = Accel::Auto, env = "KILN_ACCEL")]
        accel: Accel,
    },
    /// Show an image and its container images
    Show {
        /// Name of the image
        #[arg(default_value = crate::images::DEFAULT)]
        name: String,
        /// Output format
        #[arg(long, value_enum, default_value_t = Format::Text)]
        format: Format,
    },
    /// Boot an image once and keep the snapshot that stages are cloned from
    Warm {
        /// Name of the image
        #[arg(default_value = crate::images::DEFAULT)]
        name: String,
        /// Size and settings of the VM
        #[command(flatten)]
        vm: VmArgs,
    },
    /// List the images
    List {
        /// Output format
        #[arg(long, value_enum, default_value_t = Format::Text)]
        format: Format,
    },
    /// Remove images and their snapshots
    Rm {
        /// Names of the images
        #[arg(required = true)]
        names: Vec<String>,
    },
}

/// `kiln shell`
#[derive(Debug, Args)]
pub struct ShellArgs {
    /// Id of the instance, from the output of `kiln run`; optional when only one is kept
    pub instance: Option<String>,
    /// Command to run there instead of a shell
    #[arg(last = true)]
    pub command: Vec<String>,
}

/// `kiln doctor`
#[derive(Debug, Args)]
pub struct DoctorArgs {
    /// Also try it: boot a VM, run steps in it, look at what it reaches, end it, and save a report
    #[arg(long = "try")]
    pub tries: bool,
    /// Image to try [default: the one that `kiln run` takes]
    #[arg(long, value_name = "IMAGE", requires = "tries")]
    pub image: Option<String>,
    /// Size and settings of the VM to try
    #[command(flatten)]
    pub vm: VmArgs,
    /// Output format
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub format: Format,
}

fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("expected NAME=VALUE".to_owned()),
    }
}

fn overcommit(text: &str) -> Result<f64, String> {
    let factor = text.parse::<f64>().ok().filter(|factor| (0.1..=16.0).contains(factor));
    factor.ok_or_else(|| "expected a number from 0.1 to 16".to_owned())
}

/// Accepts the numbers that are valid for a local VM.
fn within(range: &RangeInclusive<u32>) -> RangedI64ValueParser<u32> {
    clap::value_parser!(u32).range(i64::from(*range.start())..=i64::from(*range.end()))
}

fn duration(text: &str) -> Result<Duration, String> {
    kiln_document::duration::parse(text).ok_or_else(|| "expected a duration such as 30s, 10m or 1h 30m".to_owned())
}

#[cfg(test)]
mod numbers {
    use clap::CommandFactory as _;
    use kiln_driver_qemu::Settings;

    use super::*;

    #[test]
    fn the_numbers_of_the_help_are_those_of_the_program() {
        let Ok(Cli { command: Command::Run(run) }) = Cli::try_parse_from(["kiln", "run", "p.yml"]) else {
            panic!("no run")
        };
        let (host, settings) = (&run.vm.host, Settings::default());
        assert_eq!(host.disk_reserve, settings.disk_reserve_mib);
        assert_eq!(host.disk_watermark, settings.disk_watermark_mib);
        assert!((host.memory_overcommit - settings.memory_overcommit).abs() < f64::EPSILON);
        assert_eq!((run.vm.cpus, run.vm.memory), (DEFAULT_SHAPE.cpus, DEFAULT_SHAPE.memory_mib));
        let help = Cli::command().find_subcommand_mut("runner").expect("the command").render_long_help().to_string();
        let token = format!("at least {} bytes", kiln_runner::http::Token::MIN_BYTES);
        assert!(help.contains(&token), "{help}");
    }
}
