//! The tokens of a loaded file: bytes to id and id to bytes, while the file is read and ever after.

use std::hash::{BuildHasher, RandomState};

use hashbrown::HashTable;

use super::file::{MAX_ID, MAX_TOKEN_LEN, MAX_TOKENS, refuse};
use crate::error::Result;

/// Tokens by their place in the list; each has its own bytes and its own id.
#[derive(Debug, Default)]
pub(super) struct TokenList {
    bytes: Vec<u8>,
    /// Where in `bytes` each ends.
    ends: Vec<u32>,
    ids: Vec<u32>,
    /// Places by bytes. Hashed at random: a hostile file cannot choose tokens that collide.
    by_bytes: HashTable<u32>,
    hasher: RandomState,
    /// By id: the place and 1, or 0.
    by_id: Vec<u32>,
}

impl TokenList {
    /// Adds a token and says its place.
    pub(super) fn add(&mut self, token: &[u8], id: u32) -> Result<u32> {
        let place = self.ids.len();
        if place == MAX_TOKENS {
            return Err(refuse(format!("it has more than {MAX_TOKENS} tokens, which is the limit")));
        }
        if token.len() > MAX_TOKEN_LEN {
            return Err(refuse(format!(
                "the token of id {id} is longer than {MAX_TOKEN_LEN} bytes, which is the limit"
            )));
        }
        if id > MAX_ID {
            return Err(refuse(format!("it has the id {id}; ids up to {MAX_ID} can be loaded")));
        }
        if self.by_id.len() <= id as usize {
            self.by_id.resize(id as usize + 1, 0);
        }
        if self.by_id[id as usize] != 0 {
            return Err(refuse(format!("two tokens have the id {id}")));
        }
        if let Some(other) = self.find(token) {
            return Err(refuse(format!("the ids {} and {id} have the same bytes", self.id(other))));
        }
        self.by_id[id as usize] = place as u32 + 1;
        self.bytes.extend_from_slice(token);
        self.ends.push(self.bytes.len() as u32);
        self.ids.push(id);
        let Self { bytes, ends, by_bytes, hasher, .. } = self;
        by_bytes.insert_unique(hasher.hash_one(token), place as u32, |at| hasher.hash_one(slice(bytes, ends, *at)));
        Ok(place as u32)
    }

    pub(super) fn len(&self) -> usize {
        self.ids.len()
    }

    /// The bytes of the token at that place.
    pub(super) fn token(&self, place: u32) -> &[u8] {
        slice(&self.bytes, &self.ends, place)
    }

    /// The id of the token at that place.
    pub(super) fn id(&self, place: u32) -> u32 {
        self.ids[place as usize]
    }

    /// The place of the token of these bytes.
    pub(super) fn find(&self, token: &[u8]) -> Option<u32> {
        self.by_bytes.find(self.hasher.hash_one(token), |at| self.token(*at) == token).copied()
    }

    /// The place of the token of that id.
    pub(super) fn find_id(&self, id: u32) -> Option<u32> {
        self.by_id.get(id as usize)?.checked_sub(1)
    }

    /// The highest id.
    pub(super) fn max_id(&self) -> u32 {
        (self.by_id.len() as u32).saturating_sub(1)
    }
}

fn slice<'a>(bytes: &'a [u8], ends: &[u32], place: u32) -> &'a [u8] {
    let start = if place == 0 { 0 } else { ends[place as usize - 1] };
    &bytes[start as usize..ends[place as usize] as usize]
}
