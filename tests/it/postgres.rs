//! A Postgres for tests: the one that `TEST_DATABASE_URL` names (as a superuser), or a throw-away server of our own from the binaries
//! that are installed. One for the whole run, and in it a fresh database for each story.
//!
//! As in production there are two roles: a superuser, who makes databases, owns their tables and may look behind the
//! store's back, and an unprivileged one, which stores run as and which row level security binds.
//!
//! Our own server is the child of a guard, a shell that waits for the end of its input: however the test process ends,
//! its end of the pipe closes, and the guard stops the server and removes its folder.

use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use imprint::config::StoreConfig;
use imprint::store;
use sqlx::{AnyConnection, AssertSqlSafe, Connection, Executor};
use tokio::sync::OnceCell;

const OLDEST_VERSION: u32 = 15;
const START_TIMEOUT: Duration = Duration::from_mins(1);
/// Stops the server at once: its data is thrown away. Deaf to the terminal's signals, which reach the whole group.
const GUARD: &str =
    r#"trap '' INT TERM HUP; "$@" & server=$!; read -r _; kill -QUIT $server; wait $server; rm -rf "$FOLDER""#;

/// The role that stores run as; its password is its name.
const ROLE: &str = "imprint_test";

/// A server that answers.
struct Server {
    /// Its superuser's URL up to the name of a database, and what comes after that.
    url: (String, String),
    /// Its input stays open as long as this process lives.
    _guard: Option<Child>,
}

static SERVER: OnceCell<Result<Server, String>> = OnceCell::const_new();

/// A fresh database, its schema up to date.
pub struct Database {
    /// As the unprivileged role.
    pub url: String,
    /// As the superuser.
    pub owner_url: String,
    name: String,
}

impl Database {
    /// Makes one; `None`, with a printed reason, where there is no Postgres.
    ///
    /// # Panics
    /// In CI, where a Postgres must be there.
    pub async fn create() -> Option<Self> {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let server = match SERVER.get_or_init(start).await {
            Ok(server) => server,
            Err(reason) => {
                assert!(std::env::var_os("CI").is_none(), "CI runs the stories on Postgres, too: {reason}");
                skipped(reason);
                return None;
            }
        };
        let name = format!("imprint_test_{}_{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        let mut maintenance = connect(&server.url_of("postgres")).await.expect("the server answers");
        // The server's own locale need not be C: the stories also show that order does not depend on it.
        let statement = format!("CREATE DATABASE {name}");
        maintenance.execute(AssertSqlSafe(statement)).await.expect("the user may make databases");
        let made = Self { url: server.unprivileged_url_of(&name), owner_url: server.url_of(&name), name };
        made.migrate().await.expect("the schema is new");
        Some(made)
    }

    /// Brings the schema up to date, as `imprint migrate --for-role` does.
    pub async fn migrate(&self) -> Result<(), store::StoreError> {
        let owner = StoreConfig { database_url: self.owner_url.clone(), ..StoreConfig::default() };
        store::migrate(&owner, Some(ROLE)).await
    }

    /// Removes it. After a failed story it stays, for whoever looks into it.
    pub async fn drop(self) {
        let Some(Ok(server)) = SERVER.get() else { return };
        let mut maintenance = connect(&server.url_of("postgres")).await.expect("the server answers");
        let statement = format!("DROP DATABASE {} WITH (FORCE)", self.name);
        maintenance.execute(AssertSqlSafe(statement)).await.expect("it is ours");
    }
}

#[expect(clippy::print_stderr, reason = "a test that was skipped has to say so")]
fn skipped(reason: &str) {
    eprintln!("skipped on Postgres: {reason}");
}

impl Server {
    fn url_of(&self, database: &str) -> String {
        format!("{}/{database}{}", self.url.0, self.url.1)
    }

    fn unprivileged_url_of(&self, database: &str) -> String {
        let place = self.url.0.rsplit(['@', '/']).next().unwrap_or_default();
        format!("postgres://{ROLE}:{ROLE}@{place}/{database}{}", self.url.1)
    }

    /// Makes the unprivileged role, if an earlier run did not.
    async fn with_role(self) -> Result<Self, String> {
        let statement = format!(
            "DO $$ BEGIN CREATE ROLE {ROLE} LOGIN PASSWORD '{ROLE}'; \
             EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END $$"
        );
        let mut maintenance = connect(&self.url_of("postgres")).await.map_err(text)?;
        maintenance.execute(AssertSqlSafe(statement)).await.map_err(text)?;
        Ok(self)
    }
}

async fn connect(url: &str) -> Result<AnyConnection, sqlx::Error> {
    sqlx::any::install_default_drivers();
    AnyConnection::connect(url).await
}

async fn start() -> Result<Server, String> {
    if let Ok(url) = std::env::var("TEST_DATABASE_URL") {
        let (base, parameters) = url.split_at(url.find('?').unwrap_or(url.len()));
        let (server, _database) = base.rsplit_once('/').ok_or("TEST_DATABASE_URL names no database")?;
        return Server { url: (server.to_owned(), parameters.to_owned()), _guard: None }.with_role().await;
    }
    let bin = find_binaries()?;
    let folder = tempfile::Builder::new().prefix("imprint-postgres-").tempdir().map_err(text)?.keep();
    let port = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).map_err(text)?.port();
    let guard = spawn(&bin, &folder, port)?;
    let server = Server { url: (format!("postgres://postgres@127.0.0.1:{port}"), String::new()), _guard: Some(guard) };
    let deadline = Instant::now() + START_TIMEOUT;
    while let Err(error) = connect(&server.url_of("postgres")).await {
        if Instant::now() > deadline {
            return Err(format!("the server in {} does not answer: {error}", folder.display()));
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    server.with_role().await
}

/// The folder with `initdb` and `postgres`, new enough.
fn find_binaries() -> Result<PathBuf, String> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let debian = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let folders = std::env::split_paths(&path).chain(debian.map(|version| version.path().join("bin")));
    let new_enough = |folder: &PathBuf| {
        folder.join("initdb").exists() && version(&folder.join("postgres")).is_some_and(|found| found >= OLDEST_VERSION)
    };
    folders.into_iter().find(new_enough).ok_or_else(|| {
        format!(
            "neither TEST_DATABASE_URL nor the programs of Postgres {OLDEST_VERSION} or newer (`initdb`, `postgres`)"
        )
    })
}

/// From `postgres (PostgreSQL) 15.18 (Debian …)`, 15.
fn version(postgres: &Path) -> Option<u32> {
    let output = Command::new(postgres).arg("--version").output().ok()?;
    let words = String::from_utf8(output.stdout).ok()?;
    words.split_whitespace().nth(2)?.split('.').next()?.parse().ok()
}

/// Makes a cluster in `folder` and starts a server on it, under the guard.
fn spawn(bin: &Path, folder: &Path, port: u16) -> Result<Child, String> {
    let prefix = unprivileged(folder)?;
    let data = folder.join("data");
    let initdb = prefixed(&prefix, &bin.join("initdb"))
        .arg("--pgdata")
        .arg(&data)
        .args(["--username=postgres", "--auth=trust", "--encoding=UTF8", "--no-sync"])
        .current_dir(folder)
        .output()
        .map_err(text)?;
    if !initdb.status.success() {
        return Err(format!("initdb: {}", String::from_utf8_lossy(&initdb.stderr)));
    }
    Command::new("sh")
        .args(["-c", GUARD, "guard"])
        .args(prefix)
        .arg(bin.join("postgres"))
        .arg("-D")
        .arg(&data)
        .args(["-p", &port.to_string(), "-h", "127.0.0.1", "-N", "200", "-F", "-k"])
        .arg(folder)
        .env("FOLDER", folder)
        .current_dir(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(std::fs::File::create(folder.join("log")).map_err(text)?)
        .spawn()
        .map_err(text)
}

/// Postgres refuses to run as root. What to put before a command so that it does not, if that is who we are.
fn unprivileged(folder: &Path) -> Result<Vec<String>, String> {
    if std::fs::metadata("/proc/self").map_err(text)?.uid() != 0 {
        return Ok(Vec::new());
    }
    let id = |flag: &str, user: &str| -> Option<u32> {
        let output = Command::new("id").args([flag, user]).output().ok()?;
        String::from_utf8(output.stdout).ok()?.trim().parse().ok()
    };
    let account = |user: &str| Some((id("-u", user)?, id("-g", user)?));
    let (uid, gid) = account("postgres").or_else(|| account("nobody")).ok_or("root, and no account to run it under")?;
    chown(folder, Some(uid), Some(gid)).map_err(text)?;
    Ok(vec!["setpriv".to_owned(), format!("--reuid={uid}"), format!("--regid={gid}"), "--clear-groups".to_owned()])
}

fn prefixed(prefix: &[String], program: &Path) -> Command {
    let Some((first, rest)) = prefix.split_first() else { return Command::new(program) };
    let mut command = Command::new(first);
    command.args(rest).arg(program);
    command
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}
