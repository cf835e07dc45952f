//! Makes text of a file's bytes, and says by which encoding.

use std::borrow::Cow;

/// Text, and the name Python knows its encoding by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decoded<'a> {
    pub text: Cow<'a, str>,
    /// `utf-8`, `utf-8-sig`, `utf-16-le`, `utf-16-be` (these by their byte order marks, which the text is without) or `latin-1`.
    pub encoding: &'static str,
    /// Whether something of the bytes could not be read, and stands as U+FFFD.
    pub lossy: bool,
}

/// By its byte order mark; else UTF-8; else, where it is not that, Latin-1, in which every byte is a character.
pub fn decode(bytes: &[u8]) -> Decoded<'_> {
    if let Some(rest) = bytes.strip_prefix(b"\xef\xbb\xbf") {
        let text = String::from_utf8_lossy(rest);
        let lossy = matches!(text, Cow::Owned(_));
        return Decoded { text, encoding: "utf-8-sig", lossy };
    }
    if let Some(rest) = bytes.strip_prefix(b"\xff\xfe") {
        return utf16(rest, u16::from_le_bytes, "utf-16-le");
    }
    if let Some(rest) = bytes.strip_prefix(b"\xfe\xff") {
        return utf16(rest, u16::from_be_bytes, "utf-16-be");
    }
    match std::str::from_utf8(bytes) {
        Ok(text) => Decoded { text: Cow::Borrowed(text), encoding: "utf-8", lossy: false },
        Err(_) => Decoded {
            text: Cow::Owned(bytes.iter().copied().map(char::from).collect()),
            encoding: "latin-1",
            lossy: false,
        },
    }
}

fn utf16(bytes: &[u8], read: fn([u8; 2]) -> u16, encoding: &'static str) -> Decoded<'static> {
    let (pairs, rest) = bytes.as_chunks::<2>();
    let mut lossy = !rest.is_empty();
    let text = char::decode_utf16(pairs.iter().copied().map(read))
        .map(|unit| {
            unit.unwrap_or_else(|_| {
                lossy = true;
                char::REPLACEMENT_CHARACTER
            })
        })
        .collect();
    Decoded { text: Cow::Owned(text), encoding, lossy }
}
