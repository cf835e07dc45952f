//! Families, bounds and text of the metrics registry.

#![allow(clippy::unwrap_used)] // in a test a panic is the report

use proptest::prelude::*;
use sparecall_core::error::Error;
use sparecall_core::metrics::{Kind, Registry, Series};

fn labels(names: &[&str]) -> Vec<String> {
    names.iter().map(|&name| name.to_owned()).collect()
}

fn add(registry: &mut Registry, family: usize, values: &[&str], amount: f64) {
    match registry.family(family).series(values.iter().copied()) {
        Ok(Series::Scalar(scalar)) => scalar.add(amount),
        other => panic!("not a number: {other:?}"),
    }
}

#[test]
fn text_is_in_the_order_of_names_and_values() {
    let mut registry = Registry::new(10);
    let requests =
        registry.register(Kind::Counter, "requests_total", "All\nrequests \\ \"seen\"", &labels(&["code"])).unwrap();
    let seconds = registry.register(Kind::Histogram { buckets: vec![0.5, 2.0] }, "seconds", "", &[]).unwrap();
    registry.register(Kind::Gauge, "open", "Open now", &[]).unwrap();
    add(&mut registry, requests, &["500"], 1.0);
    add(&mut registry, requests, &["200"], 2.5);
    let Ok(Series::Histogram(histogram)) = registry.family(seconds).series([].into_iter()) else { panic!() };
    for value in [0.5, 0.6, 100.0, f64::INFINITY] {
        histogram.observe(value);
    }
    let expected = "\
# HELP open Open now
# TYPE open gauge
open 0
# HELP requests_total All\\nrequests \\\\ \"seen\"
# TYPE requests_total counter
requests_total{code=\"200\"} 2.5
requests_total{code=\"500\"} 1
# HELP seconds \n# TYPE seconds histogram
seconds_bucket{le=\"0.5\"} 1
seconds_bucket{le=\"2\"} 2
seconds_bucket{le=\"+Inf\"} 4
seconds_sum +Inf
seconds_count 4
";
    assert_eq!(registry.render(), expected);
}

#[test]
fn the_same_shape_is_the_same_family_and_another_is_refused() {
    let mut registry = Registry::new(10);
    let buckets = |bounds: &[f64]| Kind::Histogram { buckets: bounds.to_vec() };
    let first = registry.register(buckets(&[1.0]), "seconds", "help", &labels(&["a"])).unwrap();
    assert_eq!(registry.register(buckets(&[1.0, f64::INFINITY]), "seconds", "", &labels(&["a"])), Ok(first));
    for (kind, names) in [(buckets(&[2.0]), vec!["a"]), (buckets(&[1.0]), vec!["b"]), (Kind::Gauge, vec!["a"])] {
        let refused = registry.register(kind, "seconds", "help", &labels(&names));
        assert!(matches!(refused, Err(Error::InvalidArgument { .. })));
    }
    assert!(registry.register(Kind::Counter, "seconds_count", "", &[]).is_err(), "its lines would mix");
    registry.register(Kind::Counter, "bytes_sum", "", &[]).unwrap();
    assert!(registry.register(buckets(&[]), "bytes", "", &[]).is_err(), "and so would these");
    registry.register(buckets(&[]), "byte", "", &[]).unwrap();
}

#[test]
fn names_that_prometheus_does_not_allow_are_refused() {
    let mut registry = Registry::new(10);
    for name in ["", "1a", "a b", "a-b", "é", "a{"] {
        assert!(registry.register(Kind::Gauge, name, "", &[]).is_err(), "{name}");
    }
    for names in [vec![""], vec!["__a"], vec!["a:b"], vec!["0"], vec!["a", "a"]] {
        assert!(registry.register(Kind::Gauge, "fine", "", &labels(&names)).is_err(), "{names:?}");
    }
    assert!(registry.register(Kind::Histogram { buckets: vec![] }, "fine", "", &labels(&["le"])).is_err());
    for bounds in [vec![1.0, 1.0], vec![2.0, 1.0], vec![f64::NAN], vec![f64::NEG_INFINITY, 1.0]] {
        assert!(registry.register(Kind::Histogram { buckets: bounds.clone() }, "fine", "", &[]).is_err(), "{bounds:?}");
    }
    assert!(registry.register(Kind::Gauge, "a:b_9", "", &labels(&["_a9", "le"])).is_ok());
}

#[test]
fn past_the_bound_everything_new_is_other() {
    let mut registry = Registry::new(2);
    let family = registry.register(Kind::Counter, "calls", "", &labels(&["model", "hit"])).unwrap();
    for model in ["a", "b", "c", "d", "a"] {
        add(&mut registry, family, &[model, "exact"], 1.0);
    }
    add(&mut registry, family, &[&"long".repeat(100), "exact"], 1.0);
    let text = registry.render();
    let lines: Vec<&str> = text.lines().skip(2).collect();
    let expected = [
        "calls{model=\"a\",hit=\"exact\"} 2",
        "calls{model=\"b\",hit=\"exact\"} 1",
        "calls{model=\"other\",hit=\"other\"} 3",
    ];
    assert_eq!(lines, expected);
    assert!(registry.family(family).series(["a"].into_iter()).is_err(), "one value for two labels");
}

proptest! {
    #[test]
    fn lists_of_values_never_share_a_series(one in prop::collection::vec(".{0,4}", 2), other in prop::collection::vec(".{0,4}", 2)) {
        let mut registry = Registry::new(10);
        let family = registry.register(Kind::Gauge, "g", "", &labels(&["a", "b"])).unwrap();
        for values in [&one, &other] {
            let values: Vec<&str> = values.iter().map(String::as_str).collect();
            add(&mut registry, family, &values, 1.0);
        }
        let series = registry.render().matches("\ng{").count();
        prop_assert_eq!(series, if one == other { 1 } else { 2 });
    }

    #[test]
    fn a_histogram_counts_every_value_once_and_up_to_its_bound(
        bounds in prop::collection::btree_set(-5..5i32, 0..5),
        values in prop::collection::vec(-7..7i32, 0..30),
    ) {
        let mut registry = Registry::new(1);
        let buckets: Vec<f64> = bounds.iter().copied().map(f64::from).collect();
        let family = registry.register(Kind::Histogram { buckets }, "h", "", &[]).unwrap();
        let Ok(Series::Histogram(histogram)) = registry.family(family).series([].into_iter()) else { panic!() };
        for &value in &values {
            histogram.observe(value.into());
        }
        let text = registry.render();
        for bound in bounds {
            let up_to = values.iter().filter(|&&value| value <= bound).count();
            let line = format!("h_bucket{{le=\"{bound}\"}} {up_to}\n");
            prop_assert!(text.contains(&line), "{} not in {}", line, text);
        }
        let total = format!("h_count {}\n", values.len());
        prop_assert!(text.contains(&total));
    }
}
