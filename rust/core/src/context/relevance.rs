//! How near each text of a conversation is to a query: BM25 and, where there are vectors, their similarity, carried over to neighbours.
//!
//! BM25 is that of Robertson and Zaragoza, "The Probabilistic Relevance Framework" (2009), with the idf that is never negative.

use super::document::{Document, bag_of};
use super::terms::{self, Sink};

const K1: f32 = 1.2;
/// Turns of a conversation are about as long as what they say.
const B: f32 = 0.3;
/// The best match by words stands for so many deviations of similarity.
const BEST: f32 = 6.0;
/// What a text gets of those one and two places before, and after: an answer follows its question.
const BEFORE: [f32; 2] = [0.4, 0.2];
const AFTER: [f32; 2] = [0.3, 0.2];

/// The words of a query.
pub(super) struct Query {
    words: Vec<(u32, u32)>,
}

struct Words(Vec<u32>);

impl Sink for Words {
    fn value(&mut self, _: u32, _: u8) {}

    fn word(&mut self, hash: u32) {
        self.0.push(hash);
    }
}

impl Query {
    pub(super) fn new(text: &str) -> Self {
        let mut words = Words(Vec::new());
        terms::read(text, &mut words);
        Self { words: bag_of(&words.0) }
    }

    /// The relevance of each document, from 0 to 1, and for each word of the query how rare it is.
    pub(super) fn relevance(&self, documents: &[&Document], similar: Option<&[f32]>) -> (Vec<f32>, Rarity) {
        let rarity = self.rarity(documents);
        let mut scores = rarity.bm25(documents);
        let best = scores.iter().fold(0.0_f32, |best, &score| best.max(score));
        if best > 0.0 {
            for score in &mut scores {
                *score *= BEST / best;
            }
        }
        if let Some(similar) = similar {
            add_deviations(&mut scores, similar);
        }
        (unit(&spread(&scores)), rarity)
    }

    fn rarity(&self, documents: &[&Document]) -> Rarity {
        let count = documents.len() as f32;
        let found = |word: u32| {
            documents
                .iter()
                .filter(|document| document.bag().binary_search_by_key(&word, |&(word, _)| word).is_ok())
                .count()
        };
        let idf = |having: usize| (1.0 + (count - having as f32 + 0.5) / (having as f32 + 0.5)).ln();
        Rarity(self.words.iter().map(|&(word, _)| (word, idf(found(word)))).collect())
    }
}

/// The words of a query, sorted, with how rare each is in the conversation.
pub(super) struct Rarity(Vec<(u32, f32)>);

impl Rarity {
    /// The score of each document.
    fn bm25(&self, documents: &[&Document]) -> Vec<f32> {
        let total: usize = documents.iter().map(|document| document.length()).sum();
        let mean = (total as f32 / documents.len().max(1) as f32).max(1.0);
        let score = |document: &Document| {
            let norm = K1 * (1.0 - B + B * document.length() as f32 / mean);
            let bag = document.bag();
            self.0.iter().fold(0.0, |sum, &(word, idf)| match bag.binary_search_by_key(&word, |&(word, _)| word) {
                Ok(at) => {
                    let often = bag[at].1 as f32;
                    sum + idf * often * (K1 + 1.0) / (often + norm)
                }
                Err(_) => sum,
            })
        };
        documents.iter().map(|document| score(document)).collect()
    }

    /// What of the query stands among `words`: from 0, nothing, to 1, each of its words.
    pub(super) fn share(&self, words: &[u32]) -> f32 {
        let all: f32 = self.0.iter().map(|&(_, idf)| idf).sum();
        let found: f32 = self.0.iter().filter(|(word, _)| words.contains(word)).map(|&(_, idf)| idf).sum();
        if all > 0.0 { found / all } else { 0.0 }
    }
}

/// Adds to each score how many deviations its similarity lies above the mean.
fn add_deviations(scores: &mut [f32], similar: &[f32]) {
    let count = similar.len().max(1) as f32;
    let mean = similar.iter().sum::<f32>() / count;
    let deviation = (similar.iter().map(|one| (one - mean) * (one - mean)).sum::<f32>() / count).sqrt();
    if deviation > 1e-6 {
        for (score, one) in scores.iter_mut().zip(similar) {
            *score += WEIGHT * (one - mean) / deviation;
        }
    }
}

/// Of a deviation of similarity beside the words.
const WEIGHT: f32 = 2.0;

fn spread(scores: &[f32]) -> Vec<f32> {
    let at = |index: usize, by: isize| {
        index.checked_add_signed(by).and_then(|index| scores.get(index)).copied().unwrap_or(0.0)
    };
    (0..scores.len())
        .map(|index| {
            scores[index]
                + (1..=2)
                    .map(|by: usize| {
                        BEFORE[by - 1] * at(index, -by.cast_signed()) + AFTER[by - 1] * at(index, by.cast_signed())
                    })
                    .sum::<f32>()
        })
        .collect()
}

/// The scores moved and scaled to lie between 0 and 1.
fn unit(scores: &[f32]) -> Vec<f32> {
    let low = scores.iter().copied().fold(f32::INFINITY, f32::min);
    let high = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let range = high - low;
    scores.iter().map(|score| if range > 1e-6 { (score - low) / range } else { 0.0 }).collect()
}
