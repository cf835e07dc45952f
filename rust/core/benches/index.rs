//! What searches of the index take: one by one, eight at a time, and one by one while another thread adds and removes.
//!
//! `cargo bench -p sparecall-core --bench index [-- ENTRIES [VECTORS QUERIES]]`, the files of 384 little-endian `f32` a row;
//! without them vectors are random, with a spectrum that falls as that of text embeddings does.
#![allow(clippy::print_stdout)]

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use sparecall_core::index::{Batch, CHUNK, Index, NEVER, Options, Query, Snapshot};

const DIM: usize = 384;
const THRESHOLD: f64 = 0.85;
const ROUNDS: usize = 15;
/// Searches of which the 99th of a hundred is printed.
const SEARCHES: usize = 20_000;

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

fn lock(index: &Mutex<Index>) -> MutexGuard<'_, Index> {
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
    if std::env::var_os("IX_LOOP").is_some() {
        let n: usize = std::env::var("IX_LOOP").unwrap_or_default().parse().unwrap_or(1);
        for _ in 0..(if n == 1 { 3_000_000 / entries } else { 0 }) {
            for query in &queries {
                whole.search(&[query], &options);
            }
        }
        for _ in 0..(if n == 8 { 3_000_000 / entries } else { 0 }) {
            for query in queries.chunks_exact(8) {
                whole.search(query, &options);
            }
        }
        return;
    }
    drop(whole);
    if std::env::var_os("IX_ONLY").is_some() {
        return;
    }

    let idle = searches(&index, &queries, &options);
    let (stop, changes) = (AtomicBool::new(false), AtomicU64::new(0));
    let churning = std::thread::scope(|scope| {
        scope.spawn(|| churn(&index, &vectors, entries, &stop, &changes));
        let churning = searches(&index, &queries, &options);
        stop.store(true, Ordering::Relaxed);
        churning
    });
    let changes = changes.load(Ordering::Relaxed);
    println!(
        "idle: p50 {:.1}, p99 {:.1} us; beside {changes} changes: p50 {:.1}, p99 {:.1} us: p99 {:.2} times",
        idle.0,
        idle.1,
        churning.0,
        churning.1,
        churning.1 / idle.1
    );
}

/// Searches a fresh snapshot each time.
fn searches(index: &Mutex<Index>, queries: &[Query], options: &Options) -> (f64, f64) {
    let taken = queries.iter().cycle().take(SEARCHES).map(|query| {
        let start = Instant::now();
        snapshot(index).search(&[query], options);
        start.elapsed().as_nanos() as u64
    });
    quantiles(taken.collect())
}

/// Replaces entries, the oldest first, until told to stop.
fn churn(shared: &Mutex<Index>, vectors: &[f32], entries: usize, stop: &AtomicBool, changes: &AtomicU64) {
    let rows = vectors.len() / DIM;
    for (oldest, row) in (0i64..).zip((entries..rows).chain(0..entries).cycle()) {
        if stop.load(Ordering::Relaxed) {
            return;
        }
        let vector = &vectors[row % rows * DIM..][..DIM];
        let mut index = lock(shared);
        index.remove(oldest);
        index.add(oldest + entries as i64, vector, "", NEVER, 0).expect("finite");
        let job = index.job("");
        drop(index);
        if let Some(job) = job {
            let fitted = job.run();
            lock(shared).install(fitted);
        }
        changes.fetch_add(2, Ordering::Relaxed);
    }
}
