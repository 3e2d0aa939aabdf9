//! Tables of templates and what becomes of them in one scope.

use kiln_document::diagnostic::Location;

use super::*;

fn scope() -> Scope {
    let json = serde_json::json!({
        "pipeline": {
            "name": "Build it",
            "sequenceId": 41,
            "variables": { "version": "1.2.3", "flag": "true", "empty": "", "count": 3, "user": "octo" },
            "stages": { "build": { "spec": { "execution": { "steps": { "v": { "output": {
                "outputVariables": { "TAG": "v1.2", "JSON": "{\"a\":{\"b\":[1,{\"c\":\"deep\"}]}}" }
            } } } } } } },
        },
        "stage": { "identifier": "build", "variables": { "list": ["a", "b", "c"] } },
        "matrix": { "repo": "docker", "service": { "name": "web", "port": 80 }, "go-version": "1.22" },
        "codebase": {
            "branch": "main", "repoUrl": "https://github.com/octo/hello", "build": { "type": "branch" }, "tag": null,
        },
        "strategy": { "iteration": 2, "iterations": 4 },
        "evil": "<+secrets.getValue(\"token\")>",
        "trigger": null,
        "yes": true,
        "no": false,
    });
    let mut scope = Scope::new(json).with_secrets(|name| match name {
        "token" => Some("s3cret".to_owned()),
        "account.key" => Some("k3y".to_owned()),
        _ => None,
    });
    for (name, text) in [
        ("image", "repo/<+matrix.repo>:<+pipeline.variables.version>"),
        ("again", "<+image>-x"),
        ("number", "<+strategy.iteration>"),
        ("self", "a<+self>"),
        ("ping", "<+pong>"),
        ("pong", "<+ping>"),
        ("asked", "<+input>"),
    ] {
        scope.set(&[name], Template::parse(text, &Location::default()).unwrap());
    }
    scope.set(&["bomb0"], "lol");
    for level in 1..20 {
        let text = format!("<+bomb{}>", level - 1).repeat(10);
        scope.set(&[&format!("bomb{level}")], Template::parse(&text, &Location::default()).unwrap());
    }
    scope
}

fn check(cases: &[(&str, &str)], evaluate: impl Fn(&Template, &Scope) -> Result<String, EvalError>) {
    let scope = scope();
    let mut wrong = Vec::new();
    for (text, expected) in cases {
        let place = Location { line: 1, column: 1, span: 0..text.len() };
        let got = match Template::parse(text, &place) {
            Ok(template) => evaluate(&template, &scope).unwrap_or_else(|error| format!("ERR {error}")),
            Err(found) => format!("PARSE {}: {}", found.code, found.message),
        };
        if got != *expected {
            wrong.push(format!("{text}\n  expected {expected}\n  got      {got}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn check_render(cases: &[(&str, &str)]) {
    check(cases, |template, scope| template.render(scope));
}

#[test]
fn text_and_paths() {
    check_render(&[
        ("", ""),
        ("plain", "plain"),
        ("<+matrix.repo>", "docker"),
        ("a <+matrix.repo>.exe ./cmd/drone-<+matrix.repo>", "a docker.exe ./cmd/drone-docker"),
        ("<+ matrix.repo >", "docker"),
        ("<+<+matrix.repo>>", "docker"),
        ("<+pipeline.sequenceId>", "41"),
        ("<+matrix.service.name>:<+matrix.service.port>", "web:80"),
        ("<+matrix.service>", r#"{"name":"web","port":80}"#),
        ("<+stage.variables.list>", r#"["a","b","c"]"#),
        ("<+stage.variables.list[1]>", "b"),
        ("<+stage.variables.list.1>", "b"),
        ("<+matrix[\"go-version\"]>", "1.22"),
        ("<+matrix.\"go-version\">", "1.22"),
        ("<+matrix.get(\"go-version\")>", "1.22"),
        ("<+pipeline.stages.<+stage.identifier>.spec.execution.steps.v.output.outputVariables.TAG>", "v1.2"),
        ("<+codebase.tag>", "null"),
        ("<+codebase.tag.deeper>", "null"),
        ("<+trigger.payload.x[0]>", "null"),
        ("<+codebase.repoUrl.split('/')[4]>", "hello"),
        ("é <+matrix.repo> ü", "é docker ü"),
        ("cat <<+EOF\n1 <+ 2\nEOF", "cat <<+EOF\n1 <+ 2\nEOF"),
        ("if (x <+3) y", "if (x <+3) y"),
        ("a < b + c > d", "a < b + c > d"),
        ("<+matrix.repo> > /tmp/out", "docker > /tmp/out"),
        ("<+matrix.repo>>/tmp/out", "docker>/tmp/out"),
        ("<<+matrix.repo>>", "<docker>"),
    ]);
}

#[test]
fn declared_values_are_evaluated_and_printed_ones_are_not() {
    check_render(&[
        ("<+image>", "repo/docker:1.2.3"),
        ("<+again>", "repo/docker:1.2.3-x"),
        ("<+evil>", "<+secrets.getValue(\"token\")>"),
        ("<+self>", "ERR `<+self>` refers to itself, or through more than 32 other values"),
        ("<+ping>", "ERR `<+ping>` refers to itself, or through more than 32 other values"),
        ("<+asked>", "ERR the value is an `<+input>` that was not given and has no default"),
        ("<+bomb3>", &"lol".repeat(1000)),
        ("<+bomb19>", "ERR the expression takes more than 100000 operations or builds more than 4194304 bytes"),
    ]);
    let number = Template::parse("<+number>", &Location::default()).unwrap();
    assert_eq!(number.value(&scope()), Ok(Value::Number(2.0)));
}

#[test]
fn operators_bind_and_coerce_as_in_jexl() {
    check_render(&[
        ("<+<+pipeline.variables.user>+\"-\"+<+matrix.repo>>", "octo-docker"),
        ("<+<+pipeline.variables.user>+<+matrix.repo>>", "octodocker"),
        ("<+strategy.iteration + 1>", "3"),
        ("<+1 + 2 * 3>", "7"),
        ("<+(1 + 2) * 3>", "9"),
        ("<+7 / 2>", "3"),
        ("<+7.0 / 2.5>", "2.8"),
        ("<+7 % 4>", "3"),
        ("<+7 mod 4>", "3"),
        ("<+-strategy.iteration>", "-2"),
        ("<+\"1\" + \"2\">", "12"),
        ("<+\"a\" + 1>", "a1"),
        ("<+\"1\" == 1>", "true"),
        ("<+yes == \"true\">", "true"),
        ("<+codebase.tag == null>", "true"),
        ("<+codebase.tag != null>", "false"),
        ("<+<+strategy.iteration> > 1>", "true"),
        ("<+<+strategy.iteration> >= 3>", "false"),
        ("<+strategy.iteration lt 3>", "true"),
        ("<+\"10\" > \"9\" >", "true"),
        ("<+\"abc\" < \"abd\">", "true"),
        ("<+yes && no || yes>", "true"),
        ("<+yes and not no>", "true"),
        ("<+!(yes && no)>", "true"),
        ("<+\"v1.2\" =~ \"v\\d+\\.\\d+\">", "true"),
        ("<+\"v1.2-rc\" =~ \"v\\d+\\.\\d+\">", "false"),
        ("<+\"v1.2\" !~ \"v.*\">", "false"),
        ("<+\"b\" =~ stage.variables.list>", "true"),
        ("<+\"b\" =~ [\"x\", \"y\"]>", "false"),
        ("<+\"release/1\" =^ \"release/\">", "true"),
        ("<+\"a.txt\" =$ \".txt\">", "true"),
        ("<+<+codebase.build.type> == \"tag\" ? \"t\" : \"b\">", "b"),
        ("<+yes ? no ? 1 : 2 : 3>", "2"),
        ("<+codebase.tag ?: \"none\">", "none"),
        ("<+nowhere.at.all ?? \"none\">", "none"),
        ("<+{\"a\": 1, b: [true, null]}>", r#"{"a":1,"b":[true,null]}"#),
        ("<+\"branch <+codebase.branch>!\">", "branch main!"),
        ("<+\"q\\\"\\n\\u0041\">", "q\"\nA"),
    ]);
}

#[test]
fn methods() {
    check_render(&[
        ("<+<+codebase.branch>.contains(\"ai\")>", "true"),
        ("<+codebase.branch.startsWith('m')>", "true"),
        ("<+codebase.branch.endsWith('x')>", "false"),
        ("<+pipeline.variables.version.replace(\".\", \"-\")>", "1-2-3"),
        ("<+<+pipeline.variables.version>.replace(\"1\", \"<+matrix.repo>\")>", "docker.2.3"),
        ("<+pipeline.variables.version.replaceAll(\"(\\d)\\.\", \"$1_\")>", "1_2_3"),
        ("<+pipeline.variables.version.replaceFirst(\"\\.\", \"\")>", "12.3"),
        ("<+pipeline.variables.version.split(\"\\.\")[2]>", "3"),
        ("<+pipeline.variables.version.split(\"\\.\").size()>", "3"),
        ("<+pipeline.variables.version.substring(2)>", "2.3"),
        ("<+pipeline.variables.version.substring(0, 3)>", "1.2"),
        ("<+pipeline.variables.version.substring(0, 9)>", "ERR `substring`: position 9 is outside of 0..5"),
        ("<+pipeline.variables.version.indexOf(\"2\")>", "2"),
        ("<+pipeline.variables.version.lastIndexOf(\"x\")>", "-1"),
        ("<+pipeline.variables.version.charAt(0)>", "1"),
        ("<+pipeline.variables.version.length()>", "5"),
        ("<+pipeline.name.toLowerCase()>", "build it"),
        ("<+pipeline.name.toUpperCase().trim()>", "BUILD IT"),
        ("<+pipeline.name.concat(\"!\")>", "Build it!"),
        ("<+pipeline.variables.empty.isEmpty()>", "true"),
        ("<+pipeline.variables.user.matches(\"oct.\")>", "true"),
        ("<+pipeline.variables.user.equalsIgnoreCase(\"OCTO\")>", "true"),
        ("<+stage.variables.list.size()>", "3"),
        ("<+stage.variables.list.size>", "3"),
        ("<+stage.variables.list.join(\"-\")>", "a-b-c"),
        ("<+stage.variables.list.contains(\"b\")>", "true"),
        ("<+stage.variables.list.indexOf(\"c\")>", "2"),
        ("<+stage.variables.list.get(0)>", "a"),
        ("<+matrix.service.keySet()>", r#"["name","port"]"#),
        ("<+matrix.service.containsKey(\"name\")>", "true"),
        ("<+codebase.tag.startsWith(\"v\")>", "null"),
        ("<+pipeline.sequenceId.toString().length()>", "2"),
        ("<+size(stage.variables.list)>", "3"),
        ("<+empty(codebase.tag)>", "true"),
        (
            "<+json.select(\"a.b[1].c\", <+pipeline.stages.build.spec.execution.steps.v.output.outputVariables.JSON>)>",
            "deep",
        ),
        ("<+json.object(\"a\", \"{\\\"a\\\":{\\\"x\\\":1}}\").x>", "1"),
        ("<+json.format(matrix.service)>", r#"{"name":"web","port":80}"#),
        ("<+regex.extract(\"v(\\d+)\", \"v12\")>", "12"),
        (
            "<+json.select(\"$..a\", \"{}\")>",
            "ERR `$..a` is not a pattern that Kiln can follow: only names and positions are taken, no `*`, `..` or filters",
        ),
        ("<+regex.replace(\"o\", \"0\", \"foo\")>", "f00"),
    ]);
}

#[test]
fn secrets_and_inputs() {
    check_render(&[
        ("<+secrets.getValue(\"token\")>", "s3cret"),
        ("<+secrets.getValue('account.key')>", "k3y"),
        ("<+secrets.token>", "s3cret"),
        (
            "<+secrets.getValue(\"nope\")>",
            "ERR the secret `nope` was not given; pass it with `--secret nope=VALUE` or `--secret-file`",
        ),
        (
            "<+secrets.getVal(\"x\")>",
            "ERR `secrets.getVal` is not a function or method that Kiln knows; did you mean `secrets.getValue`?",
        ),
        ("<+input>", "ERR the value is an `<+input>` that was not given and has no default"),
        ("<+input>.default(main (a))", "main (a)"),
        ("<+input>.allowedValues(a,b).default(b)", "b"),
        ("<+input>.default(x).regex(^[(]+$)", "x"),
        ("<+input>.executionInput()", "ERR the value is an `<+input>` that was not given and has no default"),
        ("<+input>.txt", "ERR the value is an `<+input>` that was not given and has no default"),
        ("<+<+input>.contains(\"x\")>", "ERR the value is an `<+input>` that was not given and has no default"),
    ]);
    let scope = scope();
    let template = Template::parse("a <+secrets.getValue(\"token\")> b", &Location::default()).unwrap();
    assert_eq!(scope.secrets_used(), Vec::<String>::new());
    template.render(&scope).unwrap();
    assert_eq!(scope.secrets_used(), ["s3cret"]);
    assert_eq!(Template::secret("a\"b").secrets(), ["a\"b"]);
    assert_eq!(Template::secret("token").render(&scope).as_deref(), Ok("s3cret"));
    assert_eq!(Template::parse(Template::secret("a\"b").text(), &Location::default()), Ok(Template::secret("a\"b")));
}

#[test]
fn errors_name_the_place_and_the_way_out() {
    check_render(&[
        (
            "<+pipeline.variables.versoin>",
            "ERR `<+pipeline.variables.versoin>` names nothing here; did you mean `pipeline.variables.version`?",
        ),
        ("<+matix.repo>", "ERR `<+matix.repo>` names nothing here; did you mean `matrix.repo`?"),
        ("<+zzz>", "ERR `<+zzz>` names nothing here"),
        ("<+matrix.repo.foo>", "ERR `<+matrix.repo.foo>` names nothing here"),
        ("<+stage.variables.list[9]>", "ERR `stage.variables.list[9]`: position 9 is outside of 0..3"),
        ("<+stage.variables.list[-1]>", "ERR `stage.variables.list[…]`: position -1 is outside of 0..3"),
        ("<+matrix.repo[0]>", "ERR `matrix.repo[0]` needs a list and a number, or a map and got a text and a number"),
        (
            "<+matrix.repo.toUppercase()>",
            "ERR `toUppercase` is not a function or method that Kiln knows; did you mean `toUpperCase`?",
        ),
        ("<+matrix.repo.contains()>", "ERR `contains` needs one argument and got nothing"),
        ("<+matrix.repo.trim(1)>", "ERR `trim` needs no arguments and got a number"),
        ("<+1 / 0>", "ERR `/` needs a divisor that is not 0 and got 0"),
        ("<+matrix.go-version>", "ERR `<+matrix.go>` names nothing here; did you mean `matrix[\"go-version\"]`?"),
        ("<+matrix.repo - 1>", "ERR `-` needs two numbers and got a text and a number"),
        ("<+matrix.service < 1>", "ERR `<` needs two numbers or two texts and got a map and a number"),
        ("<+\"a\" =~ \"(\">", "ERR `(` is not a pattern that Kiln can follow: error: unclosed group"),
        (
            "<+fileStore.getAsString(\"/x\")>",
            "ERR `fileStore.getAsString` reads what only a Harness account holds; replace it with a variable",
        ),
        (
            "<+json.select(\"a\", \"nope\")>",
            "ERR `json.select` was given text that is not JSON: expected ident at line 1 column 2",
        ),
        ("<+\"x\".repeat(9999999)>", "ERR `repeat`: position 9999999 is outside of 0..4194304"),
        ("<+matrix.repo", "PARSE expression-syntax: `<+` is never closed by `>`"),
        ("<+matrix.repo b>", "PARSE expression-syntax: expected an operator or `>` in the expression, found `b`"),
        ("<+matrix..repo>", "PARSE expression-syntax: expected a name after `.` in the expression, found `.`"),
        ("<+(a>", "PARSE expression-syntax: expected `)` in the expression, found `>`"),
        ("<+a[1>", "PARSE expression-syntax: expected `]` in the expression, found `>`"),
        ("<+f(1 2)>", "PARSE expression-syntax: expected `,` or `)` in the expression, found `2`"),
        ("<+\"open>", "PARSE expression-syntax: the text that starts with \" is never closed"),
        ("<+a ? b>", "PARSE expression-syntax: expected `:` of the `? :` in the expression, found `>`"),
        ("<+new java.util.Date()>", "PARSE expression-java: `new` makes a Java object, and there is no Java here"),
        ("<+var x = 1; x>", "PARSE expression-script: `var` is not supported in an expression"),
        (
            "<+a = 1>",
            "PARSE expression-script: a script with assignments or several statements is not supported in an expression",
        ),
        ("<+a && >", "PARSE expression-syntax: expected a value in the expression, found `>`"),
        ("<+a.12b>", "ERR `<+a.12b>` names nothing here"),
    ]);
}

#[test]
fn conditions_are_one_expression() {
    let truth = |template: &Template, scope: &Scope| template.truthy(scope).map(|holds| holds.to_string());
    check(
        &[
            ("", "true"),
            ("  ", "true"),
            ("true", "true"),
            ("false", "false"),
            ("<+yes>", "true"),
            ("<+pipeline.variables.flag>", "true"),
            ("<+pipeline.variables.empty>", "false"),
            ("<+codebase.build.type> == \"branch\"", "true"),
            ("<+codebase.build.type> == \"tag\" || \"branch\"", "true"),
            ("<+codebase.build.type> == \"branch\" && <+codebase.branch> == 'main'", "true"),
            ("<+strategy.iteration> > 1", "true"),
            ("<+strategy.iteration>>1", "true"),
            ("<+stage.variables.list.size()>0>", "true"),
            ("!<+no>", "true"),
            ("(<+no>)", "false"),
            ("<+codebase.branch> =~ \"main|develop\"", "true"),
            ("<+trigger.branch> == \"main\"", "false"),
            ("<+codebase.branch>.startsWith(\"ma\")", "true"),
            ("codebase.branch == 'main'", "true"),
            ("main", "ERR `<+main>` names nothing here"),
            ("a b", "ERR `a b` is not an expression: expected an operator or the end in the expression, found `b`"),
        ],
        truth,
    );
    let condition = |text: &str| Template::condition(text, &Location::default());
    assert_eq!(condition("<+yes> && !<+no>").unwrap().truthy(&scope()), Ok(true));
    assert_eq!(condition("<+yes> &&").unwrap_err().code, "expression-syntax");
}

#[test]
fn what_a_template_refers_to() {
    let text = "<+a.b> <+secrets.getValue(\"s\")> <+c[\"d\"].e.f()> <+a.b> <+\"x<+g>\"> <+secrets.t.u> <+h.<+i>.j>";
    let template = Template::parse(text, &Location::default()).unwrap();
    let paths: Vec<String> = template.references().iter().map(Path::to_string).collect();
    assert_eq!(paths, ["a.b", "c.d.e", "g", "h", "i"]);
    assert_eq!(template.secrets(), ["s", "t.u"]);
    assert!(!template.inputs() && !template.is_literal());
    let input = |text| Template::parse(text, &Location::default()).unwrap().inputs();
    assert!(input("<+input>") && input("<+<+input>.trim()>") && !input("<+input>.default(1)") && !input("input"));
    assert!(Template::literal("<+a>").is_literal());
    assert_eq!(Template::literal("<+a>").render(&scope()).as_deref(), Ok("<+a>"));
}

#[test]
fn places_of_faults() {
    let at = |span: std::ops::Range<usize>, text: &str| {
        let found = Template::parse(text, &Location { line: 3, column: 10, span }).unwrap_err();
        (found.location.line, found.location.column, found.location.span)
    };
    // Plain, quoted, and written with escapes or as a block.
    assert_eq!(at(100..109, "é <+a b>"), (3, 16, 107..109));
    assert_eq!(at(100..111, "é <+a b>"), (3, 17, 108..110));
    assert_eq!(at(100..150, "é <+a b>"), (3, 10, 100..150));
    let message = |text: &str| Template::parse(text, &Location::default()).unwrap_err().message;
    assert_eq!(
        message("make\n  echo 0123456789 0123456789 <+a b> and so on\n"),
        "expected an operator or `>` in the expression, found `b`, in line 2 of the text: `6789 0123456789 <+a b> and so on`"
    );
    assert_eq!(at(100..109, "é\n<+a b>"), (3, 10, 100..109));
    // A block at column 10: each further line that is not empty has nine spaces before it.
    assert_eq!(at(100..132, "é\n\n <+a b>\nx\n"), (5, 15, 118..120));
    assert_eq!(at(100..120, "é\n <+a b>"), (4, 15, 117..119));
    assert_eq!(at(100..110, "é <+a b>"), (3, 16, 107..109));
    assert_eq!(at(100..137, "é\n\n <+a b>\nx\n"), (5, 15, 118..120));
    assert_eq!(at(100..141, "é\n\n <+a b>\nx\n"), (3, 10, 100..141));
}

#[test]
fn substitutions_of_drone() {
    let mut scope = scope();
    let names = [
        ("A", "abc.def/ghi.v1"),
        ("TAG", "v1.2.3"),
        ("SHA", "0123456789abcdef"),
        ("Q", "it's"),
        ("M", "hELLO"),
        ("NEGATIVE", "-2"),
        ("LINES", "a\n\n\"b\""),
    ];
    scope.set(&["drone"], Map::from_iter(names));
    scope.set(&["env", "DRONE_STAGE_NAME"], "build");
    scope.set(&["env", "OTHER"], "no");
    for (text, expected) in [
        ("plain $A $(x) {}", "plain $A $(x) {}"),
        ("a ${TAG} b ${TAG}", "a v1.2.3 b v1.2.3"),
        ("$${TAG} $$TAG $$$$", "${TAG} $TAG $$"),
        ("$${x=${TAG}}", "${x=v1.2.3}"),
        ("${SHA:0:8}", "01234567"),
        ("${SHA:12}", "cdef"),
        ("${SHA:99:2}", ""),
        ("${TAG##v}", "1.2.3"),
        ("${TAG#v*.}", "2.3"),
        ("${TAG##v*.}", "3"),
        ("${TAG%.*}", "v1.2"),
        ("${TAG%%.*}", "v1"),
        ("${A##*/}", "ghi.v1"),
        ("${A#?b}", "c.def/ghi.v1"),
        ("${A/./_}", "abc_def/ghi.v1"),
        ("${A//./_}", "abc_def/ghi_v1"),
        ("${A/\\//-}", "abc.def-ghi.v1"),
        ("${A/#abc/X}", "X.def/ghi.v1"),
        ("${A/%v1/X}", "abc.def/ghi.X"),
        ("${A/./}", "abcdef/ghi.v1"),
        ("${#TAG}", "6"),
        ("${M^} ${M^^} ${SHA,,} ${M,}", "HELLO HELLO 0123456789abcdef hELLO"),
        ("${NONE:-x} ${NONE=${TAG}-y} ${TAG:=z}", "x v1.2.3-y v1.2.3"),
        ("[${OTHER}${NONE}${DRONE_STAGE_NAME}]", "[build]"),
        ("${TAG:+x} ${NONE:+x} ${TAG:?x} ${NONE:?not there}", "v1.2.3 x v1.2.3 not there"),
        ("[${TAG-d}] [${NONE-d}]", "[] []"),
        ("${SHA:-3} ${SHA: -3} ${SHA:x} ${SHA:0:x}", &format!("{0} {0} {0} {0}", "0123456789abcdef")),
        ("${M:${NONE:=2}} ${SHA:${NEGATIVE}} ${SHA:${NEGATIVE}:2}", "LLO ef ef"),
        ("echo ${LINES} '${LINES}'", r#"echo "a\n\n\"b\"" '"a\n\n\"b\""'"#),
        ("${LINES}", "a\n\n\"b\""),
        ("${LINES:0:1}!", "a!"),
    ] {
        let template = Template::substituted(text, &Location::default()).unwrap();
        assert_eq!(template.render(&scope).as_deref(), Ok(expected), "{text}");
    }
    for text in ["${}", "${", "${A", "${A[@]}", "${!A}", "${A/b}", "${A?x}", "${A+x}", &"${A:-".repeat(100)] {
        assert_eq!(Template::substituted(text, &Location::default()).unwrap_err().code, "bad-substitution", "{text}");
    }
    let text = "${A:1} ${B}${A} ${C:-${D}} ${#E} ${F:+${G:?x}}";
    let template = Template::substituted(text, &Location::default()).unwrap();
    assert_eq!(template.emptied(), ["A", "B", "D"]);
    assert_eq!(template.unlike_shell(), [("F", InShell::Alternative), ("G", InShell::Failure)]);
    let without = Scope::new(Map::new());
    assert_eq!(template.render(&without).unwrap_err().to_string(), "`<+drone.A>` names nothing here");
}

#[test]
fn limits_hold() {
    let deep = |open: &str, close: &str| format!("<+{}1{}>", open.repeat(500), close.repeat(500));
    for text in [
        deep("(", ")"),
        deep("[", "]"),
        deep("<+", ">"),
        deep("!", ""),
        deep("-", ""),
        deep("a ? b : ", ""),
        format!("<+a{}>", ".b".repeat(500)),
        format!("<+a{}>", " + a".repeat(500)),
        format!("<+a{}>", "[0]".repeat(500)),
        format!("<+\"{}\">", "x".repeat(20_000)) + "<+a.b.c >",
        format!("<+f({})>", "a,".repeat(20_000)),
    ] {
        let parsed = Template::parse(&text, &Location::default());
        let shown = &text[..20];
        match parsed {
            Err(found) => assert_eq!(found.code, "expression-limit", "{shown}: {}", found.message),
            Ok(_) => panic!("{shown} parsed"),
        }
    }
}

#[test]
fn patterns_cost_more_than_other_operations() {
    let many = |count: usize| Template::parse(&"<+\"ab\" =~ \"a.\">".repeat(count), &Location::default()).unwrap();
    assert!(many(100).render(&scope()).is_ok());
    assert_eq!(many(1000).render(&scope()), Err(EvalError::Budget));
}

#[test]
fn json_keeps_the_order_and_the_numbers() {
    let mut map = Map::new();
    map.insert("z", 1.0);
    map.insert("a", Value::List(vec![Value::Null, 1.5.into(), "t\"".into()]));
    map.insert("z", 2.0);
    assert_eq!(Value::from(map.clone()).to_string(), r#"{"z":2,"a":[null,1.5,"t\""]}"#);
    let json = Value::from(map).to_json();
    assert_eq!(Value::from(json.clone()).to_json(), json);
}
