//! What a frame can make its reader allocate: counted by the allocator, for claims of every kind.

#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use sparecall_core::frame::{self, Draft, FrameReader, HEADER, Header, Limits, Refusal, Token, Walk, Write, validate};

const MEBIBYTE: usize = 1 << 20;

thread_local! {
    static HELD: Cell<usize> = const { Cell::new(0) };
    static PEAK: Cell<usize> = const { Cell::new(0) };
}

struct Counting;

// SAFETY: hands everything to the system's allocator and counts beside it.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        grew(layout.size());
        // SAFETY: the caller's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        let _ = HELD.try_with(|held| held.set(held.get().saturating_sub(layout.size())));
        // SAFETY: the caller's.
        unsafe { System.dealloc(pointer, layout) }
    }
}

// `realloc` is the trait's own: a new block, a copy, and the old one freed. The peak has both.
#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn grew(bytes: usize) {
    let _ = HELD.try_with(|held| {
        held.set(held.get() + bytes);
        let _ = PEAK.try_with(|peak| peak.set(peak.get().max(held.get())));
    });
}

/// The most bytes that this thread held at once in `work`, above what it held before.
fn peak<T>(work: impl FnOnce() -> T) -> (usize, T) {
    let before = HELD.get();
    PEAK.set(before);
    let done = work();
    (PEAK.get() - before, done)
}

fn seal(mut frame: Vec<u8>) -> Vec<u8> {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&frame[..12]);
    hasher.update(&frame[HEADER..]);
    frame[12..HEADER].copy_from_slice(&hasher.finalize().to_le_bytes());
    frame
}

fn claiming(flags: u8, raw: usize, stored: usize, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![0; HEADER];
    frame[..2].copy_from_slice(&frame::MAGIC);
    frame[2..4].copy_from_slice(&[1, flags]);
    frame[4..8].copy_from_slice(&(raw as u32).to_le_bytes());
    frame[8..12].copy_from_slice(&(stored as u32).to_le_bytes());
    frame.extend_from_slice(payload);
    seal(frame)
}

fn read(frame: &[u8], limits: Limits) -> Result<usize, Refusal> {
    let (header, payload) = frame::split(frame, limits)?;
    if !header.lz4 {
        return validate(payload, limits);
    }
    let mut raw = vec![0; header.raw];
    frame::open(payload, &mut raw)?;
    validate(&raw, limits)
}

#[test]
fn the_counter_counts() {
    let (bytes, made) = peak(|| vec![0_u8; 5_000]);
    assert_eq!((bytes, made.len()), (5_000, 5_000));
}

#[test]
fn bombs_are_refused_without_memory_or_work() {
    let limits = Limits::default();
    let lists = [0xdd, 0xff, 0xff, 0xff, 0xff].repeat(50);
    let bombs = [
        claiming(1, u32::MAX as usize, 1, &[0]),
        claiming(1, 60 << 20, 100, &[0x1f; 100]),
        claiming(0, u32::MAX as usize, u32::MAX as usize, &[0xc0]),
        claiming(0, 60 << 20, 60 << 20, &[0xc0]),
        claiming(0, 5, 5, &[0xdd, 0xff, 0xff, 0xff, 0xff]),
        claiming(0, 5, 5, &[0xdf, 0xff, 0xff, 0xff, 0xff]),
        claiming(0, 6, 6, &[0xc9, 0xff, 0xff, 0xff, 0xff, 1]),
        claiming(0, 5, 5, &[0xdb, 0xff, 0xff, 0xff, 0xff]),
        claiming(0, lists.len(), lists.len(), &lists),
        claiming(0, 100_000, 100_000, &vec![0x91; 100_000]),
        claiming(0, 200_000, 200_000, &[0x81, 0x00].repeat(100_000)),
    ];
    for bomb in &bombs {
        let (bytes, refused) = peak(|| read(bomb, limits).is_err());
        assert!(refused);
        assert_eq!(bytes, 0);
        let (bytes, fed) = peak(|| {
            let mut reader = FrameReader::new(limits);
            let fed = reader.feed(bomb, |frame| read(frame, limits).map(drop));
            fed.and_then(|()| reader.finish()).is_err()
        });
        assert!(fed);
        assert!(bytes <= 3 * bomb.len(), "no more than came, and its copy as it grew: {bytes}");
    }
    // How far a reader gets: not past the claim that cannot be true.
    let mut walk = Walk::new(&lists, limits);
    assert!(matches!(walk.token(), Err(Refusal::Payload { at: 5, .. })));
}

#[test]
fn a_frame_that_expands_to_the_limit_takes_no_more_than_the_limit() {
    for cap in [MEBIBYTE, 16 * MEBIBYTE] {
        let limits = Limits::new(cap);
        let mut draft = Draft::default();
        let raw = draft.begin();
        raw.binary(&vec![0; cap - 5]);
        assert_eq!(draft.raw_len(), cap);
        let frame = draft.finish().to_vec();
        assert!(frame.len() * 250 < cap * 2, "{} bytes stand for {cap}", frame.len());
        let (bytes, values) = peak(|| read(&frame, limits));
        assert_eq!(values, Ok(1));
        assert!(bytes <= cap + MEBIBYTE, "{bytes} for a limit of {cap}");
        // One byte less is refused before any memory.
        assert_eq!(peak(|| read(&frame, Limits::new(cap - 1)).is_err()), (0, true));
    }
}

#[test]
fn a_reader_holds_one_frame_and_trusts_no_length() {
    let cap = 16 * MEBIBYTE;
    let limits = Limits::new(cap);
    let frame = claiming(0, cap, cap, &vec![0xc0; cap]);
    let (first, rest) = frame.split_at(1_000);
    let mut reader = FrameReader::new(limits);
    let (bytes, ()) = peak(|| reader.feed::<Refusal>(first, |_| Ok(())).expect("nothing bad yet"));
    assert!(bytes <= 4_000, "memory follows what came, not what is claimed: {bytes}");
    let (bytes, ()) = peak(|| {
        for piece in rest.chunks(10_000) {
            // The payload is no object, which only its reader finds out.
            reader
                .feed::<Refusal>(piece, |frame| {
                    Header::parse(frame.first_chunk().unwrap_or(&[0; HEADER]), limits).map(drop)
                })
                .expect("whole");
        }
    });
    assert!(bytes <= cap + MEBIBYTE, "{bytes}");
    assert_eq!(reader.pending(), 0);
    let (held, ()) = peak(|| drop(reader));
    assert_eq!(held, 0);
}

#[test]
fn walking_allocates_nothing() {
    let mut raw = Vec::new();
    raw.array(1_000);
    for number in 0..1_000 {
        raw.map(1);
        raw.text("number");
        raw.integer(number);
    }
    let (bytes, values) = peak(|| {
        let mut walk = Walk::new(&raw, Limits::default());
        let mut values = 0;
        while let Ok(token) = walk.token() {
            values += usize::from(!matches!(token, Token::Nil));
        }
        values
    });
    assert_eq!((bytes, values), (0, 3_001));
}
