//! Signs requests with the crypto provider of the process.

use kiln_tls::{HmacSha256, Sha256};
use object_store::client::{CryptoProvider, DigestAlgorithm, DigestContext, HmacContext, Signer, SigningAlgorithm};
use object_store::{Error, Result};

/// The provider of `kiln_tls`.
#[derive(Debug)]
pub(crate) struct Crypto;

impl CryptoProvider for Crypto {
    fn digest(&self, algorithm: DigestAlgorithm) -> Result<Box<dyn DigestContext>> {
        match algorithm {
            DigestAlgorithm::Sha256 => Ok(Box::new(Digest { context: Sha256::default(), sum: Vec::new() })),
            other => Err(unsupported(&format!("{other:?}"))),
        }
    }

    fn hmac(&self, algorithm: DigestAlgorithm, secret: &[u8]) -> Result<Box<dyn HmacContext>> {
        match algorithm {
            DigestAlgorithm::Sha256 => Ok(Box::new(Hmac { context: HmacSha256::new(secret), code: Vec::new() })),
            other => Err(unsupported(&format!("{other:?}"))),
        }
    }

    fn sign(&self, algorithm: SigningAlgorithm, _: &[u8]) -> Result<Box<dyn Signer>> {
        // Only other stores than S3's ask for it.
        Err(unsupported(&format!("{algorithm:?}")))
    }
}

fn unsupported(what: &str) -> Error {
    Error::NotSupported { source: format!("no {what} here").into() }
}

struct Digest {
    context: Sha256,
    sum: Vec<u8>,
}

impl DigestContext for Digest {
    fn update(&mut self, data: &[u8]) {
        self.context.update(data);
    }

    fn finish(&mut self) -> Result<&[u8]> {
        self.sum = std::mem::take(&mut self.context).sum();
        Ok(&self.sum)
    }
}

struct Hmac {
    context: HmacSha256,
    code: Vec<u8>,
}

impl HmacContext for Hmac {
    fn update(&mut self, data: &[u8]) {
        self.context.update(data);
    }

    fn finish(&mut self) -> Result<&[u8]> {
        self.code = self.context.clone().code();
        Ok(&self.code)
    }
}
