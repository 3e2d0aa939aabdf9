//! Section 1, `/healthz`.

use serde_json::json;

use super::checks;
use crate::agent::Agent;
use crate::expect::{Expected, Field, Presence, Shape, fields, holds, same};

checks! {
    "1 healthz":
        health_tells_the_version_and_that_all_is_well,
        health_without_a_lookup_needs_no_network,
        health_with_a_lookup_dials_for_as_long_as_it_is_told;
}

const HEALTH: &[Field] = &[("version", Shape::Text, Presence::Always), ("ok", Shape::Flag, Presence::Always)];

async fn health_tells_the_version_and_that_all_is_well(agent: &Agent) -> Expected {
    let health = agent.get("/healthz").await?.ok()?;
    fields("the answer", &health, HEALTH)?;
    same("ok", &health["ok"], &json!(true))?;
    holds("the version is empty", health["version"].as_str().is_some_and(|version| !version.is_empty()))
}

async fn health_without_a_lookup_needs_no_network(agent: &Agent) -> Expected {
    for query in [
        "perform_dns_lookup=false",
        "perform_dns_lookup=",
        "perform_dns_lookup=1",
        "connectivity_check_duration_seconds=1",
        "unknown=x&perform_dns_lookup=no",
    ] {
        let health = agent.get(&format!("/healthz?{query}")).await?.ok()?;
        fields("the answer", &health, HEALTH)?;
    }
    Ok(())
}

/// The machine may have no network. Then the answer is a refusal, in the form of every other.
async fn health_with_a_lookup_dials_for_as_long_as_it_is_told(agent: &Agent) -> Expected {
    for query in ["perform_dns_lookup=true", "perform_dns_lookup=TRUE"] {
        let began = std::time::Instant::now();
        let answer = agent.get(&format!("/healthz?{query}&connectivity_check_duration_seconds=1")).await?;
        if answer.status == 500 {
            answer.refusal(500)?;
            continue;
        }
        fields("the answer", &answer.ok()?, HEALTH)?;
        let took = began.elapsed().as_secs_f64();
        holds(format!("it took {took:.1} s and should take 1 s"), (0.9..10.0).contains(&took))?;
    }
    Ok(())
}
