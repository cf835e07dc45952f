//! Any text in any language, and then that text edited: an outline whose ranges are right, and the same index as one filled anew.
#![no_main]

use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use sparecall_outline::{Language, SymbolIndex, decode, outline};

// The first byte says the language, the second where the text is cut for the second version.
fuzz_target!(|bytes: &[u8]| {
    let [language, cut, rest @ ..] = bytes else { return };
    let language = Language::ALL[usize::from(*language) % Language::ALL.len()];
    let text = decode(rest).text;
    let Ok(found) = outline(&text, language) else { return };
    for symbol in &found.symbols {
        assert!(!found.text(&text, symbol).is_empty());
    }
    let _ = found.skeleton(&text, &["f"]);
    let shorter: String = text.chars().take(text.chars().count() * usize::from(*cut) / 256).collect();
    let mut index = SymbolIndex::new(1 << 20, cut % 2 == 1);
    for version in [&*text, &shorter, &text] {
        let _ = index.update("a", Arc::from(version), Some(language), &mut || false);
    }
    let loaded = SymbolIndex::load(&index.save(), 1 << 20).expect("what was saved");
    assert_eq!(loaded.symbols("a"), index.symbols("a"));
});
