//! A search: screen by codes, verify by bytes, decide by the original values.
//!
//! Up to eight queries share one pass over the codes. Each keeps its own threshold, which rises as it finds entries.

use std::borrow::Borrow;
use std::sync::Arc;

use super::best::{Best, Hit};
use super::bound::{MARGIN, Screener};
use super::chunk::{CHUNK, Chunk};
use super::codes::Codes;
use super::kernels::{self, BLOCK, LINE, Screen, TILE};
use super::likely::Likely;
use super::price::{self, Prices};
use super::projection::Projection;
use super::vector::Query;
use crate::cpu;

/// Candidates whose bytes are asked for before they are needed.
const AHEAD: usize = 8;

/// What is asked of an index.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// At most so many hits.
    pub k: usize,
    /// None below.
    pub min_similarity: f64,
    /// Whether every entry at or above the threshold must be found.
    pub exact: bool,
    /// Entries that expire at or before this are not returned.
    pub now: u64,
}

/// What a search found.
#[derive(Debug, Clone, PartialEq)]
pub struct Found {
    /// Best first; of equally similar ones the lowest id first.
    pub hits: Vec<Hit>,
    /// Entries whose vectors were read: what the codes could not prove to be below the threshold.
    pub verified: usize,
    /// Entries of the namespace.
    pub living: usize,
}

impl Found {
    /// The share of live entries whose vectors were read; 0 where there are none.
    pub fn verified_fraction(&self) -> f64 {
        if self.living == 0 { 0.0 } else { self.verified as f64 / self.living as f64 }
    }
}

/// A namespace as it was at one moment; later changes of the index do not show in it.
#[derive(Debug, Clone)]
pub struct Snapshot {
    pub(super) chunks: Arc<Vec<Chunk>>,
    pub(super) living: usize,
    /// Entries that have codes, dead ones too.
    pub(super) encoded: usize,
    pub(super) prices: Prices,
}

impl Snapshot {
    /// Entries that live, expired ones not yet met among them.
    pub fn len(&self) -> usize {
        self.living
    }

    /// Whether none live.
    pub fn is_empty(&self) -> bool {
        self.living == 0
    }

    /// Entries that take memory: those that live, and removed ones whose chunk has not been emptied yet.
    pub fn slots(&self) -> usize {
        self.chunks.iter().map(|chunk| chunk.rows.len()).sum()
    }

    /// Whether most entries have codes.
    pub fn is_screened(&self) -> bool {
        2 * self.encoded > self.living
    }

    /// About how many nanoseconds so many queries take.
    pub fn predict(&self, queries: usize, options: &Options) -> f64 {
        // Chunks are alike: one is asked, since to ask each costs a cache miss a chunk.
        let row = self.chunks.first().map_or(0, |chunk| chunk.rows.bytes.len() / chunk.rows.len().max(1));
        let codes = self.chunks.iter().find_map(|chunk| chunk.codes.as_ref());
        let code = codes.map_or(0, |codes| codes.bytes.len() * LINE / (codes.blocks() * BLOCK).max(1));
        let encoded = self.encoded.min(self.living);
        let flat = row * (self.living - encoded);
        let verified = self.prices.share(options) * encoded as f64;
        let screened = (self.encoded * code) as f64;
        queries as f64 * price::nanoseconds(cpu::level(), screened, flat as f64, verified, row as f64)
    }

    /// What each of the queries finds.
    pub fn search<Q: Borrow<Query>>(&self, queries: &[Q], options: &Options) -> Vec<Found> {
        let mut found = Vec::with_capacity(queries.len());
        for tile in queries.chunks(TILE) {
            let mut seekers: Vec<_> = tile.iter().map(|query| Seeker::new(query.borrow(), options)).collect();
            let mut screeners: Vec<(Arc<Projection>, Vec<Screener>)> = Vec::new();
            let mut scores = vec![0; seekers.len() * CHUNK];
            // What the screen leaves of a chunk is refined after the next was screened, and verified one later: by then the
            // memory asked for is at hand.
            let (mut screened, mut refined): (Option<Stage>, Option<Stage>) = (None, None);
            for (position, chunk) in self.chunks.iter().enumerate().filter(|(_, chunk)| chunk.living > 0) {
                let floor = chunk.rows.floor(options.min_similarity);
                let mut now = None;
                if let Some(codes) = self.chunks.get(position + 2).and_then(|chunk| chunk.codes.as_ref()) {
                    (kernels::get().prefetch)(Arc::as_ptr(codes).cast(), size_of::<Codes>());
                }
                let next = self.chunks.get(position + 1).and_then(|chunk| chunk.codes.as_deref());
                if let Some(codes) = &chunk.codes {
                    let of = |(projection, _): &(Arc<Projection>, _)| Arc::ptr_eq(projection, &codes.projection);
                    let at = screeners.iter().position(of).unwrap_or_else(|| {
                        screeners.push((codes.projection.clone(), prepare(&codes.projection, tile, options)));
                        screeners.len() - 1
                    });
                    let stage = Stage { chunk, codes, floor, screeners: at };
                    screen(&stage, next, &screeners[at].1, &mut seekers, &mut scores);
                    now = Some(stage);
                }
                for seeker in &mut seekers {
                    seeker.scan(chunk, floor);
                }
                step(screened.as_ref(), refined.as_ref(), &screeners, &mut seekers);
                (refined, screened) = (screened, now);
            }
            step(screened.as_ref(), refined.as_ref(), &screeners, &mut seekers);
            step(None, screened.as_ref(), &screeners, &mut seekers);
            found.extend(seekers.into_iter().map(|seeker| Found {
                hits: seeker.best.into_hits(),
                verified: seeker.verified,
                living: self.living,
            }));
        }
        found
    }
}

/// A chunk on its way through the steps of a search.
struct Stage<'a> {
    chunk: &'a Chunk,
    codes: &'a Codes,
    /// Similarities of stored forms below do not count in this chunk.
    floor: f64,
    /// Which screeners are for its codes.
    screeners: usize,
}

/// The queries' sides of the bound for one projection.
fn prepare<Q: Borrow<Query>>(projection: &Projection, queries: &[Q], options: &Options) -> Vec<Screener> {
    let heads = match queries {
        [query] => projection.apply(&query.borrow().unit),
        _ => projection.apply(&queries.iter().flat_map(|query| &query.borrow().unit).copied().collect::<Vec<_>>()),
    };
    let likely = (!options.exact).then(|| Likely::new(projection, options.min_similarity));
    heads.chunks_exact(projection.head).map(|head| Screener::new(projection, head, likely)).collect()
}

/// Lets each seeker verify what is left of one chunk, and refine what the screen left of the next.
fn step(
    screened: Option<&Stage<'_>>,
    refined: Option<&Stage<'_>>,
    screeners: &[(Arc<Projection>, Vec<Screener>)],
    seekers: &mut [Seeker<'_>],
) {
    for (query, seeker) in seekers.iter_mut().enumerate() {
        if let Some(stage) = refined {
            seeker.verify(stage);
        }
        if let Some(stage) = screened {
            seeker.refine(stage, &screeners[stage.screeners].1[query]);
        }
        std::mem::swap(&mut seeker.candidates, &mut seeker.screened);
    }
}

/// Screens the encoded entries of a chunk for all seekers and notes for each what is left.
fn screen(
    stage: &Stage<'_>,
    next: Option<&Codes>,
    screeners: &[Screener],
    seekers: &mut [Seeker<'_>],
    scores: &mut [i32],
) {
    let &Stage { chunk, codes, floor, .. } = stage;
    let (blocks, entries) = (codes.blocks(), codes.blocks() * BLOCK);
    let mut masks = [[0; CHUNK / BLOCK]; TILE];
    let mut screens = Vec::with_capacity(TILE);
    for (((screener, seeker), scores), masks) in
        screeners.iter().zip(&*seekers).zip(scores.chunks_exact_mut(CHUNK)).zip(&mut masks)
    {
        screens.push(Screen {
            tables: &screener.tables,
            threshold: screener.threshold(seeker.best.threshold(floor)),
            scores: &mut scores[..entries],
            masks: &mut masks[..blocks],
        });
    }
    let kernels = kernels::get();
    (kernels.screen)(&codes.screened(next), &mut screens);
    for ((seeker, scores), masks) in seekers.iter_mut().zip(scores.chunks_exact(CHUNK)).zip(&masks) {
        seeker.candidates.clear();
        for (block, (&mask, &always)) in masks.iter().zip(codes.always.iter()).enumerate() {
            let mut left = (mask | always) & chunk.live[block];
            while left != 0 {
                let at = left.trailing_zeros() as usize;
                left &= left - 1;
                let score = if always >> at & 1 == 1 { i32::MAX } else { scores[block * BLOCK + at] };
                let slot = block * BLOCK + at;
                (kernels.prefetch)(codes.sharp[slot..].as_ptr().cast(), 1);
                seeker.candidates.push((score, slot as u32));
            }
        }
    }
}

/// One query on its way through the chunks.
struct Seeker<'a> {
    query: &'a Query,
    best: Best,
    now: u64,
    /// What similarities, or their intervals, have to reach.
    min_similarity: f64,
    verified: usize,
    /// Scores and slots that the screen left of the chunk just screened, and of the one before.
    candidates: Vec<(i32, u32)>,
    screened: Vec<(i32, u32)>,
    /// Similarities that entries of the chunk before those may have at most, and their slots.
    refined: Vec<(f32, u32)>,
}

impl<'a> Seeker<'a> {
    fn new(query: &'a Query, options: &Options) -> Self {
        Self {
            query,
            best: Best::new(options.k),
            now: options.now,
            min_similarity: options.min_similarity,
            verified: 0,
            candidates: Vec::new(),
            screened: Vec::new(),
            refined: Vec::new(),
        }
    }

    /// Keeps of what the screen left what the sharper bound leaves too.
    fn refine(&mut self, stage: &Stage<'_>, screener: &Screener) {
        let &Stage { chunk, codes, floor, .. } = stage;
        let threshold = self.best.threshold(floor);
        for &(score, slot) in &self.screened {
            let at = slot as usize;
            let mut bound = f64::INFINITY;
            if score < i32::MAX {
                let pair = [codes.pairs[2 * at], codes.pairs[2 * at + 1]];
                bound = screener.sharper(score, pair, codes.sharp[at]);
                if bound < threshold {
                    continue;
                }
            }
            if self.refined.len() < AHEAD {
                chunk.rows.prefetch(at);
            }
            self.refined.push(((bound as f32).next_up(), slot));
        }
        self.screened.clear();
    }

    /// Verifies what is left of a chunk, the most promising first, until the threshold has risen above the rest.
    fn verify(&mut self, stage: &Stage<'_>) {
        let &Stage { chunk, floor, .. } = stage;
        let mut refined = std::mem::take(&mut self.refined);
        if refined.len() > 1 {
            refined.sort_unstable_by(|a, b| b.0.total_cmp(&a.0).then(b.1.cmp(&a.1)));
        }
        for (at, &(bound, slot)) in refined.iter().enumerate() {
            if let Some(&(_, soon)) = refined.get(at + AHEAD) {
                chunk.rows.prefetch(soon as usize);
            }
            if f64::from(bound) < self.best.threshold(floor) {
                break;
            }
            let mut product = [0];
            chunk.rows.products(self.query, slot as usize, &mut product);
            self.verified += 1;
            self.weigh(chunk, slot as usize, product[0], floor);
        }
        refined.clear();
        self.refined = refined;
    }

    /// Verifies every entry that has no codes.
    fn scan(&mut self, chunk: &Chunk, floor: f64) {
        if chunk.encoded() == CHUNK {
            return;
        }
        let mut products = [0; BLOCK];
        let end = chunk.rows.len();
        for start in (chunk.encoded()..end).step_by(BLOCK) {
            let mut live = chunk.live[start / BLOCK];
            let products = &mut products[..BLOCK.min(end - start)];
            if live != 0 {
                chunk.rows.products(self.query, start, products);
                self.verified += live.count_ones() as usize;
            }
            while live != 0 {
                let at = live.trailing_zeros() as usize;
                live &= live - 1;
                self.weigh(chunk, start + at, products[at], floor);
            }
        }
    }

    /// Decides an entry whose bytes make this product.
    #[inline]
    fn weigh(&mut self, chunk: &Chunk, slot: usize, product: i32, floor: f64) {
        let rows = &*chunk.rows;
        let threshold = self.best.threshold(floor) - MARGIN;
        if rows.at_most(slot, self.query, product) < threshold || rows.expires_at[slot] <= self.now {
            return;
        }
        let hit = rows.hit(slot, self.query);
        // The floor was loosened for the chunk's original that is furthest off: this one may be nearer.
        if f64::from(hit.interval[1]) >= self.min_similarity {
            self.best.offer(hit);
        }
    }
}
