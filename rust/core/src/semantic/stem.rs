//! What is left of a word without its ending, and which letters it has: close words are alike in one or the other.

/// A short stem by the commonest endings; English only, others pass through.
pub(crate) fn stem(word: &str) -> &str {
    let n = word.len();
    if !word.is_ascii() || n <= 3 {
        return word;
    }
    let cut = |ending: &str, left: usize| word.strip_suffix(ending).filter(|head| head.len() >= left);
    let doubled = |head: &'_ str| -> usize {
        let b = head.as_bytes();
        let k = b.len();
        if k > 3 && b[k - 1] == b[k - 2] && !b"aeiouls".contains(&b[k - 1]) { k - 1 } else { k }
    };
    let silent =
        |head: &'_ str| -> usize { if head.len() > 3 && head.ends_with('e') { head.len() - 1 } else { head.len() } };
    if let Some(head) = cut("ies", 3) {
        return head;
    }
    if word.ends_with("ss") || word.ends_with("us") || word.ends_with("is") {
        return word;
    }
    if let Some(head) = cut("ing", 3).or_else(|| cut("ed", 3)) {
        return &head[..doubled(head)];
    }
    if let Some(head) = cut("y", 3) {
        return head;
    }
    if let Some(head) = cut("es", 3) {
        return head;
    }
    let word = cut("s", 3).unwrap_or(word);
    &word[..silent(word)]
}

/// Letters and pairs of letters, one bit each.
pub(super) fn letters(word: &str) -> u64 {
    let (mut bits, mut last) = (0_u64, 0_u32);
    for c in word.chars() {
        let c = c as u32;
        bits |= 1 << (c.wrapping_mul(0x9e37_79b9) >> 26);
        if last != 0 {
            bits |= 1 << ((last.wrapping_mul(31) ^ c).wrapping_mul(0x85eb_ca6b) >> 26);
        }
        last = c;
    }
    bits
}
