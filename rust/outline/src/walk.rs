//! Reads a tree's symbols in one pass, without recursion, and without a look at what can hold none.

use std::ops::Range;

use tree_sitter::{Node, Tree, TreeCursor};

use crate::doc;
use crate::kind::Kind;
use crate::language::Language;
use crate::outline::{Outline, Symbol, text};
use crate::rules::{Rule, Shape, Table};

/// Symbols inside more symbols than this are part of the innermost of them: name paths stay short.
const MAX_NESTING: usize = 32;
/// A name of more bytes makes no symbol.
const MAX_NAME: usize = 256;
/// The inside of a longer literal is left out of skeletons.
const LONG_LITERAL: usize = 160;

pub(crate) fn outline(source: &str, language: Language, tree: Tree) -> Outline {
    let symbols = symbols(source, language, &tree);
    Outline { language, symbols, has_errors: tree.root_node().has_error(), tree }
}

fn symbols(source: &str, language: Language, tree: &Tree) -> Vec<Symbol> {
    let root = tree.root_node();
    let mut walk = Walk {
        source,
        language,
        table: Table::of(language),
        inner: root.walk(),
        symbols: Vec::new(),
        scopes: Vec::new(),
        above: None,
        wrap: None,
    };
    walk.run(root.walk());
    walk.symbols
}

/// Comments and attributes that a definition may follow directly.
#[derive(Clone, Copy)]
struct Above {
    start: usize,
    /// Where the first that is code starts.
    code: Option<usize>,
    end_row: usize,
}

/// A node that may be the outside of a definition.
#[derive(Clone, Copy)]
struct Wrapping {
    depth: usize,
    /// Where the comments and attributes above it start.
    start: usize,
    /// Where the first of these that is code does.
    head: usize,
    /// Where the node itself does.
    first: usize,
    end: usize,
    end_row: usize,
    exports: bool,
}

struct Walk<'a> {
    source: &'a str,
    language: Language,
    table: &'static Table,
    inner: TreeCursor<'a>,
    symbols: Vec<Symbol>,
    /// The symbols that hold the node at hand, and their depths.
    scopes: Vec<(usize, u32)>,
    above: Option<Above>,
    wrap: Option<Wrapping>,
}

/// What the children of a definition say.
#[derive(Default)]
struct Parts<'a> {
    name: Option<Node<'a>>,
    body: Option<Node<'a>>,
    value: Option<Node<'a>>,
    kind: Option<Node<'a>>,
    of_trait: Option<Node<'a>>,
    receiver: Option<Node<'a>>,
    /// Where the last child before the body ends that is no comment, nor the colon before it.
    before_body: usize,
}

impl<'a> Walk<'a> {
    fn run(&mut self, mut cursor: TreeCursor<'a>) {
        let mut depth = 0;
        loop {
            if self.visit(cursor.node(), depth) && cursor.goto_first_child() {
                depth += 1;
                self.above = None;
                continue;
            }
            while !cursor.goto_next_sibling() {
                if !cursor.goto_parent() {
                    return;
                }
                depth -= 1;
                self.above = None;
            }
        }
    }

    /// Whether to look inside.
    fn visit(&mut self, node: Node<'a>, depth: usize) -> bool {
        let rule = self.table.rule(node.kind_id());
        if rule == Rule::Skip {
            if node.is_named() {
                self.above = None;
            }
            return false;
        }
        if rule == Rule::Comment || rule == Rule::Attribute {
            self.note(node, rule == Rule::Attribute);
            return false;
        }
        while self.scopes.last().is_some_and(|scope| scope.0 >= depth) {
            self.scopes.pop();
        }
        let above = self.above.take().filter(|above| above.end_row + 1 >= node.start_position().row);
        let wrap = self.wrap.filter(|wrap| wrap.depth + 1 == depth && node.end_byte() <= wrap.end);
        let own = Wrapping {
            depth,
            start: above.map_or(node.start_byte(), |above| above.start),
            head: above.and_then(|above| above.code).unwrap_or(node.start_byte()),
            first: node.start_byte(),
            end: node.end_byte(),
            end_row: node.end_position().row,
            exports: rule == Rule::Wrap,
        };
        // What wraps a wrapping wraps what is inside it.
        let outside = wrap.map_or(own, |wrap| Wrapping { depth, ..wrap });
        match rule {
            Rule::Wrap => self.wrap = Some(outside),
            Rule::WrapOne => self.wrap = (node.named_child_count() == 1).then_some(outside),
            Rule::Define(kind, shape) => {
                self.wrap = None;
                self.define(node, kind, shape, depth, outside);
            }
            Rule::Value(kind) => {
                if wrap.is_some_and(|wrap| wrap.exports) {
                    self.define_default(node, kind, depth, outside);
                }
                self.wrap = None;
            }
            _ => {}
        }
        true
    }

    fn note(&mut self, node: Node<'a>, is_code: bool) {
        let (start, end) = (node.start_position(), node.end_position());
        let line = &self.source.as_bytes()[node.start_byte().saturating_sub(start.column)..node.start_byte()];
        if !is_code && !line.iter().all(u8::is_ascii_whitespace) {
            self.above = None; // it belongs to what stands before it on its line
            return;
        }
        let joined = self.above.filter(|above| above.end_row + 1 >= start.row);
        self.above = Some(Above {
            start: joined.map_or(node.start_byte(), |above| above.start),
            code: joined.and_then(|above| above.code).or(is_code.then_some(node.start_byte())),
            end_row: if end.column == 0 && end.row > start.row { end.row - 1 } else { end.row },
        });
    }

    fn parts(&mut self, node: Node<'a>) -> Parts<'a> {
        let fields = &self.table.fields;
        let mut parts = Parts { before_body: node.start_byte(), ..Parts::default() };
        self.inner.reset(node);
        if !self.inner.goto_first_child() {
            return parts;
        }
        loop {
            let (child, field) = (self.inner.node(), self.inner.field_id());
            if field.is_some() {
                if field == fields.body {
                    parts.body = Some(child);
                } else if field == fields.name
                    || field == fields.left
                    || field == fields.property
                    || field == fields.key
                {
                    parts.name = parts.name.or(Some(child));
                } else if field == fields.value || field == fields.right {
                    parts.value = Some(child);
                } else if field == fields.kind {
                    parts.kind = Some(child);
                } else if field == fields.of_trait {
                    parts.of_trait = Some(child);
                } else if field == fields.receiver {
                    parts.receiver = Some(child);
                }
            }
            let is_colon = !child.is_named() && child.kind() == ":";
            if parts.body.is_none() && !is_colon && self.table.rule(child.kind_id()) != Rule::Comment {
                parts.before_body = child.end_byte();
            }
            if !self.inner.goto_next_sibling() {
                return parts;
            }
        }
    }

    fn define(&mut self, node: Node<'a>, kind: Kind, shape: Shape, depth: usize, outside: Wrapping) {
        let scope = self.scopes.last().map(|scope| self.symbols[scope.1 as usize].kind);
        let at_top = matches!(scope, None | Some(Kind::Namespace));
        if !at_top && shape == Shape::Left && !self.language.is_script() {
            return;
        }
        let mut parts = self.parts(node);
        let mut kind = kind;
        let mut literal = None;
        if matches!(shape, Shape::Declarator | Shape::Member | Shape::Left) {
            let given = parts.value.map(|value| (value, self.table.rule(value.kind_id())));
            if let Some((value, Rule::Value(of_value))) = given {
                let inside = self.parts(value);
                kind = of_value;
                (parts.body, parts.before_body) = (inside.body, inside.before_body);
            } else if shape == Shape::Member || !at_top || (shape == Shape::Left && self.language.is_script()) {
                return; // in a script, an assignment changes what was declared before
            } else {
                literal = parts.value.and_then(|value| self.literal(value));
                parts.body = None;
            }
        }
        let Some(name) = self.name(shape, &parts) else { return };
        if kind == Kind::Function && scope.is_some_and(Kind::has_methods) {
            kind = Kind::Method;
        }
        if shape == Shape::GoType {
            kind = match parts.kind.map(|kind| kind.kind()) {
                Some("struct_type") => Kind::Struct,
                Some("interface_type") => Kind::Interface,
                _ => kind,
            };
        }
        self.push(node, kind, &name, literal, &parts, depth, outside);
    }

    fn define_default(&mut self, node: Node<'a>, kind: Kind, depth: usize, outside: Wrapping) {
        let parts = self.parts(node);
        self.push(node, kind, "default", None, &parts, depth, outside);
    }

    fn name(&self, shape: Shape, parts: &Parts<'a>) -> Option<String> {
        let of = |node: Node<'a>| &self.source[node.byte_range()];
        let name = match shape {
            Shape::Impl => {
                let of_type = of(parts.kind?);
                let of_type = of_type.split('<').next().unwrap_or(of_type).trim();
                match parts.of_trait {
                    Some(of_trait) => format!("<{of_type} as {}>", condense(of(of_trait))),
                    None => of_type.to_owned(),
                }
            }
            Shape::Receiver => {
                let receiver = of(parts.receiver?).trim_matches(['(', ')', ' ', '\t', '\n', '\r', ',']);
                let of_type = receiver.split('[').next().unwrap_or(receiver);
                let of_type = of_type.rsplit([' ', '*', '\t']).next().unwrap_or(of_type);
                format!("{of_type}.{}", of(parts.name?))
            }
            _ => of(parts.name?).to_owned(),
        };
        let name = name.trim_matches(['"', '\'', '`']);
        let is_plain = shape == Shape::Impl || !name.contains([' ', '\n', '(', '[', '{', ',']);
        (is_plain && !name.is_empty() && name.len() <= MAX_NAME).then(|| name.to_owned())
    }

    /// The inside of a long literal's brackets.
    fn literal(&mut self, value: Node<'a>) -> Option<Range<u32>> {
        if value.byte_range().len() <= LONG_LITERAL {
            return None;
        }
        // Go: `[]string{...}`; Rust: `&[...]`.
        let value = match value.kind() {
            "composite_literal" => self.parts(value).body?,
            "reference_expression" => self.parts(value).value?,
            _ => value,
        };
        let known = ["list", "dictionary", "set", "tuple", "object", "array", "array_expression", "literal_value"];
        known.contains(&value.kind()).then(|| value.start_byte() as u32 + 1..value.end_byte() as u32 - 1)
    }

    #[allow(clippy::too_many_arguments)] // what makes a symbol, once
    fn push(
        &mut self,
        node: Node<'a>,
        kind: Kind,
        name: &str,
        literal: Option<Range<u32>>,
        parts: &Parts<'a>,
        depth: usize,
        outside: Wrapping,
    ) {
        if self.scopes.len() >= MAX_NESTING {
            return;
        }
        let parent = self.scopes.last().map(|scope| scope.1);
        let name_path = match parent {
            Some(parent) => format!("{}.{name}", self.symbols[parent as usize].name_path),
            None => name.to_owned(),
        };
        let own = if name.starts_with('<') { name } else { name.rsplit('.').next().unwrap_or(name) };
        let name_at = (name_path.len() - own.len()) as u32;
        let range = outside.start as u32..outside.end as u32;
        // Python's wrappings are decorators, those of others say `export` and `const`.
        let start = if self.language == Language::Python { node.start_byte() } else { outside.first };
        let end = parts.body.map_or_else(
            || literal.as_ref().map_or(outside.end, |inside| inside.start as usize),
            |_| parts.before_body,
        );
        let signature = self.trimmed(start, end.min(outside.end));
        let docstring = match (self.language, parts.body) {
            (Language::Python, Some(body)) => doc::of_body(self.source, &mut self.inner, body),
            (Language::Python, None) => None,
            _ => doc::of_comments(self.source, outside.start..node.start_byte(), self.language),
        };
        let body = match (kind.is_callable(), parts.body) {
            (true, Some(body)) if body.kind().contains("block") || body.kind().contains("body") => {
                Some(body.start_byte() as u32..body.end_byte() as u32)
            }
            _ => literal,
        };
        self.symbols.push(Symbol {
            kind,
            name_path: name_path.into(),
            name_at,
            parent,
            first_line: self.line(outside.start, node),
            last_line: outside.end_row as u32 + 1,
            range,
            head: outside.head as u32,
            signature,
            body,
            docstring,
        });
        self.scopes.push((depth, self.symbols.len() as u32 - 1));
    }

    /// The line of `start`, which is `node`'s or stands above it.
    fn line(&self, start: usize, node: Node<'a>) -> u32 {
        let above = &self.source.as_bytes()[start..node.start_byte()];
        (node.start_position().row - memchr::memchr_iter(b'\n', above).count()) as u32 + 1
    }

    fn trimmed(&self, start: usize, end: usize) -> Range<u32> {
        let range = start as u32..end.max(start) as u32;
        let kept = text(self.source, &range).trim_end().trim_end_matches('{').trim_end();
        range.start..range.start + kept.len() as u32
    }
}

fn condense(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
