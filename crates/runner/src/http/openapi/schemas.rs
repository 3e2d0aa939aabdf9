//! Schemas, derived from the messages' own descriptions.

use kiln_wire::agent::{self, archive, kiln as agent_kiln};
use kiln_wire::described::{Described, Field, Shape};
use kiln_wire::runner::{self, kiln};
use serde_json::{Map, Value, json};

/// All messages that operations name, and their parts.
#[rustfmt::skip]
const SHAPES: &[Shape] = &[
    runner::SetupVmRequest::SHAPE, runner::Context::SHAPE, runner::StorageConfig::SHAPE,
    runner::GitspaceAgentConfig::SHAPE, runner::InstanceInfo::SHAPE, runner::ExecuteVmRequest::SHAPE,
    runner::DestroyVmRequest::SHAPE, runner::SuspendVmRequest::SHAPE, runner::SetupVmResponse::SHAPE,
    runner::PoolOwnerResponse::SHAPE, runner::ErrorBody::SHAPE,
    kiln::EndCause::SHAPE, kiln::HealthReport::SHAPE, kiln::DriverHealth::SHAPE, kiln::PoolList::SHAPE,
    kiln::UnreadableRow::SHAPE, kiln::Pool::SHAPE, kiln::Flavor::SHAPE, kiln::Wanted::SHAPE, kiln::DrainRequest::SHAPE, kiln::InstanceList::SHAPE,
    kiln::Instance::SHAPE, kiln::InstanceDetail::SHAPE, kiln::Change::SHAPE, kiln::Subject::SHAPE,
    kiln::HoldRequest::SHAPE, kiln::StageList::SHAPE, kiln::Stage::SHAPE, kiln::StageDetail::SHAPE,
    kiln::CancelStageRequest::SHAPE,
    agent::SetupRequest::SHAPE, agent::SuspendRequest::SHAPE, agent::PollStepRequest::SHAPE,
    agent::PollStepResponse::SHAPE, agent::Cause::SHAPE, agent::OptimizationState::SHAPE, agent::OutputV2::SHAPE,
    agent::OutputType::SHAPE, agent::Network::SHAPE, agent::Volume::SHAPE, agent::VolumeEmptyDir::SHAPE,
    agent::VolumeHostPath::SHAPE, agent::LogConfig::SHAPE, agent::SanitizeConfig::SHAPE, agent::TiConfig::SHAPE,
    agent::File::SHAPE, agent::MtlsConfig::SHAPE, agent::VmImageConfig::SHAPE, agent::Auth::SHAPE,
    agent::EgressPolicy::SHAPE, agent::StartStepRequest::SHAPE, agent::StepKind::SHAPE, agent::RunConfig::SHAPE,
    agent::RunTestConfig::SHAPE, agent::RunTestsV2Config::SHAPE, agent::TestReport::SHAPE, agent::ReportKind::SHAPE,
    agent::JunitReport::SHAPE, agent::AnnotationsConfig::SHAPE, agent::ProcessConfig::SHAPE,
    agent::StepStatusConfig::SHAPE, agent::WorkloadIdentity::SHAPE, agent::VolumeDevice::SHAPE,
    agent::VolumeMount::SHAPE, agent::PullPolicy::SHAPE, agent::DestroyResponse::SHAPE, agent::OsStats::SHAPE,
    agent::Graph::SHAPE, agent::Point::SHAPE,
    agent_kiln::StepList::SHAPE, agent_kiln::StepSummary::SHAPE, agent_kiln::StepState::SHAPE,
    agent_kiln::CancelRequest::SHAPE, agent_kiln::OutputRequest::SHAPE, agent_kiln::FilesRequest::SHAPE,
    agent_kiln::UnpackedResponse::SHAPE, agent_kiln::Terminal::SHAPE,
    archive::LookRequest::SHAPE, archive::LookResponse::SHAPE, archive::Digest::SHAPE, archive::PackRequest::SHAPE,
    archive::Format::SHAPE,
];

/// Returns all schemas, by name.
pub(super) fn all() -> Value {
    let mut schemas: Map<String, Value> = SHAPES.iter().map(schema).collect();
    schemas.insert("Empty".to_owned(), json!({"type": "object", "description": "Says only that all went well."}));
    Value::Object(schemas)
}

fn schema(shape: &Shape) -> (String, Value) {
    match shape {
        Shape::Message { name, about, fields } => {
            let properties: Map<String, Value> = fields.iter().map(property).collect();
            let always: Vec<&str> = fields.iter().filter(|field| field.always).map(|field| field.name).collect();
            let mut schema = json!({"type": "object", "description": about.trim(), "properties": properties});
            // Requests may omit any field; answers list the fields that they always have.
            if !always.is_empty() && !name.ends_with("Request") && *name != "InstanceInfo" {
                schema["required"] = json!(always);
            }
            ((*name).to_owned(), schema)
        }
        Shape::Words { name, about, words } => {
            ((*name).to_owned(), json!({"type": "string", "description": about.trim(), "enum": words}))
        }
    }
}

fn property(field: &Field) -> (String, Value) {
    let mut schema = typed(field.ty);
    schema["description"] = json!(field.about.trim());
    (field.name.to_owned(), schema)
}

/// Returns the schema of a type from its name in the source.
fn typed(ty: &str) -> Value {
    let within = |wrapper: &str| ty.strip_prefix(wrapper).and_then(|rest| rest.strip_suffix('>')).map(str::trim);
    if let Some(inner) = within("Vec<") {
        return json!({"type": "array", "items": typed(inner)});
    }
    if let Some(inner) = within("BTreeMap<String,") {
        return json!({"type": "object", "additionalProperties": typed(inner)});
    }
    if let Some(inner) = within("Option<") {
        let inner = typed(inner);
        return match inner["type"].as_str() {
            Some(kind) => {
                let mut nullable = inner.clone();
                nullable["type"] = json!([kind, "null"]);
                nullable
            }
            None => json!({"anyOf": [inner, {"type": "null"}]}),
        };
    }
    match ty {
        "bool" => json!({"type": "boolean"}),
        "String" => json!({"type": "string"}),
        "Value" => json!({}),
        "f64" => json!({"type": "number"}),
        "i32" => json!({"type": "integer", "format": "int32"}),
        "i64" => json!({"type": "integer", "format": "int64"}),
        "u32" | "u64" => json!({"type": "integer", "minimum": 0}),
        name => super::reference(name),
    }
}
