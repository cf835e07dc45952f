//! Every piece of a text in turn: 64 bytes of ASCII at a time where that will do, one piece at a time where it will not.

use super::MAX_TEXT;
use super::boundaries::{Known, boundaries, can_cut};
use super::classes::{BLOCK, classify};
use super::split::Pattern;
use crate::cpu;

/// A block and as much as is read past a piece that begins in it.
const WINDOW: usize = BLOCK + 32;

/// Calls `each` with every piece from left to right: a slice that it stands in, its bounds there, and where in the text the
/// slice begins. It is a part of the text or, for the last few pieces, a copy with room behind it.
///
/// Panics where the text is longer than [`MAX_TEXT`].
#[inline]
pub(super) fn each(pattern: Pattern, text: &[u8], mut each: impl FnMut(&[u8], usize, usize, usize)) {
    assert!(text.len() <= MAX_TEXT, "the text is longer than MAX_TEXT");
    let (level, rules) = (cpu::level(), pattern.rules());
    let by_block = can_cut(rules);
    let mut copy = [0; WINDOW];
    let mut at = 0;
    while at < text.len() {
        let rest = &text[at..];
        let window = rest.first_chunk::<WINDOW>().unwrap_or_else(|| {
            copy[..rest.len()].copy_from_slice(rest);
            copy[rest.len()..].fill(0);
            &copy
        });
        let mut start = 0;
        // Where a character outside ASCII comes at once, nothing is gained by a block.
        if by_block && window[0] < 0x80 && window[1] < 0x80 {
            let block = window.first_chunk().expect("a window is longer than a block");
            let classes = classify(level, block);
            let bytes = classes.wide.trailing_zeros().min(rest.len().min(BLOCK) as u32);
            let known = Known { bytes, at_end: rest.len() < BLOCK && bytes as usize == rest.len() };
            let mut ends = boundaries(rules, &classes, block, known) & !1;
            while ends != 0 {
                let end = ends.trailing_zeros() as usize;
                ends &= ends - 1;
                each(window, start, end, at);
                start = end;
            }
        }
        if start == 0 {
            start = pattern.piece_end(text, at) - at;
            each(text, at, at + start, 0);
        }
        at += start;
    }
}
