//! Texts as words, and spans of them: what tagging labels.
//!
//! Places are counted in characters, as people and most languages' strings do; the end of a span is excluded.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::{Fault, Input};

/// Tag 0: the word is outside of every span.
pub const OUTSIDE: u32 = 0;

/// A stretch of a text and what it is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Span {
    /// Its first character.
    pub start: usize,
    /// The character after its last.
    pub end: usize,
    /// What it is.
    pub label: String,
}

/// A text cut into words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sentence {
    text: String,
    /// In characters, in order, apart from each other.
    words: Vec<Range<usize>>,
    /// The same in bytes.
    bytes: Vec<Range<usize>>,
    came_in_words: bool,
}

impl Sentence {
    /// A text, cut by [`pieces`], or words as they are given.
    ///
    /// # Errors
    /// [`Fault::WrongInput`] for anything else, [`Fault::TooFew`] without a word, [`Fault::TooMany`] beyond `max_chars`,
    /// [`Fault::BadName`] for a word that is empty or not one.
    pub fn read(input: &Input, max_chars: usize) -> Result<Self, Fault> {
        let sentence = match input {
            Input::Text(text) => Self::of_pieces(text.clone(), pieces(text)),
            Input::Tokens(tokens) => {
                let is_word = |token: &String| !token.is_empty() && !token.chars().any(char::is_whitespace);
                if let Some(index) = tokens.iter().position(|token| !is_word(token)) {
                    return Err(Fault::BadWord { index });
                }
                let mut at = 0;
                let place = |token: &String| {
                    let start = at;
                    at += token.len() + 1;
                    start..start + token.len()
                };
                let bytes = tokens.iter().map(place).collect();
                Self { came_in_words: true, ..Self::of_pieces(tokens.join(" "), bytes) }
            }
            other => {
                let expected = "a text, or its words: {\"tokens\": [...]}".to_owned();
                return Err(Fault::WrongInput { expected, given: other.describe() });
            }
        };
        if sentence.words.is_empty() {
            return Err(Fault::TooFew { what: "words", given: 0, least: 1 });
        }
        let given = sentence.text.chars().count();
        if given > max_chars {
            return Err(Fault::TooMany { what: "characters of one text", given, limit: max_chars });
        }
        Ok(sentence)
    }

    /// `bytes` are in order, apart, and on the borders of characters.
    fn of_pieces(text: String, bytes: Vec<Range<usize>>) -> Self {
        let (mut chars, mut seen) = (0, 0);
        let mut count_to = |byte: usize| {
            chars += text[seen..byte].chars().count();
            seen = byte;
            chars
        };
        let words = bytes.iter().map(|place| count_to(place.start)..count_to(place.end)).collect();
        Self { words, bytes, text, came_in_words: false }
    }

    /// Whether the words were given, and not cut from a text.
    pub const fn came_in_words(&self) -> bool {
        self.came_in_words
    }

    /// The text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// How many words.
    pub fn len(&self) -> usize {
        self.words.len()
    }

    /// Never true: a sentence has at least one word.
    pub fn is_empty(&self) -> bool {
        self.words.is_empty()
    }

    /// The words.
    pub fn words(&self) -> impl ExactSizeIterator<Item = &str> {
        self.bytes.iter().map(|place| &self.text[place.clone()])
    }

    /// Where the words stand, in characters.
    pub fn places(&self) -> &[Range<usize>] {
        &self.words
    }

    /// The text from one word to another, and where it stands.
    pub fn stretch(&self, words: Range<usize>) -> (&str, Range<usize>) {
        let (first, last) = (words.start, words.end - 1);
        let text = &self.text[self.bytes[first].start..self.bytes[last].end];
        (text, self.words[first].start..self.words[last].end)
    }

    /// A tag for each word, as IOB2 has them: 0 outside, 1 + 2k for the first word of a span of label k, 2 + 2k for its
    /// other words. A span that begins or ends within a word has all of that word.
    ///
    /// # Errors
    /// [`Fault::BadSpan`] for one that is empty, holds no word or ends after the text, [`Fault::SpansOverlap`], and
    /// [`Fault::UnknownLabel`].
    pub fn tags(&self, spans: &[Span], labels: &[String]) -> Result<Vec<u32>, Fault> {
        let mut tags = vec![OUTSIDE; self.len()];
        for (index, span) in spans.iter().enumerate() {
            let first = self.words.partition_point(|word| word.end <= span.start);
            let after = self.words.partition_point(|word| word.start < span.end);
            let length = self.text.chars().count();
            if span.start >= span.end || span.end > length || first >= after {
                return Err(Fault::BadSpan { index, start: span.start, end: span.end, length });
            }
            let label = labels.iter().position(|label| *label == span.label);
            let label = label.ok_or_else(|| Fault::UnknownLabel { label: span.label.clone() })?;
            for (word, tag) in tags.iter_mut().enumerate().take(after).skip(first) {
                if *tag != OUTSIDE {
                    return Err(Fault::SpansOverlap { index });
                }
                *tag = u32::try_from(1 + 2 * label + usize::from(word > first)).unwrap_or(u32::MAX);
            }
        }
        Ok(tags)
    }

    /// Spans from a tag for each word in letters: `O`, `B-person`, `I-person`. An `I-` that continues nothing begins a
    /// span, as in the older scheme IOB1.
    ///
    /// # Errors
    /// [`Fault::TooFew`] or [`Fault::TooMany`] if there is not one a word, [`Fault::BadTag`] for one that is none.
    pub fn spans_of(&self, tags: &[String]) -> Result<Vec<Span>, Fault> {
        match tags.len() {
            given if given < self.len() => return Err(Fault::TooFew { what: "tags", given, least: self.len() }),
            given if given > self.len() => return Err(Fault::TooMany { what: "tags", given, limit: self.len() }),
            _ => {}
        }
        let mut spans: Vec<Span> = Vec::new();
        let mut open = false;
        for (index, (tag, place)) in tags.iter().zip(&self.words).enumerate() {
            match tag.split_once('-') {
                _ if tag == "O" => open = false,
                Some((prefix @ ("B" | "I"), label)) if !label.is_empty() => match spans.last_mut() {
                    Some(last) if prefix == "I" && open && last.label == label => last.end = place.end,
                    _ => {
                        spans.push(Span { start: place.start, end: place.end, label: label.to_owned() });
                        open = true;
                    }
                },
                _ => return Err(Fault::BadTag { index, tag: tag.clone() }),
            }
        }
        Ok(spans)
    }
}

/// A tag in letters, as CoNLL files have it.
pub fn tag_name(tag: u32, labels: &[String]) -> String {
    match tag.checked_sub(1) {
        Some(rest) => {
            let prefix = if rest % 2 == 0 { 'B' } else { 'I' };
            let label = labels.get(rest as usize / 2).map_or("", String::as_str);
            format!("{prefix}-{label}")
        }
        None => "O".to_owned(),
    }
}

/// Words of a text, in bytes: runs of letters and digits, and every other sign by itself. What stays together: signs of
/// abbreviations, numbers and addresses between letters or digits (`U.S.`, `3.5`, `a@b.org`), and a clitic with its
/// apostrophe (`'s`).
fn pieces(text: &str) -> Vec<Range<usize>> {
    let mut words = Vec::new();
    for (start, run) in runs(text) {
        let letters: Vec<(usize, char)> = run.char_indices().collect();
        let mut begun: Option<usize> = None;
        for (number, &(at, letter)) in letters.iter().enumerate() {
            let beside = |step: isize| {
                let place = number.checked_add_signed(step)?;
                letters.get(place).map(|&(_, letter)| letter).filter(|letter| letter.is_alphanumeric())
            };
            let is_joint = ".,:@_&".contains(letter) && beside(-1).is_some() && beside(1).is_some();
            // The last point of an abbreviation belongs to it: there is another one in the word.
            let is_last_point =
                letter == '.' && beside(-1).is_some() && begun.is_some_and(|from| run[from..at].contains('.'));
            let is_clitic = "'’".contains(letter) && beside(1).is_some();
            if letter.is_alphanumeric() || is_joint || is_last_point {
                begun.get_or_insert(at);
                continue;
            }
            if let Some(from) = begun.take() {
                words.push(start + from..start + at);
            }
            if is_clitic && beside(-1).is_some() {
                begun = Some(at);
            } else {
                words.push(start + at..start + at + letter.len_utf8());
            }
        }
        if let Some(from) = begun {
            words.push(start + from..start + run.len());
        }
    }
    words
}

/// Runs without white space or control characters, and where they begin.
fn runs(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let is_gap = |letter: char| letter.is_whitespace() || letter.is_control();
    text.split(is_gap).filter(|run| !run.is_empty()).map(|run| (run.as_ptr() as usize - text.as_ptr() as usize, run))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sentence(text: &str) -> Sentence {
        Sentence::read(&Input::Text(text.to_owned()), 1000).expect("it has words")
    }

    fn span(start: usize, end: usize, label: &str) -> Span {
        Span { start, end, label: label.to_owned() }
    }

    fn labels(names: &[&str]) -> Vec<String> {
        names.iter().map(|&name| name.to_owned()).collect()
    }

    #[test]
    fn words_are_cut_as_a_reader_would() {
        let cut = |text: &str| sentence(text).words().map(str::to_owned).collect::<Vec<_>>();

        assert_eq!(
            cut("Jane's dog, in the U.S., ate 3.5 kg."),
            ["Jane", "'s", "dog", ",", "in", "the", "U.S.", ",", "ate", "3.5", "kg", "."]
        );
        assert_eq!(
            cut("Paris-based AT&T\t(ask me@site.org)"),
            ["Paris", "-", "based", "AT&T", "(", "ask", "me@site.org", ")"]
        );
        assert_eq!(cut("Müller’s 日本 🎉!"), ["Müller", "’s", "日本", "🎉", "!"]);
    }

    #[test]
    fn places_are_counted_in_characters() {
        let sentence = sentence("Ünal liebt Österreich");

        assert_eq!(sentence.places(), [0..4, 5..10, 11..21]);
        assert_eq!(sentence.stretch(1..3), ("liebt Österreich", 5..21));
    }

    #[test]
    fn spans_become_tags_and_reach_to_the_borders_of_words() {
        let (sentence, labels) = (sentence("Ann Lee met Bob in Rome"), labels(&["person", "place"]));
        let spans = [span(0, 7, "person"), span(12, 15, "person"), span(19, 22, "place")];

        assert_eq!(sentence.tags(&spans, &labels), Ok(vec![1, 2, 0, 1, 0, 3]));
        let names: Vec<String> = [1, 2, 0, 3].iter().map(|&tag| tag_name(tag, &labels)).collect();
        assert_eq!(names, ["B-person", "I-person", "O", "B-place"]);
    }

    #[test]
    fn spans_that_cannot_be_are_refused() {
        let (sentence, labels) = (sentence("Ann  met Bob"), labels(&["person"]));
        let fault = |spans: &[Span]| sentence.tags(spans, &labels).unwrap_err();

        for (start, end) in [(0, 0), (3, 1), (3, 5), (9, 13), (40, 41)] {
            let expected = Fault::BadSpan { index: 0, start, end, length: 12 };
            assert_eq!(fault(&[span(start, end, "person")]), expected);
        }
        assert_eq!(fault(&[span(0, 8, "person"), span(6, 12, "person")]), Fault::SpansOverlap { index: 1 });
        assert_eq!(fault(&[span(0, 3, "dog")]), Fault::UnknownLabel { label: "dog".to_owned() });
    }

    #[test]
    fn tags_in_letters_become_spans() {
        let tokens = labels(&["Ann", "Lee", "Bob", "Rome", "Rome"]);
        let sentence = Sentence::read(&Input::Tokens(tokens), 1000).expect("words");
        let spans = |tags: &[&str]| sentence.spans_of(&labels(tags));

        let found = spans(&["B-person", "I-person", "B-person", "I-place", "I-place"]).expect("tags");
        assert_eq!(found, [span(0, 7, "person"), span(8, 11, "person"), span(12, 21, "place")]);
        assert_eq!(spans(&["O", "B-", "O", "O", "O"]), Err(Fault::BadTag { index: 1, tag: "B-".to_owned() }));
        assert_eq!(spans(&["O"]), Err(Fault::TooFew { what: "tags", given: 1, least: 5 }));
    }

    #[test]
    fn what_is_no_list_of_words_is_refused() {
        let read = |tokens: &[&str]| Sentence::read(&Input::Tokens(labels(tokens)), 1000);

        assert_eq!(read(&["a", ""]), Err(Fault::BadWord { index: 1 }));
        assert_eq!(read(&["a b"]), Err(Fault::BadWord { index: 0 }));
        assert_eq!(read(&[]), Err(Fault::TooFew { what: "words", given: 0, least: 1 }));
        assert!(matches!(Sentence::read(&Input::Vector(vec![1.0]), 1000), Err(Fault::WrongInput { .. })));
        assert!(matches!(Sentence::read(&Input::Text("four".to_owned()), 3), Err(Fault::TooMany { .. })));
    }

    proptest! {
        #[test]
        fn words_cover_all_but_space_and_never_overlap(text in "\\PC{0,60}") {
            let Ok(sentence) = Sentence::read(&Input::Text(text.clone()), 1000) else { return Ok(()) };
            let places = sentence.places();
            prop_assert!(places.windows(2).all(|pair| pair[0].end <= pair[1].start));
            let joined: String = sentence.words().collect();
            let solid: String = text.chars().filter(|letter| !letter.is_whitespace()).collect();
            prop_assert_eq!(joined, solid);
        }
    }
}
