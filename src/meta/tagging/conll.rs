//! Tagged sentences in CoNLL's columns: a word a line, its tag in the last column, an empty line between sentences.
//!
//! Columns are apart by tabs or spaces, plain or gzipped. Tags are IOB2's, or IOB1's as in the files of CoNLL-2003:
//! there `B-` stands only between two spans of one label that touch. `-DOCSTART-` and lines of comment (`# …`) are left
//! out.

use std::io::Read;
use std::path::Path;

use crate::domain::{Input, Sentence, Span};
use crate::meta::task::TaskError;

/// Longest sentence, in characters.
const LONGEST: usize = 100_000;

/// A sentence and its spans.
#[derive(Clone, Debug, PartialEq)]
pub struct Tagged {
    /// The words.
    pub sentence: Sentence,
    /// What is labelled.
    pub spans: Vec<Span>,
}

/// The sentences of a file, and its bytes as they lie on the disk.
///
/// # Errors
/// [`TaskError::File`] or, with the line, [`TaskError::Format`].
pub fn read(path: &Path) -> Result<(Vec<Tagged>, Vec<u8>), TaskError> {
    let bytes = std::fs::read(path).map_err(|source| TaskError::File { path: path.to_owned(), source })?;
    let format = |reason: String| TaskError::Format { path: path.to_owned(), reason };
    let mut text = String::new();
    let is_packed = bytes.starts_with(&[0x1f, 0x8b]);
    let unpacked = if is_packed {
        flate2::read::MultiGzDecoder::new(&*bytes).read_to_string(&mut text)
    } else {
        (&*bytes).read_to_string(&mut text)
    };
    unpacked.map_err(|error| format(error.to_string()))?;
    let sentences = parse(&text).map_err(format)?;
    Ok((sentences, bytes))
}

/// The sentences of a text.
///
/// # Errors
/// A reason, with the line.
pub fn parse(text: &str) -> Result<Vec<Tagged>, String> {
    let mut sentences = Vec::new();
    let (mut words, mut tags, mut begins) = (Vec::new(), Vec::new(), 1);
    for (number, line) in text.lines().chain(std::iter::once("")).enumerate() {
        let columns: Vec<&str> = line.split_whitespace().collect();
        match columns[..] {
            [] | ["-DOCSTART-", ..] => {
                if !words.is_empty() {
                    let at = |reason: String| format!("the sentence that begins in line {begins}: {reason}");
                    sentences.push(tagged(std::mem::take(&mut words), &std::mem::take(&mut tags)).map_err(at)?);
                }
                begins = number + 2;
            }
            ["#", .., last] if !is_tag(last) => {}
            [word, .., tag] if is_tag(tag) => {
                words.push(word.to_owned());
                tags.push(tag.to_owned());
            }
            _ => return Err(format!("line {}: a word and a tag are expected, not `{line}`", number + 1)),
        }
    }
    Ok(sentences)
}

fn is_tag(text: &str) -> bool {
    text == "O" || text.len() > 2 && (text.starts_with("B-") || text.starts_with("I-"))
}

fn tagged(words: Vec<String>, tags: &[String]) -> Result<Tagged, String> {
    let sentence = Sentence::read(&Input::Tokens(words), LONGEST).map_err(|fault| fault.to_string())?;
    let spans = sentence.spans_of(tags).map_err(|fault| fault.to_string())?;
    Ok(Tagged { sentence, spans })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_become_sentences_and_spans() {
        let text = "-DOCSTART- -X- O O\n\nEU NNP I-NP I-ORG\nrejects VBZ I-VP O\n\n# split=train\n#\tO\nAnn\tB-PER\n";

        let sentences = parse(text).expect("well formed");

        let words: Vec<Vec<&str>> = sentences.iter().map(|one| one.sentence.words().collect()).collect();
        assert_eq!(words, [vec!["EU", "rejects"], vec!["#", "Ann"]]);
        let span = |start, end, label: &str| Span { start, end, label: label.to_owned() };
        assert_eq!(sentences[0].spans, [span(0, 2, "ORG")]);
        assert_eq!(sentences[1].spans, [span(2, 5, "PER")]);
    }

    #[test]
    fn what_is_no_tag_is_named_by_its_line() {
        assert_eq!(parse("Ann\tB-PER\nmet"), Err("line 2: a word and a tag are expected, not `met`".to_owned()));
        assert!(parse("Ann\tPER").is_err());
    }
}
