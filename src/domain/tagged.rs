//! Tagged sentences: what the engine learns tags from.

use sha2::{Digest, Sha256};

use super::{Fault, OUTSIDE, Sentence, hex};

/// Sentences and a tag for each of their words, in canonical order, so that one set has one adapter however it was
/// collected.
#[derive(Clone, Debug, PartialEq)]
pub struct TaggedSet {
    sentences: Vec<Sentence>,
    tags: Vec<Vec<u32>>,
    way: usize,
    order: Vec<usize>,
    hash: String,
}

impl TaggedSet {
    /// `tags` as [`Sentence::tags`] makes them, over `way` labels.
    ///
    /// # Errors
    /// [`Fault::EmptySupport`] without a sentence, [`Fault::NoSpans`] if no word is in a span, [`Fault::TooFew`] if a
    /// sentence has another number of tags than words, [`Fault::OutOfRange`] for a tag beyond the labels.
    pub fn new(sentences: Vec<Sentence>, tags: Vec<Vec<u32>>, way: usize) -> Result<Self, Fault> {
        if sentences.is_empty() {
            return Err(Fault::EmptySupport);
        }
        let pairs = || sentences.iter().zip(&tags);
        if sentences.len() != tags.len() || pairs().any(|(sentence, tags)| sentence.len() != tags.len()) {
            return Err(Fault::TooFew { what: "tags", given: tags.len(), least: sentences.len() });
        }
        let most = u32::try_from(2 * way).unwrap_or(u32::MAX);
        if let Some(&tag) = tags.iter().flatten().find(|&&tag| tag > most) {
            return Err(Fault::OutOfRange { given: tag.into(), least: 0, most: most.into() });
        }
        if tags.iter().flatten().all(|&tag| tag == OUTSIDE) {
            return Err(Fault::NoSpans);
        }
        let mut sorted: Vec<([u8; 32], usize)> =
            pairs().map(|(sentence, tags)| digest(sentence, tags)).zip(0..).collect();
        sorted.sort_unstable();
        let mut whole = Sha256::new();
        whole.update((way as u64).to_le_bytes());
        for (digest, _) in &sorted {
            whole.update(digest);
        }
        let order: Vec<usize> = sorted.into_iter().map(|(_, place)| place).collect();
        let mut sentences: Vec<Option<Sentence>> = sentences.into_iter().map(Some).collect();
        let mut tags: Vec<Option<Vec<u32>>> = tags.into_iter().map(Some).collect();
        Ok(Self {
            sentences: order.iter().filter_map(|&place| sentences[place].take()).collect(),
            tags: order.iter().filter_map(|&place| tags[place].take()).collect(),
            way,
            hash: format!("sha256:{}", hex(&whole.finalize())),
            order,
        })
    }

    /// The sentences.
    pub fn sentences(&self) -> &[Sentence] {
        &self.sentences
    }

    /// A tag for each word of each sentence.
    pub fn tags(&self) -> &[Vec<u32>] {
        &self.tags
    }

    /// Number of labels.
    pub fn way(&self) -> usize {
        self.way
    }

    /// Number of sentences.
    pub fn len(&self) -> usize {
        self.sentences.len()
    }

    /// Never true: a set has at least one sentence.
    pub fn is_empty(&self) -> bool {
        self.sentences.is_empty()
    }

    /// Number of words.
    pub fn words(&self) -> usize {
        self.tags.iter().map(Vec::len).sum()
    }

    /// `order()[i]` is the place in which sentence `i` was given.
    pub fn order(&self) -> &[usize] {
        &self.order
    }

    /// `sha256:<hex>` of the set, whatever the order it came in.
    pub fn hash(&self) -> &str {
        &self.hash
    }

    /// Two sets: the sentences whose place in canonical order leaves `fold` when divided by `folds`, and all others;
    /// their places in canonical order with the first. `None` if either has no span.
    pub fn without(&self, fold: usize, folds: usize) -> Option<(Vec<usize>, Vec<usize>)> {
        let (out, rest): (Vec<usize>, Vec<usize>) = (0..self.len()).partition(|index| index % folds == fold);
        let has_spans = |places: &[usize]| places.iter().any(|&at| self.tags[at].iter().any(|&tag| tag != OUTSIDE));
        (has_spans(&rest) && !out.is_empty()).then_some((out, rest))
    }
}

/// Words and tags: the same sentence with other spaces between its words is the same.
fn digest(sentence: &Sentence, tags: &[u32]) -> [u8; 32] {
    let mut digest = Sha256::new();
    for (word, tag) in sentence.words().zip(tags) {
        digest.update((word.len() as u64).to_le_bytes());
        digest.update(word);
        digest.update(tag.to_le_bytes());
    }
    digest.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Input;

    fn set(texts: &[(&str, &[u32])]) -> Result<TaggedSet, Fault> {
        let read = |text: &str| Sentence::read(&Input::Text(text.to_owned()), 100).expect("words");
        let (sentences, tags) = texts.iter().map(|(text, tags)| (read(text), tags.to_vec())).unzip();
        TaggedSet::new(sentences, tags, 2)
    }

    #[test]
    fn the_same_sentences_in_another_order_are_the_same_set() {
        let one = set(&[("Ann sings", &[1, 0]), ("in Rome", &[0, 3])]).expect("valid");
        let other = set(&[("in  Rome", &[0, 3]), ("Ann sings", &[1, 0])]).expect("valid");

        assert_eq!((one.hash(), one.tags()), (other.hash(), other.tags()));
        assert_ne!(one.hash(), set(&[("Ann sings", &[3, 0]), ("in Rome", &[0, 3])]).expect("valid").hash());
    }

    #[test]
    fn what_nothing_can_be_learned_from_is_refused() {
        assert_eq!(set(&[]), Err(Fault::EmptySupport));
        assert_eq!(set(&[("Ann sings", &[0, 0])]), Err(Fault::NoSpans));
        assert_eq!(set(&[("Ann sings", &[5, 0])]), Err(Fault::OutOfRange { given: 5, least: 0, most: 4 }));
        assert!(matches!(set(&[("Ann sings", &[1])]), Err(Fault::TooFew { .. })));
    }
}
