//! The names of commands that instructions list, for agents that are told in words what they can do.
//!
//! What begins a line, or a point of a list, and is followed by what it takes (`open <path>`, `Search[entity]`, `run(script)`), or
//! stands there alone with a colon, or before a dash and what it does.

use super::terms;

const SHORTEST: usize = 3;
const LONGEST: usize = 40;

/// The names that a text of instructions lists, as values. O(text).
#[must_use]
pub fn commands(instructions: &str) -> Vec<u32> {
    let mut found: Vec<u32> = instructions.lines().filter_map(command).map(terms::hash_of).collect();
    found.sort_unstable();
    found.dedup();
    found
}

/// The name of the command that a line is about.
fn command(line: &str) -> Option<&str> {
    let line = unlisted(line.trim_start());
    let line = line.strip_prefix('`').unwrap_or(line);
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    let (name, rest) = line.split_at(line.bytes().take_while(|&byte| is_name(byte)).count());
    let first = *name.as_bytes().first()?;
    if !(SHORTEST..=LONGEST).contains(&name.len()) || !(first.is_ascii_alphabetic() || first == b'_') {
        return None;
    }
    let is_word_after =
        |mark: &str| rest.strip_prefix(mark).is_some_and(|rest| rest.starts_with(char::is_alphanumeric));
    let takes = rest.starts_with('(') || rest.starts_with(" [<") || ["<", " <", "["].into_iter().any(is_word_after);
    let rest = rest.strip_prefix('`').unwrap_or(rest);
    let is_told = rest.trim_end() == ":" || [" - ", " -- ", " – ", " — "].iter().any(|dash| rest.starts_with(dash));
    (takes || (is_told && !first.is_ascii_uppercase())).then_some(name)
}

/// A line without what makes it a point of a list: `- `, `* `, `1. `, `1) `, `(1) `.
fn unlisted(line: &str) -> &str {
    let number = line.strip_prefix('(').unwrap_or(line).trim_start_matches(|c: char| c.is_ascii_digit());
    let point = if number.len() < line.len() { number.strip_prefix(['.', ')']) } else { line.strip_prefix(['-', '*']) };
    point.and_then(|rest| rest.strip_prefix(' ')).map_or(line, str::trim_start)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_known_by_how_they_are_listed() {
        for line in [
            "open <path> [<line>] - opens a file",
            "  open <path>",
            "open:",
            "open: \t",
            "- open: ",
            "* `open <path>`: opens a file",
            "- `open`:",
            "1. open [<path>]",
            "(2) open[path], which opens a file",
            "12) open(path: str) -> str",
            "open - opens a file",
            "open -- opens a file",
            "open — opens a file",
        ] {
            assert_eq!(command(line), Some("open"), "{line}");
        }
        assert_eq!(command("Search[entity] looks it up"), Some("Search"));
        assert_eq!(command("    get_symbols [<path>]"), Some("get_symbols"));
    }

    #[test]
    fn other_lines_are_about_none() {
        for line in [
            "",
            "-",
            "`",
            "(",
            "open the file at the path",
            "Rules:",
            "Refunds - only within a day",
            "a rule: do not",
            "note: do not",
            "if x < 3",
            "12:",
            "- 12 - 13",
            "in:",
            "économie:",
            "well-known",
            "see [the page] of it",
        ] {
            assert_eq!(command(line), None, "{line}");
        }
        assert_eq!(commands("open:\n  open <path>\n").len(), 1);
    }
}
