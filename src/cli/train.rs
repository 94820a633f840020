//! `imprint train`: meta-trains a base model.

use std::collections::BTreeMap;
use std::path::PathBuf;

use tch::Device;

use super::progress::{Progress, interrupts};
use super::sources::{SourceFlags, tuning_of};
use super::tensorboard::{EventLog, Logged};
use super::{CliError, eval, out, tagging};
use crate::domain::{Figure, Recipe, SystemClock};
use crate::meta::encoder::Tuning;
use crate::meta::task::{Split, TaskConfig, TaskDistribution, TaskError};
use crate::meta::{Model, Phase, bundle};
use crate::nn::heap;
use crate::trainer::{Begin, Measurement, Run, Stop, TaggerRun, TrainConfig, TrainError};

/// Most samples for a figure of a tagger: each is a whole adaptation.
const MOST_SAMPLES: u64 = 5;

/// Meta-trains a base model and writes its bundle.
///
/// The training file names data, backbone, learner and outer loop; flags override what is often tried. A checkpoint is
/// written at each meta-validation and on an interrupt (Ctrl-C); --resume continues from it to the same bits as a run
/// that was never stopped. Curves are TensorBoard event files beside the checkpoint.
#[derive(clap::Args, Debug)]
pub struct Train {
    /// The training file (TOML).
    #[arg(value_name = "FILE")]
    config: PathBuf,

    #[command(flatten)]
    sources: SourceFlags,

    /// Folder that the bundle is written into.
    #[arg(long, env = "IMPRINT_MODELS", default_value = "models")]
    models: PathBuf,

    /// Folder of the checkpoint and the curves; .imprint/runs/NAME by default.
    #[arg(long)]
    run_dir: Option<PathBuf>,

    /// Continues from the checkpoint, if there is one.
    #[arg(long)]
    resume: bool,

    /// Goes on from the base model in this folder, when there are more tasks than it was trained on: its θ is the first one.
    /// Under another learner its backbone goes on, and the rest begins anew.
    #[arg(long = "continue", value_name = "BUNDLE")]
    continues: Option<PathBuf>,

    /// Begins anew, though there is a checkpoint.
    #[arg(long, conflicts_with = "resume")]
    restart: bool,

    /// Seed, in place of the training file's.
    #[arg(long)]
    seed: Option<u64>,

    /// Outer steps, in place of the training file's.
    #[arg(long)]
    steps: Option<u64>,

    /// Step size β at the start, in place of the training file's.
    #[arg(long)]
    lr: Option<f64>,

    /// Name of the base model, in place of the training file's.
    #[arg(long)]
    name: Option<String>,

    /// A corpus of tagged sentences that is not trained on but measured on, in place of the training file's; may be
    /// repeated.
    #[arg(long, value_name = "CORPUS")]
    hold_out: Vec<String>,

    /// Threads; 0 takes one for each core.
    #[arg(long, env = "IMPRINT_TRAIN_THREADS", default_value_t = 0)]
    threads: usize,

    /// Episodes for each figure in the manifest, measured on the test split; 0 measures none.
    #[arg(long, default_value_t = 1000)]
    test_episodes: u64,
}

impl Train {
    /// Runs to the end, or to the first interrupt; the second one ends the program at once.
    pub fn run(self) -> Result<(), CliError> {
        heap::keep();
        let mut config = TrainConfig::read(&self.config)?;
        config.seed = self.seed.unwrap_or(config.seed);
        config.outer.steps = self.steps.unwrap_or(config.outer.steps);
        config.outer.lr = self.lr.unwrap_or(config.outer.lr);
        config.name = self.name.clone().unwrap_or(config.name);
        if let TaskConfig::Sentences { hold_out, .. } = &mut config.task {
            if !self.hold_out.is_empty() {
                hold_out.clone_from(&self.hold_out);
            }
            return self.run_tagger(config);
        }
        let earlier = self.continues.as_ref().map(|folder| bundle::load_model(folder, Device::Cpu)).transpose();
        let earlier = earlier.map_err(TrainError::from)?;
        config.continues = earlier.as_ref().map(|(base, _)| base.manifest.theta_sha256.clone());
        let tuning = match (&earlier, &self.continues) {
            (Some((base, _)), Some(folder)) => tuning_of(base, folder)?,
            _ => None,
        };
        let threads = super::threads(self.threads);
        tch::set_num_threads(i32::try_from(threads).unwrap_or(1)); // of a text encoder that is tuned first
        let tasks = self.sources.open(&config.task, tuning.as_ref())?;
        for split in [Split::Train, Split::Validation, Split::Test] {
            out::note(tasks.describe(split));
        }
        for setting in config.validation.settings.iter().filter(|_| self.test_episodes > 0) {
            tasks.check(Split::Test, &setting.spec()).map_err(TrainError::from)?;
        }
        let run_dir = self.run_dir.clone().unwrap_or_else(|| config.default_run_dir());
        let steps = config.outer.steps;
        let earlier = earlier.as_ref().map(|(_, model)| model);
        let run = Run::open(config, tasks, &run_dir, self.begin(), earlier, Device::Cpu)?;
        let mut run = run.on_threads(threads);
        if run.steps() > 0 {
            out::note(format!("resumed at step {} of {steps}", run.steps()));
        }
        let events = EventLog::begin(&run_dir, run.steps(), Box::new(SystemClock))
            .map_err(|source| TrainError::File { path: run_dir.clone(), source })?;
        let mut observer = Logged { events, observer: Progress::new(steps, run.steps(), interrupts()?) };
        let stop = run.train(&mut observer)?;
        observer.observer.clear();
        let reason = match stop {
            Stop::Done => "all steps taken",
            Stop::Patience => "validation no longer improves",
            Stop::Asked => {
                let (taken, folder) = (run.steps(), run_dir.display());
                return Err(CliError::Usage(format!(
                    "interrupted after step {taken} of {steps}; the checkpoint is in {folder}, and --resume goes on from it"
                )));
            }
        };
        let (finished, tasks, config) = run.finish();
        out::note(format!("{reason}; the best θ is that of step {}", finished.best_step));
        let model = Model::with_theta(finished.architecture.clone(), finished.theta.shallow_clone(), Device::Cpu);
        let figures = self.figures(&model.map_err(TrainError::Architecture)?, &*tasks, &config)?;
        let commit = option_env!("IMPRINT_COMMIT").map(str::to_owned).or_else(commit);
        let data: BTreeMap<String, String> = tasks.checksums();
        self.write_tuning(tasks.tuning(), &config)?;
        let path = finished.write_bundle(&self.models, &config, data, commit, figures)?;
        out::line(path.display());
        Ok(())
    }

    fn begin(&self) -> Begin {
        match (self.resume, self.restart) {
            (true, _) => Begin::Resume,
            (_, true) => Begin::Restart,
            _ => Begin::New,
        }
    }

    fn write_tuning(&self, tuning: Option<&Tuning>, config: &TrainConfig) -> Result<(), CliError> {
        let written = tuning.map_or(Ok(()), |tuning| tuning.write(&self.models.join(&config.name)));
        Ok(written.map_err(TaskError::from).map_err(TrainError::from)?)
    }

    /// The same for a tagger.
    fn run_tagger(&self, config: TrainConfig) -> Result<(), CliError> {
        let (encoder, max_chars, corpora) = tagging::sentences(&config.task)?;
        if self.continues.is_some() {
            return Err(CliError::Usage("--continue does not go on with a tagger".to_owned()));
        }
        tagging::take_threads(self.threads);
        let corpora = match config.task.upper() {
            None => self.sources.open_corpora(encoder, max_chars, corpora, None)?,
            Some(_) => self.sources.open_unread(encoder, max_chars, corpora)?,
        };
        let checksums = corpora.checksums.clone();
        let run_dir = self.run_dir.clone().unwrap_or_else(|| config.default_run_dir());
        let steps = config.outer.steps;
        let mut run = TaggerRun::open(config, corpora, &run_dir, self.begin())?;
        let events = EventLog::begin(&run_dir, run.steps(), Box::new(SystemClock))
            .map_err(|source| TrainError::File { path: run_dir.clone(), source })?;
        let mut observer = Logged { events, observer: Progress::new(steps, run.steps(), interrupts()?) };
        let stop = run.train(&mut observer)?;
        observer.observer.clear();
        if stop == Stop::Asked {
            let (taken, folder) = (run.steps(), run_dir.display());
            return Err(CliError::Usage(format!(
                "interrupted after step {taken} of {steps}; the checkpoint is in {folder}, and --resume goes on from it"
            )));
        }
        let (ended, tuning, config) = run.finish()?;
        out::note(format!("the best θ is that of step {}", ended.best_step));
        let samples = self.test_episodes.min(MOST_SAMPLES);
        let held_out = tagging::open_held_out(&self.sources, &config.task, tuning.as_ref())?;
        let figures = tagging::figures(&tagging::tagger(&ended)?, &held_out, &config, samples)?;
        let commit = option_env!("IMPRINT_COMMIT").map(str::to_owned).or_else(commit);
        self.write_tuning(tuning.as_ref(), &config)?;
        let path = ended.write_bundle(&self.models, &config, checksums, commit, figures)?;
        out::line(path.display());
        Ok(())
    }

    /// Each validation setting measured on the test split.
    fn figures(
        &self,
        model: &Model,
        tasks: &dyn TaskDistribution,
        config: &TrainConfig,
    ) -> Result<Vec<Figure>, CliError> {
        let threads = super::threads(self.threads);
        let mut figures = Vec::new();
        let phases = if model.net.backbone.norm_layers().is_empty() {
            &[Phase::Serve][..]
        } else {
            &[Phase::Serve, Phase::Transductive]
        };
        for setting in config.validation.settings.iter().filter(|_| self.test_episodes > 0) {
            for &phase in phases {
                let (split, spec, recipe) = (Split::Test, setting.spec(), Recipe::default());
                let measurement = Measurement {
                    tasks,
                    split,
                    spec,
                    seed: config.seed,
                    episodes: self.test_episodes,
                    recipe,
                    phase,
                    self_training: false,
                };
                let estimate = measurement.run(model, threads, &|_| {})?;
                let kind = if phase == Phase::Serve { "inductive" } else { "transductive" };
                out::note(format!("test {}, {kind}: {}", setting.name(), eval::figure_text(&estimate, tasks.kind())));
                figures.push(Figure {
                    name: setting.name(),
                    measure: eval::measure_name(tasks.kind()).to_owned(),
                    mean: estimate.mean,
                    ci95: estimate.ci95,
                    episodes: estimate.episodes,
                    transductive: phase == Phase::Transductive,
                    split: tasks.describe(Split::Test),
                });
            }
        }
        Ok(figures)
    }
}

/// The commit of the source tree that the program runs in, if it is one.
fn commit() -> Option<String> {
    let output = std::process::Command::new("git").args(["rev-parse", "HEAD"]).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
