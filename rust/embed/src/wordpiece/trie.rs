//! Tokens as a trie over bytes, its nodes in breadth-first order: a node's children stand side by side.

use memchr::memchr;

/// A node: the place of its first child, and the token that ends here.
#[derive(Debug, Clone, Copy)]
struct Node {
    first: u32,
    token: u32,
}

/// No token ends at this node.
const NONE: u32 = u32::MAX;

/// Finds the longest token at the start of a text in time linear in that token's length and the longest one's.
#[derive(Debug)]
pub(super) struct Trie {
    nodes: Vec<Node>,
    /// The byte that leads to each node.
    labels: Vec<u8>,
    /// The root's children by byte; 0, the root itself, where there is none.
    roots: Box<[u32; 256]>,
}

impl Trie {
    /// A trie of `tokens` and their ids. The tokens are sorted, distinct and not empty; no id is `u32::MAX`.
    pub(super) fn new(tokens: &[(&[u8], u32)]) -> Self {
        let mut trie = Self { nodes: Vec::new(), labels: vec![0], roots: Box::new([0; 256]) };
        // The tokens that pass through each node, in the order of the nodes; all begin with the same `depth` bytes.
        let mut level = vec![tokens];
        let mut depth = 0;
        while !level.is_empty() {
            let mut next = Vec::new();
            for mut below in level {
                let mut node = Node { first: trie.labels.len() as u32, token: NONE };
                if let Some(((_, id), rest)) = below.split_first().filter(|((token, _), _)| token.len() == depth) {
                    node.token = *id;
                    below = rest;
                }
                trie.nodes.push(node);
                for group in below.chunk_by(|(a, _), (b, _)| a[depth] == b[depth]) {
                    trie.labels.push(group[0].0[depth]);
                    next.push(group);
                }
            }
            (level, depth) = (next, depth + 1);
        }
        // One past the last, so that a node's children always end where the next one's begin.
        trie.nodes.push(Node { first: trie.labels.len() as u32, token: NONE });
        for child in 1..trie.nodes[1].first {
            trie.roots[usize::from(trie.labels[child as usize])] = child;
        }
        trie
    }

    /// The longest token that `text` begins with: its length and its id.
    pub(super) fn longest(&self, text: &[u8]) -> Option<(usize, u32)> {
        let (&byte, rest) = text.split_first()?;
        let mut node = match self.roots[usize::from(byte)] {
            0 => return None,
            child => child as usize,
        };
        let mut found = None;
        let mut rest = rest.iter();
        loop {
            let Node { first, token } = self.nodes[node];
            if token != NONE {
                found = Some((text.len() - rest.len(), token));
            }
            let children = first as usize..self.nodes[node + 1].first as usize;
            let Some(&byte) = rest.next() else { return found };
            match memchr(byte, &self.labels[children.clone()]) {
                Some(at) => node = children.start + at,
                None => return found,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_longest_token_is_found(
            tokens in prop::collection::btree_set("[ab\u{e9}]{1,4}", 0..12),
            text in "[ab\u{e9}c]{0,8}",
        ) {
            let ids: BTreeMap<&[u8], u32> = tokens.iter().map(String::as_bytes).zip(0..).collect();
            let listed: Vec<_> = ids.iter().map(|(token, id)| (*token, *id)).collect();
            let expected = (1..=text.len()).rev().find_map(|end| Some((end, *ids.get(&text.as_bytes()[..end])?)));
            prop_assert_eq!(Trie::new(&listed).longest(text.as_bytes()), expected);
        }
    }
}
