//! `imprint bench`: how much a server does at once, and how fairly.

mod drawings;
mod load;
mod report;
mod server;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::ValueEnum;

use self::drawings::Drawn;
use self::load::{Client, Plan, Request, Requests};
use self::report::Report;
use self::server::Target;
use super::{CliError, out, plot};
use crate::config::EngineConfig;
use crate::domain::InputSchema;

/// Episodes from which tasks are made, by turns.
const EPISODES: usize = 64;

/// Tasks that are made at the same time.
const AT_ONCE: usize = 16;

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

    /// Adapted tasks of all tenants that predictions are asked of; one for each tenant by default.
    #[arg(long)]
    tasks: Option<usize>,

    /// Exponent of Zipf's law by which tasks are asked; 0 asks all alike.
    #[arg(long, default_value_t = 0.0)]
    zipf: f64,

    /// Requests a second that all clients together send, whatever comes back, as far as there are clients to send them; by
    /// default each sends when it has its answer.
    #[arg(long)]
    rate: Option<f64>,

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
        if self.clients == 0
            || self.tenants.contains(&0)
            || self.tasks == Some(0)
            || self.seconds <= 0.0
            || self.rate.is_some_and(|rate| rate <= 0.0)
        {
            return Err(CliError::Usage(
                "--clients, --tenants, --tasks, --seconds and --rate are more than nothing".to_owned(),
            ));
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
    fn plan(&self, target: &Target, input: &InputSchema, tenants: usize) -> Result<Plan, CliError> {
        let clients = match self.work {
            Work::AdaptPredict => self.adapting(target, input, tenants),
            Work::Predict => self.predicting(target, input, tenants)?,
        };
        Ok(Plan { url: target.url().to_owned(), clients, rate: self.rate })
    }

    /// Each client asks for its own episode, as a tenant by turns.
    fn adapting(&self, target: &Target, input: &InputSchema, tenants: usize) -> Vec<Client> {
        let client = |number: usize| {
            let is_counted = number < self.clients;
            let body = self.episode(input, number).in_one(&self.base_model).into();
            let key = target.key(if is_counted { number % tenants } else { tenants });
            let one = Request { key, path: "/v1/adapt-predict".to_owned(), body };
            Client { requests: Arc::new(Requests::new(vec![one], 0.0)), is_counted }
        };
        (0..self.clients + self.flood).map(client).collect()
    }

    /// Every client asks of all tasks, which tenants own by turns; those who flood ask of one task more, of one tenant
    /// more.
    fn predicting(&self, target: &Target, input: &InputSchema, tenants: usize) -> Result<Vec<Client>, CliError> {
        let episodes: Vec<Drawn> = (0..EPISODES).map(|seed| self.episode(input, seed)).collect();
        let queries: Vec<Arc<str>> = episodes.iter().map(|episode| episode.query_only().into()).collect();
        let asked = |task: usize, tenant: usize| {
            let key = target.key(tenant);
            let place = target.adapted(key.as_deref(), &episodes[task % EPISODES].as_task(&self.base_model))?;
            Ok(Request { key, path: format!("{place}/predict"), body: Arc::clone(&queries[task % EPISODES]) })
        };
        let tasks = self.tasks.unwrap_or(tenants);
        let all = in_parallel(tasks, |task| asked(task, task % tenants))?;
        let counted = Client { requests: Arc::new(Requests::new(all, self.zipf)), is_counted: true };
        let mut clients = vec![counted; self.clients];
        if self.flood > 0 {
            let requests = Arc::new(Requests::new(vec![asked(tasks, tenants)?], 0.0));
            clients.extend(vec![Client { requests, is_counted: false }; self.flood]);
        }
        Ok(clients)
    }

    fn episode(&self, input: &InputSchema, seed: usize) -> Drawn {
        drawings::episode(input, seed as u64, [self.way, self.shot, self.query])
    }
}

/// `0..count` made by some threads at once, in order.
fn in_parallel<T: Send>(count: usize, make: impl Fn(usize) -> Result<T, CliError> + Sync) -> Result<Vec<T>, CliError> {
    let each = count.div_ceil(AT_ONCE).max(1);
    std::thread::scope(|scope| {
        let make = &make;
        let running: Vec<_> = (0..count)
            .step_by(each)
            .map(|from| scope.spawn(move || (from..(from + each).min(count)).map(make).collect::<Result<Vec<_>, _>>()))
            .collect();
        let mut all = Vec::with_capacity(count);
        for thread in running {
            all.extend(thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?);
        }
        Ok(all)
    })
}
