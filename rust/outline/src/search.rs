//! Which symbols the words of a question stand in: BM25 over an inverted index that symbols enter and leave at any time.
//!
//! A word counts by the field it stands in (BM25F with one length for all fields).

use std::collections::{HashMap, HashSet};

use sparecall_core::context::{self, bm25};

const B: f32 = 0.8;
/// So many different words of a question count, the first.
const WORDS: usize = 128;
/// Fewer dead symbols than this are not worth reclaiming.
const LEAST_DEAD: usize = 1024;

/// How much a word counts by where it stands, as chosen on questions about the Python standard library.
const NAME: u16 = 6;
const SIGNATURE: u16 = 2;
const ELSEWHERE: u16 = 1;

/// What is known of a symbol.
#[derive(Clone, Copy, Debug, Default)]
pub struct Fields<'a> {
    pub name_path: &'a str,
    pub signature: &'a str,
    /// Its text, docstring and comments included.
    pub text: &'a str,
    /// What stands around it, such as its path.
    pub context: &'a str,
}

/// A word of a symbol, and how often it stands there.
struct Posting {
    slot: u32,
    often: u16,
}

struct Slot {
    id: u64,
    length: u32,
    live: bool,
}

/// Symbols by their words. A symbol takes some 8 bytes for each different word.
#[derive(Default)]
pub struct WordIndex {
    postings: HashMap<u32, Vec<Posting>>,
    slots: Vec<Slot>,
    places: HashMap<u64, u32>,
    total: u64,
}

impl WordIndex {
    pub fn len(&self) -> usize {
        self.places.len()
    }

    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// Adds a symbol under an id that is not in use; one that is, is replaced. O(bytes).
    pub fn add(&mut self, id: u64, fields: &Fields<'_>) {
        self.remove(id);
        let mut counts: HashMap<u32, u16> = HashMap::new();
        let mut length = 0_u32;
        for (text, weight) in [
            (fields.name_path, NAME),
            (fields.signature, SIGNATURE),
            (fields.text, ELSEWHERE),
            (fields.context, ELSEWHERE),
        ] {
            context::words(text, |word| {
                let count = counts.entry(word).or_default();
                *count = count.saturating_add(weight);
                length = length.saturating_add(u32::from(weight));
            });
        }
        let slot = self.slots.len() as u32;
        for (word, often) in counts {
            self.postings.entry(word).or_default().push(Posting { slot, often });
        }
        self.slots.push(Slot { id, length, live: true });
        self.places.insert(id, slot);
        self.total += u64::from(length);
    }

    /// Whether it was there. Memory is reclaimed once half of what was added has been removed.
    pub fn remove(&mut self, id: u64) -> bool {
        let Some(place) = self.places.remove(&id) else { return false };
        let slot = &mut self.slots[place as usize];
        slot.live = false;
        self.total -= u64::from(slot.length);
        let dead = self.slots.len() - self.places.len();
        if dead > LEAST_DEAD && dead > self.slots.len() / 2 {
            self.reclaim();
        }
        true
    }

    fn reclaim(&mut self) {
        let mut moved = vec![u32::MAX; self.slots.len()];
        let mut next = 0;
        for (slot, new) in self.slots.iter().zip(&mut moved) {
            if slot.live {
                *new = next;
                next += 1;
            }
        }
        self.slots.retain(|slot| slot.live);
        self.places = self.slots.iter().zip(0..).map(|(slot, place)| (slot.id, place)).collect();
        self.postings.retain(|_, postings| {
            postings.retain_mut(|posting| {
                posting.slot = moved[posting.slot as usize];
                posting.slot != u32::MAX
            });
            postings.shrink_to_fit();
            !postings.is_empty()
        });
    }

    /// The ids of the `k` symbols that fit the words of `question` best, best first and then by id, with their scores, which are above 0.
    /// O(symbols + how often the words stand in them).
    pub fn search(&self, question: &str, k: usize) -> Vec<(u64, f32)> {
        let mut asked = HashSet::new();
        let mut order = Vec::new();
        context::words(question, |word| {
            if order.len() < WORDS && asked.insert(word) {
                order.push(word);
            }
        });
        let count = self.len() as f32;
        let mean = (self.total as f32 / count.max(1.0)).max(1.0);
        let mut scores = vec![0.0_f32; self.slots.len()];
        for postings in order.iter().filter_map(|word| self.postings.get(word)) {
            let live = |posting: &&Posting| self.slots[posting.slot as usize].live;
            let having = postings.iter().filter(live).count() as f32;
            let idf = bm25::idf(count, having);
            for Posting { slot, often } in postings.iter().filter(live) {
                let length = self.slots[*slot as usize].length as f32;
                scores[*slot as usize] += bm25::score(idf, f32::from(*often), length, mean, B);
            }
        }
        let found = scores.iter().zip(&self.slots).filter(|(score, _)| **score > 0.0);
        let mut found: Vec<(u64, f32)> = found.map(|(score, slot)| (slot.id, *score)).collect();
        let better = |a: &(u64, f32), b: &(u64, f32)| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0));
        if k < found.len() {
            found.select_nth_unstable_by(k, better);
            found.truncate(k);
        }
        found.sort_unstable_by(better);
        found
    }
}
