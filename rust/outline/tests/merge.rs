//! Merges: what is resolved, what is a conflict, and what holds for any three texts.

use proptest::prelude::*;
use sparecall_outline::merge::{By, Merged, Reason};
use sparecall_outline::{Language, Parser};

fn merge(base: &str, ours: &str, theirs: &str) -> Merged {
    Parser::new().merge(base, ours, theirs, Language::Python).expect("short texts merge")
}

/// The text of a clean merge, which is the same with the sides exchanged.
fn clean(base: &str, ours: &str, theirs: &str, by: By) -> String {
    let merged = merge(base, ours, theirs);
    assert_eq!((merged.by, &merged.conflicts), (by, &vec![]), "{}", merged.marked("ours", None, "theirs"));
    assert_eq!(merge(base, theirs, ours).text(), merged.text());
    merged.text().expect("a merge without conflicts has a text").to_owned()
}

fn reasons(base: &str, ours: &str, theirs: &str) -> Vec<(Reason, String)> {
    let found = |merged: &Merged| {
        assert_eq!((merged.by, merged.text()), (By::None, None));
        merged.conflicts.iter().map(|conflict| (conflict.reason, conflict.symbol.clone())).collect::<Vec<_>>()
    };
    let (one, other) = (merge(base, ours, theirs), merge(base, theirs, ours));
    assert_eq!(found(&one), found(&other));
    found(&one)
}

const BASE: &str = "import os\n\n\ndef one():\n    return 1\n\n\ndef two():\n    return 2\n";

#[test]
fn functions_that_both_add_at_one_place_stand_beside_each_other() {
    let with = |name: &str| format!("{BASE}\n\ndef {name}():\n    return 0\n");
    let merged = clean(BASE, &with("ours"), &with("theirs"), By::Symbols);
    assert_eq!(merged, format!("{BASE}\n\ndef ours():\n    return 0\n\n\ndef theirs():\n    return 0\n"));
}

#[test]
fn methods_that_both_add_first_are_parted_by_a_blank_line() {
    let with = |name: &str| {
        format!("class A:\n    def {name}(self):\n        return 0\n\n    def last(self):\n        return 9\n")
    };
    let base = "class A:\n    def last(self):\n        return 9\n";
    let merged = clean(base, &with("one"), &with("two"), By::Symbols);
    let one = "class A:\n    def one(self):\n        return 0\n\n    def two(self):\n        return 0\n\n    def last(self):\n        return 9\n";
    assert_eq!(merged, one);
}

#[test]
fn what_one_side_moves_the_other_may_change() {
    let moved = "import os\n\n\ndef two():\n    return 2\n\n\ndef one():\n    return 1\n";
    let changed = BASE.replace("return 1", "return 11");
    assert_eq!(clean(BASE, moved, &changed, By::Symbols), moved.replace("return 1", "return 11"));
}

#[test]
fn imports_are_sets() {
    for (base, ours, theirs, merged) in [
        ("import os\n", "import ast\nimport os\n", "import abc\nimport os\n", "import abc\nimport ast\nimport os\n"),
        (
            "'''Doc.'''\n\nimport os\n",
            "'''Doc.'''\n\nimport ast\nimport os\n",
            "'''Doc.'''\n\nimport abc\nimport os\n",
            "'''Doc.'''\n\nimport abc\nimport ast\nimport os\n",
        ),
        ("from a import b\n", "from a import b, c\n", "from a import b, d\n", "from a import b, c, d\n"),
        ("from a import b, c\n", "from a import c\n", "from a import b, c, d\n", "from a import c, d\n"),
        (
            "from a import (\n    b,\n)\n",
            "from a import (\n    b,\n    d,\n)\n",
            "from a import (\n    b,\n    c,\n)\n",
            "from a import (\n    b,\n    c,\n    d,\n)\n",
        ),
        (
            "__all__ = [\"one\"]\n",
            "__all__ = [\"one\", \"two\"]\n",
            "__all__ = [\"four\", \"one\"]\n",
            "__all__ = [\"four\", \"one\", \"two\"]\n",
        ),
    ] {
        assert_eq!(clean(base, ours, theirs, By::Symbols), merged);
    }
    let parser = &mut Parser::new();
    for (language, base, ours, theirs, merged) in [
        (Language::Rust, "use a::b;\n", "use a::{b, d};\n", "use a::{b, c};\n", "use a::{b, c, d};\n"),
        (
            Language::TypeScript,
            "import { a } from \"x\";\n",
            "import { a, c } from \"x\";\n",
            "import { a, b } from \"x\";\n",
            "import { a, b, c } from \"x\";\n",
        ),
        (
            Language::Go,
            "package p\n\nimport (\n\t\"a\"\n)\n",
            "package p\n\nimport (\n\t\"a\"\n\t\"c\"\n)\n",
            "package p\n\nimport (\n\t\"a\"\n\t\"b\"\n)\n",
            "package p\n\nimport (\n\t\"a\"\n\t\"b\"\n\t\"c\"\n)\n",
        ),
    ] {
        let found = parser.merge(base, ours, theirs, language).expect("short texts merge");
        assert_eq!(found.text(), Some(merged), "{}", found.marked("ours", None, "theirs"));
    }
}

#[test]
fn nothing_is_guessed() {
    let changed = |value: &str| BASE.replace("return 1", value);
    assert_eq!(reasons(BASE, &changed("return 3"), &changed("return 4")), [(Reason::BothChanged, "one".into())]);
    let without = BASE.replace("def one():\n    return 1\n\n\n", "");
    assert_eq!(reasons(BASE, &without, &changed("return 3"))[0].1, "one");
    assert_eq!(reasons("x = 1\n", "x = 2\n", "x = 3\n"), [(Reason::BothChanged, "x".into())]);
    assert_eq!(reasons("from a import b\n", "from a import c\n", "from a import d\n").len(), 1);
    // New names for one thing.
    assert_eq!(reasons(BASE, &BASE.replace("one", "uno"), &BASE.replace("one", "eins")).len(), 1);
}

#[test]
fn lines_that_merge_are_no_merge_where_a_symbol_is_lost() {
    let three = "\n\ndef three():\n    return 3\n";
    // Both add one name, far apart: each by a text of its own, or by the same.
    let (ours, theirs) =
        (format!("{BASE}{three}"), BASE.replacen("\n\n\ndef one", &format!("\n{three}\n\ndef one"), 1));
    assert_eq!(clean(BASE, &ours, &theirs, By::Symbols).matches("def three").count(), 1);
    let other = theirs.replace("return 3", "return 33");
    let found = reasons(BASE, &ours, &other);
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].1, "three");
    // A new name on one side, a new body on the other: which name is the body's?
    let long = "def long():\n    a = 1\n    b = 2\n    c = 3\n    return a, b, c\n";
    assert_eq!(reasons(long, &long.replace("long", "longer"), &long.replace("c = 3", "c = 4")).len(), 1);
}

#[test]
fn what_both_change_in_lines_apart_is_named() {
    let base = "def f():\n    a = 1\n    b = 2\n    c = 3\n    return a, b, c\n";
    let merged = merge(base, &base.replace("a = 1", "a = 5"), &base.replace("c = 3", "c = 7"));
    assert_eq!(merged.text(), Some("def f():\n    a = 5\n    b = 2\n    c = 7\n    return a, b, c\n"));
    assert_eq!(merged.combined, ["f"]);
}

#[test]
fn line_endings_and_the_end_of_the_last_line_are_merged_too() {
    let crlf = |text: &str| text.replace('\n', "\r\n");
    let (ours, theirs) = (BASE.replace("return 1", "return 5"), BASE.replace("return 2", "return 6"));
    let both = ours.replace("return 2", "return 6");
    let text = |base: &str, ours: &str, theirs: &str| merge(base, ours, theirs).text().map(str::to_owned);
    assert_eq!(text(&crlf(BASE), &crlf(&ours), &crlf(&theirs)), Some(crlf(&both)));
    assert_eq!(text(BASE, &crlf(&ours), &theirs), Some(crlf(&both)));
    assert_eq!(text(&crlf(BASE), &crlf(&ours), &theirs), Some(both.clone()));
    assert_eq!(text(BASE, &ours, theirs.trim_end()), Some(both.trim_end().to_owned()));
    assert_eq!(text(BASE.trim_end(), ours.trim_end(), theirs.trim_end()), Some(both.trim_end().to_owned()));
    let marked = merge(&crlf("x = 1\n"), &crlf("x = 2\n"), &crlf("x = 3\n")).marked("a", Some("b"), "c");
    assert_eq!(marked, crlf("<<<<<<< a\nx = 2\n||||||| b\nx = 1\n=======\nx = 3\n>>>>>>> c\n"));
}

#[test]
fn half_typed_code_merges_where_it_gets_no_worse() {
    let half = BASE.replace("def two():", "def two(");
    let merged = merge(BASE, &half, &BASE.replace("return 1", "return 5"));
    assert_eq!(merged.text(), Some(&*half.replace("return 1", "return 5")));
}

fn part() -> impl Strategy<Value = String> {
    let body = prop::sample::select(vec!["return 1", "return 2", "pass", "x = (", "'''", "\"\\0\"", "return \"é\""]);
    let name = prop::sample::select(vec!["a", "b", "c", "d"]);
    (name, body, 0..6_u8).prop_map(|(name, body, kind)| match kind {
        0 => format!("import {name}\n"),
        1 => format!("from m import {name}, z\n"),
        2 => format!("# {name}\n\n"),
        3 => format!("{name} = 1\n"),
        4 => format!("\n\nclass {name}:\n    def m(self):\n        {body}\n\n    def {name}(self):\n        {body}\n"),
        _ => format!("\n\ndef {name}():\n    {body}\n"),
    })
}

fn source() -> impl Strategy<Value = String> {
    (prop::collection::vec(part(), 0..6), any::<bool>(), any::<bool>()).prop_map(|(parts, ends, crlf)| {
        let text = parts.concat();
        let text = if ends { text } else { text.trim_end().to_owned() };
        if crlf { text.replace('\n', "\r\n") } else { text }
    })
}

fn errors(text: &str) -> bool {
    sparecall_outline::outline(text, Language::Python).expect("short texts parse").has_errors
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(debug_assertions) { 400 } else { 20_000 }))]

    /// Either side alone is the merge; exchanged sides give the same; a clean merge of clean sides is clean and has both sides' new names.
    #[test]
    fn any_three(base in source(), ours in source(), theirs in source()) {
        for alone in [merge(&base, &ours, &base), merge(&base, &base, &ours), merge(&base, &ours, &ours)] {
            prop_assert_eq!(alone.text(), Some(&*ours));
        }
        let (one, other) = (merge(&base, &ours, &theirs), merge(&base, &theirs, &ours));
        prop_assert_eq!(one.text(), other.text());
        prop_assert_eq!(one.text().is_none(), !one.conflicts.is_empty());
        let Some(text) = one.text() else {
            for conflict in &one.conflicts {
                for (excerpt, whole) in [(&conflict.base, &base), (&conflict.ours, &ours), (&conflict.theirs, &theirs)] {
                    let lines: Vec<&str> = whole.lines().collect();
                    let range = excerpt.lines.clone().unwrap_or_default();
                    prop_assert_eq!(excerpt.text.lines().collect::<Vec<_>>(), lines.get(range).unwrap_or_default());
                }
            }
            return Ok(());
        };
        prop_assert!(!errors(text) || errors(&ours) || errors(&theirs));
        for name in ["def a", "def b", "class a", "class b"] {
            let has = |text: &str| text.contains(name);
            prop_assert!(has(text) || has(&base) || !(has(&ours) || has(&theirs)), "{}", name);
        }
    }
}
