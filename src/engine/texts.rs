//! Texts on their way to rows of numbers: looked up, and what is new is cut into pieces off the runtime's threads and
//! encoded by the workers.
//!
//! A text's embedding is a function of the encoder and the text alone, so one that was made once serves everyone: to adapt
//! again after one more example is to encode one example.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use moka::future::Cache;
use sha2::{Digest, Sha256};
use tch::Device;
use tokio::task::JoinSet;

use super::command::{Answer, Work};
use super::{Engine, EngineError, Lane, Origin, StartError};
use crate::domain::{BaseModel, EncoderRef, Precision};
use crate::meta::encoder::{self, Encoder, Loaded, Reading, Tokenizer, Tokens, Tuning};
use crate::nn::TensorError;

/// Most pieces of one command, unless one text has more: as many as go through the blocks well together, and some
/// milliseconds, so that nobody waits long behind another one's list.
const CHUNK: usize = 256;

/// Lists of fewer pieces are not spread over the workers.
const FEW: usize = 64;

/// How long an embedding is kept: for no longer is one here whose text was erased through another process.
const KEPT: Duration = Duration::from_hours(24);

/// An embedding; many requests may hold one.
pub type Embedding = Arc<[f32]>;

/// Which text, by which encoder.
pub(super) type Key = [u8; 32];

/// How texts are cut and what is known of them already.
pub(super) struct Texts {
    /// For each base model its encoder, if it takes texts.
    of_base: Vec<Option<usize>>,
    tokenizers: Vec<(Arc<Tokenizer>, EncoderRef)>,
    /// Multiply-adds of one piece, for each encoder.
    piece_costs: Vec<u64>,
    known: Cache<Key, Embedding>,
    /// What is known of words.
    pub(super) read: Cache<Key, Reading>,
    encoded: AtomicU64,
}

impl Texts {
    /// Loads each encoder that a base model names from `folder`, tunes it by what is in the base model's bundle in `models`,
    /// and compares it with what the base model says of it.
    pub(super) fn load(
        bases: &[BaseModel],
        [folder, models]: [&Path; 2],
        cache_mib: u64,
        (device, precision): (Device, Precision),
    ) -> Result<(Self, Vec<Encoder>), StartError> {
        let (mut tokenizers, mut encoders, mut places) = (Vec::new(), Vec::new(), BTreeMap::new());
        let mut of_base = Vec::new();
        for base in bases {
            let Some((wanted, width)) = base.manifest.input.encoder() else {
                of_base.push(None);
                continue;
            };
            let name = (wanted.name.clone(), wanted.tuning.clone());
            let place = if let Some(&place) = places.get(&name) {
                place
            } else {
                let tuning = match &wanted.tuning {
                    Some(_) => Some(Tuning::read(&models.join(&base.manifest.name))?),
                    None => None,
                };
                let Loaded { encoder, tokenizer, reference } =
                    encoder::load_tuned(&folder.join(&wanted.name), tuning.as_ref(), device)?;
                let unfit = |error: TensorError| StartError::Unfit {
                    base: base.manifest.name.clone(),
                    reason: error.to_string(),
                };
                let encoder = match precision {
                    Precision::Float32 => encoder,
                    Precision::Bfloat16 => encoder.halved().map_err(unfit)?,
                };
                places.insert(name, encoders.len());
                encoders.push(encoder);
                tokenizers.push((Arc::new(tokenizer), reference));
                encoders.len() - 1
            };
            if tokenizers[place].1 != *wanted || encoders[place].width() != width {
                return Err(StartError::OtherEncoder {
                    base: base.manifest.name.clone(),
                    encoder: folder.join(&wanted.name),
                });
            }
            of_base.push(Some(place));
        }
        let piece_costs = encoders.iter().map(Encoder::multiply_adds).collect();
        let (known, read) = (cache(cache_mib), cache(cache_mib));
        Ok((Self { of_base, tokenizers, piece_costs, known, read, encoded: AtomicU64::new(0) }, encoders))
    }

    /// For an engine whose base models take no texts.
    pub(super) fn none() -> Self {
        Self {
            of_base: Vec::new(),
            tokenizers: Vec::new(),
            piece_costs: Vec::new(),
            known: cache(0),
            read: cache(0),
            encoded: AtomicU64::new(0),
        }
    }
}

impl Texts {
    /// Multiply-adds of so many pieces.
    pub(super) fn cost(&self, encoder: usize, pieces: usize) -> u64 {
        self.piece_costs[encoder].saturating_mul(pieces as u64)
    }

    /// The encoder of the base model with that number, and how it cuts texts.
    pub(super) fn of(&self, base: usize) -> Option<(usize, Arc<Tokenizer>)> {
        let place = self.of_base.get(base).copied().flatten()?;
        Some((place, Arc::clone(&self.tokenizers[place].0)))
    }

    /// What stands for a text and an encoder.
    pub(super) fn key(&self, encoder: usize, text: &str) -> Key {
        key(&self.tokenizers[encoder].1, text)
    }
}

fn cache<N: Send + Sync + 'static>(mib: u64) -> Cache<Key, Arc<[N]>> {
    let weight = |_: &Key, row: &Arc<[N]>| u32::try_from(size_of_val(&**row) + size_of::<Key>()).unwrap_or(u32::MAX);
    Cache::builder().weigher(weight).max_capacity(mib << 20).time_to_live(KEPT).build()
}

impl Engine {
    /// Forgets the embeddings of texts.
    pub async fn forget_texts(&self, texts: &[String]) {
        for (_, reference) in &self.0.texts.tokenizers {
            for text in texts {
                self.0.texts.known.invalidate(&key(reference, text)).await;
            }
        }
    }

    /// The embedding of each text by the encoder that `base` stands on.
    ///
    /// # Errors
    /// [`EngineError::UnknownBase`] if there is no such base model, or it takes no texts.
    pub async fn embed(
        &self,
        origin: Origin,
        base: &str,
        texts: Vec<String>,
        lane: Lane,
    ) -> Result<Vec<Embedding>, EngineError> {
        let index = self.0.base_models.iter().position(|loaded| loaded.manifest.name == base);
        let place = index.and_then(|index| self.0.texts.of_base.get(index).copied().flatten());
        let place = place.ok_or_else(|| EngineError::UnknownBase(base.to_owned()))?;
        let (_, reference) = &self.0.texts.tokenizers[place];
        let keys: Vec<Key> = texts.iter().map(|text| key(reference, text)).collect();
        let mut rows: Vec<Option<Embedding>> = Vec::with_capacity(keys.len());
        for key in &keys {
            rows.push(self.0.texts.known.get(key).await);
        }
        let missing: Vec<usize> = (0..rows.len()).filter(|&index| rows[index].is_none()).collect();
        metrics::counter!("imprint_texts_known_total").increment((rows.len() - missing.len()) as u64);
        let new = missing.iter().map(|&index| texts[index].clone()).collect();
        let made = self.encode(origin, base, place, new, lane).await?;
        for (index, row) in missing.into_iter().zip(made) {
            let row: Embedding = row.into();
            self.0.texts.known.insert(keys[index], Arc::clone(&row)).await;
            rows[index] = Some(row);
        }
        // Every place has been filled: there is one row for each text that was missing.
        Ok(rows.into_iter().flatten().collect())
    }

    /// How many texts have been encoded since the start; the rest were known.
    pub fn texts_encoded(&self) -> u64 {
        self.0.texts.encoded.load(Ordering::Relaxed)
    }

    /// Cuts texts into pieces and encodes them, in chunks, so that a long list does not fill the queue.
    async fn encode(
        &self,
        origin: Origin,
        base: &str,
        place: usize,
        texts: Vec<String>,
        lane: Lane,
    ) -> Result<Vec<Vec<f32>>, EngineError> {
        if texts.is_empty() {
            return Ok(Vec::new());
        }
        let tokenizer = Arc::clone(&self.0.texts.tokenizers[place].0);
        let cut = move || texts.iter().map(|text| tokenizer.tokens(text)).collect::<Result<Vec<Tokens>, String>>();
        let pieces = tokio::task::spawn_blocking(cut).await.map_err(|_| EngineError::Panicked)?;
        let work = move |tokens| Work::Embed { encoder: place, tokens, lane };
        let pieces = pieces.map_err(EngineError::Torch)?;
        self.in_chunks(origin, base, pieces, |tokens| tokens.ids.len(), work, |answer| answer.embeddings).await
    }

    /// Encodes in chunks, as many at a time as there are workers; one result for each item, in order.
    pub(super) async fn in_chunks<T: Send + 'static, R: Send + 'static>(
        &self,
        origin: Origin,
        base: &str,
        items: Vec<T>,
        pieces: impl Fn(&T) -> usize,
        work: impl Fn(Vec<T>) -> Work,
        taken: fn(Answer) -> Option<Vec<R>>,
    ) -> Result<Vec<R>, EngineError> {
        let lengths: Vec<usize> = items.iter().map(pieces).collect();
        let mut items: Vec<Option<T>> = items.into_iter().map(Some).collect();
        let mut rows: Vec<Option<R>> = items.iter().map(|_| None).collect();
        let mut chunks = chunks(&lengths, self.0.encoding_at_once).into_iter();
        let mut running = JoinSet::new();
        loop {
            while running.len() < self.0.encoding_at_once
                && let Some(places) = chunks.next()
            {
                let chunk = places.iter().filter_map(|&place| items[place].take()).collect();
                let (engine, base, work) = (self.clone(), base.to_owned(), work(chunk));
                let encode = async move {
                    let rows = taken(engine.run(origin, &base, work).await?);
                    Ok::<_, EngineError>((places, rows.ok_or(EngineError::Panicked)?))
                };
                running.spawn(tracing::Instrument::in_current_span(encode));
            }
            match running.join_next().await {
                Some(ended) => {
                    let (places, made) = ended.map_err(|_| EngineError::Panicked)??;
                    self.0.texts.encoded.fetch_add(made.len() as u64, Ordering::Relaxed);
                    metrics::counter!("imprint_texts_encoded_total").increment(made.len() as u64);
                    places.into_iter().zip(made).for_each(|(place, row)| rows[place] = Some(row));
                }
                None => return Ok(rows.into_iter().flatten().collect()),
            }
        }
    }
}

/// Cuts items of so many pieces into commands: those of about one length together, all commands about as long, and as many
/// of them as keep `workers` busy to the end.
fn chunks(lengths: &[usize], workers: usize) -> Vec<Vec<usize>> {
    let pieces: usize = lengths.iter().sum();
    let count = pieces.div_ceil(CHUNK);
    let count = if pieces < FEW { count } else { count.next_multiple_of(workers.max(1)) };
    let most = pieces.div_ceil(count.max(1));
    let mut order: Vec<usize> = (0..lengths.len()).collect();
    order.sort_by_key(|&place| lengths[place]);
    let (mut chunks, mut own) = (Vec::<Vec<usize>>::new(), 0);
    for place in order {
        own += lengths[place];
        match chunks.last_mut() {
            Some(chunk) if own <= most => chunk.push(place),
            _ => {
                chunks.push(vec![place]);
                own = lengths[place];
            }
        }
    }
    chunks
}

fn key(encoder: &EncoderRef, text: &str) -> Key {
    let mut hash = Sha256::new();
    encoder.digests().for_each(|sha256| hash.update(sha256));
    hash.update(text);
    hash.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_text_is_in_one_chunk_and_no_chunk_is_long() {
        for count in [0, 1, 5, 40, 300] {
            let lengths: Vec<usize> = (0..count).map(|index| 3 + index * 37 % 60).collect();
            let chunks = chunks(&lengths, 2);
            let mut all = chunks.concat();
            all.sort_unstable();
            assert_eq!(all, (0..count).collect::<Vec<_>>());
            let pieces = |chunk: &Vec<usize>| chunk.iter().map(|&place| lengths[place]).sum::<usize>();
            assert!(chunks.iter().all(|chunk| chunk.len() == 1 || pieces(chunk) <= CHUNK));
            assert!(count < 5 || chunks.len() > 1, "a list of {count} keeps both workers busy");
        }
    }
}
