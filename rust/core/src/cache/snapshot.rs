//! A cache as bytes of a file, and back. Pure: the caller reads and writes the file and brings the wall clock.
//!
//! Layout, all integers little endian. Head: magic (8 bytes), version (u32), form (u8), wall-clock time of saving (u64).
//! Then records, those that leave first first, and a byte 0. Tail: how many records (u64), BLAKE3-256 of everything before.
//! A record: a byte 1, kind of key (u8), kind of value (u8), what the policy remembers (u8), number of tags (u32),
//! length of key (u64), length of value (u64), weight (u64), cost in dollars and in seconds (f64), remaining life (u64,
//! [`NEVER`] for no end), key, value; of each tag: kind (u8), length (u64), name. Remaining lives and a wall clock, since a monotonic clock does not
//! survive a restart.

use super::{Cost, Key, NEVER};
use crate::error::{Error, Result};

/// What every such file begins with.
pub const MAGIC: [u8; 8] = *b"SPARECSH";
const VERSION: u32 = 2;
const CHECKSUM: usize = blake3::OUT_LEN;
const END: u8 = 0;
const RECORD: u8 = 1;

/// What stands in a file: each kind of cache reads its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Keys are [`Key`]s, and valid; values are bytes.
    Bytes = 0,
    /// Keys and values are what the caller made of its objects.
    Objects = 1,
}

/// One entry in a file.
#[derive(Debug, Clone, PartialEq)]
pub struct Record<'a> {
    pub key: Key<'a>,
    pub value_kind: u8,
    pub value: &'a [u8],
    pub memory: u8,
    pub weight: u64,
    pub cost: Cost,
    /// Life left when the file was saved, in the caller's unit of time, or [`NEVER`].
    pub remaining: u64,
    pub tags: Vec<Key<'a>>,
}

/// Makes a file in pieces.
#[derive(Debug)]
pub struct Encoder {
    buffer: Vec<u8>,
    hasher: blake3::Hasher,
    count: u64,
}

impl Encoder {
    pub fn new(form: Form, saved_at: u64) -> Self {
        let mut buffer = Vec::new();
        buffer.extend_from_slice(&MAGIC);
        buffer.extend_from_slice(&VERSION.to_le_bytes());
        buffer.push(form as u8);
        buffer.extend_from_slice(&saved_at.to_le_bytes());
        Self { buffer, hasher: blake3::Hasher::new(), count: 0 }
    }

    pub fn push(&mut self, record: &Record<'_>) {
        let Record { key, value_kind, value, memory, weight, cost, remaining, tags } = record;
        let buffer = &mut self.buffer;
        buffer.extend_from_slice(&[RECORD, key.kind, *value_kind, *memory]);
        buffer.extend_from_slice(&(tags.len() as u32).to_le_bytes());
        let cost = [cost.dollars.to_bits(), cost.seconds.to_bits()];
        for number in [key.bytes.len() as u64, value.len() as u64, *weight, cost[0], cost[1], *remaining] {
            buffer.extend_from_slice(&number.to_le_bytes());
        }
        buffer.extend_from_slice(key.bytes);
        buffer.extend_from_slice(value);
        for tag in tags {
            buffer.push(tag.kind);
            buffer.extend_from_slice(&(tag.bytes.len() as u64).to_le_bytes());
            buffer.extend_from_slice(tag.bytes);
        }
        self.count += 1;
    }

    /// The next piece of the file.
    pub fn take(&mut self) -> Vec<u8> {
        self.hasher.update(&self.buffer);
        std::mem::take(&mut self.buffer)
    }

    /// The last piece.
    pub fn finish(mut self) -> Vec<u8> {
        self.buffer.push(END);
        self.buffer.extend_from_slice(&self.count.to_le_bytes());
        let mut last = self.take();
        last.extend_from_slice(self.hasher.finalize().as_bytes());
        last
    }
}

/// A file that was found whole.
#[derive(Debug)]
pub struct Snapshot<'a> {
    saved_at: u64,
    records: &'a [u8],
    count: u64,
}

impl<'a> Snapshot<'a> {
    /// Checks everything in the file. O(bytes).
    pub fn open(file: &'a [u8], form: Form) -> Result<Self> {
        let refuse = |what| Err(Error::Snapshot { what });
        let mut rest = Reader(file);
        let short = "the file is shorter than its header";
        match rest.array() {
            None => return refuse(short),
            Some(magic) if magic != MAGIC => return refuse("the file is not a cache snapshot"),
            Some(_) => {}
        }
        match rest.array().map(u32::from_le_bytes) {
            None => return refuse(short),
            Some(VERSION) => {}
            Some(_) => return refuse("another version of sparecall wrote the file, or its header is damaged"),
        }
        let (Some([found]), Some(saved_at)) = (rest.array(), rest.u64()) else { return refuse(short) };
        let Some((body, checksum)) = file.split_last_chunk::<CHECKSUM>() else { return refuse(short) };
        // Constant-time comparison of blake3::Hash; only equality matters here.
        if blake3::hash(body) != blake3::Hash::from_bytes(*checksum) {
            return refuse("the checksum does not match: the file is cut short or damaged");
        }
        if found != form as u8 {
            return refuse("the file is of the other kind of cache (Cache or BytesCache)");
        }
        let Some((Some(records), count)) =
            body.split_last_chunk::<8>().map(|(records, count)| (records.get(file.len() - rest.0.len()..), count))
        else {
            return refuse(short);
        };
        let snapshot = Self { saved_at, records, count: u64::from_le_bytes(*count) };
        snapshot.check(form)?;
        Ok(snapshot)
    }

    fn check(&self, form: Form) -> Result<()> {
        let mut rest = Reader(self.records);
        let mut count = 0;
        let mut mark = rest.array();
        while mark == Some([RECORD]) {
            let record = rest.record().ok_or(Error::Snapshot { what: "a record has no end" })?;
            let keys_are_valid = form == Form::Objects || record.key.is_valid();
            let tags_are_valid = record.tags.iter().all(|tag| tag.is_valid() && tag.kind != Key::DIGEST);
            if !(keys_are_valid && tags_are_valid && record.cost.is_valid()) {
                return Err(Error::Snapshot { what: "a record holds what no cache would have saved" });
            }
            count += 1;
            mark = rest.array();
        }
        if count == self.count && mark == Some([END]) && rest.0.is_empty() {
            Ok(())
        } else {
            Err(Error::Snapshot { what: "there are more or fewer records than the file says" })
        }
    }

    /// The records that are still alive at the wall-clock time `wall_now`, with the life they have left now. A wall clock set
    /// back counts as no time gone by.
    pub fn records(&self, wall_now: u64) -> impl Iterator<Item = Record<'a>> + use<'a> {
        let gone = wall_now.saturating_sub(self.saved_at);
        let mut rest = Reader(self.records);
        std::iter::from_fn(move || {
            rest.array::<1>()?;
            rest.record()
        })
        .filter_map(move |mut record| {
            if record.remaining != NEVER {
                record.remaining = record.remaining.saturating_sub(gone);
            }
            (record.remaining > 0).then_some(record)
        })
    }
}

/// What has not been read yet.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (first, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*first)
    }

    fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    fn bytes(&mut self, length: u64) -> Option<&'a [u8]> {
        let (first, rest) = self.0.split_at_checked(usize::try_from(length).ok()?)?;
        self.0 = rest;
        Some(first)
    }

    fn record(&mut self) -> Option<Record<'a>> {
        let [kind, value_kind, memory] = self.array()?;
        let tag_count = u32::from_le_bytes(self.array()?);
        let (key_len, value_len) = (self.u64()?, self.u64()?);
        let weight = self.u64()?;
        let cost = Cost { dollars: f64::from_bits(self.u64()?), seconds: f64::from_bits(self.u64()?) };
        let remaining = self.u64()?;
        let key = Key { kind, bytes: self.bytes(key_len)? };
        let value = self.bytes(value_len)?;
        let tags = (0..tag_count).map(|_| self.tag()).collect::<Option<_>>()?;
        Some(Record { key, value_kind, value, memory, weight, cost, remaining, tags })
    }

    fn tag(&mut self) -> Option<Key<'a>> {
        let [kind] = self.array()?;
        let length = self.u64()?;
        Some(Key { kind, bytes: self.bytes(length)? })
    }
}
