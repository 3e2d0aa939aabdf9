//! The words of the dialect: kinds of stages, steps, shells, failures.

/// Why keys about where a stage runs have no effect.
pub const LOCAL: &str = "the stage runs on a machine of Kiln's own";

/// Shells of `Run`, `Background` and the test steps.
pub const SHELLS: &[&str] = &["Sh", "Bash", "Powershell", "Pwsh", "Python"];
/// Operating systems of `platform`.
pub const SYSTEMS: &[&str] = &["Linux", "MacOS", "Windows"];
/// Processors of `platform`.
pub const PROCESSORS: &[&str] = &["Amd64", "Arm64"];
/// Values of `stageStatus` and `pipelineStatus`.
pub const STATES: &[&str] = &["Success", "Failure", "All"];
/// Kinds of infrastructure.
pub const INFRASTRUCTURES: &[&str] = &["VM", "KubernetesDirect", "KubernetesHosted", "UseFromStage", "Docker", "Cloud"];
/// Kinds of runtime.
pub const RUNTIMES: &[&str] = &["Cloud", "Docker"];
/// Values of `imagePullPolicy`.
pub const PULL_POLICIES: &[&str] = &["Always", "Never", "IfNotPresent"];

/// Kinds of stages.
#[rustfmt::skip]
pub const STAGE_TYPES: &[&str] = &[
    "CI", "Deployment", "Approval", "Custom", "Pipeline", "Security", "SecurityTests", "FeatureFlag", "IACM", "IDP",
    "Dynamic", "DRTest", "CompositeLoadTest", "Template", "Chaos",
];

/// Kinds of steps that become processes.
pub const RUN_TYPES: &[&str] = &["Run", "Background", "Plugin"];

/// Kinds of steps that keep files beyond their stage.
#[rustfmt::skip]
pub const STORE_TYPES: &[&str] = &[
    "SaveCacheS3", "SaveCacheGCS", "SaveCacheAzure", "SaveCache", "SaveCacheHarness",
    "RestoreCacheS3", "RestoreCacheGCS", "RestoreCacheAzure", "RestoreCache", "RestoreCacheHarness",
    "S3Upload", "GCSUpload", "ArtifactoryUpload",
];
/// Kinds of steps that run tests.
pub const TEST_TYPES: &[&str] = &["RunTests", "Test"];
/// The kind of steps that clone a repository.
pub const CLONE_TYPES: &[&str] = &["GitClone"];
/// Kinds of steps that build container images.
#[rustfmt::skip]
pub const BUILD_TYPES: &[&str] = &[
    "BuildAndPushDockerRegistry", "BuildAndPushECR", "BuildAndPushGCR", "BuildAndPushACR", "BuildAndPushGAR",
];
/// Values of `buildTool`.
#[rustfmt::skip]
pub const BUILD_TOOLS: &[&str] = &[
    "Maven", "Bazel", "Gradle", "Dotnet", "Nunitconsole", "SBT", "Pytest", "Unittest", "Rspec",
];
/// Values of `archiveFormat`.
pub const ARCHIVE_FORMATS: &[&str] = &["Tar", "Gzip", "Zstd"];

/// Kinds of failure that a strategy can be for.
#[rustfmt::skip]
pub const ERRORS: &[&str] = &[
    "AllErrors", "Unknown", "Authentication", "Connectivity", "Timeout", "Authorization", "Verification",
    "DelegateProvisioning", "PolicyEvaluationFailure", "InputTimeoutError", "ApprovalRejection", "DelegateRestart",
    "UserMarkedFailure", "InfrastructureFailure", "PluginImageFailure", "ResourceLimitsFailure",
    "ConfigurationFailure", "RetryableTransientFailure",
];

/// What a failure strategy can do.
#[rustfmt::skip]
pub const ACTIONS: &[&str] = &[
    "Ignore", "Retry", "MarkAsSuccess", "Abort", "StageRollback", "StepGroupRollback", "PipelineRollback",
    "ManualIntervention", "ProceedWithDefaultValues", "MarkAsFailure", "RetryStepGroup",
];

/// Kinds of steps that the dialect knows and that are not run: those of build stages first, then those that only
/// make sense in other stages but are written into build stages too.
#[rustfmt::skip]
pub const OTHER_TYPES: &[&str] = &[
    "Action", "Bitrise",
    "HarUpload", "InitializeBuild", "Clone",
    "Barrier", "Queue", "Wait", "Policy", "Template", "Approval", "HarnessApproval", "JiraApproval",
    "ServiceNowApproval", "CustomApproval", "JiraCreate", "JiraUpdate", "ServiceNowCreate", "ServiceNowUpdate",
    "ShellScript", "Http", "Email", "Command", "Container", "AiEval", "AiTestAutomation", "EventListener",
    "SscaEnforcement", "SscaOrchestration", "SscaAibomOrchestration", "SscaCompliance", "SscaPrAttestation",
    "SscaJunitAttestation", "SscaArtifactSigning", "SscaArtifactVerification", "ArtifactSigning",
    "ArtifactVerification", "SlsaVerification", "SlsaGeneration", "EnforceAttestation", "DeployAttestation",
    "Provenance", "HsaRepoScan", "CdSscaOrchestration", "CdSscaEnforcement",
    "Security", "Anchore", "AquaSecurity", "AquaTrivy", "AwsEcr", "AWSECR", "AwsSecurityHub", "AWSSecurityHub",
    "Bandit", "BlackDuck", "Brakeman", "Burp", "Checkmarx", "CheckmarxOne", "Checkov", "Clair", "CodeQL", "Coverity",
    "CustomIngest", "DataTheorem", "DockerContentTrust", "FortifyOnDemand", "Fossa", "FOSSA",
    "GitHubAdvancedSecurity", "Gitleaks", "Grype", "JfrogXray", "JFrogXray", "Mend", "Metasploit", "Nessus",
    "NexusIQ", "Nikto", "Nmap", "Openvas", "OsvScanner", "Owasp", "PrismaCloud", "Prowler", "Qualys", "Reapsaw",
    "Semgrep", "ShiftLeft", "Sniper", "Snyk", "Sonarqube", "SonarQube", "Sysdig", "Tenable", "Traceable", "Veracode",
    "Zap", "Wiz", "CortexCloud", "ModelScan", "Sast", "Sca", "OpenAi", "MythosAgent", "ChangeAdvisor", "RONotify",
    "Agent", "IdpAction",
    "K8sRollingDeploy", "K8sRollingRollback", "K8sCanaryDeploy", "K8sCanaryDelete", "K8sBlueGreenDeploy",
    "K8sBGSwapServices", "K8sApply", "K8sScale", "K8sDelete", "K8sDryRun", "HelmDeploy", "HelmRollback",
    "TerraformPlan", "TerraformApply", "TerraformDestroy", "TerraformRollback", "Verify", "FlagConfiguration",
    "GitOpsUpdateReleaseRepo", "MergePR", "RevertPR", "JenkinsBuild", "BambooBuild", "IACMTerraformPlugin",
    "IACMApproval", "CookieCutter", "CreateRepo", "CreateCatalog", "RegisterCatalog", "DirectPush",
    "SlackNotify", "UpdateCatalogProperty", "CreateProject", "CreateOrganisation", "CreateResource", "Chaos",
    "AnalyzeDeploymentImpact", "UpdateReleaseRepo", "ServerlessAwsLambdaDeploy", "EcsRollingDeploy", "AsgRollingDeploy",
    "DownloadManifests", "BuildAndPush", "GHAPlugin",
];

/// Beginnings of the kinds of steps of deployment and platform modules, of which there are more every month.
#[rustfmt::skip]
pub const FAMILIES: &[&str] = &[
    "K8s", "Helm", "Terraform", "Terragrunt", "Ecs", "Asg", "Azure", "Aws", "Serverless", "Tas", "GitOps", "ServiceNow",
    "Jira", "Ssca", "IACM", "Idp", "Spot", "Elastigroup", "GoogleCloud", "GoogleFunctions", "CreateStack", "DeleteStack",
    "RollbackStack", "Harness", "Har", "Ai", "Api", "Sto", "Rancher", "Sam", "DownloadAws", "Chaos", "Governance", "DBSchema", "LiquibaseApply", "FeatureFlag",
];
