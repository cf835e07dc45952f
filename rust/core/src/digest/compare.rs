//! The first field in which two bodies differ: why a request that looks the same missed the cache.

use std::fmt::Write;

use crate::error::Result;

use super::json;
use super::tape::{Document, Kind, Scratch};
use super::wire::Wire;

/// Where two documents first differ, in canonical order (keys sorted by their bytes).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// Such as `messages[0].content`; `$` is the whole document.
    pub path: String,
    /// What the first document has there, shortened: quotes the document, so not for logs.
    pub left: String,
    /// What the second document has there.
    pub right: String,
    /// Where two strings are: the character at which they begin to differ.
    pub offset: Option<usize>,
}

/// None exactly where the digests of `a` and `b`, both of that wire, are equal.
pub fn compare(a: &[u8], b: &[u8], wire: Wire) -> Result<Option<Difference>> {
    let (mut left, mut right) = (Scratch::default(), Scratch::default());
    let pair = Pair { left: json::read(a, &mut left)?, right: json::read(b, &mut right)?, wire };
    let mut path = String::new();
    let difference = pair.value(Document::ROOT, Document::ROOT, &mut path);
    Ok(difference.map(|(left, right, offset)| {
        let path = if path.is_empty() { "$".to_owned() } else { path };
        Difference { path, left, right, offset }
    }))
}

/// Left, right and character offset of a difference; the path is left in the walker's own.
type Found = (String, String, Option<usize>);

const ABSENT: &str = "absent";

struct Pair<'a> {
    left: Document<'a>,
    right: Document<'a>,
    wire: Wire,
}

impl Pair<'_> {
    /// On a difference `path` stays where it is; without one it is as before.
    fn value(&self, left: u32, right: u32, path: &mut String) -> Option<Found> {
        let (l, r) = (self.left.node(left), self.right.node(right));
        if l.kind != r.kind {
            return Some((describe(self.left, left), describe(self.right, right), None));
        }
        match l.kind {
            Kind::Null | Kind::False | Kind::True => None,
            Kind::Number if self.left.bytes(l) == self.right.bytes(r) => None,
            Kind::Number => Some((number(self.left, left), number(self.right, right), None)),
            Kind::String => strings(self.left.bytes(l), self.right.bytes(r)),
            Kind::Array => self.items(left, right, path),
            Kind::Object => self.members(left, right, path),
        }
    }

    fn items(&self, left: u32, right: u32, path: &mut String) -> Option<Found> {
        let known = path.len();
        let (mut lefts, mut rights) = (self.left.items(left), self.right.items(right));
        for index in 0.. {
            let pair = (lefts.next(), rights.next());
            if pair == (None, None) {
                break;
            }
            let _ = write!(path, "[{index}]");
            let found = self.either(pair, path);
            if found.is_some() {
                return found;
            }
            path.truncate(known);
        }
        None
    }

    fn members(&self, left: u32, right: u32, path: &mut String) -> Option<Found> {
        let known = path.len();
        let counts = |(key, _): &(&[u8], u32)| left != Document::ROOT || !self.wire.ignores(key);
        let mut lefts = self.left.members(self.left.node(left)).filter(counts).peekable();
        let mut rights = self.right.members(self.right.node(right)).filter(counts).peekable();
        while let Some(key) = lefts.peek().into_iter().chain(rights.peek()).map(|(key, _)| *key).min() {
            let pair = (lefts.next_if(|member| member.0 == key), rights.next_if(|member| member.0 == key));
            push_key(path, key);
            let found = self.either((pair.0.map(|member| member.1), pair.1.map(|member| member.1)), path);
            if found.is_some() {
                return found;
            }
            path.truncate(known);
        }
        None
    }

    fn either(&self, pair: (Option<u32>, Option<u32>), path: &mut String) -> Option<Found> {
        match pair {
            (Some(left), Some(right)) => self.value(left, right, path),
            (left, right) => {
                let side =
                    |document, index: Option<u32>| index.map_or(ABSENT.to_owned(), |index| describe(document, index));
                Some((side(self.left, left), side(self.right, right), None))
            }
        }
    }
}

fn push_key(path: &mut String, key: &[u8]) {
    let word = |&byte: &u8| byte == b'_' || byte.is_ascii_alphanumeric();
    if !key.is_empty() && key.iter().all(word) && !key[0].is_ascii_digit() {
        if !path.is_empty() {
            path.push('.');
        }
        path.extend(key.iter().map(|&byte| char::from(byte)));
    } else {
        path.push('[');
        quote(path, &mut code_points(key));
        path.push(']');
    }
}

/// The value with its type named.
fn describe(document: Document<'_>, index: u32) -> String {
    let node = document.node(index);
    match node.kind {
        Kind::Null => "null".to_owned(),
        Kind::False => "false".to_owned(),
        Kind::True => "true".to_owned(),
        Kind::Number => format!("number {}", number(document, index)),
        Kind::String => format!("string {}", excerpt(document.bytes(node), 0)),
        Kind::Array => format!("array of {}", node.end),
        Kind::Object => format!("object of {}", document.members(node).len()),
    }
}

/// How many characters of a text stand before the place that differs, and how many from it on.
const BEFORE: usize = 20;
const AFTER: usize = 40;

/// A number as its document spells it, shortened where it is absurd.
fn number(document: Document<'_>, index: u32) -> String {
    let source = &document.body[document.node(index).at as usize..];
    let length = source.iter().position(|byte| !b"+-.0123456789eE".contains(byte)).unwrap_or(source.len());
    let mut text: String = source[..length.min(BEFORE + AFTER)].iter().map(|&byte| char::from(byte)).collect();
    if length > BEFORE + AFTER {
        text.push('…');
    }
    text
}

fn strings(left: &[u8], right: &[u8]) -> Option<Found> {
    if left == right {
        return None;
    }
    let same = code_points(left).zip(code_points(right)).take_while(|(left, right)| left == right).count();
    Some((excerpt(left, same), excerpt(right, same), Some(same)))
}

/// The text around its character `offset`, in quotes.
fn excerpt(text: &[u8], offset: usize) -> String {
    let start = offset.saturating_sub(BEFORE);
    let mut out = String::from(if start > 0 { "…" } else { "" });
    let mut characters = code_points(text).skip(start);
    quote(&mut out, &mut characters.by_ref().take(offset - start + AFTER));
    if characters.next().is_some() {
        out.push('…');
    }
    out
}

/// In JSON's quotes and escapes, so that what cannot be seen can be told apart.
fn quote(out: &mut String, characters: &mut dyn Iterator<Item = u32>) {
    out.push('"');
    for code in characters {
        match char::from_u32(code) {
            Some(character @ ('"' | '\\')) => out.extend(['\\', character]),
            Some('\n') => out.push_str("\\n"),
            Some(character) if !character.is_control() => out.push(character),
            _ => {
                let _ = write!(out, "\\u{code:04x}");
            }
        }
    }
    out.push('"');
}

/// The code points of WTF-8 that the reader made, lone surrogates among them.
fn code_points(text: &[u8]) -> impl Iterator<Item = u32> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let (&first, _) = rest.split_first()?;
        let length = match first {
            0..0x80 => 1,
            0x80..0xe0 => 2,
            0xe0..0xf0 => 3,
            _ => 4,
        };
        let (bytes, after) = rest.split_at(length.min(rest.len()));
        rest = after;
        let lead = u32::from(first) & (0x7f >> (length - usize::from(length == 1)));
        Some(bytes[1..].iter().fold(lead, |code, byte| code << 6 | u32::from(byte & 0x3f)))
    })
}
