//! What examples say about their inputs, checked against what is asked.

use super::GivenExample;
use super::inputs::check_name;
use crate::domain::{
    BaseModel, Fault, InputSchema, Invalid, Kind, Sentence, Signal, Span, Target, check_weight, finite,
};

/// The target of an example that stands at `at`.
pub(super) fn target(base: &BaseModel, kind: Kind, example: &GivenExample, at: &str) -> Result<Target, Invalid> {
    let given = [
        ("label", example.label.is_some()),
        ("value", example.value.is_some()),
        ("spans", example.spans.is_some()),
        ("tags", example.tags.is_some()),
        ("weight", example.weight.is_some()),
        ("time", example.time.is_some()),
    ];
    let (own, needs): (&[&str], _) = match kind {
        Kind::Classification => (&["label", "weight"], "`label`"),
        Kind::Regression => (&["value", "weight"], "`value`"),
        Kind::Tagging => (&["spans", "tags"], "`spans`, or `tags`"),
        Kind::Ranking => (&["value", "weight", "time"], "`value`"),
    };
    let wrong = |field: &str, needs: &'static str| {
        Err(Fault::WrongTarget { kind: kind.name(), needs }.at(format!("{at}/{field}")))
    };
    if let Some((field, _)) = given.iter().find(|(field, is_there)| *is_there && !own.contains(field)) {
        return wrong(field, only(kind));
    }
    match (kind, &example.label, example.value) {
        (Kind::Classification, Some(label), _) => {
            check_name("label", label, &format!("{at}/label"))?;
            Ok(Target::Label(label.clone()))
        }
        (Kind::Regression, _, Some(value)) => {
            finite(&[value]).map_err(|fault| fault.at(format!("{at}/value")))?;
            Ok(Target::Value(value))
        }
        (Kind::Ranking, _, Some(value)) => {
            let signal = Signal::new(value).map_err(|fault| fault.at(format!("{at}/value")))?;
            let weight = example.weight.unwrap_or(signal.weight);
            let signal = signal.weighing(weight).map_err(|fault| fault.at(format!("{at}/weight")))?;
            Ok(Target::Signal(Signal { time: example.time, ..signal }))
        }
        (Kind::Tagging, ..) if example.spans.is_some() || example.tags.is_some() => {
            Ok(Target::Spans(spans(base, example, at)?))
        }
        _ => wrong(own[0], needs),
    }
}

const fn only(kind: Kind) -> &'static str {
    match kind {
        Kind::Classification => "`label`, and perhaps `weight`",
        Kind::Regression => "`value`, and perhaps `weight`",
        Kind::Tagging => "`spans` or `tags` and nothing else",
        Kind::Ranking => "`value`, and perhaps `weight` and `time`",
    }
}

/// The target of an example that stands at `at`, by which answers are judged: each counts once.
pub(super) fn truth(base: &BaseModel, kind: Kind, example: &GivenExample, at: &str) -> Result<Target, Invalid> {
    if example.weight.is_some() && kind != Kind::Ranking {
        let needs = "no `weight`: what answers are judged by counts once";
        return Err(Fault::WrongTarget { kind: kind.name(), needs }.at(format!("{at}/weight")));
    }
    target(base, kind, example, at)
}

/// For how many examples the one that stands at `at` counts; 1 for a signal, which says so itself.
pub(super) fn weight(kind: Kind, example: &GivenExample, at: &str) -> Result<f32, Invalid> {
    let weight = example.weight.filter(|_| kind != Kind::Ranking).unwrap_or(1.0);
    check_weight(weight).map_err(|fault| fault.at(format!("{at}/weight")))?;
    Ok(weight)
}

/// The spans of an example, in order of place.
fn spans(base: &BaseModel, example: &GivenExample, at: &str) -> Result<Vec<Span>, Invalid> {
    let sentence = sentence(base, &example.input).map_err(|fault| fault.at(format!("{at}/input")))?;
    let (mut spans, field) = match (&example.spans, &example.tags) {
        (Some(spans), None) => (spans.clone(), "spans"),
        (None, Some(tags)) => {
            let spans = sentence.spans_of(tags).map_err(|fault| fault.at(format!("{at}/tags")))?;
            (spans, "tags")
        }
        _ => {
            let needs = "either `spans` or `tags`";
            return Err(Fault::WrongTarget { kind: "tagging", needs }.at(format!("{at}/tags")));
        }
    };
    for (index, span) in spans.iter().enumerate() {
        check_name("label", &span.label, &format!("{at}/{field}/{index}"))?;
    }
    let labels: Vec<String> = spans.iter().map(|span| span.label.clone()).collect();
    sentence.tags(&spans, &labels).map_err(|fault| fault.at(format!("{at}/{field}")))?;
    spans.sort();
    Ok(spans)
}

/// An input of a tagging task.
pub(super) fn sentence(base: &BaseModel, input: &crate::domain::Input) -> Result<Sentence, Fault> {
    let longest = match base.manifest.input {
        InputSchema::Text { max_chars, .. } => max_chars,
        InputSchema::Vector { .. } | InputSchema::Image { .. } | InputSchema::Item { .. } => 0,
    };
    Sentence::read(input, longest)
}
