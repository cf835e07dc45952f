//! Splits a text into words so that trivial respellings (case, spacing, punctuation, contractions) give the same words.
//!
//! One pass, linear. Scripts without spaces give one word per character. Numbers, codes, addresses and quoted strings are
//! kept apart, because a difference in them is another question.

use unicode_normalization_alignments::UnicodeNormalization as _;

use super::lexicon::{affirmed, lexicon};
use super::stem::{letters, stem};

/// Words kept of one text; what follows is only in the digest of the rest.
pub(super) const MAX_WORDS: usize = 192;
/// A chunk without white space is cut there; the rest of it is only in the digest.
const MAX_CHUNK: usize = 256;
/// What is no punctuation of prose and so is content where it stands alone.
const SYMBOLS: [char; 21] =
    ['+', '*', '/', '=', '<', '>', '&', '|', '^', '~', '%', '#', '@', '$', '\\', '(', ')', '[', ']', '{', '}'];
/// What is content between two words also without spaces around it.
const OPERATORS: [char; 8] = ['+', '*', '=', '<', '>', '^', '~', '%'];

/// What is content inside of a chunk, and changes nothing at its ends.
const MARKS: [char; 16] = ['!', '~', '&', '|', '/', '\\', ':', ';', '?', '(', ')', '[', ']', '{', '}', '@'];
/// What prose puts at the ends of a chunk.
const ENDS: [char; 20] =
    ['.', ',', ';', ':', '!', '?', '"', '\'', '`', '(', ')', '[', ']', '{', '}', '-', '*', '_', '。', '、'];

pub(super) const STOP: u16 = 1;
pub(super) const NUMBER: u16 = 1 << 1;
pub(super) const CODE: u16 = 1 << 2;
pub(super) const URL: u16 = 1 << 3;
pub(super) const NEGATION: u16 = 1 << 4;
pub(super) const NAME: u16 = 1 << 5;
pub(super) const UNIT: u16 = 1 << 6;
pub(super) const QUESTION: u16 = 1 << 7;
pub(super) const OPPOSED: u16 = 1 << 8;
pub(super) const DENIAL: u16 = 1 << 9;

/// One word of a text.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub(super) struct Word {
    /// Of the word as normalised.
    pub(super) whole: u32,
    /// Of its stem.
    pub(super) stem: u32,
    /// Of the stem of the word that this one may be the contrary of, as `unable` of `able`; 0 without.
    pub(super) affirmed: u32,
    /// Letters and pairs of letters, one bit each: close words share most bits.
    pub(super) letters: u64,
    pub(super) flags: u16,
    /// Characters, at most 255.
    pub(super) length: u8,
}

/// FNV-1a with a last mix, so that low bits are good enough for tables.
pub(super) fn hash(text: &str) -> u32 {
    let mut value = 0x811c_9dc5_u32;
    for byte in text.bytes() {
        value = (value ^ u32::from(byte)).wrapping_mul(0x0100_0193);
    }
    value ^= value >> 15;
    value = value.wrapping_mul(0x2c1b_3c6d);
    value ^ (value >> 12)
}

/// Scripts that write no spaces between words.
const fn unspaced(c: char) -> bool {
    matches!(c as u32, 0x0e00..=0x0eff | 0x1000..=0x109f | 0x1780..=0x17ff | 0x3041..=0x30ff | 0x3400..=0x4dbf
        | 0x4e00..=0x9fff | 0xf900..=0xfaff | 0x2_0000..=0x3_ffff)
}

/// The words of a text and the digests of its parts.
#[derive(Default)]
pub(super) struct Split {
    pub(super) words: Vec<Word>,
    /// Pairs of a number's hash and its unit's (0 without).
    pub(super) numbers: Vec<(u32, u32)>,
    pub(super) quoted: Vec<u32>,
    /// Of all words in order, also of those not kept.
    pub(super) digest: u64,
    /// Of the words not kept; 0 where all are.
    pub(super) rest: u64,
    pub(super) total: u32,
    buffer: String,
    capitals: u32,
    sentence_start: bool,
}

impl Split {
    pub(super) fn of(text: &str) -> Self {
        let mut split = Self { digest: 0x9e37_79b9_7f4a_7c15, sentence_start: true, ..Self::default() };
        if text.is_ascii() {
            split.read(text);
        } else {
            let folded: String = text
                .nfkc()
                .map(|(c, _)| match c {
                    '\u{2018}' | '\u{2019}' | '\u{201b}' | '\u{2032}' | '\u{ff07}' => '\'',
                    '\u{201c}' | '\u{201d}' | '\u{201e}' | '\u{ab}' | '\u{bb}' => '"',
                    '\u{2010}'..='\u{2015}' | '\u{2212}' => '-',
                    '\u{200b}'..='\u{200f}' | '\u{feff}' | '\u{ad}' => ' ',
                    other => other,
                })
                .collect();
            split.read(&folded);
        }
        split.layout(text);
        split.finish();
        split
    }

    fn read(&mut self, text: &str) {
        self.quotes(text);
        for chunk in text.split(char::is_whitespace).filter(|chunk| !chunk.is_empty()) {
            self.chunk(chunk);
        }
    }

    /// Where text is code, case and spacing are content: what stands between backticks, and how lines are indented.
    fn layout(&mut self, text: &str) {
        if let (Some(first), Some(last)) = (text.find('`'), text.rfind('`'))
            && first < last
        {
            for piece in text.as_bytes()[first..last].chunks(8) {
                let mut bytes = [0; 8];
                bytes[..piece.len()].copy_from_slice(piece);
                self.exact(u64::from_le_bytes(bytes));
            }
        }
        for (number, line) in text.split('\n').enumerate().skip(1) {
            let indented = line.len() - line.trim_start_matches([' ', '\t']).len();
            if (indented > 1 || line.starts_with('\t')) && !line.trim().is_empty() {
                self.exact(((number as u64) << 32) ^ indented as u64);
            }
        }
    }

    /// Counts for equality alone.
    const fn exact(&mut self, value: u64) {
        self.digest = (self.digest.rotate_left(7) ^ value).wrapping_mul(0x9fb2_1c65_1e98_df25);
    }

    /// Strings between double quotes or backticks, compared without case and spacing.
    fn quotes(&mut self, text: &str) {
        for mark in ['"', '`'] {
            for inner in text.split(mark).skip(1).step_by(2).take(16) {
                if inner.len() <= 200 && !inner.trim().is_empty() {
                    let plain: String =
                        inner.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect();
                    if !plain.is_empty() {
                        self.quoted.push(hash(&plain));
                    }
                }
            }
        }
        self.quoted.sort_unstable();
        self.quoted.dedup();
    }

    fn chunk(&mut self, chunk: &str) {
        let ends_sentence = chunk.ends_with(['.', '?', '!', ':', ';', '。', '？', '！']);
        let ends_clause = ends_sentence || chunk.ends_with(',');
        if self.words.len() >= MAX_WORDS {
            self.beyond(chunk);
        } else {
            let end = if chunk.len() <= MAX_CHUNK { chunk.len() } else { floor(chunk, MAX_CHUNK) };
            let first = self.words.is_empty();
            self.parse(&chunk[..end]);
            if let (true, [answer]) = (first && ends_clause, self.words.as_mut_slice()) {
                answer.flags &= !NEGATION; // "No, ..." answers; what follows says whether it denies
            }
            if end < chunk.len() {
                self.beyond(&chunk[end..]);
            }
        }
        self.sentence_start = ends_sentence;
    }

    /// What is not kept still counts for equality.
    fn beyond(&mut self, chunk: &str) {
        let core = chunk.trim_start_matches(['"', '\'', '`', '(', '[', '{']).trim_end_matches(ENDS);
        for c in core.chars().filter(|c| !matches!(c, ',' | '.' | '\'' | '-')).flat_map(char::to_lowercase) {
            self.rest = (self.rest ^ u64::from(c as u32)).wrapping_mul(0x0000_0100_0000_01b3).wrapping_add(1);
        }
        self.total += u32::from(!core.is_empty());
    }

    fn parse(&mut self, chunk: &str) {
        let bare = chunk.trim_matches(|c: char| {
            !c.is_alphanumeric() && !matches!(c, '+' | '#' | '%' | '$' | '€' | '£' | '₹' | '¥' | '-' | '_' | '/')
        });
        if bare.is_empty() {
            return self.symbols(chunk);
        }
        let lower = bare.contains("://") || bare.starts_with("www.") || bare.contains('@');
        if lower && bare.len() > 3 {
            let address = bare.trim_end_matches(['/', '-']).to_lowercase();
            let plain = address.trim_start_matches("https://").trim_start_matches("http://").trim_start_matches("www.");
            return self.push(plain, URL | CODE, false);
        }
        if self.number(bare) || self.code(bare) {
            return;
        }
        if !bare.chars().any(char::is_alphanumeric) {
            return self.symbols(bare);
        }
        // `!ready` is code, `ready!` is prose.
        if let Some(mark @ ('!' | '~')) = chunk.chars().next() {
            self.exact(mark.into());
        }
        // Words between punctuation; an apostrophe joins.
        let mut start = None;
        for (at, c) in bare.char_indices() {
            let inside = c.is_alphanumeric() || (c == '\'' && start.is_some()) || is_mark(c);
            if unspaced(c) {
                if let Some(from) = start.take() {
                    self.word(&bare[from..at]);
                }
                self.word(&bare[at..at + c.len_utf8()]);
            } else if inside {
                start.get_or_insert(at);
            } else if let Some(from) = start.take() {
                if c == '-' && at - from == 1 {
                    start = Some(from); // e-mail, x-ray: one word
                } else {
                    self.word(&bare[from..at]);
                    if OPERATORS.contains(&c) {
                        self.push(c.encode_utf8(&mut [0; 4]), CODE, false);
                    } else if MARKS.contains(&c) {
                        self.exact(c.into());
                    }
                }
            } else if MARKS.contains(&c) {
                self.exact(c.into());
            }
        }
        if let Some(from) = start {
            self.word(&bare[from..]);
        }
    }

    /// Symbols that stand alone, with the punctuation among them: `+`, `##`, `(,)`.
    fn symbols(&mut self, chunk: &str) {
        let symbols = chunk.trim_end_matches(['.', ',', ';', ':', '!', '?']);
        if symbols.len() <= 8 && symbols.contains(SYMBOLS) && !["/", "&", "|"].contains(&symbols) {
            self.push(symbols, CODE, false);
        }
    }

    /// `1,000.50`, `-5%`, `$20`, `10k`, `5kg`, `2nd`, `2015-2016`.
    fn number(&mut self, chunk: &str) -> bool {
        let body = chunk.trim_start_matches(['+', '#']);
        let (negative, body) = body.strip_prefix('-').map_or((false, body), |rest| (true, rest));
        let money = body.chars().next().filter(|c| "$€£₹¥".contains(*c));
        let body = money.map_or(body, |c| &body[c.len_utf8()..]);
        if !body.starts_with(|c: char| c.is_ascii_digit()) {
            return false;
        }
        if let Some((from, to)) = body.split_once(['-', '/'])
            && !negative
            && from.bytes().all(|b| b.is_ascii_digit())
            && to.starts_with(|c: char| c.is_ascii_digit())
        {
            return self.number(from) && (self.number(to) || self.code(to));
        }
        let digits = body.find(|c: char| !c.is_ascii_digit() && c != ',' && c != '.').unwrap_or(body.len());
        let (value, tail) = body.split_at(digits);
        let value = value.trim_end_matches([',', '.']);
        if value.matches('.').count() > 1 || value.len() > 40 {
            return false;
        }
        let tail = tail.trim_end_matches(|c: char| !c.is_alphanumeric() && c != '%').to_lowercase();
        let mut canonical: String = value.chars().filter(|c| *c != ',').collect();
        if canonical.contains('.') {
            canonical.truncate(canonical.trim_end_matches('0').trim_end_matches('.').len());
        }
        let lead = canonical.len() - canonical.trim_start_matches('0').len();
        canonical.drain(..lead.min(canonical.len().saturating_sub(1)));
        let unit = match tail.as_str() {
            "" => money.map_or(0, |c| lexicon().unit(hash(c.encode_utf8(&mut [0; 4])))),
            "k" if !canonical.contains('.') => {
                canonical.push_str("000");
                0
            }
            "st" | "nd" | "rd" | "th" => hash("th"),
            tail => match lexicon().unit(hash(tail)) {
                0 => return false,
                unit => unit,
            },
        };
        if negative {
            canonical.insert(0, '-');
        }
        self.push_number(&canonical, unit);
        true
    }

    fn push_number(&mut self, canonical: &str, unit: u32) {
        self.numbers.push((hash(canonical), unit));
        self.push(canonical, NUMBER, false);
        if unit != 0 {
            self.unit_word(unit);
        }
    }

    fn unit_word(&mut self, unit: u32) {
        let word =
            Word { whole: unit, stem: unit, affirmed: 0, letters: u64::from(unit), flags: UNIT | STOP, length: 2 };
        self.keep(word);
    }

    /// Identifiers, versions, paths: digits among letters, `_`, `::`, `c++`, dots between letters.
    fn code(&mut self, chunk: &str) -> bool {
        let chunk = chunk.trim_matches(|c: char| matches!(c, '-' | '/' | '$' | '%' | '€' | '£' | '₹' | '¥'));
        let bare = chunk.trim_matches('_');
        let (mut digits, mut letters) = (false, false);
        for c in bare.chars() {
            digits |= c.is_ascii_digit();
            letters |= c.is_alphabetic() && !unspaced(c);
        }
        let sharp = letters && bare.len() <= 4 && (bare.ends_with("++") || bare.ends_with('#'));
        let dotted = letters
            && bare.len() > 4
            && bare.split('.').count() >= 2
            && bare
                .split('.')
                .all(|part| part.len() >= 2 && part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_'));
        let joined = bare.contains('_') || bare.contains("::") || bare.contains("()");
        let version = digits && !letters && bare.len() >= 3;
        let mixed = digits && letters && !bare.contains('\'') && !bare.chars().any(unspaced);
        if !(sharp || dotted || joined || version || mixed) {
            return false;
        }
        let plain = bare.trim_matches(|c: char| !c.is_alphanumeric() && c != '+' && c != '#').to_lowercase();
        if plain.is_empty() {
            return false;
        }
        self.push(&plain, CODE, false);
        true
    }

    /// One word as written: contractions opened, possessives dropped.
    fn word(&mut self, written: &str) {
        let written = written.trim_matches('\'');
        let Some(first) = written.chars().next() else { return };
        let capital = first.is_uppercase();
        let name = capital && !self.sentence_start && written != "I" && !written.starts_with("I'");
        self.capitals += u32::from(capital);
        let mut buffer = std::mem::take(&mut self.buffer);
        buffer.clear();
        if written.is_ascii() {
            buffer.push_str(written);
            buffer.make_ascii_lowercase();
        } else {
            buffer.extend(written.chars().filter(|c| *c != '-').flat_map(char::to_lowercase));
        }
        if buffer.contains('-') {
            buffer.retain(|c| c != '-');
        }
        self.contracted(&buffer, name);
        self.sentence_start = false;
        self.buffer = buffer;
    }

    fn contracted(&mut self, word: &str, name: bool) {
        if let Some((head, tail)) = word.split_once('\'') {
            if tail == "t" && head.ends_with('n') {
                let head = match &head[..head.len() - 1] {
                    "ca" => "can",
                    "wo" => "will",
                    "sha" => "shall",
                    "ai" => "is",
                    other => other,
                };
                self.push(head, 0, false);
                return self.push("not", 0, false);
            }
            self.push(head, 0, name);
            match tail {
                "re" => self.push("are", 0, false),
                "ve" => self.push("have", 0, false),
                "ll" => self.push("will", 0, false),
                "m" => self.push("am", 0, false),
                "d" => self.push("would", 0, false),
                "s" if head == "let" => self.push("us", 0, false),
                "s" if matches!(
                    head,
                    "what" | "who" | "where" | "when" | "why" | "how" | "that" | "there" | "here" | "it" | "he" | "she"
                ) =>
                {
                    self.push("is", 0, false);
                }
                "s" | "" => {}
                tail => self.push(tail, 0, false),
            }
            return;
        }
        if let Some(parts) = lexicon().bare(hash(word)) {
            for part in parts {
                self.push(part, 0, false);
            }
            return;
        }
        self.push(word, 0, name);
    }

    fn push(&mut self, word: &str, flags: u16, name: bool) {
        if word.is_empty() {
            return;
        }
        let whole = hash(word);
        let lexicon = lexicon();
        if flags == 0 {
            if let Some(value) = lexicon.number(whole) {
                return self.push_number(&value.to_string(), 0);
            }
            if let (Some(last), unit @ 1..) = (self.numbers.last_mut(), lexicon.unit(whole))
                && last.1 == 0
                && self.words.last().is_some_and(|word| word.flags & NUMBER != 0)
            {
                last.1 = unit;
                return self.unit_word(unit);
            }
        }
        let known = lexicon.known(whole);
        let root = stem(word);
        let set = |on: bool, flag: u16| if on { flag } else { 0 };
        let word = Word {
            whole,
            stem: if flags == 0 { hash(root) } else { whole },
            affirmed: if flags == 0 { affirmed(word).map_or(0, |rest| hash(stem(rest))) } else { 0 },
            letters: letters(word),
            flags: flags
                | set(known.stop, STOP)
                | set(known.negation, NEGATION)
                | set(known.denial, DENIAL)
                | set(known.question != 0 && known.question != 7, QUESTION)
                | set(lexicon.has_opposite(whole), OPPOSED)
                | set(name && !known.stop, NAME),
            length: word.chars().count().min(255) as u8,
        };
        self.keep(word);
    }

    fn keep(&mut self, word: Word) {
        self.digest = (self.digest.rotate_left(5) ^ u64::from(word.whole)).wrapping_mul(0x517c_c1b7_2722_0a95);
        self.total += 1;
        if self.words.len() < MAX_WORDS {
            self.words.push(word);
        } else {
            self.rest = self.rest.wrapping_mul(0x0000_0100_0000_01b3) ^ u64::from(word.whole) | 1;
        }
    }

    fn finish(&mut self) {
        // Where most words are capitalised (titles, shouting), a capital says nothing.
        if self.capitals as usize * 2 > self.words.len() {
            for word in &mut self.words {
                word.flags &= !NAME;
            }
        }
        self.digest ^= self.rest.rotate_left(32);
        self.numbers.truncate(32);
        self.numbers.sort_unstable();
    }
}

const fn is_mark(c: char) -> bool {
    matches!(c as u32, 0x0300..=0x036f | 0x0900..=0x0903 | 0x093a..=0x094f | 0x0980..=0x0983 | 0x09bc..=0x09cd
        | 0x0600..=0x061a | 0x064b..=0x065f | 0x0e30..=0x0e4e)
}

fn floor(text: &str, at: usize) -> usize {
    (0..=at).rev().find(|&i| text.is_char_boundary(i)).unwrap_or(0)
}
