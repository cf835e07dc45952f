//! Any bytes under right checksums: refused, or an index that can be searched, changed and saved again without a panic.
#![no_main]

use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use sparecall_core::index::{FileBytes, Index, NEVER, Options, Query};

#[path = "../../core/tests/index_file/seal.rs"]
mod seal;

fuzz_target!(|file: &[u8]| {
    let mut file = file.to_vec();
    seal::seal(&mut file);
    let bytes: FileBytes = Arc::new(file);
    let Ok(mut index) = Index::open(&bytes) else { return };
    let vector: Vec<f32> = (0..index.dim()).map(|at| at as f32 + 1.0).collect();
    let query = Query::new(vector.clone(), index.dim(), None).expect("finite");
    for namespace in ["", "a", "b"] {
        if let Some(snapshot) = index.snapshot(namespace) {
            snapshot.search(&[&query], &Options { k: 2, min_similarity: 0.5, exact: true, now: 1 });
        }
        for id in 0..70 {
            index.remove(id * 3);
            index.add(id, &vector, namespace, NEVER, 200).expect("finite");
        }
        if let Some(job) = index.job(namespace) {
            index.install(job.run());
        }
    }
    let mut again = Vec::new();
    index.freeze().write(|piece| Ok::<_, ()>(again.extend_from_slice(piece))).expect("no write fails");
    let again: FileBytes = Arc::new(again);
    assert!(Index::open(&again).is_ok_and(|again| again.len() == index.len()));
});
