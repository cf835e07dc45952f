//! A meter, the sums of a text and a truncated text agree with `count`, wherever a text is cut.

use std::sync::LazyLock;

use proptest::prelude::*;
use sparecall_core::error::Error;
use sparecall_core::tokens::{Encoding, Keep, Meter, Prefix, Scratch};

fn encodings() -> impl Iterator<Item = &'static Encoding> {
    Encoding::names().map(|name| Encoding::by_name(name).expect("shipped"))
}

/// What the patterns treat in a way of its own.
const FRAGMENTS: [&str; 40] = [
    "'s",
    "'S",
    "'\u{17f}",
    "'re",
    "'ll",
    "'l",
    "'",
    "don't",
    "I'M",
    " ",
    "  ",
    "\t",
    "\n",
    "\r\n",
    "\n\n",
    " \n ",
    "\u{3000}",
    "a",
    "B",
    "Ab",
    "aB",
    "ABc",
    "HTTPServer",
    "ǅ",
    "ʰ",
    "日",
    "本語",
    "हिन्दी",
    "1",
    "123",
    "٣",
    "\u{301}",
    "\u{200d}",
    "👩‍👩‍👧‍👦",
    "_",
    "//",
    "!",
    "...",
    "!\n/",
    " the",
];

/// What can make one long piece: each is repeated, and all of each line may stand beside each other.
static LONG: LazyLock<Vec<String>> = LazyLock::new(|| {
    let letters = |n: u64| -> String {
        let mut state = 4_u64;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            state >> 33
        };
        (0..n).map(|_| char::from(b'a' + (next() % 26) as u8)).collect()
    };
    let mut texts = vec![letters(700)];
    for unit in [
        "a",
        "A",
        " ",
        "\n",
        "日",
        "語本",
        "\u{301}",
        "_",
        "=-",
        "! ",
        "/",
        "👩‍👩‍👧‍👦",
        "abc",
        "aB",
        "\u{3000}\t",
        "日A",
        "हिन्दी",
    ] {
        texts.push(unit.repeat(900 / unit.len()));
    }
    texts
});

/// Lines of text: short fragments, and now and then something long.
fn texts() -> impl Strategy<Value = String> {
    let fragment = prop_oneof![
        20 => proptest::sample::select(&FRAGMENTS[..]).prop_map(str::to_owned),
        2 => "\\PC{0,6}",
        2 => proptest::sample::select(LONG.as_slice()),
        1 => (proptest::sample::select(LONG.as_slice()), 0..900_usize).prop_map(|(text, at)| {
            text.char_indices().take_while(|(place, _)| *place < at).map(|(_, character)| character).collect()
        }),
    ];
    proptest::collection::vec(fragment, 0..16).prop_map(|parts| parts.concat())
}

/// Character boundaries of `text` at about the places that `shares` name.
fn cuts(text: &str, shares: &[u16]) -> Vec<usize> {
    let mut cuts: Vec<usize> = shares
        .iter()
        .map(|share| {
            let mut at = text.len() * usize::from(*share) / usize::from(u16::MAX);
            while !text.is_char_boundary(at) {
                at -= 1;
            }
            at
        })
        .collect();
    cuts.sort_unstable();
    cuts
}

fn meter_agrees(encoding: &Encoding, text: &str, cuts: &[usize]) -> Result<(), TestCaseError> {
    let (mut meter, mut scratch, mut from) = (Meter::default(), Scratch::default(), 0);
    for to in cuts.iter().copied().chain([text.len()]) {
        let expected = encoding.count_with(&text[..to], &mut scratch);
        prop_assert_eq!(meter.total_with(encoding, &text[from..to], &mut scratch), expected);
        prop_assert_eq!(meter.append(encoding, &text[from..to], &mut scratch), expected, "{:?} to {}", text, to);
        from = to;
    }
    Ok(())
}

fn longer(text: &str) -> usize {
    text.chars().next().map_or(0, char::len_utf8)
}

/// Fails where what is kept has too many tokens, or the next 32 characters would not.
fn truncated_agrees(
    encoding: &Encoding,
    text: &str,
    limit: usize,
    keep: Keep,
    marker: &str,
) -> Result<(), TestCaseError> {
    let count = |text: &str| encoding.count(text);
    let cut = match encoding.truncate(text, limit, keep, marker, &mut Scratch::default()) {
        Ok(cut) => cut,
        Err(Error::InvalidArgument { name: "marker", .. }) => {
            prop_assert!(count(marker) > limit);
            return Ok(());
        }
        Err(other) => return Err(TestCaseError::fail(other.to_string())),
    };
    prop_assert_eq!(cut.is_none(), count(text) <= limit);
    let Some(cut) = cut else { return Ok(()) };
    prop_assert!(cut.head < cut.tail);
    let (head, tail) = (&text[..cut.head], &text[cut.tail..]);
    prop_assert!(keep != Keep::Head || tail.is_empty());
    prop_assert!(keep != Keep::Tail || head.is_empty());
    prop_assert!(count(&[head, marker, tail].concat()) <= limit);
    if keep != Keep::Tail {
        let share = if keep == Keep::Head { limit } else { count(marker) + (limit - count(marker)) / 2 };
        prop_assert!(count(&[head, marker].concat()) <= share);
        let mut to = cut.head;
        for _ in 0..32 {
            to += longer(&text[to..]);
            prop_assert!(to == text.len() || count(&[&text[..to], marker].concat()) > share, "{} is short", cut.head);
        }
    }
    if keep != Keep::Head {
        for (from, _) in text[..cut.tail].char_indices().rev().take(32) {
            let more = [head, marker, &text[from..]].concat();
            prop_assert!(from <= cut.head || count(&more) > limit, "{} is late", cut.tail);
        }
    }
    Ok(())
}

proptest! {
    #[test]
    fn a_meter_has_the_count_of_what_was_added_after_every_addition(
        text in texts(),
        shares in proptest::collection::vec(any::<u16>(), 0..60),
    ) {
        for encoding in encodings() {
            meter_agrees(encoding, &text, &cuts(&text, &shares))?;
        }
    }

    #[test]
    fn the_sums_of_a_text_have_the_count_of_every_part(
        text in texts(),
        shares in proptest::collection::vec(any::<u16>(), 2..40),
    ) {
        let mut scratch = Scratch::default();
        let cuts = cuts(&text, &shares);
        for encoding in encodings() {
            let prefix = Prefix::new(encoding, text.clone().into(), &mut scratch);
            prop_assert_eq!(prefix.total(), encoding.count(&text));
            for (place, from) in cuts.iter().enumerate() {
                for to in &cuts[place..] {
                    let expected = encoding.count_with(&text[*from..*to], &mut scratch);
                    let found = prefix.count(encoding, *from, *to, &mut scratch);
                    prop_assert_eq!(found, expected, "{}..{} of {:?}", from, to, text);
                }
            }
        }
    }

    #[test]
    fn what_is_kept_fits_and_a_little_more_would_not(
        text in texts(),
        limit in prop_oneof![1..12_usize, 1..200_usize],
        marker in proptest::sample::select(vec!["", "...", " [cut]", "\n", "a", "日", "\n\n[… more of the same …]\n\n", "_"]),
    ) {
        for encoding in encodings() {
            for keep in [Keep::Head, Keep::Tail, Keep::Both] {
                truncated_agrees(encoding, &text, limit, keep, marker)?;
            }
        }
    }
}

/// The head and the marker are one piece with the tail, whose own prefixes do not begin with them.
#[test]
fn both_ends_of_one_long_word_fit_around_a_letter() {
    for encoding in encodings() {
        for limit in [40, 86, 100] {
            for length in 870..905 {
                let text = ["saB", &"a".repeat(length), "I'M"].concat();
                truncated_agrees(encoding, &text, limit, Keep::Both, "日").expect("it fits");
            }
        }
    }
}

#[test]
fn every_short_text_is_metered_and_summed_at_every_cut() {
    const ALPHABET: [&str; 12] = ["s", "A", "日", "\u{301}", "7", " ", "\u{3000}", "\n", "'", "/", "!", "l"];
    let mut scratch = Scratch::default();
    for encoding in encodings() {
        for number in 0..ALPHABET.len().pow(4) {
            let parts: Vec<&str> =
                (0..4).map(|place| ALPHABET[number / ALPHABET.len().pow(place) % ALPHABET.len()]).collect();
            let text = parts.concat();
            let prefix = Prefix::new(encoding, text.as_str().into(), &mut scratch);
            let mut meter = Meter::default();
            let bounds: Vec<usize> = text.char_indices().map(|(at, _)| at).chain([text.len()]).collect();
            for (part, to) in parts.iter().zip(&bounds[1..]) {
                let total = meter.append(encoding, part, &mut scratch);
                assert_eq!(total, encoding.count_with(&text[..*to], &mut scratch), "{text:?} to {to}");
            }
            for from in &bounds {
                for to in bounds.iter().filter(|to| *to >= from) {
                    let expected = encoding.count_with(&text[*from..*to], &mut scratch);
                    assert_eq!(prefix.count(encoding, *from, *to, &mut scratch), expected, "{from}..{to} of {text:?}");
                }
            }
        }
    }
}

/// Every text that is one long piece, or a few.
#[test]
fn a_long_open_piece_is_metered_and_summed_at_every_cut() {
    let mut scratch = Scratch::default();
    for encoding in encodings() {
        for long in LONG.iter() {
            for after in ["", "x", "X", "日", " ", "\n", "'s", "/", "!", "\u{301}", "7"] {
                let text = [" ", long, after, long, "x"].concat();
                let mut meter = Meter::default();
                let prefix = Prefix::new(encoding, text.as_str().into(), &mut scratch);
                for (at, character) in text.char_indices() {
                    let to = at + character.len_utf8();
                    let total = meter.append(encoding, &text[at..to], &mut scratch);
                    if at % 7 == 0 || at < 300 {
                        assert_eq!(total, encoding.count_with(&text[..to], &mut scratch), "{text:?} to {to}");
                        assert_eq!(prefix.count(encoding, 0, to, &mut scratch), total, "{text:?} to {to}");
                    }
                    if at % 31 == 0 {
                        let expected = encoding.count_with(&text[at..], &mut scratch);
                        assert_eq!(
                            prefix.count(encoding, at, text.len(), &mut scratch),
                            expected,
                            "{text:?} from {at}"
                        );
                    }
                }
            }
        }
    }
}
