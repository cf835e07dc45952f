//! A strict JSON reader (RFC 8259) onto the tape: nothing is built for a value but its node, and objects are sorted once.

use crate::cpu::{self, Level};
use crate::error::{Error, Result};

use super::escape::{self, CONTROL, UNTERMINATED};
use super::number::Number;
use super::scan;
use super::tape::{Document, Kind, Node, Scratch, bytes};

/// How many arrays and objects may stand inside one another.
pub const MAX_DEPTH: usize = 128;
/// Offsets and node numbers are 32 bits wide; half of that leaves room for every sum.
const MAX_BYTES: usize = i32::MAX as usize;

/// Reads `body` into `scratch`.
pub(super) fn read<'a>(body: &'a [u8], scratch: &'a mut Scratch) -> Result<Document<'a>> {
    scratch.clear();
    if body.len() > MAX_BYTES {
        return Err(Error::InvalidDocument { what: "the document is larger than 2 GiB", offset: MAX_BYTES });
    }
    if let Err(error) = std::str::from_utf8(body) {
        return Err(Error::InvalidDocument { what: "invalid UTF-8", offset: error.valid_up_to() });
    }
    let mut reader = Reader { body, at: 0, scratch, level: cpu::level() };
    reader.white_space();
    reader.value(0)?;
    reader.white_space();
    if reader.at < body.len() {
        return reader.refuse("more after the end of the document");
    }
    let Scratch { nodes, order, decoded, .. } = scratch;
    Ok(Document { body, nodes, order, decoded })
}

struct Reader<'a> {
    body: &'a [u8],
    at: usize,
    scratch: &'a mut Scratch,
    level: Level,
}

impl Reader<'_> {
    fn refuse<T>(&self, what: &'static str) -> Result<T> {
        Err(Error::InvalidDocument { what, offset: self.at })
    }

    #[inline]
    fn peek(&self) -> Option<u8> {
        self.body.get(self.at).copied()
    }

    #[inline]
    fn white_space(&mut self) {
        while let Some(b' ' | b'\n' | b'\r' | b'\t') = self.peek() {
            self.at += 1;
        }
    }

    #[inline]
    fn push(&mut self, kind: Kind, decoded: bool, at: usize, start: usize, end: usize) {
        let next = self.scratch.nodes.len() as u32 + 1;
        self.scratch.nodes.push(Node { kind, decoded, at: at as u32, start: start as u32, end: end as u32, next });
    }

    fn value(&mut self, depth: usize) -> Result<()> {
        match self.peek() {
            Some(b'"') => self.string(),
            Some(b'{') => self.object(depth),
            Some(b'[') => self.array(depth),
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(b't') => self.word(b"true", Kind::True),
            Some(b'f') => self.word(b"false", Kind::False),
            Some(b'n') => self.word(b"null", Kind::Null),
            _ => self.refuse("expected a value"),
        }
    }

    fn word(&mut self, word: &[u8], kind: Kind) -> Result<()> {
        if !self.body[self.at..].starts_with(word) {
            return self.refuse("expected a value");
        }
        self.push(kind, false, self.at, 0, 0);
        self.at += word.len();
        Ok(())
    }

    fn number(&mut self) -> Result<()> {
        let at = self.at;
        let fault = |(what, more)| Error::InvalidDocument { what, offset: at + more };
        let number = Number::read(&self.body[at..]).map_err(fault)?;
        self.at += number.length;
        if number.is_canonical() {
            self.push(Kind::Number, false, at, at, self.at);
        } else {
            let start = self.scratch.decoded.len();
            number.write_canonical(&mut self.scratch.decoded).map_err(fault)?;
            self.push(Kind::Number, true, at, start, self.scratch.decoded.len());
        }
        Ok(())
    }

    /// At an opening quote.
    fn string(&mut self) -> Result<()> {
        let at = self.at;
        let start = at + 1;
        let end = start + scan::plain_length(self.level, &self.body[start..]);
        self.at = end;
        match self.peek() {
            Some(b'"') => {
                self.at += 1;
                self.push(Kind::String, false, at, start, end);
            }
            Some(b'\\') => {
                let decoded = &mut self.scratch.decoded;
                let first = decoded.len();
                decoded.extend_from_slice(&self.body[start..end]);
                self.at = escape::unescape(self.level, self.body, end, decoded)?;
                let last = decoded.len();
                self.push(Kind::String, true, at, first, last);
            }
            Some(_) => return self.refuse(CONTROL),
            None => return self.refuse(UNTERMINATED),
        }
        Ok(())
    }

    /// Pushes the node of an array or object and steps over its bracket; returns the node's index.
    fn open(&mut self, kind: Kind, depth: usize) -> Result<usize> {
        if depth == MAX_DEPTH {
            return self.refuse("arrays and objects nested deeper than 128 levels");
        }
        let index = self.scratch.nodes.len();
        self.push(kind, false, self.at, 0, 0);
        self.at += 1;
        self.white_space();
        Ok(index)
    }

    /// After an item: a comma leads to the next one (true), the closing bracket ends it (false).
    #[inline]
    fn another(&mut self, closing: u8, expected: &'static str) -> Result<bool> {
        self.white_space();
        match self.peek() {
            Some(b',') => {
                self.at += 1;
                self.white_space();
                Ok(true)
            }
            Some(byte) if byte == closing => {
                self.at += 1;
                Ok(false)
            }
            _ => self.refuse(expected),
        }
    }

    fn array(&mut self, depth: usize) -> Result<()> {
        let index = self.open(Kind::Array, depth)?;
        let mut count = 0;
        if self.peek() == Some(b']') {
            self.at += 1;
        } else {
            loop {
                self.value(depth + 1)?;
                count += 1;
                if !self.another(b']', "expected ',' or ']'")? {
                    break;
                }
            }
        }
        let next = self.scratch.nodes.len() as u32;
        let node = &mut self.scratch.nodes[index];
        (node.end, node.next) = (count, next);
        Ok(())
    }

    fn object(&mut self, depth: usize) -> Result<()> {
        let index = self.open(Kind::Object, depth)?;
        if self.peek() == Some(b'}') {
            self.at += 1;
        } else {
            loop {
                if self.peek() != Some(b'"') {
                    return self.refuse("expected a key in quotes");
                }
                self.string()?;
                self.white_space();
                if self.peek() != Some(b':') {
                    return self.refuse("expected ':'");
                }
                self.at += 1;
                self.white_space();
                self.value(depth + 1)?;
                if !self.another(b'}', "expected ',' or '}'")? {
                    break;
                }
            }
        }
        self.sort_members(index)
    }

    /// Closes the object at `index`: lists its keys in canonical order and refuses one that stands there twice.
    fn sort_members(&mut self, index: usize) -> Result<()> {
        let Scratch { nodes, order, decoded, .. } = &mut *self.scratch;
        let start = order.len();
        let mut key = index + 1;
        while key < nodes.len() {
            order.push(key as u32);
            key = nodes[key + 1].next as usize;
        }
        let text = |key: u32| bytes(self.body, decoded, nodes[key as usize]);
        let keys = &mut order[start..];
        keys.sort_unstable_by(|&left, &right| text(left).cmp(text(right)));
        if let Some(twin) = keys.windows(2).find(|pair| text(pair[0]) == text(pair[1])) {
            let offset = nodes[twin[0].max(twin[1]) as usize].at as usize;
            return Err(Error::InvalidDocument { what: "a key that its object already has", offset });
        }
        let next = nodes.len() as u32;
        let node = &mut nodes[index];
        (node.start, node.end, node.next) = (start as u32, order.len() as u32, next);
        Ok(())
    }
}
