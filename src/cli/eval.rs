//! `imprint eval`: measures a base model on episodes of classes or tasks that it never saw.

use std::path::PathBuf;
use std::time::Instant;

use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;
use tch::Device;

use super::curve::Curve;
use super::sources::{SourceFlags, read_task, tuning_of};
use super::tagging::TagEval;
use super::{CliError, out, plot, said, served};
use crate::domain::{BaseModel, Kind, Outputs, Precision, Recipe, Targets};
use crate::meta::bundle::{self, Network};
use crate::meta::encoder::Tuning;
use crate::meta::eval::{self, Estimate};
use crate::meta::task::{EpisodeSpec, Split, TaskDistribution};
use crate::meta::{Model, Phase, Tagger};
use crate::nn::heap;
use crate::trainer::{EpisodeRange, Gains, Honesty, Measurement, TrainConfig};

/// Fewest episodes whose interval is worth reporting.
const FEWEST_EPISODES: u64 = 600;

/// Measures a base model.
///
/// The task distribution is the one that it was trained with, its test split by default. Figures are inductive: no query
/// row touches another one's answer, as when it is served. Transductive ones, as many papers report, stand beside them.
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own")]
#[derive(clap::Args, Debug)]
pub struct Eval {
    /// Name of a base model in --models.
    base_model: String,

    /// Folder of base model bundles.
    #[arg(long, env = "IMPRINT_MODELS", default_value = "models")]
    models: PathBuf,

    #[command(flatten)]
    sources: SourceFlags,

    /// A task distribution to measure on in place of the base model's own: a training file, or a TOML file of what is under
    /// its `[task]`.
    #[arg(long, value_name = "FILE")]
    task: Option<PathBuf>,

    /// `train`, `validation` or `test`.
    #[arg(long, default_value = "test", value_parser = split)]
    split: Split,

    /// Classes of an episode, a number or a range (`5-15`); with --shot, in place of the training file's settings.
    #[arg(long, requires = "shot", value_parser = range)]
    way: Option<[usize; 2]>,

    /// Support rows of a class, a number or a range.
    #[arg(long, value_parser = range)]
    shot: Option<[usize; 2]>,

    /// Query rows of a class.
    #[arg(long, default_value_t = 5)]
    query: usize,

    /// Unlabelled rows of a class that are adapted on, too: what self-training gains.
    #[arg(long, default_value_t = 0)]
    unlabelled: usize,

    /// Episodes for each figure; 1000 by default, of a tagger 5.
    #[arg(long)]
    episodes: Option<u64>,

    /// Which stream of episodes.
    #[arg(long, default_value_t = 1)]
    seed: u64,

    /// Inner steps, in place of the base model's own number.
    #[arg(long)]
    steps: Option<u32>,

    /// Threads; 0 takes one for each core. The figures do not depend on it.
    #[arg(long, default_value_t = 0)]
    threads: usize,

    /// Prints one JSON document.
    #[arg(long)]
    json: bool,

    /// For taggers: a file in CoNLL's columns to adapt to, in place of the corpora that were held out; may be repeated.
    /// With --shot only as much of it as that.
    #[arg(long, value_name = "FILE", requires = "measure_on")]
    learn_from: Vec<PathBuf>,

    /// A file to measure on, with --learn-from.
    #[arg(long, value_name = "FILE", requires = "learn_from")]
    measure_on: Vec<PathBuf>,

    /// For taggers: prints precision, recall, F1 and support for each label and each tag, and their means.
    #[arg(long)]
    report: bool,

    /// Draws three adaptations, before and after, as a PNG (regression on one number).
    #[arg(long, value_name = "FILE")]
    plot: Option<PathBuf>,

    /// Draws the loss after each inner step, beside SGD and Adam from the same θ with step sizes tuned on the validation
    /// split, as a PNG (gradient steps on every parameter).
    #[arg(long, value_name = "FILE")]
    curve: Option<PathBuf>,

    /// Measures how honest adapters' estimates of themselves are: the share of tasks whose interval holds the accuracy on
    /// the query rows, of which --query had better make hundreds.
    #[arg(long)]
    estimates: bool,

    /// Measures what one more example of a label brings: of the one that adapters expect the most of, and of any. The first
    /// query row of each class is that example.
    #[arg(long, conflicts_with = "estimates")]
    gains: bool,

    /// Sends the same episodes through a running server's adapt-predict, too, and compares.
    #[arg(long, value_name = "URL")]
    server: Option<String>,

    /// Requests under way at once, with --server.
    #[arg(long, default_value_t = 4)]
    clients: usize,

    /// The key for --server.
    #[arg(long, env = "IMPRINT_KEY", hide_env_values = true)]
    key: Option<String>,
}

/// A split by its name.
pub fn split(text: &str) -> Result<Split, String> {
    [Split::Train, Split::Validation, Split::Test]
        .into_iter()
        .find(|split| split.name() == text)
        .ok_or_else(|| "it is train, validation or test".to_owned())
}

fn range(text: &str) -> Result<[usize; 2], String> {
    let number = |text: &str| text.parse::<usize>().map_err(|_| "it is a number, or a range like 5-15".to_owned());
    match text.split_once('-') {
        Some((least, most)) => Ok([number(least)?, number(most)?]),
        None => number(text).map(|number| [number, number]),
    }
}

/// One line of the report.
struct Line {
    setting: EpisodeRange,
    inductive: Estimate,
    transductive: Option<Estimate>,
    /// With unlabelled rows, and what they add to the inductive figure.
    self_trained: Option<(Estimate, Estimate)>,
    /// Through a server, and in which numbers that computes features.
    served: Option<(Estimate, Precision)>,
    /// Of rankings: the share of episodes with a hit among the first ten, and both figures of each.
    hits: Option<(Estimate, Vec<[f64; 2]>)>,
    seconds: f64,
}

impl Line {
    /// Whether a server's figure is the one measured here: to the last digit from a server of the same precision; within
    /// the interval from one of another.
    fn is_served_alike(&self) -> bool {
        self.served.is_none_or(|(served, precision)| match precision {
            Precision::Float32 => served == self.inductive,
            Precision::Bfloat16 => (served.mean - self.inductive.mean).abs() <= self.inductive.ci95,
        })
    }
}

impl Eval {
    /// Measures and prints.
    pub fn run(self) -> Result<(), CliError> {
        heap::keep();
        let folder = self.models.join(&self.base_model);
        let (base, network) = bundle::load(&folder, Device::Cpu).map_err(crate::trainer::TrainError::from)?;
        let config: TrainConfig = serde_json::from_value(base.manifest.provenance.config.clone())
            .map_err(|error| CliError::Usage(format!("the manifest has no readable training file: {error}")))?;
        let model = match network {
            Network::Rows(model) => *model,
            Network::Words(tagger) => return self.run_tagger(&base, &tagger, &config, tuning_of(&base, &folder)?),
        };
        let tasks = self.task.as_deref().map_or(Ok(config.task.clone()), read_task)?;
        let tasks = self.sources.open(&tasks, tuning_of(&base, &folder)?.as_ref())?;
        let (takes, given) = (&model.architecture.input, tasks.input());
        if *takes != given || model.architecture.kind != tasks.kind() {
            return Err(CliError::Usage(format!(
                "the base model takes {takes:?}, and the task distribution gives {given:?}"
            )));
        }
        if let Some(path) = &self.plot {
            plot::adaptations(&model, &*tasks, &config, self.seed, self.steps, path)?;
            out::note(format!("three adaptations are drawn in {}", path.display()));
        }
        let episodes = self.episodes();
        if episodes < FEWEST_EPISODES {
            out::note(format!("{episodes} episodes make a wide interval; {FEWEST_EPISODES} are the field's fewest"));
        }
        out::note(tasks.describe(self.split));
        let settings = match (self.way, self.shot) {
            (way, Some(shot)) => {
                vec![EpisodeRange { way: way.unwrap_or([1, 1]), shot, query: self.query }]
            }
            (_, None) => config.validation.settings.clone(),
        };
        for setting in &settings {
            setting.check().map_err(CliError::Usage)?;
            tasks.check(self.split, &self.spec(setting)).map_err(crate::trainer::TrainError::from)?;
        }
        if let (Some(path), Some(setting)) = (&self.curve, settings.first()) {
            let (spec, seed, episodes) = (self.spec(setting), self.seed, self.episodes());
            let (split, steps, threads) = (self.split, self.steps, super::threads(self.threads));
            return Curve { tasks: &*tasks, split, spec, seed, episodes, steps, threads }.run(&model, path);
        }
        if self.estimates || self.gains {
            let report = if self.estimates { said::report::<Honesty> } else { said::report::<Gains> };
            let measurement = |setting: &EpisodeRange| self.measurement(&*tasks, setting, Phase::Serve, false);
            return report(&settings, measurement, &model, super::threads(self.threads), self.json);
        }
        let lines = settings
            .into_iter()
            .map(|setting| self.measure(&base, &model, &*tasks, setting))
            .collect::<Result<Vec<_>, _>>()?;
        if self.json {
            out::line(self.document(&base, &*tasks, &lines));
        } else {
            self.table(tasks.kind(), &lines);
        }
        match lines.iter().find(|line| !line.is_served_alike()) {
            Some(line) => Err(CliError::Usage(format!("{}: the server's figure is another one", line.setting.name()))),
            None => Ok(()),
        }
    }

    fn episodes(&self) -> u64 {
        self.episodes.unwrap_or(1000)
    }

    fn run_tagger(
        &self,
        base: &BaseModel,
        tagger: &Tagger,
        config: &TrainConfig,
        tuning: Option<Tuning>,
    ) -> Result<(), CliError> {
        super::tagging::take_threads(self.threads);
        let files = (!self.learn_from.is_empty()).then(|| (self.learn_from.clone(), self.measure_on.clone()));
        let evaluation = TagEval {
            base,
            tagger,
            config,
            sources: &self.sources,
            tuning,
            files,
            shot: self.shot.map(|[_, most]| most),
            samples: self.episodes.unwrap_or(5),
            seed: self.seed,
            recipe: Recipe { inner_steps: self.steps, ..Recipe::default() },
            report: self.report,
            json: self.json,
        };
        evaluation.run()
    }

    fn measurement<'t>(
        &self,
        tasks: &'t dyn TaskDistribution,
        setting: &EpisodeRange,
        phase: Phase,
        self_training: bool,
    ) -> Measurement<'t> {
        let recipe = Recipe { inner_steps: self.steps, seed: 0 };
        let (split, seed, episodes) = (self.split, self.seed, self.episodes());
        Measurement { tasks, split, spec: self.spec(setting), seed, episodes, recipe, phase, self_training }
    }

    fn measure(
        &self,
        base: &BaseModel,
        model: &Model,
        tasks: &dyn TaskDistribution,
        setting: EpisodeRange,
    ) -> Result<Line, CliError> {
        let started = Instant::now();
        let measurement = |phase, self_training| self.measurement(tasks, &setting, phase, self_training);
        let bar = ProgressBar::new(self.episodes());
        if let Ok(style) = ProgressStyle::with_template("{msg} {wide_bar} {pos}/{len}  ETA {eta}") {
            bar.set_style(style);
        }
        bar.set_message(setting.name());
        let threads = super::threads(self.threads);
        let run = |phase, self_training| {
            measurement(phase, self_training).figures(model, threads, &|done| bar.set_position(done))
        };
        let both = |outputs: &Outputs, targets: &Targets| (eval::score(outputs, targets), eval::hit(outputs, targets));
        let judged = measurement(Phase::Serve, false).judged(model, threads, &|done| bar.set_position(done), both)?;
        let (figures, hits): (Vec<f64>, Vec<Option<f64>>) = judged.into_iter().unzip();
        let hits = hits.into_iter().collect::<Option<Vec<f64>>>().map(|hits| {
            let each = figures.iter().zip(&hits).map(|(figure, hit)| [*figure, *hit]).collect();
            (Estimate::of(&hits), each)
        });
        let inductive = Estimate::of(&figures);
        let self_trained = (self.unlabelled > 0).then(|| run(Phase::Serve, true)).transpose()?.map(|with| {
            let gains: Vec<f64> = with.iter().zip(&figures).map(|(with, without)| with - without).collect();
            (Estimate::of(&with), Estimate::of(&gains))
        });
        let normalises = !model.net.backbone.norm_layers().is_empty();
        let transductive = normalises.then(|| run(Phase::Transductive, false)).transpose()?;
        let transductive = transductive.map(|figures| Estimate::of(&figures));
        let served = match &self.server {
            Some(url) => {
                let server = served::Server::new(url, self.key.as_deref(), &base.manifest.name);
                let measurement = measurement(Phase::Serve, false);
                let figure = server.measure(&measurement, self.clients, &|done| bar.set_position(done))?;
                Some((figure, server.precision()?))
            }
            None => None,
        };
        bar.finish_and_clear();
        let seconds = started.elapsed().as_secs_f64();
        Ok(Line { setting, inductive, transductive, self_trained, served, hits, seconds })
    }

    fn spec(&self, setting: &EpisodeRange) -> EpisodeSpec {
        EpisodeSpec { unlabelled: self.unlabelled, ..setting.spec() }
    }

    fn table(&self, kind: Kind, lines: &[Line]) {
        let measure = measure_name(kind).replace('_', " ");
        out::line(format!(
            "{:<18} {:<24} {:<24} {:<24} {:>8} {:>7}",
            "setting",
            format!("{measure}, inductive"),
            "transductive",
            if self.server.is_some() { "through the server" } else { "" },
            "episodes",
            "s"
        ));
        let shown =
            |estimate: &Option<Estimate>| estimate.map_or_else(|| "-".to_owned(), |figure| figure_text(&figure, kind));
        for line in lines {
            let served =
                if self.server.is_some() { shown(&line.served.map(|(figure, _)| figure)) } else { String::new() };
            out::line(format!(
                "{:<18} {:<24} {:<24} {:<24} {:>8} {:>7.1}",
                line.setting.name(),
                figure_text(&line.inductive, kind),
                shown(&line.transductive),
                served,
                line.inductive.episodes,
                line.seconds
            ));
            if let Some((hits, _)) = &line.hits {
                out::line(format!("  hit rate of the first ten: {}", figure_text(hits, kind)));
            }
            if let Some((with, gain)) = &line.self_trained {
                out::line(format!(
                    "  with {} unlabelled a class: {}, a gain of {}",
                    self.unlabelled,
                    figure_text(with, kind),
                    figure_text(gain, kind)
                ));
            }
        }
    }

    fn document(&self, base: &BaseModel, tasks: &dyn TaskDistribution, lines: &[Line]) -> String {
        let figure = |estimate: &Estimate| json!({"mean": estimate.mean, "ci95": estimate.ci95});
        let lines: Vec<_> = lines
            .iter()
            .map(|line| {
                json!({
                    "setting": line.setting.name(),
                    "measure": measure_name(tasks.kind()),
                    "episodes": line.inductive.episodes,
                    "inductive": figure(&line.inductive),
                    "transductive": line.transductive.as_ref().map(figure),
                    "self_trained": line.self_trained.as_ref().map(|(with, _)| figure(with)),
                    "gain": line.self_trained.as_ref().map(|(_, gain)| figure(gain)),
                    "served": line.served.as_ref().map(|(served, _)| figure(served)),
                    "hit_rate_at_10": line.hits.as_ref().map(|(hits, _)| figure(hits)),
                    "each": line.hits.as_ref().map(|(_, each)| each),
                })
            })
            .collect();
        let document = json!({
            "base_model": base.manifest.name,
            "sha256": base.sha256,
            "split": tasks.describe(self.split),
            "seed": self.seed,
            "inner_steps": self.steps.or(base.manifest.learner.inner_steps()),
            "figures": lines,
        });
        format!("{document:#}")
    }
}

/// The name of what is measured.
pub const fn measure_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Classification => "accuracy",
        Kind::Tagging => "entity_f1",
        Kind::Ranking => "ndcg_at_10",
        Kind::Regression => "mean_squared_error",
    }
}

/// `97.53 % ± 0.12`, or a plain number for regression.
pub fn figure_text(estimate: &Estimate, kind: Kind) -> String {
    match kind {
        Kind::Classification | Kind::Tagging | Kind::Ranking => {
            format!("{:.2} % ± {:.2}", 100.0 * estimate.mean, 100.0 * estimate.ci95)
        }
        Kind::Regression => format!("{:.4} ± {:.4}", estimate.mean, estimate.ci95),
    }
}
