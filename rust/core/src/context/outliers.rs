//! Rows of a table that are not like the others: a number far off, a word that is rare where few words are.

use std::collections::HashMap;

/// Fewer rows have no outliers.
const ROWS: usize = 8;
/// So many deviations from the median are far, the median of all deviations being one.
const FAR: f64 = 6.0;
/// A word is rare that so few rows have, in parts of all, where the column has no more different words than rows by this.
const RARE: usize = 20;
const WORDS: usize = 4;

/// Which of the rows are outliers in some column; `rows` are cells as text. O(cells).
pub(super) fn outliers(rows: &[Vec<&str>]) -> Vec<bool> {
    let mut found = vec![false; rows.len()];
    if rows.len() < ROWS {
        return found;
    }
    for column in 0..rows[0].len() {
        let cells: Vec<&str> = rows.iter().map(|row| row[column]).collect();
        let numbers: Option<Vec<f64>> =
            cells.iter().map(|cell| cell.parse::<f64>().ok().filter(|x| x.is_finite())).collect();
        match numbers {
            Some(numbers) => far(&numbers, &mut found),
            None => rare(&cells, &mut found),
        }
    }
    found
}

fn far(numbers: &[f64], found: &mut [bool]) {
    let middle = median(numbers.to_vec());
    let deviation = median(numbers.iter().map(|x| (x - middle).abs()).collect());
    if deviation > 0.0 {
        for (at, x) in numbers.iter().enumerate() {
            found[at] |= (x - middle).abs() > FAR * deviation;
        }
        return;
    }
    let is_other = |x: f64| (x - middle).abs() > 0.0;
    // More than half are the same: the others are outliers where they are few.
    let others = numbers.iter().filter(|&&x| is_other(x)).count();
    if others * RARE <= numbers.len() {
        for (at, &x) in numbers.iter().enumerate() {
            found[at] |= is_other(x);
        }
    }
}

fn rare(cells: &[&str], found: &mut [bool]) {
    let mut counts: HashMap<&str, usize> = HashMap::new();
    for cell in cells {
        *counts.entry(cell).or_default() += 1;
    }
    if counts.len() * WORDS > cells.len() {
        return;
    }
    for (at, cell) in cells.iter().enumerate() {
        found[at] |= counts[cell] * RARE <= cells.len();
    }
}

/// The upper median; 0 of nothing.
fn median(mut numbers: Vec<f64>) -> f64 {
    let middle = numbers.len() / 2;
    if numbers.is_empty() { 0.0 } else { *numbers.select_nth_unstable_by(middle, f64::total_cmp).1 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_far_or_rare_is_found() {
        let texts: Vec<[String; 2]> = (0..40)
            .map(|at| {
                [
                    (if at == 7 { 9_000 } else { 100 + at % 5 }).to_string(),
                    if at == 30 { "error" } else { "ok" }.to_owned(),
                ]
            })
            .collect();
        let rows: Vec<Vec<&str>> = texts.iter().map(|row| row.iter().map(String::as_str).collect()).collect();
        let found: Vec<usize> = outliers(&rows).iter().enumerate().filter(|(_, is)| **is).map(|(at, _)| at).collect();
        assert_eq!(found, [7, 30]);
    }

    #[test]
    fn names_and_few_rows_have_none() {
        let names: Vec<String> = (0..40).map(|at| format!("name {at}")).collect();
        let rows: Vec<Vec<&str>> = names.iter().map(|name| vec![name.as_str()]).collect();
        assert!(!outliers(&rows).contains(&true));
        assert!(!outliers(&rows[..7]).contains(&true));
        assert!(outliers(&[]).is_empty());
    }
}
