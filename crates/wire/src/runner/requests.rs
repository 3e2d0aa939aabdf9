//! Requests of the runner that ours stands in for.

use std::collections::BTreeMap;

use crate::agent::{SetupRequest, StartStepRequest, SuspendRequest, VmImageConfig};
use crate::message::message;

message! {
    /// Asks for an instance for a stage. A repetition with the same `id` is answered as the first was.
    pub struct SetupVmRequest {
        /// The stage. Mandatory.
        id: String = "id",
        /// The pool. Mandatory.
        pool_id: String = "pool_id",
        /// Pools to turn to when that one cannot serve, in order.
        fallback_pool_ids: Vec<String> = "fallback_pool_ids",
        /// Facts about the caller; `accountID` is read where the context names no account.
        tags: BTreeMap<String, String> = "tags",
        /// Who asks.
        context: Context = "context",
        /// Size of the instance.
        resource_class: String = "resource_class",
        /// The image, where `setup_request` names none.
        vm_image_config: VmImageConfig = "vm_image_config",
        /// Storage of its own for the instance. Not carried out: refused unless empty.
        storage_config: StorageConfig = "storage_config",
        /// Preferred zone. Not used: the pool decides.
        zone: String = "zone",
        /// Whether the instance must be able to run virtual machines.
        nested_virtualization: bool = "nested_virtualization",
        /// How long to wait for an instance, in milliseconds; 0 for the runner's setting.
        timeout: i64 = "timeout",
        /// How long to wait in each pool, in milliseconds. Not used: all pools are looked at together.
        reservation_per_pool_timeout: i64 = "reservation_per_pool_timeout",
        /// What the instance's agent is prepared with. Its `timeout` is how long the stage may keep the instance, in seconds.
        setup_request: Option<SetupRequest> = "setup_request",
        /// Name of the log of the set-up.
        log_key: String = "log_key",
        /// Id of the task, for logs.
        correlation_id: String = "correlation_id",
        /// Development environments. Not carried out: refused unless empty.
        gitspace_agent_config: GitspaceAgentConfig = "gitspace_agent_config",
        /// An instance that is to be woken. Not carried out: refused when it names one.
        instance_info: InstanceInfo = "instance_info",
        /// Destroy and make anew. Not carried out: refused when true.
        is_marked_for_infra_reset: bool = "is_marked_for_infra_reset",
        /// Leave the instance at its end. Not carried out: refused when true.
        skip_cloud_vm_cleanup: bool = "skip_cloud_vm_cleanup",
    }

    /// Who asks.
    pub struct Context {
        /// Account; decides the tenant.
        account_id: String = "account_id",
        /// Organisation.
        org_id: String = "org_id",
        /// Project.
        project_id: String = "project_id",
        /// Pipeline.
        pipeline_id: String = "pipeline_id",
        /// Execution of the pipeline.
        pipeline_execution_id: String = "pipeline_execution_id",
        /// Number of the execution.
        run_sequence: i64 = "run_sequence",
        /// Whether the account pays nothing.
        is_free_account: bool = "is_free_account",
        /// Task.
        task_id: String = "task_id",
    }

    /// Storage of its own for an instance.
    pub struct StorageConfig {
        /// Pool of the storage.
        ceph_pool_identifier: String = "ceph_pool_identifier",
        /// Identifier.
        identifier: String = "identifier",
        /// Size in GB, as decimal text.
        size: String = "size",
        /// Kind.
        kind: String = "type",
        /// Size of the boot disk in GB, as decimal text.
        boot_disk_size: String = "boot_disk_size",
        /// Kind of the boot disk.
        boot_disk_type: String = "boot_disk_type",
    }

    /// Development environments.
    pub struct GitspaceAgentConfig {
        /// Secret of the agent.
        secret: String = "secret",
        /// Token of the agent.
        access_token: String = "access_token",
        /// Ports that are opened.
        ports: Vec<i64> = "ports",
        /// Base64 of a script that the instance runs at its start.
        vm_init_script: String = "vm_init_script",
        /// Identifier.
        gitspace_config_identifier: String = "gitspace_config_identifier",
    }

    /// An instance, as the caller is told and may tell again. What callers tell is never used to find or reach one.
    pub struct InstanceInfo {
        /// Its id.
        id: String = "id" always,
        /// Its name.
        name: String = "name" always,
        /// Address of its agent.
        ip_address: String = "ip_address" always,
        /// Port of its agent.
        port: i64 = "port" always,
        /// Operating system.
        os: String = "os" always,
        /// Processor architecture.
        arch: String = "arch" always,
        /// The driver that made it.
        provider: String = "provider" always,
        /// Its pool.
        pool_name: String = "pool_name" always,
        /// Its zone.
        zone: String = "zone" always,
        /// Storage of its own. Always empty.
        storage_identifier: String = "storage_identifier" always,
        /// Always empty: no answer holds a private key.
        ca_key: String = "ca_key" always,
        /// Base64 of the PEM of the authority that signed its certificate.
        ca_cert: String = "ca_cert" always,
        /// Always empty: no answer holds a private key.
        tls_key: String = "tls_key" always,
        /// Always empty.
        tls_cert: String = "tls_cert" always,
        /// Proxy of its pool.
        proxy_url: String = "proxy_url",
    }

    /// Runs a step of a stage. A repetition with the same step id joins the step that runs, or is told how it ended.
    pub struct ExecuteVmRequest {
        /// The stage. Mandatory.
        stage_runtime_id: String = "stage_runtime_id",
        /// The stage's instance; when given, it must be that of the stage.
        instance_id: String = "instance_id",
        /// Not used.
        ip_address: String = "ip_address",
        /// Not used.
        pool_id: String = "pool_id",
        /// Id of the task, for logs.
        correlation_id: String = "correlation_id",
        /// Id of the task, for logs.
        task_id: String = "task_id",
        /// Not used: the answer always comes when the step has ended.
        distributed: bool = "distributed",
        /// The step.
        start_step_request: StartStepRequest = "start_step_request",
        /// Not used.
        instance_info: InstanceInfo = "instance_info",
    }

    /// Ends a stage and its instance. May be repeated.
    pub struct DestroyVmRequest {
        /// The stage; this or `stage_runtime_id` is mandatory.
        id: String = "id",
        /// The stage.
        stage_runtime_id: String = "stage_runtime_id",
        /// Not used.
        instance_id: String = "instance_id",
        /// Not used.
        pool_id: String = "pool_id",
        /// Id of the task, for logs.
        correlation_id: String = "correlation_id",
        /// Not used.
        instance_info: InstanceInfo = "instance_info",
        /// `DETACH` or `DELETE`. Not used: there is no storage that outlives an instance.
        storage_cleanup_type: String = "storage_cleanup_type",
    }

    /// Puts a stage's instance to sleep.
    pub struct SuspendVmRequest {
        /// The pool.
        pool_id: String = "pool_id",
        /// The stage. Mandatory.
        stage_runtime_id: String = "stage_runtime_id",
        /// What the agent is asked before.
        suspend_request: SuspendRequest = "suspend_request",
        /// Who asks.
        context: Context = "context",
        /// The instance. Mandatory.
        instance_info: InstanceInfo = "instance_info",
    }
}
