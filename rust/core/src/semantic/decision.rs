//! The decision: whether one candidate's answer serves a query, under a limit on the share of wrong hits.
//!
//! The online model gives a probability, before any verdict by the shipped prior; the curve of its kind (respelt, plain, guarded) says which
//! probabilities may be served; the tally keeps the running share under the limit; alarms notice a world that changed.

use std::collections::HashMap;

use super::compare::{FEATURES, Guards, compare};
use super::counts::Counts;
use super::curve::{Curve, wilson_lower, wilson_upper};
use super::online::{Group, Online, Signals, Vector, averaged, sigmoid, vector};
use super::prior::prior;
use super::profile::Profile;
use super::reader::Reader;
use crate::error::{Error, Result};

const MAGIC: u32 = 0x5344_4543; // "SDEC"
const VERSION: u16 = 2;
/// Standard errors of an upper limit: 97.5 % to one side.
const Z: f64 = 1.96;
/// Share of the limit that verdicts have to show for what is no respelling. The rest covers what they cannot: that the lowest
/// of many thresholds is taken, again and again, and verdicts that are wrong themselves.
const SHOWN: f64 = 0.85;
/// Candidates below these log-odds are not worth a comparison of answers.
const WORTH_COMPARING: f64 = -2.0;
/// Categories with a tally of their own; further ones share that of none.
const CATEGORIES: usize = 1024;
/// Log-odds that an answer serves the same words again.
const RESPELT: f64 = 6.0;
/// What those are worth, in verdicts: enough for a limit of 0.01 before any verdict.
const RESPELT_TRUST: f64 = 1000.0;
/// Hits remembered by a tally, about.
const TALLY: f64 = 20_000.0;

/// How a candidate is judged: kinds have curves of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A trivial respelling of the stored text.
    Respelt,
    Plain,
    /// Something in the texts says that they differ: numbers, negation, opposites.
    Guarded,
}

/// What a verdict on the answer needs to teach.
#[derive(Clone, Debug)]
pub struct Evidence {
    vector: Vector,
    group: Group,
    log_odds: f64,
    kind: Kind,
    would_serve: bool,
    limit: f64,
    /// Whose tally counts it.
    category: u64,
}

/// The decision about one candidate.
#[derive(Clone, Debug)]
pub struct Verdict {
    /// That the candidate's answer serves the query.
    pub probability: f64,
    /// The upper limit of the share of wrong hits among those that are served together with this one.
    pub upper: f64,
    /// Whether to serve it.
    pub serve: bool,
    /// A hit that goes upstream all the same, for a verdict.
    pub audit: bool,
    /// Whether a fresh answer, should there be one, is worth comparing with the candidate's.
    pub compare: bool,
    pub kind: Kind,
    pub guards: Guards,
    /// In short words: the guards that fired, and why it is served or not.
    pub why: String,
    pub evidence: Evidence,
}

/// Hits and verdicts on them under one limit.
#[derive(Clone, Copy, Default, Debug)]
struct Tally {
    hits: f64,
    expected: f64,
    audits: f64,
    wrong: f64,
}

impl Tally {
    /// The share of wrong ones among all hits so far, as far as audits and the curves say.
    fn rate(&self) -> f64 {
        let foreseen = if self.hits > 0.0 { self.expected / self.hits } else { 0.0 };
        (self.wrong + 20.0 * foreseen) / (self.audits + 20.0)
    }

    /// What may be served from now on so that the share of all comes under the limit again soon.
    fn allowance(&self, limit: f64) -> f64 {
        let over = (self.rate() - limit).max(0.0) * self.hits;
        (limit - over / f64::max(300.0, self.hits * 0.5)).max(0.0)
    }
}

/// What is known of the decision's own errors.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// Candidates judged, hits found good enough, of those served, sent upstream for a verdict, and these found wrong.
    pub judged: u64,
    pub hits: u64,
    pub served: u64,
    pub audits: u64,
    pub wrong: u64,
    /// Verdicts of any kind that were learnt from.
    pub verdicts: u64,
    /// Share of wrong ones among audited hits, with its 95 % Wilson interval.
    pub error: f64,
    pub error_low: f64,
    pub error_high: f64,
    /// How often the world was found changed.
    pub alarms: u64,
    /// Whether anything but respellings may be served now, and why not, or from which probability on.
    pub open: bool,
    pub threshold: f64,
    pub why: &'static str,
}

/// Judges candidates and learns from verdicts.
pub struct Decision {
    limit: f64,
    audit_share: f64,
    embedder: usize,
    random: u64,
    counts: Counts,
    online: Online,
    curves: [Curve; 3],
    tallies: HashMap<u64, Tally>,
    /// Evidence that hits are wrong too often (Page 1954), and that predictions are.
    alarm: f64,
    surprise: [f64; 2],
    judged: u64,
    hits: u64,
    served: u64,
    audits: u64,
    wrong: u64,
    alarms: u64,
}

fn within(name: &'static str, value: f64, low: bool) -> Result<f64> {
    let fine = if low { (0.0..=1.0).contains(&value) } else { value > 0.0 && value <= 1.0 };
    let limit = if low { "must be in [0, 1]" } else { "must be in (0, 1]" };
    if fine {
        Ok(value)
    } else {
        Err(Error::InvalidArgument { name, value: value.to_string(), limit: limit.to_owned() })
    }
}

/// Verdicts before a kind opens: as many as would show the limit to hold were all of them right. The model's own word counts
/// among them for respellings alone.
fn needed(kind: Kind, limit: f64) -> f64 {
    let clean = Z * Z * (1.0 - limit) / limit;
    if kind == Kind::Respelt { clean - RESPELT_TRUST } else { clean }
}

/// The share of the limit within which a kind's upper limit must lie.
const fn shown(kind: Kind) -> f64 {
    match kind {
        Kind::Respelt => 1.0,
        Kind::Plain | Kind::Guarded => SHOWN,
    }
}

/// The 95 % interval (Wilson 1927) of a share of which `wrong` of `audits` were seen.
pub fn error_interval(wrong: u64, audits: u64) -> (f64, f64) {
    let (wrong, audits) = (wrong as f64, audits as f64);
    (wilson_lower(wrong, audits, Z), wilson_upper(wrong, audits, Z))
}

impl Decision {
    /// `max_error` in (0, 1], `audit_share` in [0, 1]; `embedder` is `minilm`, `static` or `other`.
    pub fn new(max_error: f64, audit_share: f64, seed: u64, embedder: &str) -> Result<Self> {
        let known = || prior().calibrations.iter().map(|one| one.name.as_str()).collect::<Vec<_>>().join(", ");
        let embedder = prior().embedder(embedder).ok_or_else(|| Error::UnknownName {
            kind: "embedder",
            name: embedder.to_owned(),
            known: known(),
        })?;
        Ok(Self {
            limit: within("max_error", max_error, false)?,
            audit_share: within("audit_share", audit_share, true)?,
            embedder,
            random: seed ^ 0x9e37_79b9_7f4a_7c15,
            counts: Counts::default(),
            online: Online::new(),
            curves: [Curve::new(RESPELT_TRUST, 1.0), Curve::new(2.0, 1.5), Curve::new(2.0, 3.0)],
            tallies: HashMap::new(),
            alarm: 0.0,
            surprise: [0.0; 2],
            judged: 0,
            hits: 0,
            served: 0,
            audits: 0,
            wrong: 0,
            alarms: 0,
        })
    }

    pub const fn max_error(&self) -> f64 {
        self.limit
    }

    pub const fn audit_share(&self) -> f64 {
        self.audit_share
    }

    pub fn embedder(&self) -> &str {
        &prior().calibrations[self.embedder].name
    }

    /// A text was stored: its words are a little less rare.
    pub fn stored(&mut self, profile: &Profile) {
        self.counts.add(profile);
    }

    /// The features of two texts as this decision sees them: with how rare words are among the stored texts.
    pub fn features(&self, query: &Profile, candidate: &Profile) -> [f32; FEATURES] {
        compare(query, candidate, &self.counts).0
    }

    /// Uniform in [0, 1): `SplitMix64` (Steele et al. 2014).
    fn draw(&mut self) -> f64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.random;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((x ^ (x >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Judges the best candidate of a query. `max_error` replaces the decision's own, as a category may.
    pub fn judge(
        &mut self,
        query: &Profile,
        candidate: &Profile,
        signals: Signals,
        group: Group,
        max_error: Option<f64>,
    ) -> Result<Verdict> {
        let limit = max_error.map_or(Ok(self.limit), |limit| within("max_error", limit, false))?;
        let finite =
            [signals.cosine, signals.second, signals.density, signals.age].iter().all(|value| value.is_finite());
        if !finite || signals.cosine.abs() > 1.01 {
            let value = format!("{signals:?}");
            return Err(Error::InvalidArgument {
                name: "signals",
                value,
                limit: "must be finite, a cosine in [-1, 1]".into(),
            });
        }
        let (features, guards) = compare(query, candidate, &self.counts);
        let cosine = prior().calibrate(self.embedder, signals.cosine);
        let vector = vector(cosine, &signals, &features);
        let kind = if query.same(candidate) && !query.is_empty() {
            Kind::Respelt
        } else if guards.any() || query.is_empty() || candidate.is_empty() {
            Kind::Guarded
        } else {
            Kind::Plain
        };
        // The same words have nothing left to weigh: only verdicts on their scope, category and entry speak against them.
        let (mean, variance) = match kind {
            Kind::Respelt => (RESPELT + self.online.offsets(group), 0.0),
            Kind::Plain | Kind::Guarded => self.online.log_odds(&vector, group),
        };
        let probability = averaged(mean, variance);
        let log_odds = (probability / (1.0 - probability).max(1e-12)).ln();
        self.judged += 1;
        let curve = &mut self.curves[kind as usize];
        curve.arrive(log_odds);
        let category = if self.tallies.contains_key(&group.category) || self.tallies.len() < CATEGORIES {
            group.category
        } else {
            0
        };
        let tally = self.tallies.entry(category).or_default();
        let allowance = tally.allowance(limit);
        let (open, here) = curve.open(log_odds, allowance * shown(kind), Z, needed(kind, limit));
        let local = curve.local(log_odds);
        let cap = match kind {
            Kind::Plain => allowance * (1.0 + here.evidence / (here.evidence + 100.0)),
            Kind::Respelt | Kind::Guarded => allowance,
        };
        let reached = open.is_some_and(|(threshold, _)| log_odds >= threshold - 1e-9);
        let would_serve = limit >= 1.0 || (reached && local <= cap);
        let risk = if would_serve { open.map_or(here, |(_, risk)| risk) } else { here };
        if would_serve {
            *tally = Tally {
                hits: tally.hits * (1.0 - 1.0 / TALLY) + 1.0,
                expected: tally.expected * (1.0 - 1.0 / TALLY) + risk.mean.max(local.min(2.0 * risk.mean)),
                ..*tally
            };
            self.hits += 1;
        }
        let audit = would_serve && limit < 1.0 && self.audit_share > 0.0 && self.draw() < self.audit_share;
        let serve = would_serve && !audit;
        self.served += u64::from(serve);
        let verdict_on_it = if audit {
            "audit"
        } else if serve && kind == Kind::Respelt {
            "respelling"
        } else if serve {
            "within bound"
        } else if open.is_none() {
            "bound not met yet"
        } else {
            "below bound"
        };
        let why = guards.words().chain([verdict_on_it.to_owned()]).collect::<Vec<_>>().join("; ");
        Ok(Verdict {
            probability,
            upper: risk.upper,
            serve,
            audit,
            compare: audit || (!serve && log_odds > WORTH_COMPARING),
            kind,
            guards,
            why,
            evidence: Evidence { vector, group, log_odds, kind, would_serve, limit, category },
        })
    }

    /// A verdict on the answer: `weight` in (0, 1] is how much it is to be believed.
    pub fn learn(&mut self, evidence: &Evidence, correct: bool, weight: f64) -> Result<()> {
        let weight = within("weight", weight, false)?;
        let wrong = f64::from(u8::from(!correct));
        let predicted = 1.0 - sigmoid(evidence.log_odds);
        self.curves[evidence.kind as usize].learn(evidence.log_odds, correct, weight);
        // Surprise: how far wrong answers outnumber their predictions, in standard errors of a fading window.
        self.surprise[0] = self.surprise[0] * 0.98 + weight * (wrong - predicted);
        self.surprise[1] = self.surprise[1] * 0.98 * 0.98 + weight * (predicted * (1.0 - predicted)).max(0.01);
        let mut alarm = self.surprise[0] > 5.0 * self.surprise[1].sqrt();
        if evidence.would_serve {
            self.audits += 1;
            self.wrong += u64::from(!correct);
            let tally = self.tallies.entry(evidence.category).or_default();
            tally.audits = tally.audits * (1.0 - 1.0 / TALLY) + weight;
            tally.wrong = tally.wrong * (1.0 - 1.0 / TALLY) + weight * wrong;
            let (calm, bad) = (evidence.limit.min(0.9), (4.0 * evidence.limit + 0.05).min(0.95));
            let step = if correct { ((1.0 - bad) / (1.0 - calm)).ln() } else { (bad / calm).ln() };
            self.alarm = (self.alarm + weight * step).max(0.0);
            alarm |= self.alarm > 4.6;
        }
        self.online.learn(&evidence.vector, evidence.group, correct, weight);
        if alarm {
            self.alarms += 1;
            self.alarm = 0.0;
            self.surprise = [0.0; 2];
            self.curves.iter_mut().for_each(Curve::doubt);
            self.online.widen(0.2);
        }
        Ok(())
    }

    pub fn report(&self) -> Report {
        let tally = self.tallies.get(&0).copied().unwrap_or_default();
        let allowance = tally.allowance(self.limit);
        let (open, _) =
            self.curves[Kind::Plain as usize].open(0.0, allowance * SHOWN, Z, needed(Kind::Plain, self.limit));
        let (error_low, error_high) = error_interval(self.wrong, self.audits);
        Report {
            judged: self.judged,
            hits: self.hits,
            served: self.served,
            audits: self.audits,
            wrong: self.wrong,
            verdicts: self.online.verdicts(),
            error: if self.audits > 0 { self.wrong as f64 / self.audits as f64 } else { 0.0 },
            error_low,
            error_high,
            alarms: self.alarms,
            open: open.is_some() || self.limit >= 1.0,
            threshold: open.map_or(1.0, |(log_odds, _)| sigmoid(log_odds)),
            why: if self.limit >= 1.0 {
                "no limit: the best candidate is always served"
            } else if open.is_some() {
                "serving"
            } else if allowance < self.limit * 0.5 {
                "off: too many audited hits were wrong; misses still teach"
            } else {
                "off: too few verdicts to show that the limit holds; misses still teach"
            },
        }
    }

    /// All that was learnt, for `from_bytes`; not the arguments.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(40_000);
        out.extend_from_slice(&MAGIC.to_le_bytes());
        out.extend_from_slice(&VERSION.to_le_bytes());
        for count in [self.random, self.judged, self.hits, self.served, self.audits, self.wrong, self.alarms] {
            out.extend_from_slice(&count.to_le_bytes());
        }
        for value in [self.alarm, self.surprise[0], self.surprise[1]] {
            out.extend_from_slice(&value.to_le_bytes());
        }
        self.counts.write(&mut out);
        self.online.write(&mut out);
        self.curves.iter().for_each(|curve| curve.write(&mut out));
        let mut tallies: Vec<_> = self.tallies.iter().collect();
        tallies.sort_unstable_by_key(|(category, _)| **category);
        out.extend_from_slice(&(tallies.len() as u32).to_le_bytes());
        for (category, tally) in tallies {
            out.extend_from_slice(&category.to_le_bytes());
            for value in [tally.hits, tally.expected, tally.audits, tally.wrong] {
                out.extend_from_slice(&value.to_le_bytes());
            }
        }
        let seal = blake3::hash(&out);
        out.extend_from_slice(&seal.as_bytes()[..16]);
        out
    }

    /// Takes over what `to_bytes` of another decision held. Anything else is an error and changes nothing.
    pub fn restore(&mut self, bytes: &[u8]) -> Result<()> {
        let bad = |offset| Error::InvalidDocument { what: "not the saved state of a decision of this version", offset };
        let (body, seal) = bytes.split_at_checked(bytes.len().wrapping_sub(16)).ok_or_else(|| bad(0))?;
        if blake3::hash(body).as_bytes()[..16] != *seal {
            return Err(bad(body.len()));
        }
        if self.read_unsealed(body) { Ok(()) } else { Err(bad(0)) }
    }

    /// `restore` without the seal at the end; false, and nothing changed, where the bytes are no state.
    pub fn read_unsealed(&mut self, body: &[u8]) -> bool {
        let mut reader = Reader::new(body);
        let fresh = Self::new(self.limit, self.audit_share, 0, self.embedder()).ok();
        let read = fresh.and_then(|fresh| fresh.filled(&mut reader)).filter(|_| reader.ended());
        read.map(|read| *self = read).is_some()
    }

    fn filled(mut self, reader: &mut Reader<'_>) -> Option<Self> {
        if reader.u32()? != MAGIC || reader.u16()? != VERSION {
            return None;
        }
        for count in [
            &mut self.random,
            &mut self.judged,
            &mut self.hits,
            &mut self.served,
            &mut self.audits,
            &mut self.wrong,
            &mut self.alarms,
        ] {
            *count = reader.u64()?;
        }
        self.alarm = reader.f64().filter(|value| *value >= 0.0)?;
        self.surprise = [reader.f64()?, reader.f64().filter(|value| *value >= 0.0)?];
        self.counts = Counts::read(reader)?;
        self.online = Online::read(reader)?;
        for curve in &mut self.curves {
            *curve = Curve::read(reader)?;
        }
        let count = reader.u32()? as usize;
        if count > CATEGORIES + 1 {
            return None;
        }
        for _ in 0..count {
            let category = reader.u64()?;
            let mut number = || reader.f64().filter(|value| (0.0..1e12).contains(value));
            let tally = Tally { hits: number()?, expected: number()?, audits: number()?, wrong: number()? };
            self.tallies.insert(category, tally);
        }
        Some(self)
    }
}
