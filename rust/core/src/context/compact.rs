//! JSON in fewer tokens, with nothing lost: keys without quotes, lists of like objects as tables. Text in, text out.
//!
//! | line | is |
//! |---|---|
//! | `key: value, key: value` | members of an object; the next line of the same depth goes on with it |
//! | `key:` | a member whose value is the block below, one space deeper |
//! | `- a, b, c` | items of a list |
//! | `-` | an item that is the block below |
//! | `[3 rows; date: 2024-05-20]` | a list of objects: what all rows have, then a line with the other keys, then a row a line |
//! | `[8 rows in 4 lists]` | a list of lists of objects; the first column is the number of the list |
//!
//! A string stands without quotes where it cannot be taken for anything else, every other scalar as it came: numbers
//! keep each digit. The keys of an object in an object of a row are joined by a dot.

use std::borrow::Cow;
use std::ops::{Deref, DerefMut};

use super::json::{Node, is_number, parse};
use super::outliers::outliers;

/// A list or an object of so many bytes, compact, stands on the line of its key.
const INLINE_LIST: usize = 160;
const INLINE_OBJECT: usize = 64;
/// A line of members or items ends after so many bytes: what is cut later is cut by lines.
const LINE: usize = 120;
/// More columns than that make no table that anyone can read.
const COLUMNS: usize = 64;

/// What speaks for lines of a table, in tenths: its heads, its first and last row, and rows that are not like the others.
const TABLE: u8 = 10;
const EDGE: u8 = 3;
const OUTLIER: u8 = 8;

/// The JSON document `text` in lines; None where it is no list or object, or nothing that this form can hold.
pub fn compact(text: &str) -> Option<String> {
    marked(text).map(|out| out.text)
}

/// The compact form, and what speaks for its lines.
pub(super) fn marked(text: &str) -> Option<Compact> {
    let node = parse(text)?;
    if matches!(node, Node::Scalar(_)) {
        return None;
    }
    let mut out = Compact { text: String::with_capacity(text.len()), marks: Vec::new() };
    block(&node, 0, &mut out)?;
    out.pop(); // the last line end
    (!out.is_empty()).then_some(out)
}

/// A document that is being written, and of some lines where they begin and what speaks for them, in tenths.
pub(super) struct Compact {
    pub(super) text: String,
    pub(super) marks: Vec<(u32, u8)>,
}

impl Compact {
    fn mark(&mut self, worth: u8) {
        self.marks.push((u32::try_from(self.text.len()).unwrap_or(u32::MAX), worth));
    }
}

impl Deref for Compact {
    type Target = String;

    fn deref(&self) -> &String {
        &self.text
    }
}

impl DerefMut for Compact {
    fn deref_mut(&mut self) -> &mut String {
        &mut self.text
    }
}

fn indent(depth: usize, out: &mut String) {
    out.extend(std::iter::repeat_n(' ', depth));
}

/// Writes a list or an object that is not empty in lines of their own.
fn block(node: &Node<'_>, depth: usize, out: &mut Compact) -> Option<()> {
    match node {
        Node::Object(members) => object(members, depth, out),
        Node::List(items) => match Table::of(items) {
            Some(table) => {
                table.write(depth, out);
                Some(())
            }
            None => list(items, depth, out),
        },
        Node::Scalar(_) => None,
    }
}

fn object(members: &[(&str, Node<'_>)], depth: usize, out: &mut Compact) -> Option<()> {
    let mut open = 0; // bytes of the line that is being written
    for (key, value) in members {
        let key = plain_key(key);
        let Some(text) = short(value) else {
            if open > 0 {
                out.push('\n');
                open = 0;
            }
            indent(depth, out);
            out.push_str(key);
            out.push_str(":\n");
            block(value, depth + 1, out)?;
            continue;
        };
        if open > LINE {
            out.push('\n');
            open = 0;
        }
        if open == 0 {
            indent(depth, out);
        } else {
            out.push_str(", ");
        }
        out.push_str(key);
        out.push_str(": ");
        out.push_str(&text);
        open += key.len() + text.len() + 4;
    }
    if open > 0 {
        out.push('\n');
    }
    Some(())
}

fn list(items: &[Node<'_>], depth: usize, out: &mut Compact) -> Option<()> {
    let mut open = 0;
    for item in items {
        let text = short(item);
        if open > 0 && (open > LINE || text.is_none()) {
            out.push('\n');
            open = 0;
        }
        if open == 0 {
            indent(depth, out);
            out.push('-');
        } else {
            out.push(',');
        }
        if let Some(text) = text {
            out.push(' ');
            out.push_str(&text);
            open += text.len() + 2;
        } else {
            out.push('\n');
            block(item, depth + 1, out)?;
        }
    }
    if open > 0 {
        out.push('\n');
    }
    Some(())
}

/// What stands on one line with others: scalars, and lists and objects that are short.
fn short(node: &Node<'_>) -> Option<String> {
    match node {
        Node::Scalar(_) => Some(inline(node)),
        Node::List(items) => {
            // A list of objects is better as a table.
            let flat = items.iter().all(|item| matches!(item, Node::Scalar(_)));
            let text = (flat || items.len() < 2).then(|| inline(node))?;
            (text.len() <= INLINE_LIST).then_some(text)
        }
        Node::Object(members) => {
            let flat = members.iter().all(|(_, value)| matches!(value, Node::Scalar(_)));
            let text = flat.then(|| inline(node))?;
            (text.len() <= INLINE_OBJECT || members.is_empty()).then_some(text)
        }
    }
}

/// A value on a line: strings without quotes where they may.
fn inline(node: &Node<'_>) -> String {
    let mut out = String::new();
    write_inline(node, &mut out);
    out
}

fn write_inline(node: &Node<'_>, out: &mut String) {
    match node {
        Node::Scalar(raw) => out.push_str(plain_flow(raw)),
        Node::List(items) => {
            out.push('[');
            for (at, item) in items.iter().enumerate() {
                if at > 0 {
                    out.push_str(", ");
                }
                write_inline(item, out);
            }
            out.push(']');
        }
        Node::Object(members) => {
            out.push('{');
            for (at, (key, value)) in members.iter().enumerate() {
                if at > 0 {
                    out.push_str(", ");
                }
                out.push_str(plain_key(key));
                out.push_str(": ");
                write_inline(value, out);
            }
            out.push('}');
        }
    }
}

/// A list of objects with the same keys, or of lists of such.
struct Table<'a> {
    lists: Option<usize>,
    columns: Vec<String>,
    /// Of each row as many cells as there are columns.
    rows: Vec<Vec<Cell<'a>>>,
}

#[derive(PartialEq)]
enum Cell<'a> {
    Of(&'a Node<'a>),
    Number(usize),
}

impl<'a> Table<'a> {
    fn of(items: &'a [Node<'a>]) -> Option<Self> {
        let mut table = Self { lists: None, columns: Vec::new(), rows: Vec::new() };
        if items.iter().all(|item| matches!(item, Node::Object(_))) {
            for item in items {
                table.push(None, item)?;
            }
        } else {
            for (number, item) in items.iter().enumerate() {
                let Node::List(inner) = item else { return None };
                if inner.is_empty() {
                    return None;
                }
                for row in inner {
                    table.push(Some(number), row)?;
                }
            }
            table.lists = Some(items.len());
        }
        (table.rows.len() > 1 && table.columns.len() > usize::from(table.lists.is_some())).then_some(table)
    }

    fn push(&mut self, number: Option<usize>, item: &'a Node<'a>) -> Option<()> {
        let Node::Object(members) = item else { return None };
        let mut columns = Vec::with_capacity(self.columns.len());
        let mut cells = Vec::with_capacity(self.columns.len());
        if let Some(number) = number {
            columns.push("#".to_owned());
            cells.push(Cell::Number(number));
        }
        flatten(members, "", &mut columns, &mut cells)?;
        if self.rows.is_empty() {
            self.columns = columns;
        } else if self.columns != columns {
            return None;
        }
        self.rows.push(cells);
        Some(())
    }

    fn write(&self, depth: usize, out: &mut Compact) {
        let first = &self.rows[0];
        let common: Vec<bool> =
            (0..self.columns.len()).map(|at| self.rows.iter().all(|row| row[at] == first[at])).collect();
        out.mark(TABLE);
        indent(depth, out);
        out.push('[');
        out.push_str(&self.rows.len().to_string());
        out.push_str(" rows");
        if let Some(lists) = self.lists {
            out.push_str(" in ");
            out.push_str(&lists.to_string());
            out.push_str(" lists");
        }
        let mut mark = "; ";
        for (at, name) in self.columns.iter().enumerate() {
            if let (true, Cell::Of(node)) = (common[at], &first[at]) {
                out.push_str(mark);
                out.push_str(name);
                out.push_str(": ");
                write_inline(node, out);
                mark = ", ";
            }
        }
        out.push_str("]\n");
        let varied: Vec<usize> =
            (0..self.columns.len()).filter(|&at| !common[at] || matches!(first[at], Cell::Number(_))).collect();
        let line = |cells: &mut dyn Iterator<Item = &str>, out: &mut String| {
            indent(depth, out);
            for (at, cell) in cells.enumerate() {
                if at > 0 {
                    out.push('|');
                }
                out.push_str(cell);
            }
            out.push('\n');
        };
        out.mark(TABLE);
        line(&mut varied.iter().map(|&at| self.columns[at].as_str()), out);
        let cells: Vec<Vec<Cow<'_, str>>> =
            self.rows.iter().map(|row| varied.iter().map(|&at| row[at].text()).collect()).collect();
        let texts: Vec<Vec<&str>> = cells.iter().map(|row| row.iter().map(AsRef::as_ref).collect()).collect();
        for (at, (row, is_outlier)) in texts.iter().zip(outliers(&texts)).enumerate() {
            if is_outlier {
                out.mark(OUTLIER);
            } else if at == 0 || at + 1 == texts.len() {
                out.mark(EDGE);
            }
            line(&mut row.iter().copied(), out);
        }
    }
}

impl<'a> Cell<'a> {
    fn text(&self) -> Cow<'a, str> {
        match self {
            Self::Number(number) => number.to_string().into(),
            Self::Of(Node::Scalar(raw)) => plain_cell(raw).into(),
            Self::Of(node) => inline(node).into(),
        }
    }
}

/// The members of a row, those of objects in it joined to them.
fn flatten<'a>(
    members: &'a [(&'a str, Node<'a>)],
    before: &str,
    columns: &mut Vec<String>,
    cells: &mut Vec<Cell<'a>>,
) -> Option<()> {
    for (key, value) in members {
        let key = plain_key(key);
        if key.starts_with('"') || key.contains('.') || columns.len() >= COLUMNS {
            return None;
        }
        let name = format!("{before}{key}");
        match value {
            Node::Object(inner) if !inner.is_empty() => flatten(inner, &format!("{name}."), columns, cells)?,
            Node::Object(_) | Node::List(_) if has_bar(value) => return None,
            Node::Scalar(raw) if raw.contains('|') => return None,
            _ => {
                columns.push(name);
                cells.push(Cell::Of(value));
            }
        }
    }
    Some(())
}

fn has_bar(node: &Node<'_>) -> bool {
    match node {
        Node::Scalar(raw) => raw.contains('|'),
        Node::List(items) => items.iter().any(has_bar),
        Node::Object(members) => members.iter().any(|(key, value)| key.contains('|') || has_bar(value)),
    }
}

/// A key without its quotes where that is no other key.
fn plain_key(raw: &str) -> &str {
    let bare = &raw[1..raw.len() - 1];
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'$' | b'@' | b'/' | b'-');
    if !bare.is_empty() && !bare.starts_with('-') && bare.bytes().all(plain) { bare } else { raw }
}

/// What is in the quotes of a string that could not be taken for another scalar; None for all else.
fn bare(raw: &str) -> Option<&str> {
    let bare = raw.strip_prefix('"')?.strip_suffix('"')?;
    let (first, last) = (bare.chars().next()?, bare.chars().next_back()?);
    let free = !first.is_whitespace()
        && !last.is_whitespace()
        && !matches!(first, '"' | '[' | '{')
        && !bare.contains(['\\', '\u{2028}', '\u{2029}', '\u{85}'])
        && !matches!(bare, "true" | "false" | "null")
        && !is_number(bare);
    free.then_some(bare)
}

fn plain_cell(raw: &str) -> &str {
    bare(raw).unwrap_or(raw)
}

fn plain_flow(raw: &str) -> &str {
    match bare(raw) {
        Some(bare)
            if !bare.contains(", ")
                && !bare.contains(": ")
                && !bare.ends_with([',', ':'])
                && !bare.contains(['}', ']']) =>
        {
            bare
        }
        _ => raw,
    }
}
