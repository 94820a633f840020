//! The store's settings.

use clap::Args;

/// Where and how Imprint remembers.
#[derive(Args, Clone, PartialEq, Eq)]
pub struct StoreConfig {
    /// The database: `sqlite:PATH` (made if it is not there) or `postgres://USER:PASSWORD@HOST/DATABASE`.
    #[arg(long, env = "IMPRINT_DATABASE_URL", default_value = "sqlite:.imprint/imprint.db", hide_env_values = true)]
    pub database_url: String,

    /// Most connections that one process holds. For SQLite, readers: there is one writer.
    #[arg(long, env = "IMPRINT_DATABASE_MAX_CONNECTIONS", default_value_t = 10)]
    pub database_max_connections: u32,

    /// Longest wait for a free connection, in milliseconds.
    #[arg(long, env = "IMPRINT_DATABASE_ACQUIRE_TIMEOUT_MS", default_value_t = 2_000)]
    pub database_acquire_timeout_ms: u64,

    /// Longest time that one statement may take, in milliseconds. Postgres only.
    #[arg(long, env = "IMPRINT_DATABASE_STATEMENT_TIMEOUT_MS", default_value_t = 5_000)]
    pub database_statement_timeout_ms: u64,

    /// Whether to bring SQLite's schema up to date at start. Postgres' is brought up to date by `imprint migrate`, as
    /// the role that owns the tables, which the server's own role does not.
    #[arg(long, env = "IMPRINT_MIGRATE_ON_START", default_value_t = true, action = clap::ArgAction::Set)]
    pub migrate_on_start: bool,
}

impl Default for StoreConfig {
    fn default() -> Self {
        Self {
            database_url: "sqlite:.imprint/imprint.db".to_owned(),
            database_max_connections: 10,
            database_acquire_timeout_ms: 2_000,
            database_statement_timeout_ms: 5_000,
            migrate_on_start: true,
        }
    }
}

impl StoreConfig {
    /// Whether the database is a file of this process's own.
    pub fn is_embedded(&self) -> bool {
        self.database_url.starts_with("sqlite:")
    }

    /// The URL as it may be shown and logged: without user, password and parameters, each of which can be a secret.
    pub fn shown_url(&self) -> String {
        let url = self.database_url.split(['?', '#']).next().unwrap_or_default();
        match (url.split_once("://"), url.rsplit_once('@')) {
            (Some((scheme, _)), Some((_, place))) => format!("{scheme}://{place}"),
            _ => url.to_owned(),
        }
    }
}

impl std::fmt::Debug for StoreConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StoreConfig")
            .field("database_url", &self.shown_url())
            .field("database_max_connections", &self.database_max_connections)
            .field("database_acquire_timeout_ms", &self.database_acquire_timeout_ms)
            .field("database_statement_timeout_ms", &self.database_statement_timeout_ms)
            .field("migrate_on_start", &self.migrate_on_start)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Flags {
        #[command(flatten)]
        store: StoreConfig,
    }

    #[test]
    fn flag_defaults_equal_the_struct_defaults() {
        assert!(Flags::parse_from(["imprint"]).store == StoreConfig::default());
    }

    #[test]
    fn debug_output_hides_user_password_and_parameters() {
        let database_url = "postgres://anna:pa@ss@db:5432/imprint?sslpassword=hush".to_owned();
        let shown = format!("{:?}", StoreConfig { database_url, ..StoreConfig::default() });

        assert!(shown.contains("postgres://db:5432/imprint"), "{shown}");
        assert!(!["anna", "pa@ss", "hush"].iter().any(|secret| shown.contains(secret)), "{shown}");
    }

    #[test]
    fn a_file_name_is_shown_as_it_is() {
        assert_eq!(StoreConfig::default().shown_url(), "sqlite:.imprint/imprint.db");
    }
}
