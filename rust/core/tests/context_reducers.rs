//! Any text of any kind, at any budget: what is left fits and is no larger, what is missing is named, and nothing is made up.
//!
//! What is read is text: corpora of each kind (`rust/fuzz/corpus/context`) are replayed here, and fuzzed by the target of that name.

use std::fmt::Write as _;
use std::path::Path;

use proptest::collection::vec;
use proptest::prelude::*;
use sparecall_core::context::{Board, Document, Item, Kind, Lines, Options, Reading, reduce, render, select, write};
use sparecall_core::tokens::{Encoding, Scratch};

fn o200k() -> &'static Encoding {
    Encoding::by_name("o200k_base").expect("it is shipped")
}

fn document(text: &str, kind: Option<Kind>) -> Document {
    let reading = Reading { may_be_compact: kind.is_none(), kind, lines: None };
    Document::read(text, o200k().count(text), reading, o200k(), &mut Scratch::default())
}

/// What holds for every text, kind and budget; what is left of it.
fn check(text: &str, kind: Option<Kind>, budget: u32, query: &str) -> String {
    let document = document(text, kind);
    let mut scratch = Scratch::default();
    let all = render(&document, &[(0, document.len() as u32)]);
    assert_eq!(all, if document.is_empty() { "" } else { document.text() }, "cut into itself");
    if let Some(bare) = document.without_data() {
        assert!(o200k().count(&bare) < document.tokens() as usize, "{bare}\nof\n{}", document.text());
    }
    let mut last = None;
    for handle in ["", "h:fedcba9876543210"] {
        let reduced = reduce(&document, budget, query, handle, o200k(), &mut scratch);
        assert_eq!(reduced, reduce(&document, budget, query, handle, o200k(), &mut Scratch::default()));
        let tokens = o200k().count(&reduced.text);
        assert!(tokens <= budget.min(document.tokens()) as usize, "{tokens} of {budget}");
        if reduced.removed.is_empty() {
            assert_eq!(reduced.text, document.text());
        } else if !handle.is_empty() && !reduced.text.is_empty() {
            assert_eq!(reduced.text.matches(handle).count(), 1, "{}", reduced.text);
        }
        // Every piece stands in the text, in order, so that nothing is named that was not there.
        let mut rest = document.text();
        for piece in &reduced.removed {
            let at = rest.find(piece.as_str()).expect("a piece of the text");
            rest = &rest[at + piece.len()..];
        }
        let removed: usize = reduced.removed.iter().map(String::len).sum();
        // What is neither removed nor there is in what stands for it.
        assert!(removed + reduced.text.len() >= document.text().len(), "{removed} and {:?}", reduced.text);
        if handle.is_empty() {
            last = Some(reduced.text);
        }
    }
    last.unwrap_or_default()
}

fn kinds() -> impl Strategy<Value = Option<Kind>> {
    let named = ["json", "diff", "test", "log", "code", "data", "prose"].map(Kind::by_name);
    prop_oneof![3 => Just(None), 2 => proptest::sample::select(named.to_vec())]
}

/// A line of some kind of text, or one that imitates what is written here.
fn line() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => "[0-2][0-9]:[0-5][0-9]:[0-5][0-9] (INFO|WARN|ERROR) [a-z]{3,8} (id=[0-9]{1,4}|took [0-9]{2}ms)",
        2 => "tests/[a-c]\\.py::[a-d]{1,3} (PASSED|FAILED)",
        2 => "[ +-][a-z]{0,6} = [0-9]{0,3};",
        1 => "@@ -[1-9],3 \\+[1-9],3 @@",
        1 => "[A-Za-z0-9+/]{60,300}={0,2}",
        1 => "([0-9a-f]{2}){140,200}",
        1 => "data:(image/png)?;base64,[A-Za-z0-9+/]{250,300}",
        1 => Just("[… 12 lines]".to_owned()),
        1 => Just("[base64 image/png, 450 bytes, blake3 0123456789ab]".to_owned()),
        1 => Just("  x [×12]".to_owned()),
        1 => "[^\\n]{0,24}",
        1 => "[a-z ,.]{0,260}",
    ]
}

proptest! {
    #[test]
    fn what_is_left_fits_and_what_is_missing_is_named(
        lines in vec(line(), 0..40), kind in kinds(), budget in 0_u32..400, query in "[a-z0-9 ]{0,12}", ends in any::<bool>(),
    ) {
        let text = lines.join("\n") + if ends { "\n" } else { "" };
        check(&text, kind, budget, &query);
    }

    #[test]
    fn every_error_of_a_log_stays_where_they_fit(
        infos in vec((0_u32..86_400, 0_u32..4, 0_u32..1_000), 30..120), errors in vec("[a-z]{4,9} [0-9]{3}", 1..6),
    ) {
        let mut lines: Vec<String> = infos
            .iter()
            .map(|(at, shape, number)| {
                let verbs = ["GET /health took", "cache held", "user came:", "worker idle for"];
                format!("{:02}:{:02}:{:02} INFO {} {number}", at / 3_600, at / 60 % 60, at % 60, verbs[*shape as usize])
            })
            .collect();
        let spread = lines.len() / errors.len();
        for (at, error) in errors.iter().enumerate() {
            lines.insert(at * spread, format!("12:00:00 ERROR {error} is gone"));
        }
        let text = lines.join("\n");
        // The errors, the first and last of each template, and their gaps.
        let left = check(&text, None, 30 * (errors.len() as u32 + 10), "");
        for error in &errors {
            prop_assert!(left.contains(&format!("ERROR {error} is gone")), "{error} in\n{left}");
        }
        for verb in ["GET /health took", "cache held", "user came:", "worker idle for"] {
            let of_it: Vec<&String> = lines.iter().filter(|line| line.contains(verb)).collect();
            if of_it.len() > 2 {
                let counted = format!("{} [×{}]\n", of_it[0], of_it.len());
                let is_all = of_it.iter().all(|line| left.contains(line.as_str()));
                prop_assert!(left.contains(&counted) || is_all, "{counted} in\n{left}");
                prop_assert!(left.contains(of_it[of_it.len() - 1]));
            }
        }
    }

    #[test]
    fn a_value_that_is_asked_for_keeps_its_row(rows in 20_usize..60, wanted in 0_usize..20, budget in 120_u32..300) {
        let row = |at: usize| serde_json::json!({"flight": format!("HAT{:03}", at * 7 % 400), "price": 100 + at % 5, "gate": format!("g{at}")});
        let text = serde_json::to_string(&(0..rows).map(row).collect::<Vec<_>>()).expect("JSON");
        let left = check(&text, None, budget, &format!("book HAT{:03} now", wanted * 7 % 400));
        prop_assert!(left.contains(&format!("HAT{:03}|", wanted * 7 % 400)), "{left}");
        prop_assert!(left.starts_with(&format!("[{rows} rows]\nflight|gate|price\n")), "{left}");
    }

    #[test]
    fn what_is_said_to_stand_below_stands_there(
        older in vec("[a-d]{1,2} is a line of some length", 4..20), changed in vec((0_usize..20, "[e-h]{3}"), 0..4), budget in 20_u32..300,
    ) {
        let mut newer = older.clone();
        for (at, line) in changed {
            let at = at % newer.len();
            newer[at] = line;
        }
        let texts = [older.join("\n"), newer.join("\n")];
        let documents = texts.each_ref().map(|text| document(text, Some(Kind::Prose)));
        let items: Vec<Item<'_>> = documents
            .iter()
            .enumerate()
            .map(|(at, document)| Item { document, atom: at as u32, is_fixed: false, weight: 1.0 })
            .collect();
        let mut board = Board::default();
        let choice = select(&items, &[4, 4], "", None, &Options { budget, ..Options::default() }, &mut board);
        let written = write(&items, &choice, budget, &[], &board);
        let of = |at: usize| match &written[at] {
            None => String::new(),
            Some(None) => texts[at].clone(),
            Some(Some(text)) => text.clone(),
        };
        prop_assert!(!of(1).contains("as below"), "nothing is below the last");
        let mut at = 0;
        for line in of(0).lines() {
            if let Some(count) = line.strip_prefix("[… ").and_then(|line| line.split(' ').next()).and_then(|count| count.parse::<usize>().ok()) {
                if line.contains("as below") {
                    let missing = older[at..at + count].join("\n");
                    prop_assert!(of(1).contains(&missing), "{missing}\nnot in\n{}", of(1));
                }
                at += count;
            } else {
                at += 1;
            }
        }
    }
}

#[test]
fn the_texts_of_the_fuzz_corpus_are_cut_and_named() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus/context");
    let mut seen = 0;
    for entry in std::fs::read_dir(folder).expect("the corpus is committed") {
        let path = entry.expect("an entry").path();
        let bytes = std::fs::read(&path).expect("readable");
        let text = String::from_utf8_lossy(&bytes);
        let name =
            path.file_name().and_then(|name| name.to_str()).and_then(|name| name.split('_').next()).unwrap_or("");
        let tokens = document(&text, None).tokens();
        for kind in [None, Kind::by_name(name)] {
            for budget in [1, 5, 20, tokens / 2, tokens] {
                check(&text, kind, budget, "id 7");
            }
        }
        seen += 1;
    }
    assert!(seen >= 12, "{seen} texts");
}

#[test]
fn bytes_give_way_to_what_they_are() {
    let mut x = 1_u32;
    let letters = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    let bytes: String = (0..900)
        .map(|_| {
            x = x.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            char::from(letters[(x >> 16) as usize % letters.len()])
        })
        .collect();
    let text = format!("The picture is {bytes} and that was it.\nNothing else.\n");
    let left = check(&text, None, 60, "");
    assert!(
        left.starts_with("The picture is [base64, 675 bytes, blake3 ")
            && left.ends_with("that was it.\nNothing else.\n"),
        "{left}"
    );
    assert_eq!(document(&text, None).without_data(), None, "few bytes may be a token that is used");
    let many = text.replace(&bytes, &bytes.repeat(3));
    let bare = document(&many, None).without_data().expect("they are many");
    assert!(bare.starts_with("The picture is [base64, 2025 bytes, "), "{bare}");
}

#[test]
fn a_table_keeps_its_head_its_ends_and_what_is_odd() {
    let row = |at: usize| serde_json::json!({"name": format!("host{at}"), "ms": if at == 33 { 90_000 } else { 10 + at % 4 }, "state": if at == 51 { "down" } else { "up" }});
    let text = serde_json::to_string(&(0..80).map(row).collect::<Vec<_>>()).expect("JSON");
    let left = check(&text, None, 90, "");
    for line in ["[80 rows]", "ms|name|state", "10|host0|up", "90000|host33|up", "13|host51|down", "13|host79|up"] {
        assert!(left.lines().any(|one| one == line), "{line} in\n{left}");
    }
}

#[test]
fn of_a_diff_the_changes_stay() {
    let mut text = "diff --git a/x.py b/x.py\n--- a/x.py\n+++ b/x.py\n".to_owned();
    for hunk in 0..6 {
        let _ = writeln!(text, "@@ -{0},21 +{0},21 @@ def f{hunk}():", hunk * 40 + 1);
        for line in 0..20 {
            let _ = writeln!(text, "     context_{hunk}_{line} = call_{line}(argument, other)");
        }
        let _ = writeln!(text, "-    old_{hunk} = 1\n+    new_{hunk} = 2");
    }
    let left = check(&text, None, 300, "");
    for line in text.lines().filter(|line| !line.starts_with(' ')) {
        assert!(left.contains(line), "{line} in\n{left}");
    }
}

#[test]
fn of_tests_the_failures_and_the_summary_stay() {
    let mut text = "===== test session starts =====\n".to_owned();
    for at in 0..200 {
        let _ = writeln!(text, "tests/test_a.py::test_{at} {}", if at == 77 { "FAILED" } else { "PASSED" });
    }
    text += "___ test_77 ___\n    def test_77():\n>       assert f(3) == 4\nE       assert 5 == 4\nFAILED tests/test_a.py::test_77 - assert 5 == 4\n===== 1 failed, 199 passed in 0.3s =====\n";
    let left = check(&text, None, 150, "");
    for line in [
        "test_77 FAILED",
        ">       assert f(3) == 4",
        "E       assert 5 == 4",
        "FAILED tests/test_a.py::test_77",
        "1 failed, 199 passed",
        "test_0 PASSED [×",
    ] {
        assert!(left.contains(line), "{line} in\n{left}");
    }
}

#[test]
fn who_says_which_lines_matter_is_heard() {
    let text = (0..40).map(|at| format!("line {at} of a program")).collect::<Vec<_>>().join("\n");
    let mut worth = [0.0_f32; 40];
    worth[17] = 3.0;
    let reading = Reading { may_be_compact: false, kind: None, lines: Some(Lines { worth: &worth, owners: &[] }) };
    let document = Document::read(&text, o200k().count(&text), reading, o200k(), &mut Scratch::default());
    let left = reduce(&document, 24, "", "", o200k(), &mut Scratch::default()).text;
    assert!(left.contains("line 17 of a program"), "{left}");
}
