//! GPT-2's byte-level alphabet: a printable character for each byte, in which `tokenizer.json` spells its tokens.

/// Appends the bytes that `text` spells; false, and nothing of use appended, where a character stands for none.
pub(super) fn decode(text: &str, bytes: &mut Vec<u8>) -> bool {
    for character in text.chars() {
        let Some(byte) = byte_of(character) else { return false };
        bytes.push(byte);
    }
    true
}

/// The byte that a character stands for. Printable Latin-1 stands for itself; the other bytes are, in their order, the
/// characters from U+0100 on.
fn byte_of(character: char) -> Option<u8> {
    match u32::from(character) {
        code @ (0x21..=0x7e | 0xa1..=0xac | 0xae..=0xff) => Some(code as u8),
        code @ 0x100..=0x120 => Some((code - 0x100) as u8),
        code @ 0x121..=0x142 => Some((code - 0x121 + 0x7f) as u8),
        0x143 => Some(0xad),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_byte_has_one_character() {
        let mut characters = [None; 256];
        for character in (0..=0x150).filter_map(char::from_u32) {
            if let Some(byte) = byte_of(character) {
                assert_eq!(characters[usize::from(byte)].replace(character), None, "{byte}");
            }
        }
        assert!(characters.iter().all(Option::is_some));
        let mut bytes = Vec::new();
        assert!(decode("Ġé\u{120}\u{121}\u{142}\u{143}", &mut bytes));
        assert_eq!(bytes, [b' ', 0xe9, b' ', 0x7f, 0xa0, 0xad]);
        assert!(!decode("▁", &mut bytes));
    }
}
