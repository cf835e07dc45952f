//! What searches of the index take: one by one, eight at a time, and one by one while another thread adds and removes.
//!
//! `cargo bench -p sparecall-core --bench index [-- ENTRIES [VECTORS QUERIES]]`, the files of 384 little-endian `f32` a row;
//! without them vectors are random, with a spectrum that falls as that of text embeddings does.
#![allow(clippy::print_stdout)]
#![allow(clippy::cast_possible_wrap)] // ids here are small

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use sparecall_core::index::{Batch, CHUNK, Index, NEVER, Options, Query, Snapshot};

const DIM: usize = 384;
const THRESHOLD: f64 = 0.85;
const ROUNDS: usize = 15;
const SPINS: usize = 4_000;

fn random(rows: usize, seed: u64) -> Vec<f32> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1u64 << 24) as f32
    };
    let scales: Vec<f32> = (0..DIM).map(|at| 0.99f32.powi(at as i32)).collect();
    (0..rows * DIM).map(|at| ((0..4).map(|_| next()).sum::<f32>() - 2.0) * scales[at % DIM]).collect()
}

fn read(path: &str) -> Vec<f32> {
    let bytes = std::fs::read(path).expect("a readable file");
    bytes.as_chunks().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect()
}

/// The lock, waited for awake at first: a change holds it for some microseconds, to be woken takes tens.
fn lock(index: &Mutex<Index>) -> MutexGuard<'_, Index> {
    for _ in 0..SPINS {
        if let Ok(index) = index.try_lock() {
            return index;
        }
        std::hint::spin_loop();
    }
    index.lock().unwrap_or_else(PoisonError::into_inner)
}

fn snapshot(index: &Mutex<Index>) -> Snapshot {
    lock(index).snapshot("").expect("entries")
}

/// Each of `taken`, in nanoseconds, as the median and the 99th of a hundred in microseconds.
fn quantiles(mut taken: Vec<u64>) -> (f64, f64) {
    taken.sort_unstable();
    let at = |share: f64| taken[(taken.len() as f64 * share) as usize] as f64 / 1e3;
    (at(0.5), at(0.99))
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    let entries = args.first().map_or(100_000, |count| count.parse().expect("a number of entries"));
    let vectors = args.get(1).map_or_else(|| random(entries + 50_000, 1), |path| read(path));
    let queries = args.get(2).map_or_else(|| random(1_000, 2), |path| read(path));
    let queries: Vec<Query> =
        queries.chunks_exact(DIM).map(|vector| Query::new(vector.to_vec(), DIM, None).expect("finite")).collect();
    let ids: Vec<i64> = (0..entries as i64).collect();

    let index = Mutex::new(Index::new(DIM).expect("a dimension"));
    let start = Instant::now();
    {
        let mut index = lock(&index);
        let outlook = index.outlook("", entries);
        let pieces = vectors[..entries * DIM].chunks(CHUNK * DIM).map(<[f32]>::to_vec).collect();
        index.append(Batch::new(DIM, &ids, pieces, NEVER, &outlook).expect("finite"), "", 0);
        if let Some(job) = index.job("") {
            let fitted = job.run();
            index.install(fitted);
        }
    }
    println!("{entries} entries added in {:.2} s", start.elapsed().as_secs_f64());

    let options = Options { k: 1, min_similarity: THRESHOLD, exact: true, now: 0 };
    let whole = snapshot(&index);
    let (mut alone, mut tiled, mut verified) = (Vec::new(), Vec::new(), 0.0);
    for round in 0..ROUNDS {
        let some: Vec<&Query> = queries.iter().skip(round).step_by(ROUNDS).collect();
        let mut taken = Vec::new();
        for query in &some {
            let start = Instant::now();
            let found = whole.search(&[*query], &options);
            taken.push(start.elapsed().as_nanos() as u64);
            verified += found[0].verified_fraction() / queries.len() as f64;
        }
        alone.push((quantiles(taken).0 * 1e3) as u64);
        let mut taken = Vec::new();
        for eight in some.chunks_exact(8) {
            let start = Instant::now();
            whole.search(eight, &options);
            taken.push(start.elapsed().as_nanos() as u64 / 8);
        }
        tiled.push((quantiles(taken).0 * 1e3) as u64);
    }
    let [alone, tiled] = [alone, tiled].map(|times| quantiles(times).0);
    println!(
        "one by one {alone:.1} us, of tiles of eight {tiled:.1} us: {:.2} times; verified {verified:.5}",
        alone / tiled
    );
    drop(whole);

    let shared = Shared { index, waiting: AtomicBool::new(false) };
    let idle = searches(&shared, &queries, &options);
    println!("idle: {idle}");
    let stop = AtomicBool::new(false);
    let (busy, changes) = std::thread::scope(|scope| {
        let churn = scope.spawn(|| churn(&shared, &vectors, entries, &stop));
        let busy = searches(&shared, &queries, &options);
        stop.store(true, Ordering::Relaxed);
        (busy, churn.join().expect("no panic"))
    });
    println!("beside changes: {busy}: {:.2} times the 99th", busy.whole.1 / idle.whole.1);
    let count = changes.len();
    let (half, most) = quantiles(changes);
    println!("{count} changes, each holding the lock for {half:.1}, {most:.1} us");
}

/// An index and whether a search waits for it: a writer that does nothing else lets it go first.
struct Shared {
    index: Mutex<Index>,
    waiting: AtomicBool,
}

/// Median and 99th of a hundred in microseconds: of searches, and of the wait for a snapshot in them.
struct Searched {
    whole: (f64, f64),
    wait: (f64, f64),
}

impl std::fmt::Display for Searched {
    fn fmt(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { whole, wait } = self;
        write!(to, "{:.1}, {:.1} us, of these {:.1}, {:.1} until the snapshot", whole.0, whole.1, wait.0, wait.1)
    }
}

/// Searches a fresh snapshot each time; the median of some rounds, since other programs run too.
fn searches(shared: &Shared, queries: &[Query], options: &Options) -> Searched {
    let rounds = (0..ROUNDS).map(|_| {
        let times = queries.iter().map(|query| {
            let start = Instant::now();
            shared.waiting.store(true, Ordering::Relaxed);
            let snapshot = snapshot(&shared.index);
            shared.waiting.store(false, Ordering::Relaxed);
            let wait = start.elapsed().as_nanos() as u64;
            snapshot.search(&[query], options);
            (start.elapsed().as_nanos() as u64, wait)
        });
        let (whole, wait): (Vec<u64>, Vec<u64>) = times.unzip();
        (quantiles(whole), quantiles(wait))
    });
    let (whole, wait): (Vec<_>, Vec<_>) = rounds.unzip();
    let middle = |mut pairs: Vec<(f64, f64)>| {
        pairs.sort_by(|a, b| a.1.total_cmp(&b.1));
        pairs[pairs.len() / 2]
    };
    Searched { whole: middle(whole), wait: middle(wait) }
}

/// Replaces entries, the oldest first, until told to stop; how long each change held the lock.
fn churn(shared: &Shared, vectors: &[f32], entries: usize, stop: &AtomicBool) -> Vec<u64> {
    let (rows, mut held) = (vectors.len() / DIM, Vec::new());
    for (oldest, row) in (0i64..).zip((entries..rows).chain(0..entries).cycle()) {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        while shared.waiting.load(Ordering::Relaxed) {
            std::hint::spin_loop();
        }
        let vector = &vectors[row % rows * DIM..][..DIM];
        let mut index = lock(&shared.index);
        let start = Instant::now();
        index.remove(oldest);
        index.add(oldest + entries as i64, vector, "", NEVER, 0).expect("finite");
        let job = index.job("");
        held.push(start.elapsed().as_nanos() as u64);
        drop(index);
        if let Some(job) = job {
            let fitted = job.run();
            lock(&shared.index).install(fitted);
        }
    }
    held
}
