//! Right checksums for an index file that was forged: what the tests and the fuzzer put under them is read in earnest.

const HEAD: usize = 64;
const FRAME: usize = 64;
/// Bytes of a block's frame before its checksum, and of the tail before its own.
const FRAMED: usize = 32;
const TAIL: usize = 48;

/// Sets the checksums of all blocks of `file` and that of its tail, as far as its lengths make sense.
pub(crate) fn seal(file: &mut [u8]) {
    let number = |bytes: &[u8]| bytes.iter().take(8).rev().fold(0, |all, &byte| all << 8 | u64::from(byte));
    let Some((head, mut rest)) = file.split_at_mut_checked(HEAD) else { return };
    let mut all = blake3::Hasher::new();
    all.update(head);
    while rest.len() >= FRAME && number(rest) != 0 {
        let Some(end) = usize::try_from(number(&rest[8..])).ok().and_then(|length| length.checked_add(FRAME)) else {
            return;
        };
        let Some((block, after)) = rest.split_at_mut_checked(end) else { return };
        let mut sum = blake3::Hasher::new();
        sum.update(&block[..FRAMED]);
        sum.update(&block[FRAME..]);
        block[FRAMED..FRAME].copy_from_slice(sum.finalize().as_bytes());
        all.update(&block[FRAMED..FRAME]);
        rest = after;
    }
    if rest.len() == TAIL + blake3::OUT_LEN {
        all.update(&rest[..TAIL]);
        rest[TAIL..].copy_from_slice(all.finalize().as_bytes());
    }
}
