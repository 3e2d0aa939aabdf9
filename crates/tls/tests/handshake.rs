//! Accepted and refused peers, shown by real handshakes in memory.
#![allow(clippy::unwrap_used)] // a test that cannot go on says so by panicking

use std::fs::File;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use kiln_tls::{Authority, Identity, client_config, load_or_create, server_config};
use rustls::pki_types::{ServerName, UnixTime};
use rustls::time_provider::TimeProvider;
use rustls::{ClientConnection, ServerConnection};

/// The clock of a server.
#[derive(Debug)]
struct Clock(SystemTime);

impl TimeProvider for Clock {
    fn current_time(&self) -> Option<UnixTime> {
        self.0.duration_since(SystemTime::UNIX_EPOCH).ok().map(UnixTime::since_unix_epoch)
    }
}

/// Runs a handshake to its end and returns how it went.
fn shake(server_ca: &str, server: &Identity, client_ca: &str, client: &Identity, name: &str) -> Result<(), String> {
    shake_at(SystemTime::now(), server_ca, server, client_ca, client, name)
}

fn shake_at(
    server_clock: SystemTime,
    server_ca: &str,
    server: &Identity,
    client_ca: &str,
    client: &Identity,
    name: &str,
) -> Result<(), String> {
    let mut server = server_config(server_ca.as_bytes(), server.cert_pem.as_bytes(), server.key_pem.as_bytes())
        .map_err(|e| e.to_string())?;
    server.time_provider = Arc::new(Clock(server_clock));
    let client = client_config(client_ca.as_bytes(), client.cert_pem.as_bytes(), client.key_pem.as_bytes())
        .map_err(|e| e.to_string())?;
    let name = ServerName::try_from(name.to_owned()).map_err(|e| e.to_string())?;
    let mut c = ClientConnection::new(Arc::new(client), name).map_err(|e| e.to_string())?;
    let mut s = ServerConnection::new(Arc::new(server)).map_err(|e| e.to_string())?;
    for _ in 0..10 {
        let mut wire = Vec::new();
        while c.wants_write() {
            c.write_tls(&mut wire).map_err(|e| e.to_string())?;
        }
        let mut rest = wire.as_slice();
        while !rest.is_empty() {
            s.read_tls(&mut rest).map_err(|e| e.to_string())?;
            s.process_new_packets().map_err(|e| format!("server: {e}"))?;
        }
        let mut wire = Vec::new();
        while s.wants_write() {
            s.write_tls(&mut wire).map_err(|e| e.to_string())?;
        }
        let mut rest = wire.as_slice();
        while !rest.is_empty() {
            c.read_tls(&mut rest).map_err(|e| e.to_string())?;
            c.process_new_packets().map_err(|e| format!("client: {e}"))?;
        }
    }
    if c.is_handshaking() || s.is_handshaking() { Err("did not end".into()) } else { Ok(()) }
}

#[test]
fn runner_and_agent_trust_each_other() {
    let ca = Authority::create().unwrap();
    let (server, client) = (ca.issue_server("vm-1").unwrap(), ca.issue_client("runner").unwrap());
    shake(ca.ca_pem(), &server, ca.ca_pem(), &client, "vm-1").unwrap();
}

#[test]
fn an_agent_is_refused_under_another_name() {
    let ca = Authority::create().unwrap();
    let (server, client) = (ca.issue_server("vm-1").unwrap(), ca.issue_client("runner").unwrap());
    let refused = shake(ca.ca_pem(), &server, ca.ca_pem(), &client, "vm-2").unwrap_err();
    assert!(refused.contains("not valid for name"), "{refused}");
}

#[test]
fn a_key_taken_from_a_vm_opens_no_other_vm() {
    let ca = Authority::create().unwrap();
    let (server, stolen) = (ca.issue_server("vm-1").unwrap(), ca.issue_server("vm-2").unwrap());
    let refused = shake(ca.ca_pem(), &server, ca.ca_pem(), &stolen, "vm-1").unwrap_err();
    assert!(refused.starts_with("server:"), "{refused}");
}

/// A clone checks its runner by the clock of its snapshot, and a CA's file may have been restored from a backup since.
#[test]
fn a_runner_is_trusted_by_the_clock_of_any_day_of_its_ca() {
    const DAY: Duration = Duration::from_secs(86_400);
    let dir = tempfile::tempdir().unwrap();
    let now = SystemTime::now();
    let server = load_or_create(dir.path()).unwrap().issue_server("vm-1").unwrap();
    let file = File::options().append(true).open(dir.path().join("ca.pem")).unwrap();
    file.set_modified(now + 100 * DAY).unwrap();
    let ca = load_or_create(dir.path()).unwrap();
    let client = ca.issue_client("runner").unwrap();
    let at = |clock| shake_at(clock, ca.ca_pem(), &server, ca.ca_pem(), &client, "vm-1");
    for clock in [now, now + 60 * DAY, now + 3000 * DAY] {
        at(clock).unwrap();
    }
    assert!(at(now + 4000 * DAY).is_err(), "the CA itself has ended");
    assert!(at(now - DAY).is_err(), "the CA was not there yet");
}

#[test]
fn a_client_of_another_ca_is_refused() {
    let (ca, other) = (Authority::create().unwrap(), Authority::create().unwrap());
    let (server, client) = (ca.issue_server("vm-1").unwrap(), other.issue_client("runner").unwrap());
    let refused = shake(ca.ca_pem(), &server, ca.ca_pem(), &client, "vm-1").unwrap_err();
    assert!(refused.starts_with("server:"), "{refused}");
}

/// The certificates of the replaced stack: one organisation name for CA and leaf, no extended usage, no authority key
/// id, and one key pair for both ends.
#[test]
fn the_replaced_stacks_certificates_work() {
    use rcgen::{BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair};
    let subject = || {
        let mut dn = DistinguishedName::new();
        dn.push(DnType::OrganizationName, "drone.vm.generated");
        dn
    };
    let ca_key = KeyPair::generate().unwrap();
    let mut ca = CertificateParams::new(Vec::<String>::new()).unwrap();
    ca.distinguished_name = subject();
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca_pem = ca.self_signed(&ca_key).unwrap().pem();
    let key = KeyPair::generate().unwrap();
    let mut leaf = CertificateParams::new(vec!["drone".to_owned()]).unwrap();
    leaf.distinguished_name = subject();
    let cert_pem = leaf.signed_by(&key, &Issuer::new(ca, ca_key)).unwrap().pem();
    let both = Identity { cert_pem, key_pem: key.serialize_pem().into() };
    shake(&ca_pem, &both, &ca_pem, &both, "drone").unwrap();
}

#[test]
fn the_ca_on_disk_is_made_once_and_private() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path().join("ca");
    let prints: Vec<String> = std::thread::scope(|scope| {
        let makers: Vec<_> =
            (0..8).map(|_| scope.spawn(|| kiln_tls::load_or_create(&at).unwrap().fingerprint())).collect();
        makers.into_iter().map(|m| m.join().unwrap()).collect()
    });
    assert!(prints.iter().all(|p| *p == prints[0]), "{prints:?}");
    let mode = std::fs::metadata(at.join("ca.pem")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(std::fs::read_dir(&at).unwrap().count(), 1, "no drafts are left");
}
