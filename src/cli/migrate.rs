//! `imprint migrate`: brings the database's schema up to date.

use super::{CliError, out};
use crate::config::StoreConfig;
use crate::store;

/// Brings the database's schema up to date and exits. For Postgres, run it as the role that is to own the tables.
#[derive(clap::Args, Debug)]
pub struct Migrate {
    /// The role that servers connect as, which is let in: it must neither own the tables nor be a superuser. Postgres only.
    #[arg(long, env = "IMPRINT_DATABASE_ROLE")]
    for_role: Option<String>,
    #[command(flatten)]
    store: StoreConfig,
}

impl Migrate {
    /// Migrates.
    pub fn run(self) -> Result<(), CliError> {
        super::runtime()?.block_on(async {
            store::migrate(&self.store, self.for_role.as_deref()).await?;
            out::line(format!("{} is up to date", self.store.shown_url()));
            Ok(())
        })
    }
}
