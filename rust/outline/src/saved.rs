//! An index as a file, and back. Outlines and hashes are written, sources and trees are not.
//!
//! `SPRCSYMB`, version (u32), length of the rest (u64), its BLAKE3 (32 bytes), the rest. Numbers are little-endian, texts carry their lengths.

use std::sync::Arc;

use sparecall_core::error::{Error, Result};

use crate::facts::{Facts, Hash};
use crate::index::{Entry, File, SymbolIndex};
use crate::kind::Kind;
use crate::language::Language;

const MAGIC: &[u8; 8] = b"SPRCSYMB";
const VERSION: u32 = 1;
const HEADER: usize = 8 + 4 + 8 + 32;

impl SymbolIndex {
    /// The index as bytes.
    pub fn save(&self) -> Vec<u8> {
        let mut body = vec![u8::from(self.code_only)];
        let mut paths: Vec<_> = self.files.keys().collect();
        paths.sort_unstable();
        number(&mut body, paths.len());
        for path in paths {
            let file = &self.files[path];
            put(&mut body, path);
            body.extend([file.language as u8, u8::from(file.has_errors)]);
            number(&mut body, file.entries.len());
            for entry in &file.entries {
                write(&mut body, entry);
            }
        }
        let mut bytes = Vec::with_capacity(HEADER + body.len());
        bytes.extend(MAGIC);
        bytes.extend(VERSION.to_le_bytes());
        bytes.extend((body.len() as u64).to_le_bytes());
        bytes.extend(blake3::hash(&body).as_bytes());
        bytes.extend(body);
        bytes
    }

    /// The index that was saved as `bytes`. Sources and trees come with the next updates.
    pub fn load(bytes: &[u8], max_bytes: usize) -> Result<Self> {
        let fault = |what| Error::IndexFile { what };
        let header = bytes.get(..HEADER).ok_or_else(|| fault("it is cut short"))?;
        if &header[..8] != MAGIC {
            return Err(fault("it is no saved index of symbols"));
        }
        if header[8..12] != VERSION.to_le_bytes() {
            return Err(fault("it is of another version"));
        }
        let body = &bytes[HEADER..];
        if header[12..20] != (body.len() as u64).to_le_bytes() {
            return Err(fault("it is cut short"));
        }
        if header[20..] != *blake3::hash(body).as_bytes() {
            return Err(fault("its checksum does not fit"));
        }
        read(&mut Reader { rest: body }, max_bytes).ok_or_else(|| fault("it is damaged"))
    }
}

fn number(out: &mut Vec<u8>, value: usize) {
    out.extend((value as u32).to_le_bytes());
}

fn put(out: &mut Vec<u8>, text: &str) {
    number(out, text.len());
    out.extend(text.as_bytes());
}

fn write(out: &mut Vec<u8>, entry: &Entry) {
    out.push(entry.kind as u8);
    put(out, &entry.name_path);
    let parent = entry.parent.unwrap_or(u32::MAX);
    for value in [entry.name_at, parent, entry.range.start, entry.range.end, entry.first_line, entry.last_line] {
        out.extend(value.to_le_bytes());
    }
    put(out, &entry.signature);
    out.push(u8::from(entry.docstring.is_some()));
    put(out, entry.docstring.as_deref().unwrap_or_default());
    let facts = &entry.facts;
    for hash in [facts.text, facts.whole, facts.own, facts.face] {
        out.extend(hash.to_le_bytes());
    }
    number(out, facts.uses.len());
    facts.uses.iter().for_each(|word| out.extend(word.to_le_bytes()));
    number(out, facts.imports.len());
    for (word, hash) in &facts.imports {
        out.extend(word.to_le_bytes());
        out.extend(hash.to_le_bytes());
    }
}

struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(count)?;
        self.rest = rest;
        Some(taken)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    fn byte(&mut self) -> Option<u8> {
        self.array::<1>().map(|[byte]| byte)
    }

    fn flag(&mut self) -> Option<bool> {
        self.byte().filter(|byte| *byte < 2).map(|byte| byte == 1)
    }

    fn number(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    fn hash(&mut self) -> Option<Hash> {
        self.array().map(Hash::from_le_bytes)
    }

    fn text(&mut self) -> Option<&'a str> {
        let length = self.number()? as usize;
        std::str::from_utf8(self.take(length)?).ok()
    }

    /// As many as are told, each read by `one`; what is told is not trusted with memory.
    fn many<T>(&mut self, mut one: impl FnMut(&mut Self, usize) -> Option<T>) -> Option<Vec<T>> {
        let count = self.number()? as usize;
        (0..count).map(|at| one(self, at)).collect()
    }
}

fn read(from: &mut Reader<'_>, max_bytes: usize) -> Option<SymbolIndex> {
    let mut index = SymbolIndex::new(max_bytes, from.flag()?);
    for _ in 0..from.number()? {
        let path: Arc<str> = from.text()?.into();
        let language = from.byte()?;
        let language = Language::ALL.into_iter().find(|known| *known as u8 == language)?;
        let has_errors = from.flag()?;
        let entries = from.many(|from, at| entry(from, language, at))?;
        let whole = entries.first().filter(|entry| entry.kind == Kind::Module)?.range.clone();
        let fit = entries.is_sorted_by_key(|entry| entry.range.start)
            && entries.iter().all(|entry| entry.range.start <= entry.range.end && entry.range.end <= whole.end);
        if !fit || index.files.contains_key(&path) {
            return None;
        }
        index.put(path, File { language, entries, has_errors, source: None, tree: None, used: 0 });
    }
    from.rest.is_empty().then_some(index)
}

fn entry(from: &mut Reader<'_>, language: Language, at: usize) -> Option<Entry> {
    let kind = from.byte()?;
    let kind = *Kind::ALL.get(usize::from(kind))?;
    let name_path: Box<str> = from.text()?.into();
    let name_at = from.number()?;
    let parent = Some(from.number()?).filter(|parent| *parent != u32::MAX);
    let range = from.number()?..from.number()?;
    let (first_line, last_line) = (from.number()?, from.number()?);
    let fits = name_path.is_char_boundary(name_at as usize)
        && (kind == Kind::Module) == (at == 0)
        && parent.map_or(at == 0, |parent| (parent as usize) < at);
    if !fits {
        return None;
    }
    let signature = from.text()?.into();
    let (documented, doc) = (from.flag()?, from.text()?);
    let (text, whole, own, face) = (from.hash()?, from.hash()?, from.hash()?, from.hash()?);
    let uses = from.many(|from, _| from.array().map(u64::from_le_bytes))?.into();
    let imports = from.many(|from, _| Some((from.array().map(u64::from_le_bytes)?, from.hash()?)))?.into();
    Some(Entry {
        language,
        kind,
        name_path,
        name_at,
        parent,
        range,
        first_line,
        last_line,
        signature,
        docstring: documented.then(|| doc.into()),
        facts: Arc::new(Facts { text, whole, own, face, uses, imports }),
    })
}
