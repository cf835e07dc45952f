//! Flow control's arithmetic: what may go when. No clock, no queue.

mod gcra;

pub use gcra::{Gcra, Told, is_due};
