//! context: what of a conversation to keep when not all of it fits, and how to say the same in fewer tokens.
//!
//! [`Document`] is a text made ready, once; [`compact`] rewrites JSON and loses nothing; [`Repeats`] points to what stands
//! above already; [`select`] chooses segments under a budget of tokens. Pure functions: the same input, the same choice.

mod board;
mod compact;
mod document;
mod json;
mod kind;
mod numbers;
mod relevance;
mod render;
mod repeat;
mod select;
mod terms;

pub use board::Board;
pub use compact::compact;
pub use document::Document;
pub use kind::Kind;
pub use render::{MARKER, render};
pub use repeat::Repeats;
pub use select::{Choice, Item, Options, select};
