//! Words on their way to tags and back.
//!
//! A sentence is read by the encoder once, as a text is embedded once ([`super::texts`]). Learning goes to the workers in
//! slices of about a second, one after another: between two of them others have their turn, and a large set keeps nobody
//! from an answer.

use std::sync::Arc;
use std::time::Duration;

use super::command::{Answer, Command, Lane, Work};
use super::{Engine, EngineError, Origin};
use crate::domain::{AdapterBlob, Recipe, Sentence, Size, TaggedSet};
use crate::meta::Tagger;
use crate::meta::encoder::{Encoder, Reading, Window};
use crate::meta::tagging::Learning;
use crate::nn::{Params, checkpoint, grad};

pub use crate::meta::tagging::Found;

/// Longest pause before a full queue is asked again.
const PLACE_RETRY: Duration = Duration::from_millis(500);

/// What was found in a sentence.
#[derive(Clone, Debug, PartialEq)]
pub struct TaggedSentence {
    /// A tag for each word.
    pub tags: Vec<u32>,
    /// The spans that they say.
    pub spans: Vec<Found>,
    /// Labels that the adapter has.
    pub labels: usize,
}

/// How far an adaptation came, in inner steps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Steps that are done.
    pub done: u64,
    /// Steps that there are.
    pub of: u64,
}

/// Work on words.
pub(super) enum Tagging {
    /// What the encoder of that number says of the words of sentences.
    Read {
        encoder: usize,
        windows: Vec<Vec<Window>>,
        lane: Lane,
    },
    /// A slice of learning; the first one, if there was none before.
    Learn {
        set: Arc<TaggedSet>,
        readings: Arc<[Reading]>,
        recipe: Recipe,
        before: Option<Arc<[u8]>>,
    },
    Tag {
        adapter: AdapterBlob,
        sentences: Vec<(Sentence, Reading)>,
    },
}

/// What comes of it.
#[derive(Debug, PartialEq)]
pub(super) enum Tagged {
    Readings(Vec<Reading>),
    /// Where learning is, and there is more to do.
    Going(Arc<[u8]>, Progress),
    Learned(AdapterBlob),
    Found(Vec<TaggedSentence>),
}

impl Tagging {
    pub(super) const fn lane(&self) -> Lane {
        match self {
            Self::Read { lane, .. } => *lane,
            Self::Learn { .. } => Lane::Adapt,
            Self::Tag { .. } => Lane::Predict,
        }
    }

    pub(super) fn words(&self) -> usize {
        match self {
            Self::Read { windows, .. } => windows.len(),
            Self::Learn { set, .. } => set.words(),
            Self::Tag { sentences, .. } => sentences.iter().map(|(sentence, _)| sentence.len()).sum(),
        }
    }

    /// All of it.
    pub(super) fn size(&self) -> Size {
        match self {
            Self::Read { .. } => Size::default(),
            Self::Learn { set, recipe, .. } => Size {
                support: set.words(),
                outputs: 2 * set.way() + 1,
                inner_steps: recipe.inner_steps,
                ..Size::default()
            },
            Self::Tag { .. } => Size { query: self.words(), outputs: 1, ..Size::default() },
        }
    }

    /// As much of it as is done at a time: one pass over the words of a slice.
    pub(super) fn slice(&self) -> Size {
        match self {
            Self::Learn { .. } => {
                let size = self.size();
                Size { support: size.support.min(Learning::SLICE_WORDS), inner_steps: Some(1), ..size }
            }
            _ => self.size(),
        }
    }
}

/// A tagger on a worker's device.
pub(super) struct Words {
    pub(super) tagger: Tagger,
    pub(super) sha256: String,
}

impl Words {
    pub(super) fn compute(&self, command: &Command, encoders: &[Encoder]) -> Result<Answer, EngineError> {
        let _entered = command.span.enter();
        let Work::Tagging(tagging) = &command.work else {
            return Err(EngineError::Mismatch("this base model takes sentences, not rows".to_owned()));
        };
        let tagged = match tagging {
            Tagging::Read { encoder, windows, .. } => Tagged::Readings(encoders[*encoder].read(windows)?),
            Tagging::Learn { set, readings, recipe, before } => {
                let _interrupt = grad::interrupted_by(&command.is_abandoned);
                self.learn(set, readings, recipe, before.as_deref())?
            }
            Tagging::Tag { adapter, sentences } => {
                let tensors = self.open(adapter)?;
                let tag = |(sentence, reading): &(Sentence, Reading)| {
                    let lattice = self.tagger.lattice(&tensors, sentence, reading)?;
                    Ok(TaggedSentence { tags: lattice.best(), spans: lattice.spans(), labels: lattice.labels() })
                };
                Tagged::Found(sentences.iter().map(tag).collect::<Result<_, EngineError>>()?)
            }
        };
        Ok(Answer { tagged: Some(tagged), ..Answer::default() })
    }

    fn learn(
        &self,
        set: &TaggedSet,
        readings: &[Reading],
        recipe: &Recipe,
        before: Option<&[u8]>,
    ) -> Result<Tagged, EngineError> {
        if !grad::is_recording()? {
            return Err(EngineError::Torch("autograd is off on this thread".to_owned()));
        }
        let learning = match before {
            Some(bytes) => Learning::from_bytes(bytes, self.tagger.device)?,
            None => self.tagger.begin(set, recipe)?,
        };
        let learning = self.tagger.advance(learning, set, readings, recipe)?;
        if !learning.is_done() {
            let progress = Progress { done: learning.step, of: learning.steps };
            return Ok(Tagged::Going(learning.to_bytes()?.into(), progress));
        }
        let tensors = self.tagger.finish(&learning)?;
        if !tensors.all_finite()? {
            return Err(EngineError::NonFinite("the adaptation"));
        }
        let bytes = checkpoint::to_bytes(&tensors, &[("base_sha256", self.sha256.clone())])?;
        Ok(Tagged::Learned(AdapterBlob::new(bytes)))
    }

    /// The tensors of an adapter, once it is clear that they belong to this base model.
    fn open(&self, adapter: &AdapterBlob) -> Result<Params, EngineError> {
        let metadata = checkpoint::metadata(adapter.bytes())?;
        let made_by = metadata.get("base_sha256").and_then(serde_json::Value::as_str).unwrap_or("no base model");
        if made_by != self.sha256 {
            return Err(EngineError::Mismatch(format!("it was made by {made_by}, this is {}", self.sha256)));
        }
        let tensors = checkpoint::from_bytes(adapter.bytes(), self.tagger.device)?;
        match self.tagger.misfit(&tensors) {
            Some(reason) => Err(EngineError::Mismatch(reason)),
            None => Ok(tensors),
        }
    }
}

impl Engine {
    /// Learns from tagged sentences, and tells after each slice how far it came.
    pub async fn learn_tags(
        &self,
        origin: Origin,
        base: &str,
        set: TaggedSet,
        recipe: Recipe,
        tell: impl Fn(Progress) + Send,
    ) -> Result<AdapterBlob, EngineError> {
        let (support, outputs) = (set.words(), 2 * set.way() + 1);
        self.afford(base, Size { support, outputs, inner_steps: recipe.inner_steps, ..Size::default() })?;
        let readings: Arc<[Reading]> = self.read(origin, base, set.sentences(), Lane::Adapt).await?.into();
        let set = Arc::new(set);
        let mut before: Option<Arc<[u8]>> = None;
        loop {
            let (set, readings, so_far) = (Arc::clone(&set), Arc::clone(&readings), before.clone());
            let work = Work::Tagging(Tagging::Learn { set, readings, recipe, before: so_far });
            match self.run(origin, base, work).await {
                Ok(Answer { tagged: Some(Tagged::Going(bytes, progress)), .. }) => {
                    tell(progress);
                    before = Some(bytes);
                }
                Ok(Answer { tagged: Some(Tagged::Learned(blob)), .. }) => return Ok(blob),
                Ok(_) => return Err(EngineError::Panicked),
                // What has been learned so far is not thrown away for want of a place in the queue.
                Err(EngineError::Full { retry_after } | EngineError::TenantFull { retry_after, .. })
                    if before.is_some() =>
                {
                    tokio::time::sleep(retry_after.min(PLACE_RETRY)).await;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Finds spans with an adapter.
    pub async fn tag(
        &self,
        origin: Origin,
        base: &str,
        adapter: AdapterBlob,
        sentences: Vec<Sentence>,
    ) -> Result<Vec<TaggedSentence>, EngineError> {
        let readings = self.read(origin, base, &sentences, Lane::Predict).await?;
        let sentences = sentences.into_iter().zip(readings).collect();
        match self.run(origin, base, Work::Tagging(Tagging::Tag { adapter, sentences })).await?.tagged {
            Some(Tagged::Found(found)) => Ok(found),
            _ => Err(EngineError::Panicked),
        }
    }

    /// What the encoder of `base` says of each sentence's words: known, or read now.
    async fn read(
        &self,
        origin: Origin,
        base: &str,
        sentences: &[Sentence],
        lane: Lane,
    ) -> Result<Vec<Reading>, EngineError> {
        let texts = &self.0.texts;
        let index = self.0.base_models.iter().position(|loaded| loaded.manifest.name == base);
        let found = index.and_then(|index| texts.of(index));
        let (encoder, tokenizer) = found.ok_or_else(|| EngineError::UnknownBase(base.to_owned()))?;
        // Words that were given as such may be cut in another way than a text of the same letters.
        let keys: Vec<_> = sentences
            .iter()
            .map(|sentence| texts.key(encoder, &format!("{:?} {}", sentence.places(), sentence.text())))
            .collect();
        let mut readings: Vec<Option<Reading>> = Vec::with_capacity(keys.len());
        for key in &keys {
            readings.push(texts.read.get(key).await);
        }
        let missing: Vec<usize> = (0..readings.len()).filter(|&index| readings[index].is_none()).collect();
        let new: Vec<Sentence> = missing.iter().map(|&index| sentences[index].clone()).collect();
        let cut = move || new.iter().map(|sentence| tokenizer.windows(sentence)).collect::<Result<Vec<_>, String>>();
        let windows = tokio::task::spawn_blocking(cut).await.map_err(|_| EngineError::Panicked)?;
        let windows = windows.map_err(EngineError::Torch)?;
        let work = move |windows| Work::Tagging(Tagging::Read { encoder, windows, lane });
        let taken = |answer: Answer| match answer.tagged {
            Some(Tagged::Readings(readings)) => Some(readings),
            _ => None,
        };
        let pieces = |windows: &Vec<Window>| windows.iter().map(Window::pieces).sum();
        let made = self.in_chunks(origin, base, windows, pieces, work, taken).await?;
        for (index, reading) in missing.into_iter().zip(made) {
            texts.read.insert(keys[index], Arc::clone(&reading)).await;
            readings[index] = Some(reading);
        }
        // Every place has been filled: there is one reading for each sentence that was missing.
        Ok(readings.into_iter().flatten().collect())
    }
}
