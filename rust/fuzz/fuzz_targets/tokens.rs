//! Any bytes as text: its tokens spell it, every way to count them says the same, and what is cut to a limit keeps it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sparecall_core::tokens::{Encoding, Meter, Prefix, Scratch};

fuzz_target!(|bytes: &[u8]| {
    let text = String::from_utf8_lossy(bytes);
    let mut middle = text.len() / 2;
    while !text.is_char_boundary(middle) {
        middle += 1;
    }
    for name in Encoding::names() {
        let encoding = Encoding::by_name(name).expect("shipped");
        let (mut scratch, ids) = (Scratch::default(), encoding.encode(&text));
        let spelt: Vec<u8> = ids.iter().flat_map(|id| encoding.token(*id).expect("a token")).copied().collect();
        assert_eq!(spelt, text.as_bytes());
        for _ in 0..2 {
            assert_eq!(encoding.count_with(&text, &mut scratch), ids.len(), "the second time from memory");
        }
        let mut meter = Meter::default();
        assert_eq!(
            meter.append(encoding, &text[..middle], &mut scratch),
            encoding.count(&text[..middle])
        );
        assert_eq!(meter.append(encoding, &text[middle..], &mut scratch), ids.len());
        let prefix = Prefix::new(encoding, text.as_ref().into(), &mut scratch);
        let part = prefix.count(encoding, middle, text.len(), &mut scratch);
        assert_eq!(part, encoding.count(&text[middle..]));
    }
});
