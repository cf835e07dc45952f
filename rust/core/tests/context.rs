//! The compact form read back is the document; pointers read back are the text; a choice keeps within its budget.

mod context_form;

use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::Value;
use sparecall_core::context::{Board, Document, Item, MARKER, Options, Repeats, commands, compact, render, select};
use sparecall_core::tokens::{Encoding, Scratch};

fn o200k() -> &'static Encoding {
    Encoding::by_name("o200k_base").expect("it is shipped")
}

fn scalar() -> impl Strategy<Value = Value> + Clone {
    let text = prop_oneof![
        "[a-zA-Z0-9_@./:-]{0,12}",
        "[ ,:|{}\\[\\]\"\\\\a-z0-9-]{0,10}",
        Just("true".to_owned()),
        Just("12".to_owned()),
        Just("-0.5e3".to_owned()),
        Just("2024-05-20".to_owned()),
        Just("a, b: c".to_owned()),
        "\\PC{0,8}",
    ];
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<i32>().prop_map(|number| Value::from(f64::from(number) / 8.0)),
        text.prop_map(Value::from),
    ]
}

fn rows() -> impl Strategy<Value = Value> {
    let row = ("[A-Z]{3}[0-9]{3}", any::<u8>(), scalar()).prop_map(|(id, number, other)| {
        serde_json::json!({"id": id, "price": {"low": number, "high": other}, "status": "available"})
    });
    prop_oneof![
        vec(row.clone(), 0..6).prop_map(Value::from),
        vec(vec(row, 0..3).prop_map(Value::from), 0..4).prop_map(Value::from),
    ]
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![3 => scalar(), 1 => rows()];
    leaf.prop_recursive(4, 40, 5, |inner| {
        let key = prop_oneof!["[a-z_]{1,8}", "[ -~]{0,6}", Just("a.b".to_owned()), Just("-x".to_owned())];
        prop_oneof![
            vec(inner.clone(), 0..5).prop_map(Value::from),
            proptest::collection::btree_map(key, inner, 0..5)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn what_is_compact_is_the_same_document(value in value(), pretty in any::<bool>()) {
        let text = if pretty { serde_json::to_string_pretty(&value) } else { serde_json::to_string(&value) }.expect("it is JSON");
        if let Some(short) = compact(&text) {
            let back = context_form::json_of(&short);
            let back: Value = serde_json::from_str(&back).unwrap_or_else(|error| panic!("{error} in\n{back}\nof\n{short}"));
            prop_assert_eq!(back, value, "{}", short);
        } else {
            // Nothing to gain, or nothing this form can hold.
            prop_assert!(!value.is_object() || value.as_object().is_some_and(serde_json::Map::is_empty) || text.contains('|') || holds_empty(&value), "{}", text);
        }
    }

    #[test]
    fn any_text_is_taken_and_cut_into_itself(text in "\\PC{0,300}|([a-z0-9 .,:\n]{0,40}\n){0,30}") {
        let document = Document::new(&text, true, o200k(), &mut Scratch::default());
        prop_assert_eq!(render(&document, &[(0, document.len() as u32)]), document.text());
        if !document.is_compact() {
            prop_assert_eq!(document.text(), &text);
        }
        let _ = compact(&text);
    }

    #[test]
    fn pointers_read_back_are_the_text(texts in vec(vec("[a-c]{1,2}( some longer words that repeat here)?", 0..14), 1..6), numbered in any::<bool>()) {
        let mut repeats = Repeats::default();
        let mut scratch = Scratch::default();
        let mut above: Vec<String> = Vec::new();
        for lines in &texts {
            let number = |(at, line): (usize, &String)| if numbered { format!("{}:{line}\n", at + 7) } else { format!("{line}\n") };
            let text: String = lines.iter().enumerate().map(number).collect();
            let short = repeats.push(&text, o200k(), &mut scratch);
            if let Some(short) = &short {
                prop_assert!(o200k().count(short) < o200k().count(&text));
                prop_assert!(context_form::is_text_with_pointers(short, &text, &above), "{short}\nof\n{text}");
            }
            above.push(text);
        }
    }

    #[test]
    fn a_choice_keeps_within_its_budget(
        texts in vec(("([a-z]{1,9} ?){0,30}|([A-Z]{3}[0-9]{3} [a-z ]{0,20}\n){0,12}", any::<bool>(), any::<bool>()), 1..12),
        costs in vec(0_u32..30, 12),
        budget in 0_u32..200,
        whole in prop_oneof![Just(0_u32), Just(50)],
        query in "[a-z ]{0,20}",
    ) {
        let mut scratch = Scratch::default();
        let documents: Vec<Document> = texts.iter().map(|(text, _, _)| Document::new(text, true, o200k(), &mut scratch)).collect();
        let mut atom = 0;
        let mut items = Vec::new();
        for (at, document) in documents.iter().enumerate() {
            atom += u32::from(at > 0 && texts[at].1);
            items.push(Item { document, atom, is_fixed: texts[at].2, weight: 1.0 });
        }
        let costs = &costs[..=atom as usize];
        let options = Options { budget, whole, ..Options::default() };
        let similar: Vec<f32> = (0..items.len()).map(|at| at as f32 * 0.1).collect();
        let choice = select(&items, costs, &query, Some(&similar), &options, &mut Board::default());
        prop_assert_eq!(&choice, &select(&items, costs, &query, Some(&similar), &options, &mut Board::default()));
        prop_assert!(choice.tokens <= budget);
        // The price is that of what is kept: atoms, segments, and a mark for each gap.
        let mut price = 0_u64;
        let mut open = vec![None; costs.len()];
        for (item, kept) in items.iter().zip(&choice.kept) {
            let is_open = kept.is_some();
            prop_assert_eq!(*open[item.atom as usize].get_or_insert(is_open), is_open, "an atom stays or goes as one");
            let Some(kept) = kept else { continue };
            let all = item.document.len() as u32;
            prop_assert!(kept.windows(2).all(|pair| pair[0].1 < pair[1].0) && kept.iter().all(|&(start, end)| start < end && end <= all));
            let text = render(item.document, kept);
            if item.is_fixed {
                prop_assert_eq!(text, item.document.text());
            } else {
                // As a sum of parts, and so at least what the whole has.
                price += u64::from(o200k().count(&text).saturating_sub(kept.len() * MARKER as usize) as u32);
            }
        }
        price += costs.iter().zip(&open).filter(|(_, open)| **open == Some(true)).map(|(cost, _)| u64::from(*cost)).sum::<u64>();
        prop_assert!(price <= u64::from(budget) + 8, "{price} of {budget}");
    }
}

proptest! {
    #[test]
    fn a_board_that_has_seen_others_is_as_good_as_a_new_one(
        texts in vec("(([a-e]{1,3}[0-9]? ){0,6}\n){0,6}", 1..9),
        turns in vec((vec((any::<prop::sample::Index>(), any::<bool>()), 0..12), 0_usize..12, 0_u32..90, any::<bool>()), 1..8),
    ) {
        let mut scratch = Scratch::default();
        let documents: Vec<Document> = texts.iter().map(|text| Document::new(text, false, o200k(), &mut scratch)).collect();
        let mut board = Board::default();
        let mut before: Vec<(usize, bool)> = Vec::new();
        for (new, kept, budget, is_asked) in turns {
            // A turn begins as the last one did, and goes on in its own way.
            before.truncate(kept);
            let same = before.len().min(board.len());
            before.extend(new.iter().map(|(at, is_fixed)| (at.index(documents.len()), *is_fixed)));
            let items: Vec<Item<'_>> = before
                .iter()
                .enumerate()
                .map(|(at, &(document, is_fixed))| Item { document: &documents[document], atom: at as u32 / 2, is_fixed, weight: 1.0 })
                .collect();
            let costs = vec![3; before.len().div_ceil(2)];
            let (relevance, whole) = if is_asked { (5.0, 40) } else { (0.2, 0) };
            let options = Options { budget, relevance, whole, crowd: 4.0, commands: commands("abc:\nabd <e>"), ..Options::default() };
            board.truncate(same);
            let choice = select(&items, &costs, "a1 b c2", None, &options, &mut board);
            prop_assert_eq!(choice, select(&items, &costs, "a1 b c2", None, &options, &mut Board::default()));
        }
    }
}

/// Where there are very many segments they are chosen by several, and still all can stay, and none exceeds the budget.
#[test]
fn very_many_segments_are_chosen_in_stretches() {
    let mut scratch = Scratch::default();
    let lines =
        |from: u32| (from..from + 4_000).fold(String::new(), |text, at| text + &format!("line {at} of {}\n", at % 7));
    let documents: Vec<Document> =
        (0..5).map(|at| Document::new(&lines(at * 4_000), false, o200k(), &mut scratch)).collect();
    let items: Vec<Item<'_>> = documents
        .iter()
        .enumerate()
        .map(|(at, document)| Item { document, atom: at as u32, is_fixed: false, weight: 1.0 })
        .collect();
    let total: u32 = documents.iter().map(|document| (0..document.len()).count() as u32).sum();
    assert_eq!(total, 20_000);
    for share in [0, 1, 2, 4] {
        let options = Options { budget: 60_000 * share, ..Options::default() };
        let choice = select(&items, &[4; 5], "", None, &options, &mut Board::default());
        let mut tokens = 0;
        for (item, kept) in items.iter().zip(&choice.kept) {
            let Some(kept) = kept else { continue };
            assert!(kept.windows(2).all(|pair| pair[0].1 < pair[1].0) && kept.iter().all(|range| range.1 <= 4_000));
            tokens += o200k().count(&render(item.document, kept));
        }
        assert!(choice.tokens <= options.budget);
        assert!(tokens <= options.budget as usize + 5 * MARKER as usize, "{tokens} of {}", options.budget);
        assert_eq!(share == 4, choice.kept.iter().all(|kept| kept.as_deref() == Some(&[(0, 4_000)])), "{share}");
    }
}

fn holds_empty(value: &Value) -> bool {
    match value {
        Value::Array(items) => items.is_empty() || items.iter().any(holds_empty),
        Value::Object(members) => members.is_empty() || members.values().any(holds_empty),
        _ => false,
    }
}

#[test]
fn enough_budget_keeps_all() {
    let mut scratch = Scratch::default();
    let documents =
        ["one two three", "four\nfive\nsix\n", "seven"].map(|text| Document::new(text, false, o200k(), &mut scratch));
    let items: Vec<Item<'_>> = documents
        .iter()
        .enumerate()
        .map(|(at, document)| Item { document, atom: at as u32, is_fixed: false, weight: 1.0 })
        .collect();
    let choice =
        select(&items, &[4, 4, 4], "", None, &Options { budget: 1_000, ..Options::default() }, &mut Board::default());
    let all: Vec<_> = documents.iter().map(|document| Some(vec![(0, document.len() as u32)])).collect();
    assert_eq!(choice.kept, all);
}

#[test]
fn what_is_asked_for_stays() {
    let mut scratch = Scratch::default();
    let texts: Vec<String> =
        (0..40).map(|at| format!("turn {at} is about nothing in particular, as all the others")).collect();
    let mut documents: Vec<Document> =
        texts.iter().map(|text| Document::new(text, false, o200k(), &mut scratch)).collect();
    documents[7] = Document::new("the zeppelin landed in Friedrichshafen", false, o200k(), &mut scratch);
    let items: Vec<Item<'_>> = documents
        .iter()
        .enumerate()
        .map(|(at, document)| Item { document, atom: at as u32, is_fixed: false, weight: 1.0 })
        .collect();
    let options = Options { budget: 40, relevance: 5.0, whole: 400, ..Options::default() };
    let choice = select(&items, &[4; 40], "Where did the zeppelin land?", None, &options, &mut Board::default());
    assert!(choice.kept[7].is_some());
}

/// What is left of texts of one atom each.
fn left(texts: &[String], options: &Options) -> Vec<String> {
    let mut scratch = Scratch::default();
    let documents: Vec<Document> = texts.iter().map(|text| Document::new(text, false, o200k(), &mut scratch)).collect();
    let items: Vec<Item<'_>> = documents
        .iter()
        .enumerate()
        .map(|(at, document)| Item { document, atom: at as u32, is_fixed: false, weight: 1.0 })
        .collect();
    let choice = select(&items, &vec![4; texts.len()], "", None, options, &mut Board::default());
    let kept = documents.iter().zip(choice.kept);
    kept.map(|(document, kept)| kept.map_or(String::new(), |kept| render(document, &kept))).collect()
}

#[test]
fn of_many_identifiers_each_is_worth_less() {
    let line = |at: u32| format!("the entry x{at}y is open\n");
    let texts = [line(1_000) + "some words\n", (2_000..2_600).map(line).collect()];
    // The newer text's, unless they are too many.
    let options = |crowd| Options { budget: 25, prior: 0.0, relevance: 0.0, crowd, ..Options::default() };
    assert!(left(&texts, &options(64.0))[0].contains("x1000y"));
    let newer = left(&texts, &options(f32::INFINITY));
    assert!(newer[0].is_empty() && newer[1].contains("x2599y"));
}

#[test]
fn of_a_short_message_the_clause_that_is_needed_stays() {
    let text =
        "Hi there, I have seen that something is not as I thought it was. My reservation is PEP4E0. Can you help me?";
    let options = |budget| Options { budget, ..Options::default() };
    assert!(left(&[text.to_owned()], &options(28))[0].contains("My reservation is PEP4E0."));
    assert_eq!(left(&[text.to_owned()], &options(60)), [text]);
}

#[test]
fn lines_that_speak_of_commands_stay() {
    let colours = ["red", "green", "blue", "yellow", "black", "white", "brown", "purple", "orange", "pink"];
    let mut lines: Vec<String> = colours.iter().map(|colour| format!("And then there is a {colour} one.\n")).collect();
    lines[4] = "And then you may weigh one.\n".to_owned();
    let stays = |instructions| {
        let options = Options { budget: 40, prior: 0.0, commands: commands(instructions), ..Options::default() };
        left(&[lines.concat()], &options)[0].contains("weigh")
    };
    assert!(stays("Commands:\n  weigh <lot> - says what it weighs\n"));
    assert!(!stays("You weigh what is brought."));
}

#[test]
fn tables_and_members() {
    let text = r#"{"user": {"name": "Ann", "zip": "80211"}, "flights": [{"no": "HAT1", "date": "2024-05-20", "seats": {"eco": 3}}, {"no": "HAT2", "date": "2024-05-20", "seats": {"eco": 0}}], "tags": ["a", "b, c"]}"#;
    let short = "user: {name: Ann, zip: \"80211\"}\nflights:\n [2 rows; date: 2024-05-20]\n no|seats.eco\n HAT1|3\n HAT2|0\ntags: [a, \"b, c\"]";
    assert_eq!(compact(text).as_deref(), Some(short));
}

#[test]
fn no_json_is_left_alone() {
    let deep = "[".repeat(100) + &"]".repeat(100);
    for text in
        ["", "12", "\"a\"", "{", "[1,]", "{\"a\": 01}", "{\"a\":1,\"a\":2}", "{\"a\": \"\n\"}", "[1] x", "nul", &deep]
    {
        assert_eq!(compact(text), None, "{text}");
    }
}
