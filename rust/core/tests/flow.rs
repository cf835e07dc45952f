//! What a limit's arithmetic promises, whatever it is told.

use proptest::prelude::*;
use sparecall_core::flow::{Capacity, Expected, Gcra, Gradient, Told};

fn near(seen: f64, wanted: f64, share: f64) -> bool {
    (seen / wanted - 1.0).abs() <= share
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

#[test]
fn a_capacity_is_told_from_a_level_once_the_calls_in_flight_change() {
    let mut slow = Capacity::new(1.0, 1000.0);
    for in_flight in [20.0; 12].into_iter().chain([13.0; 12]) {
        slow.slower(in_flight, 1.5, 0.05); // fewer, and they take as long: it is slow
    }
    assert!(near(slow.level(), 1.45, 0.1), "{}", slow.level());
    assert!(slow.quantile(0.5) > 13.0);
    let mut crowded = Capacity::new(1.0, 1000.0);
    for in_flight in [20.0, 30.0, 40.0, 30.0, 20.0_f64].into_iter().flat_map(|each| [each; 6]) {
        crowded.slower(in_flight, (in_flight / 20.0).max(1.0), 0.05);
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
                _ => drop(gradient.ended(number, Some(tokens), now - back)),
            }
            let running = gradient.running();
            prop_assert_eq!(running.len(), running.kinds().iter().sum::<usize>());
            prop_assert!(gradient.limit() >= least && gradient.limit() <= most);
            prop_assert!(gradient.duration().is_finite() && (0.0..=1.0).contains(&gradient.load()));
        }
    }

    #[test]
    fn a_line_stays_finite_and_above_zero(samples in prop::collection::vec((0.0..1e9_f64, 0.0..1e6_f64), 1..500)) {
        let mut expected = Expected::default();
        for (tokens, seconds) in samples {
            expected.learn(tokens, seconds);
            for tokens in [0.0, 100.0, 1e9] {
                prop_assert!(expected.seconds(tokens).is_finite() && expected.seconds(tokens) > 0.0);
            }
        }
    }

    #[test]
    fn what_passed_never_shrinks_and_no_more_than_the_limit_goes(
        limit in 1.0..1e6_f64, burst in 0.01..1.0_f64,
        steps in prop::collection::vec((0_u8..3, 0.0..100.0_f64, 0.0..20.0_f64), 1..300),
    ) {
        let per = 60.0;
        let mut gcra = Gcra::new(Some(limit), per, burst, 0.0);
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
                    gcra.give_back(back, gcra.passed);
                    held -= back;
                }
                2 => gcra.told(Told { limit: None, remaining: Some(amount), reset: None }, gcra.passed, now),
                _ => {}
            }
            prop_assert!(gcra.passed >= passed);
            passed = gcra.passed;
            let most = (burst * limit).max(1.0) + 100.0 + now * limit / per;
            prop_assert!(held <= most * 1.000_001, "{held} of {most}");
        }
    }
}
