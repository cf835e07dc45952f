//! Lines of one shape, as a program's log has them: what differs is a number, a time, a name.
//!
//! After Drain (He, Zhu, Zheng and Lyu, "An online log parsing approach with fixed depth tree", ICWS 2017): a leaf by the
//! number of words and the first, in it the nearest template that shares half of its words. Leaves are bounded, so that
//! a line costs no more than its words times a constant.

use std::collections::HashMap;

use super::terms::hash_of;

/// So many words of a line are compared.
const WORDS: usize = 48;
/// So many lead to a leaf, the first that are no numbers.
const LEADING: usize = 2;
/// So many templates a leaf has; a line that is like none of a full one is by itself.
const LEAF: usize = 24;
/// Stands for a word that differs, and for all that have a digit.
const ANY: u32 = 0;

#[derive(Default)]
pub(super) struct Templates {
    leaves: HashMap<(usize, u64), Vec<Template>>,
    count: u32,
    /// Words compared so far: what time is proportional to.
    work: usize,
}

struct Template {
    number: u32,
    words: Vec<u32>,
}

impl Templates {
    /// The number of the line's template.
    pub(super) fn number(&mut self, line: &str) -> u32 {
        let words: Vec<u32> = line
            .split(|c: char| {
                c.is_whitespace() || matches!(c, ',' | ':' | '=' | '"' | '(' | ')' | '[' | ']' | '{' | '}')
            })
            .filter(|word| !word.is_empty())
            .take(WORDS)
            .map(masked)
            .collect();
        let leading = words
            .iter()
            .filter(|&&word| word != ANY)
            .take(LEADING)
            .fold(0_u64, |key, &word| key.rotate_left(21) ^ u64::from(word));
        let leaf = self.leaves.entry((words.len(), leading)).or_default();
        let mut best: Option<(usize, &mut Template)> = None;
        for template in leaf.iter_mut() {
            self.work += words.len();
            let same = template.words.iter().zip(&words).filter(|(one, other)| one == other).count();
            if same * 2 >= words.len() && best.as_ref().is_none_or(|(most, _)| same > *most) {
                best = Some((same, template));
            }
        }
        if let Some((_, template)) = best {
            for (mine, &word) in template.words.iter_mut().zip(&words) {
                if *mine != word {
                    *mine = ANY;
                }
            }
            return template.number;
        }
        let number = self.count;
        self.count += 1;
        if leaf.len() < LEAF {
            leaf.push(Template { number, words });
        }
        number
    }

    /// How many words were compared.
    #[cfg(test)]
    fn work(&self) -> usize {
        self.work
    }
}

fn masked(word: &str) -> u32 {
    if word.bytes().any(|byte| byte.is_ascii_digit()) { ANY } else { hash_of(word).max(ANY + 1) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_one_shape_have_one_number() {
        let mut templates = Templates::default();
        let number = templates.number("2024-05-01 10:00:00 INFO GET /health took 12ms");
        assert_eq!(templates.number("2024-05-02 11:30:01 INFO GET /ready took 9ms"), number);
        assert_ne!(templates.number("2024-05-02 11:30:01 ERROR GET /ready took 9ms"), number);
        assert_ne!(templates.number("2024-05-02 11:30:01 INFO connected to db"), number);
        assert_eq!(templates.number(""), templates.number("  "));
    }

    #[test]
    fn work_is_linear() {
        let work = |lines: u64| {
            let mut templates = Templates::default();
            let mut x = 1_u64;
            for _ in 0..lines {
                let words: Vec<String> = (0..8)
                    .map(|_| {
                        x = x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                        char::from(b'a' + (x >> 60) as u8).to_string()
                    })
                    .collect();
                templates.number(&words.join(" "));
            }
            templates.work()
        };
        assert!(work(4_000) <= 4_000 * 8 * LEAF);
    }
}
