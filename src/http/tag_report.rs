//! The report on tags as it is sent.

use serde::Serialize;
use utoipa::ToSchema;

use crate::domain::{ReportLine, ReportTable, TagReport};

/// What labelled sentences say about a tagger, as the field's papers print it.
#[derive(Debug, Serialize, ToSchema)]
pub struct TagReportBody {
    /// Sentences.
    sentences: usize,
    /// Words.
    words: usize,
    /// Spans count: right is what has the same place and the same label, as `conlleval` and seqeval count.
    entity_level: ReportTableBody,
    /// Words count, each tag a class and `O` among them, as scikit-learn's `classification_report` counts. The micro
    /// mean is the share of words that are right.
    token_level: ReportTableBody,
    /// The same without `O`.
    token_level_without_o: ReportTableBody,
}

/// Lines and their means.
#[derive(Debug, Serialize, ToSchema)]
pub struct ReportTableBody {
    /// One for each label or tag, in order of name.
    per_label: Vec<ReportLineBody>,
    /// Everything counted together.
    micro: ReportLineBody,
    /// The mean over lines.
    #[serde(rename = "macro")]
    macro_mean: ReportLineBody,
    /// The mean over lines, each as often as it is there.
    weighted: ReportLineBody,
}

/// Precision, recall and F1.
#[derive(Debug, Serialize, ToSchema)]
pub struct ReportLineBody {
    /// The label, the tag, or which mean it is.
    name: String,
    /// Share of what was answered that is right; 0 if nothing was.
    precision: f64,
    /// Share of what is there that was found; 0 if nothing is.
    recall: f64,
    /// Harmonic mean of both.
    f1: f64,
    /// How much there is.
    support: usize,
}

impl From<TagReport> for TagReportBody {
    fn from(TagReport { sentences, words, entities, tokens, tokens_in_spans }: TagReport) -> Self {
        let (entity_level, token_level) = (entities.into(), tokens.into());
        Self { sentences, words, entity_level, token_level, token_level_without_o: tokens_in_spans.into() }
    }
}

impl From<ReportTable> for ReportTableBody {
    fn from(ReportTable { lines, micro, macro_mean, weighted }: ReportTable) -> Self {
        let per_label = lines.into_iter().map(ReportLineBody::from).collect();
        Self { per_label, micro: micro.into(), macro_mean: macro_mean.into(), weighted: weighted.into() }
    }
}

impl From<ReportLine> for ReportLineBody {
    fn from(ReportLine { name, precision, recall, f1, support }: ReportLine) -> Self {
        Self { name, precision, recall, f1, support }
    }
}
