//! The shipped prior: boosted trees over the features, as flat arrays read from the crate's data.
//!
//! `training/semantic_prior.py` writes the file; docs/semantic.md holds its model card.

use std::sync::LazyLock;

use super::compare::FEATURES;
use super::reader::Reader;

/// Inputs of the trees: the cosine as calibrated for its embedder, then the features of the texts.
pub const INPUTS: usize = FEATURES + 1;
const MAGIC: u32 = 0x5350_5231; // "SPR1"
static FILE: &[u8] = include_bytes!("data/prior.bin");

/// The inner nodes of a tree stand before its leaves; a child below zero is leaf `!child`.
#[derive(Clone, Copy)]
struct Node {
    feature: u16,
    threshold: f32,
    left: i16,
    right: i16,
}

struct Tree {
    nodes: Vec<Node>,
    leaves: Vec<f32>,
}

/// Which similarity the cosine is: each embedder spreads its own way.
pub(super) struct Calibration {
    pub(super) name: String,
    /// Cosines of this embedder and the cosines of `MiniLM` at the same quantile; both rise.
    knots: Vec<(f32, f32)>,
}

impl Calibration {
    fn apply(&self, cosine: f32) -> f32 {
        let after = self.knots.partition_point(|knot| knot.0 < cosine);
        match (after.checked_sub(1).and_then(|i| self.knots.get(i)), self.knots.get(after)) {
            (Some(&(x0, y0)), Some(&(x1, y1))) => y0 + (y1 - y0) * (cosine - x0) / (x1 - x0),
            (Some(&(_, y)), None) | (None, Some(&(_, y))) => y,
            (None, None) => cosine,
        }
    }
}

/// The model and what was measured about it.
pub(super) struct Prior {
    bias: f32,
    trees: Vec<Tree>,
    pub(super) calibrations: Vec<Calibration>,
    /// By how much its log-odds were too high on families of pairs that it was not fitted on.
    pub(super) discount: f32,
    /// Means and spreads of the inputs over the pairs it was fitted on.
    pub(super) scale: [(f32, f32); INPUTS],
    /// How common stems are in English text: hundredths of a nat below certainty, by hash.
    pub(super) common: &'static [u8],
}

static PRIOR: LazyLock<Prior> = LazyLock::new(|| Prior::read(FILE).expect("the shipped prior is whole"));

pub(super) fn prior() -> &'static Prior {
    &PRIOR
}

impl Prior {
    fn read(file: &'static [u8]) -> Option<Self> {
        let mut reader = Reader::new(file);
        if reader.u32()? != MAGIC || usize::from(reader.u16()?) != INPUTS {
            return None;
        }
        let (bias, discount) = (reader.f32()?, reader.f32()?);
        let mut scale = [(0.0, 1.0); INPUTS];
        for pair in &mut scale {
            *pair = (reader.f32()?, reader.f32()?);
        }
        let calibrations = (0..reader.u16()?)
            .map(|_| {
                let name = (0..reader.u8()?).map(|_| reader.u8().map(char::from)).collect::<Option<String>>()?;
                let knots = (0..reader.u16()?).map(|_| Some((reader.f32()?, reader.f32()?))).collect::<Option<_>>()?;
                Some(Calibration { name, knots })
            })
            .collect::<Option<_>>()?;
        let trees = (0..reader.u16()?)
            .map(|_| {
                let (nodes, leaves) = (reader.u16()?, reader.u16()?);
                let nodes: Vec<Node> = (0..nodes)
                    .map(|_| {
                        Some(Node {
                            feature: reader.u16()?,
                            threshold: reader.f32()?,
                            left: reader.i16()?,
                            right: reader.i16()?,
                        })
                    })
                    .collect::<Option<_>>()?;
                let leaves: Vec<f32> = (0..leaves).map(|_| reader.f32()).collect::<Option<_>>()?;
                // A child inside the tree stands after its parent, so that every walk ends.
                let sound = nodes.iter().enumerate().all(|(at, node)| {
                    usize::from(node.feature) < INPUTS
                        && [node.left, node.right].into_iter().all(|child| match usize::try_from(child) {
                            Ok(child) => child > at && child < nodes.len(),
                            Err(_) => usize::try_from(!child).is_ok_and(|leaf| leaf < leaves.len()),
                        })
                });
                (sound && !leaves.is_empty()).then_some(Tree { nodes, leaves })
            })
            .collect::<Option<_>>()?;
        let common = reader.u32()? as usize;
        let common = reader.bytes(common)?;
        (reader.ended() && common.len().is_power_of_two()).then_some(Self {
            bias,
            trees,
            calibrations,
            discount,
            scale,
            common,
        })
    }

    /// Which calibration has this name.
    pub(super) fn embedder(&self, name: &str) -> Option<usize> {
        self.calibrations.iter().position(|calibration| calibration.name == name)
    }

    /// Log-odds that the stored answer serves the query, with a calibrated cosine before the features.
    pub(super) fn log_odds(&self, inputs: &[f32; INPUTS]) -> f32 {
        let mut sum = self.bias;
        for tree in &self.trees {
            let mut at = if tree.nodes.is_empty() { -1_i16 } else { 0 };
            while let Ok(inner) = usize::try_from(at) {
                let node = &tree.nodes[inner];
                at = if inputs[usize::from(node.feature)] <= node.threshold { node.left } else { node.right };
            }
            sum += tree.leaves[!at as usize];
        }
        sum
    }

    pub(super) fn calibrate(&self, embedder: usize, cosine: f32) -> f32 {
        self.calibrations[embedder].apply(cosine)
    }
}
