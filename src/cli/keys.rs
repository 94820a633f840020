//! `imprint keys`: tenants' keys.

use std::time::Duration;

use super::{CliError, out};
use crate::config::StoreConfig;
use crate::domain::{Scope, SystemClock, SystemIds};
use crate::service::keys::{self, NewKey};
use crate::store;

/// Makes keys.
#[derive(clap::Args, Debug)]
pub struct Keys {
    #[command(subcommand)]
    command: KeysCommand,
}

#[derive(clap::Subcommand, Debug)]
enum KeysCommand {
    /// Makes a key for a tenant and prints it, once. The tenant is made if it is new.
    Create {
        /// The tenant's name.
        tenant: String,
        /// What it may do: `predict` (read and ask), `adapt` (change things, too) or `admin` (make keys, too).
        #[arg(long, default_value = "admin")]
        scope: Scope,
        /// What to call it, to know it again in the list.
        #[arg(long)]
        name: Option<String>,
        /// For how many days it is valid; for ever by default.
        #[arg(long)]
        days: Option<u32>,
        #[command(flatten)]
        store: StoreConfig,
    },
}

impl Keys {
    /// Makes the key.
    pub fn run(self) -> Result<(), CliError> {
        let KeysCommand::Create { tenant, scope, name, days, store } = self.command;
        let valid_for = days.map(|days| Duration::from_hours(24 * u64::from(days)));
        super::runtime()?.block_on(async {
            let store = store::open(&store).await?;
            let made =
                keys::create(&*store, &SystemClock, &SystemIds, &tenant, NewKey { name, scope, valid_for }).await?;
            out::line(made.key.reveal());
            Ok(())
        })
    }
}
