//! `imprint data`: the files that base models are trained on.

use std::path::PathBuf;

use safetensors::tensor::{Dtype, TensorView};
use serde_json::json;

use super::eval::split;
use super::sources::{SourceFlags, read_task};
use super::{CliError, out};
use crate::domain::{InputSchema, Rows, Targets};
use crate::meta::eval;
use crate::meta::task::inventory::{Finding, KNOWN, Known, KnownFile};
use crate::meta::task::{Split, TaskDistribution};
use crate::trainer::{EpisodeRange, TrainError};

/// Looks after data sets.
#[derive(clap::Args, Debug)]
pub struct Data {
    #[command(subcommand)]
    command: DataCommand,
}

#[derive(clap::Subcommand, Debug)]
enum DataCommand {
    Check(Check),
    Draw(Draw),
}

/// Reads every known data set in a folder and says what is whole, what is wrong with what is not, and where to get what is
/// missing. Nothing is downloaded.
///
/// Exits with an error if a file is there and no good.
#[derive(clap::Args, Debug)]
struct Check {
    /// Folder of data.
    #[arg(long, env = "IMPRINT_DATA", default_value = "data")]
    data: PathBuf,

    /// Prints one JSON document.
    #[arg(long)]
    json: bool,
}

/// Writes episodes as a safetensors file, for other programs to train or to measure on: those that `imprint eval` measures
/// with the same seed.
///
/// `support` [E, S, …] and `query` [E, Q, …], images as bytes and vectors as floats, with `support_targets` [E, S] and
/// `query_targets` [E, Q]: numbers of classes, values, or signals without
/// their weights.
#[derive(clap::Args, Debug)]
struct Draw {
    /// The task distribution: a training file, or a TOML file of what is under its `[task]`.
    #[arg(value_name = "FILE")]
    task: PathBuf,

    /// The file to write.
    #[arg(value_name = "OUT")]
    path: PathBuf,

    #[command(flatten)]
    sources: SourceFlags,

    /// `train`, `validation` or `test`.
    #[arg(long, default_value = "test", value_parser = split)]
    split: Split,

    /// Classes of an episode.
    #[arg(long, default_value_t = 1)]
    way: usize,

    /// Support rows of a class.
    #[arg(long)]
    shot: usize,

    /// Query rows of a class.
    #[arg(long, default_value_t = 5)]
    query: usize,

    /// How many episodes.
    #[arg(long)]
    episodes: u64,

    /// Which stream of episodes.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

impl Data {
    /// Checks or draws.
    pub fn run(self) -> Result<(), CliError> {
        match self.command {
            DataCommand::Check(check) => check.run(),
            DataCommand::Draw(draw) => draw.run(),
        }
    }
}

impl Check {
    fn run(&self) -> Result<(), CliError> {
        let files = KNOWN.iter().flat_map(|set| set.files.iter().map(move |file| (set, file)));
        let found: Vec<_> = files.map(|(set, file)| (set, file, file.check(&self.data))).collect();
        if self.json {
            let rows: Vec<_> = found.iter().map(|(set, file, finding)| row(set, file, finding)).collect();
            out::line(format!("{:#}", json!({ "data": self.data, "files": rows })));
        } else {
            let mut last = "";
            for (set, file, finding) in &found {
                if set.name != last {
                    out::line(format!("{}, from {}", set.name, set.home));
                }
                last = set.name;
                out::line(format!("  {:<48} {}", file.path, told(file, finding)));
            }
        }
        let broken = found.iter().filter(|(_, _, finding)| matches!(finding, Finding::Broken(_))).count();
        if broken > 0 {
            let folder = self.data.display();
            return Err(CliError::Usage(format!("{broken} files in {folder} are no good: get them anew")));
        }
        Ok(())
    }
}

fn told(file: &KnownFile, finding: &Finding) -> String {
    match finding {
        Finding::Absent => "not there".to_owned(),
        Finding::Broken(reason) => format!("NO GOOD: {reason}"),
        Finding::Whole { what, sha256 } => {
            let origin = match file.sha256 {
                Some(published) if published == sha256 => ", the published file",
                Some(_) => ", packed otherwise than the published file",
                None => "",
            };
            format!("{what}{origin}")
        }
    }
}

fn row(set: &Known, file: &KnownFile, finding: &Finding) -> serde_json::Value {
    let (state, detail, sha256) = match finding {
        Finding::Absent => ("absent", None, None),
        Finding::Broken(reason) => ("broken", Some(reason), None),
        Finding::Whole { what, sha256 } => ("whole", Some(what), Some(sha256)),
    };
    json!({
        "set": set.name,
        "home": set.home,
        "file": file.path,
        "state": state,
        "detail": detail,
        "sha256": sha256,
        "published_sha256": file.sha256,
    })
}

/// A tensor on its way into a file.
struct Column {
    name: &'static str,
    dtype: Dtype,
    shape: Vec<usize>,
    bytes: Vec<u8>,
}

impl Draw {
    fn run(&self) -> Result<(), CliError> {
        let tasks = self.sources.open(&read_task(&self.task)?, None)?;
        let ways = [self.way, self.way];
        let range = EpisodeRange { way: ways, shot: [self.shot, self.shot], query: self.query };
        range.check().map_err(CliError::Usage)?;
        tasks.check(self.split, &range.spec()).map_err(TrainError::from)?;
        let columns = self.columns(&*tasks, &range);
        let views = columns
            .iter()
            .map(|column| Ok((column.name, TensorView::new(column.dtype, column.shape.clone(), &column.bytes)?)));
        let written = views.collect::<Result<Vec<_>, _>>().and_then(|views| safetensors::serialize(views, None));
        let bytes = written.map_err(|error| CliError::Usage(error.to_string()))?;
        std::fs::write(&self.path, bytes)
            .map_err(|error| CliError::Usage(format!("{}: {error}", self.path.display())))?;
        out::note(format!("{} episodes: {}", self.episodes, tasks.describe(self.split)));
        out::line(self.path.display());
        Ok(())
    }

    fn columns(&self, tasks: &dyn TaskDistribution, range: &EpisodeRange) -> Vec<Column> {
        let input = tasks.input();
        let count = usize::try_from(self.episodes).unwrap_or(usize::MAX);
        let is_image = matches!(input, InputSchema::Image { .. });
        let mut columns: Vec<Column> = Vec::new();
        let mut add = |name: &'static str, dtype: Dtype, shape: &[usize], bytes: Vec<u8>| match columns
            .iter_mut()
            .find(|column| column.name == name)
        {
            Some(column) => column.bytes.extend(bytes),
            None => columns.push(Column { name, dtype, shape: [&[count][..], shape].concat(), bytes }),
        };
        for index in 0..self.episodes {
            let episode = eval::episode(tasks, self.split, &range.spec(), self.seed, index);
            let parts = [
                ("support", "support_targets", &episode.support, &episode.support_targets),
                ("query", "query_targets", &episode.query, &episode.query_targets),
            ];
            for (name, targets_name, rows, targets) in parts {
                let shape = [&[rows.len()][..], &input.row_shape()].concat();
                let dtype = if is_image { Dtype::U8 } else { Dtype::F32 };
                add(name, dtype, &shape, values(rows, is_image));
                match targets {
                    Targets::Classes { labels, .. } => {
                        let bytes = labels.iter().flat_map(|label| label.to_le_bytes()).collect();
                        add(targets_name, Dtype::U32, &[labels.len()], bytes);
                    }
                    Targets::Values(values) | Targets::Signals { values, .. } => {
                        let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
                        add(targets_name, Dtype::F32, &[values.len()], bytes);
                    }
                }
            }
        }
        columns
    }
}

/// Shares of 255 as bytes, other numbers as they are.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of 255, rounded")]
fn values(rows: &Rows, is_image: bool) -> Vec<u8> {
    let all = rows.iter().flatten();
    if is_image {
        all.map(|value| (value * 255.0).round() as u8).collect()
    } else {
        all.flat_map(|value| value.to_le_bytes()).collect()
    }
}
