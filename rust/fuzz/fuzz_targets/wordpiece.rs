//! Any bytes as a WordPiece tokenizer's file: a typed error, or a tokenizer whose ids are those it has.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sparecall_embed::wordpiece::{Options, WordPiece};

fuzz_target!(|file: &[u8]| {
    let json = file.trim_ascii_start().starts_with(b"{");
    let read = if json { WordPiece::from_json(file) } else { WordPiece::from_vocab(file, Options::default()) };
    if let Ok(tokenizer) = read {
        let mut ids = Vec::new();
        tokenizer.encode("ab! \u{4e2d} \u{c9} [SEP] \0 \u{302e}", 256, &mut ids);
        tokenizer.encode(&String::from_utf8_lossy(file), 256, &mut ids);
        assert!(ids.iter().all(|id| *id <= tokenizer.highest_id()));
    }
});
