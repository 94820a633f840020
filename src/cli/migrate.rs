//! `imprint migrate`: brings the database's schema up to date.

use super::{CliError, out};
use crate::config::StoreConfig;
use crate::store;

/// Brings the database's schema up to date and exits.
#[derive(clap::Args, Debug)]
pub struct Migrate {
    #[command(flatten)]
    store: StoreConfig,
}

impl Migrate {
    /// Migrates.
    pub fn run(self) -> Result<(), CliError> {
        let config = StoreConfig { migrate_on_start: true, ..self.store };
        super::runtime()?.block_on(async {
            store::open(&config).await?;
            out::line(format!("{} is up to date", config.shown_url()));
            Ok(())
        })
    }
}
