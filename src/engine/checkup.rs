//! A check of every base model before the first request: it adapts and predicts, the answers are finite, and every worker
//! gives the same bits.

use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use super::{Adapted, Engine, EngineError, Origin, StartError, TaggedSentence};
use crate::domain::{
    AdapterBlob, BaseModel, IdSource, Input, Kind, Outputs, Recipe, Rows, Sentence, SupportSet, TaggedSet, Targets,
    TenantId,
};

/// Adaptations of which the shortest counts.
const PACES: usize = 10;

/// Examples of each class.
const SHOTS: usize = 2;

impl Engine {
    /// Adapts and predicts with every base model, several times over.
    ///
    /// # Errors
    /// [`StartError::Unfit`] for the first base model that cannot, or does not give the same answer each time.
    pub async fn check(&self, ids: &dyn IdSource) -> Result<(), StartError> {
        let origin = Origin::interactive(TenantId::fresh(ids));
        for base in self.base_models() {
            let unfit = |reason: String| StartError::Unfit { base: base.manifest.name.clone(), reason };
            if base.manifest.kinds.first() == Some(&Kind::Tagging) {
                self.check_tagger(origin, base).await.map_err(unfit)?;
                continue;
            }
            let (support, query) = example(base).map_err(unfit)?;
            let mut answers = JoinSet::new();
            // So many that no worker is left out.
            for _ in 0..2 * self.0.queue.workers() {
                let (engine, base) = (self.clone(), base.manifest.name.clone());
                let (support, query) = (support.clone(), query.clone());
                answers
                    .spawn(async move { engine.adapt_predict(origin, &base, support, Recipe::default(), query).await });
            }
            let answers: Vec<Result<(Adapted, Outputs), EngineError>> = answers.join_all().await;
            let answers = answers.into_iter().collect::<Result<Vec<_>, _>>();
            let answers = answers.map_err(|error| unfit(error.to_string()))?;
            if answers.windows(2).any(|pair| pair[0] != pair[1]) {
                return Err(unfit("it does not answer alike each time".to_owned()));
            }
        }
        Ok(())
    }
}

impl Engine {
    /// How long one small adaptation with its answer takes while nothing else is asked: the shortest of several. `None` of a
    /// tagger, whose adaptations are of another sort.
    ///
    /// # Errors
    /// [`StartError::Unfit`] if the base model cannot.
    pub async fn pace(&self, base: &BaseModel, ids: &dyn IdSource) -> Result<Option<Duration>, StartError> {
        if base.manifest.kinds.first() == Some(&Kind::Tagging) {
            return Ok(None);
        }
        let unfit = |reason: String| StartError::Unfit { base: base.manifest.name.clone(), reason };
        let origin = Origin::interactive(TenantId::fresh(ids));
        let (support, query) = example(base).map_err(unfit)?;
        let mut shortest = None;
        for _ in 0..PACES {
            let (support, query, recipe) = (support.clone(), query.clone(), Recipe::default());
            let started = Instant::now();
            let answer = self.adapt_predict(origin, &base.manifest.name, support, recipe, query).await;
            answer.map_err(|error| unfit(error.to_string()))?;
            let took = started.elapsed();
            shortest = Some(shortest.map_or(took, |shortest: Duration| shortest.min(took)));
        }
        Ok(shortest)
    }

    /// The same for a tagger: two steps on one sentence.
    async fn check_tagger(&self, origin: Origin, base: &BaseModel) -> Result<(), String> {
        let sentence = Sentence::read(&Input::Text("Ann met Bob".to_owned()), usize::MAX);
        let sentence = sentence.map_err(|fault| fault.to_string())?;
        let set = TaggedSet::new(vec![sentence.clone()], vec![vec![1, 0, 1]], 1).map_err(|fault| fault.to_string())?;
        let recipe = Recipe { inner_steps: Some(2), ..Recipe::default() };
        let mut answers = JoinSet::new();
        for _ in 0..2 * self.0.queue.workers() {
            let (engine, base) = (self.clone(), base.manifest.name.clone());
            let (set, sentence) = (set.clone(), sentence.clone());
            answers.spawn(async move {
                let blob = engine.learn_tags(origin, &base, set, recipe, |_| {}).await?;
                let found = engine.tag(origin, &base, blob.clone(), vec![sentence]).await?;
                Ok((blob, found))
            });
        }
        let answers: Vec<Result<(AdapterBlob, Vec<TaggedSentence>), EngineError>> = answers.join_all().await;
        let answers = answers.into_iter().collect::<Result<Vec<_>, _>>().map_err(|error| error.to_string())?;
        if answers.windows(2).any(|pair| pair[0] != pair[1]) {
            return Err("it does not answer alike each time".to_owned());
        }
        Ok(())
    }
}

/// A support set and a query of the base model's own form; any numbers will do.
fn example(base: &BaseModel) -> Result<(SupportSet, Rows), String> {
    let manifest = &base.manifest;
    let width = manifest.input.row_width();
    let way = manifest.learner.fixed_way().unwrap_or(2);
    let has_classes = manifest.kinds.first() == Some(&Kind::Classification);
    let count = SHOTS * if has_classes { way } else { 1 };
    let values = (0..count * width).map(|index| (index * 7919 % 1009) as f32 / 1009.0).collect();
    let rows = Rows::new(width, values).map_err(|fault| fault.to_string())?;
    let targets = match manifest.kinds.first() {
        Some(Kind::Regression) => Targets::Values((0..count).map(|row| row as f32).collect()),
        Some(Kind::Ranking) => Targets::Signals { values: vec![1.0; count], weights: vec![1.0; count] },
        _ => {
            let labels = (0..way).flat_map(|class| std::iter::repeat_n(u32::try_from(class).unwrap_or(0), SHOTS));
            Targets::Classes { labels: labels.collect(), way }
        }
    };
    let support = SupportSet::new(&rows, &targets).map_err(|fault| fault.to_string())?;
    Ok((support, rows))
}
