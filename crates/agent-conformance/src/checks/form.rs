//! Section 1.0: paths, methods, headers, bodies, versions of HTTP.

use futures::stream;
use reqwest::Version;
use serde_json::{Value, json};

use super::checks;
use crate::agent::Agent;
use crate::expect::{Expected, breach, holds, same};

checks! {
    "1.0":
        every_path_is_served_with_and_without_a_slash_at_its_end,
        a_wrong_method_is_answered_with_405,
        an_unknown_path_is_answered_with_404,
        a_success_carries_the_headers_of_the_protocol,
        a_refusal_carries_the_headers_of_the_protocol,
        a_request_id_is_taken_and_not_given_back,
        bodies_are_indented_by_two_and_end_in_a_line_break,
        malformed_json_is_answered_with_400,
        a_value_of_another_type_is_answered_with_400,
        an_empty_body_is_answered_with_400,
        a_refusal_is_one_message,
        unknown_fields_are_ignored,
        a_null_stands_for_a_zero_value,
        no_content_type_is_needed,
        any_content_type_is_taken,
        a_body_in_chunks_is_taken,
        a_body_of_several_megabytes_is_taken,
        http_2_is_offered,
        http_1_1_is_served,
        requests_over_one_connection_are_answered_side_by_side;
}

/// Each route that takes a JSON body.
const POSTS: [&str; 6] = ["/setup", "/start_step", "/poll_step", "/stream_output", "/destroy", "/suspend"];

/// What every success and every refusal says against being kept by somebody on the way.
const HEADERS: [(&str, &str); 4] = [
    ("content-type", "application/json"),
    ("cache-control", "no-cache, private, max-age=0"),
    ("pragma", "no-cache"),
    ("x-accel-expires", "0"),
];

async fn every_path_is_served_with_and_without_a_slash_at_its_end(agent: &Agent) -> Expected {
    for path in ["/healthz", "/healthz/"] {
        agent.get(path).await?.has_status(200)?;
    }
    for path in POSTS {
        for path in [path.to_owned(), format!("{path}/")] {
            // Refused for its body, so it was served.
            agent.post_text(&path, "{").await?.has_status(400)?;
        }
    }
    Ok(())
}

async fn a_wrong_method_is_answered_with_405(agent: &Agent) -> Expected {
    for path in POSTS {
        for method in ["GET", "PUT", "DELETE"] {
            agent.request(method, path, &[], None).await?.has_status(405)?;
        }
    }
    for method in ["POST", "PUT", "DELETE"] {
        agent.request(method, "/healthz", &[], None).await?.has_status(405)?;
    }
    Ok(())
}

async fn an_unknown_path_is_answered_with_404(agent: &Agent) -> Expected {
    for path in ["/", "/nowhere", "/healthz/more", "/start_step/x", "/setup//", "/Healthz"] {
        let answer = agent.get(path).await?;
        same(&format!("the body of {path}"), answer.has_status(404)?.text().as_str(), "404 page not found\n")?;
        let kind = answer.header("content-type").unwrap_or_default();
        holds(format!("{path} is answered as {kind:?} and should be as plain text"), kind.starts_with("text/plain"))?;
    }
    Ok(())
}

async fn a_success_carries_the_headers_of_the_protocol(agent: &Agent) -> Expected {
    for answer in [agent.get("/healthz").await?, agent.post("/destroy", &json!({})).await?] {
        answer.has_status(200)?;
        has_headers(&answer)?;
    }
    Ok(())
}

async fn a_refusal_carries_the_headers_of_the_protocol(agent: &Agent) -> Expected {
    for path in POSTS {
        let answer = agent.post_text(path, "{").await?;
        answer.has_status(400)?;
        has_headers(&answer)?;
    }
    Ok(())
}

fn has_headers(answer: &crate::call::Answer) -> Expected {
    for (name, value) in HEADERS {
        same(&format!("the header {name} of {}", answer.request), answer.header(name), Some(value))?;
    }
    let expires = answer.header("expires").unwrap_or_default();
    holds(format!("{} expires {expires:?} and should in 1970", answer.request), expires.contains("1970"))
}

async fn a_request_id_is_taken_and_not_given_back(agent: &Agent) -> Expected {
    let answer = agent.request("GET", "/healthz", &[("x-request-id", "7f3a")], None).await?;
    same("the header x-request-id of the answer", answer.has_status(200)?.header("x-request-id"), None)
}

async fn bodies_are_indented_by_two_and_end_in_a_line_break(agent: &Agent) -> Expected {
    let health = agent.get("/healthz").await?.text();
    let is = health.starts_with("{\n  \"version\": \"") && health.ends_with("\",\n  \"ok\": true\n}\n");
    holds(format!("the body of /healthz is {health:?}"), is)?;
    let destroyed = agent.post("/destroy", &json!({})).await?.text();
    let is = destroyed.starts_with("{\n  \"os_stats\": {\n    \"") && destroyed.ends_with("\n  }\n}\n");
    holds(format!("the body of /destroy is {destroyed:?}"), is)?;
    let refusal = agent.post("/start_step", &json!({})).await?.text();
    same("the body of a refusal", refusal.as_str(), "{\n  \"error_msg\": \"ID needs to be set\"\n}\n")
}

async fn malformed_json_is_answered_with_400(agent: &Agent) -> Expected {
    for path in POSTS {
        for body in ["{", "nonsense", "{\"id\": }", "[1", "\"text\""] {
            agent.post_text(path, body).await?.refusal(400)?;
        }
    }
    Ok(())
}

async fn a_value_of_another_type_is_answered_with_400(agent: &Agent) -> Expected {
    let id = agent.id();
    for (path, body) in [
        ("/setup", json!({"envs": ["A=1"]})),
        ("/start_step", json!({"id": 7})),
        ("/start_step", json!({"id": id, "timeout": "soon"})),
        ("/start_step", json!({"id": id, "environment": {"A": 1}})),
        ("/start_step", json!({"id": id, "files": [{"path": "/x", "mode": "0755"}]})),
        ("/start_step", json!({"id": id, "run": {"commands": "true"}})),
        ("/poll_step", json!({"id": ["x"]})),
        ("/stream_output", json!({"id": id, "offset": "0"})),
        ("/destroy", json!({"stage_runtime_id": 1})),
        ("/suspend", json!({"labels": "a=b"})),
    ] {
        agent.post(path, &body).await?.refusal(400)?;
    }
    Ok(())
}

async fn an_empty_body_is_answered_with_400(agent: &Agent) -> Expected {
    for path in POSTS {
        agent.post_text(path, "").await?.refusal(400)?;
        agent.request("POST", path, &[], None).await?.refusal(400)?;
    }
    Ok(())
}

async fn a_refusal_is_one_message(agent: &Agent) -> Expected {
    let text = agent.post("/start_step", &json!({})).await?.refusal(400)?;
    same("the message of a start without an id", text.as_str(), "ID needs to be set")?;
    let text = agent.post("/poll_step", &json!({"id": agent.id()})).await?.refusal(400)?;
    same("the message of a poll of an unknown step", text.as_str(), "Step has not started")
}

async fn unknown_fields_are_ignored(agent: &Agent) -> Expected {
    let more = |mut body: Value| {
        body["unknown"] = json!({"deep": [1, {"x": null}]});
        body["idx"] = json!("y");
        body
    };
    agent.post("/setup", &more(json!({}))).await?.is_empty()?;
    let step = more(agent.script("echo here"));
    let id = step["id"].as_str().unwrap_or_default().to_owned();
    agent.start(&step).await?;
    agent.post("/poll_step", &more(json!({ "id": id }))).await?.has_status(200)?;
    let output = agent.post("/stream_output", &more(json!({ "id": id, "offset": 0 }))).await?;
    same("its output", output.has_status(200)?.text().as_str(), "here\n")?;
    agent.post("/destroy", &more(json!({}))).await?.has_status(200)?;
    Ok(())
}

async fn a_null_stands_for_a_zero_value(agent: &Agent) -> Expected {
    const FIELDS: [&str; 14] = [
        "name",
        "secrets",
        "files",
        "detach",
        "timeout",
        "working_dir",
        "user",
        "output_vars",
        "outputs",
        "log_config",
        "mount_docker_socket",
        "process_config",
        "pull",
        "image",
    ];
    let mut step = agent.script("echo here");
    for name in FIELDS {
        step[name] = Value::Null;
    }
    let result = agent.run(&step).await?;
    same("its exit code", result.get("exit_code"), None::<&Value>)?;
    agent.post("/setup", &json!({"envs": null, "files": null, "volumes": null, "network": null})).await?.is_empty()?;
    agent.post("/destroy", &json!({"stage_runtime_id": null})).await?.has_status(200).map(drop)
}

async fn no_content_type_is_needed(agent: &Agent) -> Expected {
    // The checks name none anywhere.
    agent.post("/setup", &json!({})).await?.is_empty()
}

async fn any_content_type_is_taken(agent: &Agent) -> Expected {
    for kind in ["application/json", "text/plain", "application/xml", "application/x-www-form-urlencoded"] {
        agent.request("POST", "/setup", &[("content-type", kind)], Some("{}".into())).await?.is_empty()?;
    }
    Ok(())
}

async fn a_body_in_chunks_is_taken(agent: &Agent) -> Expected {
    let step = agent.script("echo in chunks").to_string();
    let chunks: Vec<_> = step.into_bytes().chunks(7).map(|part| Ok::<_, std::io::Error>(part.to_vec())).collect();
    let body = reqwest::Body::wrap_stream(stream::iter(chunks));
    agent.request_over_http_1("POST", "/start_step", Some(body)).await?.is_empty()
}

async fn a_body_of_several_megabytes_is_taken(agent: &Agent) -> Expected {
    const BYTES: usize = 8 << 20;
    let file = agent.path("large");
    let mut step = agent.script(&format!("wc -c < {file}"));
    step["files"] = json!([{"path": file, "mode": 420, "data": "x".repeat(BYTES)}]);
    agent.run(&step).await?;
    let output = agent.output(step["id"].as_str().unwrap_or_default()).await?;
    same("the size of the file", output.trim(), BYTES.to_string().as_str())
}

async fn http_2_is_offered(agent: &Agent) -> Expected {
    if agent.target.is_secure() {
        same("the version of HTTP", agent.get("/healthz").await?.version, Version::HTTP_2)
    } else {
        // Without TLS nothing is offered; the caller begins with it.
        agent.get("/healthz").await?.has_status(200).map(drop)
    }
}

async fn http_1_1_is_served(agent: &Agent) -> Expected {
    let answer = agent.request_over_http_1("GET", "/healthz", None).await?;
    same("the version of HTTP", answer.has_status(200)?.version, Version::HTTP_11)?;
    let step = agent.script("echo over 1.1");
    let id = json!({"id": step["id"]}).to_string();
    agent.request_over_http_1("POST", "/start_step", Some(step.to_string().into())).await?.is_empty()?;
    agent.request_over_http_1("POST", "/poll_step", Some(id.clone().into())).await?.has_status(200)?;
    let output = agent.request_over_http_1("POST", "/stream_output", Some(id.into())).await?;
    same("its output", output.has_status(200)?.text().as_str(), "over 1.1\n")
}

async fn requests_over_one_connection_are_answered_side_by_side(agent: &Agent) -> Expected {
    let gate = agent.path("gate");
    let step = agent.script(&crate::agent::wait_for(&gate));
    let id = step["id"].as_str().unwrap_or_default();
    agent.start(&step).await?;
    let open = async {
        // The poll is open, and does not hold this up.
        agent.get("/healthz").await?.has_status(200)?;
        agent.sh(&format!("touch {gate}")).await
    };
    let (polled, opened) = futures::join!(agent.poll(id), open);
    opened?;
    let polled = polled?;
    if polled["exited"] == true { Ok(()) } else { breach(format!("the step ended with {polled}")) }
}
