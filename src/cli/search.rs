//! `imprint search`: tries training files, and gives the good ones more steps.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use serde::{Deserialize, Serialize};
use tch::Device;

use super::progress::{Progress, interrupts};
use super::sources::SourceFlags;
use super::{CliError, out, plot};
use crate::domain::Kind;
use crate::nn::heap;
use crate::trainer::search::{self, Draw, Space};
use crate::trainer::{Begin, Run, Stop, TrainConfig, TrainError};

/// Searches settings of a training file.
///
/// Trials are drawn at random from a space and ranked by meta-validation. With more than one rung the best part of them is
/// trained again with as many times the outer steps, and so on (successive halving). An interrupt loses nothing: the same
/// command goes on where it was.
#[derive(clap::Args, Debug)]
pub struct Search {
    /// The training file (TOML).
    #[arg(value_name = "FILE")]
    config: PathBuf,

    /// The space (TOML): `"outer.lr" = { log = [1e-4, 1e-2] }`, `{ uniform = [1, 5] }` or `{ of = [...] }`, by setting.
    #[arg(value_name = "SPACE")]
    space: PathBuf,

    /// Trials of the first rung.
    #[arg(long, default_value_t = 9)]
    trials: usize,

    /// Outer steps of the first rung.
    #[arg(long)]
    steps: u64,

    /// Rungs.
    #[arg(long, default_value_t = 2)]
    rungs: u32,

    /// One trial in so many goes on to the next rung, with as many times the steps.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(2..))]
    eta: u64,

    /// Which draws.
    #[arg(long, default_value_t = 1)]
    seed: u64,

    #[command(flatten)]
    sources: SourceFlags,

    /// Folder of results and checkpoints; .imprint/searches/NAME by default.
    #[arg(long)]
    run_dir: Option<PathBuf>,

    /// Threads of one tensor operation; 0 takes one for each core.
    #[arg(long, env = "IMPRINT_TRAIN_THREADS", default_value_t = 0)]
    threads: usize,

    /// Draws every trial's score against each setting, as a PNG.
    #[arg(long, value_name = "FILE")]
    plot: Option<PathBuf>,
}

/// A trial that has ended: a line of `results.jsonl`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Ended {
    /// Its rung, from 0.
    pub rung: usize,
    /// Its number, from 0.
    pub trial: u64,
    /// Outer steps of its rung.
    pub steps: u64,
    /// Its values.
    pub values: Draw,
    /// Best validation score: accuracy, or mean squared error with its sign turned. None if it diverged.
    pub score: Option<f64>,
}

/// What must not change between an interrupted search and its continuation.
#[derive(PartialEq, Serialize, Deserialize)]
struct Plan {
    config: TrainConfig,
    space: Space,
    seed: u64,
    trials: usize,
    steps: u64,
    eta: u64,
}

impl Search {
    /// Runs the trials that are left, and reports.
    pub fn run(self) -> Result<(), CliError> {
        heap::keep();
        let config = TrainConfig::read(&self.config)?;
        let space = self.space()?;
        let default_dir = Path::new(".imprint/searches").join(&config.name);
        let folder = self.run_dir.clone().unwrap_or(default_dir);
        let (seed, trials, steps, eta) = (self.seed, self.trials, self.steps, self.eta);
        let plan = Plan { config, space, seed, trials, steps, eta };
        // Before anything is computed: all of them can be built.
        for trial in 0..trials as u64 {
            plan.trial(trial, steps)?;
        }
        let mut ended = plan.resume(&folder)?;
        let interrupted = interrupts()?;
        let mut going: Vec<u64> = (0..trials as u64).collect();
        for (rung, planned) in search::rungs(trials, steps, self.rungs, eta).into_iter().enumerate() {
            going.truncate(planned.trials);
            for &trial in &going {
                if ended.iter().any(|ended| (ended.rung, ended.trial) == (rung, trial)) {
                    continue;
                }
                out::note(format!("rung {rung}, trial {trial}: {}", written(&plan.space.draw(seed, trial))));
                let score = self.score(&plan, trial, rung, planned.steps, &folder, &interrupted)?;
                let values = plan.space.draw(seed, trial);
                let result = Ended { rung, trial, steps: planned.steps, values, score };
                append(&folder.join("results.jsonl"), &result)?;
                ended.push(result);
            }
            let of_rung = ended.iter().filter(|ended| ended.rung == rung && going.contains(&ended.trial));
            let scores: Vec<_> = of_rung.map(|ended| (ended.trial, ended.score)).collect();
            going = search::ranked(&scores);
        }
        self.report(&plan, ended, &folder)
    }

    fn space(&self) -> Result<Space, CliError> {
        let failed = |reason: String| CliError::Usage(format!("{}: {reason}", self.space.display()));
        let text = fs::read_to_string(&self.space).map_err(|error| failed(error.to_string()))?;
        let space: Space = toml::from_str(&text).map_err(|error| failed(error.to_string()))?;
        space.check().map_err(failed)?;
        Ok(space)
    }

    /// Trains a trial; its best validation score.
    fn score(
        &self,
        plan: &Plan,
        trial: u64,
        rung: usize,
        steps: u64,
        folder: &Path,
        interrupted: &Arc<AtomicBool>,
    ) -> Result<Option<f64>, CliError> {
        let config = plan.trial(trial, steps)?;
        let tasks = self.sources.open(&config.task, None)?;
        let run_dir = folder.join(format!("rung-{rung}-trial-{trial}"));
        let run = Run::open(config, tasks, &run_dir, Begin::Resume, None, Device::Cpu)?;
        let mut run = run.on_threads(super::threads(self.threads));
        let mut progress = Progress::new(steps, run.steps(), Arc::clone(interrupted));
        let stop = run.train(&mut progress);
        progress.clear();
        match stop {
            Ok(Stop::Done | Stop::Patience) => Ok(run.best_score()),
            Ok(Stop::Asked) => Err(CliError::Usage(format!(
                "interrupted in rung {rung}, trial {trial}; the same command goes on from there ({})",
                folder.display()
            ))),
            Err(TrainError::NonFinite { step }) => {
                out::note(format!("diverged at outer step {step}"));
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// The table, best first; the best trial's training file; the plot.
    fn report(&self, plan: &Plan, mut ended: Vec<Ended>, folder: &Path) -> Result<(), CliError> {
        // A later rung's score is of more steps: it ranks above all of an earlier one.
        let worth = |ended: &Ended| (ended.rung, ended.score.unwrap_or(f64::NEG_INFINITY));
        ended.sort_by(|one, other| {
            let (one, other) = (worth(one), worth(other));
            other.0.cmp(&one.0).then(other.1.total_cmp(&one.1))
        });
        let kind = self.sources.open(&plan.config.task, None)?.kind();
        out::line(format!("{:>4} {:>5} {:>8} {:>12}  values", "rung", "trial", "steps", score_name(kind)));
        for Ended { rung, trial, steps, values, score } in &ended {
            let score = score.map_or_else(|| "diverged".to_owned(), |score| format!("{:.5}", shown(score, kind)));
            out::line(format!("{rung:>4} {trial:>5} {steps:>8} {score:>12}  {}", written(values)));
        }
        if let Some(best) = ended.first().filter(|best| best.score.is_some()) {
            let path = folder.join("best.toml");
            let text = toml::to_string(&plan.trial(best.trial, plan.config.outer.steps)?)
                .map_err(|error| CliError::Usage(error.to_string()))?;
            fs::write(&path, text).map_err(|source| TrainError::File { path: path.clone(), source })?;
            out::note(format!("the best trial as a training file, with all its steps: {}", path.display()));
        }
        if let Some(path) = &self.plot {
            let paths: Vec<&str> = plan.space.paths().collect();
            plot::scores(&ended, &paths, score_name(kind), &|score| shown(score, kind), path)?;
            out::note(format!("scores by setting are drawn in {}", path.display()));
        }
        Ok(())
    }
}

impl Plan {
    /// The training file of a trial.
    fn trial(&self, trial: u64, steps: u64) -> Result<TrainConfig, CliError> {
        let drawn = self.space.draw(self.seed, trial);
        let mut config = search::with_values(&self.config, &drawn).map_err(CliError::Usage)?;
        config.outer.steps = steps;
        Ok(config)
    }

    /// What has ended already, if this very search was begun in `folder`.
    fn resume(&self, folder: &Path) -> Result<Vec<Ended>, CliError> {
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| CliError::from(TrainError::File { path, source })
        };
        fs::create_dir_all(folder).map_err(failed(folder))?;
        let (plan, results) = (folder.join("plan.json"), folder.join("results.jsonl"));
        let unreadable = |path: &Path| CliError::Usage(format!("{}: not written by this program", path.display()));
        if !plan.exists() {
            let text = serde_json::to_string_pretty(self).map_err(|error| CliError::Usage(error.to_string()))?;
            fs::write(&plan, text).map_err(failed(&plan))?;
        }
        let text = fs::read_to_string(&plan).map_err(failed(&plan))?;
        let begun: Self = serde_json::from_str(&text).map_err(|_| unreadable(&plan))?;
        if begun != *self {
            return Err(CliError::Usage(format!(
                "{}: another search was begun here; remove it, or name another folder with --run-dir",
                folder.display()
            )));
        }
        if !results.exists() {
            return Ok(Vec::new());
        }
        let text = fs::read_to_string(&results).map_err(failed(&results))?;
        // A line that was cut off by a kill is a trial that is run again.
        Ok(text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect())
    }
}

fn append(path: &Path, ended: &Ended) -> Result<(), CliError> {
    let failed = |source| CliError::from(TrainError::File { path: path.to_owned(), source });
    let mut file: File = OpenOptions::new().create(true).append(true).open(path).map_err(failed)?;
    let line = serde_json::to_string(ended).map_err(|error| CliError::Usage(error.to_string()))?;
    // The line break comes first: it ends a line that a kill cut off.
    write!(file, "\n{line}").and_then(|()| file.sync_all()).map_err(failed)
}

fn written(values: &Draw) -> String {
    values.iter().map(|(path, value)| format!("{path} = {value}")).collect::<Vec<_>>().join(", ")
}

fn score_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Classification => "accuracy",
        Kind::Tagging => "F1",
        Kind::Ranking => "NDCG@10",
        Kind::Regression => "MSE",
    }
}

fn shown(score: f64, kind: Kind) -> f64 {
    match kind {
        Kind::Classification | Kind::Tagging | Kind::Ranking => score,
        Kind::Regression => -score,
    }
}
