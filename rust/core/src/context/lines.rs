//! What speaks for each line of a text beside the values it holds, by what kind of text it is.
//!
//! | kind | what speaks for a line |
//! |---|---|
//! | log | an alarm; that it is the first or the last of its template, whose others weigh less |
//! | test | an alarm, an assertion, a summary; what passed weighs less |
//! | diff | that it is changed, or heads a hunk; context weighs less |
//! | code | that something begins there |
//! | json | that it heads a table, or is a row that is first, last or not like the others |

use super::kind::{Kind, is_signature, unnumbered};
use super::templates::Templates;
use aho_corasick::{AhoCorasick, MatchKind};
use std::sync::OnceLock;

/// What speaks for the first line of a text, and for the last: for one that is both, and for a text as a whole, twice.
pub(super) const EDGE: f32 = 0.3;
/// Fewer lines of one template are no repetition.
const ALIKE: u32 = 3;

/// What is known of a line.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Line {
    /// What speaks for it, per token, in values of the commonest kind.
    pub(super) prior: f32,
    /// What its values weigh, in tenths.
    pub(super) share: u8,
    /// Equal for lines of one template; 0 for those that are like no other.
    pub(super) template: u32,
    /// How many lines the template has, where it is its first.
    pub(super) alike: u32,
}

const PLAIN: Line = Line { prior: 0.0, share: 10, template: 0, alike: 0 };

/// What speaks for the lines of a text.
pub(super) enum Worth<'a> {
    /// What its kind says.
    Kind,
    /// Of a compact form: where lines begin, and tenths.
    Marks(&'a [(u32, u8)]),
    /// Of each line.
    Lines(&'a [f32]),
}

impl Worth<'_> {
    pub(super) fn add(&self, parts: &[&str], judged: &mut [Line]) {
        match self {
            Self::Kind => {}
            Self::Marks(marks) => {
                let mut marks = marks.iter().peekable();
                let mut start = 0;
                for (part, line) in parts.iter().zip(judged) {
                    let end = start + part.len();
                    while let Some((_, worth)) = marks.next_if(|(at, _)| (*at as usize) < end) {
                        line.prior = line.prior.max(f32::from(*worth) / 10.0);
                    }
                    start = end;
                }
            }
            Self::Lines(worth) => {
                let mut number = 0;
                for (part, line) in parts.iter().zip(judged) {
                    line.prior = line.prior.max(worth.get(number).copied().unwrap_or(0.0));
                    number += part.bytes().filter(|&byte| byte == b'\n').count();
                }
            }
        }
    }
}

/// Judges the lines of a text; what has no line end goes on in the next. O(text).
pub(super) fn judge(kind: Kind, parts: &[&str]) -> Vec<Line> {
    let mut lines = match kind {
        Kind::Log | Kind::Test => of_program(kind, parts),
        _ => parts.iter().map(|part| of_text(kind, unnumbered(part).trim())).collect(),
    };
    if kind != Kind::Data {
        let last = lines.len().saturating_sub(1);
        for at in [0, last] {
            if let Some(line) = lines.get_mut(at)
                && !parts[at].trim().is_empty()
            {
                line.prior += EDGE;
            }
        }
    }
    lines
}

fn of_text(kind: Kind, line: &str) -> Line {
    if line.is_empty() {
        return PLAIN;
    }
    let alarm = || f32::from(u8::from(is_alarm(line)));
    let prior = match kind {
        Kind::Diff if line.starts_with(['+', '-', '@']) || line.starts_with("diff ") => 1.0,
        Kind::Diff => return Line { share: 7, ..PLAIN },
        Kind::Code => f32::from(u8::from(is_signature(line))) + 0.5 * alarm(),
        Kind::Prose => 0.3 * alarm(),
        _ => 0.0,
    };
    Line { prior, ..PLAIN }
}

/// Lines of a log or of a test's output, whole lines judged and their parts alike.
fn of_program(kind: Kind, parts: &[&str]) -> Vec<Line> {
    let mut templates = Templates::default();
    // Of each template its first part, its last line's, and how many lines it has.
    let mut places: Vec<(usize, usize, u32)> = Vec::new();
    let mut lines = Vec::with_capacity(parts.len());
    let mut start = 0;
    let mut whole = String::new();
    while start < parts.len() {
        let mut end = start + 1;
        while end < parts.len() && !parts[end - 1].ends_with('\n') {
            end += 1;
        }
        whole.clear();
        whole.extend(parts[start..end].iter().copied());
        let text = unnumbered(&whole).trim();
        let number = templates.number(text) as usize;
        if number == places.len() {
            places.push((start, start, 0));
        }
        places[number].1 = start;
        places[number].2 += 1;
        let prior = if text.is_empty() {
            0.0
        } else if is_alarm(text) {
            1.5
        } else if kind == Kind::Test && is_told(text) {
            1.0
        } else {
            0.0
        };
        let share = if kind == Kind::Test && is_passed(text) { 3 } else { 10 };
        lines.resize(end, Line { prior, share, template: number as u32 + 1, alike: 0 });
        start = end;
    }
    for (at, line) in lines.iter_mut().enumerate() {
        let (first, last, count) = places[line.template as usize - 1];
        if count < ALIKE {
            line.template = 0;
        } else if at == first || at == last {
            line.prior = line.prior.max(if parts[at].trim().is_empty() { 0.0 } else { 0.5 });
            line.alike = if at == first { count } else { 0 };
        } else {
            line.share = line.share.min(3);
        }
    }
    lines
}

/// A summary of tests, or what an assertion said.
fn is_told(line: &str) -> bool {
    (line.starts_with("===") && line.ends_with("==="))
        || ["E ", "> ", "test result:", "Ran ", "Tests:", "Test Suites:", "left:", "right:", "+ ", "- "]
            .iter()
            .any(|mark| line.starts_with(mark))
}

/// One test that passed.
fn is_passed(line: &str) -> bool {
    ["PASSED ", "ok ", "--- PASS", "PASS ", "✓ ", "√ "].iter().any(|mark| line.starts_with(mark))
        || [" PASSED", " ... ok"].iter().any(|mark| line.contains(mark))
}

fn is_alarm(line: &str) -> bool {
    static ALARMS: OnceLock<AhoCorasick> = OnceLock::new();
    let alarms = ALARMS.get_or_init(|| {
        let words = [
            "error",
            "exception",
            "traceback",
            "fail",
            "fatal",
            "panic",
            "critical",
            "denied",
            "refused",
            "assert",
            "timed out",
            "timeout",
            "not found",
            "cannot",
            "undefined",
            "unexpected",
            "invalid",
        ];
        let built = AhoCorasick::builder().ascii_case_insensitive(true).match_kind(MatchKind::Standard).build(words);
        built.unwrap_or_else(|error| unreachable!("a fixed list of words: {error}"))
    });
    alarms.is_match(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_matter_in_logs_and_what_repeats_does_not() {
        let mut parts: Vec<String> = (0..20).map(|at| format!("10:00:{at:02} INFO GET /health {at}ms\n")).collect();
        parts[9] = "10:00:09 ERROR disk is full\n".to_owned();
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        let lines = judge(Kind::Log, &parts);
        assert!(lines[9].prior > 1.0);
        assert_eq!((lines[0].alike, lines[19].alike, lines[9].alike), (19, 0, 0));
        assert!(lines[0].prior > 0.0 && lines[19].prior > 0.0);
        assert_eq!((lines[4].prior, lines[4].share), (0.0, 3));
    }

    #[test]
    fn parts_of_a_line_are_judged_as_it_is() {
        let lines = judge(Kind::Log, &["a request of ", "another, ", "which has failed\n", "all is well\n"]);
        assert!(lines[..3].iter().all(|line| line.prior >= 1.5));
        assert!(lines[3].prior < 1.0);
    }

    #[test]
    fn tests_that_failed_matter() {
        let lines = judge(
            Kind::Test,
            &["t::a PASSED\n", "t::b FAILED\n", "E   1 != 2\n", "some words\n", "=== 1 failed, 1 passed ===\n"],
        );
        let priors: Vec<f32> = lines.iter().map(|line| line.prior).collect();
        assert!(
            priors[1] > 1.0 && priors[2] >= 1.0 && priors[4] > 1.0 && priors[0] < 0.5 && priors[3] == 0.0,
            "{priors:?}"
        );
        assert!(lines[0].share < lines[1].share);
    }

    #[test]
    fn changed_lines_of_a_diff_matter() {
        let lines = judge(Kind::Diff, &["@@ -1,3 +1,3 @@\n", " a\n", "-b\n", "+c\n", " d\n"]);
        assert!(lines[2].prior >= 1.0 && lines[3].prior >= 1.0 && lines[1].prior == 0.0);
    }
}
