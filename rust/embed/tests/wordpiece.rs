//! `WordPiece` against the textbook's quadratic form of it, and the files it reads or refuses.

use std::collections::HashMap;
use std::path::Path;

use proptest::prelude::*;
use sparecall_embed::wordpiece::{Options, WordPiece};

const VOCAB: [&str; 18] = [
    "[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "b", "ab", "##a", "##b", "##ab", "##ba", "!", "#", "é", "中",
    "##中", "e",
];

fn tokenizer(options: Options) -> WordPiece {
    WordPiece::from_vocab(VOCAB.join("\n").as_bytes(), options).expect("a vocabulary")
}

fn ids(text: &str, options: Options) -> Vec<u32> {
    let mut ids = Vec::new();
    tokenizer(options).encode_ordinary(text, usize::MAX, &mut ids);
    ids
}

/// Greedy longest match by trying every end, as the reference does it.
fn naive(word: &str) -> Vec<u32> {
    let vocab: HashMap<String, u32> = VOCAB.iter().map(|token| (*token).to_owned()).zip(0..).collect();
    let (mut found, mut start) = (Vec::new(), 0);
    while start < word.len() {
        let prefix = if start > 0 { "##" } else { "" };
        let mut ends = (start + 1..=word.len()).rev().filter(|end| word.is_char_boundary(*end));
        let best = ends.find_map(|end| Some((end, *vocab.get(&format!("{prefix}{}", &word[start..end]))?)));
        let Some((end, id)) = best else { return vec![1] };
        found.push(id);
        start = end;
    }
    found
}

proptest! {
    #[test]
    fn words_are_cut_as_the_reference_cuts_them(words in prop::collection::vec("[abc中]{1,12}", 0..6)) {
        let options = Options { handle_chinese_chars: false, ..Options::default() };
        let expected: Vec<u32> = words.iter().flat_map(|word| naive(word)).collect();
        prop_assert_eq!(ids(&words.join(" "), options), expected);
    }

    #[test]
    fn a_limit_keeps_the_first_tokens(text in "[ab!c \\[\\]SEP]{0,40}", limit in 0_usize..12) {
        let tokenizer = tokenizer(Options::default());
        let (mut all, mut some) = (vec![7], vec![7]);
        tokenizer.encode_ordinary(&text, usize::MAX, &mut all);
        tokenizer.encode_ordinary(&text, limit, &mut some);
        prop_assert_eq!(&some[..], &all[..all.len().min(limit + 1)]);
    }

    #[test]
    fn any_text_has_ids_of_the_vocabulary(text in any::<String>()) {
        let found = ids(&text, Options::default());
        prop_assert!(found.iter().all(|id| (*id as usize) < VOCAB.len()));
    }
}

#[test]
fn text_is_normalised_as_the_options_say() {
    let default = Options::default();
    assert_eq!(ids("AB  a!b\tÉ", default), [7, 5, 12, 6, 17]);
    assert_eq!(ids("É", Options { lowercase: false, strip_accents: Some(false), ..default }), [1]);
    assert_eq!(ids("é", Options { lowercase: false, ..default }), [14]);
    assert_eq!(ids("a中b", default), [5, 15, 6]);
    assert_eq!(ids("a中b", Options { handle_chinese_chars: false, ..default }), [5, 16, 9]);
    assert_eq!(ids("a\u{200b}b\u{0}a", default), [7, 8]);
    assert_eq!(ids("a\u{200b}b", Options { clean_text: false, ..default }), [1]);
    assert_eq!(ids("a[SEP]b [sep]", default), [5, 3, 6, 1, 1, 1]);
}

#[test]
fn a_word_of_more_characters_than_the_limit_is_unknown() {
    for (text, unknown) in [
        ("a".repeat(100), false),
        ("a".repeat(101), true),
        ("a\u{301}".repeat(100), false),
        // A mark with a combining class that is not stripped.
        ("a".to_owned() + &"\u{302e}".repeat(1_000_000), true),
    ] {
        assert_eq!(ids(&text, Options::default()) == [1], unknown, "{} bytes", text.len());
    }
}

#[test]
fn the_specials_stand_around_a_text_whatever_the_limit() {
    let tokenizer = tokenizer(Options::default());
    for (limit, expected) in [(5, vec![2, 5, 6, 5, 3]), (3, vec![2, 5, 3]), (2, vec![2, 3]), (0, vec![2, 3])] {
        let mut ids = Vec::new();
        tokenizer.encode("a b a", limit, &mut ids);
        assert_eq!(ids, expected);
    }
    assert_eq!((tokenizer.len(), tokenizer.is_empty(), tokenizer.highest_id()), (18, false, 17));
}

#[test]
fn the_fuzz_corpus_is_loaded_or_refused_as_its_names_say() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus/wordpiece");
    let mut seen = 0;
    for entry in std::fs::read_dir(folder).expect("the corpus is committed") {
        let path = entry.expect("an entry").path();
        let file = std::fs::read(&path).expect("a file");
        let name = path.file_name().and_then(|name| name.to_str()).expect("a name").to_owned();
        let json = path.extension().is_some_and(|extension| extension == "json");
        let read = if json { WordPiece::from_json(&file) } else { WordPiece::from_vocab(&file, Options::default()) };
        assert_eq!(read.is_ok(), name.starts_with("good"), "{name}: {:?}", read.err());
        if let Ok(tokenizer) = read {
            let mut ids = Vec::new();
            tokenizer.encode("ab! 中 É [SEP] \u{0}", 256, &mut ids);
            assert!(ids.iter().all(|id| *id <= tokenizer.highest_id()), "{name}");
        }
        seen += 1;
    }
    assert!(seen > 20, "the corpus has files");
}
