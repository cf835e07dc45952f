//! How many tokens short pieces have: a small table that forgets, so that a common word costs one look-up.
//!
//! A piece is its own key, all its bytes and their number, so what is found is never another piece's.

/// The longest piece that has a place here, in bytes.
pub(super) const LONGEST: usize = 15;

/// Sets of two places: half a megabyte, so that all of it stays in a core's own cache.
const SETS: usize = 1 << 14;
const MULTIPLIER: u64 = 0x9e37_79b9_7f4a_7c15; // 2^64 divided by the golden ratio, odd

/// A piece of at most [`LONGEST`] bytes: the bytes and above them their number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Piece {
    low: u64,
    high: u64,
}

/// Eight bits above the 56 of the last seven bytes: four of the length, and four of the count where there is one.
const LENGTH: u32 = 56;
const COUNT: u32 = 60;
const KEY: u64 = (1 << COUNT) - 1;

impl Piece {
    /// The piece `text[start..end]`.
    #[inline]
    pub(super) fn of(text: &[u8], start: usize, end: usize) -> Self {
        if let Some(bytes) = text[start..].first_chunk::<16>() {
            return Self::new(bytes, end - start);
        }
        let mut bytes = [0; 16];
        bytes[..end - start].copy_from_slice(&text[start..end]);
        Self::new(&bytes, end - start)
    }

    /// `bytes` holds the piece and whatever follows it.
    #[inline]
    fn new(bytes: &[u8; 16], length: usize) -> Self {
        const MASKS: [[u64; 2]; LONGEST + 1] = {
            let mut masks = [[0; 2]; LONGEST + 1];
            let mut length = 0;
            while length <= LONGEST {
                let all = (1_u128 << (8 * length)) - 1;
                masks[length] = [all as u64, (all >> 64) as u64];
                length += 1;
            }
            masks
        };
        let bytes = u128::from_le_bytes(*bytes);
        let masks = MASKS[length];
        Self { low: bytes as u64 & masks[0], high: (bytes >> 64) as u64 & masks[1] | (length as u64) << LENGTH }
    }

    #[inline]
    fn set(self) -> usize {
        let mixed = (self.low ^ self.high.rotate_left(21)).wrapping_mul(MULTIPLIER);
        (mixed >> 40) as usize % SETS
    }
}

/// The table. A lost entry costs time, never a wrong count.
#[derive(Debug)]
pub(super) struct PieceCache {
    sets: Box<[[Piece; 2]]>,
}

impl Default for PieceCache {
    fn default() -> Self {
        Self { sets: vec![[Piece { low: 0, high: 0 }; 2]; SETS].into_boxed_slice() }
    }
}

impl PieceCache {
    /// The count of a piece, from `count` where it is not known yet.
    #[inline]
    pub(super) fn count(&mut self, piece: Piece, count: impl FnOnce() -> usize) -> usize {
        let set = &mut self.sets[piece.set()];
        for place in *set {
            if place.low == piece.low && place.high & KEY == piece.high {
                return (place.high >> COUNT) as usize;
            }
        }
        let counted = count();
        *set = [Piece { high: piece.high | (counted as u64) << COUNT, ..piece }, set[0]];
        counted
    }
}
