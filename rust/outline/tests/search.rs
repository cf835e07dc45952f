//! The words of symbols: what is found, in which order, and that what has left leaves nothing.

use proptest::prelude::*;
use sparecall_outline::search::{Fields, WordIndex};

fn fields(text: &str) -> Fields<'_> {
    Fields { text, ..Fields::default() }
}

#[test]
fn a_name_counts_more_than_a_body_and_a_short_text_more_than_a_long_one() {
    let mut index = WordIndex::default();
    index.add(1, &Fields { name_path: "Auth.verify_token", ..fields("check it") });
    index.add(2, &fields("one token among many other things that are all said at length here"));
    index.add(3, &fields("a token and nothing else"));
    index.add(4, &fields("nothing of it"));
    let found: Vec<u64> = index.search("where are tokens verified?", 10).into_iter().map(|(id, _)| id).collect();
    assert_eq!(found, [1, 3, 2]);
    assert_eq!(index.search("where are tokens verified?", 1)[0].0, 1);
    assert!(index.search("?!", 10).is_empty() && index.search("token", 0).is_empty());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(debug_assertions) { 48 } else { 1_000 }))]

    /// After any adding and removing, the answers are those of an index that never had the rest.
    #[test]
    fn what_has_left_leaves_nothing(
        steps in prop::collection::vec((0..40_u64, prop::option::of("[a-d]{1,2}( [a-d]{1,2}){0,4}")), 0..120),
        churn in prop::bool::ANY,
    ) {
        let mut index = WordIndex::default();
        let mut model = std::collections::BTreeMap::new();
        if churn {
            for id in 1000..4000 {
                index.add(id, &fields("bb cc"));
            }
            for id in 1000..4000 {
                assert!(index.remove(id));
            }
        }
        for (id, text) in steps {
            if let Some(text) = text {
                index.add(id, &fields(&text));
                model.insert(id, text);
            } else {
                prop_assert_eq!(index.remove(id), model.remove(&id).is_some());
            }
        }
        let mut fresh = WordIndex::default();
        for (id, text) in &model {
            fresh.add(*id, &fields(text));
        }
        prop_assert_eq!(index.len(), model.len());
        for question in ["bb", "cc dd", "ab ba cd"] {
            prop_assert_eq!(index.search(question, 7), fresh.search(question, 7));
        }
    }
}
