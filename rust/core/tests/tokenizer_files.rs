//! Files of any merges and ranks give the tokens that the textbook's quadratic merge gives; hostile ones are typed errors.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::path::Path;

use base64::prelude::{BASE64_STANDARD, Engine as _};
use proptest::prelude::*;
use sparecall_core::error::Error;
use sparecall_core::tokens::{Allowed, Pattern, Tokenizer, TokenizerScratch};

/// The character of the byte-level alphabet for each byte.
fn alphabet() -> Vec<char> {
    let own = |byte: u8| matches!(byte, 0x21..=0x7e | 0xa1..=0xac | 0xae..=0xff);
    let mut other = 0x100..;
    let character =
        |byte| if own(byte) { char::from(byte) } else { char::from_u32(other.next().unwrap_or(0)).unwrap_or(' ') };
    (0..=255).map(character).collect()
}

/// A `tokenizer.json` with the single bytes, these further tokens and these merges.
fn json(further: &[String], merges: &[(String, String)], ignore_merges: bool) -> String {
    let mut vocab = String::new();
    for (id, character) in alphabet().into_iter().enumerate() {
        let escape = if matches!(character, '"' | '\\') { "\\" } else { "" };
        let _ = write!(vocab, "\"{escape}{character}\":{id},");
    }
    for (id, token) in (256..).zip(further) {
        let _ = write!(vocab, "\"{token}\":{id},");
    }
    let merges: Vec<String> = merges.iter().map(|(left, right)| format!("\"{left} {right}\"")).collect();
    format!(
        r#"{{"pre_tokenizer":{{"type":"ByteLevel"}},"model":{{"ignore_merges":{ignore_merges},"vocab":{{{}}},"merges":[{}]}}}}"#,
        vocab.trim_end_matches(','),
        merges.join(","),
    )
}

fn ids(tokenizer: &Tokenizer, text: &str) -> Vec<u32> {
    let (mut ids, mut scratch) = (Vec::new(), TokenizerScratch::default());
    tokenizer.encode(text, Allowed::Everything, &mut scratch, &mut ids);
    ids
}

/// A `.tiktoken` file with the single bytes and these tokens.
fn ranks<'a>(others: impl Iterator<Item = (&'a str, u32)>) -> Vec<u8> {
    let mut file = Vec::new();
    for byte in 0..=255_u8 {
        file.extend(format!("{} {byte}\n", BASE64_STANDARD.encode([byte])).bytes());
    }
    for (token, rank) in others {
        file.extend(format!("{} {rank}\n", BASE64_STANDARD.encode(token)).bytes());
    }
    file
}

/// Joins the leftmost pair of lowest rank until there is none.
fn merge_naively(piece: &str, rank: impl Fn(&str, &str) -> Option<u32>) -> Vec<String> {
    let mut parts: Vec<String> = piece.chars().map(String::from).collect();
    loop {
        let pairs = parts.windows(2).enumerate();
        let ranked = pairs.filter_map(|(at, pair)| Some((rank(&pair[0], &pair[1])?, at)));
        let Some((_, at)) = ranked.min() else { return parts };
        let right = parts.remove(at + 1);
        parts[at].push_str(&right);
    }
}

/// Tokens over few letters, each made of two before it, with the pairs that made them; a pair may make a known token.
fn grown() -> impl Strategy<Value = (Vec<String>, Vec<(String, String)>)> {
    let choices = proptest::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>()), 0..40);
    choices.prop_map(|choices| {
        let mut tokens: Vec<String> = ["a", "b", "c"].map(str::to_owned).to_vec();
        let mut merges = Vec::new();
        for (left, right) in choices {
            let pair = (tokens[left.index(tokens.len())].clone(), tokens[right.index(tokens.len())].clone());
            let made = [pair.0.as_str(), &pair.1].concat();
            if made.len() < 60 && !merges.contains(&pair) {
                if !tokens.contains(&made) {
                    tokens.push(made);
                }
                merges.push(pair);
            }
        }
        (tokens.split_off(3), merges)
    })
}

proptest! {
    #[test]
    fn listed_merges_are_made_in_their_order(
        (further, merges) in grown().prop_flat_map(|(further, merges)| {
            (Just(further), prop_oneof![Just(merges.clone()), Just(merges).prop_shuffle()])
        }),
        ignore_merges in any::<bool>(),
        unmade in proptest::collection::btree_set("[abc]{2,8}", 0..4),
        words in proptest::collection::vec("[abc]{1,12}|[ab]{1,300}", 1..20),
    ) {
        let mut tokens = further;
        tokens.extend(unmade.into_iter().filter(|token| !tokens.contains(token)).collect::<Vec<_>>());
        let tokenizer = Tokenizer::read("", json(&tokens, &merges, ignore_merges).as_bytes(), None, Vec::new());
        let tokenizer = tokenizer.expect("sound");
        let ranks: HashMap<(&str, &str), u32> =
            merges.iter().map(|(left, right)| (left.as_str(), right.as_str())).zip(0..).collect();
        for word in words {
            let whole = ignore_merges && tokens.contains(&word);
            let parts = if whole { vec![word.clone()] } else { merge_naively(&word, |a, b| ranks.get(&(a, b)).copied()) };
            let expected: Vec<u32> = parts.iter().map(|part| tokenizer.id(part.as_bytes()).expect("a token")).collect();
            prop_assert_eq!(ids(&tokenizer, &word), &expected[..]);
            prop_assert_eq!(tokenizer.count(&word, &mut TokenizerScratch::default()), expected.len());
        }
    }

    #[test]
    fn ranks_are_merged_by_what_pairs_make(
        tokens in proptest::collection::btree_set("[abc]{2,6}", 0..60),
        seed in any::<u32>(),
        words in proptest::collection::vec("[abc]{1,12}|[ab]{1,300}", 1..20),
    ) {
        let mut ranked: Vec<String> = tokens.into_iter().collect();
        ranked.sort_by_key(|token| token.bytes().fold(seed, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)));
        let by_token: HashMap<&str, u32> = ranked.iter().map(String::as_str).zip(256..).collect();
        let file = ranks(by_token.iter().map(|(token, rank)| (*token, *rank)));
        let tokenizer = Tokenizer::read("", &file, Some(Pattern::Gpt2), Vec::new()).expect("sound");
        for word in words {
            let rank = |left: &str, right: &str| by_token.get([left, right].concat().as_str()).copied();
            let parts = if by_token.contains_key(word.as_str()) { vec![word.clone()] } else { merge_naively(&word, rank) };
            let expected: Vec<u32> =
                parts.iter().map(|part| by_token.get(part.as_str()).copied().unwrap_or(u32::from(part.as_bytes()[0]))).collect();
            prop_assert_eq!(ids(&tokenizer, &word), expected);
        }
    }

    #[test]
    fn a_damaged_file_is_an_error_or_a_tokenizer_that_works(
        at in any::<prop::sample::Index>(), byte in any::<u8>(), cut in any::<bool>(), json_first in any::<bool>(),
    ) {
        let sound = if json_first {
            json(&["ab".to_owned(), "abc".to_owned()], &[("a".to_owned(), "b".to_owned())], true).into_bytes()
        } else {
            ranks(std::iter::empty())
        };
        let mut damaged = sound;
        let at = at.index(damaged.len());
        if cut { damaged.truncate(at) } else { damaged[at] = byte }
        works(&damaged);
    }
}

/// Fails where a file is neither a typed error nor a tokenizer whose ids spell the text.
fn works(file: &[u8]) -> bool {
    let pattern = (!file.trim_ascii_start().starts_with(b"{")).then_some(Pattern::O200k);
    match Tokenizer::read("file", file, pattern, Vec::new()) {
        Ok(tokenizer) => {
            for text in
                ["", "abcabc <|endoftext|> d\u{e9}j\u{e0} vu 日本\r\n 12345", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"]
            {
                let spelt: Vec<u8> = ids(&tokenizer, text)
                    .into_iter()
                    .flat_map(|id| tokenizer.token(id).expect("a token"))
                    .copied()
                    .collect();
                assert_eq!(spelt, text.as_bytes());
            }
            true
        }
        Err(Error::TokenizerFile { .. } | Error::UnknownName { .. }) => false,
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn the_fuzz_corpus_is_loaded_or_refused_as_its_names_say() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus/tokenizer_file");
    let mut seen = 0;
    for entry in std::fs::read_dir(folder).expect("the corpus is committed") {
        let path = entry.expect("readable").path();
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        assert_eq!(works(&std::fs::read(&path).expect("readable")), name.starts_with("good"), "{name}");
        seen += 1;
    }
    assert!(seen >= 20, "{seen} files");
}
