//! A text made ready for choosing: cut into segments, each with its tokens, its words and its values.

use super::compact::compact;
use super::kind::{Kind, Lines, unnumbered};
use super::terms::{self, Sink};
use crate::tokens::{Encoding, Scratch};

/// A line longer than that is cut after sentences, words, or, where there are none, anywhere.
const LONG: usize = 200;
const PIECE: usize = 100;
const HARD: usize = 400;
/// So many segments at most; more are joined two by two.
const MOST: usize = 4096;

/// One stretch of a document: kept or left out as a whole.
#[derive(Clone, Copy, Debug)]
pub(super) struct Segment {
    start: u32,
    end: u32,
    tokens: u32,
    values_end: u32,
    words_end: u32,
    /// What the kind of the text says for it.
    prior: f32,
    /// Of the text without the number and the white space around it.
    same: u32,
}

/// A value of a segment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Value {
    pub(super) hash: u32,
    /// Its weight where it weighs most, in tenths.
    pub(super) most: u8,
    /// That of all its places.
    pub(super) sum: u16,
}

/// A text in segments. O(its bytes) to make.
#[derive(Debug)]
pub struct Document {
    text: Box<str>,
    kind: Kind,
    is_compact: bool,
    tokens: u32,
    segments: Vec<Segment>,
    /// Segment by segment.
    values: Vec<Value>,
    words: Vec<u32>,
    /// Distinct words and how often each stands there, sorted.
    bag: Vec<(u32, u32)>,
}

impl Document {
    /// Reads `text`. Where it `may_be_compact`, JSON becomes its compact form if that has fewer tokens.
    #[must_use]
    pub fn new(text: &str, may_be_compact: bool, encoding: &Encoding, scratch: &mut Scratch) -> Self {
        Self::counted(text, encoding.count_with(text, scratch), may_be_compact, encoding, scratch)
    }

    /// The same of a text whose tokens are known.
    #[must_use]
    pub fn counted(
        text: &str,
        tokens: usize,
        may_be_compact: bool,
        encoding: &Encoding,
        scratch: &mut Scratch,
    ) -> Self {
        if let Some(short) = may_be_compact.then(|| compact(text)).flatten() {
            let fewer = encoding.count_with(&short, scratch);
            if fewer < tokens {
                return Self::of(short.into(), Kind::Json, true, fewer, encoding, scratch);
            }
        }
        Self::of(text.into(), Kind::of(text), false, tokens, encoding, scratch)
    }

    fn of(
        text: Box<str>,
        kind: Kind,
        is_compact: bool,
        tokens: usize,
        encoding: &Encoding,
        scratch: &mut Scratch,
    ) -> Self {
        let mut document = Self {
            text,
            kind,
            is_compact,
            tokens: narrow(tokens),
            segments: Vec::new(),
            values: Vec::new(),
            words: Vec::new(),
            bag: Vec::new(),
        };
        document.cut(encoding, scratch);
        document.bag = bag_of(&document.words);
        document
    }

    fn cut(&mut self, encoding: &Encoding, scratch: &mut Scratch) {
        let mut ends = cut(&self.text);
        while ends.len() > MOST {
            let joined = ends.chunks(2).map(|pair| pair[pair.len() - 1]).collect();
            ends = joined;
        }
        let mut lines = Lines::new(self.kind, ends.len());
        let mut start = 0;
        let mut terms = Terms { values: &mut self.values, words: &mut self.words };
        self.segments.reserve_exact(ends.len());
        terms.values.reserve(self.text.len() / 8);
        terms.words.reserve(self.text.len() / 8);
        for end in ends {
            let part = &self.text[start..end];
            let first = terms.values.len();
            terms::read(part, &mut terms);
            distinct(terms.values, first);
            self.segments.push(Segment {
                start: narrow(start),
                end: narrow(end),
                tokens: narrow(encoding.count_with(part, scratch)),
                values_end: narrow(terms.values.len()),
                words_end: narrow(terms.words.len()),
                prior: lines.prior(part),
                same: terms::hash_of(unnumbered(part).trim()),
            });
            start = end;
        }
    }

    /// The text, compact where it is.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether the text is the compact form of what came.
    #[must_use]
    pub fn is_compact(&self) -> bool {
        self.is_compact
    }

    #[must_use]
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The tokens of the text.
    #[must_use]
    pub fn tokens(&self) -> u32 {
        self.tokens
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.segments.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.segments.is_empty()
    }

    /// About what it takes in memory, in bytes.
    #[must_use]
    pub fn size(&self) -> usize {
        self.text.len()
            + self.segments.len() * size_of::<Segment>()
            + (self.values.len() + self.bag.len()) * 8
            + self.words.len() * 4
            + 200
    }

    pub(super) fn part(&self, at: usize) -> &str {
        let segment = &self.segments[at];
        &self.text[segment.start as usize..segment.end as usize]
    }

    pub(super) fn cost(&self, at: usize) -> u32 {
        self.segments[at].tokens
    }

    /// Equal for segments that say the same, up to a number before them.
    pub(super) fn same(&self, at: usize) -> u32 {
        self.segments[at].same
    }

    pub(super) fn prior(&self, at: usize) -> f32 {
        self.segments[at].prior
    }

    /// The values of the segments from `first` to before `last`; those of one segment are distinct, in the order of their hashes.
    pub(super) fn values(&self, first: usize, last: usize) -> &[Value] {
        &self.values[self.values_before(first)..self.values_before(last)]
    }

    /// Where among the values of the document those of the segments before `first` end.
    pub(super) fn values_before(&self, first: usize) -> usize {
        first.checked_sub(1).map_or(0, |at| self.segments[at].values_end as usize)
    }

    /// Their words.
    pub(super) fn words(&self, first: usize, last: usize) -> &[u32] {
        let end_of = |before: usize| before.checked_sub(1).map_or(0, |at| self.segments[at].words_end as usize);
        &self.words[end_of(first)..end_of(last)]
    }

    pub(super) fn bag(&self) -> &[(u32, u32)] {
        &self.bag
    }

    /// How many words there are.
    pub(super) fn length(&self) -> usize {
        self.words.len()
    }
}

struct Terms<'a> {
    values: &'a mut Vec<Value>,
    words: &'a mut Vec<u32>,
}

impl Sink for Terms<'_> {
    fn value(&mut self, hash: u32, weight: u8) {
        self.values.push(Value { hash, most: weight, sum: u16::from(weight) });
    }

    fn word(&mut self, hash: u32) {
        self.words.push(hash);
    }
}

/// Puts the values from `first` on in the order of their hashes, each once.
fn distinct(values: &mut Vec<Value>, first: usize) {
    values[first..].sort_unstable_by_key(|value| value.hash);
    let mut last = first;
    for at in first + 1..values.len() {
        let value = values[at];
        let kept = &mut values[last];
        if kept.hash == value.hash {
            kept.most = kept.most.max(value.most);
            kept.sum = kept.sum.saturating_add(value.sum);
        } else {
            last += 1;
            values[last] = value;
        }
    }
    values.truncate((last + 1).min(values.len()));
}

/// Distinct words with their counts, sorted.
pub(super) fn bag_of(words: &[u32]) -> Vec<(u32, u32)> {
    let mut sorted = words.to_vec();
    sorted.sort_unstable();
    let mut bag: Vec<(u32, u32)> = Vec::new();
    for word in sorted {
        match bag.last_mut() {
            Some((last, count)) if *last == word => *count += 1,
            _ => bag.push((word, 1)),
        }
    }
    bag
}

/// Where the segments of a text end: lines, and sentences of long lines.
fn cut(text: &str) -> Vec<usize> {
    let mut ends = Vec::new();
    let mut start = 0;
    for line in text.split_inclusive('\n') {
        let end = start + line.len();
        if line.len() > LONG {
            cut_line(line, start, &mut ends);
        }
        if ends.last() != Some(&end) {
            ends.push(end);
        }
        start = end;
    }
    ends
}

/// Ends after sentences or clauses once there are `PIECE` bytes, after a word at `LONG`, anywhere at `HARD`.
fn cut_line(line: &str, start: usize, ends: &mut Vec<usize>) {
    let (mut from, mut last) = (0, b' ');
    for (at, c) in line.char_indices() {
        let bytes = at - from;
        let ends_here = (bytes >= PIECE && last == b' ' && is_stop_before(line, at))
            || (bytes >= LONG && last == b' ')
            || bytes >= HARD;
        if ends_here && line.len() - at >= 8 {
            ends.push(start + at);
            from = at;
        }
        last = if c.is_ascii() { c as u8 } else { b'x' };
    }
}

/// Whether a clause ends before the space before `at`.
fn is_stop_before(line: &str, at: usize) -> bool {
    at >= 2 && matches!(line.as_bytes()[at - 2], b'.' | b'!' | b'?' | b';' | b',' | b':')
}

fn narrow(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
