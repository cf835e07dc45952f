//! Every set of inner loops against the portable one, on buffers that end where memory ends.
#![allow(unsafe_code)]
