//! SHA-256 and what signatures make of it, by the crypto provider.

use ring::digest::{Context, SHA256};
use ring::hmac;

/// A SHA-256 that is being worked out.
#[derive(Clone)]
pub struct Sha256(Context);

impl Default for Sha256 {
    fn default() -> Self {
        Self(Context::new(&SHA256))
    }
}

impl std::fmt::Debug for Sha256 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Sha256")
    }
}

impl Sha256 {
    /// Takes further bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// Returns the sum of all bytes.
    #[must_use]
    pub fn sum(self) -> Vec<u8> {
        self.0.finish().as_ref().to_vec()
    }

    /// Returns the sum of all bytes, in hexadecimal digits.
    #[must_use]
    pub fn hex(self) -> String {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let digits = |byte: u8| [byte >> 4, byte & 15].map(|digit| char::from(DIGITS[usize::from(digit)]));
        self.sum().into_iter().flat_map(digits).collect()
    }
}

/// A code that proves, by HMAC and SHA-256, that whoever made it knows a secret.
#[derive(Clone)]
pub struct HmacSha256(hmac::Context);

impl std::fmt::Debug for HmacSha256 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("HmacSha256")
    }
}

impl HmacSha256 {
    /// Begins a code with a secret.
    #[must_use]
    pub fn new(secret: &[u8]) -> Self {
        Self(hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, secret)))
    }

    /// Takes further bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// Returns the code of all bytes.
    #[must_use]
    pub fn code(self) -> Vec<u8> {
        self.0.sign().as_ref().to_vec()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_the_sum_that_others_work_out() {
        let mut sum = Sha256::default();
        sum.update(b"ab");
        sum.update(b"c");
        assert_eq!(sum.hex(), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        let mut code = HmacSha256::new(b"Jefe");
        code.update(b"what do ya want ");
        code.update(b"for nothing?");
        assert_eq!(code.code()[..4], [0x5b, 0xdc, 0xc1, 0x46]);
        assert_eq!(Sha256::default().hex(), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    }
}
