//! The CA and its certificates.

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use sha2::{Digest, Sha256};
use time::{Duration, OffsetDateTime};
use zeroize::Zeroizing;

use crate::TlsError;

/// Lifetime of a CA. It never leaves the machine that made it.
const CA_LIFE_DAYS: i64 = 3650;
/// Time by which a certificate is valid before it was made, because clocks differ.
const CLOCK_SKEW: Duration = Duration::hours(1);

/// A certificate and its private key, both PEM. The key is wiped from memory when dropped.
#[derive(Clone)]
pub struct Identity {
    /// The certificate.
    pub cert_pem: String,
    /// The private key (PKCS#8).
    pub key_pem: Zeroizing<String>,
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Identity").field("cert_pem", &self.cert_pem).finish_non_exhaustive()
    }
}

/// The runner's certificate authority.
pub struct Authority {
    identity: Identity,
    issuer: Issuer<'static, KeyPair>,
    validity: Validity,
}

/// The period in which a certificate is valid.
#[derive(Clone, Copy)]
struct Validity {
    from: OffsetDateTime,
    to: OffsetDateTime,
}

impl Authority {
    /// Creates a CA.
    pub fn create() -> Result<Self, TlsError> {
        let name = "Kiln CA";
        let fail = |source| TlsError::Issue { name: name.into(), source };
        let key = KeyPair::generate().map_err(fail)?;
        let mut params = named(name, vec![]).map_err(fail)?;
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.not_after = OffsetDateTime::now_utc() + Duration::days(CA_LIFE_DAYS);
        let cert_pem = params.self_signed(&key).map_err(fail)?.pem();
        Self::load(&cert_pem, &key.serialize_pem())
    }

    /// Reads a CA from its PEM texts.
    pub(crate) fn load(cert_pem: &str, key_pem: &str) -> Result<Self, TlsError> {
        let fail = |source| TlsError::Issue { name: "Kiln CA".into(), source };
        let key = KeyPair::from_pem(key_pem).map_err(fail)?;
        let issuer = Issuer::from_ca_cert_pem(cert_pem, key).map_err(fail)?;
        let identity = Identity { cert_pem: cert_pem.to_owned(), key_pem: Zeroizing::new(key_pem.to_owned()) };
        let validity = validity(cert_pem)?;
        Ok(Self { identity, issuer, validity })
    }

    /// Returns the CA certificate, PEM.
    #[must_use]
    pub fn ca_pem(&self) -> &str {
        &self.identity.cert_pem
    }

    pub(crate) fn key_pem(&self) -> &str {
        &self.identity.key_pem
    }

    /// Returns the SHA-256 of the CA certificate's PEM, in hex. It changes when the CA does.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        Sha256::digest(self.ca_pem().as_bytes()).iter().map(|b| format!("{b:02x}")).collect()
    }

    /// Issues a certificate for an agent whose DNS name is `name`: `serverAuth` alone, valid until the CA ends, because
    /// a snapshot that contains it may be used until then.
    pub fn issue_server(&self, name: &str) -> Result<Identity, TlsError> {
        let validity = Validity { from: OffsetDateTime::now_utc() - CLOCK_SKEW, ..self.validity };
        self.issue(name, ExtendedKeyUsagePurpose::ServerAuth, validity)
    }

    /// Issues a certificate for the runner itself: `clientAuth` alone. It is valid as long as the CA. A clone checks it
    /// with the clock of its snapshot, which may be as old as the CA, and a runner may run for months. Each process
    /// makes a new one and never stores it.
    pub fn issue_client(&self, name: &str) -> Result<Identity, TlsError> {
        self.issue(name, ExtendedKeyUsagePurpose::ClientAuth, self.validity)
    }

    fn issue(&self, name: &str, usage: ExtendedKeyUsagePurpose, validity: Validity) -> Result<Identity, TlsError> {
        let fail = |source| TlsError::Issue { name: name.into(), source };
        let key = KeyPair::generate().map_err(fail)?;
        let mut params = named(name, vec![name.to_owned()]).map_err(fail)?;
        params.extended_key_usages = vec![usage];
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.use_authority_key_identifier_extension = true;
        params.not_before = validity.from;
        params.not_after = validity.to;
        let cert_pem = params.signed_by(&key, &self.issuer).map_err(fail)?.pem();
        Ok(Identity { cert_pem, key_pem: Zeroizing::new(key.serialize_pem()) })
    }
}

/// Reads the period from the certificate itself: a file's times do not survive a copy or a backup.
fn validity(cert_pem: &str) -> Result<Validity, TlsError> {
    let unusable = || TlsError::Pem { what: "CA certificate", source: None };
    let (_, pem) = x509_parser::pem::parse_x509_pem(cert_pem.as_bytes()).map_err(|_| unusable())?;
    let validity = pem.parse_x509().map_err(|_| unusable())?.validity().clone();
    Ok(Validity { from: validity.not_before.to_datetime(), to: validity.not_after.to_datetime() })
}

fn named(name: &str, dns: Vec<String>) -> Result<CertificateParams, rcgen::Error> {
    let mut params = CertificateParams::new(dns)?;
    let mut subject = DistinguishedName::new();
    subject.push(DnType::CommonName, name);
    params.distinguished_name = subject;
    params.not_before = OffsetDateTime::now_utc() - CLOCK_SKEW;
    Ok(params)
}
