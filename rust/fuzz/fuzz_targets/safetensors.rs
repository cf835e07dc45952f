//! Any bytes as a file of tensors: a typed error, or tensors of the shapes that are asked for.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sparecall_embed::safetensors::SafeTensors;

fuzz_target!(|file: &[u8]| {
    if let Ok(tensors) = SafeTensors::read(file)
        && let Ok(numbers) = tensors.numbers("a", &[2, 2])
    {
        assert!(numbers.len() == 4 && numbers.iter().all(|number| number.is_finite()));
    }
});
