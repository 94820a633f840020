//! `imprint train`: meta-trains a base model.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tch::Device;

use super::{CliError, eval, out};
use crate::domain::{Figure, Recipe};
use crate::meta::task::{self, Split, TaskDistribution};
use crate::meta::{Model, Phase};
use crate::trainer::{Begin, Measurement, Observer, Run, StepReport, Stop, TrainConfig, ValidationReport};

/// Meta-trains a base model and writes its bundle.
///
/// The training file names data, backbone, learner and outer loop; flags override what is often tried. A checkpoint is
/// written at each meta-validation and on an interrupt (Ctrl-C); --resume continues from it to the same bits as a run
/// that was never stopped.
#[derive(clap::Args, Debug)]
pub struct Train {
    /// The training file (TOML).
    #[arg(value_name = "FILE")]
    config: PathBuf,

    /// Folder that relative paths of the training file start from.
    #[arg(long, env = "IMPRINT_DATA", default_value = "data")]
    data: PathBuf,

    /// Folder that the bundle is written into.
    #[arg(long, env = "IMPRINT_MODELS", default_value = "models")]
    models: PathBuf,

    /// Folder of the checkpoint; .imprint/runs/NAME by default.
    #[arg(long)]
    run_dir: Option<PathBuf>,

    /// Continues from the checkpoint, if there is one.
    #[arg(long)]
    resume: bool,

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

    /// Threads of one tensor operation; 0 takes one for each core.
    #[arg(long, env = "IMPRINT_TRAIN_THREADS", default_value_t = 0)]
    threads: usize,

    /// Episodes for each figure in the manifest, measured on the test split; 0 measures none.
    #[arg(long, default_value_t = 1000)]
    test_episodes: u64,
}

impl Train {
    /// Runs to the end, or to the first interrupt; the second one ends the program at once.
    pub fn run(self) -> Result<(), CliError> {
        let mut config = TrainConfig::read(&self.config)?;
        config.seed = self.seed.unwrap_or(config.seed);
        config.outer.steps = self.steps.unwrap_or(config.outer.steps);
        config.outer.lr = self.lr.unwrap_or(config.outer.lr);
        tch::set_num_threads(super::threads(self.threads));
        let tasks = task::open(&config.task, &self.data).map_err(crate::trainer::TrainError::from)?;
        for split in [Split::Train, Split::Validation, Split::Test] {
            out::note(tasks.describe(split));
        }
        for setting in config.validation.settings.iter().filter(|_| self.test_episodes > 0) {
            tasks.check(Split::Test, &setting.spec()).map_err(crate::trainer::TrainError::from)?;
        }
        let run_dir = self.run_dir.clone().unwrap_or_else(|| config.default_run_dir());
        let steps = config.outer.steps;
        let begin = match (self.resume, self.restart) {
            (true, _) => Begin::Resume,
            (_, true) => Begin::Restart,
            _ => Begin::New,
        };
        let mut run = Run::open(config, tasks, &run_dir, begin, Device::Cpu)?;
        if run.steps() > 0 {
            out::note(format!("resumed at step {} of {steps}", run.steps()));
        }
        let mut progress = Progress::new(steps, run.steps(), interrupts()?);
        let stop = run.train(&mut progress)?;
        progress.clear();
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
        let figures = self.figures(&finished.model, &*tasks, &config)?;
        let commit = option_env!("IMPRINT_COMMIT").map(str::to_owned).or_else(commit);
        let data: BTreeMap<String, String> = tasks.checksums();
        let path = finished.write_bundle(&self.models, &config, data, commit, figures)?;
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
        let threads = usize::try_from(super::threads(self.threads)).unwrap_or(1);
        let mut figures = Vec::new();
        let phases = if model.net.backbone.norm_layers().is_empty() {
            &[Phase::Serve][..]
        } else {
            &[Phase::Serve, Phase::Transductive]
        };
        for setting in config.validation.settings.iter().filter(|_| self.test_episodes > 0) {
            for &phase in phases {
                let (split, spec, recipe) = (Split::Test, setting.spec(), Recipe::default());
                let measurement =
                    Measurement { tasks, split, spec, seed: config.seed, episodes: self.test_episodes, recipe, phase };
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

/// Set at the first interrupt. At the second the program ends.
pub(super) fn interrupts() -> Result<Arc<AtomicBool>, CliError> {
    let interrupted = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&interrupted);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().map_err(CliError::Runtime)?;
    std::thread::spawn(move || {
        while runtime.block_on(tokio::signal::ctrl_c()).is_ok() {
            if seen.swap(true, Ordering::Relaxed) {
                std::process::exit(130);
            }
        }
    });
    Ok(interrupted)
}

/// A bar on a terminal, a line now and then elsewhere.
pub(super) struct Progress {
    bar: ProgressBar,
    is_terminal: bool,
    started: Instant,
    first_step: u64,
    last_line: Instant,
    steps: u64,
    loss: f64,
    accuracy: Option<f64>,
    interrupted: Arc<AtomicBool>,
}

impl Progress {
    pub(super) fn new(steps: u64, first_step: u64, interrupted: Arc<AtomicBool>) -> Self {
        let bar = ProgressBar::with_draw_target(Some(steps), ProgressDrawTarget::stderr_with_hz(4));
        let style = ProgressStyle::with_template("{wide_bar} {pos}/{len}  {msg}  ETA {eta}");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        bar.set_position(first_step);
        bar.reset_eta();
        let is_terminal = !bar.is_hidden();
        let now = Instant::now();
        let (loss, accuracy) = (f64::NAN, None);
        Self { bar, is_terminal, started: now, first_step, last_line: now, steps, loss, accuracy, interrupted }
    }

    /// Removes the bar from the terminal.
    pub(super) fn clear(&self) {
        self.bar.finish_and_clear();
    }

    fn message(&self, report: &StepReport) -> String {
        let taken = (report.step - self.first_step) as f64;
        let rate = taken * report.episodes as f64 / self.started.elapsed().as_secs_f64();
        let accuracy =
            self.accuracy.map_or_else(String::new, |accuracy| format!("  accuracy {:.1} %", 100.0 * accuracy));
        format!("loss {:.4}{accuracy}  {rate:.1} episodes/s", self.loss)
    }
}

/// Moves an average towards a new value.
fn smoothed(average: f64, value: f64) -> f64 {
    if average.is_nan() { value } else { 0.95 * average + 0.05 * value }
}

impl Observer for Progress {
    fn stepped(&mut self, report: &StepReport) -> ControlFlow<()> {
        self.loss = smoothed(self.loss, report.loss);
        self.accuracy = report.accuracy.map(|accuracy| smoothed(self.accuracy.unwrap_or(f64::NAN), accuracy));
        self.bar.set_position(report.step);
        self.bar.set_message(self.message(report));
        if !self.is_terminal && self.last_line.elapsed() > Duration::from_secs(10) {
            self.last_line = Instant::now();
            let taken = (report.step - self.first_step) as f64;
            let left = self.started.elapsed().mul_f64((self.steps - report.step) as f64 / taken);
            out::note(format!(
                "step {}/{}  {}  ETA {} s",
                report.step,
                self.steps,
                self.message(report),
                left.as_secs()
            ));
        }
        if self.interrupted.load(Ordering::Relaxed) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    fn validated(&mut self, report: &ValidationReport) {
        let figures: Vec<String> = report
            .estimates
            .iter()
            .map(|(name, estimate)| format!("{name} {:.4} ± {:.4}", estimate.mean, estimate.ci95))
            .collect();
        let best = if report.is_best { "  (best)" } else { "" };
        self.bar.suspend(|| out::note(format!("validation at step {}: {}{best}", report.step, figures.join(", "))));
    }
}
