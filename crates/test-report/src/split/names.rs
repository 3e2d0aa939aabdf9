//! Names of tests, as tools and reports write them.

/// Extensions of source files. Names of tests contain dots too, so other extensions are kept.
const ENDINGS: &[&str] = &[
    "cc", "cpp", "cs", "cts", "dart", "ex", "exs", "feature", "fs", "go", "groovy", "java", "js", "jsx", "kt", "kts",
    "mjs", "mts", "php", "py", "rb", "rs", "scala", "sh", "swift", "ts", "tsx", "vb",
];

/// Converts the name of a file, a class or a test to a common form: `tests/test_a.py::TestX::test_m` and pytest's class
/// `tests.test_a.TestX` with `test_m` both become `tests.test_a.TestX.test_m`.
pub(super) fn form(name: &str) -> String {
    let name = name.trim().replace('\\', "/");
    let name = name.trim_start_matches("./");
    let (head, tail) = name.split_once("::").or_else(|| name.split_once('#')).unwrap_or((name, ""));
    let head = without_ending(head).trim_start_matches('/').replace('/', ".");
    if tail.is_empty() { head } else { format!("{head}.{}", tail.replace("::", ".").replace('#', ".")) }
}

/// Returns whether a name is that of a file.
pub(super) fn is_file(name: &str) -> bool {
    !name.contains("::") && (name.contains(['/', '\\']) || without_ending(name).len() < name.len())
}

fn without_ending(name: &str) -> &str {
    match name.rsplit_once('.') {
        Some((head, ending)) if ENDINGS.contains(&ending) => head,
        _ => name,
    }
}

/// Returns the class in a test's name. A file is a class of its own, and so is a name that `is_class` accepts.
///
/// In names with dots alone, such as `com.x.FooTest.works`, the last part is a method unless it begins with an
/// upper-case letter.
pub(super) fn class(name: &str, is_class: impl Fn(&str) -> bool) -> &str {
    if let Some((head, _)) = name.rsplit_once("::").or_else(|| name.rsplit_once('#')) {
        return head;
    }
    let plain = name.split('(').next().unwrap_or(name);
    if is_file(name) || (plain == name && is_class(name)) {
        return name;
    }
    match plain.rsplit_once('.') {
        Some((head, _)) if plain != name || is_class(head) => head,
        Some((head, last)) if !last.starts_with(char::is_uppercase) => head,
        _ => name,
    }
}
