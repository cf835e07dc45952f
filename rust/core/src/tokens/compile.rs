//! Makes the fast vocabulary of a list of merges, where both merge every text alike.
//!
//! Merge a token's bytes alone: it comes out or it does not, and if it does, one pair was the last. In any text the bytes
//! of a token, until a merge crosses their border, are merged as they are alone. So wherever two parts stand side by side
//! whose bytes together are a token that comes out, they are that very pair; and a token that does not come out alone
//! comes out nowhere. Merging by pairs and merging by what they make together are then the same, if the tokens that come
//! out are ranked by their last merge.
//!
//! The fast vocabulary takes merges back from the last to the first, so a token's parts must rank below it. Where a file
//! has them otherwise, the list itself merges.

use super::merge_list::{LastMerge, ListScratch, MergeList};
use super::token_list::TokenList;
use super::vocab::Vocabulary;

/// A fast vocabulary, the place in the list of each of its ranks, and the places that merging never makes.
pub(super) struct Compiled {
    pub(super) vocabulary: Vocabulary,
    pub(super) places: Vec<u32>,
    pub(super) unmade: Vec<u32>,
}

/// The fast vocabulary of a list of merges; `None` where there is none.
pub(super) fn compile(tokens: &TokenList, merges: &MergeList) -> Option<Compiled> {
    let mut scratch = ListScratch::default();
    let (mut made, mut unmade) = (Vec::new(), Vec::new());
    for place in 0..tokens.len() as u32 {
        let token = tokens.token(place);
        if token.len() > 1 {
            match alone(merges, token, place, &mut scratch) {
                Some(last) => made.push((last, place)),
                None => unmade.push(place),
            }
        }
    }
    made.sort_unstable_by_key(|(last, _)| last.rank);

    let mut ranks = vec![u32::MAX; tokens.len()];
    let mut places = merges.singles().to_vec();
    for (rank, place) in (0..).zip(merges.singles()) {
        ranks[*place as usize] = rank;
    }
    let mut bytes: Vec<u8> = (0..=255).collect();
    let mut starts: Vec<u32> = (0..=256).collect();
    let mut parts = Vec::with_capacity(made.len());
    for (last, place) in made {
        let pair = (ranks[last.left as usize], ranks[last.right as usize]);
        if pair.0 == u32::MAX || pair.1 == u32::MAX {
            return None;
        }
        ranks[place as usize] = places.len() as u32;
        places.push(place);
        parts.push(pair);
        bytes.extend_from_slice(tokens.token(place));
        starts.push(bytes.len() as u32);
    }
    Some(Compiled { vocabulary: Vocabulary::index(bytes, starts, parts)?, places, unmade })
}

/// The last merge of a token's own bytes, where they come out as the token.
fn alone(merges: &MergeList, token: &[u8], place: u32, scratch: &mut ListScratch) -> Option<LastMerge> {
    let (mut only, mut parts) = (place, 0);
    let last = merges.merge(token, scratch, |part| {
        only = part;
        parts += 1;
    });
    last.filter(|_| parts == 1 && only == place)
}
