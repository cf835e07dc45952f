//! What of a text can be looked for: its words, stemmed, and its values: identifiers, paths, numbers, names.
//!
//! A value stands for itself, letter by letter, because a later call will use it so. Words come of identifiers too:
//! `HTTPServer_port` has the words `http`, `server`, `port`.

use crate::semantic::stem;

/// Longer ones are no values that anyone repeats.
const LONGEST: usize = 80;
const SHORTEST: usize = 3;

/// How likely a value is used again, in tenths, by its looks.
pub(super) const MIXED: u8 = 30;
const NUMBER: u8 = 20;
pub(super) const IDENTIFIER: u8 = 20;
const NAME: u8 = 12;
const WORD: u8 = 5;

/// Told of every value, with its weight, and of every word of a text, both as hashes.
pub(super) trait Sink {
    fn value(&mut self, hash: u32, weight: u8);
    fn word(&mut self, hash: u32);
}

/// What a byte is in a word, or 0 for what parts words.
type Class = u8;
const LOWER: Class = 1;
const UPPER: Class = 2;
const DIGIT: Class = 4;
/// Of other scripts.
const OTHER: Class = 8;
/// Parts an identifier: `/.:@`.
const SPLIT: Class = 16;
/// Joins the words of one: `_#+-`.
const JOINT: Class = 32;

const CLASSES: [Class; 256] = {
    let mut classes = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        classes[byte] = match byte as u8 {
            b'a'..=b'z' => LOWER,
            b'A'..=b'Z' => UPPER,
            b'0'..=b'9' => DIGIT,
            0x80.. => OTHER,
            b'/' | b'.' | b':' | b'@' => SPLIT,
            b'_' | b'#' | b'+' | b'-' => JOINT,
            _ => 0,
        };
        byte += 1;
    }
    classes
};

fn class_of(byte: u8) -> Class {
    CLASSES[byte as usize]
}

/// Reads the terms of `text` in one pass.
pub(super) fn read(text: &str, sink: &mut impl Sink) {
    let bytes = text.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        if class_of(bytes[at]) == 0 {
            at += 1;
            continue;
        }
        let start = at;
        let mut all = 0;
        while at < bytes.len() && class_of(bytes[at]) != 0 {
            all |= class_of(bytes[at]);
            at += 1;
        }
        let is_quote = |byte: Option<&u8>| byte.is_some_and(|byte| matches!(byte, b'"' | b'\'' | b'`'));
        let is_quoted = is_quote(start.checked_sub(1).and_then(|before| bytes.get(before))) && is_quote(bytes.get(at));
        chunk(&text[start..at], all, is_quoted, sink);
    }
}

/// Reads what stands between white space and brackets; `all` are the classes of its bytes.
fn chunk(chunk: &str, all: Class, is_quoted: bool, sink: &mut impl Sink) {
    if all == LOWER {
        return small(chunk, is_quoted, sink);
    }
    let is_plain = all & (SPLIT | JOINT) == 0;
    let whole = if is_plain { chunk } else { trimmed(chunk) };
    if whole.is_empty() {
        return;
    }
    value(whole, is_quoted, sink);
    let mut parts = 0;
    if is_plain {
        parts += words(whole, all, sink);
    } else {
        for part in split(whole, SPLIT) {
            if part.len() < whole.len() {
                value(part, false, sink);
            }
            for run in split(part, JOINT) {
                parts += words(run, all, sink);
            }
        }
    }
    if parts > 1 && whole.len() <= LONGEST {
        // The whole identifier is a word too, and a rare one.
        sink.word(hash(whole, true));
    }
}

/// The same for one of small letters alone, as most are.
fn small(word: &str, is_quoted: bool, sink: &mut impl Sink) {
    if word.len() > LONGEST {
        return;
    }
    let is_stop = is_stop(word);
    if is_quoted && word.len() >= SHORTEST {
        sink.value(hash(word, false), IDENTIFIER);
    } else if word.len() > SHORTEST && !is_stop {
        sink.value(hash(word, false), WORD);
    }
    if !is_stop {
        sink.word(hash(stem::stem(word), true));
    }
}

/// Without the punctuation around it: `.:/-+@`.
fn trimmed(chunk: &str) -> &str {
    let is_edge = |byte: &u8| matches!(byte, b'.' | b':' | b'/' | b'-' | b'+' | b'@');
    let bytes = chunk.as_bytes();
    let start = bytes.iter().take_while(|byte| is_edge(byte)).count();
    let end = bytes[start..].iter().rev().take_while(|byte| is_edge(byte)).count();
    &chunk[start..bytes.len() - end]
}

/// The parts of a text between bytes of a class.
fn split(text: &str, class: Class) -> impl Iterator<Item = &str> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let text = rest?;
        let end = text.bytes().position(|byte| class_of(byte) == class);
        rest = end.map(|end| &text[end + 1..]);
        Some(&text[..end.unwrap_or(text.len())])
    })
}

fn value(text: &str, is_quoted: bool, sink: &mut impl Sink) {
    if !(SHORTEST..=LONGEST).contains(&text.len()) {
        return;
    }
    let first = class_of(text.as_bytes()[0]);
    let inside = text.bytes().skip(1).fold(0, |inside, byte| inside | class_of(byte));
    let is = |class: Class| (first | inside) & class != 0;
    let weight = if is(DIGIT) && is(LOWER | UPPER | OTHER | SPLIT | JOINT) {
        MIXED
    } else if is(DIGIT) {
        if text.len() < 4 { WORD } else { NUMBER }
    } else if is(SPLIT | JOINT) || inside & UPPER != 0 || is_quoted {
        IDENTIFIER
    } else if first == UPPER {
        NAME
    } else if text.len() > 3 && !is_stop(text) {
        WORD
    } else {
        return;
    };
    sink.value(hash(text, false), weight);
}

/// Tells the words of a run of letters and digits; returns how many there were. It has no other classes than `all`.
fn words(run: &str, all: Class, sink: &mut impl Sink) -> usize {
    if all & (UPPER | DIGIT | OTHER) == 0 {
        return word(run, sink);
    }
    let bytes = run.as_bytes();
    let (mut start, mut count) = (0, 0);
    let mut at = 0;
    while at < bytes.len() {
        let class = class_of(bytes[at]);
        let mut end = at + 1;
        if class == OTHER {
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
            (DIGIT, next) => next != DIGIT,
            (LOWER | OTHER, UPPER) | (_, DIGIT) => true,
            (UPPER, UPPER) => after == Some(LOWER),
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
    if !text.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return lower_word(text, sink);
    }
    let mut lower = [0_u8; LONGEST];
    let lower = &mut lower[..text.len()];
    lower.copy_from_slice(text.as_bytes());
    lower.make_ascii_lowercase();
    std::str::from_utf8(lower).map_or(0, |lower| lower_word(lower, sink))
}

fn lower_word(lower: &str, sink: &mut impl Sink) -> usize {
    if !is_stop(lower) {
        sink.word(hash(stem::stem(lower), true));
    }
    1
}

fn is_spaceless(c: char) -> bool {
    matches!(c, '\u{0e00}'..='\u{0eff}' | '\u{1000}'..='\u{109f}' | '\u{1780}'..='\u{17ff}' | '\u{3040}'..='\u{30ff}'
        | '\u{3400}'..='\u{9fff}' | '\u{f900}'..='\u{faff}' | '\u{20000}'..='\u{3ffff}')
}

/// The hash of a text that stands for itself.
pub(super) fn hash_of(text: &str) -> u32 {
    hash(text, false)
}

/// Words and values do not share theirs. Eight bytes at a time, each multiplied in; the same on every machine.
fn hash(text: &str, is_word: bool) -> u32 {
    const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;
    let (eights, rest) = text.as_bytes().as_chunks::<8>();
    let mut state = (text.len() as u64) << 1 | u64::from(is_word);
    for eight in eights {
        state = (state ^ u64::from_le_bytes(*eight)).wrapping_mul(FACTOR);
        state ^= state >> 32;
    }
    state = (state.rotate_left(40) ^ packed(rest)).wrapping_mul(FACTOR);
    state = (state ^ (state >> 32)).wrapping_mul(0xd6e8_feb8_6659_fd93);
    (state >> 32) as u32
}

/// Up to seven bytes as a number: no two of one length are alike.
fn packed(bytes: &[u8]) -> u64 {
    let four = |at: usize| bytes[at..].first_chunk().map_or(0, |four| u64::from(u32::from_le_bytes(*four)));
    match bytes.len() {
        0 => 0,
        count @ 1..4 => u64::from(bytes[0]) | u64::from(bytes[count / 2]) << 8 | u64::from(bytes[count - 1]) << 16,
        count => four(0) | four(count - 4) << 32,
    }
}

/// English words that say nothing of what a text is about. Sorted, none above seven bytes.
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

/// The stop words as numbers; 0 is a free place.
const STOPS: [u64; 512] = {
    let mut table = [0; 512];
    let mut at = 0;
    while at < STOP.len() {
        let key = stop_key(STOP[at].as_bytes());
        let mut place = stop_place(key);
        while table[place] != 0 {
            place = (place + 1) % 512;
        }
        table[place] = key;
        at += 1;
    }
    table
};

/// A word of up to seven bytes as a number.
const fn stop_key(word: &[u8]) -> u64 {
    let mut key = 0;
    let mut at = 0;
    while at < word.len() {
        key |= (word[at] as u64) << (8 * at);
        at += 1;
    }
    key
}

const fn stop_place(key: u64) -> usize {
    (key.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 55) as usize
}

/// Whether a word, in small letters, says nothing.
fn is_stop(word: &str) -> bool {
    if word.len() >= 8 {
        return false;
    }
    let key = stop_key(word.as_bytes());
    let mut place = stop_place(key);
    while STOPS[place] != 0 {
        if STOPS[place] == key {
            return true;
        }
        place = (place + 1) % 512;
    }
    false
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
    fn stop_words_are_those_of_the_list() {
        for word in STOP {
            assert!(is_stop(word), "{word}");
            for other in [format!("{word}x"), format!("x{word}"), word[1..].to_owned()] {
                assert_eq!(is_stop(&other), STOP.contains(&other.as_str()), "{other}");
            }
        }
    }

    #[test]
    fn no_two_short_texts_share_a_hash() {
        let mut seen = std::collections::HashMap::new();
        for number in 0..4_000_u32 {
            let text = format!("{:x}", number.wrapping_mul(2_654_435_761) >> (number % 24));
            for is_word in [false, true] {
                let other = seen.insert(hash(&text, is_word), (text.clone(), is_word));
                assert!(other.is_none_or(|other| other == (text.clone(), is_word)), "{text}");
            }
        }
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
