//! Waits that last are told, whatever is waited for.

use std::time::Duration;

use kiln_wire::run::Event;

use crate::rig::{Act, Scenario, Told, steps};

const ONE: &str = r#"- step: {name: one, type: Run, spec: {command: "echo begun; exec sleep 1000"}}"#;

/// Returns what was waited for, with the step that did.
fn waits(told: &Told) -> Vec<String> {
    let wait = |event: &Event| match event {
        Event::Waiting { step, what, .. } => Some(format!("{}: {what}", step.as_deref().unwrap_or_default())),
        _ => None,
    };
    told.events.iter().filter_map(wait).collect()
}

#[tokio::test]
async fn sources_that_an_agent_does_not_take_are_told() {
    let scenario = Scenario::new(&steps(ONE)).fleet(|agents| agents.freeze_first());
    let told = scenario.when("a waits for the sources", Act::Cancel).run().await;
    assert!(waits(&told).contains(&": the sources to be sent".to_owned()), "{:?}", waits(&told));
}

#[tokio::test]
async fn a_cancelled_step_that_does_not_end_is_told() {
    let told = Scenario::new(&steps(ONE))
        .with(|options| options.patience.cancelled_within = Duration::from_secs(1))
        .when("a.one | begun", Act::Freeze("a"))
        .when("a.one | begun", Act::Cancel)
        .run()
        .await;
    assert!(waits(&told).contains(&"one: the end of the step, which is cancelled".to_owned()), "{:?}", waits(&told));
}

#[tokio::test]
async fn a_step_that_an_agent_does_not_begin_is_told() {
    let text = steps(
        r#"
        - step: {name: zero, type: Run, spec: {command: "true"}}
        - step: {name: one, type: Run, spec: {command: "true"}}
        "#,
    );
    let told = Scenario::new(&text)
        .with(|options| options.patience.unreachable_for = Duration::from_secs(1))
        .when("a.zero passed", Act::Close("a"))
        .run()
        .await;
    assert!(waits(&told).contains(&"one: the step to begin".to_owned()), "{:?}", waits(&told));
}

#[tokio::test]
async fn an_agent_that_is_lost_while_its_step_runs_is_told() {
    let told = Scenario::new(&steps(ONE))
        .with(|options| options.patience.unreachable_for = Duration::from_secs(1))
        .when("a.one | begun", Act::Close("a"))
        .run()
        .await;
    assert!(waits(&told).contains(&"one: the agent, which does not answer".to_owned()), "{:?}", waits(&told));
}
