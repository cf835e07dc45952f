//! Strings with escapes: unescaped into WTF-8, so that `\u0041` is `A` and a lone surrogate stays what it is.

use crate::cpu::Level;
use crate::error::{Error, Result};

use super::scan;

fn invalid<T>(what: &'static str, offset: usize) -> Result<T> {
    Err(Error::InvalidDocument { what, offset })
}

/// Appends the unescaped string that starts at `at` (after its quote) to `out`; returns where it ends, after its closing quote.
pub(super) fn unescape(level: Level, body: &[u8], mut at: usize, out: &mut Vec<u8>) -> Result<usize> {
    loop {
        at += scan::copy_plain(level, &body[at..], out);
        match body.get(at) {
            Some(b'"') => return Ok(at + 1),
            Some(b'\\') => at = escape(body, at, out)?,
            Some(_) => return invalid(CONTROL, at),
            None => return invalid(UNTERMINATED, at),
        }
    }
}

pub(super) const CONTROL: &str = "a control character in a string";
pub(super) const UNTERMINATED: &str = "a string without its closing quote";

/// Appends what the escape at `at` (its backslash) stands for; returns where it ends.
fn escape(body: &[u8], at: usize, out: &mut Vec<u8>) -> Result<usize> {
    let plain = match body.get(at + 1) {
        Some(&quoted @ (b'"' | b'\\' | b'/')) => quoted,
        Some(b'n') => b'\n',
        Some(b't') => b'\t',
        Some(b'r') => b'\r',
        Some(b'b') => 0x08,
        Some(b'f') => 0x0c,
        Some(b'u') => return unicode_escape(body, at, out),
        _ => return invalid("an unknown escape in a string", at),
    };
    out.push(plain);
    Ok(at + 2)
}

fn unicode_escape(body: &[u8], at: usize, out: &mut Vec<u8>) -> Result<usize> {
    let Some(unit) = hex4(body, at + 2) else { return invalid("\\u needs four hex digits", at) };
    if (0xd800..0xdc00).contains(&unit)
        && body.get(at + 6..at + 8) == Some(b"\\u")
        && let Some(low @ 0xdc00..=0xdfff) = hex4(body, at + 8)
    {
        push_code_point(0x1_0000 + ((unit - 0xd800) << 10) + (low - 0xdc00), out);
        return Ok(at + 12);
    }
    push_code_point(unit, out);
    Ok(at + 6)
}

fn hex4(body: &[u8], at: usize) -> Option<u32> {
    let digits = body.get(at..at + 4)?;
    digits.iter().try_fold(0, |value, &digit| Some(value << 4 | char::from(digit).to_digit(16)?))
}

/// UTF-8, and for a lone surrogate the three bytes UTF-8 would have for it (WTF-8).
fn push_code_point(code: u32, out: &mut Vec<u8>) {
    match char::from_u32(code) {
        Some(character) => out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes()),
        None => out.extend_from_slice(&[
            0xe0 | (code >> 12) as u8,
            0x80 | (code >> 6 & 0x3f) as u8,
            0x80 | (code & 0x3f) as u8,
        ]),
    }
}
