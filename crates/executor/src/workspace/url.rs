//! Names and passwords in URLs.

/// Schemes whose URLs need the user's name, which is no secret: without it they mean another account.
const NAMED: &[&str] = &["ssh", "git+ssh", "ssh+git"];

/// Returns the text with all URLs in it freed of names and passwords, or `None` when there are none.
///
/// What stands before the `@` of a URL is a password, or a token in the place of a name. Only SSH keeps the name. The border of a
/// URL's host is found as git finds it.
#[must_use]
pub fn without_credentials(text: &str) -> Option<String> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let host = at + "://".len();
        let end =
            rest[host..].find(|c: char| "/?#\"'<>".contains(c) || c.is_whitespace()).map_or(rest.len(), |n| host + n);
        out.push_str(&rest[..host]);
        match rest[host..end].rsplit_once('@') {
            None => out.push_str(&rest[host..end]),
            Some((user, bare)) => {
                let name = user.split(':').next().unwrap_or_default();
                if is_named(&rest[..at]) && !name.is_empty() {
                    out.push_str(name);
                    out.push('@');
                }
                out.push_str(bare);
            }
        }
        rest = &rest[end..];
    }
    out.push_str(rest);
    (out != text).then_some(out)
}

/// Returns whether the text ends in a scheme that needs a name.
fn is_named(before: &str) -> bool {
    let scheme = before.rsplit(|c: char| !(c.is_ascii_alphanumeric() || "+-.".contains(c))).next().unwrap_or_default();
    NAMED.iter().any(|named| scheme.eq_ignore_ascii_case(named))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expect: &str) {
        assert_eq!(without_credentials(text).as_deref().unwrap_or(text), expect);
    }

    #[test]
    fn names_and_passwords_are_taken_out_of_urls() {
        check("https://me:t0ken@example.org/a/b", "https://example.org/a/b");
        check("https://t0ken@example.org", "https://example.org");
        check("https://:t0ken@example.org:8443/a", "https://example.org:8443/a");
        check("https://me:p@ss@example.org/a", "https://example.org/a");
        check("HTTP://me@h/", "HTTP://h/");
        check("ext::a https://x:y@h/p and ftp://u:v@i/q", "ext::a https://h/p and ftp://i/q");
        check("clone: from https://u:v@h/a.git\n", "clone: from https://h/a.git\n");
        check("https://u:v@", "https://");
    }

    #[test]
    fn the_name_of_ssh_stays() {
        check("ssh://git:pw@example.org/a", "ssh://git@example.org/a");
        check("git+ssh://git@example.org/a", "git+ssh://git@example.org/a");
        check("git@example.org:a/b", "git@example.org:a/b");
    }

    #[test]
    fn an_at_behind_the_host_is_no_name() {
        check("https://example.org/@scope/a", "https://example.org/@scope/a");
        check("https://example.org?mail=a@b", "https://example.org?mail=a@b");
        check("a@b c://d", "a@b c://d");
        check("", "");
    }
}
