//! Section 4, files and variables: what a step hands over.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::checks;
use crate::agent::{Agent, with};
use crate::expect::{Expected, holds, same};

checks! {
    "4 outputs":
        variables_of_the_shell_become_outputs,
        outputs_have_their_key_their_value_and_their_type,
        only_outputs_that_were_asked_for_are_in_the_second_form,
        all_outputs_are_text_where_none_was_asked_for,
        variables_of_python_become_outputs,
        a_file_of_outputs_is_read_in_all_its_forms,
        a_value_in_base64_is_decoded,
        a_value_of_more_than_64_kib_is_handed_over,
        secret_outputs_are_of_that_type,
        outputs_of_a_step_that_fails_are_handed_over_without_secrets,
        the_files_may_be_the_callers,
        exported_variables_are_handed_over,
        an_artifact_is_handed_over_in_base64,
        a_description_of_an_artifact_is_handed_over_as_text,
        the_steps_files_are_removed_on_demand;
}

/// Runs a script whose step has these fields, and returns its result, which must be a success.
async fn succeeds(agent: &Agent, script: &str, fields: Value) -> Expected<Value> {
    let result = agent.run(&with(agent.logged(script), fields)).await?;
    same(&format!("the exit code of {script:?} ({result})"), result.get("exit_code"), None::<&Value>)?;
    Ok(result)
}

/// The second form of the outputs, by their keys.
fn typed(result: &Value) -> Value {
    let list = result["outputV2"].as_array().cloned().unwrap_or_default();
    let pairs = list
        .iter()
        .filter_map(|output| Some((output["key"].as_str()?.to_owned(), json!([output["value"], output["type"]]))));
    Value::Object(pairs.collect())
}

async fn variables_of_the_shell_become_outputs(agent: &Agent) -> Expected {
    let script = "A=one\nB='two words'\nexport C=three\nunset D";
    let result = succeeds(agent, script, json!({"output_vars": ["A", "B", "C"]})).await?;
    same("the outputs", &result["outputs"], &json!({"A": "one", "B": "two words", "C": "three"}))
}

async fn outputs_have_their_key_their_value_and_their_type(agent: &Agent) -> Expected {
    let outputs = json!([
        {"key": "version", "value": "V", "type": "STRING"},
        {"key": "token", "value": "T", "type": "SECRET"},
    ]);
    let result = succeeds(agent, "V=1.2\nT=sesame-9", json!({ "outputs": outputs })).await?;
    same("the outputs", &typed(&result), &json!({"version": ["1.2", "STRING"], "token": ["sesame-9", "SECRET"]}))?;
    same("the plain output", &result["outputs"]["version"], &json!("1.2"))
}

async fn only_outputs_that_were_asked_for_are_in_the_second_form(agent: &Agent) -> Expected {
    let outputs = json!([{"key": "A", "value": "A", "type": "STRING"}]);
    let result = succeeds(agent, "A=1\necho B=2 >> $DRONE_OUTPUT", json!({ "outputs": outputs })).await?;
    same("the second form", &typed(&result), &json!({"A": ["1", "STRING"]}))
}

async fn all_outputs_are_text_where_none_was_asked_for(agent: &Agent) -> Expected {
    let result = succeeds(agent, "echo A=1 >> $DRONE_OUTPUT; echo B=2 >> $HARNESS_OUTPUT_FILE", json!({})).await?;
    same("the outputs", &result["outputs"], &json!({"A": "1", "B": "2"}))?;
    same("the second form", &typed(&result), &json!({"A": ["1", "STRING"], "B": ["2", "STRING"]}))
}

async fn variables_of_python_become_outputs(agent: &Agent) -> Expected {
    if agent.sh("command -v python3 || :").await?.is_empty() {
        return Err(crate::expect::Finding::NotApplicable("its machine has no python3".to_owned()));
    }
    let script = "import os\nos.environ['P'] = 'from python'\nprint('done')";
    let run = json!({"entrypoint": ["python3", "-c"], "commands": [script]});
    let result = succeeds(agent, "", json!({"run": run, "output_vars": ["P"]})).await?;
    same("the outputs", &result["outputs"], &json!({"P": "from python"}))
}

async fn a_file_of_outputs_is_read_in_all_its_forms(agent: &Agent) -> Expected {
    const FILE: &str = r#"# a comment

PLAIN=value
SPACES = around it
export EXPORTED=yes
SINGLE='as $it is # here'
DOUBLE="with \"quotes\" and a # sign"
COMMENT=value # and why
EQUALS=a=b=c
COLON: yaml
EMPTY=
LINES="first
second"
"#;
    let path = agent.path("outputs");
    let files = json!([{"path": path, "mode": 420, "data": FILE}]);
    let result = succeeds(agent, &format!("cat {path} >> $DRONE_OUTPUT"), json!({ "files": files })).await?;
    let expected = json!({
        "PLAIN": "value", "SPACES": "around it", "EXPORTED": "yes", "SINGLE": "as $it is # here",
        "DOUBLE": "with \"quotes\" and a # sign", "COMMENT": "value", "EQUALS": "a=b=c", "COLON": "yaml", "EMPTY": "",
        "LINES": "first\nsecond",
    });
    same("the outputs", &result["outputs"], &expected)
}

async fn a_value_in_base64_is_decoded(agent: &Agent) -> Expected {
    let value = "line 1\nline \"2\" é";
    let script = format!("echo 'K=__B64__{}' >> $DRONE_OUTPUT", STANDARD.encode(value));
    let result = succeeds(agent, &script, json!({"environment": {"CI_NEW_VERSION_GODOTENV": "true"}})).await?;
    same("the output", &result["outputs"], &json!({ "K": value }))
}

/// The original gives up on such a value, and says so where outputs were asked for.
async fn a_value_of_more_than_64_kib_is_handed_over(agent: &Agent) -> Expected {
    const BYTES: usize = 200_000;
    let outputs = json!([{"key": "L", "value": "L", "type": "STRING"}]);
    let script = format!("L=$(yes x | head -n {BYTES} | tr -d '\\n')");
    let result = agent.run(&with(agent.logged(&script), json!({ "outputs": outputs }))).await?;
    let error = result["error"].as_str().unwrap_or_default();
    if error.contains("output variable length is more than 65536 bytes") {
        return Ok(());
    }
    same("the size of the output", result["outputs"]["L"].as_str().map_or(0, str::len), BYTES)
}

async fn secret_outputs_are_of_that_type(agent: &Agent) -> Expected {
    let result = succeeds(agent, "echo S=sesame-7 >> $HARNESS_OUTPUT_SECRET_FILE", json!({})).await?;
    same("the second form", &typed(&result), &json!({"S": ["sesame-7", "SECRET"]}))
}

async fn outputs_of_a_step_that_fails_are_handed_over_without_secrets(agent: &Agent) -> Expected {
    let script = "echo A=1 >> $DRONE_OUTPUT; echo S=sesame-8 >> $HARNESS_OUTPUT_SECRET_FILE; exit 4";
    let result = agent.run(&agent.logged(script)).await?;
    same("the exit code", &result["exit_code"], &json!(4))?;
    same("the outputs", &result["outputs"], &json!({"A": "1"}))?;
    holds(format!("the result tells the secret: {result}"), !result.to_string().contains("sesame-8"))
}

async fn the_files_may_be_the_callers(agent: &Agent) -> Expected {
    let (plain, secret) = (agent.path("plain.env"), agent.path("secret.env"));
    let script = format!("test $DRONE_OUTPUT = {plain} && echo A=1 > {plain} && echo S=sesame-6 > {secret}");
    let result = succeeds(agent, &script, json!({"output_var_file": plain, "secret_var_file": secret})).await?;
    same("the second form", &typed(&result), &json!({"A": ["1", "STRING"], "S": ["sesame-6", "SECRET"]}))
}

async fn exported_variables_are_handed_over(agent: &Agent) -> Expected {
    let result = succeeds(agent, "echo E=exported >> $DRONE_ENV", json!({})).await?;
    same("the exported variables", &result["envs"], &json!({"E": "exported"}))?;
    let result = succeeds(agent, "true", json!({})).await?;
    same("the exported variables of the next step", result.get("envs"), None::<&Value>)
}

async fn an_artifact_is_handed_over_in_base64(agent: &Agent) -> Expected {
    let text = "{\"kind\": \"docker/v1\"}\n";
    let script = format!("printf '%s\\n' '{}' > $PLUGIN_ARTIFACT_FILE", text.trim_end());
    let result = succeeds(agent, &script, json!({})).await?;
    same("the artifact", &result["artifact"], &json!(STANDARD.encode(text)))
}

async fn a_description_of_an_artifact_is_handed_over_as_text(agent: &Agent) -> Expected {
    let text =
        "{\"artifactName\": \"a\", \"version\": \"1\", \"registry\": \"r\", \"fileCount\": 2, \"totalBytes\": 3}";
    let script = format!("printf %s '{text}' > $HARNESS_ARTIFACT_FILE_PATH");
    let result = succeeds(agent, &script, json!({})).await?;
    let told = result["native_artifact_output"].as_str().unwrap_or_default();
    let told: Value = serde_json::from_str(told).unwrap_or_default();
    let expected: Value = serde_json::from_str(text).unwrap_or_default();
    same("the description", &told, &expected)
}

async fn the_steps_files_are_removed_on_demand(agent: &Agent) -> Expected {
    for (remove, left) in [(false, "3"), (true, "0")] {
        let script =
            "echo A=1 > $DRONE_OUTPUT; echo B=2 > $DRONE_ENV; echo c > $PLUGIN_ARTIFACT_FILE; dirname $DRONE_OUTPUT";
        let step = with(agent.script(script), json!({ "delete_temp_step_files": remove }));
        agent.run(&step).await?;
        let id = step["id"].as_str().unwrap_or_default();
        let dir = agent.output(id).await?;
        let count = agent.sh(&format!("ls {}/{id}-* 2>/dev/null | wc -l", dir.trim())).await?;
        same(&format!("the files that are left where `delete_temp_step_files` is {remove}"), count.trim(), left)?;
    }
    Ok(())
}
