//! What an event loop watches for words from other threads: an eventfd, or a pipe where there is none.

#![allow(unsafe_code)]

use std::fs::File;
use std::io::{Read, Result, Write};
use std::os::fd::{AsRawFd, RawFd};

/// Readable after `signal`, until `clear`. Owns its descriptors: they close with it.
pub(super) struct Wakeup {
    read: File,
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    write: File,
}

impl Wakeup {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    pub(super) fn new() -> Result<Self> {
        use std::os::fd::{FromRawFd, OwnedFd};

        // SAFETY: the call takes no memory; what it returns is checked.
        let fd = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
        if fd < 0 {
            return Err(std::io::Error::last_os_error());
        }
        // SAFETY: the descriptor is new, and nobody else's.
        Ok(Self { read: File::from(unsafe { OwnedFd::from_raw_fd(fd) }) })
    }

    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    pub(super) fn new() -> Result<Self> {
        use std::os::fd::OwnedFd;

        let (read, write) = std::io::pipe()?;
        for fd in [read.as_raw_fd(), write.as_raw_fd()] {
            // SAFETY: the descriptor is open; the flag makes its calls return where they would wait.
            if unsafe { libc::fcntl(fd, libc::F_SETFL, libc::O_NONBLOCK) } < 0 {
                return Err(std::io::Error::last_os_error());
            }
        }
        Ok(Self { read: File::from(OwnedFd::from(read)), write: File::from(OwnedFd::from(write)) })
    }

    /// Makes it readable. Neither a counter nor a pipe can be full: there is one signal for each `clear`, and a few that cross it.
    pub(super) fn signal(&self) {
        #[cfg(any(target_os = "linux", target_os = "android"))]
        let mut to = &self.read;
        #[cfg(not(any(target_os = "linux", target_os = "android")))]
        let mut to = &self.write;
        let _ = to.write(&1u64.to_ne_bytes());
    }

    pub(super) fn clear(&self) {
        let _ = (&self.read).read(&mut [0; 64]);
    }

    pub(super) fn fd(&self) -> RawFd {
        self.read.as_raw_fd()
    }
}
