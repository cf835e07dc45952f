//! Any bytes as a tokenizer's file: a typed error, or a tokenizer whose ids spell the text.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sparecall_core::tokens::{Allowed, Pattern, Tokenizer, TokenizerScratch};

fuzz_target!(|file: &[u8]| {
    let pattern = (!file.trim_ascii_start().starts_with(b"{")).then_some(Pattern::O200k);
    if let Ok(tokenizer) = Tokenizer::read("file", file, pattern, Vec::new()) {
        let text = "abcabc <|endoftext|> dejavu 日本\r\n 12345 aaaaaaaaaaaaaaaaaaaaaaaa";
        let (mut ids, mut scratch) = (Vec::new(), TokenizerScratch::default());
        tokenizer.encode(text, Allowed::Everything, &mut scratch, &mut ids);
        let spelt: Vec<u8> = ids.into_iter().flat_map(|id| tokenizer.token(id).expect("a token")).copied().collect();
        assert_eq!(spelt, text.as_bytes());
    }
});
