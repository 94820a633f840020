//! Classes of texts: intents, sentiments, topics, from tables with a column of texts and one of labels.
//!
//! The encoder's last blocks are tuned first, on the classes of the train split, if the settings say so; then it is frozen.
//! A base model that stands on it sees a text's embedding and nothing else, so each text is encoded once and episodes are
//! drawn from the embeddings.
//!
//! Splits share no class: the classes of a table's `validation` and `test` groups are left out of training. Only a table
//! that stands `alone` shares its classes between splits, and no text. What is drawn beside what:
//!
//! * Classes of different tables stand beside each other, but for tables that stand alone, whose labels make sense only
//!   among themselves.
//! * To train on, half of the episodes draw from one group only: tenants' questions are about one matter.
//! * To validate and to test, an episode of as many classes as a table alone has is drawn from that table, and every
//!   other one from the mixture.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use rand::RngExt;
use rand::seq::index;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{EpisodeSpec, Sources, Split, TaskDistribution, TaskError, idx, note_checksum};
use crate::domain::{InputSchema, Kind, Rows, Targets, words};
use crate::meta::encoder::tune::{self, TuningConfig, tune};
use crate::meta::encoder::{self, Tuning, corpus};
use crate::meta::{Episode, Names};

/// Share of training episodes that come from tables alone, if there are any.
const ALONE: f64 = 0.25;

/// Share of training episodes whose classes have each other's names: some tenants' labels say nothing.
const MISNAMED: f64 = 0.2;

/// A table with a line of headings (CSV, plain or gzipped).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TextTable {
    /// The file.
    pub file: PathBuf,
    /// Heading of the texts.
    pub text: String,
    /// Heading of what a text is about, which is put before it: `entity: text`.
    #[serde(default)]
    pub about: Option<String>,
    /// Heading of the labels.
    pub label: String,
    /// Heading of the groups of labels; each label is its own group without it.
    #[serde(default)]
    pub group: Option<String>,
    /// Labels that are none.
    #[serde(default)]
    pub skip: Vec<String>,
    /// Groups that are kept for validation.
    #[serde(default)]
    pub validation: Vec<String>,
    /// Groups that are kept for the test.
    #[serde(default)]
    pub test: Vec<String>,
    /// Whether its labels make sense only among themselves; then a fifth of its texts each is for validation and test.
    #[serde(default)]
    pub alone: bool,
    /// Most texts of a class: the first ones. All without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub most: Option<usize>,
}

/// One class of one split.
struct Class {
    table: usize,
    group: String,
    label: String,
    /// What the encoder says of its label.
    name: Vec<f32>,
    rows: Vec<Vec<f32>>,
}

pub(super) struct Texts {
    input: InputSchema,
    width: usize,
    classes: [Vec<Class>; 3],
    alone: Vec<bool>,
    names: Vec<String>,
    names_told: bool,
    tuning: Option<Tuning>,
    checksums: BTreeMap<String, String>,
}

/// A line of a table.
struct Line {
    text: String,
    label: String,
    group: String,
    split: Split,
}

impl Texts {
    pub(super) fn open(
        encoder: &str,
        max_chars: usize,
        names_told: bool,
        tuning: Option<&TuningConfig>,
        tables: &[TextTable],
        sources: &Sources<'_>,
    ) -> Result<Self, TaskError> {
        let folder = sources.encoders.join(encoder);
        let cache = sources.encoders.join(".embeddings");
        let mut checksums = BTreeMap::new();
        let lines = tables.iter().map(|table| read(&sources.data.join(&table.file), table, &mut checksums));
        let lines = lines.collect::<Result<Vec<_>, _>>()?;
        let tuning = match (sources.tuning, tuning) {
            (Some(tuning), _) => Some(tuning.clone()),
            (None, Some(config)) => {
                let frozen = encoder::load(&folder, tch::Device::Cpu)?;
                Some(tune(&frozen, &to_tune_on(tables, &lines), config, &cache, sources.progress)?)
            }
            (None, None) => None,
        };
        let loaded = encoder::load_tuned(&folder, tuning.as_ref(), tch::Device::Cpu)?;
        let width = loaded.encoder.width();
        let input = InputSchema::Text { encoder: loaded.reference.clone(), width, max_chars };
        let mut classes = [Vec::new(), Vec::new(), Vec::new()];
        for (number, lines) in lines.into_iter().enumerate() {
            let texts: Vec<String> = lines.iter().map(|line| line.text.clone()).collect();
            let rows = corpus::embed_all(&loaded, &texts, &cache, sources.progress)?;
            let mut found: BTreeMap<(usize, String, String), Vec<Vec<f32>>> = BTreeMap::new();
            for (line, row) in lines.into_iter().zip(rows) {
                found.entry((line.split as usize, line.group, line.label)).or_default().push(row);
            }
            let spoken: Vec<String> = found.keys().map(|(_, _, label)| words(label)).collect();
            let names = corpus::embed_all(&loaded, &spoken, &cache, sources.progress)?;
            for (((split, group, label), rows), name) in found.into_iter().zip(names) {
                classes[split].push(Class { table: number, group, label, name, rows });
            }
        }
        let alone = tables.iter().map(|table| table.alone).collect();
        let name = |table: &TextTable| table.file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let names = tables.iter().map(name).collect();
        Ok(Self { input, width, classes, alone, names, names_told, tuning, checksums })
    }

    fn of(&self, split: Split) -> &[Class] {
        &self.classes[split as usize]
    }

    /// Classes of `split` that stand beside each other, those of tables alone left out.
    fn mixed(&self, split: Split) -> Vec<&Class> {
        self.of(split).iter().filter(|class| !self.alone[class.table]).collect()
    }

    /// Classes of the tables alone that have any in `split`.
    fn apart(&self, split: Split) -> Vec<Vec<&Class>> {
        let of_table = |table| self.of(split).iter().filter(move |class| class.table == table).collect::<Vec<_>>();
        let tables = (0..self.alone.len()).filter(|&table| self.alone[table]);
        tables.map(of_table).filter(|classes| !classes.is_empty()).collect()
    }

    /// The classes that an episode is drawn from.
    fn pool(&self, split: Split, way: usize, rng: &mut ChaCha8Rng) -> Vec<&Class> {
        let (mixed, mut apart) = (self.mixed(split), self.apart(split));
        if split != Split::Train {
            apart.retain(|classes| classes.len() == way);
        }
        let takes_apart = mixed.is_empty() || split != Split::Train || rng.random_bool(ALONE);
        if !apart.is_empty() && takes_apart {
            return apart.swap_remove(rng.random_range(0..apart.len()));
        }
        if split != Split::Train || rng.random_bool(0.5) {
            return mixed;
        }
        let chosen = mixed[rng.random_range(0..mixed.len())];
        let kin: Vec<_> = mixed.iter().copied().filter(|class| related(class, chosen)).collect();
        if kin.len() > 1 { kin } else { mixed }
    }
}

/// Whether two classes are of one matter: of one group, or, where each class is its own group, of one table.
fn related(one: &Class, other: &Class) -> bool {
    one.table == other.table && (one.group == other.group || one.group.is_empty())
}

impl TaskDistribution for Texts {
    fn check(&self, split: Split, spec: &EpisodeSpec) -> Result<(), TaskError> {
        let (way, wanted) = (*spec.way.end(), spec.shot.end() + spec.query + spec.unlabelled);
        let mixed = self.mixed(split);
        let apart = self.apart(split);
        let pools = match split {
            Split::Train => std::iter::once(mixed).chain(apart).filter(|pool| !pool.is_empty()).collect::<Vec<_>>(),
            _ => match apart.into_iter().find(|classes| classes.len() == way) {
                Some(classes) => vec![classes],
                None => vec![mixed],
            },
        };
        let fail = |reason: String| Err(TaskError::Config(format!("texts {}: {reason}", split.name())));
        for pool in &pools {
            // Training takes what there is of each pool.
            let fewest = if split == Split::Train { 2 } else { way };
            if pool.len() < fewest {
                return fail(format!(
                    "there are {} classes, and {fewest}-way episodes need as many as that",
                    pool.len()
                ));
            }
            if let Some(rows) = pool.iter().map(|class| class.rows.len()).find(|&rows| rows < wanted) {
                return fail(format!("a class has {rows} texts, and {wanted} are wanted for an episode"));
            }
        }
        Ok(())
    }

    fn sample(&self, split: Split, spec: &EpisodeSpec, rng: &mut ChaCha8Rng) -> Episode {
        let wanted = rng.random_range(spec.way.clone());
        let pool = self.pool(split, wanted, rng);
        let way = wanted.min(pool.len()).max(2);
        // Half of the episodes have as many examples of each class, the others what the tenant happened to have.
        let shared = rng.random_bool(0.5).then(|| rng.random_range(spec.shot.clone()));
        let mut support = Drawn::default();
        let (mut query, mut unlabelled) = (Drawn::default(), Drawn::default());
        let chosen = index::sample(rng, pool.len(), way).into_vec();
        for (label, &class) in chosen.iter().enumerate() {
            let rows = &pool[class].rows;
            let shot = shared.unwrap_or_else(|| rng.random_range(spec.shot.clone()));
            for (place, row) in
                index::sample(rng, rows.len(), shot + spec.query + spec.unlabelled).into_iter().enumerate()
            {
                let part = match place {
                    _ if place < shot => &mut support,
                    _ if place < shot + spec.query => &mut query,
                    _ => &mut unlabelled,
                };
                part.push(&rows[row], label);
            }
        }
        let mut called: Vec<&Class> = chosen.iter().map(|&class| pool[class]).collect();
        if split == Split::Train && rng.random_bool(MISNAMED) {
            called.rotate_right(1);
        }
        let names = Names {
            labels: called.iter().map(|class| class.label.clone()).collect(),
            rows: Some(
                Rows::new(self.width, called.iter().flat_map(|class| class.name.iter().copied()).collect())
                    .expect("embeddings are finite"),
            ),
        };
        let unlabelled = (!unlabelled.labels.is_empty()).then(|| unlabelled.rows(self.width));
        Episode {
            support: support.rows(self.width),
            support_targets: Targets::Classes { labels: support.labels, way },
            query: query.rows(self.width),
            query_targets: Targets::Classes { labels: query.labels, way },
            unlabelled,
            names: self.names_told.then_some(names),
        }
    }

    fn input(&self) -> InputSchema {
        self.input.clone()
    }

    fn kind(&self) -> Kind {
        Kind::Classification
    }

    fn describe(&self, split: Split) -> String {
        let of_table = |(table, name): (usize, &String)| {
            let classes = self.of(split).iter().filter(|class| class.table == table);
            let (count, texts) = classes.fold((0, 0), |(count, texts), class| (count + 1, texts + class.rows.len()));
            (count > 0).then(|| format!("{texts} texts of {count} classes of {name}"))
        };
        let tables: Vec<String> = self.names.iter().enumerate().filter_map(of_table).collect();
        format!("{}: {}", split.name(), tables.join(", "))
    }

    fn tuning(&self) -> Option<&Tuning> {
        self.tuning.as_ref()
    }

    fn checksums(&self) -> BTreeMap<String, String> {
        self.checksums.clone()
    }
}

/// The classes of the train split, as texts.
fn to_tune_on(tables: &[TextTable], lines: &[Vec<Line>]) -> Vec<tune::Class> {
    let mut classes: BTreeMap<(usize, &str, &str), Vec<String>> = BTreeMap::new();
    for (table, lines) in lines.iter().enumerate() {
        for line in lines.iter().filter(|line| line.split == Split::Train) {
            classes.entry((table, &line.group, &line.label)).or_default().push(line.text.clone());
        }
    }
    let class = |((table, group, label), texts): ((usize, &str, &str), Vec<String>)| tune::Class {
        texts,
        name: words(label),
        matter: (table, group.to_owned()),
        is_alone: tables[table].alone,
    };
    classes.into_iter().map(class).collect()
}

/// Rows of one part of an episode.
#[derive(Default)]
struct Drawn {
    values: Vec<f32>,
    labels: Vec<u32>,
}

impl Drawn {
    fn push(&mut self, row: &[f32], label: usize) {
        self.values.extend_from_slice(row);
        self.labels.push(u32::try_from(label).expect("far fewer classes than 2^32"));
    }

    fn rows(&self, width: usize) -> Rows {
        Rows::new(width, self.values.clone()).expect("embeddings are finite")
    }
}

/// The split that a text belongs to, if its label is of `group`.
fn split_of(table: &TextTable, text: &str, group: &str) -> Split {
    if table.alone {
        // By the text, so that one text is in one split however often it occurs, and whatever it is asked about.
        return match Sha256::digest(text.as_bytes())[0] % 5 {
            3 => Split::Validation,
            4 => Split::Test,
            _ => Split::Train,
        };
    }
    match (table.validation.iter().any(|kept| kept == group), table.test.iter().any(|kept| kept == group)) {
        (_, true) => Split::Test,
        (true, _) => Split::Validation,
        _ => Split::Train,
    }
}

fn read(path: &Path, table: &TextTable, checksums: &mut BTreeMap<String, String>) -> Result<Vec<Line>, TaskError> {
    let format = |reason: String| TaskError::Format { path: path.to_owned(), reason };
    let bytes = idx::read(path)?;
    note_checksum(checksums, path, &bytes);
    let mut reader = csv::Reader::from_reader(&bytes[..]);
    let headings = reader.headers().map_err(|error| format(error.to_string()))?.clone();
    let column = |name: &str| {
        let found = headings.iter().position(|heading| heading == name);
        found.ok_or_else(|| {
            format(format!("there is no column `{name}` among: {}", headings.iter().collect::<Vec<_>>().join(", ")))
        })
    };
    let (text, label) = (column(&table.text)?, column(&table.label)?);
    let about = table.about.as_deref().map(column).transpose()?;
    let group = table.group.as_deref().map(column).transpose()?;
    let mut lines = Vec::new();
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for record in reader.records() {
        let record = record.map_err(|error| format(error.to_string()))?;
        let field = |column: usize| record[column].to_owned(); // every record is as long as the headings
        if table.skip.contains(&field(label)) || field(text).trim().is_empty() {
            continue;
        }
        let seen = counts.entry(field(label)).or_insert(0);
        *seen += 1;
        if table.most.is_some_and(|most| *seen > most) {
            continue;
        }
        lines.push(Line {
            split: split_of(table, &record[text], &record[group.unwrap_or(label)]),
            text: about.map_or_else(|| field(text), |about| format!("{}: {}", field(about), field(text))),
            label: field(label),
            group: group.map_or_else(String::new, field),
        });
    }
    for wanted in table.validation.iter().chain(&table.test) {
        let has = |line: &Line| if group.is_some() { line.group == *wanted } else { line.label == *wanted };
        if !lines.iter().any(has) {
            return Err(format(format!("there is no `{wanted}` to keep for validation or test")));
        }
    }
    Ok(lines)
}
