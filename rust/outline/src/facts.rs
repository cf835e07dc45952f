//! What is known of a symbol's text without the text: hashes of it, of its face, and the names it uses.
//!
//! Hashes are BLAKE3's first 128 bits. The text's own decides what changed; the tree only says what is inside what.

use std::collections::HashMap;
use std::sync::Arc;

use tree_sitter::{Node, Tree};

use crate::kind::Kind;
use crate::language::Language;
use crate::outline::{Outline, Symbol, text};
use crate::rules::{Rule, Table};

pub(crate) type Hash = u128;

/// Of one symbol.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Facts {
    /// Of all its text, to the byte.
    pub(crate) text: Hash,
    /// Of all of it; of the code alone where only that counts.
    pub(crate) whole: Hash,
    /// Likewise without what is inside the symbols in it, of which the kinds, the names and the order count.
    pub(crate) own: Hash,
    /// Of what those who name it see: a signature; of a class what it says of itself, and its members' faces.
    pub(crate) face: Hash,
    /// The names that its own text uses, as [`word`]s, in order.
    pub(crate) uses: Box<[u64]>,
    /// What imports directly in it bind names to: the hash of the statement. The word 0 stands for whatever it may bind.
    pub(crate) imports: Box<[(u64, Hash)]>,
}

/// Facts by the hash of the text and the kind.
pub(crate) type Known<'a> = HashMap<(Hash, Kind), &'a Arc<Facts>>;

pub(crate) fn hash(parts: &[&[u8]]) -> Hash {
    let mut hasher = blake3::Hasher::new();
    for part in parts {
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part);
    }
    finish(&hasher)
}

pub(crate) fn finish(hasher: &blake3::Hasher) -> Hash {
    let mut first = [0; 16];
    first.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
    Hash::from_le_bytes(first)
}

/// A name, as those of the languages that can use each other's are compared: FNV-1a. A collision makes a result depend on more.
pub(crate) fn word(language: Language, name: &str) -> u64 {
    let family = if language.is_script() { Language::JavaScript } else { language } as u64;
    name.bytes()
        .fold(0xcbf2_9ce4_8422_2325 ^ family, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3))
        | 1
}

/// The facts of each symbol. What is `known` of the same text is not looked at again.
pub(crate) fn facts(source: &str, outline: &Outline, known: &Known<'_>, code_only: bool) -> Vec<Arc<Facts>> {
    let symbols = &outline.symbols;
    let exact = exact(source, symbols);
    let mut found: Vec<Option<Arc<Facts>>> = exact
        .iter()
        .zip(symbols)
        .map(|((text, _), symbol)| known.get(&(*text, symbol.kind)).copied().cloned())
        .collect();
    if found.iter().any(Option::is_none) {
        let mut reader = Reader::new(source, outline, found.iter().map(Option::is_some).collect());
        reader.run(&outline.tree);
        let Reader { read, .. } = reader;
        let children = children(symbols);
        for (at, read) in read.into_iter().enumerate().rev() {
            if found[at].is_some() {
                continue;
            }
            let symbol = &symbols[at];
            let (text, own) = exact[at];
            let inside = || children[at].iter().filter_map(|&child| found[child as usize].as_deref());
            let (whole, own) = if code_only {
                let mut hasher = blake3::Hasher::new();
                let own = hash(&[&read.code]);
                hasher.update(&own.to_le_bytes());
                inside().for_each(|child| {
                    hasher.update(&child.whole.to_le_bytes());
                });
                (finish(&hasher), own)
            } else {
                (text, own)
            };
            let face = face(source, symbol, whole, own, inside().map(|child| child.face));
            let (mut uses, imports) = (read.uses, read.imports);
            uses.sort_unstable();
            uses.dedup();
            found[at] = Some(Arc::new(Facts { text, whole, own, face, uses: uses.into(), imports: imports.into() }));
        }
    }
    found.into_iter().flatten().collect()
}

pub(crate) fn children(symbols: &[Symbol]) -> Vec<Vec<u32>> {
    let mut children = vec![Vec::new(); symbols.len()];
    for (at, symbol) in symbols.iter().enumerate() {
        if let Some(parent) = symbol.parent {
            children[parent as usize].push(at as u32);
        }
    }
    children
}

/// The pieces of a symbol's text around the symbols in it: before the first, between, after the last.
pub(crate) fn pieces<'a>(source: &'a str, symbols: &[Symbol], at: usize, children: &[u32]) -> Vec<&'a str> {
    let mut start = symbols[at].range.start;
    let mut pieces = Vec::with_capacity(children.len() + 1);
    for &child in children {
        let inside = &symbols[child as usize].range;
        pieces.push(text(source, &(start..inside.start.max(start))));
        start = inside.end.max(start);
    }
    pieces.push(text(source, &(start..symbols[at].range.end.max(start))));
    pieces
}

/// The hashes of all of each symbol's text, and of its own. Every byte is hashed for the innermost symbol that it is in.
fn exact(source: &str, symbols: &[Symbol]) -> Vec<(Hash, Hash)> {
    let children = children(symbols);
    let mut found = vec![(0, 0); symbols.len()];
    for at in (0..symbols.len()).rev() {
        if children[at].is_empty() {
            let hash = hash(&[text(source, &symbols[at].range).as_bytes()]);
            found[at] = (hash, hash);
            continue;
        }
        let (mut whole, mut own) = (blake3::Hasher::new(), blake3::Hasher::new());
        let feed = |hasher: &mut blake3::Hasher, piece: &str| {
            hasher.update(&(piece.len() as u64).to_le_bytes());
            hasher.update(piece.as_bytes());
        };
        for (i, piece) in pieces(source, symbols, at, &children[at]).into_iter().enumerate() {
            feed(&mut whole, piece);
            // Blank lines around the symbols inside are nobody's.
            feed(&mut own, piece.trim());
            if let Some(&child) = children[at].get(i) {
                let symbol = &symbols[child as usize];
                whole.update(&found[child as usize].0.to_le_bytes());
                own.update(&[symbol.kind as u8]);
                feed(&mut own, symbol.name());
            }
        }
        found[at] = (finish(&whole), finish(&own));
    }
    found
}

fn face(source: &str, symbol: &Symbol, whole: Hash, own: Hash, inside: impl Iterator<Item = Hash>) -> Hash {
    let kind = [symbol.kind as u8];
    match symbol.kind {
        Kind::Function | Kind::Method => {
            let shown = text(source, &(symbol.head..symbol.signature.end.max(symbol.head)));
            hash(&[&kind, shown.as_bytes()])
        }
        Kind::Module | Kind::Namespace => hash(&[&kind, text(source, &symbol.signature).as_bytes()]),
        Kind::Variable | Kind::Type | Kind::Macro => hash(&[&kind, &whole.to_le_bytes()]),
        _ => {
            let members: Vec<u8> = inside.flat_map(Hash::to_le_bytes).collect();
            hash(&[&kind, &own.to_le_bytes(), &members])
        }
    }
}

/// What one walk over the tree gathers for a symbol.
#[derive(Default)]
struct Read {
    /// Its code: tokens and what holds them, without white space and comments.
    code: Vec<u8>,
    uses: Vec<u64>,
    imports: Vec<(u64, Hash)>,
    named: bool,
}

struct Reader<'a> {
    source: &'a str,
    outline: &'a Outline,
    table: &'static Table,
    /// Symbols that need not be looked at.
    done: Vec<bool>,
    read: Vec<Read>,
    open: Vec<usize>,
    next: usize,
    /// Where the last token ended.
    end: usize,
    /// The import that is being read: where it ends, and its hash.
    import: Option<(usize, Hash)>,
}

impl<'a> Reader<'a> {
    fn new(source: &'a str, outline: &'a Outline, done: Vec<bool>) -> Self {
        let read = outline.symbols.iter().map(|_| Read::default()).collect();
        let table = Table::of(outline.language);
        Self { source, outline, table, done, read, open: Vec::new(), next: 0, end: 0, import: None }
    }

    fn run(&mut self, tree: &'a Tree) {
        let mut cursor = tree.walk();
        loop {
            if self.enter(cursor.node()) && cursor.goto_first_child() {
                continue;
            }
            while !cursor.goto_next_sibling() {
                if !cursor.goto_parent() {
                    return;
                }
                self.leave(cursor.node());
            }
        }
    }

    /// Whether the node is all that the symbol is: then it may as well be one around it, as a block that holds nothing else is.
    fn is_all_of(&self, at: usize, node: Node<'a>) -> bool {
        let symbol = &self.outline.symbols[at];
        node.start_byte() as u32 <= symbol.head && node.end_byte() as u32 == symbol.range.end
    }

    /// Makes the innermost symbol that holds all of the node the last that is open.
    fn place(&mut self, node: Node<'a>) -> Option<usize> {
        let symbols = &self.outline.symbols;
        let (start, end) = (node.start_byte() as u32, node.end_byte() as u32);
        while self.open.last().is_some_and(|&at| symbols[at].range.end <= start) {
            self.open.pop();
        }
        while let Some(symbol) = symbols.get(self.next) {
            if symbol.range.start > start || (symbol.range.end < end && symbol.range.end > start) {
                break;
            }
            if symbol.range.end > start {
                let parent = self.open.last().copied();
                if let Some(parent) = parent {
                    self.read[parent].code.push(5);
                    self.read[parent].code.push(symbol.kind as u8);
                    self.read[parent].code.extend(symbol.name().as_bytes());
                    self.read[parent].code.push(0);
                }
                self.open.push(self.next);
            }
            self.next += 1;
        }
        self.open.last().copied()
    }

    /// Whether to look inside.
    fn enter(&mut self, node: Node<'a>) -> bool {
        if node.byte_range().is_empty() {
            return false; // what is not there is in no symbol for certain
        }
        let Some(at) = self.place(node) else { return true };
        if self.done[at] && node.end_byte() as u32 <= self.outline.symbols[at].range.end {
            self.end = node.end_byte();
            return false;
        }
        let kind = node.kind_id();
        if self.table.rule(kind) == Rule::Comment {
            self.end = node.end_byte();
            return false;
        }
        let start = node.start_byte();
        if self.import.is_some_and(|(end, _)| end <= start) {
            self.import = None;
        }
        if self.table.is_import(kind) && self.import.is_none() {
            self.import = Some((node.end_byte(), hash(&[self.source[node.byte_range()].as_bytes()])));
        }
        if node.child_count() > 0 && !self.table.is_verbatim(kind) {
            if !self.is_all_of(at, node) {
                let read = &mut self.read[at];
                read.code.push(1);
                read.code.extend(kind.to_le_bytes());
            }
            return true;
        }
        let token = &self.source[node.byte_range()];
        let gap = self.source.get(self.end..start).unwrap_or_default();
        self.end = node.end_byte();
        let read = &mut self.read[at];
        if !gap.bytes().all(|byte| byte.is_ascii_whitespace()) {
            read.code.push(4);
            read.code.extend((gap.len() as u32).to_le_bytes());
            read.code.extend(gap.as_bytes());
        }
        read.code.push(3);
        read.code.extend(kind.to_le_bytes());
        read.code.extend((token.len() as u32).to_le_bytes());
        read.code.extend(token.as_bytes());
        if self.table.is_name(kind) {
            let language = self.outline.language;
            if !read.named && token == self.outline.symbols[at].name() {
                read.named = true; // where it is defined
            } else {
                read.uses.push(word(language, token));
            }
            if let Some((_, hash)) = self.import {
                read.imports.push((word(language, token), hash));
            }
        } else if let Some((_, hash)) = self.import
            && (token == "*" || node.kind() == "dot")
        {
            // `from a import *`, `import . "a"`.
            read.imports.push((0, hash));
        }
        if self.table.is_verbatim(kind) && token.contains(['{', '$']) {
            self.interpolated(at, token);
        }
        false
    }

    /// The names in a string that may hold expressions.
    fn interpolated(&mut self, at: usize, token: &str) {
        let language = self.outline.language;
        let words = token.split(|letter: char| !(letter.is_alphanumeric() || letter == '_' || letter == '$'));
        let words = words.filter(|word| word.starts_with(|letter: char| !letter.is_ascii_digit()));
        self.read[at].uses.extend(words.map(|name| word(language, name)));
    }

    fn leave(&mut self, node: Node<'a>) {
        // Symbols inside the node that ends are over.
        let (start, end) = (node.start_byte() as u32, node.end_byte() as u32);
        let holds = |at: usize| {
            let range = &self.outline.symbols[at].range;
            range.start <= start && end <= range.end
        };
        while self.open.last().is_some_and(|&at| !holds(at)) {
            self.open.pop();
        }
        if let Some(&at) = self.open.last().filter(|&&at| !self.is_all_of(at, node)) {
            self.read[at].code.push(2);
        }
    }
}
