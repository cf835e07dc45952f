//! Any bytes as a profile or as the saved state of a decision (past its seal): refused, or good to judge with.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sparecall_core::semantic::{Decision, Group, Profile, Signals};

fuzz_target!(|bytes: &[u8]| {
    let text = Profile::of("lose 5 kg in two weeks");
    let other = Profile::from_bytes(bytes).unwrap_or_else(|_| text.clone());
    let mut decision = Decision::new(0.1, 0.2, 9, "minilm").expect("arguments");
    decision.read_unsealed(bytes);
    let signals = Signals { cosine: 0.9, second: 0.5, density: 2.0, age: 1.0 };
    let verdict = decision.judge(&text, &other, signals, Group::default(), None).expect("signals");
    assert!((0.0..=1.0).contains(&verdict.probability) && (0.0..=1.0).contains(&verdict.upper));
    decision.learn(&verdict.evidence, false, 1.0).expect("a weight");
});
