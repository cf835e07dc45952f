//! Flow control's arithmetic: what may go when, and how much at once. No clock, no queue.

mod capacity;
mod endpoint;
mod expected;
mod gcra;
mod gradient;
mod moments;
mod period;
mod queueing;
mod running;
mod sent;
mod times;
mod window;

pub use capacity::Capacity;
pub use expected::{Expected, Size};
pub use gcra::{Gcra, Mark, Told, is_due};
pub use gradient::Gradient;
pub use period::Period;
pub use running::{Call, KINDS, Running};
pub use sent::Sent;
pub use window::Window;
