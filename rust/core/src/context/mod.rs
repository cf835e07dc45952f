//! context: what of a conversation to keep when not all of it fits, and how to say the same in fewer tokens.
//!
//! [`Document`] is a text made ready, once; [`compact`] rewrites JSON and loses nothing; [`Repeats`] points to what stands
//! above already; [`select`] chooses segments under a budget of tokens, [`write`] says what is kept. Pure functions: the
//! same input, the same choice.

mod below;
mod board;
mod compact;
mod data;
mod document;
mod json;
mod kind;
mod lines;
mod numbers;
mod outliers;
mod places;
mod reduce;
mod relevance;
mod render;
mod repeat;
mod select;
mod templates;
mod terms;

pub use below::write;
pub use board::Board;
pub use compact::compact;
pub use document::{Document, Reading};
pub use kind::Kind;
pub use reduce::{Reduced, reduce};
pub use render::{HANDLE, MARKER, Marks, render, render_marked};
pub use repeat::Repeats;
pub use select::{Choice, Item, Options, select};
