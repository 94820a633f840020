//! Every way a caller's values can be wrong, as data: a place, a code and a sentence that says what to do.

use std::fmt;

/// A fault at one place of a request.
#[derive(Clone, Debug, PartialEq)]
pub struct Invalid {
    /// JSON pointer (RFC 6901) into the request's body, `/support/3/label`; a parameter's name for paths and queries.
    pub pointer: String,
    /// What is wrong there.
    pub fault: Fault,
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", if self.pointer.is_empty() { "/" } else { &self.pointer }, self.fault)
    }
}

impl std::error::Error for Invalid {}

/// What is wrong. Bounds and values are in the message, so that it can be acted on.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Fault {
    /// A required value is missing.
    #[error("this field is required here")]
    Missing,
    /// A value that has no meaning here.
    #[error("this field has no meaning here: {because}")]
    Inapplicable {
        /// Why.
        because: &'static str,
    },
    /// No base model of that name.
    #[error("there is no base model `{name}`; GET /v1/base-models lists them")]
    UnknownBase {
        /// The name that was asked for.
        name: String,
    },
    /// The base model cannot do this kind of task.
    #[error("base model `{base}` does not serve `{kind}` tasks")]
    UnsupportedKind {
        /// The base model.
        base: String,
        /// The kind that was asked for.
        kind: String,
    },
    /// A base model of a fixed way, and another number of labels.
    #[error("base model `{base}` serves exactly {way} labels, this task has {given}")]
    FixedWay {
        /// The base model.
        base: String,
        /// What its head was trained for.
        way: usize,
        /// What was given.
        given: usize,
    },
    /// A support set without examples.
    #[error("a support set needs at least one example")]
    EmptySupport,
    /// Sentences without a single span.
    #[error("there is no span among the examples, and so nothing to learn")]
    NoSpans,
    /// A classification with fewer than two labels.
    #[error("classification needs at least two labels with examples, there is {given}")]
    TooFewLabels {
        /// How many there are.
        given: usize,
    },
    /// More of something than is allowed.
    #[error("{what}: {given} is more than the limit of {limit}")]
    TooMany {
        /// What there is too much of, with its unit.
        what: &'static str,
        /// How much was given.
        given: usize,
        /// How much is allowed.
        limit: usize,
    },
    /// A tenant has stored as much as it may.
    #[error(
        "you have {held_mib} MiB stored, and may have {limit_mib}; delete tasks, examples or bulk predictions that you no \
         longer need: GET /v1/usage says what takes how much"
    )]
    NoRoom {
        /// What it has.
        held_mib: u64,
        /// What it may have.
        limit_mib: u64,
    },
    /// Fewer of something than is needed.
    #[error("{what}: {given} is less than {least}")]
    TooFew {
        /// What there is too little of.
        what: &'static str,
        /// How much was given.
        given: usize,
        /// How much is needed.
        least: usize,
    },
    /// A text that may not be used as a name.
    #[error("a {what} has 1 to {limit} characters and no control characters")]
    BadName {
        /// What it would have named.
        what: &'static str,
        /// The longest one.
        limit: usize,
    },
    /// A word that is none.
    #[error("word {index} is empty, or has white space in it")]
    BadWord {
        /// Which one.
        index: usize,
    },
    /// A span that holds no word of its text.
    #[error("span {index}, characters {start} to {end}, holds no word of a text of {length} characters")]
    BadSpan {
        /// Which one.
        index: usize,
        /// Its first character.
        start: usize,
        /// The character after its last.
        end: usize,
        /// Characters of the text.
        length: usize,
    },
    /// Two spans that share a word.
    #[error("span {index} shares a word with one before it; spans do not overlap")]
    SpansOverlap {
        /// The later one.
        index: usize,
    },
    /// A tag of another scheme than IOB2.
    #[error("tag {index}, `{tag}`, is neither `O` nor `B-` or `I-` and a label")]
    BadTag {
        /// Which one.
        index: usize,
        /// The tag.
        tag: String,
    },
    /// A label that the task does not have.
    #[error("label `{label}` is not one of the task's labels; PATCH the task to add it, or leave `labels` out")]
    UnknownLabel {
        /// The label.
        label: String,
    },
    /// A label named twice.
    #[error("label `{label}` is listed twice")]
    DuplicateLabel {
        /// The label.
        label: String,
    },
    /// A target of the wrong kind.
    #[error("a {kind} example needs {needs}")]
    WrongTarget {
        /// The task's kind.
        kind: &'static str,
        /// The field that it needs.
        needs: &'static str,
    },
    /// Unlabelled inputs for a base model that has no use for them.
    #[error(
        "`{base}` has no use for unlabelled inputs with {kind}; leave them out, or take a base model whose learner is protonet or r2d2"
    )]
    NoUnlabelled {
        /// The base model.
        base: String,
        /// What is asked of it.
        kind: &'static str,
    },
    /// NaN, infinite, or too large for 32 bits.
    #[error("number {index} is not finite or exceeds ±{bound} in 32-bit floating point")]
    NotFinite {
        /// Which number of the array.
        index: usize,
        /// The largest magnitude.
        bound: f32,
    },
    /// An input of the wrong type.
    #[error("this base model takes {expected}, not {given}")]
    WrongInput {
        /// What it takes.
        expected: String,
        /// What was given.
        given: &'static str,
    },
    /// A vector of another length.
    #[error("the vector has {given} numbers, this base model takes {expected}")]
    WrongWidth {
        /// Length that the base takes.
        expected: usize,
        /// Length that was given.
        given: usize,
    },
    /// A shape that does not match the base model.
    #[error("the shape is {given:?}, this base model takes {expected:?}")]
    WrongShape {
        /// Shape that the base takes.
        expected: Vec<usize>,
        /// Shape that was declared.
        given: Vec<usize>,
    },
    /// A declared shape that its own values contradict.
    #[error("shape {shape:?} needs {needs} numbers, {given} were given")]
    ShapeMismatch {
        /// The declared shape.
        shape: Vec<usize>,
        /// Its product.
        needs: String,
        /// How many numbers there are.
        given: usize,
    },
    /// Bytes that are no image.
    #[error("the image cannot be decoded: {reason}")]
    BadImage {
        /// The decoder's words.
        reason: String,
    },
    /// A format that is not taken.
    #[error("images are taken as PNG, JPEG or WebP, recognised by their first bytes")]
    UnknownImageFormat,
    /// An image with too many pixels.
    #[error("the image is {width}×{height}, the limit is {limit}×{limit}")]
    ImageTooLarge {
        /// Its width in pixels.
        width: u32,
        /// Its height in pixels.
        height: u32,
        /// The largest side.
        limit: u32,
    },
    /// A file that is no adapter of this base model.
    #[error("these are not the weights of an adapter of this base model: {reason}")]
    BadAdapter {
        /// Why not.
        reason: String,
    },
    /// More than one computation may take, by what it is predicted to take.
    #[error(
        "this would take {mib} MiB and {giga_multiply_adds} thousand million multiply-adds, of at most {most_mib} and \
         {most_giga_multiply_adds}; send fewer examples or inputs, or ask for fewer inner steps"
    )]
    TooDear {
        /// Memory at the peak, in MiB.
        mib: u64,
        /// Multiply-adds, in thousands of millions.
        giga_multiply_adds: u64,
        /// How much memory it may take.
        most_mib: u64,
        /// How many multiply-adds it may take.
        most_giga_multiply_adds: u64,
    },
    /// A place that nothing is sent to.
    #[error("{reason}")]
    BadUrl {
        /// Why not.
        reason: String,
    },
    /// A text that is not base64.
    #[error("this is not base64 (RFC 4648, §4)")]
    NotBase64,
    /// A number outside its range.
    #[error("{given} is outside {least}..={most}")]
    OutOfRange {
        /// What was given.
        given: i64,
        /// The least that is allowed.
        least: i64,
        /// The most that is allowed.
        most: i64,
    },
    /// Nearness where there is none.
    #[error("base model `{base}` has no features that are the same for all tasks, so that nothing is near to anything")]
    NoFeatures {
        /// The base model.
        base: String,
    },
    /// A share that is none, or nearly nothing or all.
    #[error("a usual share is {least} to {most}")]
    NoShare {
        /// The least that is looked at.
        least: f64,
        /// The most.
        most: f64,
    },
    /// A signal's value outside its range.
    #[error("a signal's value is -1 (disliked) to 1 (chosen, liked); of five stars, r of them are (r - 3) / 2")]
    NoSignal,
    /// A weight that is none.
    #[error("a weight is above 0 and at most {most}")]
    NoWeight {
        /// The largest.
        most: f32,
    },
    /// A change that is too small to see or too large to be meant.
    #[error("a ratio of odds is {least} to {most}, or one over that")]
    WrongRatio {
        /// The smallest above 1.
        least: f64,
        /// The largest.
        most: f64,
    },
}

impl Fault {
    /// This fault at the place `pointer`.
    pub fn at(self, pointer: impl Into<String>) -> Invalid {
        Invalid { pointer: pointer.into(), fault: self }
    }

    /// The word by which a program tells this fault from the others.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Inapplicable { .. } => "inapplicable",
            Self::UnknownBase { .. } => "unknown_base_model",
            Self::UnsupportedKind { .. } => "unsupported_kind",
            Self::FixedWay { .. } => "fixed_way",
            Self::EmptySupport => "empty_support",
            Self::NoSpans => "no_spans",
            Self::TooFewLabels { .. } => "too_few_labels",
            Self::TooMany { .. } => "too_many",
            Self::NoRoom { .. } => "no_room",
            Self::TooFew { .. } => "too_few",
            Self::BadName { .. } => "bad_name",
            Self::BadWord { .. } => "bad_word",
            Self::BadSpan { .. } => "bad_span",
            Self::SpansOverlap { .. } => "spans_overlap",
            Self::BadTag { .. } => "bad_tag",
            Self::UnknownLabel { .. } => "unknown_label",
            Self::DuplicateLabel { .. } => "duplicate_label",
            Self::WrongTarget { .. } => "wrong_target",
            Self::NoUnlabelled { .. } => "no_unlabelled",
            Self::NotFinite { .. } => "not_finite",
            Self::WrongInput { .. } => "wrong_input",
            Self::WrongWidth { .. } => "wrong_width",
            Self::WrongShape { .. } => "wrong_shape",
            Self::ShapeMismatch { .. } => "shape_mismatch",
            Self::BadImage { .. } => "bad_image",
            Self::UnknownImageFormat => "unknown_image_format",
            Self::ImageTooLarge { .. } => "image_too_large",
            Self::BadAdapter { .. } => "bad_adapter",
            Self::TooDear { .. } => "too_dear",
            Self::BadUrl { .. } => "bad_url",
            Self::NotBase64 => "not_base64",
            Self::OutOfRange { .. } => "out_of_range",
            Self::NoFeatures { .. } => "no_features",
            Self::NoShare { .. } => "no_share",
            Self::NoSignal => "no_signal",
            Self::NoWeight { .. } => "no_weight",
            Self::WrongRatio { .. } => "wrong_ratio",
        }
    }
}
