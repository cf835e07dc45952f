//! Files that are whole or absent: written beside their place, flushed to disk, then renamed over it.

use std::fs::{File, OpenOptions};
use std::hash::{BuildHasher, RandomState};
use std::io::{Error, ErrorKind, Result, Write};
use std::path::{Path, PathBuf};

use pyo3::exceptions::PyOSError;
use pyo3::prelude::*;

/// A file on its way to `path`, readable by the owner alone. Whatever goes wrong before [`Self::commit`], a file that was
/// there stays as it was, and nothing is left beside it.
pub(crate) struct Replacement {
    file: File,
    beside: PathBuf,
    path: PathBuf,
    committed: bool,
}

impl Replacement {
    pub(crate) fn create(path: &Path) -> Result<Self> {
        let beside = name_beside(path)?;
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let file = options.open(&beside)?;
        Ok(Self { file, beside, path: path.to_owned(), committed: false })
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.file.write_all(bytes)
    }

    /// Flushes what was written to disk and puts it in its place.
    pub(crate) fn commit(mut self) -> Result<()> {
        self.file.sync_all()?;
        std::fs::rename(&self.beside, &self.path)?;
        self.committed = true;
        flush_folder(&self.path)
    }
}

impl Drop for Replacement {
    fn drop(&mut self) {
        if !self.committed {
            let _ = std::fs::remove_file(&self.beside);
        }
    }
}

/// The `OSError` (or its fitting child) for what went wrong with `path`.
pub(crate) fn to_python(error: &Error, path: &Path) -> PyErr {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or_default().to_owned();
    match error.raw_os_error() {
        Some(code) => PyOSError::new_err((code, text, path.to_path_buf())),
        None => PyOSError::new_err(format!("{text}: {}", path.display())),
    }
}

/// A name that nobody else has. Random: another process, or one that was killed before, may have had this one's number.
fn name_beside(path: &Path) -> Result<PathBuf> {
    let mut name = std::ffi::OsString::from(".");
    name.push(path.file_name().ok_or_else(|| Error::new(ErrorKind::InvalidInput, "the path names no file"))?);
    name.push(format!(".{:016x}.tmp", RandomState::new().hash_one(std::process::id())));
    Ok(path.with_file_name(name))
}

/// Makes the rename itself durable, where folders can be flushed.
fn flush_folder(path: &Path) -> Result<()> {
    if cfg!(unix) {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        File::open(folder)?.sync_all()?;
    }
    Ok(())
}
