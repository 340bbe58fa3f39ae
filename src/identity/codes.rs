//! Codes that people type: letters that make no words and are hard to take for one another (RFC 8628, 6.1).

use crate::clock::Now;

/// Consonants without Y: 4.32 bits each.
const ALPHABET: &[u8; 20] = b"BCDFGHJKLMNPQRSTVWXZ";

/// The longest text that is looked at; what is longer is no code.
const LONGEST: usize = 64;

/// Random letters, each of the twenty as likely as any other.
pub(super) fn draw(now: &Now, length: usize) -> String {
    let mut letters = String::new();
    while letters.len() < length {
        // Above 239 the first letters would come up more often.
        let fair = now.bytes::<16>().into_iter().filter(|byte| *byte < 240);
        letters.extend(fair.map(|byte| char::from(ALPHABET[usize::from(byte % 20)])).take(length - letters.len()));
    }
    letters
}

/// As people read them: in fours.
pub(super) fn in_fours(letters: &str, between: &str) -> String {
    let letters: Vec<char> = letters.chars().collect();
    letters.chunks(4).map(|four| four.iter().collect::<String>()).collect::<Vec<_>>().join(between)
}

/// As they are compared: whatever stands between them, and in whichever case they were typed.
pub(super) fn typed(text: &str) -> String {
    let letters = text.chars().take(LONGEST).filter(|letter| letter.is_alphanumeric());
    letters.map(|letter| letter.to_ascii_uppercase()).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::clock::Clock;

    #[test]
    fn what_is_shown_is_read_however_it_is_typed() {
        let letters = draw(&Clock::seeded(7).now(), 12);
        let shown = in_fours(&letters, "-");
        assert_eq!((shown.len(), shown.matches('-').count()), (14, 2));
        for text in [shown.clone(), shown.to_lowercase(), format!(" {} ", in_fours(&letters, " – ")), letters.clone()]
        {
            assert_eq!(typed(&text), letters, "{text}");
        }
        assert_eq!(typed("123 456"), "123456");
        assert_eq!(typed(&"B".repeat(10_000)).len(), 64);
    }

    #[test]
    fn each_letter_is_as_likely_as_any_other() {
        let mut seen = BTreeMap::<char, u32>::new();
        let now = Clock::seeded(7).now();
        for letter in draw(&now, 40_000).chars() {
            *seen.entry(letter).or_default() += 1;
        }
        assert_eq!(seen.len(), 20);
        // 2000 expected each, with a standard deviation of 44.
        assert!(seen.values().all(|times| (1_800..2_200).contains(times)), "{seen:?}");
    }
}
