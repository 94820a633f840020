//! People and what they chose: from a table of items with texts, and one of signals.
//!
//! An episode is a person: some of their signals to adapt to, and candidates to order, of which those that the person
//! liked, too, are to come first. Splits share no person. They share the catalogue, as a service's people do.
//!
//! * To train on, a person, the signals and the candidates are drawn. What other people's choices say of items
//!   ([`company`](super::company)) is told in most episodes only, since not every caller can, and comes from an eighth of
//!   the people at a time who are left out of it: what is said of an item must not hold this person's own choice.
//! * To validate and to test, nothing is drawn: each person is one episode, with the first K signals in the order of
//!   `SHA-256(person/item)`, and the candidates are the whole catalogue but for those. So other programs can be measured
//!   on the same people, signals and candidates.
//!
//! In all of them, what is said of items comes from the people to train on alone.
//!
//! A catalogue can be learned by heart. A share of the training episodes is `turned` so that this is of no use: their
//! embeddings keep their angles to each other, and nothing else. What is left to learn from those holds for any catalogue.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use rand::RngExt;
use rand::seq::index;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::company::Company;
use super::{EpisodeSpec, Sources, Split, TaskDistribution, TaskError, idx, note_checksum};
use crate::domain::{Input, InputSchema, Item, Kind, Rows, Targets, narrow};
use crate::meta::Episode;
use crate::meta::encoder::{self, corpus};
use crate::nn::TensorError;

/// Share of training episodes that tell how often items are chosen, and share of those that tell in whose company.
const PRIOR_TOLD: f64 = 0.8;
const NUMBERS_TOLD: f64 = 0.7;

/// Parts of the people to train on; what is told to one comes from the others.
const PARTS: usize = 8;

/// Signals of one person that make it no more likely to be drawn.
const MANY: usize = 20;

/// A value from which on an item is liked.
const LIKED: f32 = 0.5;

/// A table of items with a line of headings (CSV, plain or gzipped).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ItemTable {
    /// The file.
    pub file: PathBuf,
    /// Heading of the items' names.
    pub id: String,
    /// Headings of what is said of them, joined by commas; `|` within a column is another comma.
    pub text: Vec<String>,
}

/// A table of signals.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignalTable {
    /// The file.
    pub file: PathBuf,
    /// Heading of the people.
    pub person: String,
    /// Heading of the items.
    pub item: String,
    /// Heading of the ratings; without one, every line is a choice.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rating: Option<String>,
    /// The ratings that become −1 and 1; what is outside is as good as these.
    #[serde(default = "stars")]
    pub scale: [f64; 2],
}

const fn stars() -> [f64; 2] {
    [1.0, 5.0]
}

/// An item and what somebody did with it, −1 to 1.
type Deed = (usize, f32);

/// What one person did, in the order of `SHA-256(person/item)`.
type Person = Vec<Deed>;

pub(super) struct Preferences {
    input: InputSchema,
    embeddings: Vec<Vec<f32>>,
    /// What the people to train on say of items, all of them, and all but each part.
    company: Company,
    without: Vec<Company>,
    /// Share of training episodes that are turned.
    turned: f64,
    people: [Vec<Person>; 3],
    name: String,
    checksums: BTreeMap<String, String>,
}

/// What an episode tells of items.
struct Told<'a> {
    company: &'a Company,
    prior: bool,
    numbers: bool,
    turn: Option<Turn>,
}

/// The embeddings' numbers in other places, half of them with the other sign: angles stay as they are.
struct Turn(Vec<(usize, f32)>);

impl Turn {
    fn drawn(width: usize, rng: &mut ChaCha8Rng) -> Self {
        let places = index::sample(rng, width, width);
        Self(places.into_iter().map(|place| (place, if rng.random_bool(0.5) { 1.0 } else { -1.0 })).collect())
    }

    fn of(&self, embedding: &[f32]) -> Vec<f32> {
        self.0.iter().map(|&(place, sign)| sign * embedding[place]).collect()
    }
}

/// Where the texts of items come from.
pub(super) struct ItemTexts<'a> {
    pub(super) encoder: &'a str,
    pub(super) max_chars: usize,
    /// Numbers of callers' own.
    pub(super) features: usize,
    pub(super) table: &'a ItemTable,
    /// From how few people what is said of items comes in training; from all without it.
    pub(super) fewest: Option<usize>,
}

impl Preferences {
    pub(super) fn open(
        items: &ItemTexts<'_>,
        signals: &SignalTable,
        tenths: [u8; 2],
        turned: f64,
        sources: &Sources<'_>,
    ) -> Result<Self, TaskError> {
        if !(0.0..=1.0).contains(&turned) {
            return Err(TaskError::Config("turned is a share: 0 to 1".to_owned()));
        }
        let mut checksums = BTreeMap::new();
        let path = sources.data.join(&items.table.file);
        let headings: Vec<&str> =
            std::iter::once(&items.table.id).chain(&items.table.text).map(String::as_str).collect();
        let lines = read(&path, &headings, &mut checksums)?;
        let loaded = encoder::load(&sources.encoders.join(items.encoder), tch::Device::Cpu)?;
        let texts: Vec<String> = lines.iter().map(|line| said(&line[1..])).collect();
        let embeddings = corpus::embed_all(&loaded, &texts, &sources.encoders.join(".embeddings"), sources.progress)?;
        let places: BTreeMap<&str, usize> = lines.iter().map(|line| line[0].as_str()).zip(0..).collect();
        let people = people(&sources.data.join(&signals.file), signals, &places, tenths, &mut checksums)?;
        let name = signals.file.display().to_string();
        let input = InputSchema::Item {
            width: loaded.encoder.width(),
            encoder: loaded.reference,
            max_chars: items.max_chars,
            features: items.features,
        };
        let [trained, ..] = &people;
        let of = |is_told: &dyn Fn(usize) -> bool| {
            let chosen = |person: &Person| person.iter().filter(|deed| likes(deed)).map(|&(item, _)| item).collect();
            let told = trained.iter().enumerate().filter(|(place, _)| is_told(*place));
            let choices: Vec<Vec<usize>> = told.map(|(_, person)| chosen(person)).collect();
            Company::of(&choices, lines.len(), items.features)
        };
        let failed = |error: TensorError| TaskError::Format { path: path.clone(), reason: error.to_string() };
        let company = of(&|_| true).map_err(failed)?;
        // Others know more of a catalogue or less: each part is told what half as many people say as the one before.
        let most = |part: usize| (trained.len() >> part).max(items.fewest.unwrap_or(trained.len()));
        let without = (0..PARTS).map(|part| of(&|place| place % PARTS != part && place < most(part)));
        let without = without.collect::<Result<Vec<_>, _>>().map_err(failed)?;
        Ok(Self { input, embeddings, company, without, turned, people, name, checksums })
    }

    fn of(&self, split: Split) -> &[Person] {
        &self.people[split as usize]
    }

    fn row(&self, item: usize, told: &Told<'_>) -> Vec<f32> {
        let prior = told.prior.then(|| told.company.priors[item]);
        let features = if told.numbers { told.company.numbers[item].clone() } else { Vec::new() };
        let embedding = told.turn.as_ref().map(|turn| turn.of(&self.embeddings[item]));
        let embedding = embedding.as_deref().unwrap_or(&self.embeddings[item]);
        self.input.completed(&Input::Item(Item { prior, features, ..Item::default() }), embedding)
    }

    /// `candidates` are items, without those of the support.
    fn episode(&self, support: &[Deed], liked: &[usize], candidates: &[usize], told: &Told<'_>) -> Episode {
        let rows = |items: &mut dyn Iterator<Item = usize>| {
            let values = items.flat_map(|item| self.row(item, told)).collect();
            Rows::new(self.input.row_width(), values).expect("embeddings and logarithms of shares are finite")
        };
        let signals = |values: Vec<f32>| Targets::Signals { weights: vec![1.0; values.len()], values };
        let gain = |item: &usize| f32::from(u8::from(liked.contains(item)));
        Episode {
            support: rows(&mut support.iter().map(|&(item, _)| item)),
            support_targets: signals(support.iter().map(|&(_, value)| value).collect()),
            query: rows(&mut candidates.iter().copied()),
            query_targets: signals(candidates.iter().map(gain).collect()),
            unlabelled: None,
            names: None,
        }
    }

    /// People with `shot` signals and something that they liked besides.
    fn with(&self, split: Split, shot: usize) -> impl Iterator<Item = &Person> {
        self.of(split).iter().filter(move |person| person.iter().skip(shot).any(likes))
    }
}

fn likes(&(_, value): &Deed) -> bool {
    value >= LIKED
}

impl TaskDistribution for Preferences {
    fn check(&self, split: Split, spec: &EpisodeSpec) -> Result<(), TaskError> {
        let shot = if split == Split::Train { 1 } else { *spec.shot.end() };
        if self.with(split, shot).next().is_some() {
            return Ok(());
        }
        Err(TaskError::Config(format!(
            "{}: nobody for {} has {shot} signals and another item that they like",
            self.name,
            split.name()
        )))
    }

    fn sample(&self, split: Split, spec: &EpisodeSpec, rng: &mut ChaCha8Rng) -> Episode {
        let people = self.of(split);
        let (part, mut signals): (_, Person) = loop {
            let place = rng.random_range(0..people.len());
            let person = &people[place];
            let is_of_use = person.len() > 1 && person.iter().any(likes);
            if is_of_use && rng.random_range(0..MANY) < person.len() {
                let order = index::sample(rng, person.len(), person.len());
                break (place % PARTS, order.into_iter().map(|place| person[place]).collect());
            }
        };
        let kept = signals.iter().rposition(likes).unwrap_or_default();
        let last = signals.len() - 1;
        signals.swap(kept, last); // so that something liked is left
        let shot = rng.random_range(spec.shot.clone()).min(last);
        let (support, rest) = signals.split_at(shot);
        let liked: Vec<usize> = rest.iter().filter(|signal| likes(signal)).map(|&(item, _)| item).collect();
        let others = index::sample(rng, self.embeddings.len(), spec.query.min(self.embeddings.len()));
        let is_other = |item: &usize| !liked.contains(item) && support.iter().all(|(own, _)| own != item);
        let candidates: Vec<usize> = liked.iter().copied().chain(others.into_iter().filter(is_other)).collect();
        let company = if split == Split::Train { &self.without[part] } else { &self.company };
        let (prior, numbers) = (rng.random_bool(PRIOR_TOLD), rng.random_bool(NUMBERS_TOLD));
        let turn = rng.random_bool(self.turned).then(|| Turn::drawn(self.embeddings[0].len(), rng));
        self.episode(support, &liked, &candidates, &Told { company, prior, numbers: prior && numbers, turn })
    }

    fn count(&self, split: Split, spec: &EpisodeSpec) -> Option<u64> {
        Some(self.with(split, *spec.shot.end()).count() as u64)
    }

    fn nth(&self, split: Split, spec: &EpisodeSpec, index: u64) -> Option<Episode> {
        let shot = *spec.shot.end();
        let person = self.with(split, shot).nth(usize::try_from(index).ok()?)?;
        let (support, rest) = person.split_at(shot);
        let liked: Vec<usize> = rest.iter().filter(|signal| likes(signal)).map(|&(item, _)| item).collect();
        let is_new = |item: &usize| support.iter().all(|(own, _)| own != item);
        let candidates: Vec<usize> = (0..self.embeddings.len()).filter(is_new).collect();
        let told = Told { company: &self.company, prior: true, numbers: true, turn: None };
        Some(self.episode(support, &liked, &candidates, &told))
    }

    fn input(&self) -> InputSchema {
        self.input.clone()
    }

    fn kind(&self) -> Kind {
        Kind::Ranking
    }

    fn describe(&self, split: Split) -> String {
        let (people, signals) = (self.of(split), self.of(split).iter().map(Vec::len).sum::<usize>());
        let (name, items) = (&self.name, self.embeddings.len());
        format!("{}: {signals} signals of {} people on {items} items by {name}", split.name(), people.len())
    }

    fn checksums(&self) -> BTreeMap<String, String> {
        self.checksums.clone()
    }
}

/// What columns say of an item.
fn said(columns: &[String]) -> String {
    let parts = columns.iter().flat_map(|column| column.split('|')).map(str::trim).filter(|part| !part.is_empty());
    parts.collect::<Vec<_>>().join(", ")
}

/// Everybody, by split; `tenths` of them are to train on and for validation.
fn people(
    path: &Path,
    table: &SignalTable,
    places: &BTreeMap<&str, usize>,
    tenths: [u8; 2],
    checksums: &mut BTreeMap<String, String>,
) -> Result<[Vec<Person>; 3], TaskError> {
    let format = |reason: String| TaskError::Format { path: path.to_owned(), reason };
    let headings: Vec<&str> =
        [&table.person, &table.item].into_iter().chain(&table.rating).map(String::as_str).collect();
    let mut all: BTreeMap<[u8; 32], BTreeMap<[u8; 32], Deed>> = BTreeMap::new();
    for line in read(path, &headings, checksums)? {
        let Some(&item) = places.get(line[1].as_str()) else {
            return Err(format(format!("item `{}` is not among the items", line[1])));
        };
        let value = match line.get(2) {
            Some(rating) => {
                let rating: f64 = rating.parse().map_err(|_| format(format!("`{rating}` is no rating")))?;
                let [worst, best] = table.scale;
                narrow((2.0 * (rating - worst) / (best - worst) - 1.0).clamp(-1.0, 1.0))
            }
            None => 1.0,
        };
        let order = Sha256::digest(format!("{}/{}", line[0], line[1])).into();
        all.entry(Sha256::digest(&line[0]).into()).or_default().insert(order, (item, value));
    }
    let mut people = [Vec::new(), Vec::new(), Vec::new()];
    for (digest, signals) in all {
        let split = match digest[0] % 10 {
            tenth if tenth < tenths[0] => Split::Train,
            tenth if tenth < tenths[0] + tenths[1] => Split::Validation,
            _ => Split::Test,
        };
        people[split as usize].push(signals.into_values().collect());
    }
    Ok(people)
}

/// The columns of those headings, line by line.
fn read(
    path: &Path,
    headings: &[&str],
    checksums: &mut BTreeMap<String, String>,
) -> Result<Vec<Vec<String>>, TaskError> {
    let format = |reason: String| TaskError::Format { path: path.to_owned(), reason };
    let bytes = idx::read(path)?;
    note_checksum(checksums, path, &bytes);
    let mut reader = csv::Reader::from_reader(&bytes[..]);
    let found = reader.headers().map_err(|error| format(error.to_string()))?.clone();
    let place = |heading: &&str| {
        found.iter().position(|own| own == *heading).ok_or_else(|| format(format!("there is no column `{heading}`")))
    };
    let places = headings.iter().map(place).collect::<Result<Vec<_>, _>>()?;
    let line = |record: Result<csv::StringRecord, csv::Error>| {
        let record = record.map_err(|error| format(error.to_string()))?;
        Ok(places.iter().map(|&place| record[place].to_owned()).collect())
    };
    reader.records().map(line).collect()
}
