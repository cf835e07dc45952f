//! digest: one pass over a request body says what it means (a BLAKE3-256 digest) and whether its answer may be cached.
//!
//! Same meaning, same digest: key order, white space, escapes and the spelling of numbers do not count.
//! [`json`] reads the body into a flat tape, [`canonical`] walks the tape and feeds the hasher, [`inspect`] reads the
//! few fields a gateway needs, [`wire`] knows what differs between the forms of requests, [`compare`] names the first
//! field in which two bodies differ.

mod canonical;
mod compare;
mod escape;
mod inspect;
mod json;
mod number;
mod scan;
mod tape;
mod wire;

use crate::error::{Error, Result};

pub use compare::{Difference, compare};
pub use inspect::{Inspection, Options, Reason, inspect};
pub use json::MAX_DEPTH;
pub use tape::Scratch;
pub use wire::Wire;

/// A scope derived from a client's key: 32 hex characters that do not reveal the key.
///
/// One-way and stable; the whole key counts, under a domain of its own.
pub fn scope_of_key(key: &str) -> Result<String> {
    if key.is_empty() {
        return Err(Error::InvalidArgument {
            name: "key",
            value: "empty".to_owned(),
            limit: "a scope comes from a key of at least one character".to_owned(),
        });
    }
    let mut buffer = Vec::with_capacity(key.len() + 32);
    let mut feed = canonical::Feed::new(&mut buffer, b"sparecall scope 1");
    feed.field(key.as_bytes());
    let hex = blake3::Hash::from_bytes(feed.finish()).to_hex();
    Ok(hex[..32].to_owned())
}
