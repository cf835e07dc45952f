//! Under which key a result that was derived from a symbol may be kept: its text, and the faces of what it names.
//!
//! The idea is that of build systems with early cut-off (Mokhov, Mitchell and Peyton Jones, "Build systems à la carte", 2018): a change to
//! what a name stands for matters only where it changes what those who use the name can see. Names are resolved by their spelling
//! alone, to every symbol of the index that bears them: that may invalidate too much, never too little.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use sparecall_core::error::{Error, Result};

use crate::facts::{Hash, finish, hash, word};
use crate::index::{Entry, File, SymbolIndex, dropped};
use crate::kind::Kind;

/// For each name, the files and numbers of the symbols that bear it.
type Places = HashMap<u64, Vec<(Arc<str>, u32)>>;

/// For each name, what those who use it can see, over all symbols that bear it.
#[derive(Debug, Default)]
pub(crate) struct Names {
    /// The sum of the faces, and of how many.
    seen: HashMap<u64, (Hash, u32)>,
    /// Where the symbols are that bear a name; none after a change, until that is asked for.
    places: Option<Places>,
}

/// A symbol is told by its file, and its number there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subject {
    pub kind: Kind,
    pub language: crate::Language,
    pub name_path: Box<str>,
    pub signature: Box<str>,
    pub docstring: Option<Box<str>>,
    /// All its text; or its own, in which each symbol inside is its signature.
    pub text: String,
    /// The name paths and signatures of what it names, sorted.
    pub names: Vec<(Box<str>, Box<str>)>,
}

impl Names {
    pub(crate) fn add(&mut self, entries: &[Entry]) {
        self.change(entries, true);
    }

    pub(crate) fn take(&mut self, entries: &[Entry]) {
        self.change(entries, false);
    }

    fn change(&mut self, entries: &[Entry], add: bool) {
        for entry in entries.iter().filter(|entry| entry.kind != Kind::Module) {
            let seen = self.seen.entry(entry.word()).or_default();
            if add {
                *seen = (seen.0.wrapping_add(entry.seen()), seen.1 + 1);
            } else {
                *seen = (seen.0.wrapping_sub(entry.seen()), seen.1 - 1);
            }
            if seen.1 == 0 {
                self.seen.remove(&entry.word());
            }
        }
        self.places = None;
    }
}

impl Entry {
    pub(crate) fn word(&self) -> u64 {
        word(self.language, self.name())
    }

    /// What those who name it see, as one number.
    fn seen(&self) -> Hash {
        hash(&[&self.facts.face.to_le_bytes(), self.name_path.as_bytes(), &[self.kind as u8]])
    }
}

impl SymbolIndex {
    fn file(&self, path: &str) -> Result<&File> {
        self.files.get(path).ok_or_else(unknown)
    }

    /// All the text of the numbered symbol. Errors: the file's source was given up.
    pub fn text(&self, path: &str, at: u32) -> Result<String> {
        let file = self.file(path)?;
        let range = span(entry(file, at)?);
        Ok(file.source.as_ref().ok_or_else(dropped)?[range].to_owned())
    }

    /// The key of what is derived from the symbol: equal keys, equal [`Self::subject`]s. `whole`: of all its text.
    pub fn key(&self, path: &str, at: u32, whole: bool) -> Result<Hash> {
        let file = self.file(path)?;
        let entry = entry(file, at)?;
        let mut hasher = blake3::Hasher::new();
        hasher.update(&[file.language as u8, entry.kind as u8, u8::from(whole)]);
        hasher.update(&hash(&[entry.name_path.as_bytes()]).to_le_bytes());
        hasher.update(&if whole { entry.facts.whole } else { entry.facts.own }.to_le_bytes());
        hasher.update(&entry.facts.face.to_le_bytes());
        if !whole {
            for child in children(file, at) {
                hasher.update(&child.facts.face.to_le_bytes());
            }
        }
        let uses = uses(file, at, whole);
        for word in &uses {
            if let Some((seen, count)) = self.names.seen.get(word) {
                hasher.update(&word.to_le_bytes());
                hasher.update(&seen.to_le_bytes());
                hasher.update(&count.to_le_bytes());
            }
        }
        // What names come from: the imports of all that is around.
        let mut around = Some(at);
        while let Some(outer) = around {
            let outer = &file.entries[outer as usize];
            for (word, hash) in &outer.facts.imports {
                if *word == 0 || uses.contains(word) {
                    hasher.update(&word.to_le_bytes());
                    hasher.update(&hash.to_le_bytes());
                }
            }
            around = outer.parent;
        }
        Ok(finish(&hasher))
    }

    /// What a result may be derived from. Errors: the file's source was given up.
    ///
    /// The first call after a change takes time that grows with the index.
    pub fn subject(&mut self, path: &str, at: u32, whole: bool) -> Result<Subject> {
        let Some(file) = self.files.get(path) else { return Err(unknown()) };
        let own = entry(file, at)?;
        let source = file.source.as_ref().ok_or_else(dropped)?;
        let text = if whole { source[span(own)].to_owned() } else { own_text(source, file, at) };
        let uses = uses(file, at, whole);
        let places = self.names.places.get_or_insert_with(|| {
            let mut places = Places::new();
            for (path, file) in &self.files {
                for (at, entry) in file.entries.iter().enumerate().skip(1) {
                    places.entry(entry.word()).or_default().push((path.clone(), at as u32));
                }
            }
            places
        });
        let bearers = uses.iter().filter_map(|word| places.get(word)).flatten();
        let entries = bearers.map(|(path, at)| &self.files[path].entries[*at as usize]);
        let mut names: Vec<_> = entries.map(|entry| (entry.name_path.clone(), entry.signature.clone())).collect();
        names.sort_unstable();
        Ok(Subject {
            kind: own.kind,
            language: file.language,
            name_path: own.name_path.clone(),
            signature: own.signature.clone(),
            docstring: own.docstring.clone(),
            text,
            names,
        })
    }
}

fn unknown() -> Error {
    Error::InvalidArgument {
        name: "path",
        value: "of no file in the index".to_owned(),
        limit: "update it first".to_owned(),
    }
}

fn entry(file: &File, at: u32) -> Result<&Entry> {
    file.entries.get(at as usize).ok_or_else(|| Error::InvalidArgument {
        name: "symbol",
        value: format!("number {at}"),
        limit: format!("its file has {} symbols now: ask for them again", file.entries.len()),
    })
}

fn span(entry: &Entry) -> std::ops::Range<usize> {
    entry.range.start as usize..entry.range.end as usize
}

fn children(file: &File, at: u32) -> impl Iterator<Item = &Entry> {
    inside(file, at).filter(move |entry| entry.parent == Some(at))
}

/// The symbols inside a symbol, at any depth.
fn inside(file: &File, at: u32) -> impl Iterator<Item = &Entry> {
    let end = file.entries[at as usize].range.end;
    file.entries[at as usize + 1..].iter().take_while(move |entry| entry.range.start < end)
}

fn uses(file: &File, at: u32, whole: bool) -> BTreeSet<u64> {
    let mut uses: BTreeSet<u64> = file.entries[at as usize].facts.uses.iter().copied().collect();
    if whole {
        uses.extend(inside(file, at).flat_map(|entry| entry.facts.uses.iter().copied()));
    }
    uses
}

/// Blank lines around the symbols inside do not count, as in the hash.
fn own_text(source: &str, file: &File, at: u32) -> String {
    let range = span(&file.entries[at as usize]);
    let mut start = range.start;
    let mut parts = Vec::new();
    for child in children(file, at) {
        let inside = span(child);
        parts.push(source[start..inside.start.max(start)].trim());
        parts.push(&child.signature);
        start = inside.end.max(start);
    }
    if start == range.start {
        return source[range].to_owned();
    }
    parts.push(source[start..range.end.max(start)].trim());
    parts.retain(|part| !part.is_empty());
    parts.join("\n")
}
