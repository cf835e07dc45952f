//! Both ways to merge agree with the textbook's quadratic one, and the tokens of a text spell it.

use std::cell::RefCell;
use std::collections::HashMap;
use std::path::Path;
use std::sync::LazyLock;

use proptest::prelude::*;
use sparecall_core::cpu::{self, Level};
use sparecall_core::error::Error;
use sparecall_core::tokens::{Encoding, Meter, Prefix, Scratch};

fn encodings() -> impl Iterator<Item = &'static Encoding> {
    Encoding::names().map(|name| Encoding::by_name(name).expect("shipped"))
}

static RANKS: LazyLock<Vec<HashMap<&[u8], u32>>> = LazyLock::new(|| {
    let ranks = |encoding: &'static Encoding| {
        (0..encoding.vocabulary_len() as u32).map(|rank| (encoding.token(rank).expect("dense"), rank)).collect()
    };
    encodings().map(ranks).collect()
});

/// The tokens of `o200k_base` that are lower-case letters: any row of them is one piece.
static WORDS: LazyLock<Vec<&str>> = LazyLock::new(|| {
    let all = RANKS[0].keys().filter(|token| token.iter().all(u8::is_ascii_lowercase));
    let mut words: Vec<&str> = all.filter_map(|token| std::str::from_utf8(token).ok()).collect();
    words.sort_unstable();
    words
});

/// Joins the leftmost pair of lowest rank until there is none.
fn merge_naively(ranks: &HashMap<&[u8], u32>, piece: &[u8]) -> Vec<u32> {
    let mut parts: Vec<Vec<u8>> = piece.iter().map(|byte| vec![*byte]).collect();
    loop {
        let pairs = parts.windows(2).enumerate();
        let ranked = pairs.filter_map(|(at, pair)| ranks.get(pair.concat().as_slice()).map(|rank| (*rank, at)));
        let Some((_, at)) = ranked.min() else { break };
        let right = parts.remove(at + 1);
        parts[at].extend(right);
    }
    parts.iter().map(|part| ranks[part.as_slice()]).collect()
}

/// Fails where a text of one piece is not merged, or its tokens not counted, as the textbook says; at every level of the processor.
fn agree_on(piece: &str) -> Result<(), TestCaseError> {
    thread_local!(static SCRATCH: RefCell<Scratch> = RefCell::default());
    for (encoding, ranks) in encodings().zip(RANKS.iter()) {
        let expected = merge_naively(ranks, piece.as_bytes());
        for level in Level::ALL {
            cpu::set(level);
            prop_assert_eq!(&encoding.encode(piece), &expected, "{:?}, {:?}", encoding, level);
            prop_assert_eq!(encoding.count(piece), expected.len(), "{:?}, {:?}", encoding, level);
        }
        let count = SCRATCH.with_borrow_mut(|scratch| encoding.count_with(piece, scratch));
        prop_assert_eq!(count, expected.len(), "{:?}, from memory", encoding);
    }
    Ok(())
}

proptest! {
    /// Each of these is one piece in both patterns.
    #[test]
    fn a_piece_of_any_length_merges_as_the_textbook_says(
        piece in "[a-z]{1,400}|[ab]{1,400}|[日本語中的是]{1,150}|[一-龥ぁ-んァ-ン]{1,150}|[а-я]{1,200}|[ก-ฮ]{1,100}|[가-힣]{1,60}|_{1,400}|[!=<>(){}-]{1,400}|[😀-😏🎉\u{200d}]{1,60}",
        words in proptest::collection::vec(proptest::sample::select(WORDS.as_slice()), 1..80),
    ) {
        for piece in [piece, words.concat()] {
            agree_on(&piece)?;
        }
    }

    #[test]
    fn tokens_spell_the_text_and_are_as_many_as_counted(
        texts in proptest::collection::vec("\\PC{0,60}|[ \\r\\n\\t]{0,20}|[a-zA-Z' ]{0,200}", 1..4)
    ) {
        let mut scratch = Scratch::default();
        for encoding in encodings() {
            for text in &texts {
                let tokens = encoding.encode(text);
                let spelt: Vec<u8> =
                    tokens.iter().flat_map(|rank| encoding.token(*rank).expect("a token")).copied().collect();
                prop_assert_eq!(&spelt, text.as_bytes());
                prop_assert_eq!(encoding.count_with(text, &mut scratch), tokens.len());
            }
        }
    }
}

#[test]
fn a_token_of_lower_case_letters_is_itself() {
    for encoding in encodings() {
        let ranks = 0..encoding.vocabulary_len() as u32;
        let words = ranks.filter_map(|rank| Some((rank, std::str::from_utf8(encoding.token(rank)?).ok()?)));
        let plain = words.filter(|(_, text)| text.bytes().all(|byte| byte.is_ascii_lowercase()));
        let wrong: Vec<_> = plain.filter(|(rank, text)| encoding.encode(text) != [*rank]).collect();
        assert_eq!(wrong, [], "{encoding:?}");
    }
}

#[test]
fn an_unknown_encoding_is_an_error_that_lists_the_known() {
    let error = Encoding::by_name("gpt2").expect_err("not shipped");
    assert!(
        matches!(&error, Error::UnknownName { known, .. } if known == "o200k_base, o200k_harmony, cl100k_base"),
        "{error}"
    );
}

/// What the fuzz target looks at, for each of its committed texts, against the textbook.
#[test]
fn the_texts_of_the_fuzz_corpus_are_counted_alike_in_every_way() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus/tokens");
    let mut seen = 0;
    for entry in std::fs::read_dir(folder).expect("the corpus is committed") {
        let bytes = std::fs::read(entry.expect("an entry").path()).expect("readable");
        let text = String::from_utf8_lossy(&bytes);
        for encoding in encodings() {
            let (ids, mut scratch) = (encoding.encode(&text), Scratch::default());
            let spelt: Vec<u8> = ids.iter().flat_map(|id| encoding.token(*id).expect("a token")).copied().collect();
            assert_eq!(spelt, text.as_bytes());
            for level in Level::ALL {
                cpu::set(level);
                assert_eq!(encoding.encode(&text), ids, "{level:?}");
                assert_eq!(encoding.count_with(&text, &mut scratch), ids.len(), "{level:?}");
            }
            let cuts = || text.char_indices().map(|(at, _)| at).step_by(1 + text.len() / 40);
            let prefix = Prefix::new(encoding, text.as_ref().into(), &mut scratch);
            for cut in cuts() {
                let (head, tail) = (encoding.count(&text[..cut]), encoding.count(&text[cut..]));
                let mut meter = Meter::default();
                assert_eq!(meter.append(encoding, &text[..cut], &mut scratch), head, "{text:?} to {cut}");
                assert_eq!(meter.append(encoding, &text[cut..], &mut scratch), ids.len(), "{text:?} from {cut}");
                assert_eq!(prefix.count(encoding, cut, text.len(), &mut scratch), tail, "{text:?} from {cut}");
            }
        }
        seen += 1;
    }
    assert!(seen > 20, "the corpus has texts");
}
