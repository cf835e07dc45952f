//! Tags and prefixes: who is covered, who is not, and how soon what was invalidated leaves.

mod fixtures;

use fixtures::{Item, Shelf, covers, digest, text};
use proptest::prelude::*;
use sparecall_core::cache::policy::Lru;
use sparecall_core::cache::{Key, StoredKey};

fn shelf() -> Shelf<Lru> {
    Shelf::new(u64::MAX, Lru::new(), u32::MAX)
}

fn is_covered(prefix: &StoredKey, key: &StoredKey) -> bool {
    let mut shelf = shelf();
    shelf.set(key, Item::new(1));
    shelf.invalidate_prefix(prefix);
    assert_eq!(shelf.is_live(key), shelf.get(key).is_some());
    shelf.cache.is_empty()
}

#[test]
fn a_prefix_covers_its_path_and_what_goes_on_after_a_separator() {
    let table = [
        (
            "a",
            &["a", "a/", "a/b", "a//", "a/日", "a/😀/b"][..],
            &["", "ab", "b", "b/a", "/a", "A", "a\\", "é", "日"][..],
        ),
        ("a/", &["a/", "a/b", "a//b"], &["a", "ab", "/a/"]),
        ("a//", &["a//", "a//b"], &["a", "a/", "a/b"]),
        ("a//b", &["a//b", "a//b/c"], &["a/b", "a//bc", "a/"]),
        ("", &["", "/", "/a", "//"], &["a", "a/", "日"]),
        ("/", &["/", "/a", "//"], &["", "a", "a/"]),
        ("日", &["日", "日/b", "日/😀"], &["日本", "a/日", "a"]),
        ("a/😀", &["a/😀", "a/😀/日"], &["a", "a/", "a/😀😀", "a/日"]),
        ("é", &["é", "é/日"], &["e\u{301}", "é日"]),
    ];
    for (prefix, inside, outside) in table {
        for (paths, expected) in [(inside, true), (outside, false)] {
            for path in paths {
                assert_eq!(covers(prefix, path), expected, "the book on {prefix:?} and {path:?}");
                assert_eq!(is_covered(&text(prefix), &text(path)), expected, "{prefix:?} and {path:?}");
            }
        }
    }
}

#[test]
fn a_digest_is_no_path() {
    let slashes = digest(b'/');
    for prefix in ["", "/", "////////////////"] {
        assert!(!is_covered(&text(prefix), &slashes));
    }
    assert!(is_covered(&text("/"), &text("////////////////")));
}

#[test]
fn a_prefix_covers_a_path_whatever_width_either_is_kept_in() {
    let wide = |kind: u8, path: &str| {
        let units = path.encode_utf16();
        let bytes: Vec<u8> = match kind {
            Key::TEXT_1 => path.bytes().collect(),
            Key::TEXT_2 => units.flat_map(u16::to_ne_bytes).collect(),
            _ => units.flat_map(|unit| u32::from(unit).to_ne_bytes()).collect(),
        };
        StoredKey::new(Key { kind, bytes: &bytes })
    };
    let widths = [Key::TEXT_1, Key::TEXT_2, Key::TEXT_4];
    for (prefix, path) in widths.iter().flat_map(|prefix| widths.map(|path| (*prefix, path))) {
        assert!(is_covered(&wide(prefix, "a/b"), &wide(path, "a/b/c")));
        assert!(!is_covered(&wide(prefix, "a/b"), &wide(path, "a/bc")));
    }
}

proptest! {
    #[test]
    fn any_prefix_covers_what_the_book_says(prefix in "[a/日😀]{0,4}", path in "[a/日😀]{0,6}") {
        prop_assert_eq!(is_covered(&text(&prefix), &text(&path)), covers(&prefix, &path));
    }
}

#[test]
fn what_is_set_after_its_prefix_was_invalidated_lives() {
    let mut shelf = shelf();
    let [old, other, new] = ["a/old", "b/other", "a/new"].map(text);
    for _ in 0..3 {
        shelf.set(&old, Item::new(1));
        shelf.set(&other, Item::new(2));
        shelf.invalidate_prefix(&text("a"));
        shelf.invalidate_prefix(&text("a/"));
        assert_eq!((shelf.get(&old), shelf.get(&other)), (None, Some(2)));
        shelf.set(&new, Item::new(3));
        shelf.set(&old, Item::new(4));
        assert_eq!((shelf.get(&new), shelf.get(&old)), (Some(3), Some(4)));
    }
}

#[test]
fn an_entry_overwritten_since_its_tag_or_prefix_was_invalidated_lives_with_its_new_tags_only() {
    let mut shelf = shelf();
    let key = text("a/b");
    let tagged = |value, tags: &[&str]| Item { tags: tags.iter().map(|tag| text(tag)).collect(), ..Item::new(value) };
    shelf.set(&key, tagged(1, &["red", "green"]));
    assert_eq!(shelf.invalidate_tag(&text("red")), 1);
    shelf.set(&key, tagged(2, &["red"]));
    assert_eq!((shelf.get(&key), shelf.invalidate_tag(&text("green"))), (Some(2), 0));
    shelf.invalidate_prefix(&text("a"));
    shelf.set(&key, tagged(3, &[]));
    assert_eq!((shelf.get(&key), shelf.invalidate_tag(&text("red"))), (Some(3), 0));
    assert_eq!(shelf.get(&key), Some(3));
}

#[test]
fn a_tag_said_many_times_is_one_and_ten_thousand_of_them_are_no_burden() {
    let mut shelf = shelf();
    let names = |names: std::ops::Range<u32>| names.map(|name| text(&format!("tag {name}"))).collect::<Vec<_>>();
    let twice = [names(0..10_000), names(0..10_000)].concat();
    let slot = shelf.set(&text("key"), Item { tags: twice, ..Item::new(1) }).expect("stored");
    assert_eq!(shelf.cache.tags(slot).count(), 10_000);
    assert_eq!(shelf.invalidate_tag(&text("tag 9999")), 1);
    assert_eq!((shelf.get(&text("key")), shelf.cache.len()), (None, 0));
}

#[test]
fn invalidated_entries_leave_by_themselves_within_a_bounded_number_of_sets() {
    let invalidations: [fn(&mut Shelf<Lru>); 2] =
        [|shelf| assert_eq!(shelf.invalidate_tag(&text("tag")), 3000), |shelf| shelf.invalidate_prefix(&text("old"))];
    for invalidate in invalidations {
        let mut shelf = shelf();
        for number in 0..3000 {
            shelf.set(&text(&format!("old/{number}")), Item { tags: vec![text("tag")], ..Item::new(number) });
        }
        invalidate(&mut shelf);
        for number in 0..1000_u64 {
            let before = shelf.cache.len();
            shelf.set(&text(&format!("new/{number}")), Item::new(number));
            assert!(before + 1 - shelf.cache.len() <= 4, "one set does a bounded amount of work");
        }
        assert_eq!((shelf.cache.len(), shelf.cache.stats().evicted.invalidated), (1000, 3000));
    }
}

#[test]
fn churned_tags_and_prefixes_never_cover_anything_but_their_own() {
    let mut shelf = Shelf::new(100, Lru::new(), 1 << 16);
    for round in 0..20_000_u64 {
        let (key, tag) = (text(&format!("{round}/path")), text(&format!("tag {round}")));
        shelf.set(&key, Item { tags: vec![tag.clone(), text("all")], ..Item::new(round) });
        let last = text(&format!("{}/path", round.saturating_sub(1)));
        match round % 4 {
            0 => assert_eq!(shelf.invalidate_tag(&tag), 1),
            1 => shelf.invalidate_prefix(&text(&round.to_string())),
            2 => assert_eq!((shelf.get(&key), shelf.get(&last)), (Some(round), None)),
            _ => assert_eq!((shelf.get(&key), shelf.get(&last)), (Some(round), Some(round - 1))),
        }
    }
    assert!(shelf.invalidate_tag(&text("all")) >= 50);
    assert!(shelf.live_slots().is_empty());
}
