//! Starts a container engine, prints what tells `docker` where it is and its first process, and ends it when the input ends.

use std::io::Read as _;

use kiln_engine_rig::Engine;

fn main() -> Result<(), String> {
    let engine = Engine::start()?;
    engine.busybox();
    println!("DOCKER_HOST=unix://{}", engine.socket().display());
    println!("INIT={}", engine.init());
    let mut rest = Vec::new();
    std::io::stdin().read_to_end(&mut rest).map_err(|error| format!("cannot read the input: {error}"))?;
    Ok(())
}
