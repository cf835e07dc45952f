//! Whether a stored answer serves a query: features of two texts, a calibrated probability, a bound on wrong hits.
//!
//! A `Profile` is a text's side, made once. `Decision::judge` compares two of them with what the index knows and says whether
//! to serve; `Decision::learn` takes verdicts. Nothing here reads a clock or draws randomness but from its seed.

mod compare;
mod counts;
mod curve;
mod decision;
mod lexicon;
mod online;
mod prior;
mod profile;
mod reader;
pub(crate) mod stem;
mod words;

pub use compare::{ByLength, FEATURES, Guards, NAMES, Rarity, compare};
pub use decision::{Decision, Evidence, Kind, Report, Verdict, error_interval};
pub use online::{Group, SIGNALS, Signals, key_of};
pub use prior::INPUTS;
pub use profile::Profile;
