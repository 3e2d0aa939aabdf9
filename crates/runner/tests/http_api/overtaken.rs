//! A `/destroy` that arrives before its `/setup`.

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::rig::{PATIENCE, Runner, setup, until};

/// The stage once waited, got an instance, and kept it until it counted as unattended, 15 minutes later.
#[tokio::test]
async fn a_destroy_that_overtakes_its_setup_ends_the_stage_at_once() {
    let runner = Runner::start().await;
    runner.ok("POST", "/destroy", &json!({"id": "s1"})).await;
    let (status, refused) = runner.json("POST", "/setup", &setup("s1")).await;
    assert_eq!((status, &refused["cause"]["code"]), (500, &json!("destroyed")), "{refused}");
    let told = refused["error_msg"].as_str().expect("text");
    assert!(told.contains("its caller destroyed it before it was set up"), "{told}");
    // It left no row, so the id can be used again later.
    assert_eq!(runner.json("GET", "/kiln/v1/stages/s1", &Value::Null).await.0, 404);
    assert_eq!(runner.world.driver.launches(), 0);
    // Other stages are served as usual.
    runner.world.offer().await;
    runner.set_up("s2").await;
    runner.end().await;
}

/// The end arrives while the request is being read.
#[tokio::test]
async fn a_destroy_that_comes_while_the_setup_is_read_ends_the_stage_at_once() {
    let runner = Runner::start().await;
    let body = setup("s1").to_string();
    let (first, rest) = body.split_at(body.len() / 2);
    let mut stream = TcpStream::connect(runner.address).await.expect("a connection");
    let head = format!("POST /setup HTTP/1.0\r\nHost: {}\r\nContent-Length: {}\r\n\r\n", runner.address, body.len());
    stream.write_all(format!("{head}{first}").as_bytes()).await.expect("sent");
    runner.ok("POST", "/destroy", &json!({"id": "s1"})).await;
    stream.write_all(rest.as_bytes()).await.expect("sent");
    let mut answer = String::new();
    let read = tokio::time::timeout(PATIENCE, stream.read_to_string(&mut answer)).await;
    read.expect("an answer in time").expect("an answer");
    assert!(answer.starts_with("HTTP/1.0 500") && answer.contains("\"code\": \"destroyed\""), "{answer}");
    assert_eq!(runner.engine.store().open_stages().await.expect("a store"), []);
    runner.end().await;
}

/// An end that found its stage leaves nothing behind that would refuse another one.
#[tokio::test]
async fn a_destroy_of_a_stage_that_waits_is_its_end() {
    let runner = Runner::start().await;
    let caller = runner.spawn("/setup", setup("s1"));
    until("the demand", async || runner.engine.store().stage(&"s1".into()).await.expect("a store")).await;
    runner.ok("POST", "/destroy", &json!({"id": "s1"})).await;
    let (status, refused) = caller.await.expect("no panic");
    assert_eq!((status, &refused["cause"]["evidence"]), (500, &json!("its caller destroyed it")), "{refused}");
    runner.end().await;
}
