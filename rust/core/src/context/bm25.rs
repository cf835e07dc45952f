//! BM25 of Robertson and Zaragoza, "The Probabilistic Relevance Framework" (2009), with the idf that is never negative.

const K1: f32 = 1.2;

/// How rare a word is that `having` of `count` texts have.
pub fn idf(count: f32, having: f32) -> f32 {
    (1.0 + (count - having + 0.5) / (having + 0.5)).ln()
}

/// What a word adds to the score of a text of `length` in which it stands `often` times, where texts have `mean`; `b`: how much that matters, 0 to 1.
#[inline]
pub fn score(idf: f32, often: f32, length: f32, mean: f32, b: f32) -> f32 {
    let norm = K1 * (1.0 - b + b * length / mean);
    idf * often * (K1 + 1.0) / (often + norm)
}
