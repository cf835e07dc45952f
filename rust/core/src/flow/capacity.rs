//! What an endpoint's capacity may be, given how much longer calls take at how many in flight.
//!
//! The model: up to `capacity` calls in flight take `level` times as long as expected, and more of them that much longer as there
//! are too many. Which of the two moved cannot be told from one reading; from readings at different numbers in flight it can, and
//! until then the more usual explanation is believed: capacities jump, the endpoint's own pace drifts. So both are kept as one grid
//! of probabilities (a histogram filter), which needs no thresholds for what is congestion and what a slower model.

/// Between two capacities, as a logarithm.
const STEP: f64 = 0.08;
/// Levels between two capacities, one level from the next as a logarithm, and how many there are on either side of 1.
const WIDER: usize = 2;
const LEVEL_STEP: f64 = STEP / WIDER as f64;
const LEVELS: usize = 20;
/// Of the level at first.
const DOUBT: f64 = 0.25;
/// Share of readings before which the capacity became another, up to fourfold.
const JUMPS: f64 = 0.06;
const FURTHEST: usize = (1.386_294_361_119_890_6 / STEP) as usize;
/// Share of the probability that goes to either neighbour: of capacities, and of levels in a second, at most in `LONGEST` of them.
const DRIFT: f64 = 0.02;
const LEVEL_DRIFT: f64 = 0.012;
const LONGEST: f64 = 0.65;
/// Share of readings that mean nothing.
const SURPRISES: f64 = 0.006;
/// Of a reading, however many samples it has.
const NOISE: f64 = 0.03;

/// Probabilities of capacities, and of levels. A reading costs some 20 us.
#[derive(Clone, Debug)]
pub struct Capacity {
    least: f64,
    capacities: usize,
    /// One row a level, one column a capacity.
    grid: Vec<f64>,
    scratch: Vec<f64>,
}

impl Capacity {
    /// Capacities between `least` and one and a half times `most`.
    pub fn new(least: f64, most: f64) -> Self {
        let capacities = ((most.max(least) * 1.5 / least).ln() / STEP).ceil() as usize + 1;
        let rows = 2 * LEVELS + 1;
        let mut grid = Vec::with_capacity(rows * capacities);
        for row in 0..rows {
            let level = Self::level_at(row) / DOUBT;
            grid.extend(std::iter::repeat_n((-0.5 * level * level).exp(), capacities));
        }
        let scratch = vec![0.0; grid.len()];
        let mut made = Self { least: least.ln(), capacities, grid, scratch };
        made.normalise();
        made
    }

    fn level_at(row: usize) -> f64 {
        (row as f64 - LEVELS as f64) * LEVEL_STEP
    }

    fn log_at(&self, column: usize) -> f64 {
        self.least + column as f64 * STEP
    }

    /// How many times as long as expected calls take that nothing is in the way of: the mean of what is thought.
    pub fn level(&self) -> f64 {
        let rows = self.grid.chunks(self.capacities).enumerate();
        rows.map(|(row, columns)| Self::level_at(row) * columns.iter().sum::<f64>()).sum::<f64>().exp()
    }

    /// The probabilities of the capacities, whatever the level, mixed with another's: `share` of these.
    pub fn mixed(&self, other: &Self, share: f64) -> Vec<f64> {
        let both = self.marginal().into_iter().zip(other.marginal());
        both.map(|(here, there)| share * here + (1.0 - share) * there).collect()
    }

    fn marginal(&self) -> Vec<f64> {
        let mut sums = vec![0.0; self.capacities];
        for columns in self.grid.chunks(self.capacities) {
            for (sum, chance) in sums.iter_mut().zip(columns) {
                *sum += chance;
            }
        }
        sums
    }

    /// The capacity that is not reached with this probability.
    pub fn quantile(&self, share: f64) -> f64 {
        self.quantile_of(&self.marginal(), share)
    }

    /// The same by other probabilities of the capacities.
    pub fn quantile_of(&self, marginal: &[f64], share: f64) -> f64 {
        let mut below = 0.0;
        for (column, &here) in marginal.iter().enumerate() {
            if below + here >= share && here > 0.0 {
                let from = self.log_at(column) - STEP / 2.0;
                return (from + STEP * (share - below) / here).exp();
            }
            below += here;
        }
        self.log_at(self.capacities - 1).exp()
    }

    /// With so many in flight calls took that many times as long as expected; `passed` seconds after the reading before.
    pub fn slower(&mut self, in_flight: f64, slower: f64, error: f64, passed: f64) {
        self.pass(passed);
        let (crowd, seen) = (in_flight.ln() - self.least, slower.ln());
        let error = (error / slower).hypot(NOISE);
        let likely = |off: f64| (-0.5 * (off / error) * (off / error)).exp() + SURPRISES;
        // The steps of both being multiples of one, what a cell comes to depends on its diagonal alone.
        let diagonal = |row: usize, column: usize| row + WIDER * (self.capacities - 1 - column);
        let zero = diagonal(LEVELS, 0) as f64;
        let diagonals: Vec<f64> =
            (0..=diagonal(2 * LEVELS, 0)).map(|at| likely(seen - crowd - (at as f64 - zero) * LEVEL_STEP)).collect();
        let crowded = ((crowd / STEP).ceil().max(0.0) as usize).min(self.capacities);
        for (row, columns) in self.grid.chunks_mut(self.capacities).enumerate() {
            let (less, more) = columns.split_at_mut(crowded);
            for (column, chance) in less.iter_mut().enumerate() {
                *chance *= diagonals[diagonal(row, column)];
            }
            let alone = likely(seen - Self::level_at(row));
            for chance in more {
                *chance *= alone;
            }
        }
        self.normalise();
    }

    /// So many, or fewer: others waited for them.
    pub fn at_most(&mut self, capacity: f64, error: f64) {
        let (most, least) = (capacity.ln(), self.least);
        self.weigh(error, |_, column| (least + column as f64 * STEP - most).max(0.0));
    }

    /// So many: others were turned away.
    pub fn about(&mut self, capacity: f64, error: f64, passed: f64) {
        self.pass(passed);
        let (known, least) = (capacity.ln(), self.least);
        self.weigh(error, |_, column| least + column as f64 * STEP - known);
    }

    /// What a reading's time changes by itself.
    fn pass(&mut self, passed: f64) {
        let level_drift = LEVEL_DRIFT * passed.min(LONGEST);
        let columns = self.capacities;
        let reached = |column: usize| (column + FURTHEST).min(columns - 1) + 1 - column.saturating_sub(FURTHEST);
        let mut sums = vec![0.0; columns + 1];
        for (old, new) in self.grid.chunks(columns).zip(self.scratch.chunks_mut(columns)) {
            for (column, &here) in old.iter().enumerate() {
                sums[column + 1] = sums[column] + here / reached(column) as f64;
            }
            for (column, next) in new.iter_mut().enumerate() {
                let jumped = sums[(column + FURTHEST).min(columns - 1) + 1] - sums[column.saturating_sub(FURTHEST)];
                let before = if column > 0 { old[column - 1] } else { 0.0 };
                let after = old.get(column + 1).copied().unwrap_or(0.0);
                *next = (1.0 - JUMPS - 2.0 * DRIFT) * old[column] + DRIFT * (before + after) + JUMPS * jumped;
            }
        }
        for (at, next) in self.grid.iter_mut().enumerate() {
            let before = if at >= columns { self.scratch[at - columns] } else { 0.0 };
            let after = self.scratch.get(at + columns).copied().unwrap_or(0.0);
            *next = (1.0 - 2.0 * level_drift) * self.scratch[at] + level_drift * (before + after);
        }
    }

    fn weigh(&mut self, error: f64, off: impl Fn(usize, usize) -> f64) {
        for (row, columns) in self.grid.chunks_mut(self.capacities).enumerate() {
            for (column, chance) in columns.iter_mut().enumerate() {
                let off = off(row, column) / error;
                *chance *= (-0.5 * off * off).exp() + SURPRISES;
            }
        }
        self.normalise();
    }

    fn normalise(&mut self) {
        let whole: f64 = self.grid.iter().sum();
        for chance in &mut self.grid {
            *chance /= whole;
        }
    }
}
