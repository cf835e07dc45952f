//! The canonical form, fed to BLAKE3: a type tag before each value and a length before each run, so that no two documents meet.

use super::tape::{Document, Kind};
use super::wire::Wire;

/// The hasher gets whole blocks of this size, so that its SIMD lanes stay full.
const BLOCK: usize = 64 << 10;

/// What stands before the hasher: small pieces are gathered, large ones go by without a copy.
pub(super) struct Feed<'a> {
    pending: &'a mut Vec<u8>,
    /// Made when the first block is full; most requests never need it.
    hasher: Option<Box<blake3::Hasher>>,
}

impl<'a> Feed<'a> {
    /// Starts a digest of its own domain.
    pub(super) fn new(pending: &'a mut Vec<u8>, domain: &[u8]) -> Self {
        pending.clear();
        let mut feed = Self { pending, hasher: None };
        feed.field(domain);
        feed
    }

    /// Bytes with their length before them.
    #[inline]
    pub(super) fn field(&mut self, bytes: &[u8]) {
        self.length(bytes.len() as u64);
        self.raw(bytes);
    }

    /// A tag, then bytes with their length before them.
    #[inline]
    fn tagged_field(&mut self, tag: u8, bytes: &[u8]) {
        self.tagged(tag, bytes.len() as u64);
        self.raw(bytes);
    }

    /// A tag and a number.
    #[inline]
    fn tagged(&mut self, tag: u8, number: u64) {
        if number < 0x80 {
            self.raw(&[tag, number as u8]); // most numbers, in one step
        } else {
            self.raw(&[tag]);
            self.length(number);
        }
    }

    /// LEB128: seven bits a byte, lowest first, each number in one way.
    #[inline]
    fn length(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.raw(&[number as u8 | 0x80]);
            number >>= 7;
        }
        self.raw(&[number as u8]);
    }

    #[inline]
    fn raw(&mut self, bytes: &[u8]) {
        if self.pending.len() + bytes.len() <= BLOCK {
            self.pending.extend_from_slice(bytes);
        } else {
            self.overflow(bytes);
        }
    }

    #[cold]
    fn overflow(&mut self, bytes: &[u8]) {
        let (fill, rest) = bytes.split_at(BLOCK - self.pending.len());
        let (blocks, tail) = rest.split_at(rest.len() / BLOCK * BLOCK);
        self.pending.extend_from_slice(fill);
        let hasher = self.hasher.get_or_insert_with(Box::default);
        hasher.update(self.pending).update(blocks);
        self.pending.clear();
        self.pending.extend_from_slice(tail);
    }

    /// The BLAKE3-256 of all that was fed.
    pub(super) fn finish(self) -> [u8; 32] {
        let hash = match self.hasher {
            Some(mut hasher) => hasher.update(self.pending).finalize(),
            None => blake3::hash(self.pending),
        };
        *hash.as_bytes()
    }

    /// The whole document, without those fields of its top level that the wire ignores.
    pub(super) fn document(&mut self, document: Document<'_>, wire: Wire) {
        let root = document.node(Document::ROOT);
        if root.kind != Kind::Object {
            return self.value(document, Document::ROOT);
        }
        let counted = document.members(root).filter(|(key, _)| !wire.ignores(key));
        self.tagged(b'{', counted.clone().count() as u64);
        for (key, value) in counted {
            self.field(key);
            self.value(document, value);
        }
    }

    fn value(&mut self, document: Document<'_>, index: u32) {
        let node = document.node(index);
        match node.kind {
            Kind::Null => self.raw(b"n"),
            Kind::False => self.raw(b"f"),
            Kind::True => self.raw(b"t"),
            Kind::Number => self.tagged_field(b'#', document.bytes(node)),
            Kind::String => self.tagged_field(b'"', document.bytes(node)),
            Kind::Array => {
                self.tagged(b'[', u64::from(node.end));
                for item in document.items(index) {
                    self.value(document, item);
                }
            }
            Kind::Object => {
                let members = document.members(node);
                self.tagged(b'{', members.len() as u64);
                for (key, value) in members {
                    self.field(key);
                    self.value(document, value);
                }
            }
        }
    }
}
