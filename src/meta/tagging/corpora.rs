//! Corpora of tagged sentences: what a tagger is meta-trained and measured on.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use tch::Device;

use super::conll::{self, Tagged};
use crate::domain::{InputSchema, TaggedSet};
use crate::meta::encoder::{self, Loaded, Reading, corpus};
use crate::meta::task::{Sources, TaskError, note_checksum};

/// A corpus, as training files name it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CorpusFiles {
    /// Its name.
    pub name: String,
    /// Files in CoNLL's columns, plain or gzipped, to learn from.
    pub train: Vec<PathBuf>,
    /// Files to measure on. A corpus that is learned from gives its sentences here to learn from, too.
    #[serde(default)]
    pub test: Vec<PathBuf>,
    /// Most sentences of each file; all without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub most: Option<usize>,
}

/// Sentences, their tags, and what the encoder says of them.
pub struct Part {
    /// In the order of the files.
    pub set: Vec<Tagged>,
    /// A tag for each word, numbered by the corpus' labels.
    pub tags: Vec<Vec<u32>>,
    /// What the encoder says of each sentence; empty where it is tuned on them, and says something else at each step.
    pub readings: Vec<Reading>,
}

/// A corpus in memory.
pub struct Corpus {
    /// Its name.
    pub name: String,
    /// Its labels in alphabetical order.
    pub labels: Vec<String>,
    /// To learn from.
    pub train: Part,
    /// To measure on.
    pub test: Part,
}

/// Corpora by one encoder.
pub struct Corpora {
    /// What one input is.
    pub input: InputSchema,
    /// What reads them.
    pub loaded: Loaded,
    /// In the order of the training file.
    pub all: Vec<Corpus>,
    /// SHA-256 of each file, by name.
    pub checksums: BTreeMap<String, String>,
}

impl Corpora {
    /// Reads files and, if `read_by_encoder`, has the encoder read what is new in them.
    pub fn open(
        encoder: &str,
        max_chars: usize,
        files: &[CorpusFiles],
        read_by_encoder: bool,
        sources: &Sources<'_>,
    ) -> Result<Self, TaskError> {
        let loaded = encoder::load_tuned(&sources.encoders.join(encoder), sources.tuning, Device::Cpu)?;
        let reader = read_by_encoder.then_some(&loaded);
        let input = InputSchema::Text { encoder: loaded.reference.clone(), width: loaded.encoder.width(), max_chars };
        let mut checksums = BTreeMap::new();
        let mut read = |paths: &[PathBuf], most: Option<usize>| -> Result<Vec<Tagged>, TaskError> {
            let mut all = Vec::new();
            for path in paths {
                let path = sources.data.join(path);
                let (sentences, bytes) = conll::read(&path)?;
                note_checksum(&mut checksums, &path, &bytes);
                all.extend(sentences.into_iter().take(most.unwrap_or(usize::MAX)));
            }
            Ok(all)
        };
        let mut all = Vec::new();
        for CorpusFiles { name, train, test, most } in files {
            let (train, test) = (read(train, *most)?, read(test, *most)?);
            let spans = train.iter().chain(&test).flat_map(|one| &one.spans);
            let labels: Vec<String> =
                spans.map(|span| span.label.clone()).collect::<BTreeSet<_>>().into_iter().collect();
            if train.is_empty() || labels.is_empty() {
                return Err(TaskError::Config(format!("corpus `{name}` has no sentence with a span to learn from")));
            }
            let (train, test) =
                (Part::new(train, &labels, reader, sources)?, Part::new(test, &labels, reader, sources)?);
            all.push(Corpus { name: name.clone(), labels, train, test });
        }
        Ok(Self { input, loaded, all, checksums })
    }
}

impl Part {
    fn new(
        set: Vec<Tagged>,
        labels: &[String],
        reader: Option<&Loaded>,
        sources: &Sources<'_>,
    ) -> Result<Self, TaskError> {
        let wrong = |error: crate::domain::Fault| TaskError::Config(error.to_string());
        let tags =
            set.iter().map(|one| one.sentence.tags(&one.spans, labels).map_err(wrong)).collect::<Result<_, _>>()?;
        let sentences: Vec<_> = set.iter().map(|one| &one.sentence).collect();
        let cache = sources.encoders.join(".embeddings");
        let read = |loaded| corpus::read_all(loaded, &sentences, &cache, sources.progress);
        let readings = reader.map(read).transpose()?.unwrap_or_default();
        Ok(Self { set, tags, readings })
    }

    /// How many sentences.
    pub fn len(&self) -> usize {
        self.set.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.set.is_empty()
    }

    /// Sentences until each label stands in `least` of them, or in all that it stands in: the rarest label's first.
    /// Without `least`, all of them.
    pub fn sample(&self, least: Option<usize>, seed: u64) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.len()).collect();
        let Some(least) = least else { return order };
        order.shuffle(&mut ChaCha8Rng::seed_from_u64(seed));
        let labels = |index: usize| -> BTreeSet<u32> {
            self.tags[index].iter().filter_map(|tag| tag.checked_sub(1)).map(|rest| rest / 2).collect()
        };
        let mut holders: BTreeMap<u32, Vec<usize>> = BTreeMap::new();
        for &index in &order {
            for label in labels(index) {
                holders.entry(label).or_default().push(index);
            }
        }
        let mut rarest: Vec<(u32, Vec<usize>)> = holders.into_iter().collect();
        rarest.sort_by_key(|(label, holders)| (holders.len(), *label));
        let (mut taken, mut counts) = (Vec::new(), BTreeMap::<u32, usize>::new());
        for (label, holders) in rarest {
            for index in holders {
                if counts.get(&label).copied().unwrap_or_default() >= least {
                    break;
                }
                if !taken.contains(&index) {
                    taken.push(index);
                    for own in labels(index) {
                        *counts.entry(own).or_default() += 1;
                    }
                }
            }
        }
        taken
    }

    /// The sentences at these places as a support set.
    ///
    /// # Errors
    /// [`TaskError::Config`] if there is no span among them.
    pub fn support(&self, places: &[usize], way: usize) -> Result<TaggedSet, TaskError> {
        let sentences = places.iter().map(|&place| self.set[place].sentence.clone()).collect();
        let tags = places.iter().map(|&place| self.tags[place].clone()).collect();
        TaggedSet::new(sentences, tags, way).map_err(|fault| TaskError::Config(fault.to_string()))
    }
}
