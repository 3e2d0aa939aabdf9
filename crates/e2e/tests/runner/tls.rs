//! A runner's API over TLS, called by the operator's commands.

use crate::SPEC;
use crate::world::{Runner, World};

const TOKEN: &str = "a token of more than sixteen bytes";

/// Files of a runner and of a caller.
struct Files {
    ca: String,
    server: [String; 2],
    client: [String; 2],
    token: String,
}

impl Files {
    fn new(world: &World) -> Self {
        let authority = kiln_tls::Authority::create().expect("an authority");
        let pair = |name: &str, identity: kiln_tls::Identity| {
            let key = world.file(&format!("{name}.key"), &identity.key_pem);
            [world.file(&format!("{name}.pem"), &identity.cert_pem), key]
        };
        Self {
            ca: world.file("ca.pem", authority.ca_pem()),
            server: pair("server", authority.issue_server("localhost").expect("a certificate")),
            client: pair("client", authority.issue_client("operator").expect("a certificate")),
            token: world.file("token", TOKEN),
        }
    }
}

/// Lists the pools with these arguments, and returns the program's message when it fails.
fn pools(world: &World, runner: &Runner<'_>, scheme: &str, access: &[&str]) -> Result<(), String> {
    let url = format!("{scheme}://localhost:{}", runner.address.port());
    let done = world.run(&[&["pool", "list", "--runner", url.as_str()], access].concat());
    let (told, said) = (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    if done.status.success() && told.contains("local") { Ok(()) } else { Err(said.into_owned()) }
}

#[test]
fn operators_reach_a_runner_over_tls() {
    let world = World::new();
    world.pool(0, SPEC);
    let files = Files::new(&world);
    let ([cert, key], [own, own_key], ca) = (&files.server, &files.client, files.ca.as_str());

    let runner = world.start(&["--tls-cert", cert, "--tls-key", key, "--token-file", &files.token]);
    let ask = |scheme: &str, access: &[&str]| pools(&world, &runner, scheme, access);
    assert_eq!(ask("https", &["--runner-ca", ca, "--token-file", &files.token]), Ok(()));
    let refused = ask("https", &["--runner-ca", ca]).expect_err("no token");
    assert!(refused.contains("token"), "{refused}");
    let unknown = ask("https", &["--token-file", &files.token]).expect_err("an authority that nobody knows");
    assert!(unknown.contains("UnknownIssuer") && unknown.contains("--runner-ca"), "{unknown}");
    let plain = ask("http", &["--token-file", &files.token]).expect_err("plain HTTP is not spoken there");
    assert!(plain.contains("HTTPS only"), "{plain}");
    assert!(runner.terminate().0.success());

    let runner = world.start(&["--tls-cert", cert, "--tls-key", key, "--client-ca", ca]);
    let ask = |access: &[&str]| pools(&world, &runner, "https", access);
    assert_eq!(ask(&["--runner-ca", ca, "--runner-cert", own, "--runner-key", own_key]), Ok(()));
    let refused = ask(&["--runner-ca", ca]).expect_err("no certificate");
    assert!(refused.contains("--runner-cert and --runner-key"), "{refused}");
    assert!(runner.terminate().0.success());
}
