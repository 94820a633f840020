//! `imprint train` and `imprint eval` where the base model is a tagger.

use std::path::PathBuf;
use std::time::Instant;

use serde_json::json;
use tch::Device;

use super::sources::SourceFlags;
use super::{CliError, out};
use crate::domain::{BaseModel, Figure, Recipe, ReportLine, ReportTable, TagReport};
use crate::meta::Tagger;
use crate::meta::encoder::Tuning;
use crate::meta::eval::Estimate;
use crate::meta::tagging::corpora::{Corpora, Corpus};
use crate::meta::task::{CorpusFiles, TaskConfig};
use crate::trainer::{TrainConfig, TrainError, Trial};

/// Most sentences of a corpus that a figure in the manifest is measured on.
const MEASURED: usize = 1000;

/// What is measured, by name.
const ENTITY_F1: &str = "entity_f1";

/// What a tagger is measured on, and how.
pub(super) struct TagEval<'e> {
    pub(super) base: &'e BaseModel,
    pub(super) tagger: &'e Tagger,
    pub(super) config: &'e TrainConfig,
    pub(super) sources: &'e SourceFlags,
    /// What the base model adds to its encoder.
    pub(super) tuning: Option<Tuning>,
    /// Files to learn from and to measure on, in place of the corpora that were held out.
    pub(super) files: Option<(Vec<PathBuf>, Vec<PathBuf>)>,
    /// Sentences for each label; the training file's settings without it.
    pub(super) shot: Option<usize>,
    /// Samples for each figure.
    pub(super) samples: u64,
    pub(super) seed: u64,
    pub(super) recipe: Recipe,
    pub(super) report: bool,
    pub(super) json: bool,
}

/// One figure, and the report of its first sample.
struct Measured {
    name: String,
    estimate: Estimate,
    first: TagReport,
    seconds: f64,
}

impl TagEval<'_> {
    pub(super) fn run(&self) -> Result<(), CliError> {
        let corpora = self.open()?;
        if corpora.all.is_empty() {
            return Err(CliError::Usage(
                "no corpus was held out of this base model; name files with --learn-from and --measure-on".to_owned(),
            ));
        }
        let settings: Vec<Option<usize>> = match (&self.files, self.shot) {
            (_, Some(shot)) => vec![Some(shot)],
            (Some(_), None) => vec![None],
            (None, None) => self.config.validation.settings.iter().map(|setting| Some(setting.shot[0])).collect(),
        };
        let mut all = Vec::new();
        for corpus in &corpora.all {
            for &least in &settings {
                // There is one sample of everything.
                let samples = if least.is_none() { 1 } else { self.samples };
                let measured = self.measure(corpus, least, samples)?;
                if !self.json {
                    self.print(&measured);
                }
                all.push(measured);
            }
        }
        if self.json {
            out::line(self.document(&all));
        }
        Ok(())
    }

    fn open(&self) -> Result<Corpora, CliError> {
        let Some((train, test)) = &self.files else {
            return open_held_out(self.sources, &self.config.task, self.tuning.as_ref());
        };
        let (encoder, max_chars, _) = sentences(&self.config.task)?;
        let name = test.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join("+");
        let files = [CorpusFiles { name, train: train.clone(), test: test.clone(), most: None }];
        self.sources.open_corpora(encoder, max_chars, &files, self.tuning.as_ref())
    }

    fn measure(&self, corpus: &Corpus, least: Option<usize>, samples: u64) -> Result<Measured, CliError> {
        let started = Instant::now();
        let trial = |index| Trial { corpus, encoder: None, least, seed: self.seed + index, most: usize::MAX };
        let reports = (0..samples.max(1))
            .map(|index| trial(index).run(self.tagger, &self.recipe))
            .collect::<Result<Vec<_>, _>>()?;
        let f1: Vec<f64> = reports.iter().map(|report| report.entities.micro.f1).collect();
        let name = setting_name(&corpus.name, least);
        let seconds = started.elapsed().as_secs_f64() / reports.len() as f64;
        let first = reports.into_iter().next().ok_or_else(|| CliError::Usage("nothing was measured".to_owned()))?;
        Ok(Measured { name, estimate: Estimate::of(&f1), first, seconds })
    }

    fn print(&self, Measured { name, estimate, first, seconds }: &Measured) {
        out::line(format!(
            "{name}: entity-level F1 {:.2} % ± {:.2} ({} samples, {seconds:.1} s each)",
            100.0 * estimate.mean,
            100.0 * estimate.ci95,
            estimate.episodes
        ));
        if !self.report {
            return;
        }
        out::line(format!("\n{} sentences, {} words\n", first.sentences, first.words));
        for (title, table) in [
            ("entity level (as conlleval and seqeval count)", &first.entities),
            ("token level, each tag a class, O among them", &first.tokens),
            ("token level without O", &first.tokens_in_spans),
        ] {
            out::line(table_text(title, table));
        }
    }

    fn document(&self, all: &[Measured]) -> String {
        let figures: Vec<_> = all
            .iter()
            .map(|Measured { name, estimate, first, seconds }| {
                json!({
                    "setting": name,
                    "entity_f1": {"mean": estimate.mean, "ci95": estimate.ci95, "samples": estimate.episodes},
                    "seconds": seconds,
                    "entity_level": table_json(&first.entities),
                    "token_level": table_json(&first.tokens),
                    "token_level_without_o": table_json(&first.tokens_in_spans),
                })
            })
            .collect();
        let document = json!({
            "base_model": self.base.manifest.name,
            "sha256": self.base.sha256,
            "seed": self.seed,
            "figures": figures,
        });
        format!("{document:#}")
    }
}

/// The parts of a distribution of sentences: its encoder's name, the longest text, and its corpora.
pub(super) fn sentences(task: &TaskConfig) -> Result<(&str, usize, &[CorpusFiles]), CliError> {
    match task {
        TaskConfig::Sentences { encoder, max_chars, corpora, .. } => Ok((encoder, *max_chars, corpora)),
        _ => Err(CliError::Usage("the training file names no corpora of sentences".to_owned())),
    }
}

/// The corpora that are held out, read by the encoder that `tuning` makes.
pub(super) fn open_held_out(
    sources: &SourceFlags,
    task: &TaskConfig,
    tuning: Option<&Tuning>,
) -> Result<Corpora, CliError> {
    let (encoder, max_chars, corpora) = sentences(task)?;
    let files: Vec<_> = corpora.iter().filter(|corpus| task.held_out().contains(&corpus.name)).cloned().collect();
    sources.open_corpora(encoder, max_chars, &files, tuning)
}

fn setting_name(corpus: &str, least: Option<usize>) -> String {
    match least {
        Some(least) => format!("{corpus}, {least} sentences of each label"),
        None => format!("{corpus}, all sentences"),
    }
}

/// As scikit-learn and seqeval print it.
fn table_text(title: &str, table: &ReportTable) -> String {
    let names = table.lines.iter().map(|line| line.name.chars().count());
    let width = names.max().unwrap_or_default().max("weighted avg".len());
    let line = |ReportLine { name, precision, recall, f1, support }: &ReportLine| {
        format!("{name:>width$}  {precision:>9.4}  {recall:>6.4}  {f1:>8.4}  {support:>7}\n")
    };
    let head = format!("{title}\n{:>width$}  precision  recall  f1-score  support\n\n", "");
    let lines: String = table.lines.iter().map(line).collect();
    format!("{head}{lines}\n{}{}{}", line(&table.micro), line(&table.macro_mean), line(&table.weighted))
}

fn table_json(table: &ReportTable) -> serde_json::Value {
    let line = |line: &ReportLine| json!({"name": line.name, "precision": line.precision, "recall": line.recall, "f1": line.f1, "support": line.support});
    json!({
        "per_label": table.lines.iter().map(line).collect::<Vec<_>>(),
        "micro": line(&table.micro),
        "macro": line(&table.macro_mean),
        "weighted": line(&table.weighted),
    })
}

/// Each validation setting measured on these corpora, which were held out, for the manifest.
pub(super) fn figures(
    tagger: &Tagger,
    corpora: &Corpora,
    config: &TrainConfig,
    samples: u64,
) -> Result<Vec<Figure>, CliError> {
    let mut figures = Vec::new();
    for corpus in &corpora.all {
        for setting in config.validation.settings.iter().filter(|_| samples > 0) {
            let least = Some(setting.shot[0]);
            // Other samples than those that θ was chosen by.
            let trial = |index| Trial { corpus, encoder: None, least, seed: 1000 + index, most: MEASURED };
            let f1 = (0..samples)
                .map(|index| Ok(trial(index).run(tagger, &Recipe::default())?.entities.micro.f1))
                .collect::<Result<Vec<f64>, TrainError>>()?;
            let estimate = Estimate::of(&f1);
            let name = setting_name(&corpus.name, least);
            out::note(format!("{name}: entity-level F1 {:.2} % ± {:.2}", 100.0 * estimate.mean, 100.0 * estimate.ci95));
            figures.push(Figure {
                name,
                measure: ENTITY_F1.to_owned(),
                mean: estimate.mean,
                ci95: estimate.ci95,
                episodes: estimate.episodes,
                transductive: false,
                split: format!("{} sentences of a corpus that was not trained on", corpus.test.len().min(MEASURED)),
            });
        }
    }
    Ok(figures)
}

/// One computation at a time, on so many threads; 0 takes one for each core.
pub(super) fn take_threads(threads: usize) {
    tch::set_num_threads(i32::try_from(super::threads(threads)).unwrap_or(1));
}

/// A tagger with θ that has just been trained.
pub(super) fn tagger(ended: &crate::trainer::Ended) -> Result<Tagger, CliError> {
    let tagger = Tagger::with_theta(&ended.architecture, ended.theta.shallow_clone(), Device::Cpu);
    Ok(tagger.map_err(TrainError::Architecture)?)
}
