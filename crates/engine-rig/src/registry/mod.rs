//! A registry in an engine's network, from which the engine pulls images of real tools under their own names.
//!
//! Every host that images come from leads to it: a name server beside it answers with its address, and its certificate, which the
//! engine trusts, is good for all of them.
//!
//! ```text
//!  docker pull golang:1.21 ──► dockerd ──registry-1.docker.io?──► dnsmasq
//!                                 └──────────https──────────────► docker-registry ──► files, see `store`
//! ```

mod authority;
mod image;
mod reference;
mod store;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

pub use image::Image;
pub use reference::Reference;

use crate::{ADDRESS, Engine};
use authority::Authority;
use store::Store;

/// No registry takes longer to answer.
const START_WITHIN: Duration = Duration::from_secs(30);

/// Where other services than registries may be served, in the engine's network.
pub const OTHERS: &str = "10.99.0.2";

/// A running registry. It ends with its engine.
#[derive(Debug)]
pub struct Registry {
    _processes: [Child; 2],
    /// Its certificate as PEM, which is good for all hosts that lead to it or to [`OTHERS`].
    pub certificate: String,
    /// The key to that.
    pub key: String,
}

impl Registry {
    /// Starts one that has these images and answers for their hosts, and for `more` of them, to which images may be pushed. The names of
    /// `others` lead to [`OTHERS`].
    ///
    /// An engine has at most one, and it has to be there before the first pull.
    ///
    /// # Errors
    /// When the layers cannot be made or a program does not start: what to do, for people.
    pub fn start(engine: &Engine, images: Vec<Image>, more: &[&str], others: &[&str]) -> Result<Self, String> {
        let said = |error: std::io::Error| format!("cannot start a registry: {error}");
        let mut hosts: BTreeSet<String> = images.iter().flat_map(|image| image.reference.hosts()).collect();
        hosts.extend(more.iter().map(|host| (*host).to_owned()));
        hosts.extend(Reference::parse("any").hosts());
        let folder = engine.folder().join("registry");
        fs::create_dir(&folder).map_err(said)?;
        let authority = Authority::create().map_err(|error| format!("cannot make a certificate: {error}"))?;
        let (certificate, key) = authority
            .issue(hosts.iter().map(String::as_str).chain(others.iter().copied()))
            .map_err(|error| format!("cannot make a certificate: {error}"))?;
        let store = Store::create(&folder);
        for mut image in images {
            image.trust(authority.pem());
            store.add(&image).map_err(said)?;
        }
        let written = fs::write(engine.folder().join("ca.pem"), authority.pem())
            .and_then(|()| fs::write(folder.join("certificate.pem"), &certificate))
            .and_then(|()| fs::write(folder.join("key.pem"), &key))
            .and_then(|()| fs::write(folder.join("config.yml"), configuration(&folder)));
        written.map_err(said)?;
        let answers = hosts.iter().map(|host| format!("--address=/{host}/{ADDRESS}"));
        let answers = answers.chain(others.iter().map(|host| format!("--address=/{host}/{OTHERS}")));
        let mut names = engine.inside("dnsmasq");
        names.args([
            "--keep-in-foreground",
            "--conf-file=/dev/null",
            "--no-resolv",
            "--no-hosts",
            "--bind-interfaces",
            "--user=root",
        ]);
        names.args(["--pid-file", "--listen-address", ADDRESS]).args(answers);
        let mut serve = engine.inside("docker-registry");
        serve.arg("serve").arg(folder.join("config.yml"));
        let log = || fs::File::options().create(true).append(true).open(folder.join("log"));
        let start =
            |command: &mut std::process::Command| command.stdin(Stdio::null()).stdout(log()?).stderr(log()?).spawn();
        let processes = [start(&mut names).map_err(said)?, start(&mut serve).map_err(said)?];
        await_answer(engine, &folder)?;
        Ok(Self { _processes: processes, certificate, key })
    }
}

fn configuration(folder: &Path) -> String {
    let tls = format!("  tls: {{certificate: {0}/certificate.pem, key: {0}/key.pem}}\n", folder.display());
    plain_configuration(folder, &format!("{ADDRESS}:443")) + &tls
}

/// The configuration of a registry without TLS that listens at `address` and keeps its files in `folder`.
fn plain_configuration(folder: &Path, address: &str) -> String {
    let folder = folder.display();
    format!(
        "version: 0.1\nlog: {{level: warn}}\nstorage:\n  filesystem: {{rootdirectory: {folder}}}\n  cache: {{blobdescriptor: inmemory}}\n\
         http:\n  addr: {address}\n  secret: tests\n"
    )
}

/// Serves images on this machine's own loopback, without TLS and without an engine, as the process that is returned. It keeps its files in
/// `folder`. A name's host, if it has one, is `address`.
///
/// # Errors
/// When the files cannot be written or `docker-registry` does not start.
pub fn serve_on_loopback(folder: &Path, address: &str, images: &[Image]) -> Result<Child, String> {
    let said = |error: std::io::Error| format!("cannot start a registry at {address}: {error}");
    // Whoever has the address already would answer in its place.
    std::net::TcpListener::bind(address).map_err(said)?;
    let store = Store::create(folder);
    images.iter().try_for_each(|image| store.add(image)).map_err(said)?;
    let settings = folder.join("config.yml");
    fs::write(&settings, plain_configuration(folder, address)).map_err(said)?;
    let mut serve = std::process::Command::new("docker-registry");
    serve.arg("serve").arg(&settings).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut serving = serve.spawn().map_err(said)?;
    let begun = Instant::now();
    while std::net::TcpStream::connect(address).is_err() {
        if let Some(status) = serving.try_wait().map_err(said)? {
            return Err(format!("cannot start a registry at {address}: docker-registry ended with {status}"));
        }
        if begun.elapsed() > START_WITHIN {
            // It is of no use to anybody; that it cannot be ended is not what went wrong.
            let _ = serving.kill();
            return Err(format!("the registry at {address} does not answer"));
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(serving)
}

/// Asks the registry by one of its names, as an engine does, until it answers.
fn await_answer(engine: &Engine, folder: &Path) -> Result<(), String> {
    let begun = Instant::now();
    loop {
        let mut ask = engine.inside("curl");
        ask.args(["--silent", "--fail", "--output", "/dev/null", "--cacert"]).arg(engine.folder().join("ca.pem"));
        ask.arg("https://registry-1.docker.io/v2/").stdin(Stdio::null());
        match ask.status() {
            Ok(status) if status.success() => return Ok(()),
            _ if begun.elapsed() < START_WITHIN => std::thread::sleep(Duration::from_millis(50)),
            _ => {
                let log = fs::read_to_string(folder.join("log")).unwrap_or_default();
                return Err(format!("the registry does not answer by its name:\n{log}"));
            }
        }
    }
}
