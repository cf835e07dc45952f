//! The symbols of many files, updated file by file: what changed is told, what did not is not looked at again.
//!
//! Outlines and hashes stay. Trees, which make the next update of a file quick, and sources, which say what the text of a symbol is, are kept
//! for the files last used, as far as `max_bytes` go.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use sparecall_core::error::{Error, Result};
use tree_sitter::{InputEdit, Point, Tree};

use crate::derived::Names;
use crate::diff::{Departed, Diff, diff, was};
use crate::facts::{self, Facts, Known};
use crate::kind::Kind;
use crate::language::Language;
use crate::outline::{Outline, Symbol};
use crate::parse::Parser;
use crate::walk;

/// Symbols that left their file lately, and are told to have moved where their text comes into another.
const MAX_DEPARTED: usize = 4096;
/// What a node of a tree is taken to need, in bytes: measured, for code of all languages.
const NODE: usize = 40;

/// A symbol of an indexed file. The first of each file is the file itself, a [`Kind::Module`] without a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub language: Language,
    pub kind: Kind,
    pub name_path: Box<str>,
    pub(crate) name_at: u32,
    pub parent: Option<u32>,
    pub range: std::ops::Range<u32>,
    pub first_line: u32,
    pub last_line: u32,
    pub signature: Box<str>,
    pub docstring: Option<Box<str>>,
    pub(crate) facts: Arc<Facts>,
}

impl Entry {
    /// Its own name.
    pub fn name(&self) -> &str {
        &self.name_path[self.name_at as usize..]
    }

    /// The hash of all its text; of its code alone where only that counts.
    pub fn hash(&self) -> u128 {
        self.facts.whole
    }

    /// Likewise of its own text: without what is inside the symbols in it.
    pub fn own_hash(&self) -> u128 {
        self.facts.own
    }

    pub(crate) fn bytes(&self) -> usize {
        size_of::<Self>()
            + size_of::<Facts>()
            + self.name_path.len()
            + self.signature.len()
            + self.docstring.as_ref().map_or(0, |doc| doc.len())
            + self.facts.uses.len() * 8
            + self.facts.imports.len() * 32
    }
}

#[derive(Debug)]
pub(crate) struct File {
    pub(crate) language: Language,
    pub(crate) entries: Vec<Entry>,
    pub(crate) has_errors: bool,
    pub(crate) source: Option<Arc<str>>,
    pub(crate) tree: Option<Tree>,
    pub(crate) used: u64,
}

impl File {
    fn tree_bytes(&self) -> usize {
        self.tree.as_ref().map_or(0, |tree| tree.root_node().descendant_count() * NODE)
    }

    fn source_bytes(&self) -> usize {
        self.source.as_ref().map_or(0, |source| source.len())
    }

    pub(crate) fn outline_bytes(&self) -> usize {
        self.entries.iter().map(Entry::bytes).sum()
    }
}

/// How many bytes an index holds, about, and in what.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Held {
    pub outlines: usize,
    pub sources: usize,
    pub trees: usize,
}

/// The symbols of many files.
pub struct SymbolIndex {
    pub(crate) files: HashMap<Arc<str>, File>,
    pub(crate) names: Names,
    pub(crate) code_only: bool,
    departed: Departed,
    max_bytes: usize,
    held: Held,
    /// By when they were last used.
    trees: BTreeMap<u64, Arc<str>>,
    sources: BTreeMap<u64, Arc<str>>,
    turn: u64,
    pub(crate) len: usize,
}

impl SymbolIndex {
    /// `code_only`: white space and comments do not count. `max_bytes` bounds trees and sources; outlines are kept beyond it.
    pub fn new(max_bytes: usize, code_only: bool) -> Self {
        Self {
            files: HashMap::new(),
            names: Names::default(),
            code_only,
            departed: Departed::new(),
            max_bytes,
            held: Held::default(),
            trees: BTreeMap::new(),
            sources: BTreeMap::new(),
            turn: 0,
            len: 0,
        }
    }

    /// Reads `source` as what the file at `path` holds now, and tells what that changed. After an error the index is as before.
    pub fn update(
        &mut self,
        path: &str,
        source: Arc<str>,
        language: Option<Language>,
        expired: &mut dyn FnMut() -> bool,
    ) -> Result<Diff> {
        let update = self.begin(path, source, language)?;
        let read = update.read(&mut Parser::new(), expired)?;
        Ok(self.finish(read))
    }

    /// The first part of [`Self::update`]: takes along what is known of the file. The second needs no index, and takes the time.
    pub fn begin(&self, path: &str, source: Arc<str>, language: Option<Language>) -> Result<Update> {
        let language = language.map_or_else(|| Language::of_file(path, &source), Ok)?;
        let before = self.files.get(path).filter(|file| file.language == language);
        let old = before.and_then(|file| Some((file.tree.clone()?, file.source.clone()?)));
        // Where something does not parse, how the same text is read may depend on what stands around it.
        let certain = before.filter(|file| !file.has_errors);
        let known = certain
            .map_or_else(Vec::new, |file| file.entries.iter().map(|entry| (entry.kind, entry.facts.clone())).collect());
        Ok(Update { path: path.into(), source, language, old, known, code_only: self.code_only })
    }

    /// The last part of [`Self::update`].
    pub fn finish(&mut self, read: Updated) -> Diff {
        let Updated { path, mut file } = read;
        let (path, before) = match self.files.remove_entry(&*path) {
            Some((path, file)) => (path, Some(file)),
            None => (Arc::from(path), None),
        };
        if let Some(before) = &before {
            self.forget(before);
        }
        let old = before.as_ref().map_or(&[][..], |file| &file.entries);
        let changes = diff(&path, old, &file.entries, &mut self.departed);
        self.depart(&path, old, &changes);
        self.turn += 1;
        file.used = self.turn;
        self.put(path, file);
        self.shrink();
        changes
    }

    /// Forgets the file at `path`, and tells which symbols that were; none where it is not known.
    pub fn remove(&mut self, path: &str) -> Option<Vec<crate::diff::Was>> {
        let (path, file) = self.files.remove_entry(path)?;
        self.forget(&file);
        let changes = diff(&path, &file.entries, &[], &mut self.departed);
        self.depart(&path, &file.entries, &changes);
        Some(changes.removed)
    }

    /// The symbols of the file at `path`, in the order they start.
    pub fn symbols(&self, path: &str) -> Option<&[Entry]> {
        self.files.get(path).map(|file| &file.entries[..])
    }

    pub fn language(&self, path: &str) -> Option<Language> {
        self.files.get(path).map(|file| file.language)
    }

    /// Whether parts of the file could not be parsed.
    pub fn has_errors(&self, path: &str) -> Option<bool> {
        self.files.get(path).map(|file| file.has_errors)
    }

    /// What the file held when it was last updated; none where that was given up for want of room.
    pub fn source(&self, path: &str) -> Option<Arc<str>> {
        self.files.get(path)?.source.clone()
    }

    /// Whether the next update of the file need not parse all of it.
    pub fn has_tree(&self, path: &str) -> bool {
        self.files.get(path).is_some_and(|file| file.tree.is_some() && file.source.is_some())
    }

    pub fn paths(&self) -> impl Iterator<Item = &Arc<str>> {
        self.files.keys()
    }

    /// How many symbols there are, files among them.
    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub fn held(&self) -> Held {
        self.held
    }

    /// Whether only code counts.
    pub fn code_only(&self) -> bool {
        self.code_only
    }

    pub(crate) fn put(&mut self, path: Arc<str>, file: File) {
        self.names.add(&file.entries);
        self.len += file.entries.len();
        self.held.outlines += file.outline_bytes();
        self.held.sources += file.source_bytes();
        self.held.trees += file.tree_bytes();
        if file.tree.is_some() {
            self.trees.insert(file.used, path.clone());
        }
        if file.source.is_some() {
            self.sources.insert(file.used, path.clone());
        }
        self.files.insert(path, file);
    }

    fn forget(&mut self, file: &File) {
        self.names.take(&file.entries);
        self.len -= file.entries.len();
        self.held.outlines -= file.outline_bytes();
        self.held.sources -= file.source_bytes();
        self.held.trees -= file.tree_bytes();
        self.trees.remove(&file.used);
        self.sources.remove(&file.used);
    }

    /// Remembers what left the file, for a while.
    fn depart(&mut self, path: &str, before: &[Entry], changes: &Diff) {
        if self.departed.len() + changes.removed.len() > MAX_DEPARTED {
            self.departed.clear();
        }
        let gone: std::collections::HashSet<(u32, &str)> =
            changes.removed.iter().map(|was| (was.first_line, &*was.name_path)).collect();
        for entry in before.iter().filter(|entry| entry.kind != Kind::Module).take(MAX_DEPARTED) {
            if gone.contains(&(entry.first_line, &*entry.name_path)) {
                self.departed.insert(entry.facts.whole, was(path, entry));
            }
        }
    }

    /// Gives up trees, then sources, of the files that were used longest ago.
    fn shrink(&mut self) {
        while self.held.sources + self.held.trees > self.max_bytes {
            let Some((_, path)) = self.trees.pop_first() else { break };
            if let Some(file) = self.files.get_mut(&path) {
                self.held.trees -= file.tree_bytes();
                file.tree = None;
            }
        }
        while self.held.sources > self.max_bytes {
            let Some((_, path)) = self.sources.pop_first() else { break };
            if let Some(file) = self.files.get_mut(&path) {
                self.held.sources -= file.source_bytes();
                file.source = None;
            }
        }
    }
}

/// An update that was begun.
pub struct Update {
    path: Box<str>,
    source: Arc<str>,
    language: Language,
    old: Option<(Tree, Arc<str>)>,
    known: Vec<(Kind, Arc<Facts>)>,
    code_only: bool,
}

/// An update that is to be finished.
pub struct Updated {
    path: Box<str>,
    file: File,
}

impl Update {
    /// Parses, and hashes what changed.
    pub fn read(self, parser: &mut Parser, expired: &mut dyn FnMut() -> bool) -> Result<Updated> {
        let Self { path, source, language, old, known, code_only } = self;
        let old = old.map(|(tree, text)| edited(tree, &text, &source));
        let tree = parser.parse(&source, language, old.as_ref(), expired)?;
        let outline = with_module(walk::outline(&source, language, tree), &source);
        let known = if outline.has_errors { &[][..] } else { &known[..] };
        let known: Known<'_> = known.iter().map(|(kind, facts)| ((facts.text, *kind), facts)).collect();
        let facts = facts::facts(&source, &outline, &known, code_only);
        let entries = entries(&source, &outline, facts);
        let Outline { has_errors, tree, .. } = outline;
        Ok(Updated {
            path,
            file: File { language, entries, has_errors, source: Some(source), tree: Some(tree), used: 0 },
        })
    }
}

/// The outline with the file itself as its first symbol.
fn with_module(mut outline: Outline, source: &str) -> Outline {
    for symbol in &mut outline.symbols {
        symbol.parent = Some(symbol.parent.map_or(0, |parent| parent + 1));
    }
    let lines = memchr::memchr_iter(b'\n', source.as_bytes()).count() as u32;
    let module = Symbol {
        kind: Kind::Module,
        name_path: Box::default(),
        name_at: 0,
        parent: None,
        range: 0..source.len() as u32,
        first_line: 1,
        last_line: (lines + u32::from(!source.ends_with('\n'))).max(1),
        head: 0,
        signature: 0..0,
        body: None,
        docstring: None,
    };
    outline.symbols.insert(0, module);
    outline
}

fn entries(source: &str, outline: &Outline, facts: Vec<Arc<Facts>>) -> Vec<Entry> {
    let entry = |(symbol, facts): (&Symbol, Arc<Facts>)| Entry {
        language: outline.language,
        kind: symbol.kind,
        name_path: symbol.name_path.clone(),
        name_at: symbol.name_at,
        parent: symbol.parent,
        range: symbol.range.clone(),
        first_line: symbol.first_line,
        last_line: symbol.last_line,
        signature: outline.signature(source, symbol).into(),
        docstring: outline.docstring(source, symbol).map(Into::into),
        facts,
    };
    outline.symbols.iter().zip(facts).map(entry).collect()
}

/// The tree of `old`, told where `new` differs: between what both begin and both end with.
fn edited(mut tree: Tree, old: &str, new: &str) -> Tree {
    let (a, b) = (old.as_bytes(), new.as_bytes());
    let shorter = a.len().min(b.len());
    let mut start = alike(a.chunks_exact(64), b.chunks_exact(64)) * 64;
    start += a[start..].iter().zip(&b[start..]).take_while(|(a, b)| a == b).count();
    while !new.is_char_boundary(start) || !old.is_char_boundary(start) {
        start -= 1;
    }
    let (a_rest, b_rest) = (&a[a.len() - (shorter - start)..], &b[b.len() - (shorter - start)..]);
    let mut same = alike(a_rest.rchunks_exact(64), b_rest.rchunks_exact(64)) * 64;
    let ends = |text: &'_ [u8]| text.len() - same;
    let (a_rest, b_rest) = (&a_rest[..ends(a_rest)], &b_rest[..ends(b_rest)]);
    same += a_rest.iter().rev().zip(b_rest.iter().rev()).take_while(|(a, b)| a == b).count();
    while !new.is_char_boundary(b.len() - same) || !old.is_char_boundary(a.len() - same) {
        same -= 1;
    }
    tree.edit(&InputEdit {
        start_byte: start,
        old_end_byte: a.len() - same,
        new_end_byte: b.len() - same,
        start_position: point(a, start),
        old_end_position: point(a, a.len() - same),
        new_end_position: point(b, b.len() - same),
    });
    tree
}

/// How many pieces both begin with.
fn alike<'a>(a: impl Iterator<Item = &'a [u8]>, b: impl Iterator<Item = &'a [u8]>) -> usize {
    a.zip(b).take_while(|(a, b)| a == b).count()
}

fn point(text: &[u8], at: usize) -> Point {
    let row = memchr::memchr_iter(b'\n', &text[..at]).count();
    Point { row, column: at - memchr::memrchr(b'\n', &text[..at]).map_or(0, |end| end + 1) }
}

/// The error for a symbol whose text was given up.
pub(crate) fn dropped() -> Error {
    Error::InvalidArgument {
        name: "path",
        value: "of a file whose source was given up for want of room".to_owned(),
        limit: "update it again, or give the index more max_bytes".to_owned(),
    }
}
