//! The index against a model that compares a query with every entry, and its bound against vectors made to break it.
#![allow(clippy::unwrap_used)] // in a test a panic is the report
#![allow(clippy::cast_possible_wrap)] // ids here are small

use std::collections::BTreeMap;

use proptest::prelude::*;
use sparecall_core::index::{Batch, CHUNK, Found, Hit, Index, NEVER, Options, Query};

/// The similarity as it is defined, computed plainly: exact products in 32 lanes.
fn similarity(a: &[f32], b: &[f32]) -> f32 {
    let product = |a: &[f32], b: &[f32]| {
        let mut lanes = [0.0f64; 32];
        for (at, (&a, &b)) in a.iter().zip(b).enumerate() {
            lanes[at % 32] += f64::from(a) * f64::from(b);
        }
        for width in [16, 8, 4, 2, 1] {
            for lane in 0..width {
                lanes[lane] += lanes[lane + width];
            }
        }
        lanes[0]
    };
    ((product(a, b) / (product(a, a).sqrt() * product(b, b).sqrt())) as f32).clamp(-1.0, 1.0)
}

#[derive(Default)]
struct Model {
    entries: BTreeMap<i64, (String, Vec<f32>, u64)>,
}

impl Model {
    fn search(&self, query: &[f32], namespace: &str, options: &Options) -> Vec<Hit> {
        let mut hits: Vec<Hit> = self
            .entries
            .iter()
            .filter(|(_, (name, _, expires_at))| name == namespace && *expires_at > options.now)
            .map(|(&id, (_, vector, _))| Hit::certain(id, similarity(vector, query)))
            .filter(|hit| f64::from(hit.similarity) >= options.min_similarity)
            .collect();
        hits.sort();
        hits.truncate(options.k);
        hits
    }
}

/// Values that repeat for the same seed.
struct Noise(u64);

impl Noise {
    fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        bits ^ (bits >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        (self.bits() % end as u64) as usize
    }

    fn value(&mut self) -> f32 {
        (0..4).map(|_| (self.bits() >> 40) as f32 / (1u64 << 24) as f32 - 0.5).sum()
    }

    /// About one of `centres`, or odd in one of many ways.
    fn vector(&mut self, dim: usize, centres: &[Vec<f32>]) -> Vec<f32> {
        let mut vector: Vec<f32> = (0..dim).map(|_| self.value()).collect();
        match self.below(16) {
            0 => {
                vector.fill(0.0);
                vector[self.0 as usize % dim] = 1.0;
            }
            1 => vector.fill(0.5),
            2 => vector.iter_mut().for_each(|value| *value *= 1e30),
            3 => vector.iter_mut().for_each(|value| *value = (*value * 1e-30) * 1e-12 + f32::from_bits(3)),
            4 => return centres[self.below(centres.len())].clone(),
            5 => vector.iter_mut().for_each(|value| *value = value.signum()),
            6 => vector[0] = 1e6,
            kind => {
                let share = [0.02, 0.1, 0.3, 0.6, 1.0][kind % 5];
                let centre = &centres[self.below(centres.len())];
                vector.iter_mut().zip(centre).for_each(|(value, centre)| *value = *value * share + centre);
            }
        }
        if vector.iter().all(|&value| value == 0.0) {
            vector[0] = f32::from_bits(1); // in few dimensions they may all cancel
        }
        vector
    }
}

fn search(index: &Index, query: &[f32], namespace: &str, options: &Options) -> Found {
    let queries = [Query::new(query.to_vec(), index.dim(), None).unwrap()];
    match index.snapshot(namespace) {
        Some(snapshot) => snapshot.search(&queries, options).pop().unwrap(),
        None => Found { hits: Vec::new(), verified: 0, living: 0 },
    }
}

fn add_many(index: &mut Index, ids: &[i64], vectors: &[Vec<f32>], namespace: &str, expires_at: u64, now: u64) {
    let dim = index.dim();
    let pieces = vectors.chunks(CHUNK).map(<[Vec<f32>]>::concat).collect();
    let outlook = index.outlook(namespace, ids.len());
    for piece in Batch::new(dim, ids, pieces, expires_at, &outlook).unwrap().into_pieces() {
        index.append(piece, namespace, now);
    }
}

/// Just below a similarity, it, and just above.
fn around(similarity: f32) -> [f64; 3] {
    [f64::from(similarity.next_down()), f64::from(similarity), f64::from(similarity.next_up())]
}

fn agree(index: &Index, model: &Model, query: &[f32], namespace: &str, noise: &mut Noise, now: u64) {
    let all = model.search(query, namespace, &Options { k: usize::MAX, min_similarity: -1.0, exact: true, now });
    let mut thresholds = vec![-1.0, 0.0, 0.5, 0.85, 1.0];
    if !all.is_empty() {
        thresholds.extend(around(all[0].similarity));
        thresholds.extend(around(all[noise.below(all.len())].similarity));
    }
    for min_similarity in thresholds {
        for k in [1, 2, 1 + noise.below(40), all.len() + 5] {
            let options = Options { k, min_similarity, exact: true, now };
            let found = search(index, query, namespace, &options);
            if !index.originals() {
                enclose(index, &all, query, namespace, &options, &found.hits);
                continue;
            }
            let expected = model.search(query, namespace, &options);
            assert_eq!(found.hits, expected, "k={k} min_similarity={min_similarity} in {namespace:?}");
        }
    }
}

/// Of an index without originals: every interval holds the similarity of the original, and nothing that may reach the
/// threshold is missing. `all` are the live entries.
fn enclose(index: &Index, all: &[Hit], query: &[f32], namespace: &str, options: &Options, hits: &[Hit]) {
    let truth: BTreeMap<i64, f32> = all.iter().map(|hit| (hit.id, hit.similarity)).collect();
    assert!(hits.is_sorted() && hits.len() <= options.k);
    for hit in hits {
        let [low, high] = hit.interval;
        assert!(low <= truth[&hit.id] && truth[&hit.id] <= high, "{} of {hit:?}", truth[&hit.id]);
        assert!(low <= hit.similarity && hit.similarity <= high && f64::from(high) >= options.min_similarity);
    }
    let every = search(index, query, namespace, &Options { k: usize::MAX, ..*options }).hits;
    assert_eq!(hits, &every[..hits.len()]);
    for hit in all.iter().filter(|hit| f64::from(hit.similarity) >= options.min_similarity) {
        assert!(every.iter().any(|found| found.id == hit.id), "{hit:?} is missing at {}", options.min_similarity);
    }
}

fn interleave(seed: u64, dim: usize, steps: usize, large: bool, originals: bool) {
    let mut noise = Noise(seed);
    let centres: Vec<Vec<f32>> = (0..5).map(|_| (0..dim).map(|_| noise.value()).collect()).collect();
    let index = Index::new(dim).unwrap();
    let mut index = if originals { index } else { index.without_originals() };
    let (mut model, mut now) = (Model::default(), 10u64);
    let names = ["", "a", "b"];
    for _ in 0..steps {
        let namespace = names[noise.below(if large { 2 } else { 3 })];
        match noise.below(12) {
            0..4 => {
                let (id, vector) = (noise.below(300) as i64 - 100, noise.vector(dim, &centres));
                let expires_at = if noise.below(4) == 0 { now + noise.below(20) as u64 } else { NEVER };
                index.add(id, &vector, namespace, expires_at, now).unwrap();
                model.entries.insert(id, (namespace.to_owned(), vector, expires_at));
            }
            4 | 5 => {
                let count = if large { noise.below(3000) } else { noise.below(100) };
                let ids: Vec<i64> = (0..count).map(|_| noise.below(if large { 20_000 } else { 300 }) as i64).collect();
                let vectors: Vec<Vec<f32>> = ids.iter().map(|_| noise.vector(dim, &centres)).collect();
                let expires_at = if noise.below(3) == 0 { now + noise.below(9) as u64 } else { NEVER };
                add_many(&mut index, &ids, &vectors, namespace, expires_at, now);
                for (id, vector) in ids.into_iter().zip(vectors) {
                    model.entries.insert(id, (namespace.to_owned(), vector, expires_at));
                }
            }
            6 | 7 => {
                let before = model.entries.len();
                let share = noise.below(3);
                let gone: Vec<i64> = model.entries.keys().copied().filter(|_| noise.below(8) < share).collect();
                for id in gone {
                    assert_eq!(index.remove(id) || model.entries[&id].2 <= now, model.entries.remove(&id).is_some());
                }
                assert!(!index.remove(1_000_000) && model.entries.len() <= before);
            }
            8 => now += noise.below(6) as u64,
            9 => {
                if let Some(job) = index.job(namespace) {
                    // Changes while a job is under way.
                    if let Some(&id) = model.entries.keys().next() {
                        model.entries.remove(&id);
                        index.remove(id);
                    }
                    let fitted = job.run();
                    index.install(fitted);
                }
            }
            _ => {
                if large {
                    index.observe(namespace, &Options { k: 1, min_similarity: 0.8, exact: true, now }, 1.0);
                }
                let query = noise.vector(dim, &centres);
                agree(&index, &model, &query, namespace, &mut noise, now);
            }
        }
        assert!(index.len() >= model.entries.values().filter(|(_, _, expires_at)| *expires_at > now).count());
    }
    let query = noise.vector(dim, &centres);
    for namespace in names {
        agree(&index, &model, &query, namespace, &mut noise, now);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn a_search_finds_what_a_comparison_with_every_entry_finds(seed: u64, dim in 1..70usize) {
        interleave(seed, dim, 60, false, true);
    }

    #[test]
    fn without_originals_a_search_finds_whatever_may_reach_the_threshold(seed: u64, dim in 1..70usize) {
        interleave(seed, dim, 40, false, false);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(6))]

    #[test]
    fn so_it_does_where_entries_are_screened(seed: u64, dim in 64..140usize) {
        interleave(seed, dim, 60, true, true);
    }

    #[test]
    fn so_it_does_without_originals(seed: u64, dim in 64..140usize) {
        interleave(seed, dim, 40, true, false);
    }
}

#[test]
fn so_it_does_in_one_dimension_and_in_thousands() {
    for dim in [1, 2, 3, 383, 1537, 4096] {
        interleave(dim as u64, dim, 20, false, true);
        interleave(dim as u64, dim, 20, false, false);
    }
}

/// 3000 entries, some made to stand against the head that was fitted to the others, and queries near each.
#[test]
fn vectors_unlike_those_the_head_was_fitted_to_are_found() {
    let dim = 96;
    let mut noise = Noise(3);
    let centres: Vec<Vec<f32>> = (0..3).map(|_| (0..dim).map(|_| noise.value()).collect()).collect();
    let (mut index, mut model) = (Index::new(dim).unwrap(), Model::default());
    let flat: Vec<Vec<f32>> = (0..2048)
        .map(|_| {
            (0..dim).map(|at| if at < 40 { centres[0][at] + noise.value() } else { 0.001 * noise.value() }).collect()
        })
        .collect();
    let ids: Vec<i64> = (0..2048).collect();
    add_many(&mut index, &ids, &flat, "", NEVER, 0);
    model.entries.extend(ids.into_iter().zip(flat).map(|(id, vector)| (id, (String::new(), vector, NEVER))));
    for id in 2048..3100 {
        let mut vector = vec![0.0; dim];
        for _ in 0..=noise.below(3) {
            vector[noise.below(dim)] = noise.value();
        }
        vector[40 + noise.below(dim - 40)] += 1.0;
        index.add(id, &vector, "", NEVER, 0).unwrap();
        model.entries.insert(id, (String::new(), vector, NEVER));
    }
    for id in (0..3100).step_by(41) {
        let mut query = model.entries[&id].1.clone();
        query[noise.below(dim)] += 0.1 * noise.value();
        agree(&index, &model, &query, "", &mut noise, 0);
    }
}

#[test]
fn equal_entries_all_come_lowest_id_first() {
    let mut index = Index::new(80).unwrap();
    let vectors = vec![vec![1.0; 80]; 2000];
    let ids: Vec<i64> = (0..2000).rev().collect();
    add_many(&mut index, &ids, &vectors, "", NEVER, 0);
    let options = Options { k: 3, min_similarity: 1.0, exact: true, now: 0 };
    let ids: Vec<i64> = search(&index, &vectors[0], "", &options).hits.iter().map(|hit| hit.id).collect();
    assert_eq!(ids, [0, 1, 2]);
}

/// Vectors whose spectrum falls as that of text embeddings does.
fn text_like(count: usize, dim: usize, noise: &mut Noise) -> Vec<Vec<f32>> {
    let vector = |_| (0..dim).map(|at| 0.95f32.powi(at as i32) * noise.value()).collect();
    (0..count).map(vector).collect()
}

#[test]
fn an_entry_that_bytes_hold_badly_loosens_its_own_chunk_alone() {
    let (dim, mut noise) = (128, Noise(9));
    let mut index = Index::new(dim).unwrap().without_originals();
    let vectors = text_like(4096, dim, &mut noise);
    add_many(&mut index, &(0..4096).collect::<Vec<_>>(), &vectors, "", NEVER, 0);
    let options = Options { k: 1, min_similarity: 0.9, exact: true, now: 0 };
    let verified =
        |index: &Index| vectors[..100].iter().map(|query| search(index, query, "", &options).verified).sum::<usize>();
    let before = verified(&index);
    // One large number, and others that are less than half a step of its scale.
    let mut odd = vec![0.0035; dim];
    odd[0] = 1.0;
    index.add(9_999, &odd, "", NEVER, 0).unwrap();
    assert!(before > 0 && verified(&index) <= before + 100, "{before} were verified, then {}", verified(&index));
    let hit = &search(&index, &odd, "", &options).hits[0];
    assert!(hit.id == 9_999 && hit.interval[1] - hit.interval[0] > 0.001, "{hit:?}");
}

#[test]
fn most_entries_are_not_verified_and_other_namespaces_cost_nothing() {
    let (dim, mut noise) = (128, Noise(5));
    let mut index = Index::new(dim).unwrap();
    let mine = text_like(4096, dim, &mut noise);
    add_many(&mut index, &(0..4096).collect::<Vec<_>>(), &mine, "mine", NEVER, 0);
    let theirs = text_like(20_000, dim, &mut noise);
    add_many(&mut index, &(10_000..30_000).collect::<Vec<_>>(), &theirs, "theirs", NEVER, 0);
    let options = Options { k: 1, min_similarity: 0.9, exact: true, now: 0 };
    let found = search(&index, &mine[7], "mine", &options);
    assert_eq!(found.hits, [Hit::certain(7, 1.0)]);
    assert_eq!(found.living, 4096);
    assert!(found.verified < 400, "{} of 4096 were verified", found.verified);
    assert_eq!(search(&index, &mine[7], "nobody's", &options).hits, []);
}

#[test]
fn a_snapshot_does_not_change() {
    let mut index = Index::new(2).unwrap();
    index.add(1, &[1.0, 0.0], "", NEVER, 0).unwrap();
    let before = index.snapshot("").unwrap();
    index.add(2, &[1.0, 0.1], "", NEVER, 0).unwrap();
    index.add(1, &[0.0, 1.0], "", NEVER, 0).unwrap();
    let options = Options { k: 5, min_similarity: 0.5, exact: true, now: 0 };
    let query = [Query::new(vec![1.0, 0.0], 2, None).unwrap()];
    assert_eq!(before.search(&query, &options)[0].hits, [Hit::certain(1, 1.0)]);
    assert_eq!(
        index.snapshot("").unwrap().search(&query, &options)[0].hits.iter().map(|hit| hit.id).collect::<Vec<_>>(),
        [2]
    );
}

#[test]
fn churn_leaves_no_more_slots_than_a_third_beyond_the_living() {
    let (dim, live) = (64, 6000);
    let mut noise = Noise(9);
    let mut index = Index::new(dim).unwrap();
    let vector: Vec<f32> = (0..dim).map(|_| noise.value()).collect();
    let mut ids: Vec<i64> = Vec::new();
    for id in 0..60_000 {
        index.add(id, &vector, "", NEVER, 0).unwrap();
        ids.push(id);
        if ids.len() > live {
            assert!(index.remove(ids.swap_remove(noise.below(live))));
        }
        if let Some(job) = index.job("") {
            index.install(job.run());
        }
    }
    let snapshot = index.snapshot("").unwrap();
    assert_eq!(snapshot.len(), live);
    assert!(snapshot.slots() < live * 4 / 3 + CHUNK, "{} slots for {live}", snapshot.slots());
    for id in ids.drain(20..) {
        assert!(index.remove(id));
    }
    let snapshot = index.snapshot("").unwrap();
    assert!(snapshot.slots() < 3 * CHUNK, "{} slots for 20", snapshot.slots());
}

#[test]
fn what_has_no_direction_is_refused_with_its_row_and_nothing_changes() {
    let mut index = Index::new(2).unwrap();
    for bad in [[f32::NAN, 1.0], [1.0, f32::INFINITY], [0.0, -0.0]] {
        assert!(index.add(1, &bad, "", NEVER, 0).is_err());
        let pieces = vec![[1.0, 2.0, bad[0], bad[1]].to_vec()];
        let error = Batch::new(2, &[1, 2], pieces, NEVER, &index.outlook("", 2)).err().unwrap();
        assert!(error.to_string().contains("row 1"), "{error}");
    }
    assert!(index.add(1, &[1.0], "", NEVER, 0).is_err() && Query::new(vec![1.0; 3], 2, None).is_err());
    assert!(index.is_empty() && index.namespaces() == 0 && Index::new(0).is_err() && Index::new(16_385).is_err());
}
