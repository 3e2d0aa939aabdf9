//! The last lines of what a program or a console wrote, fit to be shown to a person.

/// The last `count` lines that hold more than white space, without escape sequences and control characters.
pub(crate) fn last_lines(text: &str, count: usize) -> String {
    let clean: Vec<String> =
        text.lines().map(|line| strip_escapes(line).trim_end().to_owned()).filter(|line| !line.is_empty()).collect();
    clean[clean.len().saturating_sub(count)..].join("\n")
}

/// Removes terminal escape sequences and other control characters, so that a VM cannot drive the user's terminal.
fn strip_escapes(line: &str) -> String {
    let mut out = String::with_capacity(line.len());
    let mut chars = line.chars().peekable();
    while let Some(c) = chars.next() {
        if c == '\u{1b}' {
            if chars.peek() == Some(&'[') {
                chars.next();
                for c in chars.by_ref() {
                    if ('\u{40}'..='\u{7e}').contains(&c) {
                        break;
                    }
                }
            } else {
                chars.next();
            }
        } else if c == '\t' || !c.is_control() {
            out.push(c);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_see_no_escape_sequences() {
        let check = |input: &str, expect: &str| assert_eq!(last_lines(input, 2), expect, "{input:?}");
        check("a\r\n\u{1b}[0;32m  OK  \u{1b}[0m b\r\n", "a\n  OK   b");
        check("one\ntwo\n\n\nthree", "two\nthree");
        check("\u{1b}]0;title\u{7}x", "0;titlex");
        check("", "");
    }
}
