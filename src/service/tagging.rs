//! Tags of sentences as answers, and how good they are.

use std::time::Instant;

use super::answering::Answers;
use super::ranking::check_is;
use super::{Answer, AnswerSpan, AnswerStyle, Prediction, Result, Service};
use crate::domain::{
    Adapter, AdapterBlob, BaseModel, Fault, Input, Kind, PredictionId, Sentence, Span, TagCounts, TagReport, Target,
    TaskId, TenantId, tag_name,
};
use crate::engine::{EngineError, Origin, TaggedSentence};

/// Texts to find spans in.
#[derive(Clone, Debug)]
pub struct TagTexts {
    /// The texts.
    pub texts: Vec<String>,
    /// The adapter's version; the active one by default.
    pub version: Option<u32>,
    /// After this nobody waits for the answer.
    pub deadline: Option<Instant>,
}

/// What was found in texts.
#[derive(Clone, Debug)]
pub struct Tagged {
    /// Of each text, in order of place.
    pub found: Vec<Vec<AnswerSpan>>,
    /// Whether the store is away, and the version is the one that it named before.
    pub is_remembered: bool,
}

impl Service {
    /// Finds spans in texts with a task's adapter.
    #[tracing::instrument(skip_all, fields(task.id = %task))]
    pub async fn tag_texts(&self, tenant: TenantId, task: TaskId, request: TagTexts) -> Result<Tagged> {
        let Answers { task, adapter, is_remembered } = self.answering(tenant, task, request.version).await?;
        check_is(&task, Kind::Tagging)?;
        let origin = Origin { deadline: request.deadline, ..Origin::interactive(tenant) };
        let texts = request.texts.into_iter().map(Input::Text).collect();
        let query = self.query(origin, self.base_of(&task, &adapter)?, texts, ("/inputs", "")).await?;
        let predictions = self.predict_rows(origin, &task, &adapter, query, AnswerStyle::default()).await?;
        self.show(tenant, &task, &predictions).await;
        let spans = |answer| if let Answer::Spans { spans, .. } = answer { spans } else { Vec::new() };
        let found = predictions.into_iter().map(|prediction| spans(prediction.answer)).collect();
        Ok(Tagged { found, is_remembered })
    }

    /// Spans of sentences; `labels` are the adapter's.
    pub(super) async fn tag(
        &self,
        origin: Origin,
        base: &BaseModel,
        adapter: AdapterBlob,
        labels: &[String],
        sentences: Vec<Sentence>,
    ) -> Result<Vec<Prediction>> {
        let found = self.engine.tag(origin, &base.manifest.name, adapter, sentences.clone()).await?;
        let answers = sentences.iter().zip(found).map(|(sentence, found)| answer(sentence, found, labels));
        Ok(answers
            .map(|answer| Prediction { id: PredictionId::fresh(&*self.ids), answer, reply: None, nearest: None })
            .collect())
    }

    /// How good an adapter's tags are by sentences whose spans are known. Labels that it does not know are there to be
    /// missed.
    pub(super) async fn judge_tags(
        &self,
        tenant: TenantId,
        base: &BaseModel,
        adapter: &Adapter,
        sentences: Vec<Sentence>,
        truths: &[Target],
    ) -> Result<TagReport> {
        let blob = self.load_adapter(tenant, adapter).await?;
        let name = &base.manifest.name;
        let found = self.engine.tag(Origin::interactive(tenant), name, blob, sentences.clone()).await?;
        let mut labels = adapter.labels.clone();
        for label in truths.iter().flat_map(Target::labels) {
            if !labels.contains(label) {
                labels.push(label.clone());
            }
        }
        let mut counts = TagCounts::default();
        for ((sentence, found), truth) in sentences.iter().zip(found).zip(truths) {
            let Target::Spans(spans) = truth else { continue };
            let truth = sentence.tags(spans, &labels).map_err(|fault| fault.at("/examples"))?;
            counts.add(&truth, &found.tags);
        }
        Ok(counts.report(&labels))
    }

    /// Whether these are weights that the base model can tag with: it tags one word with them.
    pub(super) async fn check_tagging_weights(
        &self,
        tenant: TenantId,
        base: &BaseModel,
        blob: &AdapterBlob,
        labels: usize,
    ) -> Result<()> {
        let bad = |reason: String| Fault::BadAdapter { reason }.at("/weights");
        let word = Sentence::read(&Input::Text("word".to_owned()), 4).map_err(|fault| fault.at("/weights"))?;
        let name = &base.manifest.name;
        match self.engine.tag(Origin::interactive(tenant), name, blob.clone(), vec![word]).await {
            Ok(found) if found.iter().all(|found| found.labels == labels) => Ok(()),
            Ok(_) => Err(bad(format!("they are not for {labels} labels")).into()),
            Err(EngineError::Mismatch(reason) | EngineError::Torch(reason)) => Err(bad(reason).into()),
            Err(EngineError::NonFinite(_)) => Err(bad("they answer with NaN or infinity".to_owned()).into()),
            Err(error) => Err(error.into()),
        }
    }
}

fn answer(sentence: &Sentence, TaggedSentence { tags, spans, .. }: TaggedSentence, labels: &[String]) -> Answer {
    let spans = spans.into_iter().map(|found| {
        let (text, place) = sentence.stretch(found.words);
        let label = labels.get(found.label as usize).cloned().unwrap_or_default();
        let span = Span { start: place.start, end: place.end, label };
        AnswerSpan { span, text: text.to_owned(), probability: found.probability }
    });
    let tags = if sentence.came_in_words() { tags } else { Vec::new() };
    Answer::Spans { spans: spans.collect(), tags: tags.into_iter().map(|tag| tag_name(tag, labels)).collect() }
}
