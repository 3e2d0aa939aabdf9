//! Any text as a template of either dialect, evaluated: never a panic or a hang, and text without expressions stays
//! what it is.
#![no_main]

use kiln_document::Location;
use kiln_pipeline::expr::{Map, Scope, Template, Value};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let text = String::from_utf8_lossy(bytes);
    // As a literal block with four spaces before each line has it in its file.
    let lines = text.split('\n').skip(1).filter(|line| !line.is_empty()).count();
    let place = Location { line: 3, column: 5, span: 40..40 + text.len() + lines * 4 };
    let scope = scope(&text);
    let parsed =
        [Template::parse(&text, &place), Template::condition(&text, &place), Template::substituted(&text, &place)];
    for template in parsed {
        match template {
            Ok(template) => evaluate(&template, &scope),
            Err(found) => {
                let Location { line, column, span } = found.location;
                let last = 3 + text.matches('\n').count();
                assert!(line >= 3 && line as usize <= last && column >= 5, "a place outside of the text");
                assert!(span.start >= 40 && span.start <= span.end && span.end <= place.span.end, "a wrong span");
            }
        }
    }
});

fn evaluate(template: &Template, scope: &Scope) {
    let rendered = template.render(scope);
    if template.is_literal() && !template.text().contains("$$") {
        assert_eq!(rendered.as_deref(), Ok(template.text()), "a literal changed");
    }
    if let Err(error) = &rendered {
        assert!(!error.to_string().is_empty(), "an error says nothing");
    }
    drop(template.truthy(scope));
    drop((template.secrets(), template.references(), template.inputs()));
    drop((template.emptied(), template.unlike_shell()));
    if let Ok(value) = template.value(scope) {
        drop((value.to_string(), value.to_json()));
    }
}

/// Something of every kind, and a value that holds the very text.
fn scope(text: &str) -> Scope {
    let mut scope = Scope::new(Map::new()).with_secrets(|name| Some(format!("secret of {name}")));
    scope.set(&["a", "b"], "text");
    scope.set(&["a", "c"], Value::List(vec!["one".into(), 2.0.into(), true.into(), Value::Null]));
    scope.set(&["n"], 41.0);
    scope.set(&["json"], r#"{"x":[{"y":"z"}]}"#);
    scope.set(&["drone", "DRONE_TAG"], "v1.2.3");
    scope.set(&["drone", "DRONE_BRANCH"], "feature/some-thing");
    if let Ok(own) = Template::parse(text, &Location::default()) {
        scope.set(&["own"], own);
    }
    scope
}
