//! `.tiktoken` files: a line for each token, its bytes in base64 and its rank, which is its id too.

use std::collections::HashMap;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use super::{Draft, MAX_MERGES, refuse, singles};
use crate::error::Result;
use crate::tokens::Pattern;
use crate::tokens::merge_list::MergeList;
use crate::tokens::special::Special;
use crate::tokens::token_list::TokenList;

pub(super) fn read(file: &[u8], pattern: Pattern, specials: Vec<(String, u32)>) -> Result<Draft> {
    let mut tokens = TokenList::default();
    let mut token = Vec::new();
    for (number, line) in (1..).zip(file.split(|byte| *byte == b'\n')) {
        let line = line.trim_ascii();
        if !line.is_empty() {
            let rank = parse(line, &mut token)
                .ok_or_else(|| refuse(format!("line {number} is not a token in base64, a space and its rank")))?;
            tokens.add(&token, rank)?;
        }
    }
    let merges = pairs(&tokens, &singles(&tokens)?)?;
    let special = |(text, id)| Special { text, id, special: true, normalized: false };
    Ok(Draft {
        pattern,
        tokens,
        unspelt: HashMap::new(),
        merges,
        whole_first: true,
        specials: specials.into_iter().map(special).collect(),
        nfc: false,
    })
}

/// The rank of a line, and its token into `token`.
fn parse(line: &[u8], token: &mut Vec<u8>) -> Option<u32> {
    let space = line.iter().position(|byte| *byte == b' ')?;
    let (text, rank) = (&line[..space], line[space..].trim_ascii());
    token.clear();
    // Whisper's files have a padding character alone, which Python reads as the empty token.
    if text != b"=" {
        BASE64_STANDARD.decode_vec(text, token).ok()?;
    }
    // `parse` would take a sign.
    rank.iter().all(u8::is_ascii_digit).then(|| std::str::from_utf8(rank).ok()?.parse().ok())?
}

/// Every pair of tokens that makes a token, with the rank of what it makes: so tiktoken merges.
fn pairs(tokens: &TokenList, singles: &[u32; 256]) -> Result<MergeList> {
    let mut merges = MergeList::new(singles);
    for made in 0..tokens.len() as u32 {
        let token = tokens.token(made);
        for (left, right) in (1..token.len()).map(|middle| token.split_at(middle)) {
            if let Some(left) = tokens.find(left)
                && let Some(right) = tokens.find(right)
            {
                merges.add((left, right), tokens.id(made), made);
            }
        }
        if merges.len() > MAX_MERGES {
            return Err(refuse(format!("more than {MAX_MERGES} pairs of its tokens make a token, which is the limit")));
        }
    }
    Ok(merges)
}
