use kiln_wire::run::TestResult;
use proptest::prelude::*;

use super::*;

fn case(class: &str, name: &str, file: &str, ms: u64) -> kiln_wire::run::TestCase {
    kiln_wire::run::TestCase {
        class: class.into(),
        name: name.into(),
        file: file.into(),
        result: TestResult::Passed,
        flaky: false,
        duration: Some(Duration::from_millis(ms)),
        message: String::new(),
    }
}

fn times(cases: &[(&str, &str, &str, u64)]) -> Times {
    let mut times = Times::default();
    cases.iter().for_each(|(class, name, file, ms)| times.add(&case(class, name, file, *ms)));
    times
}

/// Compares the shares as text: names with blanks between them, shares with bars.
#[track_caller]
fn check(names: &str, by: By, times: &Times, total: usize, expect: &str) {
    let names: Vec<String> = names.split_whitespace().map(str::to_owned).collect();
    let shown = |split: Split| split.shares.iter().map(|share| share.names.join(" ")).collect::<Vec<_>>().join(" | ");
    assert_eq!(shown(split(&names, by, times, total)), expect);
    // Another machine may list the names in another order, but its share is the same.
    let mut other: Vec<String> = names.iter().rev().cloned().collect();
    other.rotate_left(names.len() / 3);
    let sorted = |split: Split| {
        split.shares.into_iter().map(|share| share.names.into_iter().collect::<BTreeSet<_>>()).collect::<Vec<_>>()
    };
    assert_eq!(sorted(split(&other, by, times, total)), sorted(split(&names, by, times, total)));
}

#[test]
fn by_count_shares_differ_by_one_test_at_most() {
    check("e d c b a", By::Count, &Times::default(), 2, "e c a | d b");
    check("a b", By::Count, &Times::default(), 3, "a | b | ");
    check("a a b", By::Count, &Times::default(), 1, "a b");
    check("", By::Count, &Times::default(), 2, " | ");
}

#[test]
fn by_time_the_heaviest_are_given_out_first() {
    let times = times(&[("", "a", "", 900), ("", "b", "", 500), ("", "c", "", 400), ("", "d", "", 100)]);
    check("a b c d", By::Time, &times, 2, "a d | b c");
    // An unknown test counts as the median, which is 500 ms.
    check("a b new c d", By::Time, &times, 2, "a c | b new d");
    check("x y z", By::Time, &times, 2, "x z | y");
}

#[test]
fn by_class_tests_of_one_class_stay_together() {
    let known = times(&[("com.x.FooTest", "Works", "", 10), ("com.x.BarTest", "b", "", 10)]);
    check(
        "com.x.FooTest.Works com.x.FooTest.Other com.x.BarTest.b",
        By::Class,
        &known,
        2,
        "com.x.FooTest.Works com.x.FooTest.Other | com.x.BarTest.b",
    );
    let none = Times::default();
    check("A#a B#a A#b A#c", By::Class, &none, 2, "A#a A#b A#c | B#a");
    check("t.py::X::a t.py::Y::b t.py::X::c", By::Class, &none, 2, "t.py::X::a t.py::X::c | t.py::Y::b");
    check("p.A.a p.B.b p.A.c(1.5)", By::Class, &none, 2, "p.A.a p.A.c(1.5) | p.B.b");
    check("spec/a_spec.rb spec/b_spec.rb", By::Class, &none, 2, "spec/a_spec.rb | spec/b_spec.rb");
    check("p.FooTest p.BarTest", By::Class, &none, 2, "p.BarTest | p.FooTest");
}

#[test]
fn a_time_is_found_by_test_class_and_file_as_tools_write_them() {
    let of = |cases: &[(&str, &str, &str, u64)], name: &str| times(cases).of(name).map(|time| time.as_millis());
    let pytest: &[_] = &[("tests.test_a.TestX", "test_m", "", 3), ("tests.test_a", "test_n[1.5]", "", 4)];
    assert_eq!(of(pytest, "tests/test_a.py::TestX::test_m"), Some(3));
    assert_eq!(of(pytest, "./tests/test_a.py"), Some(7));
    assert_eq!(of(pytest, "tests/test_a.py::TestX"), Some(3));
    assert_eq!(of(pytest, "tests/test_a.py::test_n[1.5]"), Some(4));
    let surefire: &[_] = &[("com.x.FooTest", "a", "", 5), ("com.x.FooTest", "b", "", 6)];
    assert_eq!(of(surefire, "com.x.FooTest"), Some(11));
    assert_eq!(of(surefire, "com.x.FooTest#b"), Some(6));
    assert_eq!(of(surefire, "src/test/java/com/x/FooTest.java"), Some(11));
    assert_eq!(of(surefire, "com.x.BarTest"), None);
    let rspec: &[_] = &[("spec.models.user_spec", "is valid", "./spec/models/user_spec.rb", 7)];
    assert_eq!(of(rspec, "spec/models/user_spec.rb"), Some(7));
    let jest: &[_] = &[("a suite", "works", "/harness/src/a.test.js", 8)];
    assert_eq!(of(jest, "src/a.test.js"), Some(8));
    assert_eq!(of(jest, "src\\a.test.js"), Some(8));
    let dotnet: &[_] = &[("Calc.AdderTests", "Adds(a: 1)", "", 9)];
    assert_eq!(of(dotnet, "Calc.AdderTests.Adds(a: 1)"), Some(9));
    assert_eq!(of(&[("", "alone", "", 2)], "alone"), Some(2));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    /// No test is lost or run twice, and no share is far above the others.
    #[test]
    fn every_test_is_in_one_share_and_shares_are_even(
        weights in prop::collection::vec(1_u64..1000, 0..60),
        total in 1_usize..9,
    ) {
        let names: Vec<String> = (0..weights.len()).map(|n| format!("t{n}")).collect();
        let mut times = Times::default();
        names.iter().zip(&weights).for_each(|(name, ms)| times.add(&case("", name, "", *ms)));
        for by in [By::Time, By::Class, By::Count] {
            let split = split(&names, by, &times, total);
            prop_assert_eq!(split.shares.len(), total);
            let mut all: Vec<&String> = split.shares.iter().flat_map(|share| &share.names).collect();
            all.sort_unstable();
            let mut expect: Vec<&String> = names.iter().collect();
            expect.sort_unstable();
            prop_assert_eq!(all, expect);
            let counts = split.shares.iter().map(|share| share.names.len());
            if by == By::Count {
                prop_assert!(counts.clone().max() <= counts.min().map(|least| least + 1));
            } else {
                // A share gets its last test while it is the lightest.
                let heaviest = weights.iter().max().copied().unwrap_or_default();
                let (sum, most) = (weights.iter().sum::<u64>(), split.shares.iter().map(|share| share.expected).max());
                prop_assert!(most <= Some(Duration::from_millis(sum / total as u64 + heaviest + 1)));
            }
        }
    }
}
