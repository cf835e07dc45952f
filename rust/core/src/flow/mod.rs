//! Flow control's arithmetic: what may go when, and how much at once. No clock, no queue.

mod capacity;
mod expected;
mod gcra;
mod gradient;
mod running;
mod window;

pub use capacity::Capacity;
pub use expected::Expected;
pub use gcra::{Gcra, Told, is_due};
pub use gradient::Gradient;
pub use running::{Call, KINDS, Running};
pub use window::Window;
