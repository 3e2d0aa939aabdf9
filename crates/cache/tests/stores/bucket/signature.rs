//! Checks the signature of a request, version 4, as Amazon's documentation describes it.

use std::collections::BTreeMap;

use axum::http::Uri;
use axum::http::request::Parts;
use kiln_tls::{HmacSha256, Sha256};

use super::{REGION, text};

/// The key that requests name.
pub const ACCESS_KEY: &str = "AKIAEXAMPLE";
/// The key that they are signed with.
pub const SECRET_KEY: &str = "wJalr/SECRET+KEY";

const ALGORITHM: &str = "AWS4-HMAC-SHA256";

/// What is behind the question mark of an address.
pub(super) struct Query(BTreeMap<String, String>);

impl Query {
    pub(super) fn of(uri: &Uri) -> Self {
        let pairs = uri.query().unwrap_or("").split('&').filter(|pair| !pair.is_empty());
        let pairs = pairs.map(|pair| pair.split_once('=').unwrap_or((pair, "")));
        Self(pairs.map(|(name, value)| (decoded(&name.replace('+', " ")), decoded(&value.replace('+', " ")))).collect())
    }

    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    fn canonical(&self) -> String {
        // The order is that of the encoded names. None of those that are used has a character that changes it.
        let pairs = self.0.iter().map(|(name, value)| format!("{}={}", encoded(name, ""), encoded(value, "")));
        pairs.collect::<Vec<_>>().join("&")
    }
}

/// Checks that a request is signed with the key.
pub(super) fn check(head: &Parts, body: &[u8]) -> Result<(), String> {
    let header = |name: &str| text(&head.headers, name);
    let ensure = |holds: bool, why: &str| if holds { Ok(()) } else { Err(why.to_owned()) };
    let of_body = hex_sum(body);
    ensure(header("x-amz-content-sha256") == of_body, "the sum is not that of the body")?;
    let stamp = header("x-amz-date");
    let is_stamp = stamp.len() == 16 && stamp.as_bytes()[8] == b'T' && stamp.ends_with('Z');
    ensure(is_stamp, "x-amz-date is no time")?;
    let date = &stamp[..8];
    let scope = format!("{date}/{REGION}/s3/aws4_request");
    let given = header("authorization").strip_prefix(ALGORITHM).ok_or("another algorithm")?;
    let mut parts = given.split(',').filter_map(|part| part.trim().split_once('='));
    let mut next = |name: &str| parts.next().filter(|(key, _)| *key == name).map(|(_, value)| value.to_owned());
    let credential = next("Credential").ok_or("no Credential")?;
    let signed = next("SignedHeaders").ok_or("no SignedHeaders")?;
    let signature = next("Signature").ok_or("no Signature")?;
    ensure(credential == format!("{ACCESS_KEY}/{scope}"), "another credential")?;
    let names: Vec<&str> = signed.split(';').collect();
    ensure(names.is_sorted() && names.contains(&"host"), "the signed headers are not in order, or have no host")?;
    let must = head.headers.keys().map(|name| name.as_str()).filter(|name| name.starts_with("x-amz-"));
    for name in must.chain(head.headers.keys().map(|name| name.as_str()).filter(|name| *name == "content-md5")) {
        ensure(names.contains(&name), &format!("{name} is not signed"))?;
    }
    let headers: String = names.iter().map(|name| format!("{name}:{}\n", header(name).trim())).collect();
    let path = encoded(&decoded(head.uri.path()), "/");
    ensure(path == head.uri.path(), &format!("the path is not encoded as it is signed: {path}"))?;
    let query = Query::of(&head.uri).canonical();
    let request = format!("{}\n{path}\n{query}\n{headers}\n{signed}\n{of_body}", head.method);
    let to_sign = format!("{ALGORITHM}\n{stamp}\n{scope}\n{}", hex_sum(request.as_bytes()));
    let steps = [date, REGION, "s3", "aws4_request"];
    let key = steps.iter().fold(format!("AWS4{SECRET_KEY}").into_bytes(), |key, step| code(&key, step));
    ensure(hex(&code(&key, &to_sign)) == signature, &format!("the signature is not that of\n{request}"))
}

fn code(key: &[u8], text: &str) -> Vec<u8> {
    let mut code = HmacSha256::new(key);
    code.update(text.as_bytes());
    code.code()
}

pub(super) fn hex_sum(bytes: &[u8]) -> String {
    let mut sum = Sha256::default();
    sum.update(bytes);
    sum.hex()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Encodes all but unreserved characters and those that stay.
fn encoded(text: &str, stays: &str) -> String {
    let encode = |byte: u8| {
        let character = char::from(byte);
        let is_plain = character.is_ascii_alphanumeric() || "-._~".contains(character) || stays.contains(character);
        if is_plain { character.to_string() } else { format!("%{byte:02X}") }
    };
    text.bytes().map(encode).collect()
}

/// Decodes a part of an address.
pub(super) fn decoded(text: &str) -> String {
    let (mut bytes, mut rest) = (Vec::new(), text.as_bytes());
    while let Some((first, after)) = rest.split_first() {
        let digits = after.get(..2).filter(|_| *first == b'%').and_then(|digits| std::str::from_utf8(digits).ok());
        let byte = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok());
        rest = if byte.is_some() { &after[2..] } else { after };
        bytes.push(byte.unwrap_or(*first));
    }
    String::from_utf8(bytes).expect("UTF-8")
}
