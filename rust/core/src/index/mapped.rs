//! Arrays that stand in memory of their own, or in a file that is mapped into memory until they change.

#![allow(unsafe_code)]

use std::fmt;
use std::ops::{Deref, Range};
use std::ptr::NonNull;
use std::sync::Arc;

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
numbers!(u8, u64, i64, f32);

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

/// Numbers one after another. Reading costs the same wherever they stand; what is mapped is copied before it changes.
#[derive(Clone)]
pub(super) enum Column<T: Number> {
    Owned(Vec<T>),
    Mapped(Mapped<T>),
}

/// A part of a file's bytes, seen as numbers.
#[derive(Clone)]
pub(super) struct Mapped<T> {
    start: NonNull<T>,
    len: usize,
    /// Keeps `start` valid.
    _bytes: FileBytes,
}

// SAFETY: it is a shared slice of numbers together with what owns them; both may be sent and shared.
unsafe impl<T: Number> Send for Mapped<T> {}
// SAFETY: as above; nothing in it changes.
unsafe impl<T: Number> Sync for Mapped<T> {}

impl<T: Number> Column<T> {
    /// The little-endian numbers in `range` of `bytes`: in place where alignment and byte order allow. None past the end.
    pub(super) fn in_file(bytes: &FileBytes, range: Range<usize>) -> Option<Self> {
        let part = (**bytes).as_ref().get(range)?;
        let start = NonNull::from(part).cast::<T>();
        if cfg!(target_endian = "little") && start.is_aligned() && part.len().is_multiple_of(T::SIZE) {
            let len = part.len() / T::SIZE;
            return Some(Self::Mapped(Mapped { start, len, _bytes: bytes.clone() }));
        }
        Some(Self::Owned(part.chunks_exact(T::SIZE).map(T::read).collect()))
    }

    /// The numbers in memory of their own.
    pub(super) fn own(&mut self) -> &mut Vec<T> {
        if let Self::Mapped(_) = self {
            *self = Self::Owned(self.to_vec());
        }
        match self {
            Self::Owned(numbers) => numbers,
            Self::Mapped(_) => unreachable!("it was copied"),
        }
    }

    /// Gives back what was reserved for numbers that will not come.
    pub(super) fn shrink_to_fit(&mut self) {
        if let Self::Owned(numbers) = self {
            numbers.shrink_to_fit();
        }
    }

    /// Whether they stand in a file's bytes.
    pub(super) fn is_mapped(&self) -> bool {
        matches!(self, Self::Mapped(_))
    }
}

impl<T: Number> Deref for Column<T> {
    type Target = [T];

    #[inline]
    fn deref(&self) -> &[T] {
        match self {
            Self::Owned(numbers) => numbers,
            // SAFETY: `in_file` made it of a slice of so many aligned numbers, any bits of which are one. The slice was
            // borrowed from behind an `Arc` that is held here, so nobody can move or change what owns it.
            Self::Mapped(mapped) => unsafe { std::slice::from_raw_parts(mapped.start.as_ptr(), mapped.len) },
        }
    }
}

impl<T: Number> Default for Column<T> {
    fn default() -> Self {
        Self::Owned(Vec::new())
    }
}

impl<T: Number> From<Vec<T>> for Column<T> {
    fn from(numbers: Vec<T>) -> Self {
        Self::Owned(numbers)
    }
}

impl<T: Number> fmt::Debug for Column<T> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Column({} numbers, mapped: {})", self.len(), self.is_mapped())
    }
}

#[cfg(test)]
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

    #[test]
    fn aligned_numbers_stay_where_they_are_until_they_change() {
        let bytes = bytes();
        let mut column = Column::<u64>::in_file(&bytes, 16..40).unwrap_or_default();
        assert_eq!(column.is_mapped(), cfg!(target_endian = "little"));
        let other = column.clone();
        drop(bytes);
        column.own().push(9);
        assert!(!column.is_mapped());
        assert_eq!((&*column, &*other), (&[2, 3, 4, 9][..], &[2, 3, 4][..]));
    }

    #[test]
    fn others_are_copied_and_none_are_read_past_the_end() {
        let bytes = bytes();
        let shifted = Column::<u64>::in_file(&bytes, 1..17).unwrap_or_default();
        assert!(!shifted.is_mapped());
        assert_eq!(&*shifted, &[1 << 56, 2 << 56]);
        assert_eq!(Column::<f32>::in_file(&bytes, 0..0).map(|column| column.len()), Some(0));
        for range in [0..65, 65..65, 60..70, usize::MAX..usize::MAX] {
            assert!(Column::<u8>::in_file(&bytes, range).is_none());
        }
    }
}
