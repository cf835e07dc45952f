//! Numbers as exact decimals: the shortest spelling `-123e4`, one for each value, whatever the body wrote.

/// The parts of a number as the body spells it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Number<'a> {
    negative: bool,
    integer: &'a [u8],
    fraction: &'a [u8],
    exponent_negative: bool,
    exponent: &'a [u8],
    /// How many bytes of the body it takes.
    pub(super) length: usize,
}

/// Why bytes are not a number we can hold, and how far into them that shows.
pub(super) type Fault = (&'static str, usize);

fn digits(bytes: &[u8], from: usize) -> &[u8] {
    let rest = &bytes[from..];
    let end = rest.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(rest.len());
    &rest[..end]
}

impl<'a> Number<'a> {
    /// Reads the number at the start of `bytes`, by the grammar of RFC 8259 section 6.
    pub(super) fn read(bytes: &'a [u8]) -> Result<Self, Fault> {
        let negative = bytes.first() == Some(&b'-');
        let mut at = usize::from(negative);
        let integer = match bytes.get(at) {
            Some(b'0') => &bytes[at..=at],
            _ => digits(bytes, at),
        };
        at += integer.len();
        if integer.is_empty() {
            return Err(("expected a digit", at));
        }
        let mut fraction: &[u8] = &[];
        if bytes.get(at) == Some(&b'.') {
            fraction = digits(bytes, at + 1);
            at += 1 + fraction.len();
            if fraction.is_empty() {
                return Err(("expected a digit after the decimal point", at));
            }
        }
        let (mut exponent, mut exponent_negative): (&[u8], _) = (&[], false);
        if let Some(b'e' | b'E') = bytes.get(at) {
            at += 1;
            if let Some(sign @ (b'+' | b'-')) = bytes.get(at) {
                exponent_negative = *sign == b'-';
                at += 1;
            }
            exponent = digits(bytes, at);
            at += exponent.len();
            if exponent.is_empty() {
                return Err(("expected a digit in the exponent", at));
            }
        }
        Ok(Self { negative, integer, fraction, exponent_negative, exponent, length: at })
    }

    /// The body already spells it the canonical way: an integer that does not end in zero, or zero itself.
    pub(super) fn is_canonical(&self) -> bool {
        let whole = self.fraction.is_empty() && self.exponent.is_empty();
        whole && (self.integer.last() != Some(&b'0') || (self.integer == b"0" && !self.negative))
    }

    /// Appends the canonical spelling: digits without outer zeros, then `e` and the exponent unless that is zero.
    pub(super) fn write_canonical(&self, out: &mut Vec<u8>) -> Result<(), Fault> {
        let start = out.len();
        if self.negative {
            out.push(b'-');
        }
        let first_digit = out.len();
        if self.integer != b"0" {
            out.extend_from_slice(self.integer);
        }
        let skipped = if out.len() == first_digit { leading_zeros(self.fraction) } else { 0 };
        out.extend_from_slice(&self.fraction[skipped..]);
        let trailing = out[first_digit..].iter().rev().take_while(|&&digit| digit == b'0').count();
        out.truncate(out.len() - trailing);
        if out.len() == first_digit {
            out.truncate(start);
            out.push(b'0');
            return Ok(());
        }
        let exponent = self.exponent_value() - self.fraction.len() as i128 + trailing as i128;
        let exponent = i64::try_from(exponent).map_err(|_| ("a number's exponent is beyond 64 bits", 0))?;
        if exponent != 0 {
            out.push(b'e');
            out.extend_from_slice(exponent.to_string().as_bytes());
        }
        Ok(())
    }

    /// Saturates far beyond 64 bits and far below what the later sums could overflow.
    fn exponent_value(&self) -> i128 {
        const ENOUGH: i128 = 1 << 100;
        let value = self
            .exponent
            .iter()
            .fold(0, |value: i128, digit| if value < ENOUGH { value * 10 + i128::from(digit - b'0') } else { value });
        if self.exponent_negative { -value } else { value }
    }
}

fn leading_zeros(digits: &[u8]) -> usize {
    digits.iter().take_while(|&&digit| digit == b'0').count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn canonical(spelling: &str) -> Result<String, Fault> {
        let number = Number::read(spelling.as_bytes())?;
        assert_eq!(number.length, spelling.len());
        let mut out = Vec::new();
        number.write_canonical(&mut out)?;
        let written = String::from_utf8_lossy(&out).into_owned();
        assert_eq!(number.is_canonical(), written == spelling && !spelling.contains('e'));
        Ok(written)
    }

    #[test]
    fn one_value_has_one_spelling() {
        for (spellings, expected) in [
            ("1 1.0 1e0 10e-1 0.1e1 1E+0 1.000e00 0.001e3", "1"),
            ("0 -0 0.0 0e5 -0.000e-99999999999999999999999 0e99999999999999999999999999999999999999999999", "0"),
            ("-1500 -1.5e3 -0.0015E6", "-15e2"),
            ("0.25 25e-2 2.50e-1", "25e-2"),
            ("9007199254740993 9007199254740993.0", "9007199254740993"),
            ("1e9223372036854775807 0.1e9223372036854775808", "1e9223372036854775807"),
        ] {
            for spelling in spellings.split(' ') {
                assert_eq!(canonical(spelling).as_deref(), Ok(expected), "{spelling}");
            }
        }
    }

    #[test]
    fn an_exponent_beyond_64_bits_is_refused_after_normalisation() {
        for spelling in
            ["10e9223372036854775807", "1e9223372036854775808", "1e-9999999999999999999999999999999999999999999999"]
        {
            assert!(canonical(spelling).is_err(), "{spelling}");
        }
    }
}
