//! Any bytes as a text of any kind: it is cut into itself, what is left of it fits, and each missing piece stands in it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sparecall_core::context::{Document, Kind, Reading, Repeats, reduce, render};
use sparecall_core::tokens::{Encoding, Scratch};

const KINDS: [&str; 8] = ["", "json", "diff", "test", "log", "code", "data", "prose"];

fuzz_target!(|bytes: &[u8]| {
    let Some((&first, rest)) = bytes.split_first() else { return };
    let text = String::from_utf8_lossy(rest);
    let encoding = Encoding::by_name("o200k_base").expect("shipped");
    let mut scratch = Scratch::default();
    let kind = Kind::by_name(KINDS[usize::from(first % 8)]);
    let reading = Reading { may_be_compact: kind.is_none(), kind, lines: None };
    let document = Document::read(&text, encoding.count(&text), reading, encoding, &mut scratch);
    assert_eq!(render(&document, &[(0, document.len() as u32)]), document.text());
    let budget = document.tokens() * u32::from(first / 8) / 31;
    let reduced = reduce(&document, budget, "id 7", "h:0123456789abcdef", encoding, &mut scratch);
    assert!(encoding.count(&reduced.text) <= budget as usize);
    let mut left = document.text();
    for piece in &reduced.removed {
        let at = left.find(piece.as_str()).expect("a piece of the text");
        left = &left[at + piece.len()..];
    }
    if let Some(bare) = document.without_data() {
        assert!(encoding.count(&bare) < document.tokens() as usize);
    }
    let mut repeats = Repeats::default();
    let _ = repeats.push(&text, encoding, &mut scratch);
    let _ = repeats.push(&reduced.text, encoding, &mut scratch);
});
