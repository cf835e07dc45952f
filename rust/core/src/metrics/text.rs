//! Prometheus text exposition format 0.0.4.

use std::fmt::Write as _;

use super::family::Family;
use super::series::Series;

pub(super) fn write_family(out: &mut String, family: &Family) {
    let name = family.name();
    out.push_str("# HELP ");
    out.push_str(name);
    out.push(' ');
    write_escaped(out, family.help(), false);
    out.push_str("\n# TYPE ");
    out.push_str(name);
    out.push(' ');
    out.push_str(family.kind().name());
    out.push('\n');
    for (values, series) in family.sorted() {
        let labels = Labels { names: family.labels(), values: &values };
        match series {
            Series::Scalar(scalar) => labels.write_line(out, name, "", None, scalar.value()),
            Series::Histogram(histogram) => {
                let mut count = 0;
                for (bound, total) in histogram.cumulative() {
                    labels.write_line(out, name, "_bucket", Some(bound), total as f64);
                    count = total;
                }
                labels.write_line(out, name, "_sum", None, histogram.sum());
                // The last bucket's, not a second reading: the two must agree in one scrape.
                labels.write_line(out, name, "_count", None, count as f64);
            }
        }
    }
}

/// The labels of one series.
struct Labels<'a> {
    names: &'a [String],
    values: &'a [&'a str],
}

impl Labels<'_> {
    fn write_line(&self, out: &mut String, name: &str, suffix: &str, bound: Option<f64>, value: f64) {
        out.push_str(name);
        out.push_str(suffix);
        let mut before = '{';
        for (label, value) in self.names.iter().zip(self.values) {
            out.push(before);
            out.push_str(label);
            out.push_str("=\"");
            write_escaped(out, value, true);
            out.push('"');
            before = ',';
        }
        if let Some(bound) = bound {
            out.push(before);
            out.push_str("le=\"");
            write_number(out, bound);
            out.push('"');
            before = ',';
        }
        if before == ',' {
            out.push('}');
        }
        out.push(' ');
        write_number(out, value);
        out.push('\n');
    }
}

fn write_escaped(out: &mut String, text: &str, quotes: bool) {
    for character in text.chars() {
        match character {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '"' if quotes => out.push_str("\\\""),
            other => out.push(other),
        }
    }
}

fn write_number(out: &mut String, value: f64) {
    if value.is_infinite() {
        out.push_str(if value > 0.0 { "+Inf" } else { "-Inf" });
    } else {
        // Writing to a String does not fail. NaN is written as Prometheus wants it; the shortest digits that read back.
        let _ = write!(out, "{value}");
    }
}
