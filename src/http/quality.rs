//! Estimates as they are sent.

use serde::Serialize;
use utoipa::ToSchema;

use crate::domain::{Confusion, Duplicate, LabelQuality, Outlier, Quality, SupportId, Suspect};

/// An adapter's estimate of itself, made from its support set alone.
#[derive(Debug, Serialize, ToSchema)]
pub struct QualityBody {
    /// How it was made: by `leave_one_out`, or by `k_fold`, which leaves out an example of each label at a time.
    #[schema(example = "k_fold")]
    method: String,
    /// Examples that it rests on.
    n: usize,
    /// Share of answers that it expects to be right, each label asked about as often: of held-out examples, corrected for being
    /// held out.
    #[serde(skip_serializing_if = "Option::is_none")]
    accuracy: Option<f64>,
    /// 95 % interval of `accuracy`.
    #[serde(skip_serializing_if = "Option::is_none")]
    accuracy_ci95: Option<[f64; 2]>,
    /// Mean squared error over held-out examples.
    #[serde(skip_serializing_if = "Option::is_none")]
    mean_squared_error: Option<f64>,
    /// Share of the pairs of held-out signals of different value that were put in the right order.
    #[serde(skip_serializing_if = "Option::is_none")]
    pairs_in_order: Option<f64>,
    /// By label.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    per_label: Vec<LabelQualityBody>,
    /// How sure the adapter may be of itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    calibration: Option<CalibrationBody>,
    /// Labels that were taken for others, the most frequent first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    confusions: Vec<ConfusionBody>,
    /// Examples that are probably labelled wrong, the most probable first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    suspects: Vec<SuspectBody>,
    /// Examples that look like none of the labels, the least like any first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    outliers: Vec<OutlierBody>,
    /// Examples that are there twice: one counts twice, or is labelled in two ways.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    duplicates: Vec<TwinsBody>,
    /// Labels with a single example: nothing can be said of them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    too_few: Vec<String>,
}

/// How scores become probabilities that mean what they say, fitted to held-out examples.
#[derive(Debug, Serialize, ToSchema)]
pub struct CalibrationBody {
    /// What scores are divided by before the softmax.
    temperature: f64,
    /// Expected calibration error: how far, on average, confidence is from accuracy.
    error: f64,
    /// With `abstain`, answers that are less sure are marked `abstained`; the others are right in 95 % of cases.
    abstain_below: f64,
    /// Share of held-out examples that are answered then.
    coverage: f64,
}

/// A label that was taken for another one.
#[derive(Debug, Serialize, ToSchema)]
pub struct ConfusionBody {
    /// The label of the held-out examples.
    label: String,
    /// What they were taken for.
    predicted: String,
    /// How many of them.
    count: usize,
}

/// An example that is probably labelled wrong.
#[derive(Debug, Serialize, ToSchema)]
pub struct SuspectBody {
    /// Its id, if it is stored.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    id: Option<SupportId>,
    /// Its place among the examples of the request, if it is not.
    #[serde(skip_serializing_if = "Option::is_none")]
    index: Option<usize>,
    /// Its label.
    label: String,
    /// What the other examples say it is.
    predicted: String,
    /// How sure they are of that.
    confidence: f64,
}

impl From<Suspect> for SuspectBody {
    fn from(Suspect { place, id, label, predicted, confidence }: Suspect) -> Self {
        Self { id, index: id.is_none().then_some(place), label, predicted, confidence }
    }
}

/// An example that looks like none of the labels.
#[derive(Debug, Serialize, ToSchema)]
pub struct OutlierBody {
    /// Its id, if it is stored.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    id: Option<SupportId>,
    /// Its place among the examples of the request, if it is not.
    #[serde(skip_serializing_if = "Option::is_none")]
    index: Option<usize>,
    /// Its label.
    label: String,
}

impl From<Outlier> for OutlierBody {
    fn from(Outlier { place, id, label }: Outlier) -> Self {
        Self { id, index: id.is_none().then_some(place), label }
    }
}

/// Two examples that come to the same numbers.
#[derive(Debug, Serialize, ToSchema)]
pub struct TwinsBody {
    /// Their ids, if they are stored.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<String>>)]
    ids: Option<[SupportId; 2]>,
    /// Their places among the examples of the request, if they are not.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<usize>>)]
    indices: Option<[usize; 2]>,
    /// Their labels: if they are two, one is wrong.
    #[schema(value_type = Vec<String>)]
    labels: [String; 2],
}

impl From<Duplicate> for TwinsBody {
    fn from(Duplicate { places, ids, labels }: Duplicate) -> Self {
        Self { ids, indices: ids.is_none().then_some(places), labels }
    }
}

/// The estimate for one label.
#[derive(Debug, Serialize, ToSchema)]
pub struct LabelQualityBody {
    /// The label.
    label: String,
    /// Its examples.
    support: usize,
    /// Share of them that is found when held out; null for a single example.
    recall: Option<f64>,
    /// What one more example of this label is expected to add to the accuracy over all labels; null for adapters made
    /// before there was an estimate of it.
    expected_gain: Option<f64>,
}

impl From<Quality> for QualityBody {
    fn from(quality: Quality) -> Self {
        let label = |LabelQuality { label, support, recall, expected_gain }| LabelQualityBody {
            label,
            support,
            recall,
            expected_gain,
        };
        Self {
            method: quality.method,
            n: quality.n,
            accuracy: quality.accuracy,
            accuracy_ci95: quality.accuracy_ci95,
            mean_squared_error: quality.mean_squared_error,
            pairs_in_order: quality.pairs_in_order,
            per_label: quality.per_label.into_iter().map(label).collect(),
            calibration: quality.calibration.map(|fitted| CalibrationBody {
                temperature: fitted.temperature,
                error: fitted.error,
                abstain_below: fitted.abstain_below,
                coverage: fitted.coverage,
            }),
            confusions: quality
                .confusions
                .into_iter()
                .map(|Confusion { label, predicted, count }| ConfusionBody { label, predicted, count })
                .collect(),
            suspects: quality.suspects.into_iter().map(SuspectBody::from).collect(),
            outliers: quality.outliers.into_iter().map(OutlierBody::from).collect(),
            duplicates: quality.duplicates.into_iter().map(TwinsBody::from).collect(),
            too_few: quality.too_few,
        }
    }
}
