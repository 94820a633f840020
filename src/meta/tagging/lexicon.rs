//! What a word looks like: numbers that an encoder of lower-case pieces does not see.
//!
//! Capitals, digits, endings and the word itself tell names from other words (Ratinov & Roth 2009, §5). Each of
//! [`TRAITS`] views of a word is hashed to a row of one learned table (Weinberger et al. 2009, arXiv:0902.2206), and
//! [`FLAGS`] plain facts stand beside them.

/// Views of a word that are hashed.
pub const TRAITS: usize = 11;

/// Facts about a word.
pub const FLAGS: usize = 14;

/// Longest word whose every letter is looked at; the rest of longer ones is left out.
const LONGEST: usize = 64;

/// A word's rows in a table of `rows` rows.
pub fn traits(word: &str, rows: u32) -> [i64; TRAITS] {
    let lower: Vec<char> = word.chars().take(LONGEST).flat_map(char::to_lowercase).collect();
    let shape: Vec<char> = word.chars().take(LONGEST).map(shape).collect();
    let start = |letters: usize| lower[..letters.min(lower.len())].to_vec();
    let end = |letters: usize| lower[lower.len().saturating_sub(letters)..].to_vec();
    let views = [
        squeezed(&shape, 2),
        squeezed(&shape, 1),
        start(1),
        start(2),
        start(3),
        start(4),
        end(1),
        end(2),
        end(3),
        end(4),
        lower.clone(),
    ];
    let mut view = 0u32;
    views.map(|letters| {
        view += 1;
        i64::from(hash(view, &letters) % rows)
    })
}

/// Facts about each word of a sentence, in order.
pub fn flags<'w>(words: impl ExactSizeIterator<Item = &'w str>) -> Vec<f32> {
    let words: Vec<&str> = words.collect();
    let capitals = words.iter().filter(|word| starts_with_capital(word)).count();
    // Of a headline or a shout, capitals say little.
    let is_shouted = capitals * 5 > words.len() * 4;
    let last = words.len().saturating_sub(1);
    let facts = |(index, word): (usize, &&str)| {
        let has = |is: fn(char) -> bool| word.chars().any(is);
        let all = |is: fn(char) -> bool| word.chars().all(is);
        let cased = has(|letter| letter.is_uppercase() || letter.is_lowercase());
        let letters = word.chars().count();
        [
            starts_with_capital(word),
            cased && !has(char::is_lowercase),
            cased && !has(char::is_uppercase),
            has(char::is_numeric),
            all(char::is_numeric),
            !has(char::is_alphanumeric),
            word.chars().skip(1).any(char::is_uppercase),
            word.contains('-'),
            index == 0,
            index == last,
            letters == 1,
            letters <= 3,
            is_shouted,
            starts_with_capital(word) && !word.chars().skip(1).any(char::is_uppercase),
        ]
        .map(|fact| f32::from(u8::from(fact)))
    };
    words.iter().enumerate().flat_map(facts).collect()
}

fn starts_with_capital(word: &str) -> bool {
    word.chars().next().is_some_and(char::is_uppercase)
}

const fn shape(letter: char) -> char {
    match letter {
        '0'..='9' => 'd',
        'a'..='z' => 'x',
        'A'..='Z' => 'X',
        other if other.is_ascii() => other,
        _ => 'u',
    }
}

/// At most `most` of the same letter in a row.
fn squeezed(letters: &[char], most: usize) -> Vec<char> {
    let is_kept =
        |&index: &usize| index < most || letters[index - most..index].iter().any(|&one| one != letters[index]);
    (0..letters.len()).filter(is_kept).map(|index| letters[index]).collect()
}

/// FNV-1a over the view's number and its letters, mixed once more, since the table's size may be a power of two.
fn hash(view: u32, letters: &[char]) -> u32 {
    let numbers = std::iter::once(view).chain(letters.iter().map(|&letter| u32::from(letter)));
    let bytes = numbers.flat_map(u32::to_le_bytes);
    let hash = bytes.fold(0x811c_9dc5u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    let hash = (hash ^ (hash >> 16)).wrapping_mul(0x85eb_ca6b);
    hash ^ (hash >> 13)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capitals_change_the_shape_and_nothing_else() {
        let (one, other) = (traits("Paris", 4096), traits("paris", 4096));

        assert_ne!(one[..2], other[..2]);
        assert_eq!(one[2..], other[2..]);
    }

    #[test]
    fn shapes_forget_how_long_a_run_is() {
        assert_eq!(traits("Anna", 4096)[..2], traits("Lebensraum", 4096)[..2]);
        assert_ne!(traits("Anna", 4096)[1], traits("ANNA", 4096)[1]);
        assert_eq!(squeezed(&"aaabccc".chars().collect::<Vec<_>>(), 2).iter().collect::<String>(), "aabcc");
    }

    #[test]
    fn facts_are_those_of_the_word_and_its_place() {
        let flags = flags(["Ann", "met", "iPhone-7"].into_iter());

        let on = |word: usize| (0..FLAGS).filter(|&fact| flags[word * FLAGS + fact] > 0.0).collect::<Vec<_>>();
        assert_eq!(on(0), [0, 8, 11, 13]);
        assert_eq!(on(1), [2, 11]);
        assert_eq!(on(2), [3, 6, 7, 9]);
    }

    #[test]
    fn every_trait_is_a_row_of_the_table() {
        for word in ["", "a", "日本語", &"x".repeat(1000)] {
            assert!(traits(word, 64).iter().all(|&row| (0..64).contains(&row)), "{word}");
        }
    }
}
