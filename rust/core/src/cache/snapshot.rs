//! A cache as bytes of a file, and back. Pure: the caller reads and writes the file and brings the wall clock.
//!
//! Layout, all integers little endian: magic (8 bytes), version (u32), length of the whole file (u64), wall-clock time of
//! saving (u64), records least recently used first, BLAKE3-256 of everything before (32 bytes).
//! A record: kind of key (u8), length of key (u64), length of value (u64), remaining life (u64, [`NEVER`] for no end),
//! key, value. A monotonic clock does not survive a restart, hence remaining lives and a wall clock.

use super::{Key, NEVER};
use crate::error::{Error, Result};

/// What every such file begins with.
pub const MAGIC: [u8; 8] = *b"SPARECSH";
const VERSION: u32 = 1;
const HEADER: usize = 8 + 4 + 8 + 8;
const CHECKSUM: usize = blake3::OUT_LEN;
/// Where in the header the length of the file stands.
const LENGTH_AT: usize = 12;

/// One entry in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record<'a> {
    pub key: Key<'a>,
    pub value: &'a [u8],
    /// Life left when the file was saved, in the caller's unit of time, or [`NEVER`].
    pub remaining: u64,
}

/// The file for `records`, least recently used first, saved at the wall-clock time `saved_at`.
pub fn encode<'a>(records: impl Iterator<Item = Record<'a>>, saved_at: u64) -> Vec<u8> {
    let mut file = Vec::new();
    file.extend_from_slice(&MAGIC);
    file.extend_from_slice(&VERSION.to_le_bytes());
    file.extend_from_slice(&[0; 8]); // the length, known at the end
    file.extend_from_slice(&saved_at.to_le_bytes());
    for Record { key, value, remaining } in records {
        file.push(key.kind);
        file.extend_from_slice(&(key.bytes.len() as u64).to_le_bytes());
        file.extend_from_slice(&(value.len() as u64).to_le_bytes());
        file.extend_from_slice(&remaining.to_le_bytes());
        file.extend_from_slice(key.bytes);
        file.extend_from_slice(value);
    }
    let length = (file.len() + CHECKSUM) as u64;
    file[LENGTH_AT..LENGTH_AT + 8].copy_from_slice(&length.to_le_bytes());
    let checksum = blake3::hash(&file);
    file.extend_from_slice(checksum.as_bytes());
    file
}

/// The records of a file that are still alive at the wall-clock time `wall_now`, with the life they have left now.
/// A wall clock set back counts as no time gone by.
pub fn decode(file: &[u8], wall_now: u64) -> Result<Vec<Record<'_>>> {
    let (saved_at, mut rest) = verify(file)?;
    let gone = wall_now.saturating_sub(saved_at);
    let mut records = Vec::new();
    while !rest.is_empty() {
        let (mut record, after) = split_record(rest).ok_or(Error::Snapshot { what: "a record has no end" })?;
        rest = after;
        if record.remaining != NEVER {
            record.remaining = record.remaining.saturating_sub(gone);
        }
        if record.remaining > 0 {
            records.push(record);
        }
    }
    Ok(records)
}

/// Length, version and checksum; returns the time of saving and the bytes of the records.
fn verify(file: &[u8]) -> Result<(u64, &[u8])> {
    let refuse = |what| Err(Error::Snapshot { what });
    let Some((magic, after_magic)) = file.split_first_chunk::<8>() else {
        return refuse("the file is shorter than its header");
    };
    if *magic != MAGIC {
        return refuse("the file is not a cache snapshot");
    }
    let Some((version, after_version)) = after_magic.split_first_chunk::<4>() else {
        return refuse("the file is shorter than its header");
    };
    if u32::from_le_bytes(*version) != VERSION {
        return refuse("another version of sparecall wrote the file, or its header is damaged");
    }
    let (Some((length, after_length)), Some((body, checksum))) =
        (split_u64(after_version), file.split_last_chunk::<CHECKSUM>())
    else {
        return refuse("the file is shorter than its header");
    };
    if length != file.len() as u64 {
        return refuse("the file is longer or shorter than its header says");
    }
    // Constant-time comparison of blake3::Hash; only equality matters here.
    if blake3::hash(body) != blake3::Hash::from_bytes(*checksum) {
        return refuse("the checksum does not match");
    }
    match (split_u64(after_length), body.get(HEADER..)) {
        (Some((saved_at, _)), Some(records)) => Ok((saved_at, records)),
        _ => refuse("the file is shorter than its header"),
    }
}

fn split_record(bytes: &[u8]) -> Option<(Record<'_>, &[u8])> {
    let (&kind, bytes) = bytes.split_first()?;
    let (key_len, bytes) = split_u64(bytes)?;
    let (value_len, bytes) = split_u64(bytes)?;
    let (remaining, bytes) = split_u64(bytes)?;
    let (key, bytes) = bytes.split_at_checked(usize::try_from(key_len).ok()?)?;
    let (value, bytes) = bytes.split_at_checked(usize::try_from(value_len).ok()?)?;
    Some((Record { key: Key { kind, bytes: key }, value, remaining }, bytes))
}

fn split_u64(bytes: &[u8]) -> Option<(u64, &[u8])> {
    bytes.split_first_chunk().map(|(first, rest)| (u64::from_le_bytes(*first), rest))
}
