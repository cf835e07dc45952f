//! Imports whose names are a list, merged as sets of names: `from a import b, c`, `use a::{b, c};`, `import { b } from "a"`, `import ( … )`.
//! And what is named for importing: `__all__ = ["a", "b"]`.

use super::order::{self, Item, Part};

/// How Python calls the names a module has for others.
pub(super) const EXPORTS: &str = "__all__";

const OPENING: [char; 3] = ['{', '(', '['];
const CLOSING: [char; 3] = ['}', ')', ']'];

/// An import and its list. `prefix` and `suffix` are what stands before and after the names, brackets included.
pub(super) struct List<'a> {
    prefix: &'a str,
    names: Vec<&'a str>,
    suffix: &'a str,
    text: &'a str,
    /// What divides the names.
    comma: bool,
}

impl<'a> List<'a> {
    /// None where the import has no list of names, or comments among them.
    pub(super) fn parse(text: &'a str) -> Option<Self> {
        if text.contains('#') || text.contains("//") || text.contains("/*") {
            return None;
        }
        let bare = text.trim_end();
        let is_python = bare.starts_with("from ") && !bare.contains(['{', ';']);
        let (start, end) = if is_python {
            let names = bare.find(" import ")? + " import ".len();
            match bare[names..].strip_prefix('(') {
                Some(inside) => (names + 1, names + 1 + inside.find(')')?),
                None => (names, bare.len()),
            }
        } else {
            let open = bare.find(OPENING)?;
            (open + 1, bare.rfind(CLOSING)?)
        };
        let inside = bare.get(start..end)?;
        let comma = is_python || bare[..start].ends_with(['{', '[']) || bare.starts_with(EXPORTS);
        let names = if comma { by_commas(inside)? } else { inside.lines().collect() };
        let names: Vec<&str> = names.into_iter().map(str::trim).filter(|name| !name.is_empty()).collect();
        let unique = (1..names.len()).all(|at| !names[..at].contains(&names[at]));
        let is_list = unique && names.len() <= 1000 && !names.iter().any(|name| matches!(*name, "*" | "\\"));
        is_list.then(|| Self { prefix: &bare[..start], names, suffix: &bare[end..], text, comma })
    }

    /// The same for imports that differ in their names alone.
    pub(super) fn key(&self) -> String {
        let squeeze = |text: &str| text.trim_matches(['(', ')']).split_whitespace().collect::<Vec<_>>().join(" ");
        format!("{} … {}", squeeze(self.prefix), squeeze(self.suffix))
    }

    fn items(&self) -> Vec<Item<'a>> {
        self.names.iter().map(|key| Item { key, part: Part::Import }).collect()
    }

    /// The names in the way this import has them written. Ends as it does.
    fn write(&self, names: &[Item<'_>]) -> String {
        let inside = &self.text[self.prefix.len()..self.text.trim_end().len() - self.suffix.len()];
        let ending = &self.text[self.text.trim_end().len()..];
        let comma = if self.comma { "," } else { "" };
        if !inside.contains('\n') {
            let pad = if inside.starts_with(' ') { " " } else { "" };
            let names: Vec<&str> = names.iter().map(|item| item.key).collect();
            return format!("{}{pad}{}{pad}{}{ending}", self.prefix, names.join(", "), self.suffix);
        }
        let lines: Vec<&str> = inside.lines().filter(|line| !line.trim().is_empty()).collect();
        let indent: String = lines.first().map_or("", |line| line).chars().take_while(|c| c.is_whitespace()).collect();
        let one_a_line = lines.len() >= self.names.len();
        let width = if one_a_line { 0 } else { self.text.lines().map(str::len).max().unwrap_or(0) };
        let mut text = self.prefix.to_owned();
        let mut room = 0;
        for item in names {
            let length = item.key.len() + 2;
            if length > room {
                text = text.trim_end_matches(' ').to_owned() + "\n" + &indent;
                room = width.saturating_sub(indent.len());
            }
            text += item.key;
            text += comma;
            text += if one_a_line { "" } else { " " };
            room = room.saturating_sub(length);
        }
        let mut text = text.trim_end().to_owned();
        if !lines.last().is_some_and(|line| line.trim_end().ends_with(',')) {
            text.truncate(text.trim_end_matches(',').len());
        }
        let closing = inside.rsplit('\n').next().unwrap_or_default();
        format!("{text}\n{closing}{}{ending}", self.suffix)
    }
}

/// Splits at the commas that stand in no inner brackets; none where brackets do not match.
fn by_commas(text: &str) -> Option<Vec<&str>> {
    let (mut depth, mut start, mut names) = (0_usize, 0, Vec::new());
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'{' | b'(' | b'[' => depth += 1,
            b'}' | b')' | b']' => depth = depth.checked_sub(1)?,
            b',' if depth == 0 => {
                names.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    names.push(&text[start..]);
    (depth == 0).then_some(names)
}

/// One import of three with the same key; none where the sides replaced the same name by others, or took the last one out.
pub(super) fn merge(base: Option<&List<'_>>, ours: &List<'_>, theirs: &List<'_>) -> Option<String> {
    let names = order::order(&base.map(List::items).unwrap_or_default(), &ours.items(), &theirs.items())?;
    let shape = [ours, theirs].into_iter().max_by_key(|list| (list.text.contains('\n'), list.text.len(), list.text))?;
    (!names.is_empty()).then(|| shape.write(&names))
}
