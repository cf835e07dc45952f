//! What is certain about a similarity where the original vector was not kept.
//!
//! The stored form of an entry `x` of length 1 is a vector `X` of whole numbers, and `error` is stored with
//! `|x - sX| <= error` for some `s`. The distance from `x` to the line of `X` is no longer than that, so the angle `a` between
//! `x` and `X` has `sin a <= error`. Angles keep the triangle inequality: a query `q` at the angle `b` from `X` is at an angle
//! from `b - a` to `b + a` from `x`, so that
//!
//! ```text
//! cos b cos a - sin b sin a <= q.x <= cos b cos a + sin b sin a
//! ```
//!
//! and 1 is the upper bound where `b < a`, -1 the lower where `b + a` is more than half a turn. The interval is narrow where
//! similarities are high: a byte a dimension leaves about 0.008 for `sin a` of text embeddings, and `sin b` is 0.5 at a
//! similarity of 0.87. `cos b` is computed as similarities are (`bound`), within 1e-12 before it is rounded.

/// How much is added on either side: the rounding of the bounds to `f32`, and that of the similarity which the original
/// would have had.
const ROUNDING: f64 = 1.5e-7;

/// `cos(acos(cosine) + angle)` for the angle with this sine, from 0 to a right one; -1 beyond half a turn.
fn further(cosine: f64, sine: f64) -> f64 {
    let shrink = (1.0 - sine * sine).max(0.0).sqrt();
    if cosine <= -shrink { -1.0 } else { cosine * shrink - (1.0 - cosine * cosine).max(0.0).sqrt() * sine }
}

/// Between which bounds the similarity of an entry is, whose stored form has the similarity `cosine` and is that far off.
pub(super) fn interval(cosine: f64, error: f32) -> [f32; 2] {
    let (cosine, sine) = (cosine.clamp(-1.0, 1.0), f64::from(error).min(1.0));
    let (low, high) = (further(cosine, sine), -further(-cosine, sine));
    [low - ROUNDING, high + ROUNDING].map(|bound| (bound as f32).clamp(-1.0, 1.0))
}

/// At most the similarity, rounded to `f32`, of any stored form whose `interval` reaches `threshold`, where none is further
/// off than `error`.
pub(super) fn loosened(threshold: f64, error: f32) -> f64 {
    further((threshold - 2.0 * ROUNDING).max(-1.0), f64::from(error).min(1.0)) - ROUNDING
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interval_holds_the_angles_either_way() {
        let error = 0.02f32;
        let angle = f64::from(error).asin();
        for step in 0..=1000 {
            let from = std::f64::consts::PI * f64::from(step) / 1000.0;
            let [low, high] = interval(from.cos(), error).map(f64::from);
            let (near, far) = ((from - angle).max(0.0).cos(), (from + angle).min(std::f64::consts::PI).cos());
            assert!(low <= far && near <= high, "{low} {far} {near} {high}");
            assert!((high - near).max(far - low) < 3e-7);
        }
    }

    #[test]
    fn a_loosened_threshold_passes_whatever_reaches_it() {
        for error in [4e-7f32, 0.001, 0.008, 0.08, 0.9, 1.5] {
            for step in 0..=2000 {
                let cosine = 1.0 - f64::from(step) / 1000.0;
                let [_, high] = interval(cosine, error / 2.0);
                assert!(loosened(f64::from(high), error) <= f64::from(cosine as f32));
                assert!(loosened(f64::from(interval(cosine, error)[1]), error) <= f64::from(cosine as f32));
            }
        }
    }
}
