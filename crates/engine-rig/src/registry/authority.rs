//! Who signs the registry's certificate.

use rcgen::{BasicConstraints, CertificateParams, DnType, Error, IsCa, Issuer, KeyPair, KeyUsagePurpose};

/// An authority of one engine. Its certificates are good for as long as rcgen's default says, which no test outlives.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

impl Authority {
    /// Makes one.
    pub fn create() -> Result<Self, Error> {
        let mut params = CertificateParams::new(Vec::new())?;
        params.distinguished_name.push(DnType::CommonName, "tests");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
        let key = KeyPair::generate()?;
        let pem = params.self_signed(&key)?.pem();
        Ok(Self { issuer: Issuer::new(params, key), pem })
    }

    /// Returns its certificate.
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// Makes a certificate for these hosts, and its key.
    pub fn issue<'a>(&self, hosts: impl Iterator<Item = &'a str>) -> Result<(String, String), Error> {
        let mut params = CertificateParams::new(hosts.map(str::to_owned).collect::<Vec<_>>())?;
        params.distinguished_name.push(DnType::CommonName, "registry");
        let key = KeyPair::generate()?;
        let pem = params.signed_by(&key, &self.issuer)?.pem();
        Ok((pem, key.serialize_pem()))
    }
}
