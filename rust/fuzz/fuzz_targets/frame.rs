//! Any bytes under a right checksum: refused, or read without a panic as what, fed in pieces, is read again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sparecall_core::frame::{self, FrameReader, HEADER, Limits, Refusal};

fn read(frame: &[u8], limits: Limits) -> Result<usize, Refusal> {
    let (header, payload) = frame::split(frame, limits)?;
    if !header.lz4 {
        return frame::validate(payload, limits);
    }
    let mut raw = vec![0; header.raw];
    frame::open(payload, &mut raw)?;
    frame::validate(&raw, limits)
}

// The first 12 bytes are a header without its checksum, the rest a payload.
fuzz_target!(|bytes: &[u8]| {
    let Some((head, payload)) = bytes.split_first_chunk::<12>() else { return };
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(bytes);
    let frame = [&head[..], &hasher.finalize().to_le_bytes(), payload].concat();
    let limits = Limits::new(1 << 20);
    let whole = read(&frame, limits);
    let mut reader = FrameReader::new(limits);
    let mut found = Vec::new();
    let fed = frame.chunks(7).try_for_each(|piece| {
        reader.feed(piece, |frame| {
            assert!(frame.len() >= HEADER);
            found.push(read(frame, limits)?);
            Ok::<_, Refusal>(())
        })
    });
    if let Ok(values) = whole {
        assert_eq!((fed, reader.finish()), (Ok(()), Ok(())));
        assert_eq!(found, [values]);
    }
});
