//! Writes what was kept of a document, with a mark where something is missing.

use super::document::Document;

/// What stands for a gap has about so many tokens in the shipped encodings.
pub const MARKER: u32 = 5;
/// A handle in one has so many more.
pub const HANDLE: u32 = 11;

/// What marks say beside how much is missing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Marks<'a> {
    /// By which the whole text can be asked for; the first mark has it. Empty: none.
    pub handle: &'a str,
    /// Of each gap, in order, whether its lines stand below, in another text.
    pub below: &'a [bool],
}

/// The kept segments of a document in their order; a gap is `[… 12 lines]`, or `[…]` inside of a line.
#[must_use]
pub fn render(document: &Document, kept: &[(u32, u32)]) -> String {
    render_marked(document, kept, Marks::default())
}

/// The same with marks that say more: `[… 12 lines as below]`, `[… 12 lines h:0123456789abcdef]`.
#[must_use]
pub fn render_marked(document: &Document, kept: &[(u32, u32)], marks: Marks<'_>) -> String {
    let mut writer = Writer { document, marks, gaps: 0, has_handle: marks.handle.is_empty(), out: String::new() };
    let counts = counts(document, kept);
    let mut at = 0;
    for &(start, end) in kept {
        writer.gap(at, start, is_kept(kept, start));
        for index in start..end {
            writer.segment(index as usize, is_kept(kept, index + 1), &counts);
        }
        at = end;
    }
    writer.gap(at, document.len() as u32, false);
    writer.out
}

/// The gaps of what is kept, of a document with so many segments.
pub(super) fn gaps(kept: &[(u32, u32)], len: u32) -> impl Iterator<Item = (u32, u32)> {
    let starts = std::iter::once(0).chain(kept.iter().map(|range| range.1));
    let ends = kept.iter().map(|range| range.0).chain(std::iter::once(len));
    starts.zip(ends).filter(|(start, end)| start < end)
}

/// What is written behind the first line of a template.
pub(super) fn count_of(alike: u32) -> String {
    format!(" [×{alike}]")
}

fn is_kept(kept: &[(u32, u32)], at: u32) -> bool {
    let after = kept.partition_point(|range| range.1 <= at);
    kept.get(after).is_some_and(|range| range.0 <= at)
}

/// The segments behind which it is said how many are like them: those whose likes are not all there.
fn counts(document: &Document, kept: &[(u32, u32)]) -> Vec<u32> {
    let mut missing: Vec<u32> = gaps(kept, document.len() as u32)
        .flat_map(|(start, end)| start..end)
        .map(|at| document.template(at as usize))
        .filter(|&template| template > 0)
        .collect();
    missing.sort_unstable();
    missing.dedup();
    missing
}

struct Writer<'a> {
    document: &'a Document,
    marks: Marks<'a>,
    gaps: usize,
    has_handle: bool,
    out: String,
}

impl Writer<'_> {
    fn segment(&mut self, at: usize, is_next_kept: bool, missing: &[u32]) {
        if let Some(stand_in) = self.document.stand_in(at) {
            if !is_next_kept {
                let end = stand_in.rfind(']').unwrap_or(stand_in.len());
                self.out.push_str(&stand_in[..end]);
                self.handle();
                self.out.push_str(&stand_in[end..]);
            }
            return;
        }
        let part = self.document.part(at);
        match self.document.alike(at) {
            Some(alike) if missing.binary_search(&self.document.template(at)).is_ok() => {
                let body = part.trim_end_matches(['\n', '\r']);
                self.out.push_str(body);
                self.out.push_str(&count_of(alike));
                self.out.push_str(&part[body.len()..]);
            }
            _ => self.out.push_str(part),
        }
    }

    /// Says the handle, the first time.
    fn handle(&mut self) {
        if !std::mem::replace(&mut self.has_handle, true) {
            self.out.push(' ');
            self.out.push_str(self.marks.handle);
        }
    }

    /// Marks what is missing from `from` to before `to`; what stands for encoded bytes needs no mark.
    fn gap(&mut self, mut from: u32, mut to: u32, is_next_kept: bool) {
        let document = self.document;
        if from >= to {
            return;
        }
        let is_below = self.marks.below.get(self.gaps).copied().unwrap_or(false);
        self.gaps += 1;
        if from > 0 && document.stand_in(from as usize - 1).is_some() {
            from += 1;
        }
        if is_next_kept && document.stand_in(to as usize - 1).is_some() {
            to -= 1;
        }
        if from >= to {
            return;
        }
        let ends = |at: u32| document.part(at as usize).ends_with('\n');
        let lines = (from..to).filter(|&at| ends(at)).count();
        let starts_line = from == 0 || ends(from - 1);
        let ends_text = to as usize == document.len();
        let out = &mut self.out;
        out.push_str("[…");
        if starts_line && (ends(to - 1) || ends_text) {
            let lines = lines + usize::from(!ends(to - 1));
            out.push(' ');
            out.push_str(&lines.to_string());
            out.push_str(if lines == 1 { " line" } else { " lines" });
        }
        if is_below {
            out.push_str(" as below");
        }
        self.handle();
        let out = &mut self.out;
        out.push(']');
        if ends(to - 1) {
            out.push('\n');
        } else if !ends_text {
            out.push(' ');
        }
    }
}
