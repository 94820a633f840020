//! `imprint keys`: tenants' keys.

use std::time::Duration;

use super::{CliError, out};
use crate::config::StoreConfig;
use crate::domain::{KeyId, KeyRecord, Scope, SystemClock, SystemIds};
use crate::service::keys::{self, NewKey};
use crate::store;

/// Makes, lists and ends keys.
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
    /// Lists a tenant's keys, newest first: id, scope, when it was made, when it ends, name.
    List {
        /// The tenant's name.
        tenant: String,
        #[command(flatten)]
        store: StoreConfig,
    },
    /// Ends a key at once; a server that does not hear of it takes it for half a minute more.
    Revoke {
        /// Its id, `key_…`: what `list` says, not the key itself.
        id: KeyId,
        #[command(flatten)]
        store: StoreConfig,
    },
}

impl Keys {
    /// Does it.
    pub fn run(self) -> Result<(), CliError> {
        super::runtime()?.block_on(async {
            match self.command {
                KeysCommand::Create { tenant, scope, name, days, store } => {
                    let store = store::open(&store).await?;
                    let valid_for = days.map(|days| Duration::from_hours(24 * u64::from(days)));
                    let new = NewKey { name, scope, valid_for };
                    let made = keys::create(&*store, &SystemClock, &SystemIds, &tenant, new).await?;
                    out::line(made.key.reveal());
                }
                KeysCommand::List { tenant, store } => {
                    let store = store::open(&store).await?;
                    let found = keys::list(&*store, &tenant).await?;
                    if !found.is_empty() {
                        out::note(format!("{:<30}  {:<7}  {:<24}  {:<24}  name", "id", "scope", "made", "ends"));
                    }
                    for key in &found {
                        out::line(shown(key));
                    }
                }
                KeysCommand::Revoke { id, store } => keys::revoke(&*store::open(&store).await?, id).await?,
            }
            Ok(())
        })
    }
}

fn shown(KeyRecord { id, scope, created_at, expires_at, name, .. }: &KeyRecord) -> String {
    let ends = expires_at.map_or_else(|| "never".to_owned(), |end| end.to_string());
    let (id, made) = (id.to_string(), created_at.to_string());
    format!("{id:<30}  {:<7}  {made:<24}  {ends:<24}  {}", scope.name(), name.as_deref().unwrap_or("-"))
}
