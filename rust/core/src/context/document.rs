//! A text made ready for choosing: cut into segments, each with its tokens, its words and its values.

use std::ops::Range;

use super::compact;
use super::data::{Blob, blobs};
use super::kind::{Kind, unnumbered};
use super::lines::{Worth, judge};
use super::owners::{Lines, Owners};
use super::render;
use super::terms::{self, Sink};
use crate::tokens::{Encoding, Scratch};

/// A line longer than that is cut after sentences and clauses of a piece and more, else after words.
const LINES: Pieces = Pieces { long: 200, piece: 100 };
/// The same of a message of a few sentences, where one clause may be all that is needed.
const CLAUSES: Pieces = Pieces { long: 60, piece: 30 };
const FEW_SENTENCES: usize = 400;
/// Where there are no words either, anywhere.
const HARD: usize = 400;
/// So many segments at most; more are joined two by two.
const MOST: usize = 4096;
/// Bytes in fewer letters are left where nothing presses: they may be a token, or a picture that a later call takes.
const NOBODY_READS: usize = 2048;
/// What speaks for the words that stand for encoded bytes.
const STAND_IN: f32 = 0.5;

/// How long the pieces of a line are, in bytes.
#[derive(Clone, Copy)]
struct Pieces {
    long: usize,
    piece: usize,
}

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
    /// The template of its line, if there are others of it.
    template: u32,
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

impl Value {
    /// Leaves so many tenths of its weight.
    fn weigh(&mut self, share: u8) {
        self.most = (u16::from(self.most) * u16::from(share)).div_ceil(10) as u8;
        self.sum = u16::from(self.most);
    }
}

/// A text in segments. O(its bytes) to make.
#[derive(Debug)]
pub struct Document {
    text: Box<str>,
    kind: Kind,
    is_compact: bool,
    /// Cut in clauses.
    is_fine: bool,
    tokens: u32,
    identifiers: u32,
    segments: Vec<Segment>,
    /// Segment by segment.
    values: Vec<Value>,
    words: Vec<u32>,
    /// Distinct words and how often each stands there, sorted.
    bag: Vec<(u32, u32)>,
    /// What stands for the segments that are encoded bytes, by the number of the segment before, which is empty.
    stand_ins: Vec<(u32, Box<str>)>,
    /// Of the first line of a template, by its segment, how many lines that has.
    alike: Vec<(u32, u32)>,
    owners: Owners,
}

/// How a text is to be read.
#[derive(Clone, Copy, Debug, Default)]
pub struct Reading<'a> {
    /// Whether JSON becomes its compact form, where that has fewer tokens.
    pub may_be_compact: bool,
    /// What kind of text it is; None: what it looks like.
    pub kind: Option<Kind>,
    /// What is known of its lines beside what its kind says; not of one that is compact.
    pub lines: Option<Lines<'a>>,
}

impl Document {
    /// Reads `text`. Where it `may_be_compact`, JSON becomes its compact form if that has fewer tokens.
    #[must_use]
    pub fn new(text: &str, may_be_compact: bool, encoding: &Encoding, scratch: &mut Scratch) -> Self {
        let tokens = encoding.count_with(text, scratch);
        Self::read(text, tokens, Reading { may_be_compact, ..Reading::default() }, encoding, scratch)
    }

    /// Reads `text`, of so many tokens, as it is said.
    #[must_use]
    pub fn read(text: &str, tokens: usize, reading: Reading<'_>, encoding: &Encoding, scratch: &mut Scratch) -> Self {
        if let Some(short) = reading.may_be_compact.then(|| compact::marked(text)).flatten() {
            let fewer = encoding.count_with(&short, scratch);
            if fewer < tokens {
                let mut document = Self::empty(short.text.into(), Kind::Json, true, fewer);
                document.cut(encoding, scratch, &Worth::Marks(&short.marks));
                return document;
            }
        }
        let mut document = Self::empty(text.into(), reading.kind.unwrap_or_else(|| Kind::of(text)), false, tokens);
        document.cut(encoding, scratch, &reading.lines.map_or(Worth::Kind, |lines| Worth::Lines(lines.worth)));
        if let Some(lines) = reading.lines {
            document.owners = Owners::new(lines.owners, &document.text, document.segments.iter().map(|one| one.start));
        }
        document
    }

    fn empty(text: Box<str>, kind: Kind, is_compact: bool, tokens: usize) -> Self {
        Self {
            text,
            kind,
            is_compact,
            is_fine: false,
            tokens: narrow(tokens),
            identifiers: 0,
            segments: Vec::new(),
            values: Vec::new(),
            words: Vec::new(),
            bag: Vec::new(),
            stand_ins: Vec::new(),
            alike: Vec::new(),
            owners: Owners::default(),
        }
    }

    fn cut(&mut self, encoding: &Encoding, scratch: &mut Scratch, worth: &Worth<'_>) {
        let blobs = blobs(&self.text);
        self.is_fine = self.kind == Kind::Prose && self.text.len() <= FEW_SENTENCES;
        let ends = cut(&self.text, &blobs, if self.is_fine { CLAUSES } else { LINES });
        let parts: Vec<&str> =
            ends.iter().scan(0, |start, &end| Some(&self.text[std::mem::replace(start, end)..end])).collect();
        let mut judged = judge(self.kind, &parts);
        worth.add(&parts, &mut judged);
        let mut blobs = blobs.into_iter().peekable();
        let mut actions = Actions::default();
        let mut start = 0;
        let mut terms = Terms { values: &mut self.values, words: &mut self.words };
        self.segments.reserve_exact(ends.len());
        terms.values.reserve(self.text.len() / 8);
        terms.words.reserve(self.text.len() / 8);
        for ((end, part), line) in ends.into_iter().zip(parts).zip(judged) {
            if let Some(blob) = blobs.next_if(|blob| blob.place.start == start) {
                self.stand_ins.push((narrow(self.segments.len()), blob.stand_in.as_str().into()));
                self.segments.push(Segment {
                    start: narrow(start),
                    end: narrow(start),
                    tokens: narrow(encoding.count_with(&blob.stand_in, scratch)),
                    values_end: narrow(terms.values.len()),
                    words_end: narrow(terms.words.len()),
                    prior: STAND_IN,
                    same: terms::hash_of(&blob.stand_in),
                    template: 0,
                });
            }
            let first = terms.values.len();
            let is_action = actions.take(part) && self.kind == Kind::Prose;
            terms::read(part, &mut terms);
            for value in &mut terms.values[first..] {
                value.weigh(line.share);
            }
            if let (true, Some(value)) = (is_action, terms.values.get_mut(first)) {
                value.most = value.most.max(terms::IDENTIFIER);
                value.sum = value.sum.max(u16::from(value.most));
            }
            distinct(terms.values, first);
            let mut tokens = encoding.count_with(part, scratch);
            if line.alike > 0 {
                self.alike.push((narrow(self.segments.len()), line.alike));
                tokens += encoding.count_with(&render::count_of(line.alike), scratch);
            }
            self.segments.push(Segment {
                start: narrow(start),
                end: narrow(end),
                tokens: narrow(tokens),
                values_end: narrow(terms.values.len()),
                words_end: narrow(terms.words.len()),
                prior: line.prior,
                same: terms::hash_of(unnumbered(part).trim()),
                template: line.template,
            });
            start = end;
        }
        self.identifiers = narrow(self.values.iter().filter(|value| value.most >= terms::IDENTIFIER).count());
        self.bag = bag_of(&self.words);
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

    /// The text with what says what they are in place of encoded bytes that are many; None where there are none.
    #[must_use]
    pub fn without_data(&self) -> Option<String> {
        let mut out = String::new();
        let mut at = 0;
        for (number, stand_in) in &self.stand_ins {
            let place = self.place(*number as usize + 1);
            if place.len() >= NOBODY_READS {
                out.push_str(&self.text[at..place.start]);
                out.push_str(stand_in);
                at = place.end;
            }
        }
        (at > 0).then(|| out + &self.text[at..])
    }

    /// The tokens of the text.
    #[must_use]
    pub fn tokens(&self) -> u32 {
        self.tokens
    }

    /// Whether its segments are clauses.
    pub(super) fn is_fine(&self) -> bool {
        self.is_fine
    }

    /// How many values look like identifiers, each once a segment.
    pub(super) fn identifiers(&self) -> u32 {
        self.identifiers
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
            + self.owners.size()
            + self.words.len() * 4
            + 200
    }

    pub(super) fn part(&self, at: usize) -> &str {
        &self.text[self.place(at)]
    }

    /// Where in the text a segment stands.
    pub(super) fn place(&self, at: usize) -> Range<usize> {
        self.segments[at].start as usize..self.segments[at].end as usize
    }

    /// What stands for the segment after, where this one is for that.
    pub(super) fn stand_in(&self, at: usize) -> Option<&str> {
        let found = self.stand_ins.binary_search_by_key(&narrow(at), |one| one.0).ok()?;
        Some(&self.stand_ins[found].1)
    }

    /// How many lines are like this segment's, where it is the first of them.
    pub(super) fn alike(&self, at: usize) -> Option<u32> {
        let found = self.alike.binary_search_by_key(&narrow(at), |one| one.0).ok()?;
        Some(self.alike[found].1)
    }

    /// Equal for segments whose lines are of one template; 0 for all others.
    pub(super) fn template(&self, at: usize) -> u32 {
        self.segments[at].template
    }

    pub(super) fn owners(&self) -> &Owners {
        &self.owners
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
        &self.words[self.words_before(first)..self.words_before(last)]
    }

    /// Where among the words of the document those of the segments before `first` end.
    pub(super) fn words_before(&self, first: usize) -> usize {
        first.checked_sub(1).map_or(0, |at| self.segments[at].words_end as usize)
    }

    pub(super) fn bag(&self) -> &[(u32, u32)] {
        &self.bag
    }

    /// How many words there are.
    pub(super) fn length(&self) -> usize {
        self.words.len()
    }
}

/// Whether lines stand in a block of an agent's words that says what to do: a fence, or a tag with lines of its own.
#[derive(Default)]
struct Actions {
    is_open: bool,
}

impl Actions {
    /// Whether the next line of the text is one of a block.
    fn take(&mut self, line: &str) -> bool {
        let line = line.trim();
        if line.starts_with("```") || line.starts_with("~~~") {
            self.is_open ^= !line[3..].ends_with("```");
            return false;
        }
        let tag = line.strip_prefix('<').and_then(|line| line.strip_suffix('>'));
        if let Some(tag) = tag {
            let name = tag.strip_prefix('/').unwrap_or(tag);
            if !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
                self.is_open = !tag.starts_with('/');
                return false;
            }
        }
        self.is_open
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

/// Where the segments of a text end: lines, sentences of long lines, and each blob by itself.
fn cut(text: &str, blobs: &[Blob], pieces: Pieces) -> Vec<usize> {
    let mut ends = Vec::new();
    let mut start = 0;
    for blob in blobs {
        cut_text(text, start..blob.place.start, pieces, &mut ends);
        ends.push(blob.place.end);
        start = blob.place.end;
    }
    cut_text(text, start..text.len(), pieces, &mut ends);
    while ends.len() > MOST {
        // The ends of blobs and of what is before them stay.
        let stays = |end: usize| {
            blobs.binary_search_by(|blob| blob.place.end.cmp(&end)).is_ok()
                || blobs.binary_search_by(|blob| blob.place.start.cmp(&end)).is_ok()
        };
        let (mut joined, mut is_open) = (Vec::with_capacity(ends.len() / 2 + 1), false);
        for (at, &end) in ends.iter().enumerate() {
            is_open = !is_open && !stays(end) && at + 1 < ends.len();
            if !is_open {
                joined.push(end);
            }
        }
        ends = joined;
    }
    ends
}

fn cut_text(text: &str, place: Range<usize>, pieces: Pieces, ends: &mut Vec<usize>) {
    let mut start = place.start;
    for line in text[place].split_inclusive('\n') {
        let end = start + line.len();
        if line.len() > pieces.long {
            cut_line(line, start, pieces, ends);
        }
        if ends.last() != Some(&end) {
            ends.push(end);
        }
        start = end;
    }
}

/// Ends after sentences or clauses once there are a piece's bytes, after a word where it is long, anywhere at `HARD`.
fn cut_line(line: &str, start: usize, Pieces { long, piece }: Pieces, ends: &mut Vec<usize>) {
    let (mut from, mut last) = (0, b' ');
    for (at, c) in line.char_indices() {
        let bytes = at - from;
        let ends_here = (bytes >= piece && last == b' ' && is_stop_before(line, at))
            || (bytes >= long && last == b' ')
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
