//! `imprint jobs`: adaptations that failed, for operators.

use super::{CliError, out};
use crate::config::StoreConfig;
use crate::domain::AdaptationId;
use crate::store::{self, Hint};

/// Lists adaptations that failed, of all tenants, and puts them back into the queue.
#[derive(clap::Args, Debug)]
pub struct Jobs {
    #[command(subcommand)]
    command: JobsCommand,
}

#[derive(clap::Subcommand, Debug)]
enum JobsCommand {
    /// Prints the adaptations that failed last, one a line: when, id, tenant, attempts, code, reason.
    Failed {
        /// Most of them.
        #[arg(long, default_value_t = 50)]
        limit: usize,
        #[command(flatten)]
        store: StoreConfig,
    },
    /// Puts failed adaptations back into the queue, each with three fresh attempts.
    Requeue {
        /// Their ids.
        #[arg(required = true)]
        ids: Vec<AdaptationId>,
        #[command(flatten)]
        store: StoreConfig,
    },
}

impl Jobs {
    /// Lists, or puts back.
    pub fn run(self) -> Result<(), CliError> {
        super::runtime()?.block_on(async {
            match self.command {
                JobsCommand::Failed { limit, store } => failed(limit, &store).await,
                JobsCommand::Requeue { ids, store } => requeue(&ids, &store).await,
            }
        })
    }
}

async fn failed(limit: usize, config: &StoreConfig) -> Result<(), CliError> {
    for (tenant, job) in store::open(config).await?.list_failed(limit).await? {
        let when = job.finished_at.map(|moment| moment.to_string()).unwrap_or_default();
        let (code, reason) = job.failure.map(|failure| (failure.code, failure.detail)).unwrap_or_default();
        out::line(format!("{when}  {}  {tenant}  {}  {code}  {reason}", job.id, job.attempt));
    }
    Ok(())
}

async fn requeue(ids: &[AdaptationId], config: &StoreConfig) -> Result<(), CliError> {
    let store = store::open(config).await?;
    for id in ids {
        let back = store.requeue_adaptation(*id).await?;
        let (tenant, _) = back.ok_or_else(|| CliError::Usage(format!("{id} is no adaptation that has failed")))?;
        out::line(format!("{id} of {tenant} waits again"));
    }
    store.hint(Hint::Look).await?;
    Ok(())
}
