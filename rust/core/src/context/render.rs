//! Writes what was kept of a document, with a mark where something is missing.

use super::document::Document;

/// What stands for a gap has at most so many tokens in the shipped encodings.
pub const MARKER: u32 = 6;

/// The kept segments of a document in their order; a gap is `[… 12 lines]`, or `[…]` inside of a line.
#[must_use]
pub fn render(document: &Document, kept: &[(u32, u32)]) -> String {
    let mut out = String::new();
    let mut at = 0;
    for &(start, end) in kept {
        gap(document, at, start, &mut out);
        for index in start..end {
            out.push_str(document.part(index as usize));
        }
        at = end;
    }
    gap(document, at, document.len() as u32, &mut out);
    out
}

fn gap(document: &Document, from: u32, to: u32, out: &mut String) {
    if from >= to {
        return;
    }
    let ends = |at: u32| document.part(at as usize).ends_with('\n');
    let lines = (from..to).filter(|&at| ends(at)).count();
    let starts_line = from == 0 || ends(from - 1);
    let ends_text = to as usize == document.len();
    if starts_line && (ends(to - 1) || ends_text) {
        let lines = lines + usize::from(!ends(to - 1));
        out.push_str("[… ");
        out.push_str(&lines.to_string());
        out.push_str(if lines == 1 { " line]" } else { " lines]" });
    } else {
        out.push_str("[…]");
    }
    if ends(to - 1) {
        out.push('\n');
    } else if !ends_text {
        out.push(' ');
    }
}
