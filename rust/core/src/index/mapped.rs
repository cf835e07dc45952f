//! Arrays that only grow, in memory shared with their clones; or in a file that is mapped into memory, until they grow.

#![allow(unsafe_code)]

use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::fmt;
use std::ops::{Deref, Range};
use std::ptr::NonNull;
use std::sync::Arc;

#[cfg(loom)]
use loom::sync::atomic::{AtomicUsize, Ordering};
#[cfg(not(loom))]
use std::sync::atomic::{AtomicUsize, Ordering};

use super::kernels::{LINE, Line};

/// What keeps the bytes of a file in memory: a map of it, or a copy.
pub type FileBytes = Arc<dyn AsRef<[u8]> + Send + Sync>;

/// Numbers without padding of which every pattern of bits is one.
pub(super) trait Number: Copy + Send + Sync + 'static {
    const SIZE: usize;
    fn write(self, to: &mut [u8]);
    fn read(from: &[u8]) -> Self;
}

macro_rules! numbers {
    ($($number:ty),+) => {$(
        impl Number for $number {
            const SIZE: usize = size_of::<Self>();

            #[inline]
            fn write(self, to: &mut [u8]) {
                to.copy_from_slice(&self.to_le_bytes());
            }

            #[inline]
            fn read(from: &[u8]) -> Self {
                let mut bytes = [0; size_of::<Self>()];
                bytes.copy_from_slice(from);
                Self::from_le_bytes(bytes)
            }
        }
    )+};
}
numbers!(u8, u64, i64, f32, f64);

/// A few side by side.
impl<const COUNT: usize> Number for [f32; COUNT] {
    const SIZE: usize = 4 * COUNT;

    fn write(self, to: &mut [u8]) {
        for (number, to) in self.into_iter().zip(to.as_chunks_mut::<4>().0) {
            number.write(to);
        }
    }

    fn read(from: &[u8]) -> Self {
        std::array::from_fn(|at| f32::read(&from[4 * at..][..4]))
    }
}

impl Number for Line {
    const SIZE: usize = LINE;

    fn write(self, to: &mut [u8]) {
        to.copy_from_slice(&self.0);
    }

    fn read(from: &[u8]) -> Self {
        let mut bytes = [0; LINE];
        bytes.copy_from_slice(from);
        Self(bytes)
    }
}

/// Numbers one after another, which stay as they are: more may come behind. A clone shares them, and costs as little whatever
/// their count; whoever appends first goes on in the memory that is shared, others copy (`Claims`).
#[derive(Clone)]
pub(super) struct Column<T: Number> {
    start: NonNull<T>,
    len: usize,
    owner: Owner<T>,
}

/// What keeps the numbers of a column where they are.
#[derive(Clone)]
enum Owner<T: Number> {
    /// There are none.
    Nobody,
    Buffer(Arc<Buffer<T>>),
    File {
        _bytes: FileBytes,
    },
}

// SAFETY: it is a shared slice of numbers together with what owns them; both may be sent and shared.
unsafe impl<T: Number> Send for Column<T> {}
// SAFETY: as above; what `&Column` reaches does not change.
unsafe impl<T: Number> Sync for Column<T> {}

/// How much of a buffer was given away. A column that ends where that ends may claim what follows; nobody else ever gets it.
#[derive(Default)]
struct Claims(AtomicUsize);

impl Claims {
    /// Claims what is between `from` and `to`, if nobody has.
    fn claim(&self, from: usize, to: usize) -> bool {
        // Nothing was written there yet, and what was before came to the column together with the column.
        self.0.compare_exchange(from, to, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }
}

/// Memory for numbers, aligned to cache lines.
struct Buffer<T: Number> {
    start: NonNull<T>,
    capacity: usize,
    claims: Claims,
}

impl<T: Number> Buffer<T> {
    fn layout(capacity: usize) -> Layout {
        let layout = Layout::array::<T>(capacity).and_then(|layout| layout.align_to(LINE));
        layout.unwrap_or_else(|_| panic!("{capacity} numbers are more than memory can hold"))
    }

    fn new(capacity: usize) -> Self {
        let layout = Self::layout(capacity);
        assert!(layout.size() > 0);
        // SAFETY: it is not empty.
        let start = NonNull::new(unsafe { alloc(layout) }.cast());
        let start = start.unwrap_or_else(|| handle_alloc_error(layout));
        Self { start, capacity, claims: Claims::default() }
    }
}

impl<T: Number> Drop for Buffer<T> {
    fn drop(&mut self) {
        // SAFETY: `new` allocated it with this layout.
        unsafe { dealloc(self.start.as_ptr().cast(), Self::layout(self.capacity)) };
    }
}

impl<T: Number> Column<T> {
    /// None, with room for so many.
    pub(super) fn with_capacity(capacity: usize) -> Self {
        if capacity == 0 {
            return Self::default();
        }
        let buffer = Buffer::new(capacity);
        Self { start: buffer.start, len: 0, owner: Owner::Buffer(Arc::new(buffer)) }
    }

    /// The little-endian numbers in `range` of `bytes`: in place where alignment and byte order allow. None past the end.
    pub(super) fn in_file(bytes: &FileBytes, range: Range<usize>) -> Option<Self> {
        let part = (**bytes).as_ref().get(range)?;
        let start = NonNull::from(part).cast::<T>();
        if cfg!(target_endian = "little") && start.is_aligned() && part.len().is_multiple_of(T::SIZE) {
            return Some(Self { start, len: part.len() / T::SIZE, owner: Owner::File { _bytes: bytes.clone() } });
        }
        Some(part.chunks_exact(T::SIZE).map(T::read).collect::<Vec<_>>().into())
    }

    /// Appends numbers: in place where there is room that nobody took, else in memory of twice the size.
    pub(super) fn extend_from_slice(&mut self, numbers: &[T]) {
        let end = self.len + numbers.len();
        let claimed = match &self.owner {
            Owner::Buffer(buffer) => end <= buffer.capacity && buffer.claims.claim(self.len, end),
            _ => numbers.is_empty(),
        };
        if !claimed {
            let mut other = Self::with_capacity(end.max(2 * self.len));
            other.extend_from_slice(self);
            *self = other;
            return self.extend_from_slice(numbers);
        }
        // SAFETY: the buffer has room up to `end`, and this column alone has claimed what is behind its numbers, so that
        // nothing else refers to it.
        unsafe { self.start.add(self.len).copy_from_nonoverlapping(NonNull::from(numbers).cast(), numbers.len()) };
        self.len = end;
    }

    /// Forgets the numbers, and keeps the memory where nobody shares it; says whether there is such memory.
    pub(super) fn clear(&mut self) -> bool {
        self.len = 0;
        match &mut self.owner {
            Owner::Buffer(buffer) => Arc::get_mut(buffer).map(|buffer| buffer.claims = Claims::default()).is_some(),
            _ => false,
        }
    }

    /// Appends a number.
    pub(super) fn push(&mut self, number: T) {
        self.extend_from_slice(&[number]);
    }
}

impl<T: Number> Deref for Column<T> {
    type Target = [T];

    #[inline]
    fn deref(&self) -> &[T] {
        // SAFETY: `start` is where `owner`, which is held here, has so many numbers: a slice of aligned ones borrowed from
        // behind an `Arc` that nobody can move or change, any bits of which are a number; or the part of a buffer that was
        // claimed and written before `len` said so, and is never written again; or aligned and none.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.len) }
    }
}

impl<T: Number> Default for Column<T> {
    fn default() -> Self {
        Self { start: NonNull::dangling(), len: 0, owner: Owner::Nobody }
    }
}

impl<T: Number> From<Vec<T>> for Column<T> {
    /// Copies them, so that the memory is like that of others.
    fn from(numbers: Vec<T>) -> Self {
        let mut column = Self::with_capacity(numbers.len());
        column.extend_from_slice(&numbers);
        column
    }
}

impl<T: Number> fmt::Debug for Column<T> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Column({} numbers)", self.len())
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    /// Bytes that begin at a multiple of eight.
    struct Aligned(Vec<u64>);

    impl AsRef<[u8]> for Aligned {
        fn as_ref(&self) -> &[u8] {
            // SAFETY: any number is eight bytes.
            unsafe { std::slice::from_raw_parts(self.0.as_ptr().cast(), self.0.len() * 8) }
        }
    }

    fn bytes() -> FileBytes {
        Arc::new(Aligned((0..8u64).map(u64::to_le).collect()))
    }

    fn is_in_file<T: Number>(column: &Column<T>) -> bool {
        matches!(column.owner, Owner::File { .. })
    }

    #[test]
    fn aligned_numbers_stay_where_they_are_until_more_come() {
        let bytes = bytes();
        let mut column = Column::<u64>::in_file(&bytes, 16..40).unwrap_or_default();
        assert_eq!(is_in_file(&column), cfg!(target_endian = "little"));
        let other = column.clone();
        drop(bytes);
        column.push(9);
        assert!(!is_in_file(&column));
        assert_eq!((&*column, &*other), (&[2, 3, 4, 9][..], &[2, 3, 4][..]));
    }

    #[test]
    fn others_are_copied_and_none_are_read_past_the_end() {
        let bytes = bytes();
        let shifted = Column::<u64>::in_file(&bytes, 1..17).unwrap_or_default();
        assert!(!is_in_file(&shifted));
        assert_eq!(&*shifted, &[1 << 56, 2 << 56]);
        assert_eq!(Column::<f32>::in_file(&bytes, 0..0).map(|column| column.len()), Some(0));
        for range in [0..65, 65..65, 60..70, usize::MAX..usize::MAX] {
            assert!(Column::<u8>::in_file(&bytes, range).is_none());
        }
    }

    #[test]
    fn the_first_to_append_goes_on_in_place_and_others_copy() {
        let mut first = Column::<i64>::with_capacity(8);
        first.extend_from_slice(&[1, 2]);
        let (mut second, before) = (first.clone(), first.clone());
        first.push(3);
        second.extend_from_slice(&[-3, -4]);
        assert_eq!((&*before, &*first, &*second), (&[1, 2][..], &[1, 2, 3][..], &[1, 2, -3, -4][..]));
        assert_eq!(before.start, first.start);
        assert_ne!(before.start, second.start);
        drop((before, second));
        first.extend_from_slice(&[4, 5, 6, 7, 8]);
        assert_eq!(&*first, &[1, 2, 3, 4, 5, 6, 7, 8]);
        first.push(9);
        assert_eq!((&*first, first.start.addr().get() % LINE), (&[1, 2, 3, 4, 5, 6, 7, 8, 9][..], 0));
    }

    #[test]
    fn columns_of_any_kind_grow_like_a_vec() {
        let mut columns: Vec<(Column<u8>, Vec<u8>)> = vec![Default::default(), (vec![7, 8].into(), vec![7, 8])];
        let mut state = 1u32;
        for step in 0..2_000u32 {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let at = (state >> 16) as usize % columns.len();
            if columns.len() < 40 {
                columns.push(columns[at].clone());
            } else {
                columns.swap_remove(at);
            }
            let (column, model) = &mut columns[(state >> 8) as usize % 2];
            let more = vec![step as u8; (state >> 24) as usize % 5];
            column.extend_from_slice(&more);
            model.extend_from_slice(&more);
        }
        assert!(columns.iter().all(|(column, model)| **column == **model));
    }
}

/// Run by `RUSTFLAGS='--cfg loom' cargo test -p sparecall-core --lib models`.
#[cfg(all(test, loom))]
mod models {
    use loom::cell::UnsafeCell;
    use loom::sync::{Arc, Mutex};
    use loom::thread;

    use super::Claims;

    /// Of several that append where one column ended, one goes on in place; who is handed the longer column sees all of it
    /// while yet another is appended.
    #[test]
    fn whoever_appends_in_place_is_alone_there() {
        loom::model(|| {
            let claims = Arc::new(Claims::default());
            let numbers = Arc::new([UnsafeCell::new(0), UnsafeCell::new(0)]);
            // As an index under its lock: how long the column is that is handed to others.
            let len = Arc::new(Mutex::new(0));
            let append = |number| {
                let (claims, numbers, len) = (claims.clone(), numbers.clone(), len.clone());
                move || {
                    let from = *len.lock().unwrap_or_else(|error| panic!("{error}"));
                    if from < 2 && claims.claim(from, from + 1) {
                        // SAFETY: it was claimed; loom says where it was not alone.
                        numbers[from].with_mut(|at| unsafe { *at = number });
                        *len.lock().unwrap_or_else(|error| panic!("{error}")) = from + 1;
                        return true;
                    }
                    false
                }
            };
            let (first, second) = (thread::spawn(append(1)), thread::spawn(append(2)));
            let seen = *len.lock().unwrap_or_else(|error| panic!("{error}"));
            for number in numbers.iter().take(seen) {
                // SAFETY: what is within the length was written before.
                assert!(number.with(|at| unsafe { *at }) > 0);
            }
            let appended = [first, second].map(|thread| thread.join().is_ok_and(|appended| appended));
            assert!(appended.contains(&true));
        });
    }
}
