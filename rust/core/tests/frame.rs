//! Frames without Python: what is written is read, nothing else is, and no claim is believed before it is checked.

use std::path::Path;

use proptest::prelude::*;
use sparecall_core::frame::{
    self, ALIGNMENT, Array, Civil, Draft, Dtype, FrameReader, HEADER, Header, Limits, MAGIC, MAX_BYTES, Refusal,
    Timestamp, Token, Walk, Write, ext, validate,
};

const LIMITS: fn() -> Limits = || Limits::new(1 << 20);

/// A frame around any payload, whose checksum is right whatever else is not.
fn sealed(head: &[u8; 12], payload: &[u8]) -> Vec<u8> {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(head);
    hasher.update(payload);
    [&head[..], &hasher.finalize().to_le_bytes(), payload].concat()
}

fn head(flags: u8, raw: u32, stored: u32) -> [u8; 12] {
    let mut head = [MAGIC[0], MAGIC[1], 1, flags, 0, 0, 0, 0, 0, 0, 0, 0];
    head[4..8].copy_from_slice(&raw.to_le_bytes());
    head[8..].copy_from_slice(&stored.to_le_bytes());
    head
}

fn plain(payload: &[u8]) -> Vec<u8> {
    sealed(&head(0, payload.len() as u32, payload.len() as u32), payload)
}

/// All of a frame: its `MessagePack`, found to be one object.
fn read(frame: &[u8], limits: Limits) -> Result<Vec<u8>, Refusal> {
    let (header, payload) = frame::split(frame, limits)?;
    let mut raw = payload.to_vec();
    if header.lz4 {
        raw = vec![0; header.raw];
        frame::open(payload, &mut raw)?;
    }
    validate(&raw, limits)?;
    Ok(raw)
}

/// `MessagePack` as a frame, by the writer.
fn write(raw: &[u8]) -> Vec<u8> {
    let mut draft = Draft::default();
    draft.begin().extend_from_slice(raw);
    draft.finish().to_vec()
}

/// What a payload says, value by value, so that another payload can be made of it.
fn rewrite(payload: &[u8]) -> Vec<u8> {
    let mut walk = Walk::new(payload, LIMITS());
    let mut out = Vec::new();
    while walk.end().is_err() {
        match walk.token().expect("it was valid") {
            Token::Nil => out.nil(),
            Token::Boolean(value) => out.boolean(value),
            Token::Integer(value) => out.integer(value),
            Token::Unsigned(value) => out.unsigned(value),
            Token::Float(value) => out.float(value),
            Token::Text(value) => out.text(std::str::from_utf8(value).expect("it was valid")),
            Token::Binary(value) => out.binary(value),
            Token::Array(length) => out.array(length as u32),
            Token::Map(length) => out.map(length as u32),
            Token::Extension(ext::TIMESTAMP, bytes) => out.timestamp(Timestamp::parse(bytes, 0).expect("it was valid")),
            Token::Extension(kind, bytes) => {
                out.extension(kind, bytes.len() as u32);
                out.extend_from_slice(bytes);
            }
        }
    }
    out
}

/// No panic; what is accepted can be written again, shorter or as short, and is then the same.
fn accepted(payload: &[u8]) -> bool {
    let Ok(values) = validate(payload, LIMITS()) else { return false };
    let again = rewrite(payload);
    // Only floats of 4 bytes get longer, by 4.
    assert!(again.len() <= payload.len() * 2);
    assert_eq!(validate(&again, LIMITS()), Ok(values));
    assert_eq!(rewrite(&again), again);
    true
}

fn randoms(seed: u64) -> impl FnMut() -> u64 {
    let mut state = seed | 1;
    move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state >> 8
    }
}

fn document(depth: u32) -> impl Strategy<Value = Vec<u8>> {
    let made = |write: fn(&mut Vec<u8>)| {
        let mut out = Vec::new();
        write(&mut out);
        out
    };
    let leaf = prop_oneof![
        Just(made(Write::nil)),
        any::<bool>().prop_map(|value| {
            let mut out = Vec::new();
            out.boolean(value);
            out
        }),
        any::<i64>().prop_map(|value| {
            let mut out = Vec::new();
            out.integer(value >> (value & 63));
            out
        }),
        any::<f64>().prop_map(|value| {
            let mut out = Vec::new();
            out.float(value);
            out
        }),
        ".{0,40}".prop_map(|value: String| {
            let mut out = Vec::new();
            out.text(&value);
            out
        }),
        prop::collection::vec(any::<u8>(), 0..300).prop_map(|value| {
            let mut out = Vec::new();
            out.binary(&value);
            out
        }),
    ];
    leaf.prop_recursive(depth, 64, 8, |inner| {
        let pairs = prop::collection::vec(("[a-z]{0,12}", inner.clone()), 0..8).prop_map(|pairs| {
            let mut out = Vec::new();
            out.map(pairs.len() as u32);
            for (key, value) in pairs {
                out.text(&key);
                out.extend(value);
            }
            out
        });
        let items = prop::collection::vec(inner, 0..20).prop_map(|items| {
            let mut out = Vec::new();
            out.array(items.len() as u32);
            out.extend(items.concat());
            out
        });
        prop_oneof![items, pairs]
    })
}

proptest! {
    #[test]
    fn what_is_written_is_read(raw in document(5)) {
        let frame = write(&raw);
        prop_assert!(frame.len() <= HEADER + raw.len());
        prop_assert_eq!(read(&frame, LIMITS()), Ok(raw.clone()));
        prop_assert!(accepted(&raw));
        prop_assert!(read(&frame[..frame.len() - 1], LIMITS()).is_err());
        prop_assert_eq!(read(&[&frame[..], b"x"].concat(), LIMITS()), Err(Refusal::Trailing { extra: 1 }));
    }

    #[test]
    fn lz4_gives_back_any_bytes(
        seed in any::<u64>(),
        length in prop_oneof![256_usize..1_000, 1_000_usize..70_000, 65_520_usize..65_550],
        repeats in 1_usize..300,
        alphabet in 1_u64..256,
    ) {
        // Runs of noise of few or many letters, and earlier parts again, from near and from far.
        let mut random = randoms(seed);
        let mut raw = Vec::with_capacity(length);
        while raw.len() < length {
            let count = random() as usize % repeats + 1;
            if random().is_multiple_of(3) || raw.is_empty() {
                raw.extend(std::iter::repeat_with(|| (random() % alphabet) as u8).take(count));
            } else {
                let distance = random() as usize % raw.len() + 1;
                for _ in 0..count {
                    raw.push(raw[raw.len() - distance]);
                }
            }
        }
        raw.truncate(length);
        let mut draft = Draft::default();
        // The second is made with a table that has seen the first.
        for raw in [&raw[..], &raw[raw.len() / 3..]] {
            draft.begin().extend_from_slice(raw);
            let frame = draft.finish();
            let (header, payload) = frame::split(frame, LIMITS()).expect("just written");
            prop_assert_eq!(header.raw, raw.len());
            if header.lz4 {
                let mut back = vec![0; raw.len()];
                prop_assert_eq!(frame::open(payload, &mut back), Ok(()));
                prop_assert!(back == raw);
            } else {
                prop_assert!(payload == raw);
            }
        }
    }

    #[test]
    fn no_payload_panics(payload in prop::collection::vec(any::<u8>(), 0..200)) {
        accepted(&payload);
    }

    #[test]
    fn no_change_of_a_payload_panics(
        mut raw in document(4),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        flags in 0_u8..4,
        claim in 0_u32..5_000,
    ) {
        let frame = write(&raw);
        for (place, byte) in &changes {
            let place = place.index(raw.len());
            raw[place] = *byte;
        }
        accepted(&raw);
        let mut payload = frame[HEADER..].to_vec();
        for (place, byte) in &changes {
            let place = place.index(payload.len());
            payload[place] = *byte;
        }
        let stored = payload.len() as u32;
        let _ = read(&sealed(&head(flags, claim, stored), &payload), LIMITS());
        let raw = u32::from_le_bytes([frame[4], frame[5], frame[6], frame[7]]);
        let _ = read(&sealed(&head(frame[3], raw, stored), &payload), LIMITS());
    }

    #[test]
    fn a_stream_in_any_pieces_is_the_same_frames(
        raws in prop::collection::vec(document(3), 1..6),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
    ) {
        let frames: Vec<Vec<u8>> = raws.iter().map(|raw| write(raw)).collect();
        let stream = frames.concat();
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(stream.len())).collect();
        cuts.extend([0, stream.len()]);
        cuts.sort_unstable();
        let mut reader = FrameReader::new(LIMITS());
        let mut found = Vec::new();
        for piece in cuts.windows(2) {
            let take = |frame: &[u8]| { found.push(frame.to_vec()); Ok(()) };
            prop_assert_eq!(reader.feed::<Refusal>(&stream[piece[0]..piece[1]], take), Ok(()));
            prop_assert!(reader.pending() <= frames.iter().map(Vec::len).max().unwrap_or(0));
        }
        prop_assert_eq!(found, frames);
        prop_assert_eq!(reader.finish(), Ok(()));
    }

    #[test]
    fn moments_are_those_of_the_calendar(seconds in -62_135_596_800_i64..253_402_300_800, nanoseconds in 0_u32..1_000_000_000, offset in -86_399_i64..86_400) {
        let moment = Timestamp { seconds, nanoseconds };
        prop_assert_eq!(moment.civil().timestamp(0), moment);
        prop_assert_eq!(moment.civil().timestamp(offset).seconds, seconds - offset);
        let mut out = Vec::new();
        out.timestamp(moment);
        let mut walk = Walk::new(&out, LIMITS());
        let Ok(Token::Extension(ext::TIMESTAMP, bytes)) = walk.token() else { panic!("no timestamp") };
        prop_assert_eq!(Timestamp::parse(bytes, 0), Ok(moment));
    }

    #[test]
    fn arrays_stand_where_they_can_be_used(
        shape in prop::collection::vec(0_usize..20, 0..4),
        dtype in prop::sample::select(Dtype::all().collect::<Vec<_>>()),
        before in prop::collection::vec(any::<u8>(), 0..40),
        scale in prop_oneof![Just(1), Just(70), Just(5_000)],
    ) {
        let mut shape = shape;
        if let Some(first) = shape.first_mut() {
            *first *= scale;
        }
        let size = shape.iter().product::<usize>() * dtype.size;
        prop_assume!(size < 1 << 18);
        let mut out = vec![0; HEADER];
        out.binary(&before);
        let at = out.len();
        Array::head(&mut out, HEADER, dtype, &shape, size);
        prop_assert_eq!((out.len() - HEADER) % ALIGNMENT, 0);
        out.resize(out.len() + size, 7);
        let mut walk = Walk::new(&out[at..], LIMITS());
        let Ok(Token::Extension(ext::ARRAY, bytes)) = walk.token() else { panic!("no array") };
        prop_assert_eq!(walk.end(), Ok(()));
        let array = Array::parse(bytes, 0).expect("just written");
        prop_assert_eq!(array.dtype, dtype);
        prop_assert_eq!(array.shape().map(|dimension| dimension as usize).collect::<Vec<_>>(), shape);
        prop_assert_eq!(array.numbers.len(), size);
        prop_assert!(Array::parse(&bytes[..bytes.len() - 1], 0).is_err());
    }
}

#[test]
fn every_flipped_bit_is_refused() {
    let long = "a text that LZ4 can shorten, again and again; ".repeat(30);
    for text in ["short", &long] {
        let mut raw = Vec::new();
        raw.map(2);
        raw.text("text");
        raw.text(text);
        raw.text("number");
        raw.integer(-5);
        let frame = write(&raw);
        assert_eq!(frame[3], u8::from(text.len() > 5));
        for bit in 0..frame.len() * 8 {
            let mut flipped = frame.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(read(&flipped, LIMITS()).is_err(), "bit {bit}");
            let mut reader = FrameReader::new(LIMITS());
            let mut found = 0;
            let fed = reader.feed::<Refusal>(&flipped, |frame| {
                read(frame, LIMITS())?;
                found += 1;
                Ok(())
            });
            // A longer stored length is not known for a lie before the stream ends.
            assert!(fed.and_then(|()| reader.finish()).is_err(), "bit {bit}");
            assert_eq!(found, 0);
        }
    }
}

#[test]
fn headers_that_contradict_themselves_are_refused() {
    let refused = |head: [u8; 12], payload: &[u8]| read(&sealed(&head, payload), LIMITS()).expect_err("a bad header");
    assert_eq!(refused(head(4, 1, 1), &[0xc0]), Refusal::Header { what: "it has flags that no writer sets" });
    assert_eq!(refused(head(0, 0, 0), &[]), Refusal::Header { what: "a length is 0" });
    assert!(matches!(refused(head(0, 2, 1), &[0xc0]), Refusal::Header { .. }));
    assert!(matches!(refused(head(1, 1, 1), &[0xc0]), Refusal::Header { .. }));
    assert_eq!(refused(head(1, 512, 2), &[0, 0]), Refusal::Ratio { raw: 512, stored: 2 });
    assert_eq!(refused(head(1, 509, 2), &[0, 0]), Refusal::Lz4);
    assert_eq!(refused(head(0, 2 << 20, 1), &[0xc0]), Refusal::TooLong { bytes: 2 << 20, limit: 1 << 20 });
    let mut older = head(0, 1, 1);
    older[2] = 0;
    assert_eq!(refused(older, &[0xc0]), Refusal::Version { found: 0 });
    for foreign in
        [&b"{\"json\": true, \"length\": 5}"[..], b"\x04\x22\x4d\x18 an LZ4 frame", b"\x28\xb5\x2f\xfd and zstd here"]
    {
        assert_eq!(read(foreign, LIMITS()), Err(Refusal::Foreign));
    }
    assert_eq!(read(b"", LIMITS()), Err(Refusal::Short { have: 0, need: HEADER }));
    assert_eq!(Limits::new(usize::MAX).bytes(), MAX_BYTES);
}

#[test]
fn depth_counts_containers() {
    for (depth, fits) in [(1, true), (128, true), (129, false), (100_000, false)] {
        let lists = [vec![0x91; depth - 1], vec![0x90]].concat();
        assert_eq!(validate(&lists, LIMITS()).is_ok(), fits);
        let maps = [[0x81, 0x01].repeat(depth - 1), vec![0x80]].concat();
        assert_eq!(validate(&maps, LIMITS()).is_ok(), fits);
    }
}

#[test]
fn a_container_never_promises_more_than_there_is() {
    // Each list says that it holds as many values as there are bytes behind it: alone none lies, together they do.
    let mut nested = Vec::new();
    for left in (0..100_u32).rev() {
        nested.extend([0xdd]);
        nested.extend((left * 5 + 1_000).to_be_bytes());
    }
    nested.resize(nested.len() + 1_000, 0xc0);
    let mut walk = Walk::new(&nested, LIMITS());
    assert_eq!(walk.token(), Ok(Token::Array(99 * 5 + 1_000)));
    assert!(matches!(walk.token(), Err(Refusal::Payload { at: 10, .. })), "at the second, before any memory");
    for bomb in [&[0xdd, 0xff, 0xff, 0xff, 0xff][..], &[0xdf, 0xff, 0xff, 0xff, 0xff], &[0xdc, 0xff, 0xff, 0xc0]] {
        assert!(matches!(validate(bomb, LIMITS()), Err(Refusal::Payload { .. })));
    }
    for bomb in
        [&[0xdb, 0xff, 0xff, 0xff, 0xff][..], &[0xc6, 0xff, 0xff, 0xff, 0xff], &[0xc9, 0xff, 0xff, 0xff, 0xff, 1]]
    {
        assert!(matches!(validate(bomb, LIMITS()), Err(Refusal::Payload { what: "it is cut short", .. })));
    }
}

#[test]
fn empty_containers_do_not_multiply_memory() {
    let limits = Limits::new(1 << 20);
    let mut many = Vec::new();
    many.array((1 << 20) - 16);
    many.resize(1 << 20, 0x90);
    assert_eq!(validate(&many, limits), Err(Refusal::TooMany { limit: limits.values() }));
}

#[test]
fn a_reader_stays_refused() {
    let good = plain(&[0xc0]);
    let mut reader = FrameReader::new(LIMITS());
    let mut count = 0;
    let stream = [&good[..], &good, &[b'x'; HEADER]].concat();
    let fed = reader.feed::<Refusal>(&stream, |_| {
        count += 1;
        Ok(())
    });
    assert_eq!((fed, count), (Err(Refusal::Foreign), 2));
    assert_eq!(reader.feed::<Refusal>(&good, |_| Ok(())), Err(Refusal::Refused));
    assert_eq!((reader.finish(), reader.pending()), (Err(Refusal::Refused), 0));
    let mut reader = FrameReader::new(LIMITS());
    assert_eq!(reader.feed::<Refusal>(&good[..5], |_| Ok(())), Ok(()));
    assert_eq!(reader.finish(), Err(Refusal::Short { have: 5, need: HEADER }));
    assert_eq!(reader.feed::<Refusal>(&good[5..HEADER], |_| Ok(())), Ok(()));
    assert_eq!(reader.finish(), Err(Refusal::Short { have: HEADER, need: HEADER + 1 }));
}

#[test]
fn days_are_counted_right() {
    let civil = |seconds| {
        let Civil { year, month, day, .. } = Timestamp { seconds, nanoseconds: 0 }.civil();
        (year, month, day)
    };
    assert_eq!(civil(0), (1970, 1, 1));
    assert_eq!(civil(951_782_400), (2000, 2, 29));
    assert_eq!(civil(-62_135_596_800), (1, 1, 1));
    assert_eq!(civil(253_402_300_799), (9999, 12, 31));
    assert_eq!(civil(-2_203_891_200), (1900, 3, 1));
}

#[test]
fn what_does_not_shrink_is_stored_as_it_is() {
    let mut random = randoms(1);
    let mut noise = |length| -> Vec<u8> { std::iter::repeat_with(|| random() as u8).take(length).collect() };
    let text = b"a text that is said again and again; ".repeat(8_000);
    let lz4 = |raw: &[u8]| write(raw)[3] & 1 == 1;
    assert!(!lz4(&noise(5_000)));
    assert!(!lz4(&noise(500_000)));
    assert!(lz4(&text));
    assert!(!lz4(&text[..200]));
    assert!(lz4(&[&noise(100_000)[..], &text].concat()), "a sample in the middle says so");
    assert!(lz4(&[&text[..], &noise(100_000)].concat()));
}

#[test]
fn the_fuzz_corpus_is_accepted_or_refused_as_its_names_say() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus/frame");
    let mut replayed = 0;
    for entry in std::fs::read_dir(folder).expect("the corpus is committed") {
        let path = entry.expect("readable").path();
        let name = path.file_name().expect("a file").to_string_lossy().into_owned();
        // Frames without their checksum, so that a fuzzer may change them.
        let bytes = std::fs::read(&path).expect("readable");
        let (head, payload) = bytes.split_first_chunk().expect("a header");
        let found = read(&sealed(head, payload), LIMITS());
        match &name[..2] {
            "y_" => assert!(accepted(&found.expect(&name))),
            "n_" => assert!(found.is_err(), "{name}"),
            other => panic!("{name} starts with {other}, neither y_ nor n_"),
        }
        replayed += 1;
    }
    assert!(replayed > 40);
}

/// Ten million changed payloads; `make soak` runs it.
#[test]
#[ignore = "long"]
fn ten_million_changed_payloads() {
    let mut raw = Vec::new();
    raw.map(3);
    raw.text("messages");
    raw.array(3);
    raw.text("text");
    raw.float(1.5);
    raw.timestamp(Timestamp { seconds: 5, nanoseconds: 6 });
    raw.text("vector");
    Array::head(&mut raw, 0, Dtype::all().next().expect("float32"), &[2, 3], 24);
    raw.resize(raw.len() + 24, 0);
    raw.integer(-70_000);
    raw.nil();
    assert!(accepted(&raw));
    let mut random = randoms(7);
    let mut random = move || random() as usize;
    let mut taken = 0;
    for _ in 0..10_000_000 {
        let mut changed = raw.clone();
        for _ in 0..=random() % 3 {
            let place = random() % changed.len();
            changed[place] = random() as u8;
        }
        changed.truncate(if random() % 4 == 0 { random() % changed.len() } else { changed.len() });
        taken += usize::from(accepted(&changed));
        let _ = Header::parse(&std::array::from_fn(|_| random() as u8), LIMITS());
    }
    assert!(taken > 1_000);
}
