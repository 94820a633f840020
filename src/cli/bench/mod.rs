//! `imprint bench`: how much a server does at once, and how fairly.

mod drawings;
mod load;
mod report;
mod server;

use std::path::PathBuf;
use std::time::Duration;

use clap::ValueEnum;

use self::load::{Client, Plan};
use self::report::Report;
use self::server::Target;
use super::{CliError, out, plot};
use crate::config::EngineConfig;

/// Measures a server: requests a second, latencies, batches reached, and what a flood does to the others.
///
/// Without --url it starts a server in this process, on a free port, with a database of its own and a key for each tenant.
/// Inputs are drawings as PNG in base64, as a caller would send them, or vectors, by what the base model takes.
#[derive(clap::Args, Debug)]
pub struct Bench {
    /// A server that is running, in place of one in this process.
    #[arg(long)]
    url: Option<String>,

    /// Keys of a running server, one for each tenant.
    #[arg(long, env = "IMPRINT_KEYS", hide_env_values = true, value_delimiter = ',', requires = "url")]
    keys: Vec<String>,

    /// What is asked.
    #[arg(long, value_enum, default_value_t = Work::AdaptPredict)]
    work: Work,

    /// The base model.
    #[arg(long, default_value = "omniglot")]
    base_model: String,

    /// Clients, each of which sends its next request when it has the answer to the last one.
    #[arg(long, default_value_t = 64)]
    clients: usize,

    /// Tenants that the clients belong to, by turns. Several numbers are measured one after another.
    #[arg(long, value_delimiter = ',', default_values_t = [64])]
    tenants: Vec<usize>,

    /// Adapted tasks of all tenants that predictions are asked of.
    #[arg(long, default_value_t = 64)]
    tasks: usize,

    /// Exponent of Zipf's law by which tasks are asked; 0 asks all alike.
    #[arg(long, default_value_t = 0.0)]
    zipf: f64,

    /// Clients of one more tenant, whose requests are not counted.
    #[arg(long, default_value_t = 0)]
    flood: usize,

    /// Classes of a support set.
    #[arg(long, default_value_t = 5)]
    way: usize,

    /// Examples of a class.
    #[arg(long, default_value_t = 5)]
    shot: usize,

    /// Inputs of a query.
    #[arg(long, default_value_t = 5)]
    query: usize,

    /// Seconds that are measured.
    #[arg(long, default_value_t = 10.0)]
    seconds: f64,

    /// Seconds before, which are not.
    #[arg(long, default_value_t = 2.0)]
    warm_up: f64,

    /// One JSON object a line in place of the table.
    #[arg(long)]
    json: bool,

    /// Requests a second and latencies against the number of tenants, as a PNG.
    #[arg(long)]
    plot: Option<PathBuf>,

    #[command(flatten)]
    engine: EngineConfig,
}

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Work {
    /// A support set and a query in one request.
    AdaptPredict,
    /// A query to a task that has been adapted.
    Predict,
}

impl Bench {
    /// Measures and reports.
    pub fn run(self) -> Result<(), CliError> {
        if self.clients == 0 || self.tenants.contains(&0) || self.tasks == 0 || self.seconds <= 0.0 {
            return Err(CliError::Usage("--clients, --tenants, --tasks and --seconds are at least one".to_owned()));
        }
        let most = self.tenants.iter().copied().max().unwrap_or(1);
        let target = match &self.url {
            Some(url) => Target::running(url, &self.keys),
            None => Target::start(&self.engine, most + 1)?,
        };
        let input = target.input(&self.base_model)?;
        let mut reports = Vec::new();
        for &tenants in &self.tenants {
            let plan = self.plan(&target, &input, tenants)?;
            let before = target.batches();
            let outcomes =
                load::run(&plan, Duration::from_secs_f64(self.warm_up), Duration::from_secs_f64(self.seconds));
            let report = Report::new(tenants, self.seconds, outcomes, target.batches().since(before));
            if self.json {
                out::line(serde_json::to_string(&report).map_err(|error| CliError::Usage(error.to_string()))?);
            }
            reports.push(report);
        }
        if !self.json {
            report::print(&reports);
        }
        if let Some(path) = &self.plot {
            plot::throughput(&reports.iter().map(Report::point).collect::<Vec<_>>(), path)?;
        }
        target.stop()
    }

    /// What each client sends.
    fn plan(&self, target: &Target, input: &crate::domain::InputSchema, tenants: usize) -> Result<Plan, CliError> {
        let episode = |seed: usize| drawings::episode(input, seed as u64, [self.way, self.shot, self.query]);
        let mut clients = Vec::new();
        match self.work {
            Work::AdaptPredict => {
                for client in 0..self.clients + self.flood {
                    let tenant = if client < self.clients { client % tenants } else { tenants };
                    let requests = vec![("/v1/adapt-predict".to_owned(), episode(client).in_one(&self.base_model))];
                    clients.push(Client {
                        key: target.key(tenant),
                        requests,
                        zipf: 0.0,
                        is_counted: client < self.clients,
                    });
                }
            }
            Work::Predict => {
                let flooding = usize::from(self.flood > 0);
                let tasks = (0..self.tasks + flooding)
                    .map(|task| {
                        let key = target.key(if task < self.tasks { task % tenants } else { tenants });
                        let place = target.adapted(key.as_deref(), &episode(task).as_task(&self.base_model))?;
                        Ok((key, (format!("{place}/predict"), episode(task).query_only())))
                    })
                    .collect::<Result<Vec<_>, CliError>>()?;
                for client in 0..self.clients + self.flood {
                    let owner = if client < self.clients { client % tenants.min(self.tasks) } else { tenants };
                    let key = target.key(owner);
                    let own =
                        tasks.iter().filter(|(owner, _)| *owner == key).map(|(_, request)| request.clone()).collect();
                    let is_counted = client < self.clients;
                    clients.push(Client { key, requests: own, zipf: self.zipf, is_counted });
                }
            }
        }
        Ok(Plan { url: target.url().to_owned(), clients })
    }
}
