//! `SafeTensors`: any bytes are a typed error, or tensors whose bytes are as many as their shapes say.

use std::path::Path;

use proptest::prelude::*;
use sparecall_core::error::Error;
use sparecall_embed::safetensors::SafeTensors;

fn file(header: &str, data: &[u8]) -> Vec<u8> {
    [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), data].concat()
}

fn entry(name: &str, dtype: &str, shape: &[usize], start: usize, end: usize) -> String {
    format!(r#""{name}":{{"dtype":"{dtype}","shape":{shape:?},"data_offsets":[{start},{end}]}}"#)
}

proptest! {
    #[test]
    fn what_was_written_is_read(
        shapes in prop::collection::vec((0_usize..4, 1_usize..5), 1..5),
        numbers in prop::collection::vec(-1e6_f32..1e6, 64),
    ) {
        let (mut entries, mut data) = (Vec::new(), Vec::new());
        for (at, (rows, columns)) in shapes.iter().enumerate() {
            let start = data.len();
            data.extend(numbers.iter().take(rows * columns).flat_map(|number| number.to_le_bytes()));
            entries.push(entry(&format!("t{at}"), "F32", &[*rows, *columns], start, data.len()));
        }
        let file = file(&format!("{{{}}}", entries.join(",")), &data);
        let read = SafeTensors::read(&file).expect("a file");
        for (at, (rows, columns)) in shapes.iter().enumerate() {
            let name = format!("t{at}");
            prop_assert_eq!(&read.numbers(&name, &[*rows, *columns]).expect("a tensor"), &numbers[..rows * columns]);
            let other = read.numbers(&name, &[rows + 1, *columns]);
            prop_assert!(matches!(other, Err(Error::ModelFile { .. })), "another shape is refused");
        }
        prop_assert!(!read.contains("t9"));
    }

    #[test]
    fn a_file_that_is_cut_anywhere_is_refused(cut in 0_usize..140) {
        let header = format!("{{{},{}}}", entry("a", "F16", &[2, 2], 0, 8), entry("b", "BF16", &[3], 8, 14));
        let whole = file(&header, &[0; 14]);
        prop_assert!(SafeTensors::read(&whole).is_ok());
        prop_assert!(SafeTensors::read(&whole[..cut.min(whole.len() - 1)]).is_err());
    }

    #[test]
    fn any_bytes_are_read_or_refused(header in ".{0,60}", data in any::<Vec<u8>>()) {
        let _ = SafeTensors::read(&data);
        let _ = SafeTensors::read(&file(&header, &data));
    }
}

#[test]
fn the_fuzz_corpus_is_read_or_refused_as_its_names_say() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus/safetensors");
    let mut seen = 0;
    for entry in std::fs::read_dir(folder).expect("the corpus is committed") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().and_then(|name| name.to_str()).expect("a name").to_owned();
        let bytes = std::fs::read(&path).expect("a file");
        let read = SafeTensors::read(&bytes).and_then(|tensors| tensors.numbers("a", &[2, 2]));
        assert_eq!(read.is_ok(), name.starts_with("good"), "{name}: {:?}", read.err());
        seen += 1;
    }
    assert!(seen > 15, "the corpus has files");
}
