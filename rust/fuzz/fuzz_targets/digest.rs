//! Any bytes: the reader never panics, levels of the processor agree, and a body is equal to itself however padded.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sparecall_core::cpu::{self, Level};
use sparecall_core::digest::{Options, Scratch, Wire, compare, inspect};

fuzz_target!(|body: &[u8]| {
    let mut scratch = Scratch::default();
    let found = Level::ALL.map(|level| {
        cpu::set(level);
        inspect(body, &Options::default(), &mut scratch)
    });
    assert!(found.windows(2).all(|pair| pair[0].as_ref().map(|f| f.digest) == pair[1].as_ref().map(|f| f.digest)));
    if found[0].is_ok() {
        let padded = [b"\n\t ", body, b" \r\n"].concat();
        assert_eq!(compare(body, &padded, Wire::Chat), Ok(None));
    }
});
