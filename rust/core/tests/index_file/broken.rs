//! Files that were damaged, cut short, written in part or out of order, or forged.

use std::path::Path;

use proptest::prelude::*;
use sparecall_core::error::Error;
use sparecall_core::index::{Index, NEVER, Options, Query};

use super::seal::seal;
use super::{fill, open, pieces, saved, vector};

/// Why a file is refused.
fn refusal(file: &[u8]) -> &'static str {
    match open(file) {
        Err(Error::IndexFile { what }) => what,
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("it was taken for an index"),
    }
}

fn small() -> Index {
    let mut index = Index::new(3).unwrap();
    fill(&mut index, 0, 3, "a", NEVER);
    fill(&mut index, 3, 1, "b", 100);
    index.remove(1);
    index
}

/// With a head, codes and more than one chunk.
fn fitted() -> Index {
    let mut index = Index::new(64).unwrap();
    fill(&mut index, 0, 1_100, "a", NEVER);
    fill(&mut index, 5_000, 70, "b", 100);
    index.remove(7);
    index
}

#[test]
fn every_damaged_byte_and_every_truncation_is_seen() {
    let file = saved(&small());
    assert!(open(&file).is_ok_and(|index| index.len() == 3));
    for at in 0..file.len() {
        refusal(&file[..at]);
        for flip in [0x01, 0x80, 0xff] {
            let mut damaged = file.clone();
            damaged[at] ^= flip;
            refusal(&damaged);
        }
    }
    refusal(&[&file[..], b"x"].concat());
    refusal(&[&file[..], &file[..]].concat());
}

#[test]
fn a_save_that_stops_cuts_or_reorders_any_write_leaves_nothing_that_is_taken_for_an_index() {
    let pieces = pieces(&fitted());
    assert!(pieces.len() > 10);
    for at in 0..pieces.len() {
        refusal(&pieces[..at].concat());
        let (before, after) = (pieces[..at].concat(), pieces[at + 1..].concat());
        refusal(&[&before[..], &after].concat());
        for part in [&pieces[at][..pieces[at].len() / 2], &pieces[at][..pieces[at].len() - 1]] {
            refusal(&[&before, part].concat());
            refusal(&[&before, part, &after].concat());
        }
        // Its place was taken on disk, and it never came there.
        refusal(&[&before[..], &vec![0; pieces[at].len()], &after].concat());
        for with in at + 1..pieces.len() {
            let mut order = pieces.clone();
            order.swap(at, with);
            if order != pieces {
                refusal(&order.concat());
            }
        }
    }
}

#[test]
fn whole_blocks_in_another_order_are_refused() {
    let pieces = pieces(&small());
    // The head, two pieces a block, the tail.
    let blocks: Vec<Vec<u8>> = pieces[1..pieces.len() - 1].chunks(2).map(<[_]>::concat).collect();
    let with = |blocks: &[Vec<u8>]| [&pieces[0][..], &blocks.concat(), &pieces[pieces.len() - 1]].concat();
    assert!(open(&with(&blocks)).is_ok());
    for a in 0..blocks.len() {
        for b in a + 1..blocks.len() {
            let mut order = blocks.clone();
            order.swap(a, b);
            refusal(&with(&order));
        }
        let mut fewer = blocks.clone();
        fewer.remove(a);
        refusal(&with(&fewer));
        refusal(&with(&[&blocks[..=a], &blocks[a..]].concat()));
    }
}

#[test]
fn a_write_that_fails_ends_the_save_with_its_error() {
    let index = fitted();
    let count = pieces(&index).len();
    for stop in 0..count {
        let mut written = 0;
        let outcome = index.freeze().write(|_| {
            written += 1;
            if written > stop { Err(written) } else { Ok(()) }
        });
        assert_eq!(outcome, Err(stop + 1));
        assert_eq!(written, stop + 1, "nothing is written after");
    }
}

#[test]
fn refusals_say_why() {
    let file = saved(&small());
    let with = |at: usize, byte: u8| {
        let mut file = file.clone();
        file[at] = byte;
        file
    };
    let sealed = |at: usize, byte: u8| {
        let mut file = with(at, byte);
        seal(&mut file);
        file
    };
    let tail = file.len() - 80;
    let cases = [
        (Vec::new(), "not a saved index"),
        (b"SPARECSH".to_vec(), "not a saved index"),
        (with(0, b'X'), "not a saved index"),
        (with(8, 2), "another version"),
        (with(12, 0), "first bytes are damaged"),
        (with(20, 2), "first bytes are damaged"),
        (file[..40].to_vec(), "cut short"),
        (file[..tail].to_vec(), "cut short"),
        (file[..file.len() - 1].to_vec(), "last checksum"),
        (with(64 + 70, 9), "damaged"),
        (sealed(64, 9), "another kind"),
        (sealed(tail + 8, 9), "more or fewer"),
    ];
    for (file, expected) in cases {
        let what = refusal(&file);
        assert!(what.contains(expected), "{what:?} should say {expected:?}");
    }
    let message = open(b"").err().unwrap().to_string();
    assert!(message.contains("index file") && message.contains("nothing was loaded"), "{message}");
}

/// The payload's place of the `at`th block of a kind.
fn payload(file: &[u8], kind: u8, mut at: usize) -> usize {
    let mut block = 64;
    loop {
        if file[block] == kind {
            if at == 0 {
                return block + 64;
            }
            at -= 1;
        }
        let length: [u8; 8] = file[block + 8..block + 16].try_into().unwrap();
        block += 64 + u64::from_le_bytes(length) as usize;
    }
}

#[test]
fn a_forger_with_right_checksums_is_refused_what_would_break_the_proof() {
    let file = saved(&fitted());
    let forge = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut file = file.clone();
        change(&mut file);
        seal(&mut file);
        file
    };
    assert!(open(&forge(&|_| {})).is_ok());
    let (head, name, chunk) = (payload(&file, 1, 0), payload(&file, 2, 0), payload(&file, 3, 0));
    // Of the first chunk: its numbers, which live, ids, expiries, precision, vectors, bytes; all full lines.
    let ids = chunk + 64 + 128;
    let precision = ids + 2 * 8 * 1024;
    let vectors = precision + 8 * 1024;
    let bytes = vectors + 64 * 4 * 1024;
    let put = |at: usize, with: &[u8]| {
        let with = with.to_vec();
        forge(&move |file: &mut Vec<u8>| file[at..at + with.len()].copy_from_slice(&with))
    };
    let second: [u8; 8] = file[ids + 8..ids + 16].try_into().unwrap();
    let forged = [
        put(head, &15u64.to_le_bytes()),
        put(head, &u64::MAX.to_le_bytes()),
        put(head + 8, &f64::NAN.to_le_bytes()),
        put(head + 16, &0f64.to_le_bytes()),
        put(head + 64, &f32::INFINITY.to_le_bytes()),
        put(head + 64 + 128 + 128, &3f32.to_le_bytes()),
        put(name, &u64::MAX.to_le_bytes()),
        put(name + 8, &2u64.to_le_bytes()),
        put(name + 16, &u64::MAX.to_le_bytes()),
        put(name + 24, &(1u64 << 20).to_le_bytes()),
        put(name + 64, &[0xff]),
        put(chunk, &1025u64.to_le_bytes()),
        put(chunk, &0u64.to_le_bytes()),
        put(chunk + 8, &9u64.to_le_bytes()),
        put(chunk + 8, &0u64.to_le_bytes()),
        put(chunk + 16, &17u64.to_le_bytes()),
        put(chunk + 24, &1u64.to_le_bytes()),
        put(chunk + 64, &[0; 128]),
        put(ids, &second),
        put(precision, &f32::NAN.to_le_bytes()),
        put(precision, &(-1f32).to_le_bytes()),
        put(precision + 4, &0f32.to_le_bytes()),
        put(precision + 4, &f32::INFINITY.to_le_bytes()),
        put(vectors, &f32::NAN.to_le_bytes()),
        put(vectors, &[0; 256]),
        put(vectors, &5f32.to_le_bytes()),
        put(bytes, &[file[bytes] ^ 0x80]),
    ];
    for (at, file) in forged.iter().enumerate() {
        let Err(Error::IndexFile { what }) = open(file) else { panic!("forgery {at} was taken for an index") };
        assert!(what.contains("none") || what.contains("twice") || what.contains("grows"), "{at}: {what}");
    }
}

/// Uses an index in every way: whatever was accepted must not panic.
pub(crate) fn use_it(mut index: Index) {
    let dim = index.dim();
    let query = Query::new(vector(dim, 5), dim, None).unwrap();
    for namespace in ["a", "b"] {
        let options = Options { k: 3, min_similarity: 0.1, exact: true, now: 1 };
        if let Some(snapshot) = index.snapshot(namespace) {
            assert_eq!(snapshot.search(&[&query], &options).len(), 1);
        }
        for id in 0..80 {
            index.remove(id * 3);
            index.add(id, &vector(dim, id as u64), namespace, NEVER, 200).unwrap();
        }
        if let Some(job) = index.job(namespace) {
            index.install(job.run());
        }
    }
    assert!(open(&saved(&index)).is_ok_and(|again| again.len() == index.len()));
}

proptest! {
    #[test]
    fn whatever_is_accepted_can_be_used(
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        near_the_start: bool,
    ) {
        let mut file = saved(&fitted());
        // Most of the file is vectors; the numbers that matter most stand at the start of blocks.
        let starts: Vec<usize> = [(2, 0), (3, 0), (3, 1), (1, 0), (2, 1), (3, 2)]
            .iter().map(|&(kind, at)| payload(&file, kind, at)).collect();
        for (at, byte) in damage {
            let at = if near_the_start { starts[at.index(starts.len())] + usize::from(byte) % 48 } else { at.index(file.len()) };
            file[at] = byte;
        }
        seal(&mut file);
        if let Ok(index) = open(&file) {
            use_it(index);
        }
    }
}

#[test]
fn the_fuzz_corpus_is_accepted_or_refused_as_its_names_say() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus/index_file");
    let mut replayed = 0;
    for entry in std::fs::read_dir(folder).expect("the corpus is committed") {
        let path = entry.expect("readable").path();
        let name = path.file_name().expect("a file").to_string_lossy().into_owned();
        let mut file = std::fs::read(&path).expect("readable");
        seal(&mut file);
        let opened = open(&file);
        assert_eq!(opened.is_ok(), name.starts_with("y_"), "{name}");
        assert!(name.starts_with("y_") || name.starts_with("n_"), "{name} starts with neither y_ nor n_");
        opened.into_iter().for_each(use_it);
        replayed += 1;
    }
    assert!(replayed > 20);
}

/// Writes the corpus anew, when the format changes: `cargo test --test index_file -- --ignored corpus`.
#[test]
#[ignore = "writes files"]
fn the_fuzz_corpus_is_written() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus/index_file");
    std::fs::create_dir_all(&folder).unwrap();
    let good = saved(&small());
    let put = |name: &str, file: &[u8]| std::fs::write(folder.join(name), file).unwrap();
    put("y_empty", &saved(&Index::new(1).unwrap()));
    put("y_small", &good);
    let mut expiring = Index::new(64).unwrap();
    fill(&mut expiring, 0, 2, "b", 1);
    put("y_expired", &saved(&expiring));
    let (name, chunk, tail) = (payload(&good, 2, 0), payload(&good, 3, 0), good.len() - 80);
    let with = |at: usize, bytes: &[u8]| {
        let mut file = good.clone();
        file[at..at + bytes.len()].copy_from_slice(bytes);
        file
    };
    let mut without = Index::new(3).unwrap().without_originals();
    fill(&mut without, 0, 3, "a", NEVER);
    let without = saved(&without);
    put("y_without_originals", &without);
    let errors = payload(&without, 3, 0) + 64 + 128 + 128;
    for (label, at, value) in
        [("error_nan", errors, f32::NAN.to_bits()), ("error_negative", errors, (-1f32).to_bits()), ("originals", 20, 1)]
    {
        let mut file = without.clone();
        file[at..at + 4].copy_from_slice(&u32::to_le_bytes(value));
        put(&format!("n_without_{label}"), &file);
    }
    let mut file = without.clone();
    file[errors + 64..errors + 67].fill(128);
    put("n_without_direction", &file);
    put("n_nothing", b"");
    for (label, cut) in [("head", 40), ("frame", 70), ("payload", chunk + 10), ("tail", tail + 9)] {
        put(&format!("n_{label}_cut"), &good[..cut]);
    }
    for (label, at, value) in [
        ("version_2", 8, 2),
        ("dim_0", 12, 0),
        ("dim_4", 12, 4),
        ("originals_2", 20, 2),
        ("kind_4", name - 64, 4),
        ("length_endless", name - 56, u64::MAX),
        ("length_odd", name - 56, 65),
        ("name_endless", name, u64::MAX),
        ("no_such_head", name + 8, 1),
        ("fitted_at_huge", name + 16, u64::MAX),
        ("head_of_16", name + 24, 16),
        ("widen_2", name + 32, 2),
        ("name_no_text", name + 64, 0xff),
        ("no_entries", chunk, 0),
        ("too_many_entries", chunk, 1025),
        ("codes_of_no_head", chunk + 16, 1),
        ("grows_2", chunk + 24, 2),
        ("none_live", chunk + 64, 0),
        ("live_past_the_end", chunk + 64, u64::MAX),
        ("same_id_twice", chunk + 64 + 128, 3),
        ("scale_nan", chunk + 64 + 128 + 128, 0x7fc0_0000),
        ("vector_zero", chunk + 64 + 128 + 192, 0),
        ("vector_nan", chunk + 64 + 128 + 192, u64::MAX),
        ("bytes_far", chunk + 64 + 128 + 256, 0),
        ("count_of_blocks", tail + 8, 9),
        ("count_of_entries", tail + 40, u64::MAX),
    ] {
        put(&format!("n_{label}"), &with(at, &u64::to_le_bytes(value)));
    }
}
