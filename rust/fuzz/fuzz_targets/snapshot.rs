//! Any bytes under a right checksum: refused, or read without a panic as what, written again, is read again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sparecall_core::cache::snapshot::{Encoder, Form, Record, Snapshot};

fuzz_target!(|body: &[u8]| {
    let file = [body, blake3::hash(body).as_bytes()].concat();
    for form in [Form::Bytes, Form::Objects] {
        let Ok(snapshot) = Snapshot::open(&file, form) else { continue };
        let records: Vec<Record<'_>> = snapshot.records(0).collect();
        assert!(snapshot.records(u64::MAX).count() <= records.len());
        let mut encoder = Encoder::new(form, 0);
        for record in &records {
            assert!(form == Form::Objects || record.key.is_valid());
            encoder.push(record);
        }
        let again = encoder.finish();
        let again = Snapshot::open(&again, form).expect("just written");
        assert!(again.records(0).eq(records));
    }
});
