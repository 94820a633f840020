//! Support sets and queries as the engine takes them: rows, or sentences where spans are asked for.

use super::examples::{Checked, assemble};
use super::inputs::{Asked, check_count};
use super::targets::sentence;
use super::{Result, Service};
use crate::domain::{
    AdapterBlob, BaseModel, Fault, Input, Invalid, Kind, Quality, Recipe, Rows, Sentence, Support, SupportSet,
    TaggedSet, Target, Task, duplicates,
};
use crate::engine::{Adapted, EngineError, Lane, Origin, Progress};

/// A support set.
#[derive(Clone, Debug)]
pub(super) enum Prepared {
    Rows(SupportSet),
    Sentences(TaggedSet),
}

impl Prepared {
    pub(super) fn hash(&self) -> &str {
        match self {
            Self::Rows(set) => set.hash(),
            Self::Sentences(set) => set.hash(),
        }
    }

    pub(super) fn len(&self) -> usize {
        match self {
            Self::Rows(set) => set.len(),
            Self::Sentences(set) => set.len(),
        }
    }
}

/// A query.
#[derive(Clone, Debug)]
pub(super) enum Query {
    Rows(Rows),
    Sentences(Vec<Sentence>),
}

impl Service {
    /// A task's examples as the engine takes them, and the labels in the order of its outputs.
    pub(super) async fn prepared(
        &self,
        origin: Origin,
        base: &BaseModel,
        task: &Task,
        support: Vec<Support>,
    ) -> Result<(Prepared, Vec<String>)> {
        if task.kind == Kind::Tagging {
            let examples = support.into_iter().map(|Support { example, .. }| (example.input, example.target));
            let (set, labels) = tagged(base, &task.labels, examples).map_err(|fault| fault.at("/support"))?;
            return Ok((Prepared::Sentences(set), labels));
        }
        let (set, labels) = self.support_set(origin, base, task, support).await?;
        Ok((Prepared::Rows(set), labels))
    }

    /// Checked examples as the engine takes them, and the labels in the order of its outputs.
    pub(super) async fn prepared_once(
        &self,
        origin: Origin,
        base: &BaseModel,
        kind: Kind,
        checked: Checked,
    ) -> Result<(Prepared, Vec<String>)> {
        let Checked { examples, rows, new_labels } = checked;
        if kind == Kind::Tagging {
            let examples = examples.into_iter().map(|example| (example.input, example.target));
            let (set, labels) = tagged(base, &new_labels, examples).map_err(|fault| fault.at("/support"))?;
            return Ok((Prepared::Sentences(set), labels));
        }
        let targets: Vec<(Option<Target>, f32)> =
            examples.into_iter().map(|example| (example.target, example.weight)).collect();
        let (support, labels) =
            assemble(base, kind, &new_labels, &rows, &targets, None).map_err(|fault| fault.at("/support"))?;
        Ok((Prepared::Rows(self.with_names(origin, base, support, &labels).await?), labels))
    }

    /// Runs the inner loop, and what it says of itself. One that takes long tells how far it came.
    pub(super) async fn adapt(
        &self,
        origin: Origin,
        base: &BaseModel,
        set: &Prepared,
        recipe: Recipe,
        labels: &[String],
        tell: impl Fn(Progress) + Send,
    ) -> Result<(AdapterBlob, Option<Quality>), EngineError> {
        let name = &base.manifest.name;
        match set {
            Prepared::Rows(set) => {
                let Adapted { blob, held_out } = self.engine.adapt(origin, name, set.clone(), recipe).await?;
                let judge = |held_out| {
                    let quality = Quality::of(&held_out, set.targets(), labels, set.order())?;
                    Some(Quality { duplicates: duplicates(set, labels), ..quality })
                };
                Ok((blob, held_out.and_then(judge)))
            }
            Prepared::Sentences(set) => {
                Ok((self.engine.learn_tags(origin, name, set.clone(), recipe, tell).await?, None))
            }
        }
    }

    /// A query, checked.
    pub(super) async fn query(
        &self,
        origin: Origin,
        base: &BaseModel,
        query: Vec<Input>,
        asked: (&'static str, &'static str),
    ) -> Result<Query> {
        let (pointer, member) = asked;
        let limits = &base.manifest.limits;
        if query.is_empty() {
            return Err(Fault::TooFew { what: "inputs in the query", given: 0, least: 1 }.at(pointer).into());
        }
        check_count("inputs in the query", query.len(), limits.max_query, pointer)?;
        if base.manifest.kinds.contains(&Kind::Tagging) {
            let read = |(index, input): (usize, &Input)| {
                sentence(base, input).map_err(|fault| fault.at(format!("{pointer}/{index}{member}")))
            };
            return Ok(Query::Sentences(query.iter().enumerate().map(read).collect::<Result<_, Invalid>>()?));
        }
        let (_, rows) = self.rows(base, query, Asked { origin, pointer }, member, Lane::Predict).await?;
        let rows = Rows::new(base.manifest.input.row_width(), rows.concat()).map_err(|fault| fault.at(pointer))?;
        Ok(Query::Rows(rows))
    }
}

/// Sentences with their tags; labels are those of `labels` that have a span.
fn tagged(
    base: &BaseModel,
    labels: &[String],
    examples: impl Iterator<Item = (Input, Option<Target>)>,
) -> Result<(TaggedSet, Vec<String>), Fault> {
    let examples: Vec<(Input, Option<Target>)> = examples.collect();
    let is_used = |label: &&String| {
        examples.iter().filter_map(|(_, target)| target.as_ref()).any(|target| target.labels().any(|own| own == *label))
    };
    let used: Vec<String> = labels.iter().filter(is_used).cloned().collect();
    let (mut sentences, mut tags) = (Vec::new(), Vec::new());
    for (input, target) in &examples {
        let Some(Target::Spans(spans)) = target else { continue };
        let sentence = sentence(base, input)?;
        tags.push(sentence.tags(spans, &used)?);
        sentences.push(sentence);
    }
    Ok((TaggedSet::new(sentences, tags, used.len())?, used))
}
