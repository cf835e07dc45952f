//! What a limit's arithmetic promises, whatever it is told.

use proptest::prelude::*;
use sparecall_core::flow::{Capacity, Expected, Gcra, Gradient, Mark, Sent, Size, Told};

fn near(seen: f64, wanted: f64, share: f64) -> bool {
    (seen / wanted - 1.0).abs() <= share
}

/// Of the newest call.
fn mark(gcra: &Gcra, now: f64) -> Mark {
    Mark { passed: gcra.passed, sent: now }
}

#[test]
fn expected_finds_the_line_and_knows_what_it_has_not_seen() {
    let mut expected = Expected::default();
    assert!(expected.is_empty());
    for step in 0..400_u32 {
        let tokens = f64::from(50 + step * 37 % 150);
        let noise = 1.0 + 0.1 * (f64::from(step * 7919 % 201) / 100.0 - 1.0);
        expected.learn(tokens, (0.3 + 0.02 * tokens) * noise);
    }
    assert!(near(expected.seconds(100.0), 2.3, 0.05));
    assert!(near(expected.seconds(1000.0), 20.3, 0.15));
    assert!(expected.leverage(100.0) < 0.01 && expected.leverage(10_000.0) > 0.01);
}

/// What a call of that size takes, noise of a tenth included.
fn taking(step: u32, tokens: f64, prompt: f64) -> f64 {
    (0.3 + 0.02 * tokens + 0.004 * prompt) * (1.0 + 0.1 * (f64::from(step * 7919 % 201) / 100.0 - 1.0))
}

#[test]
fn expected_tells_reading_from_writing_where_prompts_vary() {
    let mut expected = Expected::default();
    for step in 0..400_u32 {
        let size = Size { tokens: f64::from(50 + step * 37 % 150), prompt: f64::from(100 + step * 131 % 3000) };
        expected.learn(size, taking(step, size.tokens, size.prompt));
    }
    let (each, each_read) = (expected.each(), expected.each_read());
    assert!(near(each_read, 0.004, 0.03) && near(each.expect("lengths vary"), 0.02, 0.1), "{each_read}, {each:?}");
    for (tokens, prompt) in [(50.0, 100.0), (200.0, 100.0), (50.0, 3000.0), (200.0, 3000.0)] {
        let (size, wanted) = (Size { tokens, prompt }, 0.3 + 0.02 * tokens + 0.004 * prompt);
        assert!(near(expected.seconds(size), wanted, 0.05) && expected.leverage(size) < 0.2, "{size:?}: {expected:?}");
    }
}

#[test]
fn expected_takes_reading_for_a_fiftieth_of_writing_where_prompts_do_not_vary_and_knows_that_it_guesses() {
    let mut expected = Expected::default();
    for step in 0..2000_u32 {
        let size = Size { tokens: f64::from(50 + step * 37 % 150), prompt: 1000.0 };
        expected.learn(size, taking(step, size.tokens, size.prompt));
    }
    let (seen, longer) = (Size { tokens: 100.0, prompt: 1000.0 }, Size { tokens: 100.0, prompt: 10_000.0 });
    assert!(near(expected.seconds(seen), 6.3, 0.03) && expected.leverage(seen) < 0.01);
    assert!(expected.leverage(longer) > 0.1);
    // The provider reads quicker now, and answers in a third of the time: what prompts tell nothing of is learned as before.
    for step in 0..1000_u32 {
        let tokens = f64::from(50 + step * 37 % 150);
        expected.learn(Size { tokens, prompt: 1000.0 }, taking(step, tokens, 1000.0) / 3.0);
    }
    assert!(near(expected.seconds(seen), 2.1, 0.25), "{}", expected.seconds(seen));
}

#[test]
fn what_a_token_takes_is_not_known_before_answers_of_different_lengths_were_seen() {
    let mut expected = Expected::default();
    for step in 0..3000_u32 {
        expected.learn(100.0, taking(step, 100.0, 0.0));
    }
    assert_eq!(expected.each(), None);
    for step in 0..100_u32 {
        let tokens = f64::from(50 + step * 37 % 150);
        expected.learn(tokens, taking(step, tokens, 0.0));
    }
    assert!(near(expected.each().expect("lengths vary"), 0.02, 0.1), "{:?}", expected.each());
}

/// `Expected` as it is without prompts, by the book: two coefficients and their covariance.
#[derive(Default)]
struct Line {
    at: [f64; 2],
    variance: [f64; 3],
    most: [f64; 2],
    shortest: f64,
}

impl Line {
    fn seconds(&self, tokens: f64) -> f64 {
        (self.at[0] + self.at[1] * tokens).max(self.shortest).max(1e-9)
    }

    fn leverage(&self, tokens: f64) -> f64 {
        let [fixed, both, each] = self.variance;
        let expected = self.seconds(tokens);
        (fixed + tokens * (2.0 * both + tokens * each)) / (expected * expected)
    }

    fn learn(&mut self, tokens: f64, seconds: f64) {
        let (seconds, keeps) = (seconds.max(1e-9), 1.0 - 1.0 / 512.0);
        if self.shortest <= 0.0 {
            self.most = [(10.0 * seconds).powi(2), (10.0 * seconds / tokens.max(1.0)).powi(2)];
            self.variance = [self.most[0], 0.0, self.most[1]];
            (self.at[0], self.shortest) = (seconds, seconds / 2.0);
        }
        self.shortest = self.shortest.min(seconds / 2.0);
        let one = 1.0 / self.seconds(tokens);
        let long = tokens * one;
        let [fixed, both, each] = self.variance;
        let toward = [fixed * one + both * long, both * one + each * long];
        let whole = keeps + one * toward[0] + long * toward[1];
        let error = (seconds - self.at[0] - self.at[1] * tokens) * one;
        self.at = [self.at[0] + toward[0] / whole * error, self.at[1] + toward[1] / whole * error];
        self.variance = [
            fixed - toward[0] * toward[0] / whole,
            both - toward[0] * toward[1] / whole,
            each - toward[1] * toward[1] / whole,
        ];
        if self.variance[0] < keeps * self.most[0] && self.variance[2] < keeps * self.most[1] {
            self.variance = self.variance.map(|each| each / keeps);
        }
    }
}

#[test]
fn a_capacity_is_told_from_a_level_once_the_calls_in_flight_change() {
    let mut slow = Capacity::new(1.0, 1000.0);
    for in_flight in [20.0; 12].into_iter().chain([13.0; 12]) {
        slow.slower(in_flight, 1.5, 0.05, 1.0); // fewer, and they take as long: it is slow
    }
    assert!(near(slow.level(), 1.45, 0.1), "{}", slow.level());
    assert!(slow.quantile(0.5) > 13.0);
    let mut crowded = Capacity::new(1.0, 1000.0);
    for in_flight in [15.0, 20.0, 30.0, 40.0, 30.0, 20.0, 15.0_f64].into_iter().flat_map(|each| [each; 6]) {
        crowded.slower(in_flight, (in_flight / 20.0).max(1.0), 0.05, 1.0);
    }
    assert!(near(crowded.quantile(0.5), 20.0, 0.1), "{}", crowded.quantile(0.5));
    assert!(near(crowded.level(), 1.0, 0.1), "{}", crowded.level());
}

proptest! {
    #[test]
    fn a_limit_stays_in_its_bounds(
        calls in prop::collection::vec((0_u8..9, 0_u16..2000, 0.0..1e4_f64, 0.0..1e7_f64, 0.0..10.0_f64), 1..2000),
        least in 1_u8..20,
    ) {
        let (least, most) = (f64::from(least), 500.0);
        let mut gradient = Gradient::new(20.0, least, most);
        let mut now = 1000.0;
        let mut begun = 0_u64;
        for (what, which, back, tokens, passed) in calls {
            now += passed;
            let number = begun.saturating_sub(u64::from(which) % 8);
            match what {
                0 | 6.. => begun = gradient.began(usize::from(which) % 3, tokens, now),
                1 => gradient.answered(number, now),
                2 => drop(gradient.dropped(number, now, which % 2 == 0)),
                3 => drop(gradient.ended(number, None, now)),
                4 => drop(gradient.left(number)),
                _ => drop(gradient.ended(number, Some(Size { tokens, prompt: back }), now - back)),
            }
            let running = gradient.running();
            prop_assert_eq!(running.len(), running.kinds().iter().sum::<usize>());
            prop_assert!(gradient.limit() >= least && gradient.limit() <= most);
            prop_assert!(gradient.duration().is_finite() && (0.0..=1.0).contains(&gradient.load()));
        }
    }

    #[test]
    fn what_is_expected_stays_finite_and_above_zero(
        samples in prop::collection::vec((0.0..1e9_f64, 0.0..1e9_f64, 0.0..1e6_f64, 0_u8..8), 1..500),
    ) {
        let mut expected = Expected::default();
        for (tokens, prompt, seconds, which) in samples {
            // Also none, the same, and few, one after the other.
            let some = |value: f64, none: bool, few: bool| if none { 0.0 } else if few { value / 1e7 } else { value };
            let size = Size { tokens: some(tokens, which == 0, which > 3), prompt: some(prompt, which % 3 == 1, which % 3 == 2) };
            expected.learn(size, seconds);
            for size in [size, Size::default(), Size { tokens: 100.0, prompt: 1e9 }, Size { tokens: 1e9, prompt: 10.0 }] {
                prop_assert!(expected.seconds(size).is_finite() && expected.seconds(size) > 0.0);
            }
        }
    }

    #[test]
    fn without_prompts_what_is_expected_is_a_line_bit_for_bit(
        samples in prop::collection::vec((0.0..1e4_f64, 1e-3..1e3_f64, 0_u8..4), 1..1500),
    ) {
        let (mut expected, mut line) = (Expected::default(), Line::default());
        for (tokens, seconds, which) in samples {
            let tokens = if which == 0 { 0.0 } else { tokens };
            expected.learn(tokens, seconds);
            line.learn(tokens, seconds);
            for tokens in [0.0, 100.0, tokens] {
                prop_assert_eq!(expected.seconds(tokens).to_bits(), line.seconds(tokens).to_bits());
                prop_assert_eq!(expected.leverage(tokens).to_bits(), line.leverage(tokens).to_bits());
            }
        }
    }

    #[test]
    fn what_passed_never_shrinks_and_no_more_than_the_limit_goes(
        limit in 1.0..1e6_f64, burst in 0.01..1.0_f64,
        steps in prop::collection::vec((0_u8..3, 0.0..100.0_f64, 0.0..20.0_f64), 1..300),
    ) {
        let per = 60.0;
        let mut gcra = Gcra::new(Some(limit), Some(per), burst, 0.0);
        let (mut now, mut passed, mut held) = (0.0, 0.0, 0.0);
        for (what, amount, wait) in steps {
            now += wait;
            match what {
                0 if gcra.ready_at(amount, now) <= now => {
                    gcra.take(amount, now);
                    held += amount;
                }
                1 => {
                    let back = amount.min(held);
                    gcra.give_back(back, mark(&gcra, now));
                    held -= back;
                }
                2 => gcra.told(Told { limit: None, remaining: Some(amount), reset: None, rounded: 0.0 }, mark(&gcra, now), now),
                _ => {}
            }
            prop_assert!(gcra.passed >= passed);
            passed = gcra.passed;
            let most = (burst * limit).max(1.0) + 100.0 + now * limit / per;
            prop_assert!(held <= most * 1.000_001, "{held} of {most}");
        }
    }

    #[test]
    fn no_period_has_more_than_the_limit_once_a_call_was_refused(
        per in 0.5..4000.0_f64, limit in 1.0..1e5_f64,
        steps in prop::collection::vec((0.0..0.3_f64, 0.0..0.08_f64, prop::bool::ANY), 1..300),
    ) {
        let mut gcra = Gcra::new(Some(limit), Some(per), 1.0, 0.0);
        gcra.refused(0.0);
        let (mut now, mut taken): (f64, Vec<(f64, f64)>) = (0.0, Vec::new());
        for (share, wait, patient) in steps {
            now += wait * per;
            let amount = share * limit;
            let at = gcra.ready_at(amount, now);
            prop_assert!(at <= now + 2.2 * per, "{at} is late");
            if patient {
                now = now.max(at);
            }
            let at = gcra.ready_at(amount, now);
            prop_assert!(at <= now || !patient);
            if at <= now {
                gcra.take(amount, now);
                taken.push((now, amount));
                let sum: f64 = taken.iter().filter(|(at, _)| *at > now - per).map(|(_, amount)| amount).sum();
                prop_assert!(sum <= limit * 1.000_001, "{sum} of {limit}");
            }
        }
    }

    #[test]
    fn what_was_sent_agrees_with_a_list(
        steps in prop::collection::vec((0_u8..4, 1.0..100.0_f64, 0.0..0.6_f64, 0_usize..50), 1..200),
    ) {
        let (per, mut now) = (64.0, 1000.0); // a bucket is a quarter of a second
        let bucket = |at: f64| (at * 4.0).floor();
        let (mut sent, mut list) = (Sent::new(per, now), Vec::<(f64, f64)>::new());
        for (what, amount, wait, which) in steps {
            now += wait * wait * wait * per;
            match what {
                0 if !list.is_empty() => {
                    let which = which % list.len();
                    let (at, held) = &mut list[which];
                    let back = amount.min(*held);
                    *held -= back;
                    sent.give_back(back, *at);
                }
                1 => {
                    let (from, most) = (now - per, 150.0);
                    sent.sum(now);
                    let wanted: f64 = list.iter().filter(|(at, _)| bucket(*at) >= bucket(from)).map(|each| each.1).sum();
                    prop_assert!((sent.since(from) - wanted).abs() < 1e-6);
                    let left = |now: f64| -> f64 { list.iter().filter(|(at, _)| bucket(now) - bucket(*at) < 258.0).map(|each| each.1).sum() };
                    let at = sent.fits_at(amount, most, now).max(now);
                    prop_assert!(left(at) + amount <= most + 1e-6);
                    prop_assert!(at <= now || left(at - 0.2) + amount > most - 1e-6);
                }
                _ => {
                    sent.add(amount, now);
                    list.push((now, amount));
                }
            }
        }
    }
}
