//! What holds for the choice of what stays.

/// What holds for the choice. All of it is tokens but `half_life`, in atoms.
#[derive(Clone, Debug)]
pub struct Options {
    pub budget: u32,
    /// What a gap leaves behind costs.
    pub marker: u32,
    /// What the first gap of a text costs beside that.
    pub handle: u32,
    /// Documents of no more are kept or left out whole.
    pub whole: u32,
    /// After so many atoms a value weighs half.
    pub half_life: f32,
    /// The worth of a token of the most relevant text, in values of the commonest kind.
    pub relevance: f32,
    /// The same of a token that its kind speaks for.
    pub prior: f32,
    /// What further places of a value add to it.
    pub again: f32,
    /// The worth of a token of what holds an identifier that comes again later: the row of a table that was chosen from it.
    pub later: f32,
    /// The same of what belongs to a symbol that is named later, or asked for.
    pub named: f32,
    /// Of a text that has more identifiers each weighs less, by the root of how many times as many there are: which one of them
    /// comes again is the less likely.
    pub crowd: f32,
    /// What instructions name as commands, as `commands` finds them: each weighs as what looks most like an identifier.
    pub commands: Vec<u32>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            budget: 0,
            marker: 5,
            handle: 0,
            whole: 0,
            half_life: 12.0,
            relevance: 0.2,
            prior: 0.2,
            again: 0.1,
            later: 0.3,
            named: 0.6,
            crowd: 64.0,
            commands: Vec::new(),
        }
    }
}
