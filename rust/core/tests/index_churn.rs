//! Entries that come and go without end: memory, the work of a search and its answers stay what they were.
#![allow(clippy::unwrap_used)] // in a test a panic is the report
#![allow(clippy::cast_possible_wrap)] // ids here are small
#![allow(unsafe_code)] // an allocator that counts

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use sparecall_core::index::{Batch, CHUNK, Hit, Index, NEVER, Options, Query, Snapshot};

const DIM: usize = 96;
const LIVE: usize = 50_000;
const CENTRES: usize = 2_000;
/// How often an index is looked at.
const LOOKS: usize = 10;

static HELD: AtomicUsize = AtomicUsize::new(0);

/// The system's, with the bytes held counted.
struct Counting;

// SAFETY: every call goes to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        HELD.fetch_add(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        HELD.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's.
        unsafe { System.dealloc(pointer, layout) };
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Vectors around centres, the same for the same seed.
struct Source {
    state: u64,
    values: Vec<f32>,
}

impl Source {
    fn new() -> Self {
        let mut source = Self { state: 1, values: Vec::new() };
        let values = (0..(CENTRES + 1) * DIM * 2).map(|_| (0..4).map(|_| source.below(1 << 16) as f32).sum::<f32>());
        source.values = values.map(|sum| sum / f32::from(u16::MAX) - 2.0).collect();
        source
    }

    fn below(&mut self, end: usize) -> usize {
        self.state = self.state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.state >> 32) as usize * end) >> 32
    }

    fn vector(&mut self) -> Vec<f32> {
        let (centre, noise) = (self.below(CENTRES) * DIM, self.below(self.values.len() - DIM));
        let scale = |at: usize| 0.98f32.powi(at as i32);
        (0..DIM).map(|at| (self.values[centre + at] + 0.3 * self.values[noise + at]) * scale(at)).collect()
    }
}

fn product(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum()
}

/// Entries, by id from the oldest on; an id is removed by chance and given out once.
struct Load {
    source: Source,
    index: Index,
    live: Vec<(i64, Vec<f32>)>,
    next: i64,
    /// What a search under way reads.
    reading: Option<Snapshot>,
}

impl Load {
    fn new() -> Self {
        let mut source = Source::new();
        let mut index = Index::new(DIM).unwrap();
        let live: Vec<(i64, Vec<f32>)> = (0..LIVE as i64).map(|id| (id, source.vector())).collect();
        let ids: Vec<i64> = live.iter().map(|&(id, _)| id).collect();
        let pieces = live.chunks(CHUNK).map(|rows| rows.iter().flat_map(|(_, row)| row).copied().collect()).collect();
        let outlook = index.outlook("", LIVE);
        index.append(Batch::new(DIM, &ids, pieces, NEVER, &outlook).unwrap(), "", 0);
        Self { source, index, live, next: LIVE as i64, reading: None }
    }

    /// One entry goes, another comes; now and then while a search reads.
    fn step(&mut self) {
        if self.next % 512 == 0 {
            self.reading = self.index.snapshot("");
        } else if self.next % 512 == 64 {
            self.reading = None;
        }
        let at = self.source.below(LIVE);
        let vector = self.source.vector();
        assert!(self.index.remove(self.live[at].0));
        self.index.add(self.next, &vector, "", NEVER, 0).unwrap();
        self.live[at] = (self.next, vector);
        self.next += 1;
        if let Some(job) = self.index.job("") {
            self.index.install(job.run());
        }
    }

    /// Bytes held and, of some searches, slots met and the mean share verified; each found what is there.
    fn look(&mut self) -> (usize, usize, f64) {
        self.reading = None;
        let snapshot = self.index.snapshot("").unwrap();
        assert_eq!(snapshot.len(), LIVE);
        let options = Options { k: 5, min_similarity: 0.85, exact: true, now: 0 };
        let (mut verified, mut hits) = (0.0, 0);
        let searches = 8;
        for _ in 0..searches {
            let vector = self.source.vector();
            let query = Query::new(vector.clone(), DIM, None).unwrap();
            let found = snapshot.search(&[query], &options).remove(0);
            let cosine = |row: &[f32]| {
                (product(row, &vector) / (product(row, row).sqrt() * product(&vector, &vector).sqrt())) as f32
            };
            let all = self.live.iter().map(|(id, row)| Hit::certain(*id, cosine(row)));
            let mut near: Vec<Hit> = all.filter(|hit| hit.similarity >= 0.85).collect();
            near.sort();
            near.truncate(options.k);
            let similarities = |hits: &[Hit]| hits.iter().map(|hit| hit.similarity).collect::<Vec<_>>();
            let (found_ones, expected) = (similarities(&found.hits), similarities(&near));
            assert_eq!(found_ones.len(), expected.len());
            for (found, expected) in found_ones.iter().zip(&expected) {
                assert!((found - expected).abs() < 1e-6, "{found} is not {expected}");
            }
            verified += found.verified_fraction() / f64::from(searches);
            hits += near.len();
        }
        assert!(hits > 0, "some entries are near");
        let slots = snapshot.slots();
        drop(snapshot);
        (HELD.load(Ordering::Relaxed), slots, verified)
    }
}

fn churn(operations: usize) {
    let before = HELD.load(Ordering::Relaxed);
    let mut load = Load::new();
    let mine = load.live.len() * DIM * size_of::<f32>() + load.source.values.capacity() * size_of::<f32>() + before;
    let (start, slots, verified) = load.look();
    let mut held = Vec::new();
    for look in 0..LOOKS {
        for _ in 0..operations / 2 / LOOKS {
            load.step();
        }
        let (now, now_slots, now_verified) = load.look();
        let grown = (now - mine) as f64 / (start - mine) as f64;
        assert!(grown < 1.35, "look {look}: {grown:.3} times the memory, {now_slots} slots");
        assert!(now_slots < slots * 27 / 20 + CHUNK, "look {look}: {now_slots} slots for {LIVE}");
        assert!(now_verified < 2.0 * verified + 0.002, "look {look}: {now_verified} verified, {verified} before");
        held.push(now as f64);
    }
    let (early, late) = (held[LOOKS / 2], held[LOOKS - 1]);
    assert!((late / early - 1.0).abs() < 0.05, "flat once it is full: {held:?}");
}

#[test]
fn memory_work_and_answers_stay_the_same_over_300_000_changes() {
    churn(300_000);
}

#[test]
#[ignore = "ten million changes take minutes: make soak"]
fn memory_work_and_answers_stay_the_same_over_10_million_changes() {
    churn(10_000_000);
}
