//! One namespace: its chunks, which of them grows, which are worth emptying, and the head they are screened by.

use std::sync::Arc;

use super::chunk::{CHUNK, Chunk};
use super::codes::{Block, Codes};
use super::fit::{self, FIT_FROM, MAX_HEAD, REFIT_GROWTH};
use super::kernels::BLOCK;
use super::price::{self, Prices};
use super::projection::Projection;
use super::rows::Rows;
use super::search::{Options, Snapshot};

/// Searches after which their mean price is judged.
const JUDGED: u32 = 64;
/// A mean share of verified entries above this asks for a wider head.
const DEAR: f64 = 0.05;

/// Entries moved out of sparse chunks with each addition: a chunk is emptied before as many more die as it has dead.
const MOVES: usize = 4;
const MANY_MOVES: usize = 16;

/// Chunks whose memory is kept for those to come: more would count in what churn may take.
const SPARE: usize = 1;

/// Below such thresholds the codes prove little, whatever their width, and most entries are read.
const PROVABLE: f64 = 0.7;

/// Entries of the tail that are encoded together.
const STEP: usize = 16;

/// Entries that a namespace has room for at first.
const ROOM: usize = 16;

/// Position and slot of an entry in its namespace.
pub(super) type Spot = (usize, usize);

/// What a file keeps of a namespace besides its name and its chunks.
pub(super) struct Growth {
    pub(super) tail: Option<usize>,
    pub(super) projection: Option<Arc<Projection>>,
    pub(super) fitted_at: usize,
    pub(super) head: usize,
    pub(super) widen: bool,
}

pub(super) struct Space {
    /// Unique: a position among the namespaces may be used again.
    pub(super) serial: u64,
    pub(super) name: Box<str>,
    /// Dimensions, and whether the originals are kept.
    form: (usize, bool),
    /// At stable positions; a freed one is empty until it is used again. Shared with snapshots, so changes copy on write.
    chunks: Arc<Vec<Chunk>>,
    free: Vec<usize>,
    /// The chunk that grows.
    tail: Option<usize>,
    /// Chunks so sparse that their entries are being moved to the tail.
    sparse: Vec<usize>,
    pub(super) living: usize,
    /// Entries in chunks, dead ones too.
    slots: usize,
    /// Of these, with codes.
    encoded: usize,
    pub(super) projection: Option<Arc<Projection>>,
    fitted_at: usize,
    /// How wide the next head is to be.
    head: usize,
    /// A full chunk may have no codes: it filled up before there was a head, or while the first was fitted.
    uncoded: bool,
    /// The block of the tail that is being encoded: the number of the chunk, where it begins there, and what is done.
    block: Option<((u64, usize), Block)>,
    /// What full chunks that were emptied leave: memory new to the process costs more than to write what goes there.
    spare: Vec<Arc<Rows>>,
    /// A job is under way.
    working: bool,
    /// The price of searches since it was judged last: their number and the sum of their verified fractions.
    observed: (u32, f64),
    widen: bool,
    prices: Prices,
}

impl Space {
    pub(super) fn new(serial: u64, name: &str, form: (usize, bool)) -> Self {
        Self {
            serial,
            name: name.into(),
            form,
            chunks: Arc::default(),
            free: Vec::new(),
            tail: None,
            sparse: Vec::new(),
            living: 0,
            slots: 0,
            encoded: 0,
            projection: None,
            fitted_at: 0,
            head: fit::first_head(form.0),
            uncoded: false,
            block: None,
            spare: Vec::new(),
            working: false,
            observed: (0, 0.0),
            widen: false,
            prices: Prices::default(),
        }
    }

    pub(super) fn growth(&self) -> Growth {
        let Self { tail, fitted_at, head, widen, .. } = *self;
        Growth { tail, projection: self.projection.clone(), fitted_at, head, widen }
    }

    /// A namespace out of a file. Each of its chunks has live entries.
    pub(super) fn restore(
        serial: &mut u64,
        name: &str,
        form: (usize, bool),
        chunks: Vec<Chunk>,
        growth: Growth,
    ) -> Self {
        *serial += 1;
        let Growth { tail, projection, fitted_at, head, widen } = growth;
        let mut space = Self { projection, fitted_at, head, widen, ..Self::new(*serial, name, form) };
        let positions = 0..chunks.len();
        for chunk in chunks {
            space.insert(serial, chunk);
        }
        space.tail = tail;
        for at in positions {
            space.settle(at);
        }
        space
    }

    pub(super) fn snapshot(&self) -> Snapshot {
        Snapshot { chunks: self.chunks.clone(), living: self.living, encoded: self.encoded, prices: self.prices }
    }

    pub(super) fn chunks(&self) -> &[Chunk] {
        &self.chunks
    }

    /// Appends an entry by `write` and returns where it is.
    pub(super) fn push(&mut self, serial: &mut u64, write: impl FnOnce(&mut Rows)) -> Spot {
        let at = if let Some(at) = self.tail {
            at
        } else {
            let rows = self.room();
            self.insert(serial, Chunk::new(0, rows, None))
        };
        self.tail = Some(at);
        let chunk = &mut Arc::make_mut(&mut self.chunks)[at];
        write(Arc::make_mut(&mut chunk.rows));
        chunk.born();
        let slots = chunk.rows.len();
        self.encode(at);
        self.living += 1;
        self.slots += 1;
        self.settle(at);
        (at, slots - 1)
    }

    /// Room for a new tail. Where there are many entries, for all of it: to copy what is there as it grows would take long.
    fn room(&mut self) -> Rows {
        if self.slots < CHUNK {
            return Rows::with_capacity(self.form.0, self.form.1, ROOM);
        }
        let spare =
            self.spare.iter().position(|rows| Arc::strong_count(rows) == 1).map(|at| self.spare.swap_remove(at));
        let recycled = spare.and_then(Arc::into_inner).and_then(Rows::recycled);
        recycled.unwrap_or_else(|| Rows::with_capacity(self.form.0, self.form.1, CHUNK))
    }

    /// Encodes what was appended to the chunk at `at`, some entries at a time.
    fn encode(&mut self, at: usize) {
        if !self.chunks[at].rows.len().is_multiple_of(STEP) {
            return;
        }
        let chunk = &mut Arc::make_mut(&mut self.chunks)[at];
        let (slots, start) = (chunk.rows.len(), chunk.encoded());
        // A chunk that grew without a head gets its codes from a job.
        let projection = match &chunk.codes {
            Some(codes) => Some(&codes.projection),
            None => self.projection.as_ref().filter(|_| slots <= 2 * BLOCK),
        };
        let Some(projection) = projection else { return };
        let of = (chunk.serial, start);
        if !self.block.as_ref().is_some_and(|(now, block)| *now == of && Arc::ptr_eq(&block.projection, projection)) {
            self.block = Some((of, Block::new(projection.clone())));
        }
        let Some((_, block)) = &mut self.block else { unreachable!("it was made") };
        // Two steps at once: a chunk that a job encoded while it grew catches up without a pause.
        block.encode(&chunk.rows, start, 2 * STEP);
        if block.is_whole() {
            let blocks = if self.slots < CHUNK { 1 } else { CHUNK / BLOCK };
            let new = || Arc::new(Codes::with_capacity(block.projection.clone(), blocks));
            Arc::make_mut(chunk.codes.get_or_insert_with(new)).push(block);
            self.encoded += BLOCK;
            self.block = None;
        }
    }

    /// Takes in a chunk whole and returns its position; one that is not full becomes the tail where there is none.
    pub(super) fn insert(&mut self, serial: &mut u64, chunk: Chunk) -> usize {
        *serial += 1;
        (self.living, self.slots) = (self.living + chunk.living, self.slots + chunk.rows.len());
        self.encoded += chunk.encoded();
        let grows = !chunk.is_full() && self.tail.is_none();
        self.uncoded |= chunk.is_full() && chunk.codes.is_none();
        let chunk = Chunk { serial: *serial, ..chunk };
        let chunks = Arc::make_mut(&mut self.chunks);
        let at = if let Some(at) = self.free.pop() {
            chunks[at] = chunk;
            at
        } else {
            chunks.push(chunk);
            chunks.len() - 1
        };
        if grows {
            self.tail = Some(at);
        }
        at
    }

    /// Whether an incomplete chunk could be taken in whole.
    pub(super) fn has_tail(&self) -> bool {
        self.tail.is_some()
    }

    pub(super) fn kill(&mut self, (at, slot): Spot) {
        Arc::make_mut(&mut self.chunks)[at].kill(slot);
        self.living -= 1;
        self.settle(at);
    }

    /// Takes a chunk that filled up, or that few entries are left in, out of growth; frees one that is empty.
    fn settle(&mut self, at: usize) {
        let chunk = &self.chunks[at];
        let is_tail = self.tail == Some(at);
        let half_dead = chunk.rows.len() >= 64 && 2 * chunk.living < chunk.rows.len();
        if is_tail && (chunk.is_full() || half_dead) {
            self.uncoded |= chunk.codes.is_none();
            self.tail = None;
        }
        if chunk.living == 0 {
            self.slots -= chunk.rows.len();
            self.encoded -= chunk.encoded();
            let gone =
                std::mem::replace(&mut Arc::make_mut(&mut self.chunks)[at], Chunk::new(0, Rows::default(), None));
            if gone.is_full() && self.spare.len() < SPARE {
                self.spare.push(gone.rows);
            }
            self.tail = self.tail.filter(|&tail| tail != at);
            self.sparse.retain(|&sparse| sparse != at);
            self.free.push(at);
        } else if self.tail != Some(at) && (chunk.is_sparse() || half_dead) && !self.sparse.contains(&at) {
            self.sparse.push(at);
        }
    }

    /// Whether more than half of all slots are dead.
    pub(super) fn is_mostly_dead(&self) -> bool {
        self.slots > 2 * self.living + CHUNK
    }

    /// How many entries an addition should move out of sparse chunks: more where many chunks became sparse at once, as those
    /// of one batch do.
    pub(super) fn moves(&self) -> usize {
        if 4 * self.slots > 5 * self.living + CHUNK { MANY_MOVES } else { MOVES }
    }

    /// Moves one entry out of a sparse chunk; its id and where it is now.
    pub(super) fn move_one(&mut self, serial: &mut u64) -> Option<(i64, Spot)> {
        let from = *self.sparse.last()?;
        let chunk = &self.chunks[from];
        let slot = chunk.first_living()?;
        let rows = chunk.rows.clone();
        let to = self.push(serial, |tail| tail.push_from(&rows, slot));
        self.kill((from, slot));
        Some((rows.ids[slot], to))
    }

    /// Ids and spots of entries of the chunk at `at` that have expired.
    pub(super) fn expired(&mut self, at: usize, now: u64) -> Vec<(i64, Spot)> {
        let chunk = &self.chunks[at];
        if chunk.soonest > now {
            return Vec::new();
        }
        let expiries = &chunk.rows.expires_at;
        let (gone, left): (Vec<usize>, Vec<usize>) = chunk.living_slots().partition(|&slot| expiries[slot] <= now);
        let soonest = left.iter().map(|&slot| expiries[slot]).min().unwrap_or(super::NEVER);
        let gone = gone.into_iter().map(|slot| (chunk.rows.ids[slot], (at, slot))).collect();
        Arc::make_mut(&mut self.chunks)[at].soonest = soonest;
        gone
    }

    /// The width of a head that is due with `more` entries to come; 0 where none is.
    pub(super) fn head_due(&self, more: usize) -> usize {
        let living = self.living + more;
        let due = match self.projection {
            None => living >= FIT_FROM,
            Some(_) => self.widen || living >= REFIT_GROWTH * self.fitted_at,
        };
        if due { self.head } else { 0 }
    }

    /// Work that is due, if any; none until it was installed.
    pub(super) fn job(&mut self) -> Option<std::result::Result<Arc<Projection>, usize>> {
        if self.working || self.head == 0 {
            return None;
        }
        let job = match (self.head_due(0), &self.projection) {
            (0, Some(projection)) if self.uncoded => Ok(projection.clone()),
            (0, _) => return None,
            (head, _) => Err(head),
        };
        self.working = true;
        Some(job)
    }

    /// Codes made beside, for chunks that are still what they were made for.
    pub(super) fn install(&mut self, codes: Vec<(usize, u64, Arc<Codes>)>) {
        let chunks = Arc::make_mut(&mut self.chunks);
        for (at, serial, codes) in codes {
            if let Some(chunk) = chunks.get_mut(at).filter(|chunk| chunk.serial == serial) {
                chunk.codes = Some(codes);
            }
        }
        self.encoded = chunks.iter().map(Chunk::encoded).sum();
        self.uncoded = chunks.iter().any(|chunk| chunk.codes.is_none() && chunk.is_full());
        self.working = false;
    }

    pub(super) fn adopt(&mut self, projection: Arc<Projection>, fitted_at: usize) {
        self.projection = Some(projection);
        self.fitted_at = fitted_at.max(1);
        self.widen = false;
    }

    /// What share of the entries a search verified.
    pub(super) fn observe(&mut self, options: &Options, fraction: f64) {
        self.prices.learn(options, fraction);
        if options.min_similarity < PROVABLE {
            return;
        }
        let fraction = if options.exact { fraction } else { fraction * price::INEXACT };
        let (count, sum) = (self.observed.0 + 1, self.observed.1 + fraction);
        self.observed = (count, sum);
        if count < JUDGED {
            return;
        }
        self.observed = (0, 0.0);
        let wider = (2 * self.head).min(MAX_HEAD).min(self.form.0 / 16 * 16);
        if sum > DEAR * f64::from(count) && wider > self.head {
            (self.head, self.widen) = (wider, true);
        }
    }
}
