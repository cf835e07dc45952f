//! What tells two texts apart, as numbers: the features of a query and a candidate.

use super::lexicon::lexicon;
use super::profile::Profile;
use super::words::{CODE, DENIAL, NAME, NEGATION, NUMBER, OPPOSED, QUESTION, STOP, UNIT, URL, Word};

/// Features of texts alone. `Signals` adds what the index knows.
pub const FEATURES: usize = 34;

/// Their names, in order.
pub const NAMES: [&str; FEATURES] = [
    "equal",
    "length_ratio",
    "words_min",
    "words_max",
    "jaccard",
    "content_jaccard",
    "contained",
    "contained_most",
    "missing_query",
    "missing_candidate",
    "rare_missing_query",
    "rare_missing_candidate",
    "rare_shared",
    "weighted_overlap",
    "fuzzy",
    "numbers",
    "units",
    "codes",
    "addresses",
    "quoted",
    "negation",
    "opposites",
    "swapped",
    "order",
    "question",
    "names_missing",
    "last_equal",
    "first_equal",
    "pairs",
    "prefix",
    "suffix",
    "rest",
    "rarest_missing",
    "missing_both",
];

/// How rare a word is among the stored texts: 0 common, 1 never seen. Decides what a missing word weighs.
pub trait Rarity {
    fn of(&self, stem: u32, length: u8) -> f32;
}

/// Without a store: long words are rarer.
pub struct ByLength;

impl Rarity for ByLength {
    fn of(&self, _: u32, length: u8) -> f32 {
        f32::from(length.min(12)) / 12.0
    }
}

/// Why the texts may be different questions.
#[derive(Clone, Copy, Default, Debug, PartialEq)]
#[allow(clippy::struct_excessive_bools)] // each is its own question
pub struct Guards {
    pub numbers: bool,
    pub units: bool,
    pub codes: bool,
    pub addresses: bool,
    pub quoted: bool,
    pub negation: bool,
    /// The two opposites, as listed.
    pub opposites: Option<(&'static str, &'static str)>,
    pub swapped: bool,
    /// Word for word the same at both ends or in most of it, with other content in between.
    pub edited: bool,
    pub question: bool,
    pub names: bool,
}

const NONE: u8 = u8::MAX;
const SLOTS: usize = 512;

/// Where each stem of a text stands.
struct Table {
    slots: [u8; SLOTS],
}

impl Table {
    fn of(words: &[Word], key: impl Fn(&Word) -> u32) -> Self {
        let mut table = Self { slots: [NONE; SLOTS] };
        for (at, word) in words.iter().enumerate() {
            let mut slot = key(word) as usize % SLOTS;
            while table.slots[slot] != NONE {
                slot = (slot + 1) % SLOTS;
            }
            table.slots[slot] = at as u8;
        }
        table
    }

    fn find(&self, words: &[Word], wanted: u32, key: impl Fn(&Word) -> u32, free: &[bool]) -> Option<usize> {
        let mut slot = wanted as usize % SLOTS;
        while self.slots[slot] != NONE {
            let at = usize::from(self.slots[slot]);
            if free[at] && key(&words[at]) == wanted {
                return Some(at);
            }
            slot = (slot + 1) % SLOTS;
        }
        None
    }
}

const LIMIT: usize = super::words::MAX_WORDS;
/// From which share of unmoved words on, in pairs or more, a text counts as the other one edited.
const KEPT: f32 = 0.7;
/// Words after a negation among which the denied one is looked for.
const REACH: usize = 5;
/// Unmatched words compared letter by letter on each side.
const NEAR: usize = 24;

fn close(a: &Word, b: &Word) -> bool {
    let (shared, all) = ((a.letters & b.letters).count_ones(), (a.letters | b.letters).count_ones());
    a.length.abs_diff(b.length) <= 4
        && a.length.min(b.length) >= 4
        && shared * 3 >= all * 2
        && (a.flags | b.flags) & (NUMBER | CODE) == 0
        && !contrary(a, b)
}

/// Whether one is the other with a beginning that turns it into its opposite.
const fn contrary(a: &Word, b: &Word) -> bool {
    (a.affirmed != 0 && a.affirmed == b.stem) || (b.affirmed != 0 && b.affirmed == a.stem)
}

/// What is denied: after each negation the next word of content, unless it is denied twice.
fn denied(words: &[Word]) -> [bool; LIMIT] {
    let mut denied = [false; LIMIT];
    for at in (0..words.len()).filter(|at| words[*at].flags & NEGATION != 0) {
        let next = words[at + 1..].iter().take(REACH).position(|word| word.flags & (STOP | NEGATION) == 0);
        if let Some(next) = next {
            denied[at + 1 + next] ^= true;
        }
    }
    denied
}

fn ratio(part: f32, whole: f32) -> f32 {
    if whole > 0.0 { part / whole } else { 1.0 }
}

/// The features and the guards of a query and a candidate. Linear in their words, of which a profile keeps a bounded number.
#[allow(clippy::too_many_lines)] // one number after the other
pub fn compare(query: &Profile, candidate: &Profile, rarity: &impl Rarity) -> ([f32; FEATURES], Guards) {
    let (a, b) = (query.words.as_slice(), candidate.words.as_slice());
    let mut guards = Guards::default();
    let equal = query.digest == candidate.digest && query.total == candidate.total;
    // Pairs of words: by the stem, then by letters.
    let mut partner_a = [NONE; LIMIT];
    let mut partner_b = [NONE; LIMIT];
    let mut free = [true; LIMIT];
    let table = Table::of(b, |word| word.stem);
    for (i, word) in a.iter().enumerate() {
        if let Some(j) = table.find(b, word.stem, |word| word.stem, &free[..b.len()]) {
            (partner_a[i], partner_b[j], free[j]) = (j as u8, i as u8, false);
        }
    }
    let content = |word: &Word| word.flags & (STOP | NEGATION) == 0;
    let mut fuzzy = 0.0;
    let left = |words: &[Word], partner: &[u8; LIMIT]| -> ([u8; NEAR], usize) {
        let (mut list, mut n) = ([0; NEAR], 0);
        for (i, word) in words.iter().enumerate() {
            if partner[i] == NONE && content(word) && n < NEAR {
                list[n] = i as u8;
                n += 1;
            }
        }
        (list, n)
    };
    let ((left_a, n_a), (left_b, n_b)) = (left(a, &partner_a), left(b, &partner_b));
    for &i in &left_a[..n_a] {
        for &j in &left_b[..n_b] {
            let (i, j) = (usize::from(i), usize::from(j));
            if partner_b[j] == NONE && close(&a[i], &b[j]) && !lexicon().opposite(a[i].whole, b[j].whole) {
                (partner_a[i], partner_b[j]) = (j as u8, i as u8);
                fuzzy += 1.0;
                break;
            }
        }
    }
    // Overlaps.
    let (mut shared, mut content_shared, mut shared_weight, mut rare_shared) = (0.0_f32, 0.0_f32, 0.0_f32, 0.0_f32);
    let mut side = |words: &[Word], partner: &[u8; LIMIT], count: bool| -> [f32; 5] {
        let (mut contents, mut missing, mut weight, mut missing_weight, mut rarest) =
            (0.0_f32, 0.0_f32, 0.0_f32, 0.0_f32, 0.0_f32);
        for (i, word) in words.iter().enumerate() {
            let matched = partner[i] != NONE;
            if count && matched {
                shared += 1.0;
            }
            if !content(word) {
                continue;
            }
            let rare = rarity.of(word.stem, word.length);
            contents += 1.0;
            weight += rare;
            if matched {
                if count {
                    content_shared += 1.0;
                    shared_weight += rare;
                    rare_shared = f32::max(rare_shared, rare);
                }
            } else {
                missing += 1.0;
                missing_weight += rare;
                rarest = rarest.max(rare);
            }
        }
        [contents, missing, weight, missing_weight, rarest]
    };
    let [contents_a, missing_a, weight_a, missing_weight_a, rarest_a] = side(a, &partner_a, true);
    let [contents_b, missing_b, weight_b, missing_weight_b, rarest_b] = side(b, &partner_b, false);
    let (len_a, len_b) = (a.len() as f32, b.len() as f32);
    // Guards.
    let numbers = mismatch(query.numbers.iter().map(|n| n.0), candidate.numbers.iter().map(|n| n.0));
    let units = query.numbers.iter().any(|&(value, unit)| {
        unit != 0
            && candidate.numbers.iter().any(|&(other, theirs)| other == value && theirs != 0 && theirs != unit)
            && !candidate.numbers.contains(&(value, unit))
    });
    let flagged = |words: &[Word], partner: &[u8; LIMIT], flag: u16| -> (f32, f32) {
        let mut found = (0.0, 0.0);
        for (i, word) in words.iter().enumerate().filter(|(_, word)| word.flags & flag != 0) {
            found.0 += 1.0;
            found.1 += if partner[i] == NONE && word.length > 0 { 1.0 } else { 0.0 };
        }
        found
    };
    let unequal = |flag: u16| -> f32 {
        let ((all_a, lone_a), (all_b, lone_b)) = (flagged(a, &partner_a, flag), flagged(b, &partner_b, flag));
        if lone_a + lone_b == 0.0 {
            0.0
        } else if all_a > 0.0 && all_b > 0.0 {
            1.0
        } else {
            0.5
        }
    };
    let (addresses, codes) = (unequal(URL), unequal(CODE));
    let quoted = f32::from(u8::from(
        !query.quoted.is_empty() && !candidate.quoted.is_empty() && query.quoted != candidate.quoted,
    ));
    let negations = |words: &[Word]| words.iter().filter(|word| word.flags & NEGATION != 0).count();
    let lone_denials = |words: &[Word], partner: &[u8; LIMIT]| {
        words.iter().zip(partner).filter(|(word, partner)| word.flags & DENIAL != 0 && **partner == NONE).count()
    };
    let denials_a = negations(a) + lone_denials(a, &partner_a);
    let denials_b = negations(b) + lone_denials(b, &partner_b);
    let ((left_a, n_a), (left_b, n_b)) = (left(a, &partner_a), left(b, &partner_b));
    let contrary =
        left_a[..n_a].iter().any(|&i| left_b[..n_b].iter().any(|&j| contrary(&a[usize::from(i)], &b[usize::from(j)])));
    let (denied_a, denied_b) = (denied(a), denied(b));
    let elsewhere = (0..a.len()).any(|i| partner_a[i] != NONE && denied_a[i] != denied_b[usize::from(partner_a[i])]);
    let negation = f32::from(u8::from(contrary || elsewhere || denials_a % 2 != denials_b % 2));
    let mut opposites = 0.0_f32;
    for (_, word) in a.iter().enumerate().filter(|(_, w)| w.flags & OPPOSED != 0).take(32) {
        for other in b.iter().filter(|w| w.flags & OPPOSED != 0).take(32) {
            if lexicon().opposite(word.whole, other.whole)
                && !b.iter().any(|w| w.whole == word.whole)
                && !a.iter().any(|w| w.whole == other.whole)
            {
                opposites += 1.0;
                guards.opposites.get_or_insert((lexicon().spelling(word.whole), lexicon().spelling(other.whole)));
            }
        }
    }
    // Order of shared content words, and pairs of neighbours.
    let (mut rising, mut falling, mut last) = (0.0_f32, 0.0_f32, None::<u8>);
    for (i, _) in a.iter().enumerate().filter(|(i, word)| partner_a[*i] != NONE && word.flags & (STOP | NEGATION) == 0)
    {
        let j = partner_a[i];
        if let Some(before) = last {
            if j > before { rising += 1.0 } else { falling += 1.0 }
        }
        last = Some(j);
    }
    let follows = |i: usize| partner_a[i - 1] != NONE && partner_a[i] != NONE && partner_a[i] == partner_a[i - 1] + 1;
    let pairs = (1..a.len()).filter(|i| follows(*i)).count() as f32;
    // Words that stand beside a neighbour they have on the other side, too.
    let kept = (0..a.len()).filter(|&i| (i > 0 && follows(i)) || (i + 1 < a.len() && follows(i + 1))).count() as f32;
    let traded = traded(a, b, &partner_a);
    let same_words = missing_a + missing_b == 0.0 && !equal;
    let swapped = f32::from(u8::from(traded || (same_words && falling > 0.0 && pivoted(a, b, &partner_a))));
    let order = ratio(falling, rising + falling) * f32::from(u8::from(rising + falling > 0.0));
    let question = |words: &[Word]| -> (u8, u32) {
        let mut kind = 0;
        for (i, word) in words.iter().enumerate() {
            let known = lexicon().known(word.whole);
            if word.flags & QUESTION != 0 {
                let next = words.get(i + 1).filter(|next| lexicon().known(next.whole).measure);
                return (known.question, next.map_or(0, |next| next.whole));
            }
            if i == 0 && known.question == 7 {
                kind = 7;
            }
        }
        (kind, 0)
    };
    let (ask_a, ask_b) = (question(a), question(b));
    let question = if ask_a == ask_b {
        0.0
    } else if ask_a.0 == 0 || ask_b.0 == 0 {
        0.3
    } else if ask_a.0 == ask_b.0 {
        0.9
    } else if ask_a.0 == 7 || ask_b.0 == 7 {
        0.6
    } else {
        1.0
    };
    let (names_a, lone_a) = flagged(a, &partner_a, NAME);
    let (names_b, lone_b) = flagged(b, &partner_b, NAME);
    let names = ratio(lone_a + lone_b, names_a + names_b) * f32::from(u8::from(names_a + names_b > 0.0));
    let edge = |x: Option<(usize, &Word)>, y: Option<(usize, &Word)>| -> f32 {
        match (x, y) {
            (Some((i, _)), Some((j, _))) => f32::from(u8::from(usize::from(partner_a[i]) == j)),
            _ => 0.0,
        }
    };
    let ends = |words: &'_ [Word]| -> (Option<usize>, Option<usize>) {
        (words.iter().position(content), words.iter().rposition(content))
    };
    let ((first_a, last_a), (first_b, last_b)) = (ends(a), ends(b));
    let first_equal = edge(first_a.map(|i| (i, &a[i])), first_b.map(|i| (i, &b[i])));
    let last_equal = edge(last_a.map(|i| (i, &a[i])), last_b.map(|i| (i, &b[i])));
    let prefix = a.iter().zip(b).take_while(|(x, y)| x.stem == y.stem).count() as f32;
    let suffix = a.iter().rev().zip(b.iter().rev()).take_while(|(x, y)| x.stem == y.stem).count() as f32;
    let rest = f32::from(u8::from(query.rest != candidate.rest));
    guards.numbers = numbers >= 0.5;
    guards.units = units;
    guards.codes = codes > 0.0;
    guards.addresses = addresses > 0.0;
    guards.quoted = quoted > 0.0;
    guards.negation = negation > 0.0;
    guards.swapped = swapped > 0.0;
    guards.question = question >= 0.9;
    guards.names = names >= 0.5;
    let short = len_a.min(len_b).max(1.0);
    // Who words all else the same means what differs: people who ask the same again seldom do.
    guards.edited =
        missing_a + missing_b > 0.0 && (prefix + suffix >= 0.5 * short || (falling == 0.0 && kept >= KEPT * short));
    let features = [
        f32::from(u8::from(equal)),
        ratio(len_a.min(len_b), len_a.max(len_b)),
        len_a.min(len_b).min(64.0),
        len_a.max(len_b).min(64.0),
        ratio(shared, len_a + len_b - shared),
        ratio(content_shared, contents_a + contents_b - content_shared),
        ratio(content_shared, contents_a.min(contents_b)),
        ratio(content_shared, contents_a.max(contents_b)),
        missing_a.min(16.0),
        missing_b.min(16.0),
        missing_weight_a.min(16.0),
        missing_weight_b.min(16.0),
        rare_shared,
        ratio(2.0 * shared_weight, weight_a + weight_b),
        fuzzy,
        numbers,
        f32::from(u8::from(units)),
        codes,
        addresses,
        quoted,
        negation,
        opposites.min(3.0),
        swapped,
        order,
        question,
        names,
        last_equal,
        first_equal,
        pairs / (short - 1.0).max(1.0),
        prefix / short,
        suffix / short,
        rest,
        rarest_a.max(rarest_b),
        missing_weight_a.min(missing_weight_b).min(16.0),
    ];
    (features, guards)
}

/// 0 the same; 0.5 one side has none; 1 both have and differ.
#[allow(clippy::needless_pass_by_value)] // iterators are cheap to copy
fn mismatch(a: impl Iterator<Item = u32> + Clone, b: impl Iterator<Item = u32> + Clone) -> f32 {
    let (n, m) = (a.clone().count(), b.clone().count());
    if n == m && a.clone().eq(b.clone()) {
        return 0.0;
    }
    if n == 0 || m == 0 {
        return 0.5;
    }
    let lone = a.clone().any(|x| !b.clone().any(|y| x == y)) || b.into_iter().any(|y| !a.clone().any(|x| x == y));
    if lone { 1.0 } else { 0.25 }
}

/// Whether two words changed places while what stands around them stayed: `A is hot and B is cold`, `A is cold and B is hot`; or
/// two opposites did.
fn traded(a: &[Word], b: &[Word], partner: &[u8; LIMIT]) -> bool {
    let content = |word: &Word| word.flags & (STOP | NEGATION | UNIT) == 0;
    // Both at the end of their text stand alike.
    let same = |x: Option<&Word>, y: Option<&Word>| x.map(|word| word.stem) == y.map(|word| word.stem);
    let before = |i: usize, j: usize| same(i.checked_sub(1).map(|i| &a[i]), j.checked_sub(1).map(|j| &b[j]));
    let behind = |i: usize, j: usize| same(a.get(i + 1), b.get(j + 1));
    let kept: Vec<usize> = (0..a.len()).filter(|i| partner[*i] != NONE && content(&a[*i])).take(2 * NEAR).collect();
    kept.iter().enumerate().any(|(at, &i)| {
        kept[at + 1..].iter().any(|&k| {
            let (j, l) = (usize::from(partner[i]), usize::from(partner[k]));
            j > l
                && (lexicon().opposite(a[i].whole, a[k].whole)
                    || (before(i, l) && before(k, j) && !before(i, j) && !before(k, l))
                    || (behind(i, l) && behind(k, j) && !behind(i, j) && !behind(k, l)))
        })
    })
}

/// Whether two content words around a word of direction changed places: `from A to B`, `A before B`, `A than B`.
fn pivoted(a: &[Word], b: &[Word], partner: &[u8; LIMIT]) -> bool {
    let content = |word: &Word| word.flags & (STOP | NEGATION | UNIT) == 0;
    for i in 0..a.len() {
        if content(&a[i]) && a[i].flags & OPPOSED == 0 || partner[i] == NONE {
            continue;
        }
        let (Some(before), Some(after)) = (a[..i].iter().rposition(content), a[i + 1..].iter().position(content))
        else {
            continue;
        };
        let after = i + 1 + after;
        let (x, pivot, y) = (partner[before], partner[i], partner[after]);
        if x != NONE && y != NONE && y < pivot && pivot < x && usize::from(x) < b.len() {
            return true;
        }
    }
    false
}

impl Guards {
    /// Whether any of those fired after which a candidate has to prove itself.
    pub const fn any(&self) -> bool {
        self.numbers
            || self.units
            || self.codes
            || self.addresses
            || self.quoted
            || self.negation
            || self.swapped
            || self.edited
            || self.opposites.is_some()
    }

    /// In short words, those that fired.
    pub fn words(&self) -> impl Iterator<Item = String> + use<> {
        let opposites = self.opposites.map(|(one, other)| format!("opposites: {one}/{other}"));
        [
            (self.numbers, "numbers differ"),
            (self.units, "units differ"),
            (self.codes, "codes differ"),
            (self.addresses, "addresses differ"),
            (self.quoted, "quoted strings differ"),
            (self.negation, "negation"),
            (self.swapped, "order swapped"),
            (self.edited, "one place changed"),
            (self.question, "question word"),
            (self.names, "names differ"),
        ]
        .into_iter()
        .filter(|(fired, _)| *fired)
        .map(|(_, word)| word.to_owned())
        .chain(opposites)
    }
}
