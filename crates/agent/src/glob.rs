//! Globs over paths: `*`, `?`, `[a-z]`, `[!a]`, `{a,b}` within a name, and `**` for any number of directories.

/// A glob.
#[derive(Debug, Clone)]
pub struct Glob {
    /// One list of parts per alternative of the braces.
    alternatives: Vec<Vec<String>>,
}

/// In a longer pattern braces stand for themselves: they nest, and so would the work.
const LONGEST_WITH_BRACES: usize = 4096;
/// Braces may multiply; more alternatives than this are cut off.
const ALTERNATIVES: usize = 256;

impl Glob {
    /// Reads a glob. Every text is one: what has no meaning stands for itself.
    pub fn new(pattern: &str) -> Self {
        let mut expanded = vec![];
        match pattern.len() {
            0..=LONGEST_WITH_BRACES => expand(pattern, &mut expanded),
            _ => expanded.push(pattern.to_owned()),
        }
        let parts =
            |p: &String| p.split('/').filter(|part| !part.is_empty() && *part != ".").map(str::to_owned).collect();
        Self { alternatives: expanded.iter().map(parts).collect() }
    }

    /// Whether a path, given by its names, is matched.
    pub fn matches(&self, path: &[&str]) -> bool {
        self.alternatives.iter().any(|parts| path_matches(parts, path, false))
    }

    /// Whether something below a directory, given by its names, may be matched.
    pub fn may_match_below(&self, dir: &[&str]) -> bool {
        self.alternatives.iter().any(|parts| path_matches(parts, dir, true))
    }

    /// The directory that everything matched lies in: the leading names without a glob, the last name aside.
    pub fn fixed(&self) -> Vec<String> {
        let of = |parts: &Vec<String>| -> Vec<String> {
            let most = parts.len().saturating_sub(1);
            parts[..most].iter().take_while(|p| !p.contains(['*', '?', '['])).cloned().collect()
        };
        let mut fixed = self.alternatives.iter().map(of);
        let first = fixed.next().unwrap_or_default();
        fixed.fold(first, |a, b| a.into_iter().zip(b).take_while(|(a, b)| a == b).map(|(a, _)| a).collect())
    }
}

fn expand(pattern: &str, out: &mut Vec<String>) {
    if out.len() >= ALTERNATIVES {
        return;
    }
    let braces = pattern.find('{').and_then(|open| Some((open, closing(&pattern[open..])? + open)));
    let Some((open, close)) = braces else {
        return out.push(pattern.to_owned());
    };
    let (mut depth, mut from) = (0, open + 1);
    for (at, c) in pattern[..=close].char_indices().skip_while(|(at, _)| *at <= open) {
        match c {
            '{' => depth += 1,
            '}' if at < close => depth -= 1,
            ',' | '}' if depth == 0 => {
                expand(&format!("{}{}{}", &pattern[..open], &pattern[from..at], &pattern[close + 1..]), out);
                from = at + 1;
            }
            _ => {}
        }
    }
}

fn closing(text: &str) -> Option<usize> {
    let mut depth = 0;
    text.char_indices().find_map(|(at, c)| {
        depth += match c {
            '{' => 1,
            '}' => -1,
            _ => 0,
        };
        (depth == 0).then_some(at)
    })
}

/// Dynamic programming over the parts, so that many `**` cost no more than length times length.
fn path_matches(parts: &[String], path: &[&str], prefix: bool) -> bool {
    // reached[i]: the first i parts match the names so far.
    let mut reached = vec![false; parts.len() + 1];
    reached[0] = true;
    skip_stars(parts, &mut reached);
    for name in path {
        let mut next = vec![false; parts.len() + 1];
        for (i, part) in parts.iter().enumerate().filter(|(i, _)| reached[*i]) {
            if part == "**" {
                next[i] = true;
            } else if name_matches(part.as_bytes(), name.as_bytes()) {
                next[i + 1] = true;
            }
        }
        skip_stars(parts, &mut next);
        reached = next;
    }
    if prefix { reached[..parts.len()].contains(&true) } else { reached[parts.len()] }
}

fn skip_stars(parts: &[String], reached: &mut [bool]) {
    for i in 0..parts.len() {
        if reached[i] && parts[i] == "**" {
            reached[i + 1] = true;
        }
    }
}

fn name_matches(glob: &[u8], name: &[u8]) -> bool {
    let (mut g, mut n) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while n < name.len() {
        let step = match glob.get(g) {
            Some(b'*') => {
                star = Some((g, n));
                g += 1;
                continue;
            }
            Some(b'?') => Some(1),
            Some(b'[') => class(&glob[g..], name[n]),
            Some(c) if *c == name[n] => Some(1),
            _ => None,
        };
        match (step, star) {
            (Some(step), _) => {
                g += step;
                n += 1;
            }
            (None, Some((at, from))) => {
                star = Some((at, from + 1));
                (g, n) = (at + 1, from + 1);
            }
            (None, None) => return false,
        }
    }
    glob[g..].iter().all(|c| *c == b'*')
}

/// The length of the class at the start of `glob`, if `byte` is in it.
fn class(glob: &[u8], byte: u8) -> Option<usize> {
    let negated = matches!(glob.get(1), Some(b'!' | b'^'));
    let start = if negated { 2 } else { 1 };
    // A bracket that stands first is a member.
    let end = glob.iter().skip(start + 1).position(|c| *c == b']').map(|at| at + start + 1);
    let Some(end) = end else {
        return (byte == b'[').then_some(1);
    };
    let members = &glob[start..end];
    let mut found = false;
    let mut i = 0;
    while i < members.len() {
        if i + 2 < members.len() && members[i + 1] == b'-' {
            found |= (members[i]..=members[i + 2]).contains(&byte);
            i += 3;
        } else {
            found |= members[i] == byte;
            i += 1;
        }
    }
    (found != negated).then_some(end + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(glob: &str, path: &str, expected: bool) {
        let names: Vec<&str> = path.split('/').collect();
        assert_eq!(Glob::new(glob).matches(&names), expected, "{glob} on {path}");
    }

    #[test]
    fn matching() {
        check("a/b.xml", "a/b.xml", true);
        check("./a//*.xml", "a/b.xml", true);
        check("*.xml", "a/b.xml", false);
        check("**/*.xml", "b.xml", true);
        check("**/*.xml", "a/c/b.xml", true);
        check("**/TEST-*.xml", "target/surefire/TEST-x.y.xml", true);
        check("a/**", "a/b/c", true);
        check("a/**/c", "a/c", true);
        check("a/**/c", "b/c", false);
        check("r?p[o-q]rt.{xml,json}", "report.json", true);
        check("{a,b/{c,d}}/x", "b/d/x", true);
        check("[!a]b", "ab", false);
        check("[!a]b", "bb", true);
        check("[]]", "]", true);
        check("a[b", "a[b", true);
        check("{a", "{a", true);
        check("**/**/**/**/z", "a/b/c/d/e/f/g", false);
        check("*a*a*a*a*b", "aaaaaaaaaaaaaaaaaaaaaaaaaaaa", false);
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_a_glob(pattern in "[a-c{},*?!/\\[\\]-]{0,40}", path in "[a-c/]{0,12}") {
            let names: Vec<&str> = path.split('/').collect();
            let glob = Glob::new(&pattern);
            // What is matched lies below what is searched.
            if glob.matches(&names) {
                for end in 0..names.len() {
                    proptest::prop_assert!(glob.may_match_below(&names[..end]));
                }
            }
        }
    }

    #[test]
    fn deep_braces_do_no_harm() {
        let deep = format!("{}a{}", "{".repeat(100_000), "}".repeat(100_000));
        assert!(!Glob::new(&deep).matches(&["a"]));
        let wide = "{a,b}".repeat(800);
        assert_eq!(Glob::new(&wide).alternatives.len(), ALTERNATIVES);
    }

    #[test]
    fn where_to_look() {
        let glob = Glob::new("build/reports/**/*.xml");
        assert_eq!(glob.fixed(), ["build", "reports"]);
        assert!(glob.may_match_below(&["build"]));
        assert!(glob.may_match_below(&["build", "reports", "x"]));
        assert!(!glob.may_match_below(&["src"]));
        assert!(Glob::new("{a,b}/c").fixed().is_empty());
    }
}
