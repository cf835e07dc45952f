//! Tokens that are a text of their own, such as `<|endoftext|>`: no merge makes them, a search finds them in a text.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::ops::Range;
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
    /// Searches that are made once, before and after normalization: for the tokens that are always found, and for all.
    always: [OnceLock<Search>; 2],
    everything: [OnceLock<Search>; 2],
    /// The search for those that must be allowed.
    special: OnceLock<Search>,
    /// Whether no two of them can overlap in a text, so that a search for all finds whatever one for a few would.
    apart: OnceLock<bool>,
}

/// Finds some of the tokens: leftmost first, of those the longest.
#[derive(Debug, Clone)]
struct Search {
    /// `None` where there is nothing to find.
    automaton: Option<AhoCorasick>,
    /// The places of what it finds in the list of all.
    places: Vec<usize>,
}

/// What a search cuts a text into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part<'t> {
    Text(&'t str),
    Token(u32),
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

    /// The one of that id; of several the first.
    pub(super) fn of_id(&self, id: u32) -> Option<&Special> {
        self.by_id.get(&id).map(|place| &self.entries[*place])
    }

    /// Whether any is found in every text, before or after it is `normalized`.
    pub(super) fn has_always(&self, normalized: bool) -> bool {
        self.always(normalized).automaton.is_some()
    }

    /// Calls `each` with every token that is found in `text`, and with what lies before, between and after. The text is
    /// `normalized` or not yet: either has tokens of its own.
    pub(super) fn split<'t>(
        &self,
        text: &'t str,
        allowed: Allowed<'_>,
        normalized: bool,
        mut each: impl FnMut(Part<'t>),
    ) {
        let may_be = |entry: &Special, texts: &[String]| !entry.special || texts.contains(&entry.text);
        let everything = || {
            let search = || self.search(|entry| entry.normalized == normalized);
            Cow::Borrowed(self.everything[usize::from(normalized)].get_or_init(search))
        };
        let search = match allowed {
            Allowed::Nothing => Cow::Borrowed(self.always(normalized)),
            Allowed::Everything => everything(),
            Allowed::Only(_) if self.are_apart() => everything(),
            Allowed::Only(texts) => {
                Cow::Owned(self.search(|entry| entry.normalized == normalized && may_be(entry, texts)))
            }
        };
        let mut at = 0;
        for (place, found) in search.find_all(text) {
            let entry = &self.entries[place];
            if matches!(allowed, Allowed::Only(texts) if !may_be(entry, texts)) {
                continue;
            }
            if at < found.start {
                each(Part::Text(&text[at..found.start]));
            }
            each(Part::Token(entry.id));
            at = found.end;
        }
        if at < text.len() {
            each(Part::Text(&text[at..]));
        }
    }

    /// The first special token in `text` that `is_meant`, the longest of those that begin there.
    pub(super) fn first(&self, text: &str, is_meant: impl Fn(&str) -> bool) -> Option<&str> {
        let mut search = Cow::Borrowed(self.special.get_or_init(|| self.search(|entry| entry.special)));
        let (mut found, _) = search.find_all(text).next()?;
        if !is_meant(&self.entries[found].text) {
            if !self.are_apart() {
                search = Cow::Owned(self.search(|entry| entry.special && is_meant(&entry.text)));
            }
            found = search.find_all(text).map(|(place, _)| place).find(|place| is_meant(&self.entries[*place].text))?;
        }
        Some(&self.entries[found].text)
    }

    fn always(&self, normalized: bool) -> &Search {
        let search = || self.search(|entry| entry.normalized == normalized && !entry.special);
        self.always[usize::from(normalized)].get_or_init(search)
    }

    fn search(&self, find: impl Fn(&Special) -> bool) -> Search {
        let places: Vec<usize> = (0..self.entries.len()).filter(|place| find(&self.entries[*place])).collect();
        let texts: Vec<&str> = places.iter().map(|place| self.entries[*place].text.as_str()).collect();
        Search { automaton: automaton(&texts, MatchKind::LeftmostLongest), places }
    }

    fn are_apart(&self) -> bool {
        *self.apart.get_or_init(|| {
            let texts: Vec<&str> = self.entries.iter().map(|entry| entry.text.as_str()).collect();
            let within = |place: usize, automaton: &AhoCorasick| {
                automaton.find_overlapping_iter(texts[place]).any(|found| found.pattern().as_usize() != place)
            };
            let contained = automaton(&texts, MatchKind::Standard)
                .is_some_and(|automaton| (0..texts.len()).any(|place| within(place, &automaton)));
            let beginnings: HashSet<&[u8]> =
                texts.iter().flat_map(|text| (1..text.len()).map(|end| &text.as_bytes()[..end])).collect();
            let linked =
                texts.iter().any(|text| (1..text.len()).any(|start| beginnings.contains(&text.as_bytes()[start..])));
            !contained && !linked
        })
    }
}

impl Search {
    /// What it finds, by its place in the list of all, and where.
    fn find_all(&self, text: &str) -> impl Iterator<Item = (usize, Range<usize>)> {
        let found = self.automaton.iter().flat_map(move |automaton| automaton.find_iter(text));
        found.map(|found| (self.places[found.pattern().as_usize()], found.range()))
    }
}

/// The first of `texts` that `text` holds, the longest of those that begin there.
pub fn first_of<'a>(texts: &[&'a str], text: &str) -> Option<&'a str> {
    let found = automaton(texts, MatchKind::LeftmostLongest)?.find(text)?;
    Some(texts[found.pattern().as_usize()])
}

fn automaton(texts: &[&str], kind: MatchKind) -> Option<AhoCorasick> {
    if texts.is_empty() {
        return None;
    }
    // Not an automaton with a row of 256 for each state: there may be a thousand texts, or a hostile file's.
    AhoCorasick::builder().match_kind(kind).kind(Some(AhoCorasickKind::ContiguousNFA)).build(texts).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What a search made for the allowed texts alone would find.
    fn expected(entries: &[Special], allowed: &[String], text: &str) -> Vec<(usize, u32)> {
        let mut found = Vec::new();
        let mut at = 0;
        while at < text.len() {
            let here =
                entries.iter().filter(|entry| allowed.contains(&entry.text) && text[at..].starts_with(&entry.text));
            match here.max_by_key(|entry| entry.text.len()) {
                Some(entry) => {
                    found.push((at, entry.id));
                    at += entry.text.len();
                }
                None => at += 1,
            }
        }
        found
    }

    proptest! {
        #[test]
        fn a_few_allowed_are_found_as_if_the_others_were_not_there(
            texts in proptest::collection::btree_set("[<ab>]{1,4}|<[ab]{1,3}>", 1..8),
            chosen in any::<u8>(),
            text in "[<ab>]{0,40}",
        ) {
            let special = |(id, text): (u32, &String)| Special { text: text.clone(), id, special: true, normalized: false };
            let entries: Vec<Special> = (0..).zip(&texts).map(special).collect();
            let allowed: Vec<String> =
                texts.iter().enumerate().filter(|(i, _)| chosen >> i & 1 == 1).map(|(_, text)| text.clone()).collect();
            let specials = Specials::new(entries.clone());
            let (mut at, mut found) = (0, Vec::new());
            specials.split(&text, Allowed::Only(&allowed), false, |part| match part {
                Part::Text(text) => at += text.len(),
                Part::Token(id) => {
                    found.push((at, id));
                    at += entries[id as usize].text.len();
                }
            });
            let expected = expected(&entries, &allowed, &text);
            prop_assert_eq!(&found, &expected);
            let first = expected.first().map(|(_, id)| entries[*id as usize].text.as_str());
            prop_assert_eq!(specials.first(&text, |token| allowed.iter().any(|text| text == token)), first);
        }
    }
}
