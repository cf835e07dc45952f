//! Which instruction sets this processor has, found once; tests can lower the level to run every path in one process.

use std::sync::atomic::{AtomicU8, Ordering};

/// A ladder of instruction sets. A kernel written for a level runs on that level and every one above it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Level {
    /// Portable code only.
    Scalar = 1,
    /// AVX2, BMI2 and FMA, each tested.
    Avx2 = 2,
    /// AVX-512 F, BW, VL and DQ, each tested, on top of AVX2.
    Avx512 = 3,
    /// AVX-512 VBMI and VNNI, each tested, on top of AVX-512: Ice Lake, Zen 4 and later.
    Avx512Vbmi = 4,
}

impl Level {
    /// Every level, lowest first.
    pub const ALL: [Self; 4] = [Self::Scalar, Self::Avx2, Self::Avx512, Self::Avx512Vbmi];

    /// The name used in `build_info()`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Scalar => "scalar",
            Self::Avx2 => "avx2",
            Self::Avx512 => "avx512",
            Self::Avx512Vbmi => "avx512vbmi",
        }
    }

    /// The level of that name, if there is one.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|level| level.name() == name)
    }
}

/// 0 means not looked up yet.
static CURRENT: AtomicU8 = AtomicU8::new(0);

/// The level kernels dispatch on: one relaxed load after the first call.
#[inline]
pub fn level() -> Level {
    match CURRENT.load(Ordering::Relaxed) {
        1 => Level::Scalar,
        2 => Level::Avx2,
        3 => Level::Avx512,
        4 => Level::Avx512Vbmi,
        _ => set(detect()),
    }
}

/// The highest level this processor has.
pub fn detect() -> Level {
    #[cfg(target_arch = "x86_64")]
    {
        let avx2 =
            is_x86_feature_detected!("avx2") && is_x86_feature_detected!("bmi2") && is_x86_feature_detected!("fma");
        let avx512 = avx2
            && is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512vl")
            && is_x86_feature_detected!("avx512dq");
        let vbmi = avx512 && is_x86_feature_detected!("avx512vbmi") && is_x86_feature_detected!("avx512vnni");
        if avx2 {
            return match (avx512, vbmi) {
                (_, true) => Level::Avx512Vbmi,
                (true, false) => Level::Avx512,
                (false, false) => Level::Avx2,
            };
        }
    }
    Level::Scalar
}

/// For tests: dispatch on `level`, or on what the processor has where that is lower. Returns the level now in force.
pub fn set(level: Level) -> Level {
    let granted = level.min(detect());
    CURRENT.store(granted as u8, Ordering::Relaxed);
    granted
}
