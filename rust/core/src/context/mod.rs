//! context: what of a conversation to keep when not all of it fits, and how to say the same in fewer tokens.
//!
//! [`Document`] is a text made ready, once; [`compact`] rewrites JSON and loses nothing; [`Repeats`] points to what stands
//! above already; [`select`] chooses segments under a budget of tokens, [`write`] says what is kept. Pure functions: the
//! same input, the same choice.

mod below;
pub mod bm25;
mod board;
mod candidates;
mod commands;
mod compact;
mod data;
mod document;
mod json;
mod kind;
mod lines;
mod numbers;
mod options;
mod outliers;
mod owners;
mod places;
mod reduce;
mod relevance;
mod render;
mod repeat;
mod select;
mod templates;
mod terms;
mod units;

pub use below::write;
pub use board::Board;
pub use commands::commands;
pub use compact::compact;
pub use document::{Document, Reading};
pub use kind::Kind;
pub use options::Options;
pub use owners::Lines;
pub use reduce::{Reduced, reduce};
pub use render::{HANDLE, MARKER, Marks, render, render_marked};
pub use repeat::Repeats;
pub use select::{Choice, Item, select};

/// Tells the hash of each word of a text, stemmed, in the order they stand; those of identifiers too, and the identifier as a whole. Words that
/// say nothing of what a text is about are left out. O(bytes).
pub fn words(text: &str, mut each: impl FnMut(u32)) {
    struct Words<F>(F);
    impl<F: FnMut(u32)> terms::Sink for Words<F> {
        fn value(&mut self, _: u32, _: u8) {}
        fn word(&mut self, hash: u32) {
            self.0(hash);
        }
    }
    terms::read(text, &mut Words(&mut each));
}
