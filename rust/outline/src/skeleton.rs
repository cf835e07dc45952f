//! A source without what its functions do: signatures and first docstring lines, and whole what is asked for.
//!
//! The text is cut, not written anew: what is left stands as it stood, and parses as the source did.

use std::ops::Range;

use crate::kind::Kind;
use crate::language::Language;
use crate::outline::{Outline, Symbol};
use crate::rules::{Rule, Table};

/// A source cut down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Skeleton {
    pub text: String,
    /// The name paths of the symbols that are whole, as was asked.
    pub kept: Vec<Box<str>>,
    /// How many bodies were left out.
    pub elided: usize,
}

/// A body of fewer bytes is left as it is: a marker would hardly be shorter.
const SHORT: usize = 24;

/// A cut, and what stands in its place.
struct Cut {
    range: Range<usize>,
    with: String,
}

/// `keep`: symbols whose bodies stay, by name path or the end of one; with a class, its methods.
pub(crate) fn skeleton(source: &str, outline: &Outline, keep: &[&str]) -> Skeleton {
    let kept = kept(outline, keep);
    let mut cuts = Vec::new();
    let mut elided = 0;
    let mut done = 0;
    for (at, symbol) in outline.symbols.iter().enumerate() {
        let Some(body) = &symbol.body else { continue };
        let body = body.start as usize..body.end as usize;
        if kept[at] || body.start < done || body.len() < SHORT || body.end <= body.start {
            continue;
        }
        if cut_body(source, outline, at, &body, &kept, &mut cuts) {
            elided += 1;
            done = body.end;
        }
    }
    comments(source, outline, &kept, &mut cuts);
    let kept = outline.symbols.iter().zip(&kept).filter(|(_, kept)| **kept);
    let kept = kept.map(|(symbol, _)| symbol.name_path.clone()).collect();
    Skeleton { text: apply(source, cuts), kept, elided }
}

fn kept(outline: &Outline, keep: &[&str]) -> Vec<bool> {
    let mut kept = vec![false; outline.symbols.len()];
    for (at, symbol) in outline.symbols.iter().enumerate() {
        let path = &*symbol.name_path;
        let named = |name: &&str| {
            path == *name || path.strip_suffix(name).is_some_and(|outer| outer.ends_with('.') && !name.is_empty())
        };
        kept[at] = symbol.parent.is_some_and(|parent| kept[parent as usize]) || keep.iter().any(named);
    }
    kept
}

/// Cuts a body around the symbols in it that are kept; says whether that can be done so that what is left parses.
fn cut_body(
    source: &str,
    outline: &Outline,
    at: usize,
    body: &Range<usize>,
    kept: &[bool],
    cuts: &mut Vec<Cut>,
) -> bool {
    let is_python = outline.language == Language::Python;
    let indent = &source[line_start(source, body.start)..body.start];
    let own_line = indent.trim().is_empty();
    let inside = outline.symbols[at + 1..].iter().zip(&kept[at + 1..]);
    let inside = inside.take_while(|(symbol, _)| (symbol.range.start as usize) < body.end);
    let mut outermost: Vec<&Symbol> = Vec::new();
    for (symbol, _) in inside.filter(|(_, kept)| **kept) {
        if outermost.last().is_none_or(|last| last.range.end <= symbol.range.start) {
            outermost.push(symbol);
        }
    }
    let fits = |symbol: &&Symbol| {
        let start = symbol.range.start as usize;
        let before = &source[line_start(source, start)..start];
        let is_statement =
            !outline.language.is_script() || STATEMENTS.iter().any(|word| source[start..].starts_with(word));
        if is_python { own_line && before == indent } else { before.trim().is_empty() && is_statement }
    };
    let literal = outline.symbols[at].kind == Kind::Variable;
    if !outermost.iter().all(fits) || (literal && !outermost.is_empty()) {
        return false;
    }
    // A body that is being typed may not be closed yet: what it will end in is not known.
    let braces = !literal && !is_python;
    if braces && !(source[body.clone()].starts_with('{') && source[body.clone()].ends_with('}')) {
        return false;
    }
    let doc = is_python.then(|| one_line(&source[body.clone()])).flatten();
    let mut with = match (literal, is_python, doc) {
        (true, false, _) => " /* ... */ ".to_owned(),
        (false, true, Some((_, line))) if own_line => format!("{line}\n{indent}..."),
        (false, false, _) => "{ /* ... */".to_owned(),
        _ => "...".to_owned(),
    };
    let mut start = body.start;
    for symbol in outermost {
        let next = symbol.range.start as usize;
        with.push('\n');
        with.push_str(&source[line_start(source, next)..next]);
        cuts.push(Cut { range: start..next, with: std::mem::take(&mut with) });
        start = symbol.range.end as usize;
    }
    let end = if braces { body.end - 1 } else { body.end };
    if braces {
        with.push(' ');
    }
    cuts.push(Cut { range: start..end.max(start), with });
    true
}

/// What statements of a script begin with that define something.
const STATEMENTS: [&str; 8] = ["function", "async", "class", "const", "let", "var", "//", "/*"];

/// Of Python's text that begins with a string: where that ends, and its first line that is not blank as a string of its own.
fn one_line(text: &str) -> Option<(usize, String)> {
    let opens = text.find(['"', '\'']).filter(|at| text[..*at].bytes().all(|byte| byte.is_ascii_alphabetic()))?;
    let quote = ["\"\"\"", "\'\'\'", "\"", "'"].into_iter().find(|quote| text[opens..].starts_with(quote))?;
    let content = &text[opens + quote.len()..];
    let mut escaped = false;
    let closes = content.char_indices().find(|(at, letter)| {
        let ends = !escaped && content[*at..].starts_with(quote);
        escaped = !escaped && *letter == '\\';
        ends
    })?;
    let line = content[..closes.0].lines().map(str::trim).find(|line| !line.is_empty())?;
    // A line that ends in a quote or a backslash would not end where it seems to.
    let line = line.trim_end_matches(['\\', '"', '\'']);
    let end = opens + quote.len() + closes.0 + quote.len();
    Some((end, format!("{}{quote}{line}{quote}", &text[..opens])))
}

/// Cuts comments, but for the line that documents a symbol, and the further lines of docstrings. What is cut already, and what is kept whole,
/// stays as it is.
fn comments(source: &str, outline: &Outline, kept: &[bool], cuts: &mut Vec<Cut>) {
    let table = Table::of(outline.language);
    let is_python = outline.language == Language::Python;
    let whole = outline.symbols.iter().zip(kept).filter(|(_, kept)| **kept).map(|(symbol, _)| &symbol.range);
    let mut taken: Vec<Range<usize>> = whole.map(|range| range.start as usize..range.end as usize).collect();
    taken.extend(cuts.iter().map(|cut| cut.range.clone()));
    taken.sort_unstable_by_key(|range| range.start);
    let mut taken = taken.into_iter().peekable();
    // Signatures stay as they stand, comments among parameters too.
    let shown = outline.symbols.iter().filter(|symbol| symbol.kind.is_callable() || symbol.kind.has_methods());
    let shown: Vec<&Range<u32>> = shown.map(|symbol| &symbol.signature).collect();
    let is_shown = |range: &Range<usize>| {
        let before = shown.partition_point(|signature| (signature.start as usize) <= range.start);
        before.checked_sub(1).is_some_and(|at| range.end <= shown[at].end as usize)
    };
    let docs = outline.symbols.iter().filter_map(|symbol| symbol.docstring.as_ref());
    let mut docs: Vec<Range<usize>> = docs.map(|range| range.start as usize..range.end as usize).collect();
    docs.sort_unstable_by_key(|range| range.start);
    let mut until = 0;
    let mut cursor = outline.tree.walk();
    loop {
        let node = cursor.node();
        let range = node.byte_range();
        while let Some(range) = taken.next_if(|taken| taken.start <= range.start) {
            until = range.end.max(until);
        }
        let mut look_inside = range.end > until;
        if range.start >= until && table.rule(node.kind_id()) == Rule::Comment {
            look_inside = false;
            let first = docs.partition_point(|doc| doc.start < range.start);
            let doc = docs.get(first).filter(|doc| doc.end <= range.end);
            let text = &source[range.clone()];
            if !DIRECTIVES.iter().any(|sign| text.starts_with(sign)) && !is_shown(&range) {
                cuts.push(cut_comment(source, &range, doc));
            }
        } else if is_python
            && range.start >= until
            && node.kind() == "expression_statement"
            && let Some((end, with)) = one_line(&source[range.clone()]).filter(|(end, _)| *end == range.len())
        {
            cuts.push(Cut { range: range.start..range.start + end, with });
        }
        if look_inside && cursor.goto_first_child() {
            continue;
        }
        while !cursor.goto_next_sibling() {
            if !cursor.goto_parent() {
                return;
            }
        }
    }
}

/// Comments that tools obey.
const DIRECTIVES: [&str; 3] = ["#!", "//go:", "// +build"];

fn cut_comment(source: &str, range: &Range<usize>, doc: Option<&Range<usize>>) -> Cut {
    let text = &source[range.clone()];
    let ends = if text.ends_with('\n') { "\n" } else { "" };
    if let Some(doc) = doc {
        let line = &source[doc.clone()];
        let sign =
            ["///", "//!", "//", "/**", "/*"].into_iter().find(|sign| text.starts_with(sign)).unwrap_or_default();
        let with = if sign.starts_with("/*") { format!("{sign} {line} */") } else { format!("{sign} {line}{ends}") };
        return Cut { range: range.clone(), with };
    }
    // The white space before it goes along; with a comment that has the line for itself, the line.
    let first = line_start(source, range.start);
    let blank = source[first..range.start].trim().is_empty();
    let start = if blank { first } else { first + source[first..range.start].trim_end().len() };
    let end = if blank && ends.is_empty() && source[range.end..].starts_with('\n') { range.end + 1 } else { range.end };
    Cut { range: start..end, with: if blank { String::new() } else { ends.to_owned() } }
}

fn line_start(source: &str, at: usize) -> usize {
    source[..at].rfind('\n').map_or(0, |end| end + 1)
}

/// The source with the cuts made; where one took lines out, no blank line more than one is left.
fn apply(source: &str, mut cuts: Vec<Cut>) -> String {
    cuts.sort_by_key(|cut| (cut.range.start, cut.range.end));
    let mut text = String::with_capacity(source.len() / 2);
    let mut start = 0;
    let push = |text: &mut String, mut piece: &str, after: bool| {
        while after && piece.starts_with('\n') && (text.is_empty() || text.ends_with("\n\n")) {
            piece = &piece[1..];
        }
        text.push_str(piece);
    };
    let mut after = false;
    for cut in cuts {
        if cut.range.start < start {
            continue;
        }
        push(&mut text, &source[start..cut.range.start], after);
        text.push_str(&cut.with);
        start = cut.range.end;
        after = cut.with.is_empty();
    }
    push(&mut text, &source[start..], after);
    text
}
