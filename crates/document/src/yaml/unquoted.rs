//! Texts that lack necessary quotes: a `: ` within them makes a mapping, a `[` at their beginning a list.
//!
//! Most of them are commands. The name of a text is the file's key that it belongs to.

/// Returns a correct way to write the text whose error is at this place, if it is a text without quotes.
pub(super) fn help(source: &str, place: usize) -> Option<String> {
    let start = source.get(..place)?.rfind('\n').map_or(0, |at| at + 1);
    let line = source[start..].lines().next()?;
    let place = place - start;
    let indent = line.len() - line.trim_start().len();
    let item = line[indent..].strip_prefix('-').filter(|rest| rest.starts_with(' ')).map(str::trim_start);
    let begin = item.map_or(indent, |item| line.len() - item.len());
    if let Some((key, text)) = key_of(line.get(begin..)?) {
        let begin = begin + text;
        return needs_quotes(&line[begin..], place.checked_sub(begin)?).then(|| way_out(key, &format!("{key}: |")));
    }
    let list = list_above(&source[..start], indent)?;
    needs_quotes(item?, place.checked_sub(begin)?).then(|| way_out(item_of(list), "- |"))
}

/// Returns whether an error at this place in a text comes from missing quotes.
fn needs_quotes(text: &str, place: usize) -> bool {
    let (Some(before), Some(after)) = (text.get(..place), text.get(place..)) else { return false };
    match text.chars().next() {
        // A list or a mapping, followed by something.
        Some('[' | '{') => before.trim_end().ends_with([']', '}']),
        // A text in quotes, or a block, followed by something.
        Some('"' | '\'' | '|' | '>') => !before.is_empty(),
        // Characters that cannot begin a text.
        Some('@' | '`' | '%' | '*' | '&' | '!') => before.is_empty(),
        Some(_) => !before.is_empty() && after.starts_with(':'),
        None => false,
    }
}

/// Returns the advice for the text with this name, which is an item of a list or the value of a key.
pub(crate) fn of_mapping(what: &str) -> String {
    let key = what.split('`').nth(1).unwrap_or_default();
    match what.starts_with("an item of") {
        true => way_out(item_of(key), "- |"),
        false => way_out(key, &format!("{key}: |")),
    }
}

fn way_out(name: &str, block: &str) -> String {
    let name = if !name.is_empty() && name.bytes().all(|b| b.is_ascii_lowercase()) { name } else { "text" };
    format!("put the {name} in quotes, or write it on the lines below `{block}`")
}

/// Returns the singular: `command` of `commands`.
fn item_of(list: &str) -> &str {
    list.strip_suffix('s').unwrap_or(list)
}

/// Returns the key at the beginning of a line, and the place of its value.
fn key_of(line: &str) -> Option<(&str, usize)> {
    let end = line.find(|c: char| !c.is_ascii_alphanumeric() && !"_-.".contains(c))?;
    let rest = line[end..].strip_prefix(':')?;
    let value = rest.trim_start();
    (end > 0 && rest.starts_with(' ') && !value.is_empty()).then(|| (&line[..end], line.len() - value.len()))
}

/// Returns the key above whose list contains an item with this indentation.
fn list_above(above: &str, indent: usize) -> Option<&str> {
    /// Number of lines that are searched. Longer lists of one-line commands are rare.
    const LINES: usize = 500;
    above.lines().rev().take(LINES).find_map(|line| {
        let text = line.trim_start();
        let own = line.len() - text.len();
        let item = text.strip_prefix("- ");
        let key = item.unwrap_or(text).trim().strip_suffix(':')?;
        let plain = !key.is_empty() && key.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-".contains(&b));
        // Other items of the same list have no key.
        (plain && (own < indent || own == indent && item.is_none())).then_some(key)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_that_needs_quotes_is_called_as_in_the_file() {
        let command = Some("put the command in quotes, or write it on the lines below `command: |`");
        let item = Some("put the command in quotes, or write it on the lines below `- |`");
        let text = Some("put the text in quotes, or write it on the lines below `runAs: |`");
        for (source, place, expected) in [
            ("a:\n  command: echo \"x^: y\"\n", "^", command),
            ("commands:\n- make\n- done:\n- echo a: b^: c\n", "^", item),
            ("  commands:\n    - \"./x\" ^--flag\n", "^", item),
            ("  commands:\n    - [ -f x ] ^&& make\n", "^", item),
            ("  commands:\n    - ^@echo\n", "^", item),
            ("runAs: a^: b\n", "^", text),
            ("steps: [a, b^: {c: d^\n", "^", None),
            ("a: b\n c^: d\n", "^", None),
            ("- a: b\n", "b", None),
        ] {
            let at = source.find(place).unwrap_or_default();
            let source = source.replace('^', "");
            assert_eq!(help(&source, at).as_deref(), expected, "{source:?}");
        }
    }
}
