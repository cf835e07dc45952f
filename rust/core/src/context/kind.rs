//! What kind of text it is. No parser: looks, in one pass.

use memchr::memmem;

/// So many bytes of a text are looked at.
const LOOKED_AT: usize = 16 * 1024;
/// A word of so many bytes, of letters and digits alone, is data.
const DATA: usize = 96;

/// What a text is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Json,
    Diff,
    Test,
    Log,
    Code,
    Data,
    Prose,
}

impl Kind {
    /// The kind's name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Diff => "diff",
            Self::Test => "test",
            Self::Log => "log",
            Self::Code => "code",
            Self::Data => "data",
            Self::Prose => "prose",
        }
    }

    /// The kind of that name.
    #[must_use]
    pub fn by_name(name: &str) -> Option<Self> {
        [Self::Json, Self::Diff, Self::Test, Self::Log, Self::Code, Self::Data, Self::Prose]
            .into_iter()
            .find(|kind| kind.name() == name)
    }

    /// What `text` looks like.
    #[must_use]
    pub fn of(text: &str) -> Self {
        let mut end = text.len().min(LOOKED_AT);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        let text = &text[..end];
        if matches!(text.trim_start().as_bytes().first(), Some(b'{' | b'[')) && text.contains("\":") {
            return Self::Json;
        }
        let has = |marks: &[&str]| marks.iter().any(|mark| memmem::find(text.as_bytes(), mark.as_bytes()).is_some());
        let (has_results, has_levels) = (has(&RESULTS), has(&LEVELS));
        let (mut lines, mut diff, mut test, mut log, mut code, mut data) = (0, 0, 0, 0, 0, 0);
        for line in text.lines() {
            let line = unnumbered(line);
            let trimmed = line.trim();
            if trimmed.is_empty() {
                continue;
            }
            lines += 1;
            diff += usize::from(["diff --git ", "@@ -", "+++ ", "--- "].iter().any(|mark| line.starts_with(mark)));
            test += usize::from(is_test(trimmed, has_results));
            log += usize::from(is_log(trimmed, has_levels));
            code += usize::from(is_code(line, trimmed));
            data += if is_data(trimmed) { trimmed.len() } else { 0 };
        }
        if data * 2 > text.len() {
            Self::Data
        } else if diff >= 2 {
            Self::Diff
        } else if test >= 2 {
            Self::Test
        } else if lines >= 4 && log * 2 > lines {
            Self::Log
        } else if lines >= 4 && code * 3 > lines {
            Self::Code
        } else {
            Self::Prose
        }
    }
}

/// A line without the number an editor or a search put before it: `12:`, `12\t`, `  12 | `.
pub(super) fn unnumbered(line: &str) -> &str {
    numbered(line).map_or(line, |(_, rest)| rest)
}

/// The number before a line, and the line.
pub(super) fn numbered(line: &str) -> Option<(u32, &str)> {
    let text = line.trim_start_matches(' ');
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    if digits == 0 || digits > 7 {
        return None;
    }
    let rest = &text[digits..];
    let body = rest.strip_prefix(" | ").or_else(|| rest.strip_prefix([':', '\t', '→']))?;
    Some((text[..digits].parse().ok()?, body))
}

/// What stands in lines of test results, and of logs.
const RESULTS: [&str; 6] = [" PASSED", " FAILED", " ... ok", " ... FAILED", " ... FAIL", " ... ERROR"];
const LEVELS: [&str; 10] =
    ["INFO", "WARN", "ERROR", "DEBUG", "TRACE", "FATAL", "[info]", "[error]", "[warn]", "[debug]"];

fn is_test(line: &str, may_have_results: bool) -> bool {
    (line.starts_with("===") && line.ends_with("==="))
        || [
            "FAILED ",
            "PASSED ",
            "ERROR ",
            "FAIL: ",
            "ERROR: ",
            "test result:",
            "--- FAIL",
            "--- PASS",
            "not ok ",
            "ok ",
        ]
        .iter()
        .any(|mark| line.starts_with(mark))
        || (may_have_results && RESULTS.iter().any(|mark| line.contains(mark)))
}

fn is_log(line: &str, may_have_levels: bool) -> bool {
    let bytes = line.as_bytes();
    let digits = bytes.iter().take(40).filter(|byte| byte.is_ascii_digit()).count();
    let colons = bytes.iter().take(40).filter(|&&byte| byte == b':').count();
    let level =
        may_have_levels && LEVELS.iter().any(|level| line.get(..line.len().min(60)).unwrap_or(line).contains(level));
    (digits >= 6 && colons >= 2) || (level && (digits >= 4 || bytes[0] == b'[')) || (level && line.contains(": "))
}

fn is_code(line: &str, trimmed: &str) -> bool {
    let last = trimmed.as_bytes()[trimmed.len() - 1];
    matches!(last, b'{' | b'}' | b';' | b'(')
        || (last == b':' && is_signature(trimmed))
        || (last == b',' && line.starts_with("    "))
        || is_signature(trimmed)
        || ["import ", "from ", "return ", "if ", "else", "for ", "#include", "use ", "//", "raise ", "self."]
            .iter()
            .any(|mark| trimmed.starts_with(mark) && (line.len() > trimmed.len() || *mark != "if "))
            && !trimmed.ends_with('.')
        || trimmed.contains(" = ") && !trimmed.ends_with('.')
}

/// Whether a line says that something begins: a function, a class, a type.
pub(super) fn is_signature(line: &str) -> bool {
    if !matches!(line.as_bytes().first(), Some(b'@' | b'a' | b'c'..=b'f' | b'i' | b'p' | b's' | b't')) {
        return false; // nothing below begins so
    }
    let line = [
        "pub(crate) ",
        "pub(super) ",
        "pub ",
        "export ",
        "default ",
        "async ",
        "static ",
        "public ",
        "private ",
        "protected ",
    ]
    .iter()
    .fold(line, |line, word| line.strip_prefix(word).unwrap_or(line));
    ["def ", "class ", "fn ", "func ", "function ", "struct ", "enum ", "trait ", "impl ", "interface ", "type ", "@"]
        .iter()
        .any(|word| line.starts_with(word))
}

/// One word of many letters and digits: encoded bytes.
fn is_data(line: &str) -> bool {
    line.len() >= DATA
        && line.split([' ', ',', '"', ';']).any(|word| {
            word.len() >= DATA
                && word
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'=' | b'-' | b'_'))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_seen() {
        let cases = [
            ("{\"a\": 1}", Kind::Json),
            ("diff --git a/x b/x\n--- a/x\n+++ b/x\n@@ -1 +1 @@\n-a\n+b\n", Kind::Diff),
            ("===== test session starts =====\ntests/a.py::b PASSED\nFAILED tests/a.py::c\n", Kind::Test),
            (
                "2024-05-01 10:00:00 INFO started\n2024-05-01 10:00:01 INFO a\n2024-05-01 10:00:02 WARN b\n2024-05-01 10:00:03 INFO c\n",
                Kind::Log,
            ),
            ("1:import re\n2:\n3:def f(x):\n4:    return x + 1\n5:\n6:class A:\n7:    y = 3\n", Kind::Code),
            ("The quick brown fox jumps over the lazy dog. It was not amused.", Kind::Prose),
            ("", Kind::Prose),
        ];
        for (text, kind) in cases {
            assert_eq!(Kind::of(text), kind, "{text}");
        }
        assert_eq!(Kind::of(&"QUJD".repeat(100)), Kind::Data);
    }

    #[test]
    fn numbers_before_lines() {
        assert_eq!(numbered("  12 | x"), Some((12, "x")));
        assert_eq!(numbered("7:def f():"), Some((7, "def f():")));
        assert_eq!(numbered("7 apples"), None);
        assert_eq!(numbered("12:"), Some((12, "")));
    }
}
