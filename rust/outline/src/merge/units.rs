//! A source as a sequence of parts of whole lines: its symbols, imports, statements and comments, and those inside classes and the like.

use std::collections::HashMap;

use tree_sitter::{Node, Tree};

use super::imports::{EXPORTS, List};
use super::order::{Item, Part};
use crate::kind::Kind;
use crate::outline::{Outline, Symbol};

/// Classes inside classes are taken apart to this depth.
const DEEPEST: usize = 8;

/// A part: whole lines. Its neighbours and its `inside` share none of them.
pub(super) struct Unit<'a> {
    /// By what it is found in the other versions; unique among its neighbours.
    pub(super) key: String,
    pub(super) part: Part,
    /// Blank lines, and the comments that stand directly above.
    pub(super) lead: &'a str,
    pub(super) body: &'a str,
    pub(super) inside: Option<Inside<'a>>,
}

impl<'a> Unit<'a> {
    pub(super) fn import(&self) -> Option<List<'a>> {
        let has_names = self.part == Part::Import || self.name() == EXPORTS;
        has_names.then(|| List::parse(self.body)).flatten()
    }

    /// How it is called in a report.
    pub(super) fn name(&self) -> &str {
        match self.part {
            Part::Symbol => self.key.split('#').next().unwrap_or_default(),
            Part::Import | Part::Other => "",
        }
    }
}

/// What stands between the first and the last line of a class, or in a whole file.
pub(super) struct Inside<'a> {
    pub(super) head: &'a str,
    /// The text of the units.
    pub(super) body: &'a str,
    pub(super) units: Vec<Unit<'a>>,
    pub(super) foot: &'a str,
}

impl Inside<'_> {
    pub(super) fn items(&self) -> Vec<Item<'_>> {
        self.units.iter().map(|unit| Item { key: &unit.key, part: unit.part }).collect()
    }
}

/// Cuts a source whose lines end in a line feed. O(nodes at the levels that are cut).
pub(super) fn cut<'a>(source: &'a str, tree: &Tree, outline: &Outline) -> Inside<'a> {
    let (units, foot) = Cutter { source, outline }.units(tree.root_node(), 0, source.len(), 0);
    Inside { head: "", body: &source[..foot], units, foot: &source[foot..] }
}

struct Cutter<'a, 'o> {
    source: &'a str,
    outline: &'o Outline,
}

/// Where a part begins and ends, before it has a name.
struct Stretch<'t> {
    start: usize,
    end: usize,
    nodes: Vec<Node<'t>>,
}

impl<'a> Cutter<'a, '_> {
    /// The parts of the lines from `start` to `end`, and where what follows the last begins.
    fn units(&self, parent: Node<'_>, start: usize, end: usize, depth: usize) -> (Vec<Unit<'a>>, usize) {
        let mut units = Vec::new();
        let mut counts: HashMap<String, usize> = HashMap::new();
        let mut at = start;
        for stretch in self.stretches(parent, start, end) {
            let lead = self.free_comments(at, stretch.start, &mut units, &mut counts);
            let unit = self.unit(&stretch, lead, depth, &mut counts);
            at = stretch.end;
            units.push(unit);
        }
        let foot = self.free_comments(at, end, &mut units, &mut counts);
        (units, foot)
    }

    /// Nodes with the lines they stand on; those that share a line are one.
    fn stretches<'t>(&self, parent: Node<'t>, start: usize, end: usize) -> Vec<Stretch<'t>> {
        let mut stretches: Vec<Stretch<'t>> = Vec::new();
        let mut attributes: Option<usize> = None;
        let mut cursor = parent.walk();
        for node in parent.named_children(&mut cursor) {
            if node.is_extra() && node.kind().contains("comment") {
                continue;
            }
            if node.kind() == "attribute_item" {
                attributes.get_or_insert(node.start_byte());
                continue;
            }
            let from = self.line_start(attributes.take().unwrap_or(node.start_byte())).max(start);
            let to = self.line_end(node.end_byte()).min(end);
            match stretches.last_mut().filter(|last| from < last.end) {
                Some(last) => {
                    last.end = last.end.max(to);
                    last.nodes.push(node);
                }
                None if from < to => stretches.push(Stretch { start: from, end: to, nodes: vec![node] }),
                None => {}
            }
        }
        stretches
    }

    /// Comments that a blank line parts from what follows are parts of their own. Returns where the lead of what follows begins.
    fn free_comments(
        &self,
        start: usize,
        end: usize,
        units: &mut Vec<Unit<'a>>,
        counts: &mut HashMap<String, usize>,
    ) -> usize {
        let mut at = start;
        let mut text = start;
        let mut line = start;
        let mut in_comment = false;
        for piece in self.source[start..end].split_inclusive('\n') {
            let is_blank = piece.trim().is_empty();
            if is_blank && in_comment {
                let body = &self.source[text..line];
                let key = numbered(&format!("o:{body}"), counts);
                units.push(Unit { key, part: Part::Other, lead: &self.source[at..text], body, inside: None });
                at = line;
            } else if !is_blank && !in_comment {
                text = line;
            }
            in_comment = !is_blank;
            line += piece.len();
        }
        at
    }

    fn unit(&self, stretch: &Stretch<'_>, lead: usize, depth: usize, counts: &mut HashMap<String, usize>) -> Unit<'a> {
        let Stretch { start, end, nodes } = stretch;
        let (lead, body) = (&self.source[lead..*start], &self.source[*start..*end]);
        if let ([symbol], [node]) = (self.outermost(*start, *end).as_slice(), nodes.as_slice()) {
            // A method of Go stands at the top, and a member is not another one for a new name of its class.
            let name = if depth == 0 { &symbol.name_path } else { symbol.name() };
            let key = numbered(&name.replace('#', ""), counts);
            let can_open = depth < DEEPEST && holds(symbol.kind);
            let inside = can_open.then(|| self.inside(*node, *start, *end, depth)).flatten();
            return Unit { key, part: Part::Symbol, lead, body, inside };
        }
        let is_import = nodes.iter().all(|node| is_import(node.kind())) && nodes.len() == 1;
        let (part, key) = match (is_import, List::parse(body).filter(|_| is_import)) {
            (true, Some(list)) => (Part::Import, format!("i:{}", list.key())),
            (true, None) => (Part::Import, format!("i:{}", body.trim_end())),
            (false, _) => (Part::Other, format!("o:{body}")),
        };
        Unit { key: numbered(&key, counts), part, lead, body, inside: None }
    }

    /// The symbols that start between, and are in no other that does.
    fn outermost(&self, start: usize, end: usize) -> Vec<&Symbol> {
        let symbols = &self.outline.symbols;
        let first = symbols.partition_point(|symbol| (symbol.head as usize) < start);
        let found = symbols[first..].iter().take_while(|symbol| (symbol.head as usize) < end);
        let is_inside = |symbol: &&Symbol| {
            symbol.parent.is_some_and(|parent| (start..end).contains(&(symbols[parent as usize].head as usize)))
        };
        found.filter(|symbol| !is_inside(symbol)).collect()
    }

    /// What is inside a class whose first and last lines hold nothing of it.
    fn inside(&self, node: Node<'_>, start: usize, end: usize, depth: usize) -> Option<Inside<'a>> {
        let body = body_of(node)?;
        let first = body.named_child(0)?.start_byte();
        let open = body.child(0).filter(|child| !child.is_named()).map_or(body.start_byte(), |child| child.end_byte());
        // The comments above a first member are inside, and no child of a Python block.
        let from = if open > body.start_byte() { self.line_end(open) } else { self.after_header(node, first) };
        let to = match body.child(body.child_count().checked_sub(1)? as _).filter(|last| !last.is_named()) {
            Some(close) => self.line_start(close.start_byte()),
            None => end,
        };
        if !(start < from && from <= self.line_start(first) && from < to && to <= end) {
            return None;
        }
        let (units, foot) = self.units(body, from, to, depth + 1);
        Some(Inside {
            head: &self.source[start..from],
            body: &self.source[from..foot],
            units,
            foot: &self.source[foot..end],
        })
    }

    /// The line after the one a Python class's colon is on.
    fn after_header(&self, node: Node<'_>, first: usize) -> usize {
        let definition = node.child_by_field_name("definition").unwrap_or(node);
        let mut cursor = definition.walk();
        let colon = definition.children(&mut cursor).filter(|child| child.kind() == ":").last();
        colon.map_or(first, |colon| self.line_end(colon.end_byte()))
    }

    fn line_start(&self, at: usize) -> usize {
        self.source.as_bytes()[..at].iter().rposition(|&byte| byte == b'\n').map_or(0, |found| found + 1)
    }

    /// After the line that the character before `at` is on.
    fn line_end(&self, at: usize) -> usize {
        let bytes = self.source.as_bytes();
        if at > 0 && bytes[at - 1] == b'\n' {
            return at;
        }
        bytes[at..].iter().position(|&byte| byte == b'\n').map_or(bytes.len(), |found| at + found + 1)
    }
}

/// The same text twice makes two keys.
fn numbered(key: &str, counts: &mut HashMap<String, usize>) -> String {
    let count = counts.entry(key.to_owned()).or_default();
    *count += 1;
    format!("{key}#{count}")
}

const fn holds(kind: Kind) -> bool {
    matches!(kind, Kind::Class | Kind::Struct | Kind::Enum | Kind::Interface | Kind::Impl | Kind::Namespace)
}

/// The node that holds the members, through decorators and exports.
fn body_of(node: Node<'_>) -> Option<Node<'_>> {
    let mut node = node;
    for _ in 0..4 {
        if let Some(body) = node.child_by_field_name("body") {
            return Some(body);
        }
        node = node
            .child_by_field_name("definition")
            .or_else(|| node.child_by_field_name("declaration"))
            .or_else(|| node.named_child(0))?;
    }
    None
}

fn is_import(kind: &str) -> bool {
    matches!(
        kind,
        "import_statement"
            | "import_from_statement"
            | "future_import_statement"
            | "use_declaration"
            | "extern_crate_declaration"
            | "import_declaration"
    )
}
