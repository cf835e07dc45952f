//! Lines that stand above already, said by a pointer: the same file read again, the same banner under every output.
//!
//! Lines compare without the numbers that editors put before them, so that a stretch that moved is known again.

use std::fmt::Write as _;

use std::collections::HashMap;

use super::kind::numbered;
use crate::tokens::{Encoding, Scratch};

/// Fewer lines make no pointer, nor fewer tokens than the pointer has and this many.
const LINES: usize = 3;
const GAIN: usize = 12;
/// Places of the same line that are tried, the newest first.
const PLACES: usize = 16;
/// Stand for a blank line, and for a pointer, which no other may point to.
const BLANK: u64 = 0;
const POINTER: u64 = 1;
/// So much of the first line tells which lines are meant, where they have no numbers.
const SHOWN: usize = 24;

/// The texts so far, by their lines. Each takes O(its bytes), and twice their memory.
#[derive(Debug, Default)]
pub struct Repeats {
    texts: Vec<Vec<Line>>,
    /// Where each line stands: text and line.
    places: HashMap<u64, Vec<(u32, u32)>>,
}

#[derive(Clone, Copy, Debug)]
struct Line {
    hash: u64,
    number: Option<u32>,
}

/// A run of lines that stands above: how many, and how much higher their numbers are here.
struct Run {
    lines: usize,
    shift: i64,
}

impl Repeats {
    /// Takes a text in; returns it with pointers for what stands in earlier ones, or None where nothing is gained.
    pub fn push(&mut self, text: &str, encoding: &Encoding, scratch: &mut Scratch) -> Option<String> {
        let lines: Vec<&str> = text.split_inclusive('\n').collect();
        let read: Vec<Line> = lines.iter().map(|line| Line::of(line)).collect();
        let mut out = String::new();
        let (mut at, mut from) = (0, 0); // lines before `from` are in `out`
        while at < lines.len() {
            let Some(run) = self.longest(&read[at..]) else {
                at += 1;
                continue;
            };
            let pointer = pointer(&lines[at..at + run.lines], &read[at..at + run.lines], &run);
            let before = encoding.count_with(&lines[at..at + run.lines].concat(), scratch);
            if encoding.count_with(&pointer, scratch) + GAIN > before {
                at += 1;
                continue;
            }
            out.extend(lines[from..at].iter().copied());
            out.push_str(&pointer);
            at += run.lines;
            from = at;
        }
        self.add(read);
        (from > 0).then(|| {
            out.extend(lines[from..].iter().copied());
            out
        })
    }

    fn add(&mut self, lines: Vec<Line>) {
        let number = self.texts.len() as u32;
        for (at, line) in lines.iter().enumerate().filter(|(_, line)| line.hash > POINTER) {
            let places = self.places.entry(line.hash).or_default();
            if places.len() == PLACES {
                places.remove(0);
            }
            places.push((number, at as u32));
        }
        self.texts.push(lines);
    }

    /// The longest run of an earlier text that these lines begin with.
    fn longest(&self, lines: &[Line]) -> Option<Run> {
        let first = lines.first()?;
        let mut best: Option<Run> = None;
        for &(text, line) in self.places.get(&first.hash)?.iter().rev() {
            let there = &self.texts[text as usize][line as usize..];
            let shift = first.shift_from(&there[0]);
            let same = |(here, there): &(&Line, &Line)| {
                here.hash == there.hash
                    && here.hash != POINTER
                    && here.number.is_some() == there.number.is_some()
                    && here.shift_from(there) == shift
            };
            let mut count = lines.iter().zip(there).take_while(same).count();
            // Blank lines at the end are nobody's.
            while count > 0 && lines[count - 1].hash == BLANK {
                count -= 1;
            }
            if count >= LINES && best.as_ref().is_none_or(|best| count > best.lines) {
                best = Some(Run { lines: count, shift });
            }
        }
        best
    }
}

impl Line {
    fn of(line: &str) -> Self {
        let (number, body) = match numbered(line) {
            Some((number, body)) => (Some(number), body),
            None => (None, line),
        };
        let body = body.trim_end();
        // Pointers are no lines that others may point to.
        let is_pointer = body.starts_with('[') && body.contains(" as above");
        let hash = if body.is_empty() {
            BLANK
        } else if is_pointer {
            POINTER
        } else {
            hash(body)
        };
        Self { hash, number }
    }

    fn shift_from(&self, other: &Self) -> i64 {
        i64::from(self.number.unwrap_or(0)) - i64::from(other.number.unwrap_or(0))
    }
}

fn pointer(lines: &[&str], read: &[Line], run: &Run) -> String {
    let mut out = String::new();
    let (first, last) = (&read[0], &read[read.len() - 1]);
    // Writing to a String cannot fail.
    let _ = match (first.number, last.number) {
        (Some(first), Some(last)) if run.shift == 0 => write!(out, "[lines {first}-{last} as above]"),
        (Some(first), Some(last)) => {
            let (from, to) = (i64::from(first) - run.shift, i64::from(last) - run.shift);
            write!(out, "[lines {first}-{last} as above, there {from}-{to}]")
        }
        _ => {
            let shown: String = lines[0].trim().chars().take(SHOWN).collect();
            write!(out, "[{} lines as above, from {shown:?}]", lines.len())
        }
    };
    if lines[lines.len() - 1].ends_with('\n') {
        out.push('\n');
    }
    out
}

/// 64 bits of BLAKE3, above those that stand for something else.
fn hash(text: &str) -> u64 {
    let digest = blake3::hash(text.as_bytes());
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&digest.as_bytes()[..8]);
    u64::from_le_bytes(bytes).max(POINTER + 1)
}
