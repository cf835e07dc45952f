//! What a merge must keep: each symbol that a side added or changed, in that side's text; and it parses as well as the two sides do.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use tree_sitter::Tree;

use super::Reason;
use super::symbols::either;
use crate::outline::Outline;

/// A version with what was made of it.
pub(super) struct Version<'a> {
    pub(super) source: &'a str,
    pub(super) tree: Tree,
    pub(super) outline: Outline,
}

impl Version<'_> {
    /// The places where the text is not of its language.
    fn errors(&self) -> usize {
        let mut errors = 0;
        let mut cursor = self.tree.walk();
        loop {
            let node = cursor.node();
            errors += usize::from(node.is_error() || node.is_missing());
            if node.has_error() && cursor.goto_first_child() {
                continue;
            }
            while !cursor.goto_next_sibling() {
                if !cursor.goto_parent() {
                    return errors;
                }
            }
        }
    }

    /// The texts of the symbols by their name paths, each without the symbols in it. One name has several where it is defined so often.
    fn texts(&self) -> BTreeMap<&str, Vec<String>> {
        let symbols = &self.outline.symbols;
        let mut inside: Vec<Vec<std::ops::Range<usize>>> = vec![Vec::new(); symbols.len()];
        for symbol in symbols {
            if let Some(parent) = symbol.parent {
                inside[parent as usize].push(symbol.range.start as usize..symbol.range.end as usize);
            }
        }
        let mut texts: BTreeMap<&str, Vec<String>> = BTreeMap::new();
        for (symbol, inside) in symbols.iter().zip(inside) {
            texts.entry(&symbol.name_path).or_default().push(self.own_text(
                symbol.head as usize,
                symbol.range.end as usize,
                &inside,
            ));
        }
        for all in texts.values_mut() {
            all.sort_unstable();
        }
        texts
    }

    fn own_text(&self, start: usize, end: usize, inside: &[std::ops::Range<usize>]) -> String {
        let mut text = String::new();
        let mut at = start;
        for range in inside {
            if at <= range.start && range.end <= end {
                text += &self.source[at..range.start];
                at = range.end;
            }
        }
        text += &self.source[at.min(end)..end];
        if inside.is_empty() {
            return text;
        }
        // Blank lines between members belong to none of them.
        text.lines().map(str::trim_end).filter(|line| !line.is_empty()).collect::<Vec<_>>().join("\n")
    }
}

/// What both sides changed, and the merge has one version of: by name path, sorted. Else the first symbol the merge does not keep, and why.
pub(super) fn check(versions: [&Version<'_>; 3], merged: &Version<'_>) -> Result<Vec<String>, (Reason, String)> {
    let [base, ours, theirs] = versions;
    let errors = versions.map(Version::errors);
    let allowed = errors[1].max(errors[2]).min((errors[1] + errors[2]).saturating_sub(errors[0]));
    if merged.errors() > allowed {
        return Err((Reason::Errors, String::new()));
    }
    let texts = [base, ours, theirs, merged].map(Version::texts);
    let paths: BTreeSet<&str> = texts.iter().flat_map(|texts| texts.keys().copied()).collect();
    let mut combined = Vec::new();
    for path in paths {
        let [base, ours, theirs, merged] = [0, 1, 2, 3].map(|at| texts[at].get(path).map_or(&[][..], Vec::as_slice));
        if let Some(expected) = either(base, ours, theirs) {
            if merged != expected {
                let reason = if merged.len() > expected.len() { Reason::Twice } else { Reason::Lost };
                return Err((reason, path.to_owned()));
            }
        } else if [base, ours, theirs, merged].iter().all(|texts| texts.len() == 1) {
            combined.push(path.to_owned());
        } else if let Err(reason) = several(base, ours, theirs, merged) {
            return Err((reason, path.to_owned()));
        }
    }
    Ok(combined)
}

/// A name that both sides changed, and that stands for several definitions or for none in some version.
fn several(base: &[String], ours: &[String], theirs: &[String], merged: &[String]) -> Result<(), Reason> {
    if base.is_empty() {
        return Err(Reason::BothAdded);
    }
    let (new_ours, new_theirs) = (minus(ours, base), minus(theirs, base));
    let (gone_ours, gone_theirs) = (minus(base, ours), minus(base, theirs));
    if ours.len() < base.len() && !new_theirs.is_empty() || theirs.len() < base.len() && !new_ours.is_empty() {
        return Err(Reason::Removed);
    }
    let mut expected = minus(&minus(base, &gone_ours), &gone_theirs);
    expected.extend(minus(&new_theirs, &new_ours));
    expected.extend(new_ours);
    expected.sort_unstable();
    if merged == expected { Ok(()) } else { Err(Reason::BothChanged) }
}

/// The texts of `from` without those of `other`, each as often as it stands there. O(texts).
fn minus(from: &[String], other: &[String]) -> Vec<String> {
    let mut left: HashMap<&str, usize> = HashMap::with_capacity(other.len());
    for text in other {
        *left.entry(text).or_default() += 1;
    }
    let mut is_new = |text: &&String| match left.get_mut(text.as_str()) {
        Some(count) if *count > 0 => {
            *count -= 1;
            false
        }
        _ => true,
    };
    from.iter().filter(|text| is_new(text)).cloned().collect()
}
