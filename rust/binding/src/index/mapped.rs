//! The bytes of a file, mapped into memory: read from disk when they are needed, and again when memory was short.

#![allow(unsafe_code)]

use std::fs::File;
use std::io::Result;
use std::path::Path;
use std::sync::Arc;

use memmap2::Mmap;
use sparecall_core::index::FileBytes;

/// What is in the file at `path`: a map of a plain file, which stays valid when another is renamed to its name.
pub(super) fn open(path: &Path) -> Result<FileBytes> {
    let file = File::open(path)?;
    if !file.metadata()?.is_file() {
        return Ok(Arc::new(std::fs::read(path)?));
    }
    // SAFETY: the file must not change while it is mapped. We replace files by renaming and never write into one; that
    // nobody else does is asked of the caller in the documentation.
    Ok(Arc::new(unsafe { Mmap::map(&file)? }))
}
