//! Certificates of any shape and time: those of the original's tools, ended ones, ones that are not valid yet.

use std::ops::Range;

use base64::Engine as _;
use rcgen::{BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair};
use time::{Duration, OffsetDateTime};

use crate::Pem;

/// The name that the original's tools give authority and certificate alike.
const ORGANIZATION: &str = "drone.vm.generated";
/// When those that hold now are valid, in days from now.
pub const NOW: Range<i64> = -1..1080;
/// When ended ones were.
pub const ENDED: Range<i64> = -30..-1;
/// When ones will be that are not valid yet.
pub const TO_COME: Range<i64> = 1..30;

/// An authority as the original's tools make it. What it signs has the authority's own subject, no extended usage and no
/// authority key id, and its key has the older form with a header of its own (SEC 1).
pub struct Original {
    issuer: Issuer<'static, KeyPair>,
    ca_pem: String,
}

impl Original {
    /// Makes one.
    #[must_use]
    pub fn create() -> Self {
        let mut params = params(Vec::new(), NOW);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let ca_pem = params.self_signed(&key).expect("a CA").pem();
        Self { issuer: Issuer::new(params, key), ca_pem }
    }

    /// A certificate for that name, valid on those days from now. The original shows the same one at both ends.
    #[must_use]
    pub fn issue(&self, name: &str, days: Range<i64>) -> Pem {
        let key = KeyPair::generate().expect("a key");
        let cert = params(vec![name.to_owned()], days).signed_by(&key, &self.issuer).expect("a certificate").pem();
        Pem { ca: self.ca_pem.clone(), cert, key: sec1(&key.serialize_der()) }
    }
}

fn params(names: Vec<String>, days: Range<i64>) -> CertificateParams {
    let mut params = CertificateParams::new(names).expect("names");
    let mut subject = DistinguishedName::new();
    subject.push(DnType::OrganizationName, ORGANIZATION);
    params.distinguished_name = subject;
    let now = OffsetDateTime::now_utc();
    (params.not_before, params.not_after) = (now + Duration::days(days.start), now + Duration::days(days.end));
    params
}

/// Rewrites a PKCS#8 key of P-256 as `EC PRIVATE KEY` (RFC 5915) with the name of the curve, as Go writes it.
fn sec1(pkcs8: &[u8]) -> String {
    const HEAD: [u8; 5] = [0x02, 0x01, 0x01, 0x04, 0x20];
    const CURVE: [u8; 12] = [0xa0, 0x0a, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
    let at = pkcs8.windows(HEAD.len()).position(|w| w == HEAD).expect("a P-256 key");
    let (private, public) = pkcs8[at..].split_at(HEAD.len() + 32);
    let content = [private, &CURVE, public].concat();
    let der = [&[0x30, u8::try_from(content.len()).expect("a short key")], content.as_slice()].concat();
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    format!("-----BEGIN EC PRIVATE KEY-----\n{text}\n-----END EC PRIVATE KEY-----\n")
}

#[cfg(test)]
mod tests {
    use x509_parser::pem::parse_x509_pem;

    use super::*;

    /// What makes these certificates hard for others is really in them.
    #[test]
    fn the_originals_shape() {
        let both = Original::create().issue("drone", NOW);
        let (_, leaf) = parse_x509_pem(both.cert.as_bytes()).expect("PEM");
        let (_, ca) = parse_x509_pem(both.ca.as_bytes()).expect("PEM");
        let (leaf, ca) = (leaf.parse_x509().expect("a certificate"), ca.parse_x509().expect("a certificate"));
        assert_eq!((leaf.subject(), leaf.issuer()), (ca.subject(), ca.subject()));
        assert!(leaf.extended_key_usage().expect("readable").is_none());
        let names: Vec<String> = leaf.extensions().iter().map(|e| e.oid.to_id_string()).collect();
        assert!(!names.contains(&"2.5.29.35".to_owned()), "an authority key id: {names:?}");
        assert!(both.key.starts_with("-----BEGIN EC PRIVATE KEY-----"));
    }
}
