//! An index as bytes of a file, and back. Pure: the caller writes the file, and brings its bytes.
//!
//! All numbers are little endian, and every array begins at a multiple of 64 bytes, so that a mapped file is used as it is.
//!
//! ```text
//! head   64 bytes: magic, version (u32), dim (u32), entries in a full chunk (u32), 1 where originals are kept (u32), zeros
//! block  kind (u64), bytes of the payload (u64), 16 zeros, BLAKE3-256 of these 32 bytes and the payload; payload
//! ...
//! tail   0 (u64); how many blocks, heads, namespaces, chunks and live entries (u64 each); BLAKE3-256 of the file's head,
//!        the checksums of all blocks and the 48 bytes of the tail before it
//! ```
//!
//! Blocks are heads ([`PROJECTION`]), namespaces ([`NAMESPACE`]) and chunks ([`CHUNK`]): a chunk is of the namespace before
//! it, and what it refers to stands before it. Expiries are kept as they are, in wall time. A removed entry leaves zeros
//! where its vector was. What follows from the rest is not stored: lengths, levels, how far directions are from orthonormal.
//!
//! A file is checked whole before anything of it is used. Against a forger, whose checksums are right: lengths and numbers
//! are in range, no id is twice there, and each entry's bytes are as near to its vector as they claim. Only the 2-bit codes
//! and their distances are taken on trust, since to make them again is what the file spares: a forged one can hide an entry
//! from a search, and nothing worse. Where originals are not kept, how far they are off has to be taken on trust too.

mod decode;
mod encode;

pub use encode::Frozen;

/// What every such file begins with.
pub const MAGIC: [u8; 8] = *b"SPARECIX";
const VERSION: u32 = 1;
/// Where arrays begin: a multiple of it.
const ALIGN: usize = 64;
const HEAD: usize = ALIGN;
/// The bytes of a block before its payload, and those of them that the checksum covers.
const FRAME: usize = ALIGN;
const FRAMED: usize = FRAME - blake3::OUT_LEN;
const END: u64 = 0;
const PROJECTION: u64 = 1;
const NAMESPACE: u64 = 2;
const CHUNK: u64 = 3;

/// How many of each are in a file.
#[derive(Default, PartialEq, Eq)]
struct Counts {
    blocks: u64,
    projections: u64,
    namespaces: u64,
    chunks: u64,
    entries: u64,
}

impl Counts {
    /// The tail before its checksum.
    fn tail(&self) -> [u8; 48] {
        let Self { blocks, projections, namespaces, chunks, entries } = *self;
        let mut tail = [0; 48];
        for (to, number) in tail.chunks_exact_mut(8).zip([END, blocks, projections, namespaces, chunks, entries]) {
            to.copy_from_slice(&number.to_le_bytes());
        }
        tail
    }
}

/// The head of a file of vectors of `dim` dimensions.
fn head(dim: usize, originals: bool) -> [u8; HEAD] {
    let mut head = [0; HEAD];
    head[..8].copy_from_slice(&MAGIC);
    for (to, number) in
        head[8..].chunks_exact_mut(4).zip([VERSION, dim as u32, super::chunk::CHUNK as u32, u32::from(originals)])
    {
        to.copy_from_slice(&number.to_le_bytes());
    }
    head
}

/// The checksum of a block.
fn checksum(framed: &[u8], payload: &[u8]) -> blake3::Hash {
    let mut hasher = blake3::Hasher::new();
    hasher.update(framed);
    hasher.update(payload);
    hasher.finalize()
}
