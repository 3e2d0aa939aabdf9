//! PostgreSQL over TLS: nothing is sent to a server that does not prove its identity.

#![allow(clippy::unwrap_used, reason = "the checks are not marked as tests")]

use std::error::Error as _;

use kiln_store::postgres_for_tests;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};

/// An authority, with its certificate.
fn authority() -> (Issuer<'static, KeyPair>, String) {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    let pem = params.self_signed(&key).unwrap().pem();
    (Issuer::new(params, key), pem)
}

#[tokio::test]
async fn only_a_server_with_a_trusted_certificate_for_its_name_is_used() {
    let (issuer, ca) = authority();
    let (_, other_ca) = authority();
    let key = KeyPair::generate().unwrap();
    let cert = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap().signed_by(&key, &issuer).unwrap();
    let (server, port) = postgres_for_tests::start_with_tls(&cert.pem(), &key.serialize_pem()).unwrap();
    server.database().unwrap();
    let name = "kiln0";
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, pem: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, pem).unwrap();
        path.display().to_string()
    };
    let (ca, other_ca) = (file("ca.pem", &ca), file("other.pem", &other_ca));
    let open = async |host: &str, options: &str| {
        let url = format!("postgres://kiln@{host}:{port}/{name}?{options}");
        kiln_store::open(&url).await.map(drop).map_err(|error| {
            let source = error.source().map(ToString::to_string).unwrap_or_default();
            format!("{error}: {source}")
        })
    };
    open("127.0.0.1", &format!("sslmode=verify-full&sslrootcert={ca}")).await.unwrap();
    for (host, root) in [("127.0.0.1", &other_ca), ("localhost", &ca)] {
        let error = open(host, &format!("sslmode=verify-full&sslrootcert={root}")).await.unwrap_err();
        assert!(error.contains("Add sslrootcert=FILE to the URL") && error.contains("certificate"), "{host}: {error}");
    }
    let error = open("127.0.0.1", "sslmode=verify-full").await.unwrap_err();
    assert!(error.contains("Add sslrootcert=FILE"), "{error}");
}
