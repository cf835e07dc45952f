//! The number of tokens of every prefix of one piece, found byte by byte as the piece grows.
//!
//! The last token of a prefix decides its encoding: before it stands the encoding of the rest, which is a prefix too.
//! And it is the only token the prefix ends with that may stand after the last token of that rest (Hendrik van
//! Antwerpen and Alexander Neubeck, "So many tokens, so little time", GitHub, 2024). So one token and one count for each
//! prefix are all there is to know, and because only one token fits, likely ones may be tried first: the one found a
//! period before, in a text that repeats itself, and the last one with the new byte.

use super::Encoding;
use super::vocab::NONE;

/// What is known of one prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) token: u32,
    pub(super) count: u32,
}

const EMPTY: Entry = Entry { token: NONE, count: 0 };

/// What is known of the prefixes of a piece whose bytes the caller keeps: eight bytes for each.
#[derive(Debug, Clone)]
pub(super) struct Growth {
    /// The prefix that the first entry is of; shorter ones are forgotten.
    base: usize,
    entries: Vec<Entry>,
    /// Length of the longest token that a prefix ended with when it was last looked up.
    period: usize,
}

impl Default for Growth {
    fn default() -> Self {
        Self { base: 0, entries: vec![EMPTY], period: 1 }
    }
}

impl Growth {
    /// The length of the longest prefix known.
    pub(super) fn len(&self) -> usize {
        self.base + self.entries.len() - 1
    }

    /// What is known of the prefix of that length.
    pub(super) fn entry(&self, len: usize) -> Entry {
        self.entries[len - self.base]
    }

    /// All entries, the first for the empty prefix, of a growth that forgot nothing.
    pub(super) fn into_entries(self) -> Vec<Entry> {
        debug_assert_eq!(self.base, 0, "nothing was forgotten");
        self.entries
    }

    /// The number of tokens of `piece[..len]`; the prefixes known so far are of the same bytes.
    pub(super) fn count(&mut self, encoding: &Encoding, piece: &[u8], len: usize) -> usize {
        if len < self.base {
            *self = Self::default();
        }
        while self.len() < len {
            self.grow(encoding, piece);
        }
        self.entry(len).count as usize
    }

    /// Finds out about the prefix that is one byte longer.
    pub(super) fn grow(&mut self, encoding: &Encoding, piece: &[u8]) {
        let (vocabulary, endings) = (&encoding.vocabulary, encoding.endings());
        let end = self.len() + 1;
        let guess = self.entries.len().checked_sub(self.period).map_or(NONE, |place| self.entries[place].token);
        if guess != NONE
            && vocabulary.token(guess).is_some_and(|token| piece[..end].ends_with(token))
            && let Some(entry) = self.fit(encoding, end, guess)
        {
            self.entries.push(entry);
            return;
        }
        let last = self.entry(end - 1).token;
        if last != NONE {
            let longer = vocabulary.rank(piece, end - 1 - vocabulary.token_len(last), end);
            if longer != NONE
                && let Some(entry) = self.fit(encoding, end, longer)
            {
                self.entries.push(entry);
                return;
            }
        }
        let mut token = endings.affixes.longest(vocabulary, &piece[..end]);
        self.period = vocabulary.token_len(token);
        loop {
            assert_ne!(token, NONE, "some token fits: every text has an encoding");
            if let Some(entry) = self.fit(encoding, end, token) {
                self.entries.push(entry);
                return;
            }
            token = endings.affixes.shorter(token);
        }
    }

    /// What the prefix that ends at `end` has if `token` is its last.
    #[inline]
    fn fit(&self, encoding: &Encoding, end: usize, token: u32) -> Option<Entry> {
        let vocabulary = &encoding.vocabulary;
        let border = end - vocabulary.token_len(token);
        let before = self.entry(border);
        let fits = before.token == NONE || encoding.endings().stay_apart(vocabulary, before.token, token);
        fits.then_some(Entry { token, count: before.count + 1 })
    }

    /// Forgets prefixes that no longer prefix can build on, now and then.
    pub(super) fn forget(&mut self, encoding: &Encoding) {
        const KEPT: usize = 1 << 13;
        if self.entries.len() > 2 * KEPT {
            let gone = self.entries.len() - KEPT.max(encoding.vocabulary.longest_len() + 1);
            self.entries.drain(..gone);
            self.base += gone;
        }
    }

    /// Where the piece repeats itself up to some place past the known prefixes, and its encoding has begun to do so
    /// too, goes on to a prefix less than a period before that place. Says whether it did.
    ///
    /// A last token depends on the bytes it covers and on the last tokens of the prefixes it may begin after, all at
    /// most the longest token's length back. So where those and the bytes are what they were a period before, what
    /// follows is what followed then, as long as the bytes repeat.
    pub(super) fn leap(&mut self, encoding: &Encoding, piece: &[u8]) -> bool {
        let (window, known) = (encoding.vocabulary.longest_len(), self.entries.len());
        let Some(recent) = known.checked_sub(window) else { return false };
        for period in 1..=window.min(recent) {
            let (then, now) = (&self.entries[recent - period..known - period], &self.entries[recent..]);
            let Some(tokens) = now[0].count.checked_sub(then[0].count) else { continue };
            let repeated = |(then, now): (&Entry, &Entry)| then.token == now.token && then.count + tokens == now.count;
            if then[0].token == NONE || !then.iter().zip(now).all(repeated) {
                continue;
            }
            let end = self.len();
            let Some(from) = end.checked_sub(window + period) else { continue };
            let Some(more) = alike(&piece[from..], &piece[from + period..]).checked_sub(window) else { continue };
            let leaps = more / period;
            if leaps > 1 {
                self.entries.drain(..recent);
                for entry in &mut self.entries {
                    entry.count += tokens * leaps as u32;
                }
                self.base += recent + leaps * period;
                return true;
            }
        }
        false
    }
}

/// How many bytes two texts begin with in common, in whole chunks.
fn alike(a: &[u8], b: &[u8]) -> usize {
    const CHUNK: usize = 256;
    CHUNK * a.chunks_exact(CHUNK).zip(b.chunks_exact(CHUNK)).take_while(|(a, b)| a == b).count()
}
