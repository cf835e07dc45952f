//! The snapshot: what goes in comes out, and no damaged, reordered or forged file is taken for one.

use std::path::Path;

use proptest::prelude::*;
use sparecall_core::cache::snapshot::{Encoder, Form, Record, Snapshot};
use sparecall_core::cache::{Cost, Key, NEVER};
use sparecall_core::error::{Error, Result};

const FORMS: [Form; 2] = [Form::Bytes, Form::Objects];
/// Magic, version, form, time of saving.
const HEAD: usize = 8 + 4 + 1 + 8;
const CHECKSUM: usize = 32;
const COST: Cost = Cost { dollars: 0.25, seconds: 1.5 };

fn text(bytes: &[u8]) -> Key<'_> {
    Key { kind: Key::TEXT_1, bytes }
}

const fn record<'a>(key: Key<'a>, value: &'a [u8]) -> Record<'a> {
    Record { key, value_kind: 0, value, memory: 3, weight: 82, cost: COST, remaining: NEVER, tags: Vec::new() }
}

fn encode(records: &[Record<'_>], form: Form, saved_at: u64) -> Vec<u8> {
    let mut encoder = Encoder::new(form, saved_at);
    for record in records {
        encoder.push(record);
    }
    encoder.finish()
}

/// What all records of a file are, or why it is refused.
fn decode(file: &[u8], form: Form, wall_now: u64) -> Result<Vec<Record<'_>>> {
    Ok(Snapshot::open(file, form)?.records(wall_now).collect())
}

fn refusal(file: &[u8], form: Form) -> &'static str {
    match Snapshot::open(file, form) {
        Err(Error::Snapshot { what }) => what,
        other => panic!("{other:?}"),
    }
}

/// A forger's file: the checksum is right.
fn sealed(body: &[u8]) -> Vec<u8> {
    [body, blake3::hash(body).as_bytes()].concat()
}

fn sample() -> Vec<u8> {
    let tags = vec![text(b"red"), text(b"")];
    let first = Record { tags, ..record(text(b"team/user"), b"an answer") };
    let second = Record { remaining: 100, ..record(Key { kind: Key::DIGEST, bytes: &[7; 16] }, b"") };
    encode(&[first, second], Form::Bytes, 1_000)
}

/// A key of which every part is owned.
#[derive(Debug, Clone)]
struct Owned(u8, Vec<u8>);

impl Owned {
    fn key(&self) -> Key<'_> {
        Key { kind: self.0, bytes: &self.1 }
    }
}

fn texts() -> impl Strategy<Value = Owned> {
    let characters = |range| prop::collection::vec(range, 0..30);
    prop_oneof![
        characters(0..0x100_u32).prop_map(|text| Owned(Key::TEXT_1, text.into_iter().map(|code| code as u8).collect())),
        characters(0..0x1_0000).prop_map(|text| Owned(
            Key::TEXT_2,
            text.into_iter().flat_map(|code| (code as u16).to_ne_bytes()).collect()
        )),
        characters(0..0x11_0000)
            .prop_map(|text| Owned(Key::TEXT_4, text.into_iter().flat_map(u32::to_ne_bytes).collect())),
    ]
}

fn keys() -> impl Strategy<Value = Owned> {
    let digests =
        prop_oneof![Just(16_usize), Just(32)].prop_flat_map(|length| prop::collection::vec(any::<u8>(), length));
    prop_oneof![texts(), digests.prop_map(|digest| Owned(Key::DIGEST, digest))]
}

type Parts = (Owned, Vec<u8>, (u8, u8), u64, Cost, u64, Vec<Owned>);

fn records() -> impl Strategy<Value = Vec<Parts>> {
    let values = prop::collection::vec(any::<u8>(), 0..50);
    let numbers = || prop_oneof![Just(0.0), 0.0..10.0, Just(f64::MAX)];
    let costs = (numbers(), numbers()).prop_map(|(dollars, seconds)| Cost { dollars, seconds });
    let lives = prop_oneof![Just(NEVER), 1..NEVER];
    let tags = prop::collection::vec(texts(), 0..4);
    prop::collection::vec((keys(), values, any::<(u8, u8)>(), any::<u64>(), costs, lives, tags), 0..8)
}

fn borrowed(parts: &[Parts]) -> Vec<Record<'_>> {
    parts
        .iter()
        .map(|(key, value, (value_kind, memory), weight, cost, remaining, tags)| Record {
            key: key.key(),
            value_kind: *value_kind,
            value,
            memory: *memory,
            weight: *weight,
            cost: *cost,
            remaining: *remaining,
            tags: tags.iter().map(Owned::key).collect(),
        })
        .collect()
}

proptest! {
    #[test]
    fn a_snapshot_comes_back_as_it_was(parts in records(), saved_at: u64, objects: bool) {
        let (records, form) = (borrowed(&parts), FORMS[usize::from(objects)]);
        let file = encode(&records, form, saved_at);
        prop_assert_eq!(decode(&file, form, saved_at), Ok(records));
        prop_assert!(Snapshot::open(&file, FORMS[usize::from(!objects)]).is_err(), "the other form");
    }

    #[test]
    fn pieces_are_the_file_wherever_it_is_cut(parts in records(), cuts in prop::collection::vec(any::<bool>(), 8)) {
        let records = borrowed(&parts);
        let (mut encoder, mut file) = (Encoder::new(Form::Bytes, 5), Vec::new());
        for (record, cut) in records.iter().zip(cuts) {
            encoder.push(record);
            if cut {
                file.append(&mut encoder.take());
            }
        }
        file.append(&mut encoder.finish());
        prop_assert_eq!(file, encode(&records, Form::Bytes, 5));
    }

    #[test]
    fn bytes_that_are_no_snapshot_are_refused(bytes in prop::collection::vec(any::<u8>(), 0..200), headed: bool) {
        let body = if headed { [&sample()[..HEAD], &bytes].concat() } else { bytes };
        prop_assert!(Snapshot::open(&body, Form::Bytes).is_err());
    }

    #[test]
    fn whatever_is_accepted_can_be_read(
        parts in records(),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        wall_now: u64,
        objects: bool,
    ) {
        let form = FORMS[usize::from(objects)];
        let mut body = encode(&borrowed(&parts), form, 1_000);
        body.truncate(body.len() - CHECKSUM);
        for (at, byte) in damage {
            let at = at.index(body.len());
            body[at] = byte;
        }
        let file = sealed(&body);
        if let Ok(records) = decode(&file, form, wall_now) {
            for record in records {
                prop_assert!(record.remaining > 0 && record.cost.is_valid());
                prop_assert!(objects || record.key.is_valid());
                prop_assert!(record.tags.iter().all(|tag| tag.is_valid() && tag.characters().is_some()));
            }
        }
    }
}

#[test]
fn every_damaged_byte_and_every_truncation_is_seen() {
    let file = sample();
    assert!(decode(&file, Form::Bytes, 1_000).is_ok_and(|records| records.len() == 2));
    for at in 0..file.len() {
        assert!(Snapshot::open(&file[..at], Form::Bytes).is_err(), "cut at {at}");
        for byte in (0..=u8::MAX).filter(|&byte| byte != file[at]) {
            let mut damaged = file.clone();
            damaged[at] = byte;
            assert!(Snapshot::open(&damaged, Form::Bytes).is_err(), "byte {at} as {byte}");
        }
    }
    assert!(Snapshot::open(&[file.as_slice(), b"x"].concat(), Form::Bytes).is_err());
}

#[test]
fn records_in_another_order_are_refused() {
    let records = [record(text(b"first"), b"1"), record(text(b"other"), b"2")];
    let file = encode(&records, Form::Bytes, 0);
    let length = (file.len() - HEAD - CHECKSUM - 9) / 2;
    let (first, second) = (HEAD..HEAD + length, HEAD + length..HEAD + 2 * length);
    let swapped = [&file[..HEAD], &file[second], &file[first], &file[HEAD + 2 * length..]].concat();
    assert_eq!(
        swapped[..swapped.len() - CHECKSUM],
        encode(&[records[1].clone(), records[0].clone()], Form::Bytes, 0)[..swapped.len() - CHECKSUM]
    );
    assert!(refusal(&swapped, Form::Bytes).contains("checksum"));
}

#[test]
fn a_refusal_says_why() {
    let file = sample();
    let body = &file[..file.len() - CHECKSUM];
    let with = |at: usize, byte: u8| {
        let mut body = body.to_vec();
        body[at] = byte;
        sealed(&body)
    };
    let cases = [
        (file[..7].to_vec(), "shorter than its header"),
        (file[..20].to_vec(), "shorter than its header"),
        (with(0, b'X'), "not a cache snapshot"),
        (with(8, 1), "another version"),
        (with(12, 1), "other kind of cache"),
        (file[..file.len() - 1].to_vec(), "checksum"),
        (with(body.len() - 8, 3), "more or fewer records"),
        (with(HEAD + 8 + 7, 0xff), "no end"),
        (with(HEAD + 1, 3), "no cache would have saved"),
    ];
    for (file, expected) in cases {
        let what = refusal(&file, Form::Bytes);
        assert!(what.contains(expected), "{what:?} should say {expected:?}");
    }
    for form in [Form::Bytes, Form::Objects] {
        let bad = [f64::NAN, f64::INFINITY, -1.0];
        let dollars = bad.map(|dollars| Cost { dollars, ..COST });
        let seconds = bad.map(|seconds| Cost { seconds, ..COST });
        for cost in dollars.into_iter().chain(seconds) {
            let forged = encode(&[Record { cost, ..record(text(b"key"), b"value") }], form, 0);
            assert!(refusal(&forged, form).contains("no cache would have saved"));
        }
    }
}

#[test]
fn time_gone_by_since_saving_is_taken_off_and_a_clock_set_back_is_none() {
    let remaining = |wall_now| {
        let file = sample();
        decode(&file, Form::Bytes, wall_now)
            .map(|records| records.iter().map(|record| record.remaining).collect::<Vec<_>>())
    };
    assert_eq!(remaining(1_040), Ok(vec![NEVER, 60]));
    assert_eq!(remaining(500), Ok(vec![NEVER, 100]));
    assert_eq!(remaining(1_100), Ok(vec![NEVER]));
    assert_eq!(remaining(u64::MAX), Ok(vec![NEVER]));
}

#[test]
fn the_fuzz_corpus_is_accepted_or_refused_as_its_names_say() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus/snapshot");
    let mut replayed = 0;
    for entry in std::fs::read_dir(folder).expect("the corpus is committed") {
        let path = entry.expect("readable").path();
        let name = path.file_name().expect("a file").to_string_lossy().into_owned();
        // Bodies without their checksum, so that a fuzzer may change them.
        let file = sealed(&std::fs::read(&path).expect("readable"));
        let expected = match &name[..2] {
            "y_" => [true, false],
            "o_" => [false, true],
            "n_" => [false, false],
            other => panic!("{name} starts with {other}, not y_ (of bytes), o_ (of objects) or n_"),
        };
        assert_eq!(FORMS.map(|form| decode(&file, form, 1_000).is_ok()), expected, "{name}");
        replayed += 1;
    }
    assert!(replayed > 40);
}
