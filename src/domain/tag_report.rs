//! How good tags are: precision, recall and F1, of spans and of words, as the field's papers print them.
//!
//! Spans count as the `conlleval` script and the Python package seqeval count them: right is what has the same place and
//! the same label. Words count as scikit-learn's `classification_report` counts classes, `O` among them. The two are
//! different figures, and are named: most words are outside of any span, which makes the second look better.

use std::collections::{BTreeMap, BTreeSet};

use super::{OUTSIDE, tag_name};

/// Counts of one label, or of a tag.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Counts {
    right: usize,
    answered: usize,
    there: usize,
}

/// Precision, recall and F1 of one label or one tag, or a mean of them.
#[derive(Clone, Debug, PartialEq)]
pub struct ReportLine {
    /// The label, the tag, or which mean it is.
    pub name: String,
    /// Share of what was answered that is right; 0 if nothing was.
    pub precision: f64,
    /// Share of what is there that was found; 0 if nothing is.
    pub recall: f64,
    /// Harmonic mean of both.
    pub f1: f64,
    /// How much there is.
    pub support: usize,
}

/// Lines for what there is, and their means.
#[derive(Clone, Debug, PartialEq)]
pub struct ReportTable {
    /// One for each label or tag, in order of name.
    pub lines: Vec<ReportLine>,
    /// Everything counted together.
    pub micro: ReportLine,
    /// The mean over lines.
    pub macro_mean: ReportLine,
    /// The mean over lines, each as often as it is there.
    pub weighted: ReportLine,
}

/// What tags are worth, against those that would have been right.
#[derive(Clone, Debug, PartialEq)]
pub struct TagReport {
    /// Sentences.
    pub sentences: usize,
    /// Words.
    pub words: usize,
    /// By span.
    pub entities: ReportTable,
    /// By word, each tag a class and `O` among them: the micro mean is the share of words that are right.
    pub tokens: ReportTable,
    /// By word without `O`: the micro mean is that of the words that are in a span or were said to be.
    pub tokens_in_spans: ReportTable,
}

/// Adds up sentence by sentence.
#[derive(Clone, Debug, Default)]
pub struct TagCounts {
    sentences: usize,
    words: usize,
    spans: BTreeMap<u32, Counts>,
    tags: BTreeMap<u32, Counts>,
}

impl TagCounts {
    /// Counts one sentence: as many tags were answered as there are.
    pub fn add(&mut self, truth: &[u32], answered: &[u32]) {
        self.sentences += 1;
        self.words += truth.len();
        for (&truth, &answer) in truth.iter().zip(answered) {
            self.tags.entry(truth).or_default().there += 1;
            let counts = self.tags.entry(answer).or_default();
            counts.answered += 1;
            counts.right += usize::from(truth == answer);
        }
        let (truth, answered) = (spans(truth), spans(answered));
        for &(_, _, label) in &truth {
            self.spans.entry(label).or_default().there += 1;
        }
        for span in &answered {
            let counts = self.spans.entry(span.2).or_default();
            counts.answered += 1;
            counts.right += usize::from(truth.contains(span));
        }
    }

    /// The report; `labels` are those that tags were numbered by.
    pub fn report(&self, labels: &[String]) -> TagReport {
        let label = |number: u32| labels.get(number as usize).cloned().unwrap_or_default();
        let entities = self.spans.iter().map(|(&number, &counts)| (label(number), counts)).collect();
        let named = |keep: fn(u32) -> bool| -> BTreeMap<String, Counts> {
            let kept = self.tags.iter().filter(|(tag, _)| keep(**tag));
            kept.map(|(&tag, &counts)| (tag_name(tag, labels), counts)).collect()
        };
        TagReport {
            sentences: self.sentences,
            words: self.words,
            entities: table(&entities),
            tokens: table(&named(|_| true)),
            tokens_in_spans: table(&named(|tag| tag != OUTSIDE)),
        }
    }

    /// F1 over all spans.
    pub fn entity_f1(&self) -> f64 {
        line("", total(self.spans.values())).f1
    }
}

/// First word, word after the last, and label of each span. A tag that continues nothing begins a span.
pub fn spans(tags: &[u32]) -> BTreeSet<(usize, usize, u32)> {
    let mut found = BTreeSet::new();
    let mut open: Option<(usize, u32)> = None;
    for (index, &tag) in tags.iter().chain(std::iter::once(&OUTSIDE)).enumerate() {
        let inside = tag.checked_sub(1).map(|rest| (rest / 2, rest % 2 == 1));
        if let Some((start, label)) = open
            && inside != Some((label, true))
        {
            found.insert((start, index, label));
            open = None;
        }
        if let Some((label, _)) = inside {
            open.get_or_insert((index, label));
        }
    }
    found
}

fn total<'a>(counts: impl Iterator<Item = &'a Counts>) -> Counts {
    counts.fold(Counts::default(), |sum, one| Counts {
        right: sum.right + one.right,
        answered: sum.answered + one.answered,
        there: sum.there + one.there,
    })
}

fn line(name: &str, Counts { right, answered, there }: Counts) -> ReportLine {
    let share = |of: usize| if of == 0 { 0.0 } else { right as f64 / of as f64 };
    let f1 = if right == 0 { 0.0 } else { 2.0 * right as f64 / (answered + there) as f64 };
    ReportLine { name: name.to_owned(), precision: share(answered), recall: share(there), f1, support: there }
}

fn table(counts: &BTreeMap<String, Counts>) -> ReportTable {
    let lines: Vec<ReportLine> = counts.iter().map(|(name, &counts)| line(name, counts)).collect();
    let all: usize = lines.iter().map(|line| line.support).sum();
    let mean = |name: &str, weight: &dyn Fn(&ReportLine) -> f64| {
        let sum = |of: fn(&ReportLine) -> f64| lines.iter().map(|line| weight(line) * of(line)).sum::<f64>();
        let (precision, recall, f1) = (sum(|line| line.precision), sum(|line| line.recall), sum(|line| line.f1));
        ReportLine { name: name.to_owned(), precision, recall, f1, support: all }
    };
    ReportTable {
        micro: line("micro avg", total(counts.values())),
        macro_mean: mean("macro avg", &|_| 1.0 / lines.len().max(1) as f64),
        weighted: mean("weighted avg", &|line| line.support as f64 / all.max(1) as f64),
        lines,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_end_where_seqeval_ends_them() {
        // O B-a I-a I-b B-b B-b I-b O I-a
        let found = spans(&[0, 1, 2, 4, 3, 3, 4, 0, 2]);

        assert_eq!(found, BTreeSet::from([(1, 3, 0), (3, 4, 1), (4, 5, 1), (5, 7, 1), (8, 9, 0)]));
    }

    #[test]
    fn nothing_right_is_zero_and_not_a_division_by_zero() {
        let mut counts = TagCounts::default();
        counts.add(&[0, 0], &[0, 0]);

        assert_eq!(counts.entity_f1(), 0.0);
        let report = counts.report(&["a".to_owned()]);
        assert_eq!((report.entities.lines.len(), report.tokens.micro.f1), (0, 1.0));
    }
}
