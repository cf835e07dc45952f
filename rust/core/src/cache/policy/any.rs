//! The policies by name.

use super::{Adaptive, Cost, Load, Lru, Order, Policy};

/// Whichever policy a name asks for.
#[derive(Debug)]
pub enum AnyPolicy {
    Lru(Lru),
    Adaptive(Adaptive),
    Cost(Cost),
}

macro_rules! each {
    ($any:expr, $policy:ident => $call:expr) => {
        match $any {
            AnyPolicy::Lru($policy) => $call,
            AnyPolicy::Adaptive($policy) => $call,
            AnyPolicy::Cost($policy) => $call,
        }
    };
}

impl AnyPolicy {
    /// Every name there is, the default first.
    pub const NAMES: [&'static str; 3] = ["adaptive", "lru", "cost"];

    /// For a cache of at most `max_weight`. `None`: no policy has this name.
    pub fn new(name: &str, max_weight: u64) -> Option<Self> {
        match name {
            "adaptive" => Some(Self::Adaptive(Adaptive::new(max_weight))),
            "lru" => Some(Self::Lru(Lru::new())),
            "cost" => Some(Self::Cost(Cost::new())),
            _ => None,
        }
    }

    pub fn name(&self) -> &'static str {
        match self {
            Self::Adaptive(_) => "adaptive",
            Self::Lru(_) => "lru",
            Self::Cost(_) => "cost",
        }
    }

    /// Bytes of metadata, whatever the allocators add.
    pub fn bytes(&self) -> usize {
        each!(self, policy => policy.bytes())
    }
}

impl Policy for AnyPolicy {
    fn fresh(&self) -> Self {
        match self {
            Self::Lru(policy) => Self::Lru(policy.fresh()),
            Self::Adaptive(policy) => Self::Adaptive(policy.fresh()),
            Self::Cost(policy) => Self::Cost(policy.fresh()),
        }
    }

    fn resize(&mut self, max_weight: u64) {
        each!(self, policy => policy.resize(max_weight));
    }

    #[inline]
    fn insert(&mut self, index: u32, load: Load) {
        each!(self, policy => policy.insert(index, load));
    }

    #[inline]
    fn hit(&mut self, index: u32) {
        each!(self, policy => policy.hit(index));
    }

    #[inline]
    fn reweigh(&mut self, index: u32, load: Load) {
        each!(self, policy => policy.reweigh(index, load));
    }

    #[inline]
    fn remove(&mut self, index: u32, hash: u32) {
        each!(self, policy => policy.remove(index, hash));
    }

    #[inline]
    fn victim(&mut self, coming: u64, spare: u32) -> Option<u32> {
        each!(self, policy => policy.victim(coming, spare))
    }

    #[inline]
    fn weight(&self, index: u32) -> u64 {
        each!(self, policy => policy.weight(index))
    }

    #[inline]
    fn total(&self) -> u64 {
        each!(self, policy => policy.total())
    }

    fn order(&self) -> Order {
        each!(self, policy => policy.order())
    }

    fn memory(&self, index: u32) -> u8 {
        each!(self, policy => policy.memory(index))
    }

    fn remember(&mut self, index: u32, memory: u8) {
        each!(self, policy => policy.remember(index, memory));
    }
}
