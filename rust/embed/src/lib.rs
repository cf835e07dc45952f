//! Text to unit vectors. Depends on the core for errors and the processor's level; knows no Python, threads or clock.

pub mod encoder;
pub mod safetensors;
pub mod statics;
pub mod wordpiece;
