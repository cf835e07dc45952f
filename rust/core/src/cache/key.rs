//! Keys: bytes and the kind of thing they came from. Short ones live inside their slot.

/// A key as the caller shows it. Keys are equal where kind and bytes are: `kind` keeps a text apart from the same bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Key<'a> {
    pub kind: u8,
    pub bytes: &'a [u8],
}

/// Long enough for a 32-byte digest and a 36-character UUID; makes the stored key 40 bytes.
const INLINE: usize = 37;

/// A key as a slot holds it.
#[derive(Debug)]
pub(super) enum StoredKey {
    Inline { kind: u8, len: u8, bytes: [u8; INLINE] },
    Boxed { kind: u8, bytes: Box<[u8]> },
}

impl StoredKey {
    /// What a free slot holds.
    pub(super) const EMPTY: Self = Self::Inline { kind: 0, len: 0, bytes: [0; INLINE] };

    pub(super) fn new(key: Key<'_>) -> Self {
        let len = key.bytes.len();
        if len > INLINE {
            return Self::Boxed { kind: key.kind, bytes: key.bytes.into() };
        }
        let mut bytes = [0; INLINE];
        bytes[..len].copy_from_slice(key.bytes);
        Self::Inline { kind: key.kind, len: len as u8, bytes }
    }

    #[inline]
    pub(super) fn as_key(&self) -> Key<'_> {
        match self {
            Self::Inline { kind, len, bytes } => Key { kind: *kind, bytes: &bytes[..usize::from(*len)] },
            Self::Boxed { kind, bytes } => Key { kind: *kind, bytes },
        }
    }

    #[inline]
    pub(super) fn is(&self, key: Key<'_>) -> bool {
        self.as_key() == key
    }
}
