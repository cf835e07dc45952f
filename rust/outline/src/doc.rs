//! The first line of a docstring or doc comment.

use std::ops::Range;

use tree_sitter::{Node, TreeCursor};

use crate::language::Language;

/// Of a Python body: of the string that it begins with.
pub(crate) fn of_body<'a>(source: &str, cursor: &mut TreeCursor<'a>, body: Node<'a>) -> Option<Range<u32>> {
    cursor.reset(body);
    // A comment may stand before it.
    let mut inside = cursor.goto_first_child();
    while inside && cursor.node().kind() == "comment" {
        inside = cursor.goto_next_sibling();
    }
    if !inside || cursor.node().kind() != "expression_statement" || !cursor.goto_first_child() {
        return None;
    }
    if cursor.node().kind() != "string" || !cursor.goto_first_child() || !cursor.goto_next_sibling() {
        return None;
    }
    let content = cursor.node();
    if content.kind() != "string_content" {
        return None;
    }
    first_line(source, content.byte_range(), |line| line.trim())
}

/// Of what stands above a definition: comments, attributes.
pub(crate) fn of_comments(source: &str, above: Range<usize>, language: Language) -> Option<Range<u32>> {
    if above.is_empty() {
        return None;
    }
    let text = source.get(above.clone())?;
    let opens: &[&str] = match language {
        Language::Rust => &["///", "/**"],
        Language::Go => &["//", "/*"],
        _ => &["/**"],
    };
    // The last comment of the kind that documents begins it; line comments go on from line to line.
    let mut begins = None;
    let mut offset = 0;
    let mut inside = false;
    for line in text.split_inclusive('\n') {
        let trimmed = line.trim_start();
        let starts = opens.iter().any(|open| trimmed.starts_with(open)) && !trimmed.starts_with("//go:");
        if starts && (begins.is_none() || trimmed.starts_with("/*") && !inside) {
            begins = Some(offset);
        }
        if trimmed.starts_with("/*") {
            inside = true;
        }
        if line.contains("*/") {
            inside = false;
        }
        offset += line.len();
    }
    let begins = above.start + begins?;
    first_line(source, begins..above.end, |line| {
        let line = line.trim().trim_start_matches(['/', '*', '!']).trim();
        line.strip_suffix("*/").unwrap_or(line).trim_end_matches('*').trim_end()
    })
}

/// The first line of which `clean` leaves something.
fn first_line(source: &str, range: Range<usize>, clean: impl Fn(&str) -> &str) -> Option<Range<u32>> {
    let text = source.get(range.clone())?;
    text.lines().map(clean).find(|line| !line.is_empty()).map(|line| {
        let start = line.as_ptr() as usize - source.as_ptr() as usize;
        start as u32..(start + line.len()) as u32
    })
}
