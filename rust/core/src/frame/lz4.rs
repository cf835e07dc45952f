//! An encoder of LZ4 blocks: one block, in one piece of memory. Decoding is `lz4_flex`'s, whose decoder is safe code.
//!
//! The greedy search of the reference's fast level. Measured on conversations, source and agents' runs against that and
//! against `lz4_flex`, two things are done otherwise: more bytes are hashed than the four of the shortest match, which saves
//! one byte and costs a sequence (so there are fewer to write and to read), and the table is kept from block to block.
//! Extending a match backwards without branches and longer copies made it slower.

#![allow(unsafe_code)]

/// What a match needs.
const MIN_MATCH: usize = 4;
/// No match begins in the last 12 bytes, and none reaches into the last 5: rules of the format.
const LAST_MATCH: usize = 12;
const LAST_LITERALS: usize = 5;
/// After so many steps without a match, as a power of two, steps get longer.
const PATIENCE: u32 = 6;
/// How many bytes are copied at once, and so how far a copy may write beyond its end.
const WIDE: usize = 8;

/// Where the bytes of each hash were last seen.
#[derive(Debug)]
pub(super) struct Table {
    /// For blocks whose places fit 16 bits, which are also as far as a match can reach.
    short: Box<[u16; 1 << 13]>,
    long: Box<[u32; 1 << 12]>,
}

impl Default for Table {
    fn default() -> Self {
        Self { short: Box::new([0; 1 << 13]), long: Box::new([0; 1 << 12]) }
    }
}

/// How much room [`compress`] needs for the block of `length` bytes.
pub(super) fn room(length: usize) -> usize {
    // A match takes 3 bytes for at least 4, so only literals make a block longer: by a byte for each 255.
    length + length / 255 + 16 + WIDE
}

/// Writes the block of `input` to `out`, which is as long as [`room`] says, and returns how long it is.
pub(super) fn compress(input: &[u8], out: &mut [u8], table: &mut Table) -> usize {
    assert!(out.len() >= room(input.len()), "room for any block");
    let out = Out { bytes: out, at: 0 };
    if u16::try_from(input.len()).is_ok() {
        table.short.fill(0);
        encode(input, out, &mut *table.short)
    } else {
        table.long.fill(0);
        encode(input, out, &mut *table.long)
    }
}

trait Places {
    const BITS: u32;
    /// How many bytes are hashed. Five make short blocks 2 % shorter than four, and six as much longer than five; six make
    /// long ones 5 to 10 % faster, 0.5 % shorter where there is much to find and 1.5 % longer where there is little.
    const BYTES: u32;
    /// The place that was put for `hash` last, for which `place` is put now.
    fn swap(&mut self, hash: usize, place: usize) -> usize;
}

impl Places for [u16; 1 << 13] {
    const BITS: u32 = 13;
    const BYTES: u32 = 5;
    #[inline]
    fn swap(&mut self, hash: usize, place: usize) -> usize {
        std::mem::replace(&mut self[hash], place as u16).into()
    }
}

impl Places for [u32; 1 << 12] {
    const BITS: u32 = 12;
    const BYTES: u32 = 6;
    #[inline]
    fn swap(&mut self, hash: usize, place: usize) -> usize {
        std::mem::replace(&mut self[hash], place as u32) as usize
    }
}

#[inline]
fn hash<P: Places>(input: &[u8], at: usize) -> usize {
    // The first of the eight, multiplied by 2^64 over the golden ratio.
    ((read(input, at) << (64 - 8 * P::BYTES)).wrapping_mul(0x9e37_79b1_85eb_ca87) >> (64 - P::BITS)) as usize
}

/// The 8 bytes at `at`.
#[inline]
fn read(input: &[u8], at: usize) -> u64 {
    debug_assert!(at + 8 <= input.len());
    // SAFETY: 8 bytes are left: `encode` hashes and compares up to `last`, 13 bytes before the end, literals before a match
    // end there too and are read 7 bytes further at most, and `same` looks for itself.
    u64::from_le(unsafe { input.as_ptr().add(at).cast::<u64>().read_unaligned() })
}

/// How many bytes from `one` and from `other` on are the same, up to where literals must begin.
#[inline]
fn same(input: &[u8], one: usize, other: usize) -> usize {
    let end = input.len() - LAST_LITERALS;
    let mut length = 0;
    while one + length + 8 <= end {
        let difference = read(input, one + length) ^ read(input, other + length);
        if difference != 0 {
            return length + (difference.trailing_zeros() / 8) as usize;
        }
        length += 8;
    }
    while one + length < end && input[one + length] == input[other + length] {
        length += 1;
    }
    length
}

fn encode<P: Places>(input: &[u8], mut out: Out<'_>, places: &mut P) -> usize {
    let mut literals = 0;
    if let Some(last) = input.len().checked_sub(LAST_MATCH + 1)
        && last > 0
    {
        places.swap(hash::<P>(input, 0), 0);
        let mut at = 1;
        let mut next_hash = hash::<P>(input, at);
        'sequences: loop {
            let mut tries = 1 << PATIENCE;
            let mut from;
            let mut next = at;
            loop {
                let current = next_hash;
                at = next;
                next += tries >> PATIENCE;
                tries += 1;
                if next > last {
                    break 'sequences;
                }
                next_hash = hash::<P>(input, next);
                from = places.swap(current, at);
                if begins(input, from, at) {
                    break;
                }
            }
            while at > literals && from > 0 && input[at - 1] == input[from - 1] {
                at -= 1;
                from -= 1;
            }
            let mut run = literals..at;
            loop {
                let length = same(input, at + MIN_MATCH, from + MIN_MATCH);
                out.sequence(input, run, at - from, length);
                at += MIN_MATCH + length;
                literals = at;
                if at >= last {
                    break 'sequences;
                }
                places.swap(hash::<P>(input, at - 2), at - 2);
                from = places.swap(hash::<P>(input, at), at);
                if !begins(input, from, at) {
                    break;
                }
                run = at..at;
            }
            at += 1;
            next_hash = hash::<P>(input, at);
        }
    }
    out.last(&input[literals..])
}

/// Whether a match can begin at `at` with what stands at `from`, an earlier place.
#[inline]
fn begins(input: &[u8], from: usize, at: usize) -> bool {
    debug_assert!(from < at);
    at - from <= 0xffff && read(input, from) as u32 == read(input, at) as u32
}

/// The block so far.
struct Out<'a> {
    bytes: &'a mut [u8],
    at: usize,
}

impl Out<'_> {
    #[inline]
    fn byte(&mut self, byte: u8) {
        debug_assert!(self.at < self.bytes.len());
        // SAFETY: there is room for any block of the input, as `compress` asserts, and this is part of one.
        unsafe { *self.bytes.as_mut_ptr().add(self.at) = byte };
        self.at += 1;
    }

    /// What is left of a length after the 15 in the token.
    #[inline]
    fn rest(&mut self, mut length: usize) {
        while length >= 255 {
            self.byte(255);
            length -= 255;
        }
        self.byte(length as u8);
    }

    /// Literals and a match that is `length` longer than the shortest.
    #[inline]
    fn sequence(&mut self, input: &[u8], run: std::ops::Range<usize>, offset: usize, length: usize) {
        self.byte(((run.len().min(15) as u8) << 4) | length.min(15) as u8);
        if run.len() >= 15 {
            self.rest(run.len() - 15);
        }
        let end = self.at + run.len();
        let mut from = run.start;
        while self.at < end {
            let wide = read(input, from).to_le_bytes();
            debug_assert!(self.at + WIDE <= self.bytes.len());
            // SAFETY: there is room for any block and WIDE bytes more, and the run is part of a block.
            unsafe { self.bytes.as_mut_ptr().add(self.at).cast::<[u8; WIDE]>().write_unaligned(wide) };
            from += WIDE;
            self.at += WIDE;
        }
        self.at = end;
        let [low, high] = (offset as u16).to_le_bytes();
        self.byte(low);
        self.byte(high);
        if length >= 15 {
            self.rest(length - 15);
        }
    }

    /// The last literals; how long the block is.
    fn last(mut self, run: &[u8]) -> usize {
        self.byte((run.len().min(15) as u8) << 4);
        if run.len() >= 15 {
            self.rest(run.len() - 15);
        }
        let end = self.at + run.len();
        self.bytes[self.at..end].copy_from_slice(run);
        end
    }
}
