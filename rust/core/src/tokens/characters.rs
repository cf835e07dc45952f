//! From the number of a character to its place in UTF-8, in constant time: a place is kept for every 64th.

use super::unicode::is_first;

/// How many characters there are from one kept place to the next.
const STRIDE: usize = 64;

/// The places of a text's characters. Every call must be given the same text.
#[derive(Debug)]
pub struct Characters {
    len: usize,
    /// Empty where each character is one byte.
    places: Vec<u32>,
}

impl Characters {
    /// Reads `text`, at most [`super::MAX_TEXT`] bytes: half a bit for each character, unless all are ASCII.
    pub fn new(text: &str) -> Self {
        if text.is_ascii() {
            return Self { len: text.len(), places: Vec::new() };
        }
        let (mut len, mut places) = (0, Vec::new());
        for (at, _) in text.char_indices() {
            if len % STRIDE == 0 {
                places.push(at as u32);
            }
            len += 1;
        }
        Self { len, places }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Bytes of memory that it takes.
    pub fn memory(&self) -> usize {
        size_of::<Self>() + 4 * self.places.capacity()
    }

    /// Where the character of that number begins; the text's length where there are no more.
    pub fn place(&self, text: &str, number: usize) -> usize {
        if number >= self.len {
            return text.len();
        }
        if self.places.is_empty() {
            return number;
        }
        let from = self.places[number / STRIDE] as usize;
        let begins = text.as_bytes()[from..].iter().enumerate().filter(|(_, byte)| is_first(**byte));
        begins.map(|(at, _)| from + at).nth(number % STRIDE).unwrap_or(text.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_character_is_found_where_it_begins() {
        for text in ["", "plain", "日本語 and é and 😀", &"é😀a".repeat(100), &"日".repeat(64)] {
            let characters = Characters::new(text);
            let places: Vec<usize> = text.char_indices().map(|(at, _)| at).chain([text.len(), text.len()]).collect();
            assert_eq!(characters.len() + 2, places.len());
            for (number, place) in places.iter().enumerate() {
                assert_eq!(characters.place(text, number), *place, "{number} of {text:?}");
            }
        }
    }
}
