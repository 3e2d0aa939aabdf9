//! The parts that requests are made of: volumes, files, networks and the configuration of other services.

use std::collections::BTreeMap;

use crate::message::{message, words};

words! {
    /// When a container's image is pulled.
    pub enum PullPolicy {
        /// Pulled when the tag is `latest` or absent, or the image is missing.
        Default = "default",
        /// Always pulled.
        Always = "Always",
        /// Pulled when the image is missing.
        IfNotPresent = "IfNotPresent",
        /// Never pulled.
        Never = "Never",
    }

    /// How an output variable is treated.
    pub enum OutputType {
        /// Plain text.
        Text = "STRING",
        /// A secret: masked in every later output.
        Secret = "SECRET",
    }

    /// Format of a test report.
    pub enum ReportKind {
        /// JUnit XML.
        Junit = "Junit",
    }
}

message! {
    /// A volume of the stage.
    pub struct Volume {
        /// A volume that lives as long as the stage.
        temp: Option<VolumeEmptyDir> = "temp",
        /// A directory of the VM.
        host: Option<VolumeHostPath> = "host",
    }

    /// A volume that starts empty.
    pub struct VolumeEmptyDir {
        /// Name of the volume in the container engine.
        id: String = "id",
        /// Name by which steps mount it.
        name: String = "name",
        /// `memory` for a tmpfs.
        medium: String = "medium",
        /// Largest size in bytes, 0 for no limit.
        size_limit: i64 = "size_limit",
        /// Labels of the volume.
        labels: BTreeMap<String, String> = "labels",
    }

    /// A directory of the VM; always created.
    pub struct VolumeHostPath {
        /// Identifier.
        id: String = "id",
        /// Name by which steps mount it.
        name: String = "name",
        /// Path in the VM.
        path: String = "path",
        /// Ignored: the directory is always created.
        create: bool = "create",
        /// Whether it is removed at the end of the stage.
        remove: bool = "remove",
        /// Labels.
        labels: BTreeMap<String, String> = "labels",
        /// Whether steps see it read-only.
        read_only: bool = "read_only",
    }

    /// Where a container sees a volume.
    pub struct VolumeMount {
        /// Name of the volume.
        name: String = "name",
        /// Path in the container.
        path: String = "path",
    }

    /// Where a container sees a device.
    pub struct VolumeDevice {
        /// Name of the volume.
        name: String = "name",
        /// Path in the container.
        device_path: String = "path",
    }

    /// A network of the container engine.
    pub struct Network {
        /// Its name.
        id: String = "id",
        /// Labels.
        labels: BTreeMap<String, String> = "labels",
        /// Options of its driver.
        options: BTreeMap<String, String> = "options",
    }

    /// Credentials of a container registry.
    pub struct Auth {
        /// Address of the registry.
        address: String = "address",
        /// User name.
        username: String = "username",
        /// Password.
        password: String = "password",
    }

    /// A file or directory to be made before anything runs.
    pub struct File {
        /// Where.
        path: String = "path",
        /// Permission bits, a plain number: 0o755 is written 493.
        mode: u32 = "mode",
        /// Content.
        data: String = "data",
        /// Whether it is a directory.
        is_dir: bool = "is_dir",
    }

    /// Where logs go.
    pub struct LogConfig {
        /// Account.
        account_id: String = "account_id",
        /// Upload through the service instead of a signed link.
        indirect_upload: bool = "indirect_upload",
        /// Address of the log service.
        url: String = "url",
        /// Token of the log service.
        token: String = "token",
        /// Whether line ends are cut off.
        trim_new_line_suffix: bool = "trim_new_line_suffix",
        /// Further patterns to mask.
        sanitize_config: SanitizeConfig = "sanitize_config",
        /// The stream is already open.
        skip_opening_stream: bool = "skip_opening_stream",
        /// The stream stays open.
        skip_closing_stream: bool = "skip_closing_stream",
        /// Also write lines to the agent's own log.
        dual_logging_enabled: bool = "dual_logging_enabled",
    }

    /// Further patterns to mask.
    pub struct SanitizeConfig {
        /// Base64 of regular expressions, one per line.
        sanitize_patterns_content: String = "sanitize_patterns_content",
    }

    /// Access to the test intelligence service.
    pub struct TiConfig {
        /// Address.
        url: String = "url",
        /// Token.
        token: String = "token",
        /// Account.
        account_id: String = "account_id",
        /// Organisation.
        org_id: String = "org_id",
        /// Project.
        project_id: String = "project_id",
        /// Pipeline.
        pipeline_id: String = "pipeline_id",
        /// Stage.
        stage_id: String = "stage_id",
        /// Build.
        build_id: String = "build_id",
        /// Repository.
        repo: String = "repo",
        /// Commit.
        sha: String = "sha",
        /// Branch the change comes from.
        source_branch: String = "source_branch",
        /// Branch the change goes to.
        target_branch: String = "target_branch",
        /// Branch of the commit.
        commit_branch: String = "commit_branch",
        /// Link to the commit.
        commit_link: String = "commit_link",
    }

    /// Test reports of a step.
    pub struct TestReport {
        /// Format.
        kind: ReportKind = "kind",
        /// Where JUnit reports are.
        junit: JunitReport = "junit",
    }

    /// Where JUnit reports are.
    pub struct JunitReport {
        /// Globs; relative ones start at the step's working directory.
        paths: Vec<String> = "paths",
    }

    /// A client certificate for other services.
    pub struct MtlsConfig {
        /// Base64 of the PEM certificate.
        client_cert: String = "client_cert",
        /// Base64 of the PEM key.
        client_cert_key: String = "client_cert_key",
        /// Where both are written.
        client_cert_dir_path: String = "client_cert_dir_path",
    }

    /// The image of the VM; of no use to the agent.
    pub struct VmImageConfig {
        /// Name.
        image_name: String = "image_name",
        /// Version.
        image_version: String = "image_version",
        /// Credentials.
        auth: Option<Auth> = "auth",
        /// User name.
        username: String = "username",
        /// Password.
        password: String = "password",
    }

    /// Outgoing proxy of the stage.
    pub struct EgressPolicy {
        /// User name.
        username: String = "username",
        /// Password.
        password: String = "password",
        /// Address of the proxy.
        proxy_url: String = "proxy_url",
        /// Hosts that are reached directly.
        no_proxy: String = "no_proxy",
    }

    /// An output variable.
    pub struct OutputV2 {
        /// Name.
        key: String = "key",
        /// In a request: the shell variable. In an answer: the value.
        value: String = "value" always,
        /// How it is treated.
        kind: OutputType = "type" always,
    }
}
