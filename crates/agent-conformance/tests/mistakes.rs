//! Each check can fail: an agent that makes one mistake is found out by the check that is named after it.

mod rig;

use std::collections::HashSet;
use std::sync::Mutex;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use kiln_agent_conformance::{Report, Target, run};
use rig::{Agent, Asked, Mistake, Told};
use serde_json::{Value, json};

/// Runs the check of that name against the agent at the URL.
async fn check(url: &str, name: &str) -> Report {
    let target = Target::new(url).expect("a target");
    let report = run(&target, &[name.to_owned()], |_| {}).await.expect("an agent that answers");
    assert_eq!(report.verdicts.len(), 1, "{name} names one check");
    report
}

/// The mistake is caught by its check, which holds for the agent without it.
async fn catches(mistakes: Vec<Mistake>) {
    let agent = Agent::start().await;
    for (n, mistake) in mistakes.into_iter().enumerate() {
        let name = mistake.caught_by;
        let report = check(&agent.url(), name).await;
        assert!(report.is_kept(), "without a mistake: {}", report.verdicts[0]);
        let report = check(&rig::before(&agent, mistake).await, name).await;
        assert_eq!(report.count("failed"), 1, "mistake {n} is not caught: {}", report.verdicts[0]);
    }
}

/// Renames a field of an object.
fn rename(object: &mut Value, from: &str, to: &str) {
    if let Some(object) = object.as_object_mut()
        && let Some(value) = object.remove(from)
    {
        object.insert(to.to_owned(), value);
    }
}

fn result(told: &mut Told, asked: &Asked, change: impl FnOnce(&mut Value)) {
    if asked.is("/poll_step") && told.status == 200 {
        told.change(change);
    }
}

#[tokio::test]
async fn mistakes_in_the_form_of_answers_are_caught() {
    catches(vec![
        Mistake::telling("an_unknown_path_is_answered_with_404", |_, told| {
            if told.status == 404 {
                told.status = 200;
            }
        }),
        Mistake::telling("a_wrong_method_is_answered_with_405", |_, told| {
            if told.status == 405 {
                told.status = 404;
            }
        }),
        Mistake::asking("every_path_is_served_with_and_without_a_slash", |asked| {
            (asked.path.len() > 1 && asked.path.ends_with('/')).then(|| Told::refusal(404))
        }),
        Mistake::telling("a_success_carries_the_headers", |_, told| drop(told.headers.remove("cache-control"))),
        Mistake::telling("a_refusal_carries_the_headers", |_, told| {
            if told.status == 400 {
                told.headers.insert("content-type", "text/plain".parse().expect("a value"));
            }
        }),
        Mistake::telling("bodies_are_indented_by_two", |_, told| {
            let value: Value = serde_json::from_slice(&told.body).unwrap_or_default();
            told.body = value.to_string().into();
        }),
        Mistake::telling("a_refusal_is_one_message", |_, told| {
            if told.status == 400 {
                told.change(|body| rename(body, "error_msg", "error"));
            }
        }),
        Mistake::telling("a_request_id_is_taken_and_not_given_back", |asked, told| {
            told.headers.extend(
                asked
                    .headers
                    .get("x-request-id")
                    .map(|id| (reqwest::header::HeaderName::from_static("x-request-id"), id.clone())),
            );
        }),
        Mistake::telling("health_tells_the_version", |asked, told| {
            if asked.is("/healthz") {
                told.change(|body| rename(body, "ok", "OK"));
            }
        }),
        Mistake::telling("destroy_answers_with_the_load_of_the_machine", |asked, told| {
            if asked.is("/destroy") {
                told.change(|body| rename(&mut body["os_stats"], "cpu_cores", "cores"));
            }
        }),
    ])
    .await;
}

#[tokio::test]
async fn mistakes_in_reading_requests_are_caught() {
    catches(vec![
        Mistake::asking("an_empty_body_is_answered_with_400", |asked| {
            if asked.body.is_empty() && !asked.path.starts_with("/healthz") {
                asked.body = "{}".into();
            }
            None
        }),
        Mistake::asking("unknown_fields_are_ignored", |asked| asked.json().get("unknown").map(|_| Told::refusal(400))),
        Mistake::asking("a_null_stands_for_a_zero_value", |asked| {
            asked.json().get("files").filter(|files| files.is_null()).map(|_| Told::refusal(400))
        }),
        Mistake::asking("any_content_type_is_taken", |asked| {
            let kind = asked.headers.get("content-type").filter(|kind| *kind != "application/json");
            kind.map(|_| Told::refusal(415))
        }),
        Mistake::asking("a_value_of_another_type_is_answered_with_400", |asked| {
            asked.change(|body| {
                if let Some(id) = body.get("id").and_then(Value::as_i64) {
                    body["id"] = json!(id.to_string());
                }
            });
            None
        }),
        Mistake::asking("a_mode_is_a_decimal_number", |asked| {
            asked.change(|body| {
                for file in body.get_mut("files").and_then(Value::as_array_mut).into_iter().flatten() {
                    // The digits are taken for octal ones.
                    let octal = u32::from_str_radix(&file["mode"].to_string(), 8);
                    file["mode"] = json!(octal.unwrap_or_default());
                }
            });
            None
        }),
        Mistake::asking("a_kind_that_nobody_knows_is_a_run_step", |asked| {
            let kind = asked.json()["kind"].as_str().unwrap_or_default().to_owned();
            (!["", "Run", "RunTest", "RunTestsV2"].contains(&kind.as_str())).then(|| Told::refusal(400))
        }),
        Mistake::asking("output_begins_at_the_offset", |asked| {
            if asked.is("/stream_output") {
                asked.change(|body| body["offset"] = json!(0));
            }
            None
        }),
    ])
    .await;
}

/// Steps that were started before.
static STARTED: Mutex<Option<HashSet<String>>> = Mutex::new(None);
/// Setups that were made before.
static PREPARED: Mutex<Option<HashSet<String>>> = Mutex::new(None);

fn is_new(seen: &Mutex<Option<HashSet<String>>>, what: String) -> bool {
    seen.lock().expect("lock").get_or_insert_default().insert(what)
}

#[tokio::test]
async fn mistakes_in_running_steps_are_caught() {
    catches(vec![
        Mistake::asking("a_start_that_is_repeated_after_the_end_changes_nothing", |asked| {
            let id = asked.json()["id"].as_str().unwrap_or_default().to_owned();
            if asked.is("/start_step") && !is_new(&STARTED, id.clone()) {
                // It runs again, under whatever id.
                asked.change(|body| body["id"] = json!(format!("{id}-again")));
            }
            None
        }),
        Mistake::asking("a_setup_may_be_repeated", |asked| {
            let again = asked.is("/setup") && !is_new(&PREPARED, String::from_utf8_lossy(&asked.body).into_owned());
            again.then(|| Told::refusal(409))
        }),
        Mistake::asking("a_poll_is_answered_when_the_step_ends_and_not_before", |asked| {
            if asked.is("/start_step") {
                asked.change(|body| body["detach"] = json!(true));
            }
            None
        }),
        Mistake::asking("no_shell_is_added", |asked| {
            asked.change(|body| {
                let run = &body["run"];
                let words: Vec<String> = ["entrypoint", "commands"]
                    .iter()
                    .flat_map(|list| run[*list].as_array().cloned().unwrap_or_default())
                    .filter_map(|word| word.as_str().map(str::to_owned))
                    .collect();
                if words.first().is_some_and(|word| word == "echo") {
                    body["run"] = json!({"entrypoint": ["sh", "-c"], "commands": [words.join(" ")]});
                }
            });
            None
        }),
        Mistake::asking("an_empty_value_is_left_out", |asked| {
            if asked.is("/start_step") {
                asked.change(|body| body["environment"]["CI_USE_LESS_STRICT_EVALUATION_FOR_MAP_VARS"] = json!("true"));
            }
            None
        }),
        Mistake::asking("the_environment_of_the_setup_reaches_every_step", |asked| {
            if asked.is("/setup") {
                asked.change(|body| body["envs"] = json!({}));
            }
            None
        }),
        Mistake::asking("exported_variables_reach_the_later_steps", |asked| {
            if asked.is("/start_step") {
                asked.change(|body| body["stage_runtime_id"] = json!(""));
            }
            None
        }),
        Mistake::asking("the_steps_files_are_removed_on_demand", |asked| {
            asked.change(|body| body["delete_temp_step_files"] = json!(false));
            None
        }),
    ])
    .await;
}

#[tokio::test]
async fn mistakes_in_results_are_caught() {
    catches(vec![
        Mistake::telling("a_step_that_fails_gives_its_exit_code", |asked, told| {
            result(told, asked, |body| rename(body, "exit_code", "exitCode"));
        }),
        Mistake::telling("a_step_that_fails_gives_its_exit_code", |asked, told| {
            result(told, asked, |body| {
                if body.get("error").is_some() {
                    body["error"] = json!("exit status 1");
                }
            });
        }),
        Mistake::telling("a_step_that_succeeds_says_only_that_it_exited", |asked, told| {
            result(told, asked, |body| body["exit_code"] = json!(0));
        }),
        Mistake::telling("a_step_that_succeeds_says_only_that_it_exited", |asked, told| {
            result(told, asked, |body| body["state"] = json!("done"));
        }),
        Mistake::telling("a_detached_step_is_answered_at_once_with_nothing", |asked, told| {
            result(told, asked, |body| body["exited"] = json!(true));
        }),
        Mistake::telling("a_step_that_cannot_start_has_exit_code_255", |asked, told| {
            result(told, asked, |body| {
                if body["exit_code"] == 255 {
                    body["exit_code"] = json!(1);
                }
            });
        }),
        Mistake::telling("an_unknown_step_cannot_be_polled", |asked, told| {
            if asked.is("/poll_step") && told.status == 400 {
                told.status = 404;
            }
        }),
        Mistake::telling("outputs_have_their_key_their_value_and_their_type", |asked, told| {
            result(told, asked, |body| rename(body, "outputV2", "output_v2"));
        }),
        Mistake::telling("outputs_have_their_key_their_value_and_their_type", |asked, told| {
            result(told, asked, |body| {
                for output in body.get_mut("outputV2").and_then(Value::as_array_mut).into_iter().flatten() {
                    output["type"] = json!("STRING");
                }
            });
        }),
        Mistake::telling("an_artifact_is_handed_over_in_base64", |asked, told| {
            result(told, asked, |body| {
                let plain = body["artifact"].as_str().and_then(|text| STANDARD.decode(text).ok());
                body["artifact"] = json!(plain.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()));
            });
        }),
    ])
    .await;
}
