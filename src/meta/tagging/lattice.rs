//! From scores of tags to spans: the most probable sequence that IOB2 allows, and how probable each of its spans is.
//!
//! Tags of one sentence are drawn together, `p(y) ∝ exp Σᵢ sᵢ(yᵢ)` over the sequences in which every `I-` continues a
//! span of its own label. The best of them is found by Viterbi's algorithm, and the probability of a span is the share
//! of all sequences that have exactly this span: no shorter one, no longer one, no other label (forward-backward;
//! Lafferty et al. 2001, §4).

use std::ops::Range;

use crate::domain::OUTSIDE;

/// A span that was found.
#[derive(Clone, Debug, PartialEq)]
pub struct Found {
    /// Its words.
    pub words: Range<usize>,
    /// Number of its label.
    pub label: u32,
    /// The probability that exactly this is a span.
    pub probability: f64,
}

/// Scores of one sentence, `[L, 2 T + 1]`.
pub struct Lattice {
    scores: Vec<f64>,
    tags: usize,
}

impl Lattice {
    /// From logits, row-major.
    pub fn new(logits: &[f32], tags: usize) -> Self {
        Self { scores: logits.iter().copied().map(f64::from).collect(), tags }
    }

    /// How many labels its tags are of.
    pub const fn labels(&self) -> usize {
        self.tags / 2
    }

    fn row(&self, word: usize) -> &[f64] {
        &self.scores[word * self.tags..][..self.tags]
    }

    fn len(&self) -> usize {
        self.scores.len() / self.tags
    }

    /// The most probable sequence of tags.
    pub fn best(&self) -> Vec<u32> {
        let mut score: Vec<f64> = Vec::new();
        let mut came_from: Vec<usize> = Vec::with_capacity(self.scores.len());
        for word in 0..self.len() {
            let before = score;
            let best_before = argmax(&before);
            let step = |tag: usize| match (word, continues(tag)) {
                (0, true) => (0, f64::NEG_INFINITY),
                (0, false) => (0, 0.0),
                (_, false) => (best_before, before[best_before]),
                // The tag that begins the span stands just before the one that continues it.
                (_, true) if before[tag - 1] > before[tag] => (tag - 1, before[tag - 1]),
                (_, true) => (tag, before[tag]),
            };
            let row = self.row(word);
            let steps: Vec<(usize, f64)> = (0..self.tags).map(step).collect();
            score = steps.iter().zip(row).map(|((_, before), own)| before + own).collect();
            came_from.extend(steps.into_iter().map(|(from, _)| from));
        }
        let mut tag = argmax(&score);
        let mut tags = vec![OUTSIDE; self.len()];
        for word in (0..self.len()).rev() {
            tags[word] = u32::try_from(tag).unwrap_or(OUTSIDE);
            tag = came_from[word * self.tags + tag];
        }
        tags
    }

    /// Spans of the most probable sequence.
    pub fn spans(&self) -> Vec<Found> {
        let tags = self.best();
        let (before, after) = (self.forward(), self.backward());
        let whole = log_sum(&before[(self.len() - 1) * self.tags..]);
        let mut found = Vec::new();
        let mut word = 0;
        while word < tags.len() {
            let tag = tags[word] as usize;
            if tag == 0 {
                word += 1;
                continue;
            }
            let inside = tag + 1;
            let end = (word + 1..tags.len()).find(|&next| tags[next] as usize != inside).unwrap_or(tags.len());
            let entered = if word == 0 { 0.0 } else { log_sum(&before[(word - 1) * self.tags..][..self.tags]) };
            let own: f64 = self.row(word)[tag] + (word + 1..end).map(|next| self.row(next)[inside]).sum::<f64>();
            // After it, anything but a word that continues it, or another span.
            let left = if end == tags.len() {
                0.0
            } else {
                let rest = self.row(end).iter().zip(&after[end * self.tags..]).enumerate();
                log_sum(
                    &rest.filter(|(next, _)| !continues(*next)).map(|(_, (one, rest))| one + rest).collect::<Vec<_>>(),
                )
            };
            let probability = (entered + own + left - whole).exp().min(1.0);
            found.push(Found { words: word..end, label: (tags[word] - 1) / 2, probability });
            word = end;
        }
        found
    }

    /// For each word and tag the log of the sum over all ways to get there.
    fn forward(&self) -> Vec<f64> {
        let mut sums: Vec<f64> = Vec::with_capacity(self.scores.len());
        for word in 0..self.len() {
            let next: Vec<f64> = if word == 0 {
                (0..self.tags).map(|tag| if continues(tag) { f64::NEG_INFINITY } else { 0.0 }).collect()
            } else {
                let before = &sums[(word - 1) * self.tags..];
                let any = log_sum(before);
                let enter = |tag: usize| if continues(tag) { log_sum(&before[tag - 1..=tag]) } else { any };
                (0..self.tags).map(enter).collect()
            };
            sums.extend(next.iter().zip(self.row(word)).map(|(before, own)| before + own));
        }
        sums
    }

    /// For each word and tag the log of the sum over all ways to go on, its own score left out.
    fn backward(&self) -> Vec<f64> {
        let mut sums = vec![0.0; self.scores.len()];
        for word in (0..self.len().saturating_sub(1)).rev() {
            let next: Vec<f64> =
                self.row(word + 1).iter().zip(&sums[(word + 1) * self.tags..]).map(|(own, rest)| own + rest).collect();
            let others: Vec<f64> = (0..self.tags).filter(|&tag| !continues(tag)).map(|tag| next[tag]).collect();
            let leave = log_sum(&others);
            for tag in 0..self.tags {
                let inside = match tag {
                    0 => f64::NEG_INFINITY,
                    tag if continues(tag) => next[tag],
                    tag => next[tag + 1],
                };
                sums[word * self.tags + tag] = log_sum(&[leave, inside]);
            }
        }
        sums
    }
}

/// Whether a tag continues a span: it is an `I-`.
const fn continues(tag: usize) -> bool {
    tag > 0 && tag.is_multiple_of(2)
}

fn argmax(values: &[f64]) -> usize {
    (0..values.len()).max_by(|&one, &other| values[one].total_cmp(&values[other]).then(other.cmp(&one))).unwrap_or(0)
}

fn log_sum(values: &[f64]) -> f64 {
    let most = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    if most == f64::NEG_INFINITY {
        return most;
    }
    most + values.iter().map(|value| (value - most).exp()).sum::<f64>().ln()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Every sequence that IOB2 allows, with its score: what the algorithms above must agree with.
    fn sequences(lattice: &Lattice) -> Vec<(Vec<u32>, f64)> {
        let mut all = vec![(Vec::new(), 0.0)];
        for word in 0..lattice.len() {
            let mut longer = Vec::new();
            for (tags, score) in all {
                let tags: Vec<u32> = tags;
                for tag in 0..lattice.tags {
                    let previous = tags.last().map_or(0, |&tag| tag as usize);
                    if !continues(tag) || previous == tag || previous + 1 == tag && previous > 0 {
                        let next = [tags.clone(), vec![u32::try_from(tag).expect("few")]].concat();
                        longer.push((next, score + lattice.row(word)[tag]));
                    }
                }
            }
            all = longer;
        }
        all
    }

    fn has(tags: &[u32], span: &Found) -> bool {
        let (first, inside) = (1 + 2 * span.label, 2 + 2 * span.label);
        tags[span.words.start] == first
            && tags[span.words.start + 1..span.words.end].iter().all(|&tag| tag == inside)
            && tags.get(span.words.end) != Some(&inside)
    }

    proptest! {
        #[test]
        fn best_sequence_and_probabilities_are_those_of_counting_them_all(
            logits in prop::collection::vec(-4.0f32..4.0, 4 * 5)
        ) {
            let lattice = Lattice::new(&logits, 5);
            let all = sequences(&lattice);
            let (best, _) = all.iter().max_by(|(_, one), (_, other)| one.total_cmp(other)).expect("some");
            prop_assert_eq!(&lattice.best(), best);
            let whole: f64 = all.iter().map(|(_, score)| score.exp()).sum();
            for span in lattice.spans() {
                let with = all.iter().filter(|(tags, _)| has(tags, &span));
                let share = with.map(|(_, score)| score.exp()).sum::<f64>() / whole;
                prop_assert!((share - span.probability).abs() < 1e-9, "{share} {}", span.probability);
            }
        }
    }

    #[test]
    fn a_span_is_never_continued_by_another_label() {
        // O, B-a, I-a, B-b, I-b: the words say B-a, then I-b, which may not be.
        let lattice = Lattice::new(&[0., 5., 0., 0., 0., 0., 0., 1., 0., 5.], 5);

        assert_eq!(lattice.best(), [1, 2]);
    }
}
