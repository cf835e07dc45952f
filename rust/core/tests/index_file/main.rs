//! The file of an index: what goes in comes out, and no damaged, cut, reordered or forged file is taken for one.
#![allow(clippy::unwrap_used)] // in a test a panic is the report
#![allow(clippy::cast_possible_wrap)] // ids here are small

mod broken;
mod seal;

use std::sync::Arc;

use proptest::prelude::*;
use sparecall_core::error::Result;
use sparecall_core::index::file::Frozen;
use sparecall_core::index::{Batch, FileBytes, Found, Index, NEVER, Options, Query};

/// Values that repeat for the same seed; those of later coordinates are smaller, as those of embeddings are.
pub(crate) fn vector(dim: usize, seed: u64) -> Vec<f32> {
    let mut bits = seed.wrapping_mul(0xD134_2543_DE82_EF95) | 1;
    let mut value = || {
        bits ^= bits << 13;
        bits ^= bits >> 7;
        bits ^= bits << 17;
        (bits >> 40) as f32 / (1u64 << 24) as f32 - 0.5
    };
    (0..dim).map(|at| (value() + value()) * 0.97f32.powi(at.min(300) as i32) + 1e-6).collect()
}

/// Puts `count` entries with ids from `first` up into a namespace.
pub(crate) fn fill(index: &mut Index, first: i64, count: usize, namespace: &str, expires_at: u64) {
    let ids: Vec<i64> = (first..first + count as i64).collect();
    let dim = index.dim();
    let pieces = ids.chunks(1024).map(|ids| ids.iter().flat_map(|&id| vector(dim, id as u64)).collect()).collect();
    let outlook = index.outlook(namespace, count);
    let batch = Batch::new(dim, &ids, pieces, expires_at, &outlook).unwrap();
    for piece in batch.into_pieces() {
        index.append(piece, namespace, 0);
    }
}

/// The pieces in which an index is written.
pub(crate) fn pieces(index: &Index) -> Vec<Vec<u8>> {
    written(&index.freeze())
}

fn written(frozen: &Frozen) -> Vec<Vec<u8>> {
    let mut pieces = Vec::new();
    let outcome = frozen.write(|piece| {
        pieces.push(piece.to_vec());
        Ok::<(), ()>(())
    });
    assert_eq!(outcome, Ok(()));
    pieces
}

pub(crate) fn saved(index: &Index) -> Vec<u8> {
    pieces(index).concat()
}

pub(crate) fn open(file: &[u8]) -> Result<Index> {
    let bytes: FileBytes = Arc::new(file.to_vec());
    Index::open(&bytes)
}

/// Everything a search of these namespaces can find.
pub(crate) fn found(index: &Index, namespaces: &[&str], now: u64) -> Vec<Vec<Found>> {
    let queries: Vec<Query> =
        [1, 2, 77, 5_000].map(|seed| Query::new(vector(index.dim(), seed), index.dim(), None).unwrap()).into();
    let mut all = Vec::new();
    for namespace in namespaces {
        for (k, min_similarity, exact) in [(1, 0.85, true), (9, 0.5, true), (5_000, -1.0, true), (3, 0.8, false)] {
            let options = Options { k, min_similarity, exact, now };
            all.push(index.snapshot(namespace).map_or_else(Vec::new, |snapshot| snapshot.search(&queries, &options)));
        }
    }
    all
}

/// Saves an index, opens the file, and compares what they find, and how they go on.
fn comes_back(mut index: Index, namespaces: &[&str]) {
    let file = saved(&index);
    let mut opened = open(&file).unwrap();
    assert_eq!((opened.dim(), opened.len(), opened.namespaces()), (index.dim(), index.len(), index.namespaces()));
    for now in [0, 50, 100] {
        assert_eq!(found(&opened, namespaces, now), found(&index, namespaces, now), "at {now}");
    }
    assert!(saved(&opened) == file, "saved again it is the same file");
    for id in 0..200 {
        let (vector, namespace) = (vector(index.dim(), 9_000 + id), namespaces[id as usize % namespaces.len()]);
        for index in [&mut index, &mut opened] {
            index.add(id as i64 * 7, &vector, namespace, NEVER, 0).unwrap();
            index.remove(id as i64 * 3);
        }
    }
    assert_eq!(opened.len(), index.len());
    let hits = |index: &Index| -> Vec<_> {
        found(index, namespaces, 0).into_iter().flatten().map(|found| (found.hits, found.living)).collect()
    };
    // What they verify differs: positions of chunks that were emptied are not kept.
    assert_eq!(hits(&opened), hits(&index));
    assert_eq!(hits(&open(&saved(&opened)).unwrap()), hits(&index));
}

#[test]
fn an_empty_index_comes_back() {
    comes_back(Index::new(7).unwrap(), &[""]);
}

#[test]
fn one_entry_comes_back_in_every_dimension() {
    for dim in [1, 2, 3, 63, 64, 65, 127, 384, 1001] {
        let mut index = Index::new(dim).unwrap();
        index.add(i64::MIN, &vector(dim, 3), "é", NEVER, 0).unwrap();
        comes_back(index, &["é", ""]);
    }
}

#[test]
fn an_index_with_fitted_heads_comes_back() {
    let mut index = Index::new(65).unwrap();
    fill(&mut index, 0, 3_000, "a", NEVER);
    fill(&mut index, 10_000, 1_100, "b", NEVER);
    fill(&mut index, 20_000, 100, "c", NEVER);
    comes_back(index, &["a", "b", "c", "d"]);
}

#[test]
fn an_index_without_originals_comes_back_without_them() {
    for dim in [3, 65] {
        let mut index = Index::new(dim).unwrap().without_originals();
        fill(&mut index, 0, 1_500, "a", NEVER);
        fill(&mut index, 5_000, 90, "b", 50);
        (0..400).for_each(|id| assert!(index.remove(id)));
        assert!(!open(&saved(&index)).unwrap().originals());
        comes_back(index, &["a", "b"]);
    }
}

#[test]
fn what_was_removed_or_has_expired_stays_away() {
    let mut index = Index::new(96).unwrap();
    fill(&mut index, 0, 2_500, "", 100);
    fill(&mut index, 5_000, 300, "", 50);
    fill(&mut index, 6_000, 10, "gone", NEVER);
    (6_000..6_010).for_each(|id| assert!(index.remove(id)));
    (0..2_000).filter(|id| id % 3 != 0).for_each(|id| assert!(index.remove(id)));
    comes_back(index, &["", "gone"]);
}

#[test]
fn a_namespace_that_grew_by_single_additions_comes_back_with_its_jobs() {
    let mut index = Index::new(64).unwrap();
    for id in 0..1_700 {
        index.add(id, &vector(64, id as u64), "", NEVER, 0).unwrap();
        if let Some(job) = index.job("") {
            index.install(job.run());
        }
    }
    comes_back(index, &[""]);
    let mut uncoded = Index::new(64).unwrap();
    (0..1_700).for_each(|id| uncoded.add(id, &vector(64, id as u64), "", NEVER, 0).unwrap());
    let mut opened = open(&saved(&uncoded)).unwrap();
    let job = opened.job("").expect("the head that was due is still due");
    opened.install(job.run());
    comes_back(opened, &[""]);
}

#[test]
fn the_vectors_of_removed_entries_are_not_in_the_file() {
    let mut index = Index::new(64).unwrap();
    fill(&mut index, 0, 3, "", NEVER);
    index.remove(1);
    let file = saved(&index);
    let holds = |id: u64| {
        let bytes: Vec<u8> = vector(64, id).into_iter().flat_map(f32::to_le_bytes).collect();
        file.windows(bytes.len()).any(|window| window == bytes)
    };
    assert_eq!([0, 1, 2].map(holds), [true, false, true]);
}

#[test]
fn bytes_that_are_not_aligned_are_read_as_well() {
    struct Shifted(Vec<u8>, usize);
    impl AsRef<[u8]> for Shifted {
        fn as_ref(&self) -> &[u8] {
            &self.0[self.1..]
        }
    }
    let mut index = Index::new(64).unwrap();
    fill(&mut index, 0, 1_100, "", NEVER);
    let file = saved(&index);
    for shift in 0..4 {
        let bytes: FileBytes = Arc::new(Shifted([vec![0; shift], file.clone()].concat(), shift));
        let opened = Index::open(&bytes).unwrap();
        drop(bytes);
        assert_eq!(found(&opened, &[""], 0), found(&index, &[""], 0));
    }
}

#[test]
fn what_was_frozen_is_written_whatever_happens_to_the_index() {
    let mut index = Index::new(64).unwrap();
    fill(&mut index, 0, 1_500, "", NEVER);
    let (before, frozen) = (saved(&index), index.freeze());
    fill(&mut index, 1_000, 900, "", NEVER);
    (0..800).for_each(|id| assert!(index.remove(id)));
    assert!(written(&frozen).concat() == before);
}

#[derive(Debug, Clone)]
enum Step {
    Add(i64, u8, u64),
    Fill(i64, usize, u8),
    Remove(i64),
    Reopen,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        8 => (0..400i64, 0..3u8, prop_oneof![Just(NEVER), 1..200u64]).prop_map(|(id, name, end)| Step::Add(id, name, end)),
        2 => (0..400i64, 1..1_300usize, 0..3u8).prop_map(|(first, count, name)| Step::Fill(first, count, name)),
        6 => (0..400i64).prop_map(Step::Remove),
        1 => Just(Step::Reopen),
    ];
    prop::collection::vec(step, 0..60)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn any_history_comes_back(
        steps in steps(),
        dim in prop_oneof![Just(1usize), Just(64), Just(67)],
        originals: bool,
    ) {
        const NAMES: [&str; 3] = ["", "team/a", "b"];
        let mut index = Index::new(dim).unwrap();
        if !originals {
            index = index.without_originals();
        }
        for step in steps {
            match step {
                Step::Add(id, name, end) => {
                    index.add(id, &vector(dim, id as u64 + 1), NAMES[usize::from(name)], end, 0).unwrap();
                }
                Step::Fill(first, count, name) => fill(&mut index, first, count, NAMES[usize::from(name)], NEVER),
                Step::Remove(id) => _ = index.remove(id),
                Step::Reopen => index = open(&saved(&index)).unwrap(),
            }
        }
        let opened = open(&saved(&index)).unwrap();
        prop_assert_eq!(opened.len(), index.len());
        prop_assert!(found(&opened, &NAMES, 100) == found(&index, &NAMES, 100));
    }
}
