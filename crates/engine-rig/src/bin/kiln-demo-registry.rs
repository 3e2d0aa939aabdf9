//! Serves the demo's images on this machine's loopback, at the address that it is given, until its input ends.
//!
//! They are made of the distribution's packages, so that no other registry is needed, and have names of that address, so that they never
//! stand for what somebody else calls the same.

use std::io::Read as _;

use kiln_engine_rig::layers;
use kiln_engine_rig::registry::{Image, serve_on_loopback};

/// A plugin: it packs files and tells their digest.
const ARCHIVE: &str = include_str!("../../images/plugin-archive.sh");

fn main() -> Result<(), String> {
    let address = std::env::args().nth(1).ok_or("usage: kiln-demo-registry 127.0.0.1:PORT")?;
    let layer = layers::demo()?;
    let image = |name: &str| Image::new(&format!("{address}/demo/{name}"), std::slice::from_ref(&layer));
    let images = [
        image("python:3"),
        image("redis:7").entrypoint(&["redis-server", "--protected-mode", "no", "--save", ""]),
        image("archive:1").file("/usr/local/bin/archive", ARCHIVE).entrypoint(&["archive"]),
    ];
    let folder = tempfile::tempdir().map_err(|error| format!("cannot make a folder: {error}"))?;
    let mut serving = serve_on_loopback(folder.path(), &address, &images)?;
    println!("serving at {address}");
    let mut rest = Vec::new();
    let ended = std::io::stdin().read_to_end(&mut rest).map_err(|error| format!("cannot read the input: {error}"));
    serving.kill().and_then(|()| serving.wait()).map_err(|error| format!("cannot end the registry: {error}"))?;
    ended.map(drop)
}
