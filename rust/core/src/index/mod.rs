//! An index of vectors by cosine similarity whose searches prove that they missed nothing.
//!
//! Entries are kept in chunks of 1024, appended only; a removed entry is a cleared bit, and what is left of a sparse chunk
//! moves to the chunk that grows, a few entries with each addition. A search screens two bits for each of some
//! coordinates (`projection`, `codes`) by a bound (`bound`, where it is derived), verifies what remains by a byte a
//! dimension and decides by the original values; an index that does not keep them says between which bounds a similarity is
//! (`interval`). Namespaces share nothing but the map of ids.
//!
//! A `Snapshot` is a namespace at one moment: chunks are shared with it and copied when they change, so that whoever
//! searches it holds no lock and stalls nobody. Time is an argument; whoever owns an index decides where jobs run.

mod batch;
mod best;
mod bound;
mod chunk;
mod codes;
pub mod file;
mod fit;
mod interval;
mod kernels;
mod likely;
mod mapped;
mod price;
mod projection;
mod rows;
mod search;
mod space;
mod vector;

use std::hash::{BuildHasherDefault, Hasher};

use hashbrown::HashMap;

pub use batch::{Batch, Outlook};
pub use best::Hit;
pub use chunk::CHUNK;
pub use fit::{Fitted, Job};
pub use mapped::FileBytes;
pub use search::{Found, Options, Snapshot};
use space::{Space, Spot};
pub use vector::Query;

use crate::error::{Error, Result};

/// The expiry of an entry that stays until it is removed.
pub const NEVER: u64 = u64::MAX;
/// More dimensions than any embedding has; sums of their bytes fit in 32 bits.
pub const MAX_DIM: usize = 16_384;

#[derive(Debug, Clone, Copy)]
struct Place {
    space: u32,
    chunk: u32,
    slot: u32,
}

impl Place {
    fn new(space: usize, (chunk, slot): Spot) -> Self {
        Self { space: space as u32, chunk: chunk as u32, slot: slot as u32 }
    }
}

/// Vectors of one dimension under ids, in namespaces.
pub struct Index {
    dim: usize,
    originals: bool,
    places: HashMap<i64, Place, BuildHasherDefault<IdHasher>>,
    names: HashMap<Box<str>, usize, std::hash::RandomState>,
    /// At stable positions; None is free.
    spaces: Vec<Option<Space>>,
    free: Vec<usize>,
    /// The last number given to a chunk or a namespace.
    serial: u64,
    /// Namespace and chunk that are looked at next for expired entries.
    sweep: (usize, usize),
}

impl Index {
    /// An empty index for vectors of `dim` dimensions.
    pub fn new(dim: usize) -> Result<Self> {
        if !(1..=MAX_DIM).contains(&dim) {
            let limit = format!("give a number of dimensions from 1 to {MAX_DIM}");
            return Err(Error::InvalidArgument { name: "dim", value: dim.to_string(), limit });
        }
        Ok(Self {
            dim,
            originals: true,
            places: HashMap::default(),
            names: HashMap::default(),
            spaces: Vec::new(),
            free: Vec::new(),
            serial: 0,
            sweep: (0, 0),
        })
    }

    /// Keeps no original vectors from now on, which takes a quarter of the memory; hits then have intervals. Panics where
    /// there are entries.
    #[must_use]
    pub fn without_originals(self) -> Self {
        assert!(self.is_empty());
        Self { originals: false, ..self }
    }

    /// Whether the original vectors are kept.
    pub fn originals(&self) -> bool {
        self.originals
    }

    /// Dimensions of every vector.
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// Entries in all namespaces, expired ones not yet met among them.
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// How many namespaces have entries.
    pub fn namespaces(&self) -> usize {
        self.names.len()
    }

    /// Whether there is an entry under `id`, in whichever namespace.
    pub fn contains(&self, id: i64) -> bool {
        self.places.contains_key(&id)
    }

    /// Stores a vector under `id`; an entry that was there before, in whichever namespace, is replaced.
    pub fn add(&mut self, id: i64, vector: &[f32], namespace: &str, expires_at: u64, now: u64) -> Result<()> {
        let length = vector::length(vector, self.dim, None)?;
        let at = self.space_at(namespace);
        let Some(space) = &mut self.spaces[at] else { unreachable!("space_at made it") };
        let originals = self.originals;
        let spot = space.push(&mut self.serial, |rows| rows.push(id, vector, length, expires_at, originals));
        self.place(id, Place::new(at, spot));
        self.tidy(at);
        self.sweep(now);
        Ok(())
    }

    /// What `Batch::new` needs to know for so many entries of a namespace.
    pub fn outlook(&self, namespace: &str, entries: usize) -> Outlook {
        let (projection, head) = match self.space(namespace) {
            None if entries >= fit::FIT_FROM => (None, fit::first_head(self.dim)),
            None => (None, 0),
            // A head fitted to the batch alone suits a namespace that mostly is this batch.
            Some(space) if space.living < entries => (space.projection.clone(), space.head_due(entries)),
            Some(space) => (space.projection.clone(), 0),
        };
        Outlook { originals: self.originals, projection, head }
    }

    /// Stores the entries of a batch as `add` would, in order.
    pub fn append(&mut self, batch: Batch, namespace: &str, now: u64) {
        assert_eq!(batch.dim, self.dim);
        if batch.is_empty() {
            return;
        }
        let at = self.space_at(namespace);
        self.places.reserve(batch.len());
        for chunk in batch.chunks {
            let Some(space) = &mut self.spaces[at] else { unreachable!("it has the entries before") };
            let rows = chunk.rows.clone();
            if chunk.is_full() || !space.has_tail() {
                let position = space.insert(&mut self.serial, chunk);
                for (slot, &id) in rows.ids.iter().enumerate() {
                    self.place(id, Place::new(at, (position, slot)));
                }
            } else {
                for slot in 0..rows.len() {
                    let Some(space) = &mut self.spaces[at] else { unreachable!("it has the entries before") };
                    let spot = space.push(&mut self.serial, |tail| tail.push_from(&rows, slot));
                    self.place(rows.ids[slot], Place::new(at, spot));
                }
            }
        }
        if let (Some(projection), Some(space)) = (batch.projection, &mut self.spaces[at]) {
            space.adopt(projection, batch.entries);
        }
        self.tidy(at);
        self.sweep(now);
    }

    /// Removes the entry under `id` and says whether there was one.
    pub fn remove(&mut self, id: i64) -> bool {
        let Some(place) = self.places.remove(&id) else { return false };
        self.kill(place);
        let at = place.space as usize;
        if self.spaces[at].as_ref().is_some_and(Space::is_mostly_dead) {
            self.tidy(at);
        }
        true
    }

    /// The namespace as it is now; None where it has no entries.
    pub fn snapshot(&self, namespace: &str) -> Option<Snapshot> {
        self.space(namespace).map(Space::snapshot)
    }

    /// Tells what share of a namespace a search verified, so that others can be predicted, and codes be widened where it is much.
    pub fn observe(&mut self, namespace: &str, options: &Options, verified_fraction: f64) {
        if let Some(&at) = self.names.get(namespace)
            && let Some(space) = &mut self.spaces[at]
        {
            space.observe(options, verified_fraction);
        }
    }

    /// Work that growth of a namespace has made due. The caller runs it, anywhere, and gives the outcome to `install`;
    /// until then nothing more is due.
    pub fn job(&mut self, namespace: &str) -> Option<Job> {
        let at = *self.names.get(namespace)?;
        let space = self.spaces[at].as_mut()?;
        let projection = space.job()?;
        Some(Job { serial: space.serial, space: at, dim: self.dim, snapshot: space.snapshot(), projection })
    }

    /// Takes in what a job made.
    pub fn install(&mut self, fitted: Fitted) {
        let space = self.spaces.get_mut(fitted.space).and_then(Option::as_mut);
        if let Some(space) = space.filter(|space| space.serial == fitted.serial) {
            if let Some(entries) = fitted.sampled {
                space.adopt(fitted.projection, entries);
            }
            space.install(fitted.codes);
        }
    }

    fn space(&self, namespace: &str) -> Option<&Space> {
        self.spaces[*self.names.get(namespace)?].as_ref()
    }

    /// The position of a namespace, made where there is none.
    fn space_at(&mut self, namespace: &str) -> usize {
        if let Some(&at) = self.names.get(namespace) {
            return at;
        }
        self.serial += 1;
        let space = Some(Space::new(self.serial, namespace, (self.dim, self.originals)));
        let at = self.free.pop().unwrap_or(self.spaces.len());
        if at == self.spaces.len() {
            self.spaces.push(space);
        } else {
            self.spaces[at] = space;
        }
        self.names.insert(namespace.into(), at);
        at
    }

    /// Makes `place` the one of `id`; the entry it had before dies.
    fn place(&mut self, id: i64, place: Place) {
        if let Some(before) = self.places.insert(id, place) {
            self.kill(before);
        }
    }

    /// Clears an entry; a namespace without entries goes.
    fn kill(&mut self, place: Place) {
        let at = place.space as usize;
        let Some(space) = &mut self.spaces[at] else { unreachable!("an id has a place in a namespace that exists") };
        space.kill((place.chunk as usize, place.slot as usize));
        if space.living == 0 {
            self.names.remove(&space.name);
            self.spaces[at] = None;
            self.free.push(at);
        }
    }

    /// Moves some entries out of sparse chunks.
    fn tidy(&mut self, at: usize) {
        for _ in 0..self.spaces[at].as_ref().map_or(0, Space::moves) {
            let Some(space) = &mut self.spaces[at] else { return };
            let Some((id, spot)) = space.move_one(&mut self.serial) else { return };
            self.places.insert(id, Place::new(at, spot));
        }
    }

    /// Removes what has expired in one chunk, another each time.
    fn sweep(&mut self, now: u64) {
        let (at, chunk) = self.sweep;
        let Some(Some(space)) = self.spaces.get_mut(at) else {
            self.sweep = (if at + 1 < self.spaces.len() { at + 1 } else { 0 }, 0);
            return;
        };
        if chunk >= space.chunks().len() {
            self.sweep = (at + 1, 0);
            return;
        }
        self.sweep.1 += 1;
        for (id, spot) in space.expired(chunk, now) {
            self.places.remove(&id);
            self.kill(Place::new(at, spot));
        }
    }
}

/// Ids are numbers the caller counts up: one multiplication spreads them.
#[derive(Default)]
struct IdHasher(u64);

impl Hasher for IdHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.write_u64(u64::from(byte));
        }
    }

    fn write_u64(&mut self, value: u64) {
        let product = u128::from(self.0 ^ value ^ 0x9E37_79B9_7F4A_7C15) * 0xA076_1D64_78BD_642F;
        self.0 = (product >> 64) as u64 ^ product as u64;
    }

    fn write_i64(&mut self, value: i64) {
        self.write_u64(value.cast_unsigned());
    }
}
