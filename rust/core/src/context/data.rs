//! Encoded bytes in a text: base64 and hex, alone, in data URIs, in lines of one width. What stands for them says what they are.
//!
//! Looks, in one pass, no parser: a run is data by its letters, and what is no run is never looked at again.

use std::ops::{Range, RangeInclusive};

/// Fewer characters may be a key or a signature, which somebody may want to write again.
const LEAST: usize = 256;
/// Lines of a block, as MIME and PEM have them: 64 or 76 wide. Escaped line ends, of JSON, part them too.
const WIDTHS: RangeInclusive<usize> = 60..=128;
/// Its last line may be shorter, but no word.
const LAST: usize = 24;
/// Most in one text; what comes after them is text.
const MOST: usize = 512;
/// Of a run, how many different letters make it base64, or hex; and of how many letters one may be a joint: paths have more.
const DISTINCT: u32 = 20;
const DISTINCT_HEX: u32 = 8;
const JOINTS: usize = 10;
/// The head of a data URI is not longer.
const HEAD: usize = 100;
/// Digits of a digest that are shown.
const SHOWN: usize = 12;

/// What bytes begin with in base64, and what they are then.
const MAGIC: [(&str, &str); 8] = [
    ("iVBORw0KGgo", "image/png"),
    ("/9j/", "image/jpeg"),
    ("R0lGOD", "image/gif"),
    ("UklGR", "image/webp"),
    ("JVBERi0", "application/pdf"),
    ("UEsDB", "application/zip"),
    ("H4sI", "application/gzip"),
    ("f0VMRg", "application/x-executable"),
];

/// Encoded bytes in a text.
#[derive(Debug)]
pub(super) struct Blob {
    /// Where they stand, the line end behind them with them.
    pub(super) place: Range<usize>,
    /// What says what they are.
    pub(super) stand_in: String,
}

#[derive(Clone, Copy, PartialEq)]
enum Code {
    Base64,
    Hex,
}

/// The blobs of a text, in order. O(n), of text without them a few bytes in each sixty.
pub(super) fn blobs(text: &str) -> Vec<Blob> {
    let bytes = text.as_bytes();
    let mut found = Vec::new();
    let mut at = 0;
    while found.len() < MOST
        && let Some(start) = next_run(bytes, at)
    {
        let (end, letters) = block(&bytes[start..]);
        at = start + end;
        if letters >= LEAST
            && let Some(code) = code_of(&bytes[start..at])
        {
            found.push(blob(text, start..at, letters, code));
        }
    }
    found
}

/// Where the next run of letters begins that is long enough for a line of a block. No run goes on before `from`.
///
/// A run that begins at some place has its letters up to a width further on: where one is missing there, none begins before it
/// (after Boyer and Moore, "A fast string searching algorithm", 1977).
fn next_run(bytes: &[u8], from: usize) -> Option<usize> {
    let mut at = from;
    loop {
        let line = bytes.get(at..at + WIDTHS.start())?;
        let Some(missing) = line.iter().rposition(|&byte| !is_letter(byte)) else {
            // What JSON escapes is no letter.
            let escapes = bytes[from..at].iter().rev().take_while(|&&byte| byte == b'\\').count();
            return Some(at + escapes % 2);
        };
        at += missing + 1;
    }
}

/// How far a run of letters goes, over lines of one width, and how many letters that are.
fn block(bytes: &[u8]) -> (usize, usize) {
    let width = run(bytes);
    let (mut end, mut letters) = (width, width);
    if !WIDTHS.contains(&width) {
        return (end, letters);
    }
    loop {
        let next = end + break_after(&bytes[end..]);
        let more = run(&bytes[next..]);
        // Other lines may be words that follow the bytes.
        let is_last =
            more < width && (more >= LAST || bytes[..next + more].ends_with(b"=")) && bytes.get(next) != Some(&b'-');
        if next == end || !(more == width || is_last) {
            return (end, letters);
        }
        (end, letters) = (next + more, letters + more);
        if is_last {
            return (end, letters);
        }
    }
}

/// The bytes of a run of letters of base64.
fn run(bytes: &[u8]) -> usize {
    bytes.iter().position(|&byte| !is_letter(byte)).unwrap_or(bytes.len())
}

const LETTERS: [bool; 256] = {
    let mut letters = [false; 256];
    let mut byte = 0_u8;
    while byte < 128 {
        letters[byte as usize] = byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'=' | b'-' | b'_');
        byte += 1;
    }
    letters
};

fn is_letter(byte: u8) -> bool {
    LETTERS[usize::from(byte)]
}

/// The bytes of a line end, as it is or as JSON escapes it.
fn break_after(bytes: &[u8]) -> usize {
    ["\r\n", "\n", "\\r\\n", "\\n"].iter().find(|end| bytes.starts_with(end.as_bytes())).map_or(0, |end| end.len())
}

/// What a run is, by its letters; None where it is no data. Line ends are not counted.
fn code_of(bytes: &[u8]) -> Option<Code> {
    let mut seen = [0_u64; 4];
    let (mut joints, mut letters) = (0, 0);
    for &byte in bytes {
        if is_letter(byte) {
            seen[usize::from(byte) / 64] |= 1 << (byte % 64);
            joints += usize::from(!byte.is_ascii_alphanumeric());
            letters += 1;
        }
    }
    let distinct: u32 = seen.iter().map(|part| part.count_ones()).sum();
    let has = |test: fn(&u8) -> bool| {
        (0..=255_u8).filter(test).any(|byte| seen[usize::from(byte) / 64] >> (byte % 64) & 1 == 1)
    };
    let is_hex = !has(|byte| is_letter(*byte) && !byte.is_ascii_hexdigit());
    if is_hex {
        // Digits alone are a number.
        return (distinct >= DISTINCT_HEX && has(u8::is_ascii_alphabetic)).then_some(Code::Hex);
    }
    let mixed = has(u8::is_ascii_uppercase) && has(u8::is_ascii_lowercase) && has(u8::is_ascii_digit);
    (mixed && distinct >= DISTINCT && joints * JOINTS <= letters).then_some(Code::Base64)
}

fn blob(text: &str, run: Range<usize>, letters: usize, code: Code) -> Blob {
    let encoded = &text[run.clone()];
    let (start, told) = head(text, run.start).unwrap_or((run.start, None));
    let media = told.or_else(|| {
        (code == Code::Base64)
            .then(|| MAGIC.iter().find(|(magic, _)| encoded.starts_with(magic)).map(|(_, name)| *name))?
    });
    let (name, bytes) = match code {
        Code::Base64 => ("base64", (letters - encoded.bytes().rev().take_while(|&byte| byte == b'=').count()) * 3 / 4),
        Code::Hex => ("hex", letters / 2),
    };
    let digest = blake3::hash(encoded.as_bytes()).to_hex();
    let space = if media.is_some() { " " } else { "" };
    let mut stand_in = format!("[{name}{space}{}, {bytes} bytes, blake3 {}]", media.unwrap_or(""), &digest[..SHOWN]);
    let mut end = run.end;
    if text[end..].starts_with('\n') {
        stand_in.push('\n');
        end += 1;
    }
    Blob { place: start..end, stand_in }
}

/// Where the data URI begins whose bytes begin at `at`, and the media type it tells.
fn head(text: &str, at: usize) -> Option<(usize, Option<&str>)> {
    let mut from = at.saturating_sub(HEAD);
    while !text.is_char_boundary(from) {
        from += 1;
    }
    let before = text[from..at].strip_suffix(";base64,")?;
    let start = before.rfind("data:")?;
    let media = before[start + 5..].split(';').next().filter(|media| !media.is_empty());
    let is_plain = |media: &str| media.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/+.-".contains(&byte));
    if media.is_some_and(|media| !is_plain(media)) {
        return None;
    }
    Some((from + start, media))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn letters(count: usize) -> String {
        let mut x = 7_u32;
        let all = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        (0..count)
            .map(|_| {
                x = x.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                char::from(all[(x >> 26) as usize])
            })
            .collect()
    }

    /// The same byte by byte.
    fn one_by_one(text: &str) -> Vec<Blob> {
        let bytes = text.as_bytes();
        let mut found = Vec::new();
        let mut at = 0;
        while at < bytes.len() && found.len() < MOST {
            if bytes[at] == b'\\' {
                at += 2;
                continue;
            }
            let (end, letters) = block(&bytes[at..]);
            if letters >= LEAST
                && let Some(code) = code_of(&bytes[at..at + end])
            {
                found.push(blob(text, at..at + end, letters, code));
            }
            at += end.max(1);
        }
        found
    }

    #[test]
    fn none_is_passed_over() {
        let all = letters(2_000);
        let runs = [&all[..59], &all[..60], &all[..61], &all[7..71], &all[..256], &all[3..330]];
        let between = ["\\", "\\n", "\n", " ", "a", "\u{e9}", "=", "\\\\"];
        let mut x = 7_u64;
        let mut random = |below: usize| {
            x = x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (x >> 33) as usize % below
        };
        let mut seen = 0;
        for _ in 0..3_000 {
            let mut text = String::new();
            for _ in 0..random(16) {
                let run = runs[random(runs.len())];
                for _ in 0..random(5) {
                    text.push_str(run);
                    text.push_str(between[random(between.len())]);
                }
                text.push_str(between[random(between.len())]);
            }
            let places = |blobs: Vec<Blob>| blobs.into_iter().map(|one| (one.place, one.stand_in)).collect::<Vec<_>>();
            let wanted = places(one_by_one(&text));
            seen += wanted.len();
            assert_eq!(places(blobs(&text)), wanted, "{text}");
        }
        assert!(seen > 100);
    }

    #[test]
    fn data_uris_tell_their_type() {
        let text = format!("see <img src=\"data:image/png;base64,{}==\"> here", letters(600));
        let found = blobs(&text);
        assert_eq!(found.len(), 1);
        assert_eq!(&text[found[0].place.end..], "\"> here");
        assert!(text[found[0].place.clone()].starts_with("data:image/png"));
        assert!(found[0].stand_in.starts_with("[base64 image/png, 450 bytes, blake3 "), "{}", found[0].stand_in);
    }

    #[test]
    fn lines_of_one_width_are_one_blob() {
        let all = letters(700);
        for end in ["\n", "\\n", "\r\n"] {
            let lines: Vec<&str> = (0..700).step_by(64).map(|at| &all[at..(at + 64).min(700)]).collect();
            let text = format!("-----BEGIN KEY-----{end}{}{end}-----END KEY-----", lines.join(end));
            let found = blobs(&text);
            assert_eq!(found.len(), 1, "{end:?}");
            assert!(found[0].stand_in.starts_with("[base64, 525 bytes"), "{}", found[0].stand_in);
            assert!(
                text[found[0].place.end..].trim_start_matches(['\\', 'n', 'r', '\n', '\r']).starts_with("-----END")
            );
        }
    }

    #[test]
    fn hex_is_known() {
        let text: String = (0..13_u8).map(|at| blake3::hash(&[at]).to_hex().to_string()).collect();
        assert!(blobs(&text)[0].stand_in.starts_with("[hex, 416 bytes, blake3 "));
    }

    #[test]
    fn what_is_no_data_stays() {
        let path = "src/some-module/a_b/".repeat(30);
        for text in [
            "=".repeat(400),
            "-".repeat(400),
            "0123456789".repeat(40),
            "01".repeat(300),
            path,
            letters(200),
            "x".repeat(900),
        ] {
            assert!(blobs(&text).is_empty(), "{text}");
        }
        let words = "every word of this text is a word, and none of them is data at all. ".repeat(20);
        assert!(blobs(&words).is_empty());
    }
}
