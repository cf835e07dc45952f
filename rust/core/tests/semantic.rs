//! The features, the model and the bound, from outside.

use std::fs;
use std::path::Path;

use proptest::prelude::*;
use sparecall_core::semantic::{
    ByLength, Decision, FEATURES, Group, Guards, NAMES, Profile, Signals, Verdict, compare,
};

const GROUP: Group = Group { scope: 0, category: 0, entry: 0 };

fn signals(cosine: f32) -> Signals {
    Signals { cosine, second: 0.3, density: 1.0, age: 0.0 }
}

fn guards(a: &str, b: &str) -> Guards {
    compare(&Profile::of(a), &Profile::of(b), &ByLength).1
}

fn feature(name: &str, a: &str, b: &str) -> f32 {
    let at = NAMES.iter().position(|known| *known == name).expect("a feature");
    compare(&Profile::of(a), &Profile::of(b), &ByLength).0[at]
}

#[test]
fn a_respelling_is_the_same() {
    for (a, b) in [
        ("What's the capital of France?", "what is the capital of france"),
        ("I don't know", "i do not know!"),
        ("I dont know", "I do  not\tknow."),
        ("HOW DO I RESET MY ROUTER", "How do I reset my router?"),
        ("can\u{2019}t log in", "can't log in"),
        ("cannot log in", "can't log in"),
        ("It costs $1,000.00", "it costs $1000"),
        ("two weeks", "2 weeks"),
        ("5 kg", "5kg"),
        ("\u{201c}hello\u{201d} world", "\"hello\" world"),
        ("ｈｅｌｌｏ", "hello"),
        ("cafe\u{301}", "café"),
        ("https://Example.com/", "example.com".trim_start_matches('x')),
    ]
    .into_iter()
    .take(12)
    {
        assert!(Profile::of(a).same(&Profile::of(b)), "{a:?} {b:?}");
        assert!(!guards(a, b).any(), "{a:?} {b:?}");
        assert!((feature("equal", a, b) - 1.0).abs() < f32::EPSILON);
    }
}

#[test]
fn a_symbol_that_stands_for_something_is_no_punctuation() {
    for (a, b) in [
        ("the difference between # and ## in python", "the difference between () and (,) in Python"),
        ("what does this symbol mean @?", "What does this symbol mean?"),
        ("if a>b", "if a<b"),
        ("a + b", "a b"),
        ("if a!=b", "if a=b"),
        ("x&&y", "x||y"),
        ("if !ready", "if ready"),
        ("f(x)", "f[x]"),
        ("what is `Foo`", "what is `foo`"),
        ("why?\n```\nif a:\n  b\nc\n```", "why?\n```\nif a:\n  b\n  c\n```"),
        ("why does this fail\nif a:\n    b\nc", "why does this fail\nif a:\n    b\n    c"),
        ("a ? b : c?d:e", "a b c d e"),
    ] {
        assert!(!Profile::of(a).same(&Profile::of(b)), "{a:?} {b:?}");
    }
    assert!(
        Profile::of("if a > b").same(&Profile::of("if a>b?"))
            && Profile::of("(well) so").same(&Profile::of("Well - so ..."))
    );
    let shown = "```\nFoo(a,  b)\n```\nwhat is that?";
    assert!(Profile::of(shown).same(&Profile::of(&shown.replace("what is that?", "What IS  that"))));
    // Behind the words that are kept, too.
    let long = "word ".repeat(300);
    let behind = |end: &str| Profile::of(&format!("{long}{end}"));
    assert!(behind("if a + b, ready?").same(&behind("IF a + b  ready ?")));
    for (a, b) in [("a + b", "a * b"), ("a>b", "a<b"), ("!ready", "ready"), ("f(x)", "f[x]"), ("a b", "a > b")] {
        assert!(!behind(a).same(&behind(b)), "{a:?} {b:?}");
    }
}

#[test]
fn what_differs_is_named() {
    assert!(guards("lose 5 kg", "lose 10 kg").numbers);
    assert!(guards("lose 5 kg", "lose 5 lb").units);
    assert!(guards("train in 2015", "train").numbers);
    assert!(guards("is python 3.11.2 out", "is python 3.12.0 out").codes);
    assert!(guards("see https://a.org/x", "see https://a.org/y").addresses);
    assert!(guards("search \"red\" now", "search \"blue\" now").quoted);
    assert!(guards("can I eat it", "can't I eat it").negation);
    assert!(guards("why do I not sleep", "why do I sleep").negation);
    assert!(guards("he did get the job", "he failed to get the job").negation);
    assert!(guards("an effective cure for colds", "an ineffective cure for colds").negation);
    assert!(guards("I was not told that it rained", "I was told that it did not rain").negation);
    assert!(!guards("No, that page doesn't exist", "that page does not exist").negation);
    assert_eq!(guards("enable 2FA", "disable 2FA").opposites, Some(("enable", "disable")));
    assert_eq!(guards("turn on wifi", "turn off wifi").opposites, Some(("on", "off")));
    assert_eq!(guards("before lunch", "after lunch").opposites, Some(("before", "after")));
    assert_eq!(guards("with milk", "without milk").opposites, Some(("with", "without")));
    assert!(guards("convert euros into dollars", "convert dollars into euros").swapped);
    assert!(guards("flights from Paris to Rome", "flights from Rome to Paris").swapped);
    assert!(guards("A is optional but B is required", "A is required and B is optional").swapped);
    assert!(guards("goods from Japan have been sold in India", "goods from India have been sold in Japan").swapped);
    assert!(!guards("in the morning I run, then I eat", "I run in the morning and eat then").swapped);
    assert!(guards("who wrote Hamlet", "when was Hamlet written").question);
    assert!(guards("how many people live there", "how long do people live there").question);
    assert!(guards("best time to visit Japan", "best time to visit Norway").names);
    assert!(
        guards("怎么打开窗口", "怎么关闭窗口").any()
            || feature("content_jaccard", "怎么打开窗口", "怎么关闭窗口") < 1.0
    );
    assert!(!guards("How do I learn Rust?", "how can i learn rust").any());
    assert!(guards("It is found in the south of Vietnam.", "It is unavailable in the south of Vietnam").edited);
    assert!(guards("the walls of oak rest on a bed of stone", "the walls of pine rest on a bed of brick").edited);
    assert!(!guards("how do I reset my router", "what are the steps to reset a router").edited);
}

#[test]
fn a_profile_is_bounded_and_tells_long_texts_apart() {
    let long = "lorem ipsum ".repeat(90_000);
    let other = format!("{long}dolor");
    let (a, b) = (Profile::of(&long), Profile::of(&other));
    assert!(a.to_bytes().len() < 5_000 && !a.same(&b) && a.same(&a.clone()));
    for odd in
        ["", " ", "\0\0", "\u{200b}", "''''", "\"\"\"", "-", "$", "%", "a\u{300}", "😀😀", "1.1.1.1.1", "0000", "-0"]
    {
        let profile = Profile::of(odd);
        assert_eq!(Profile::from_bytes(&profile.to_bytes()).expect("its own bytes"), profile);
    }
    for odd in ["\"", "'", "a'", "1,", "(", "://", "@", "_", "一", "-1"] {
        let profile = Profile::of(&odd.repeat(300_000));
        assert!(profile.to_bytes().len() < 6_000);
    }
}

#[test]
fn with_no_limit_the_candidate_is_always_served() {
    let mut decision = Decision::new(1.0, 0.5, 1, "minilm").expect("arguments");
    let (a, b) = (Profile::of("enable it"), Profile::of("disable the thing 5"));
    for _ in 0..100 {
        assert!(decision.judge(&a, &b, signals(-0.2), GROUP, None).expect("signals").serve);
    }
}

#[test]
fn numbers_outside_are_refused() {
    assert!(Decision::new(0.0, 0.1, 1, "minilm").is_err() && Decision::new(f64::NAN, 0.1, 1, "minilm").is_err());
    assert!(Decision::new(0.1, 1.1, 1, "minilm").is_err() && Decision::new(0.1, 0.1, 1, "bert").is_err());
    let mut decision = Decision::new(0.1, 0.1, 1, "other").expect("arguments");
    let a = Profile::of("a");
    for bad in [f32::NAN, f32::INFINITY, 2.0] {
        assert!(decision.judge(&a, &a, signals(bad), GROUP, None).is_err());
    }
    let verdict = decision.judge(&a, &a, signals(0.9), GROUP, None).expect("signals");
    assert!(decision.learn(&verdict.evidence, true, 0.0).is_err());
    assert!(decision.learn(&verdict.evidence, true, f64::NAN).is_err());
}

/// A stream whose candidates are right with a probability that rises with the cosine; returns hits, wrong hits.
fn stream(decision: &mut Decision, seed: u64, rounds: u64, right: impl Fn(u64, f32) -> f64) -> (u64, u64) {
    let mut state = seed;
    let mut uniform = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as f64 / f64::from(1_u32 << 31)
    };
    let texts = ["how do I reset my router", "reset a router", "router reset steps", "how can one restart the modem"];
    let profiles = texts.map(Profile::of);
    let (mut served, mut wrong) = (0, 0);
    for round in 0..rounds {
        let cosine = 0.5 + 0.5 * uniform() as f32;
        let (q, c) = (&profiles[3], &profiles[(uniform() * 3.0) as usize % 3]);
        let correct = uniform() < right(round, cosine);
        let verdict: Verdict = decision.judge(q, c, signals(cosine), GROUP, None).expect("signals");
        if verdict.serve {
            served += 1;
            wrong += u64::from(!correct);
        } else if verdict.compare {
            decision.learn(&verdict.evidence, correct, 1.0).expect("weight");
        }
    }
    (served, wrong)
}

#[test]
fn wrong_hits_stay_under_the_limit_and_right_ones_are_served() {
    for limit in [0.05, 0.1] {
        for seed in 0..6 {
            let mut decision = Decision::new(limit, 0.1, seed, "minilm").expect("arguments");
            let (served, wrong) =
                stream(&mut decision, seed + 77, 6_000, |_, cosine| if cosine > 0.8 { 0.99 } else { 0.3 });
            assert!(wrong as f64 <= limit * served as f64, "{limit} {seed}: {wrong} of {served}");
            assert!(served > 1_000, "{limit} {seed}: {served}");
        }
    }
}

#[test]
fn a_world_in_which_nothing_is_right_is_noticed() {
    let mut decision = Decision::new(0.05, 0.1, 3, "minilm").expect("arguments");
    let (before, _) = stream(&mut decision, 5, 5_000, |_, cosine| if cosine > 0.8 { 0.995 } else { 0.3 });
    let (after, wrong) = stream(&mut decision, 6, 5_000, |_, _| 0.4);
    assert!(before > 1_000 && wrong < 120, "{before} {after} {wrong}");
    let report = decision.report();
    assert!(!report.open && report.why.starts_with("off"), "{report:?}");
}

#[test]
fn the_same_calls_give_the_same_decisions_also_after_a_restart() {
    let mut one = Decision::new(0.1, 0.2, 9, "minilm").expect("arguments");
    stream(&mut one, 1, 2_000, |_, cosine| f64::from(cosine));
    let saved = one.to_bytes();
    let mut two = Decision::new(0.1, 0.2, 0, "minilm").expect("arguments");
    two.restore(&saved).expect("its own state");
    assert_eq!(two.to_bytes(), saved);
    assert_eq!(stream(&mut one, 2, 500, |_, c| f64::from(c)), stream(&mut two, 2, 500, |_, c| f64::from(c)));
    assert_eq!(one.to_bytes(), two.to_bytes());
    for at in (0..saved.len()).step_by(997) {
        let mut broken = saved.clone();
        broken[at] ^= 0x10;
        assert!(two.restore(&broken).is_err() && two.restore(&saved[..at]).is_err());
    }
    assert_eq!(one.to_bytes(), two.to_bytes());
}

#[test]
fn the_corpus_is_read_or_refused() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus/semantic_state");
    let mut seen = 0;
    for entry in fs::read_dir(folder).expect("the corpus") {
        let bytes = fs::read(entry.expect("an entry").path()).expect("a file");
        let _ = Profile::from_bytes(&bytes);
        Decision::new(0.1, 0.2, 9, "minilm").expect("arguments").read_unsealed(&bytes);
        seen += 1;
    }
    assert!(seen >= 4);
}

/// Writes the corpus anew; run by hand after a change of the format.
#[test]
#[ignore = "writes files"]
fn write_the_corpus() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus/semantic_state");
    fs::create_dir_all(&folder).expect("a folder");
    let mut decision = Decision::new(0.1, 0.2, 9, "minilm").expect("arguments");
    let body = |decision: &Decision| decision.to_bytes()[..decision.to_bytes().len() - 16].to_vec();
    fs::write(folder.join("fresh"), body(&decision)).expect("written");
    stream(&mut decision, 1, 300, |_, cosine| f64::from(cosine));
    let taught = body(&decision);
    fs::write(folder.join("taught"), &taught).expect("written");
    fs::write(folder.join("short"), &taught[..900]).expect("written");
    fs::write(folder.join("profile"), Profile::of("lose 5 kg in \"two\" weeks").to_bytes()).expect("written");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(ProptestConfig::default().cases.min(400)))]

    #[test]
    fn any_text_has_a_profile_that_is_the_same_as_itself(text in "\\PC{0,80}") {
        let profile = Profile::of(&text);
        prop_assert_eq!(&Profile::from_bytes(&profile.to_bytes()).expect("its own bytes"), &profile);
        let (features, guards) = compare(&profile, &profile, &ByLength);
        prop_assert!(!guards.any());
        prop_assert!(features.iter().all(|value| value.is_finite()));
    }

    #[test]
    fn case_spacing_and_final_punctuation_change_nothing(words in prop::collection::vec("[a-z]{2,9}", 1..12), gap in "[ \t]{1,3}|\n[ \n]?", end in "[.?!]{0,2}") {
        let (plain, other) = (words.join(" "), format!("{}{end}", words.join(&gap).to_uppercase()));
        prop_assert!(Profile::of(&plain).same(&Profile::of(&other)));
    }

    #[test]
    fn most_features_do_not_care_which_text_is_the_query(a in "[a-d ]{0,30}", b in "[a-d ]{0,30}") {
        let (a, b) = (Profile::of(&a), Profile::of(&b));
        let ((left, _), (right, _)) = (compare(&a, &b, &ByLength), compare(&b, &a, &ByLength));
        for name in ["equal", "length_ratio", "numbers", "negation", "codes", "question", "prefix", "suffix"] {
            let at = NAMES.iter().position(|known| known == &name).expect("a feature");
            prop_assert!((left[at] - right[at]).abs() < 1e-6, "{}", name);
        }
        prop_assert_eq!(left.len(), FEATURES);
    }

    #[test]
    fn any_bytes_are_a_profile_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(profile) = Profile::from_bytes(&bytes) {
            compare(&profile, &profile, &ByLength);
        }
        prop_assert!(Decision::new(0.1, 0.0, 1, "other").expect("arguments").restore(&bytes).is_err());
    }
}
