//! Tokens that are a text of their own, such as `<|endoftext|>`: no merge makes them, a search finds them in a text.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::OnceLock;

use aho_corasick::{AhoCorasick, AhoCorasickKind, MatchKind};

/// A token that stands for its own text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Special {
    /// Its text, never empty.
    pub text: String,
    /// Its id.
    pub id: u32,
    /// Found only where the caller allows it; the others, which files call added tokens, always are.
    pub special: bool,
    /// Found after the text is normalized, not before.
    pub normalized: bool,
}

/// Which of the special tokens a text may hold.
#[derive(Debug, Clone, Copy)]
pub enum Allowed<'a> {
    /// None: their texts are text.
    Nothing,
    /// All of them.
    Everything,
    /// Those of these texts.
    Only(&'a [String]),
}

/// The tokens of an encoding that stand for their own text.
#[derive(Debug, Default)]
pub(super) struct Specials {
    entries: Vec<Special>,
    by_id: HashMap<u32, usize>,
    /// Searches that are made once: for the tokens that are always found and for all, before and after normalization.
    always: [OnceLock<Search>; 2],
    everything: [OnceLock<Search>; 2],
    /// The search for those that must be allowed.
    special: OnceLock<Search>,
}

/// Finds some of the tokens: leftmost first, of those the longest.
#[derive(Debug, Clone)]
pub(super) struct Search {
    /// `None` where there is nothing to find.
    automaton: Option<AhoCorasick>,
    ids: Vec<u32>,
}

impl Specials {
    pub(super) fn new(entries: Vec<Special>) -> Self {
        let by_id = entries.iter().enumerate().rev().map(|(place, entry)| (entry.id, place)).collect();
        Self { entries, by_id, ..Self::default() }
    }

    /// All of them.
    pub(super) fn entries(&self) -> &[Special] {
        &self.entries
    }

    /// The search for what may be found in a text, before or after it is `normalized`.
    pub(super) fn search(&self, allowed: Allowed<'_>, normalized: bool) -> Cow<'_, Search> {
        let search = |find: &dyn Fn(&Special) -> bool| {
            let found = self.entries.iter().filter(|entry| entry.normalized == normalized && find(entry));
            let (texts, ids): (Vec<&str>, Vec<u32>) = found.map(|entry| (entry.text.as_str(), entry.id)).unzip();
            Search::new(&texts, ids)
        };
        let phase = usize::from(normalized);
        match allowed {
            Allowed::Nothing => Cow::Borrowed(self.always[phase].get_or_init(|| search(&|entry| !entry.special))),
            Allowed::Everything => Cow::Borrowed(self.everything[phase].get_or_init(|| search(&|_| true))),
            Allowed::Only(texts) => Cow::Owned(search(&|entry| !entry.special || texts.contains(&entry.text))),
        }
    }

    /// The first text of a special token that `text` holds.
    pub(super) fn first(&self, text: &str) -> Option<&str> {
        let special = || self.entries.iter().filter(|entry| entry.special);
        let search = self.special.get_or_init(|| {
            let texts: Vec<&str> = special().map(|entry| entry.text.as_str()).collect();
            Search::new(&texts, Vec::new())
        });
        search.first(text).and_then(|place| Some(special().nth(place)?.text.as_str()))
    }

    /// The one of that id; of several the first.
    pub(super) fn of_id(&self, id: u32) -> Option<&Special> {
        self.by_id.get(&id).map(|place| &self.entries[*place])
    }
}

impl Search {
    fn new(texts: &[&str], ids: Vec<u32>) -> Self {
        // Not an automaton with a row of 256 for each state: there may be a thousand of these, or a hostile file's.
        let build = || {
            AhoCorasick::builder()
                .match_kind(MatchKind::LeftmostLongest)
                .kind(Some(AhoCorasickKind::ContiguousNFA))
                .build(texts)
        };
        Self { automaton: if texts.is_empty() { None } else { build().ok() }, ids }
    }

    /// Calls `each` with every token that is found in `text`, and with what lies before, between and after.
    pub(super) fn split<'t>(&self, text: &'t str, mut each: impl FnMut(Part<'t>)) {
        let mut at = 0;
        if let Some(automaton) = &self.automaton {
            for found in automaton.find_iter(text) {
                if at < found.start() {
                    each(Part::Text(&text[at..found.start()]));
                }
                each(Part::Token(self.ids[found.pattern().as_usize()]));
                at = found.end();
            }
        }
        if at < text.len() {
            each(Part::Text(&text[at..]));
        }
    }

    /// Which of its texts is the first that `text` holds.
    fn first(&self, text: &str) -> Option<usize> {
        Some(self.automaton.as_ref()?.find(text)?.pattern().as_usize())
    }

    /// Whether there is nothing it could find.
    pub(super) fn is_empty(&self) -> bool {
        self.automaton.is_none()
    }
}

/// What a search cuts a text into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part<'t> {
    Text(&'t str),
    Token(u32),
}

/// The first of `texts` that `text` holds, the longest of those that begin there.
pub fn first_of<'a>(texts: &[&'a str], text: &str) -> Option<&'a str> {
    Search::new(texts, Vec::new()).first(text).map(|place| texts[place])
}
