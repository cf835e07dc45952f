//! `MessagePack`, written: every value in its shortest form.

use super::{Timestamp, ext};

/// Appends `MessagePack` to bytes.
pub trait Write {
    fn nil(&mut self);
    fn boolean(&mut self, value: bool);
    fn integer(&mut self, value: i64);
    fn unsigned(&mut self, value: u64);
    fn float(&mut self, value: f64);
    /// `value` is no longer than a `u32` says.
    fn text(&mut self, value: &str);
    /// Text as code points, of which [`utf8_len`] says how long they get, and that there are no surrogates.
    fn points<T: Copy + Into<u32>>(&mut self, points: &[T], length: usize);
    /// `value` is no longer than a `u32` says.
    fn binary(&mut self, value: &[u8]);
    /// The head of an array; its items follow.
    fn array(&mut self, length: u32);
    /// The head of a map; its keys and values follow by turns.
    fn map(&mut self, length: u32);
    /// The head of an extension; its bytes follow.
    fn extension(&mut self, kind: i8, length: u32);
    fn timestamp(&mut self, value: Timestamp);
}

/// How many bytes code points take as UTF-8; `None` where a surrogate is among them.
pub fn utf8_len<T: Copy + Into<u32>>(points: &[T]) -> Option<usize> {
    let (mut length, mut surrogates) = (points.len(), false);
    for point in points {
        let point: u32 = (*point).into();
        length += usize::from(point > 0x7f) + usize::from(point > 0x7ff) + usize::from(point > 0xffff);
        surrogates |= point & !0x7ff == 0xd800;
    }
    (!surrogates).then_some(length)
}

#[inline]
fn text_head(out: &mut Vec<u8>, length: usize) {
    out.reserve(length + 5);
    match length {
        0..=31 => out.push(0xa0 | length as u8),
        32..=0xff => out.extend_from_slice(&[0xd9, length as u8]),
        0x100..=0xffff => short_head(out, 0xda, length as u16),
        _ => head(out, 0xdb, length as u32),
    }
}

/// A head: one byte and a big-endian length.
#[inline]
fn head(out: &mut Vec<u8>, kind: u8, length: u32) {
    let [a, b, c, d] = length.to_be_bytes();
    out.extend_from_slice(&[kind, a, b, c, d]);
}

#[inline]
fn short_head(out: &mut Vec<u8>, kind: u8, length: u16) {
    let [a, b] = length.to_be_bytes();
    out.extend_from_slice(&[kind, a, b]);
}

impl Write for Vec<u8> {
    #[inline]
    fn nil(&mut self) {
        self.push(0xc0);
    }

    #[inline]
    fn boolean(&mut self, value: bool) {
        self.push(0xc2 + u8::from(value));
    }

    #[inline]
    fn integer(&mut self, value: i64) {
        if let Ok(value) = u64::try_from(value) {
            return self.unsigned(value);
        }
        match value {
            -32..=-1 => self.push(value as u8),
            -0x80..-32 => self.extend_from_slice(&[0xd0, value as u8]),
            -0x8000..-0x80 => short_head(self, 0xd1, value as u16),
            -0x8000_0000..-0x8000 => head(self, 0xd2, value as u32),
            _ => {
                self.push(0xd3);
                self.extend_from_slice(&value.to_be_bytes());
            }
        }
    }

    #[inline]
    fn unsigned(&mut self, value: u64) {
        match value {
            0..=0x7f => self.push(value as u8),
            0x80..=0xff => self.extend_from_slice(&[0xcc, value as u8]),
            0x100..=0xffff => short_head(self, 0xcd, value as u16),
            0x1_0000..=0xffff_ffff => head(self, 0xce, value as u32),
            _ => {
                self.push(0xcf);
                self.extend_from_slice(&value.to_be_bytes());
            }
        }
    }

    #[inline]
    fn float(&mut self, value: f64) {
        let mut bytes = [0xcb; 9];
        bytes[1..].copy_from_slice(&value.to_be_bytes());
        self.extend_from_slice(&bytes);
    }

    #[inline]
    fn text(&mut self, value: &str) {
        text_head(self, value.len());
        self.extend_from_slice(value.as_bytes());
    }

    fn points<T: Copy + Into<u32>>(&mut self, points: &[T], length: usize) {
        text_head(self, length);
        for point in points {
            let point: u32 = (*point).into();
            let tail = |shift: u32| 0x80 | (point >> shift & 0x3f) as u8;
            match point {
                0..=0x7f => self.push(point as u8),
                0x80..=0x7ff => self.extend_from_slice(&[0xc0 | (point >> 6) as u8, tail(0)]),
                0x800..=0xffff => self.extend_from_slice(&[0xe0 | (point >> 12) as u8, tail(6), tail(0)]),
                _ => self.extend_from_slice(&[0xf0 | (point >> 18) as u8, tail(12), tail(6), tail(0)]),
            }
        }
    }

    #[inline]
    fn binary(&mut self, value: &[u8]) {
        self.reserve(value.len() + 5);
        match value.len() {
            length @ 0..=0xff => self.extend_from_slice(&[0xc4, length as u8]),
            length @ 0x100..=0xffff => short_head(self, 0xc5, length as u16),
            length => head(self, 0xc6, length as u32),
        }
        self.extend_from_slice(value);
    }

    #[inline]
    fn array(&mut self, length: u32) {
        match length {
            0..=15 => self.push(0x90 | length as u8),
            16..=0xffff => short_head(self, 0xdc, length as u16),
            _ => head(self, 0xdd, length),
        }
    }

    #[inline]
    fn map(&mut self, length: u32) {
        match length {
            0..=15 => self.push(0x80 | length as u8),
            16..=0xffff => short_head(self, 0xde, length as u16),
            _ => head(self, 0xdf, length),
        }
    }

    fn extension(&mut self, kind: i8, length: u32) {
        match length {
            1 | 2 | 4 | 8 | 16 => self.push(0xd4 + length.trailing_zeros() as u8),
            0..=0xff => self.extend_from_slice(&[0xc7, length as u8]),
            0x100..=0xffff => short_head(self, 0xc8, length as u16),
            _ => head(self, 0xc9, length),
        }
        self.push(kind as u8);
    }

    fn timestamp(&mut self, value: Timestamp) {
        let Timestamp { seconds, nanoseconds } = value;
        match (u32::try_from(seconds), nanoseconds) {
            (Ok(seconds), 0) => {
                self.extension(ext::TIMESTAMP, 4);
                self.extend_from_slice(&seconds.to_be_bytes());
            }
            _ if (0..1 << 34).contains(&seconds) => {
                self.extension(ext::TIMESTAMP, 8);
                self.extend_from_slice(&(u64::from(nanoseconds) << 34 | seconds as u64).to_be_bytes());
            }
            _ => {
                self.extension(ext::TIMESTAMP, 12);
                self.extend_from_slice(&nanoseconds.to_be_bytes());
                self.extend_from_slice(&seconds.to_be_bytes());
            }
        }
    }
}
