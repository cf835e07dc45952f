//! How near each text of a conversation is to a query: BM25 and, where there are vectors, their similarity, carried over to neighbours.

use super::bm25;
use super::document::Document;
use super::numbers::Numbers;
use super::terms::{self, Sink};

/// Turns of a conversation are about as long as what they say.
const B: f32 = 0.3;
/// The best match by words stands for so many deviations of similarity, and one of these weighs so much.
const BEST: f32 = 6.0;
const DEVIATION: f32 = 2.0;
/// What a text gets of those one and two places before, and after: an answer follows its question.
const BEFORE: [f32; 2] = [0.4, 0.2];
const AFTER: [f32; 2] = [0.3, 0.2];
/// So many different words of a query count, the first.
const WORDS: usize = 128;

/// A query among the documents it is asked of: its words, how rare each is there, and its values, whatever they look like.
pub(super) struct Query {
    values: Numbers,
    idf: Vec<f32>,
    total: f32,
    /// Which documents have one of its words.
    has_some: Vec<bool>,
    words: Few,
}

/// The words of a query, each with its number: few among those that it is asked for, so that most of these are known by twelve of their bits.
struct Few {
    numbers: Numbers,
    bits: [u64; 64],
}

impl Few {
    fn new(numbers: Numbers, hashes: &[u32]) -> Self {
        let mut bits = [0; 64];
        for hash in hashes {
            bits[(hash >> 6 & 63) as usize] |= 1 << (hash & 63);
        }
        Self { numbers, bits }
    }

    fn get(&self, hash: u32) -> Option<u32> {
        if self.bits[(hash >> 6 & 63) as usize] >> (hash & 63) & 1 == 0 { None } else { self.numbers.get(hash) }
    }
}

struct Asked {
    words: Numbers,
    hashes: Vec<u32>,
    values: Numbers,
}

impl Sink for Asked {
    fn value(&mut self, hash: u32, _: u8) {
        self.values.number(hash);
    }

    fn word(&mut self, hash: u32) {
        if self.words.len() < WORDS && self.words.number(hash).1 {
            self.hashes.push(hash);
        }
    }
}

/// A word of the query in a document, and how often.
struct Found {
    document: usize,
    word: u32,
    often: f32,
}

impl Query {
    /// The query, and the relevance of each document, from 0 to 1. O(query + distinct words of the documents).
    pub(super) fn ask(text: &str, documents: &[&Document], similar: Option<&[f32]>) -> (Self, Vec<f32>) {
        let mut asked = Asked { words: Numbers::with_capacity(WORDS), hashes: Vec::new(), values: Numbers::default() };
        terms::read(text, &mut asked);
        let Asked { words, hashes, values } = asked;
        let mut found = Vec::new();
        let mut having = vec![0_u32; words.len()];
        let words = Few::new(words, &hashes);
        for (document, bag) in documents.iter().map(|document| document.bag()).enumerate() {
            for &(hash, often) in bag {
                if let Some(word) = words.get(hash) {
                    having[word as usize] += 1;
                    found.push(Found { document, word, often: often as f32 });
                }
            }
        }
        let count = documents.len() as f32;
        let idf: Vec<f32> = having.iter().map(|&having| bm25::idf(count, having as f32)).collect();
        let mut has_some = vec![false; documents.len()];
        for one in &found {
            has_some[one.document] = true;
        }
        let query = Self { words, values, total: idf.iter().sum(), idf, has_some };
        let mut scores = query.bm25(documents, &found);
        let best = scores.iter().fold(0.0_f32, |best, &score| best.max(score));
        if best > 0.0 {
            for score in &mut scores {
                *score *= BEST / best;
            }
        }
        if let Some(similar) = similar {
            add_deviations(&mut scores, similar);
        }
        (query, unit(&spread(&scores)))
    }

    fn bm25(&self, documents: &[&Document], found: &[Found]) -> Vec<f32> {
        let total: usize = documents.iter().map(|document| document.length()).sum();
        let mean = (total as f32 / documents.len().max(1) as f32).max(1.0);
        let mut scores = vec![0.0; documents.len()];
        for Found { document, word, often } in found {
            let length = documents[*document].length() as f32;
            scores[*document] += bm25::score(self.idf[*word as usize], *often, length, mean, B);
        }
        scores
    }

    /// Whether it has a value.
    pub(super) fn names(&self, value: u32) -> bool {
        self.values.get(value).is_some()
    }

    /// What of the query stands among `words` of a document: from 0, nothing, to 1, each of its words. O(words).
    pub(super) fn share(&self, document: usize, words: &[u32]) -> f32 {
        if !self.has_some[document] {
            return 0.0;
        }
        let mut seen = 0_u128;
        let mut sum = 0.0;
        for word in words.iter().filter_map(|&hash| self.words.get(hash)) {
            if seen & (1 << word) == 0 {
                seen |= 1 << word;
                sum += self.idf[word as usize];
            }
        }
        if self.total > 0.0 { sum / self.total } else { 0.0 }
    }
}

/// Adds to each score how many deviations its similarity lies above the mean.
fn add_deviations(scores: &mut [f32], similar: &[f32]) {
    let count = similar.len().max(1) as f32;
    let mean = similar.iter().sum::<f32>() / count;
    let deviation = (similar.iter().map(|one| (one - mean) * (one - mean)).sum::<f32>() / count).sqrt();
    if deviation > 1e-6 {
        for (score, one) in scores.iter_mut().zip(similar) {
            *score += DEVIATION * (one - mean) / deviation;
        }
    }
}

fn spread(scores: &[f32]) -> Vec<f32> {
    let at = |index: usize, by: isize| {
        index.checked_add_signed(by).and_then(|index| scores.get(index)).copied().unwrap_or(0.0)
    };
    let near = |index: usize, by: usize| {
        BEFORE[by - 1] * at(index, -by.cast_signed()) + AFTER[by - 1] * at(index, by.cast_signed())
    };
    (0..scores.len()).map(|index| scores[index] + near(index, 1) + near(index, 2)).collect()
}

/// The scores moved and scaled to lie between 0 and 1.
fn unit(scores: &[f32]) -> Vec<f32> {
    let low = scores.iter().copied().fold(f32::INFINITY, f32::min);
    let high = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let range = high - low;
    scores.iter().map(|score| if range > 1e-6 { (score - low) / range } else { 0.0 }).collect()
}
