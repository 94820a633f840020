//! `imprint keys`: tenants' keys.

use super::{CliError, out};
use crate::config::StoreConfig;
use crate::domain::{SystemClock, SystemIds};
use crate::service::keys;
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
        #[command(flatten)]
        store: StoreConfig,
    },
}

impl Keys {
    /// Makes the key.
    pub fn run(self) -> Result<(), CliError> {
        let KeysCommand::Create { tenant, store } = self.command;
        super::runtime()?.block_on(async {
            let store = store::open(&store).await?;
            let made = keys::create(&*store, &SystemClock, &SystemIds, &tenant).await?;
            out::line(made.key.reveal());
            Ok(())
        })
    }
}
