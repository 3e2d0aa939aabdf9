//! References such as `&lt;` and `&#65;`.

use std::borrow::Cow;

use quick_xml::escape::resolve_predefined_entity;
use quick_xml::events::BytesRef;

/// Length of the longest known reference, in bytes. Leading zeros are rare.
pub(crate) const REFERENCE_MAX_BYTES: usize = 16;

/// Decodes a reference at the beginning of a text. Returns its value and its length in bytes, or none when there is no
/// known reference, so that the `&` is literal.
pub(crate) fn reference(text: &str) -> Option<(Cow<'static, str>, usize)> {
    let body = text.strip_prefix('&')?;
    let end = body.bytes().take(REFERENCE_MAX_BYTES - 1).position(|byte| byte == b';')?;
    let name = &body[..end];
    let character = match BytesRef::new(name).resolve_char_ref() {
        Ok(Some(character)) => Cow::Owned(character.to_string()),
        Ok(None) => Cow::Borrowed(resolve_predefined_entity(name)?),
        Err(_) => return None,
    };
    Some((character, end + 2))
}

/// Replaces all known references. Line breaks stay as they are, so that a secret of several lines is found.
pub(crate) fn decode(text: &str) -> Cow<'_, str> {
    if !text.contains('&') {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('&') {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        let taken = match reference(rest) {
            Some((character, bytes)) => {
                out.push_str(&character);
                bytes
            }
            None => {
                out.push('&');
                1
            }
        };
        rest = &rest[taken..];
    }
    out.push_str(rest);
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_replaced_and_others_stay() {
        let check = |text: &str, expect: &str| assert_eq!(decode(text), expect, "{text}");
        check("plain", "plain");
        check("&lt;5&gt; &amp; &quot;&apos;", "<5> & \"'");
        check("&#65;&#x42;&#x1F600;&#10;", "AB😀\n");
        check("&nbsp; a & b &; &#; &#0; &#xD800; &#x110000; &&lt;", "&nbsp; a & b &; &#; &#0; &#xD800; &#x110000; &<");
        check("&amp;lt;", "&lt;");
        check("&ü;&", "&ü;&");
        check("&aaaaaaaaaaaaaaaaaaaaaaaaaaaaaa;&lt", "&aaaaaaaaaaaaaaaaaaaaaaaaaaaaaa;&lt");
    }
}
