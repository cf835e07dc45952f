//! What of a text can be looked for: its words, stemmed, and its values: identifiers, paths, numbers, names.
//!
//! A value stands for itself, letter by letter, because a later call will use it so. Words come of identifiers too:
//! `HTTPServer_port` has the words `http`, `server`, `port`.

use crate::semantic::stem;

/// Longer ones are no values that anyone repeats.
const LONGEST: usize = 80;
const SHORTEST: usize = 3;

/// How likely a value is used again, in tenths, by its looks.
const MIXED: u8 = 30;
const NUMBER: u8 = 20;
pub(super) const IDENTIFIER: u8 = 20;
const NAME: u8 = 12;
const WORD: u8 = 5;

/// Told of every value, with its weight, and of every word of a text, both as hashes.
pub(super) trait Sink {
    fn value(&mut self, hash: u32, weight: u8);
    fn word(&mut self, hash: u32);
}

/// Reads the terms of `text` in one pass.
pub(super) fn read(text: &str, sink: &mut impl Sink) {
    let bytes = text.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        if !is_part(bytes[at]) {
            at += 1;
            continue;
        }
        let start = at;
        while at < bytes.len() && is_part(bytes[at]) {
            at += 1;
        }
        let is_quote = |byte: Option<&u8>| byte.is_some_and(|byte| matches!(byte, b'"' | b'\'' | b'`'));
        let is_quoted = is_quote(start.checked_sub(1).and_then(|before| bytes.get(before))) && is_quote(bytes.get(at));
        chunk(&text[start..at], is_quoted, sink);
    }
}

/// Bytes of words and of what joins them; those of other scripts too.
fn is_part(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte >= 0x80 || is_joint(byte)
}

fn is_joint(byte: u8) -> bool {
    matches!(byte, b'_' | b'@' | b'#' | b'.' | b'/' | b':' | b'+' | b'-')
}

fn chunk(chunk: &str, is_quoted: bool, sink: &mut impl Sink) {
    let whole = chunk.trim_matches(['.', ':', '/', '-', '+', '@']);
    if whole.is_empty() {
        return;
    }
    value(whole, is_quoted, sink);
    let mut parts = 0;
    for part in whole.split(['/', '.', ':', '@']) {
        if part.len() < whole.len() {
            value(part, false, sink);
        }
        for run in part.split(['_', '#', '+', '-']) {
            parts += words(run, sink);
        }
    }
    if parts > 1 && whole.len() <= LONGEST {
        // The whole identifier is a word too, and a rare one.
        sink.word(hash(whole, true));
    }
}

fn value(text: &str, is_quoted: bool, sink: &mut impl Sink) {
    if !(SHORTEST..=LONGEST).contains(&text.len()) {
        return;
    }
    let (mut digit, mut letter, mut joint, mut upper_inside) = (false, false, false, false);
    for (at, byte) in text.bytes().enumerate() {
        digit |= byte.is_ascii_digit();
        letter |= byte.is_ascii_alphabetic() || byte >= 0x80;
        joint |= is_joint(byte);
        upper_inside |= at > 0 && byte.is_ascii_uppercase();
    }
    let weight = if digit && (letter || joint) {
        MIXED
    } else if digit {
        if text.len() < 4 { WORD } else { NUMBER }
    } else if joint || upper_inside || is_quoted {
        IDENTIFIER
    } else if text.as_bytes()[0].is_ascii_uppercase() {
        NAME
    } else if text.len() > 3 && !is_stop(text) {
        WORD
    } else {
        return;
    };
    sink.value(hash(text, false), weight);
}

/// Tells the words of a run of letters and digits; returns how many there were.
fn words(run: &str, sink: &mut impl Sink) -> usize {
    let bytes = run.as_bytes();
    let (mut start, mut count) = (0, 0);
    let mut at = 0;
    while at < bytes.len() {
        let class = class_of(bytes[at]);
        let mut end = at + 1;
        if class == Class::Other {
            // A script without spaces has a word a character, for want of better.
            let c = run[at..].chars().next().unwrap_or(' ');
            end = at + c.len_utf8();
            if is_spaceless(c) {
                count += word(&run[start..at], sink) + word(&run[at..end], sink);
                (start, at) = (end, end);
                continue;
            }
        }
        let next = bytes.get(end).map(|&byte| class_of(byte));
        let after = bytes.get(end + 1).map(|&byte| class_of(byte));
        let ends = next.is_none_or(|next| match (class, next) {
            (Class::Digit, next) => next != Class::Digit,
            (Class::Lower | Class::Other, Class::Upper) | (_, Class::Digit) => true,
            (Class::Upper, Class::Upper) => after == Some(Class::Lower),
            _ => false,
        });
        at = end;
        if ends {
            count += word(&run[start..end], sink);
            start = end;
        }
    }
    count
}

fn word(text: &str, sink: &mut impl Sink) -> usize {
    if text.is_empty() || text.len() > LONGEST {
        return 0;
    }
    let mut lower = [0_u8; LONGEST];
    let lower = &mut lower[..text.len()];
    lower.copy_from_slice(text.as_bytes());
    lower.make_ascii_lowercase();
    let Ok(lower) = std::str::from_utf8(lower) else { return 0 };
    if !is_stop(lower) {
        sink.word(hash(stem::stem(lower), true));
    }
    1
}

#[derive(Clone, Copy, PartialEq)]
enum Class {
    Upper,
    Lower,
    Digit,
    Other,
}

fn class_of(byte: u8) -> Class {
    match byte {
        b'A'..=b'Z' => Class::Upper,
        b'0'..=b'9' => Class::Digit,
        0x80.. => Class::Other,
        _ => Class::Lower,
    }
}

fn is_spaceless(c: char) -> bool {
    matches!(c, '\u{0e00}'..='\u{0eff}' | '\u{1000}'..='\u{109f}' | '\u{1780}'..='\u{17ff}' | '\u{3040}'..='\u{30ff}'
        | '\u{3400}'..='\u{9fff}' | '\u{f900}'..='\u{faff}' | '\u{20000}'..='\u{3ffff}')
}

/// The hash of a text that stands for itself.
pub(super) fn hash_of(text: &str) -> u32 {
    hash(text, false)
}

/// FNV-1a with a last mix; words and values do not share theirs.
fn hash(text: &str, is_word: bool) -> u32 {
    let mut value = if is_word { 0x811c_9dc5_u32 } else { 0x2545_f491 };
    for byte in text.bytes() {
        value = (value ^ u32::from(byte)).wrapping_mul(0x0100_0193);
    }
    value ^= value >> 15;
    value = value.wrapping_mul(0x2c1b_3c6d);
    value ^ (value >> 13)
}

/// English words that say nothing of what a text is about. Sorted.
const STOP: [&str; 126] = [
    "a", "about", "after", "again", "all", "also", "am", "an", "and", "any", "are", "as", "at", "be", "because",
    "been", "before", "being", "both", "but", "by", "can", "could", "d", "did", "do", "does", "doing", "done", "each",
    "for", "from", "further", "had", "has", "have", "having", "he", "her", "here", "hers", "him", "his", "how", "i",
    "if", "in", "into", "is", "it", "its", "just", "ll", "m", "may", "me", "might", "more", "most", "must", "my", "no",
    "nor", "not", "now", "of", "off", "on", "once", "only", "or", "other", "our", "ours", "out", "over", "own", "re",
    "s", "same", "shall", "she", "should", "so", "some", "such", "t", "than", "that", "the", "their", "theirs", "them",
    "then", "there", "these", "they", "this", "those", "through", "to", "too", "under", "until", "up", "us", "ve",
    "very", "was", "we", "were", "what", "when", "where", "which", "while", "who", "whom", "why", "will", "with",
    "would", "yes", "you", "your", "yours",
];

fn is_stop(word: &str) -> bool {
    word.len() < 8 && STOP.binary_search(&word).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Seen {
        values: Vec<(u32, u8)>,
        words: Vec<u32>,
    }

    impl Sink for Seen {
        fn value(&mut self, hash: u32, weight: u8) {
            self.values.push((hash, weight));
        }
        fn word(&mut self, hash: u32) {
            self.words.push(hash);
        }
    }

    fn seen(text: &str) -> Seen {
        let mut seen = Seen::default();
        read(text, &mut seen);
        seen
    }

    fn word_of(text: &str) -> u32 {
        hash(stem::stem(text), true)
    }

    #[test]
    fn stop_words_are_sorted() {
        assert!(STOP.is_sorted());
    }

    #[test]
    fn identifiers_have_words() {
        let words = seen("HTTPServer_port2 fooBar").words;
        for word in ["http", "server", "port", "2", "foo", "bar"] {
            assert!(words.contains(&word_of(word)), "{word}");
        }
    }

    #[test]
    fn values_are_whole_and_in_parts() {
        let values = seen("see (src/app/main.py:42), please.").values;
        for value in ["src/app/main.py:42", "main", "see", "please"] {
            let found = values.iter().any(|&(seen, _)| seen == hash(value, false));
            assert_eq!(found, !["see"].contains(&value), "{value}");
        }
    }

    #[test]
    fn scripts_without_spaces_have_a_word_a_character() {
        assert_eq!(seen("東京x").words.len(), 4);
        assert_eq!(seen("").words.len(), 0);
        assert_eq!(seen("... --- ///").values.len(), 0);
    }

    #[test]
    fn what_looks_like_an_id_weighs_most() {
        let weight = |text: &str| seen(text).values[0].1;
        assert!(weight("HAT136") > weight("user_id"));
        assert!(weight("user_id") > weight("Caroline"));
        assert!(weight("Caroline") > weight("caroline"));
    }
}
