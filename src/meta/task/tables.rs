//! Tables of numbers: each episode is from one of them, its classes the values of one column, its inputs what the others say.
//!
//! Tables differ in how many columns they have and in what these are, a base model's input does not: each episode puts its
//! table's columns to places drawn at random, zeros where there are no more, some columns left out where there are too
//! many. Nothing about a column can be learned then but what an episode's own examples say. Columns are standardised over
//! the whole table, as whoever has one would do before sending rows of it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use rand::seq::index;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::{EpisodeSpec, Split, TaskDistribution, TaskError, classes, idx, note_checksum};
use crate::domain::{InputSchema, Kind};
use crate::meta::Episode;

/// CSV or TSV files with a line of headings, gzipped or not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TableFiles {
    /// To train on.
    pub train: Vec<PathBuf>,
    /// To validate on.
    #[serde(default)]
    pub validation: Vec<PathBuf>,
    /// To test on.
    #[serde(default)]
    pub test: Vec<PathBuf>,
}

/// One table: a class's rows are neighbours.
pub(super) struct Table {
    name: String,
    /// Columns but for the class.
    columns: usize,
    /// Of each class, its rows.
    classes: Vec<Vec<Vec<f32>>>,
}

pub(super) struct Tables {
    width: usize,
    train: Vec<Table>,
    validation: Vec<Table>,
    test: Vec<Table>,
    checksums: BTreeMap<String, String>,
}

impl Tables {
    /// Tables below `data`, whose column `target` is the class, as rows of `width` numbers.
    ///
    /// # Errors
    /// [`TaskError::File`] and [`TaskError::Format`] for a file that is not there, or is no table of numbers with that
    /// column.
    pub(super) fn open(files: &TableFiles, target: &str, width: usize, data: &Path) -> Result<Self, TaskError> {
        let mut checksums = BTreeMap::new();
        let mut all = |paths: &[PathBuf]| {
            let read = |path: &PathBuf| {
                let path = data.join(path);
                let bytes = idx::read(&path)?;
                note_checksum(&mut checksums, &path, &bytes);
                let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
                parse(&bytes, target, name).map_err(|reason| TaskError::Format { path, reason })
            };
            paths.iter().map(read).collect::<Result<Vec<_>, _>>()
        };
        let (train, validation, test) = (all(&files.train)?, all(&files.validation)?, all(&files.test)?);
        Ok(Self { width, train, validation, test, checksums })
    }

    fn tables(&self, split: Split) -> &[Table] {
        match split {
            Split::Train => &self.train,
            Split::Validation => &self.validation,
            Split::Test => &self.test,
        }
    }
}

impl Table {
    pub(super) fn counts(&self) -> impl Iterator<Item = usize> + Clone {
        self.classes.iter().map(Vec::len)
    }

    /// Episodes as asked for, of no more classes than there are.
    fn spec(&self, spec: &EpisodeSpec) -> EpisodeSpec {
        let most = (*spec.way.end()).min(self.classes.len());
        EpisodeSpec { way: (*spec.way.start()).min(most)..=most, ..spec.clone() }
    }
}

impl TaskDistribution for Tables {
    fn check(&self, split: Split, spec: &EpisodeSpec) -> Result<(), TaskError> {
        let fails = |reason: String| TaskError::Config(format!("tables {}: {reason}", split.name()));
        if self.tables(split).is_empty() {
            return Err(fails("there are none".to_owned()));
        }
        self.tables(split).iter().try_for_each(|table| {
            let few = classes::check(table.counts(), &table.spec(spec));
            few.map_err(|reason| fails(format!("{}: {reason}", table.name)))
        })
    }

    fn sample(&self, split: Split, spec: &EpisodeSpec, rng: &mut ChaCha8Rng) -> Episode {
        let tables = self.tables(split);
        let table = &tables[index::sample(rng, tables.len(), 1).index(0)];
        let shown = table.columns.min(self.width);
        let (columns, places) = (index::sample(rng, table.columns, shown), index::sample(rng, self.width, shown));
        let counts: Vec<usize> = table.counts().collect();
        classes::episode(&counts, None, false, self.width, &table.spec(spec), rng, |class, row, _| {
            let mut input = vec![0.0; self.width];
            for (column, place) in columns.iter().zip(places.iter()) {
                input[place] = table.classes[class][row][column];
            }
            input
        })
    }

    fn input(&self) -> InputSchema {
        InputSchema::Vector { width: self.width }
    }

    fn kind(&self) -> Kind {
        Kind::Classification
    }

    fn describe(&self, split: Split) -> String {
        let tables = self.tables(split);
        let rows: usize = tables.iter().flat_map(Table::counts).sum();
        format!("{} tables {}: {rows} rows", tables.len(), split.name())
    }

    fn checksums(&self) -> BTreeMap<String, String> {
        self.checksums.clone()
    }
}

/// Numbers beyond it would leave the range in which their squares add up.
const LARGEST: f64 = 1e30;

/// A table from its file; a reason, with its line, if it is none.
pub(super) fn parse(bytes: &[u8], target: &str, name: String) -> Result<Table, String> {
    let headings_end = bytes.iter().position(|&byte| byte == b'\n').unwrap_or(bytes.len());
    let delimiter = if bytes[..headings_end].contains(&b'\t') { b'\t' } else { b',' };
    let mut reader = csv::ReaderBuilder::new().delimiter(delimiter).from_reader(bytes);
    let headings = reader.headers().map_err(|error| error.to_string())?.clone();
    let Some(class) = headings.iter().position(|heading| heading == target) else {
        let found: Vec<&str> = headings.iter().collect();
        return Err(format!("there is no column `{target}` among: {}", found.join(", ")));
    };
    let (mut rows, mut labels) = (Vec::new(), Vec::new());
    for record in reader.records() {
        let record = record.map_err(|error| error.to_string())?;
        let line = record.position().map_or(0, csv::Position::line);
        let number = |(place, field): (usize, &str)| {
            let number = field.trim().parse::<f64>().ok().filter(|number| number.abs() < LARGEST);
            number.ok_or_else(|| format!("line {line}: `{field}` in column `{}` is no number", &headings[place]))
        };
        let others = record.iter().enumerate().filter(|(place, _)| *place != class);
        rows.push(others.map(number).collect::<Result<Vec<f64>, _>>()?);
        labels.push(record[class].trim().to_owned());
    }
    let columns = headings.len() - 1;
    let scales: Vec<(f64, f64)> = (0..columns).map(|column| scale(rows.iter().map(|row| row[column]))).collect();
    let mut classes: BTreeMap<String, Vec<Vec<f32>>> = BTreeMap::new();
    for (row, label) in rows.into_iter().zip(labels) {
        let standardised =
            row.iter().zip(&scales).map(|(value, (mean, deviation))| narrowed((value - mean) / deviation));
        classes.entry(label).or_default().push(standardised.collect());
    }
    if columns == 0 || classes.len() < 2 {
        return Err(format!("{columns} columns and {} classes: one and two are the fewest", classes.len()));
    }
    Ok(Table { name, columns, classes: classes.into_values().collect() })
}

#[expect(clippy::cast_possible_truncation, reason = "standardised: no more than the root of the number of rows")]
fn narrowed(value: f64) -> f32 {
    value as f32
}

/// Mean and standard deviation; 1 for a deviation of nothing.
fn scale(values: impl ExactSizeIterator<Item = f64> + Clone) -> (f64, f64) {
    let count = values.len().max(1) as f64;
    let mean = values.clone().sum::<f64>() / count;
    let deviation = (values.map(|value| (value - mean).powi(2)).sum::<f64>() / count).sqrt();
    (mean, if deviation > 0.0 { deviation } else { 1.0 })
}

/// Whatever the bytes are: a table, whose numbers are numbers, or a reason.
#[cfg(test)]
pub(super) fn stands(bytes: &[u8]) {
    if let Ok(table) = parse(bytes, "target", String::new()) {
        assert!(table.classes.iter().flatten().all(|row| row.len() == table.columns));
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    const CSV: &str = "a,target,b,same\n1,x,10,5\n3,x,10,5\n5,y,30,5\n7,y,30,5\n";

    fn tables(width: usize) -> Tables {
        let table = parse(CSV.as_bytes(), "target", "t".to_owned()).unwrap();
        Tables { width, train: vec![table], validation: Vec::new(), test: Vec::new(), checksums: BTreeMap::new() }
    }

    const SPEC: EpisodeSpec = EpisodeSpec { way: 2..=9, shot: 1..=1, query: 1, unlabelled: 0 };

    #[test]
    fn columns_are_standardised_and_those_of_one_value_say_nothing() {
        let Table { columns, classes, .. } = parse(CSV.as_bytes(), "target", String::new()).unwrap();
        let tabs = parse(CSV.replace(',', "\t").as_bytes(), "target", String::new()).unwrap();

        assert_eq!(columns, 3);
        let (far, near) = (narrowed(3.0 / 5f64.sqrt()), narrowed(1.0 / 5f64.sqrt()));
        let expected =
            vec![vec![vec![-far, -1.0, 0.0], vec![-near, -1.0, 0.0]], vec![vec![near, 1.0, 0.0], vec![far, 1.0, 0.0]]];
        assert_eq!(classes, expected);
        assert_eq!(tabs.classes, expected);
    }

    #[test]
    fn an_episode_has_its_tables_classes_and_its_columns_at_places_of_its_own() {
        let tables = tables(8);
        tables.check(Split::Train, &SPEC).unwrap();
        let sample = |seed| tables.sample(Split::Train, &SPEC, &mut ChaCha8Rng::seed_from_u64(seed));
        let shown =
            |episode: &Episode| -> Vec<usize> { (0..8).filter(|&at| episode.support.row(0)[at] != 0.0).collect() };

        for seed in 0..20 {
            let episode = sample(seed);
            assert_eq!(episode, sample(seed));
            assert_eq!((episode.support.len(), shown(&episode).len()), (2, 2));
            // Column b has the sign of the class, in support and query alike.
            let b = shown(&episode).into_iter().find(|&at| episode.support.row(0)[at].abs() == 1.0).unwrap();
            assert_eq!(episode.support.row(0)[b], -episode.support.row(1)[b]);
            assert_eq!(episode.support.row(0)[b], episode.query.row(0)[b]);
        }
        assert_ne!(shown(&sample(1)), shown(&sample(2)));
    }

    #[test]
    fn a_narrow_input_shows_some_of_the_columns() {
        let episode = tables(1).sample(Split::Train, &SPEC, &mut ChaCha8Rng::seed_from_u64(3));

        assert_eq!(episode.support.width(), 1);
    }

    #[test]
    fn what_is_no_table_of_numbers_is_told_with_its_line() {
        let reason = |text: &str| parse(text.as_bytes(), "target", String::new()).err().unwrap();

        assert!(reason("a,b\n1,2\n").contains("no column `target` among: a, b"));
        assert!(reason("a,target\n1,x\none,y\n").contains("line 3: `one` in column `a`"));
        assert!(reason("a,target\n1,x\nNaN,y\n").contains("line 3: `NaN`"));
        assert!(reason("a,target\n1,x\n2\n").contains("line: 3"));
        assert!(reason("a,target\n1,x\n2,x\n").contains("1 classes"));
        assert!(reason("target\nx\ny\n").contains("0 columns"));
        assert!(tables(2).check(Split::Test, &SPEC).is_err());
    }
}
