//! The listener's settings.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;

use super::Origins;

/// Where to listen and what to let in.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct HttpConfig {
    /// Address and port; port 0 takes a free one.
    #[arg(long, env = "IMPRINT_LISTEN", default_value = "127.0.0.1:8080")]
    pub listen: SocketAddr,

    /// Address and port for the operator's eyes only, with `/metrics`; not opened by default.
    #[arg(long, env = "IMPRINT_ADMIN_LISTEN")]
    pub admin_listen: Option<SocketAddr>,

    /// File with the token that `/admin/v1` asks for. Without one, `/admin/v1` is there only on an address of this machine
    /// alone.
    #[arg(long, env = "IMPRINT_ADMIN_TOKEN_FILE")]
    pub admin_token_file: Option<PathBuf>,

    /// Pages of which origins may call the API from a browser: some, with commas between them
    /// (`https://app.example.com`), or `*` for any. None by default.
    #[arg(long, env = "IMPRINT_CORS_ORIGINS", default_value_t)]
    pub cors_origins: Origins,

    /// Largest request body, in bytes.
    #[arg(long, env = "IMPRINT_MAX_BODY_BYTES", default_value_t = 16 << 20)]
    pub max_body_bytes: usize,

    /// Most bytes of one upload of examples, a JSON object a line. Each line is at most as long as a body.
    #[arg(long, env = "IMPRINT_MAX_UPLOAD_BYTES", default_value_t = 256 << 20)]
    pub max_upload_bytes: usize,

    /// Requests at a time; one more is answered 503.
    #[arg(long, env = "IMPRINT_MAX_REQUESTS", default_value_t = 512)]
    pub max_requests: usize,

    /// Memory for the bodies of all requests under way, in MiB, as their headers say; one more is answered 503. What a body
    /// unfolds to takes about as much again.
    #[arg(long, env = "IMPRINT_MAX_BODIES_MIB", default_value_t = 512)]
    pub max_bodies_mib: usize,

    /// Streams of events at a time; one more is answered 503.
    #[arg(long, env = "IMPRINT_MAX_STREAMS", default_value_t = 1024)]
    pub max_streams: usize,

    /// Longest time from a request's first byte to its answer, in milliseconds.
    #[arg(long, env = "IMPRINT_REQUEST_TIMEOUT_MS", default_value_t = 60_000)]
    pub request_timeout_ms: u64,

    /// Longest time until a request's header is there, in milliseconds; a connection without a request is closed after
    /// that, too.
    #[arg(long, env = "IMPRINT_HEADER_TIMEOUT_MS", default_value_t = 10_000)]
    pub header_timeout_ms: u64,

    /// Longest time until a request's body is there, in milliseconds.
    #[arg(long, env = "IMPRINT_BODY_TIMEOUT_MS", default_value_t = 30_000)]
    pub body_timeout_ms: u64,

    /// Longest time that one upload of examples may take, in milliseconds; it is answered then with what became of it so
    /// far. Meanwhile `--body-timeout-ms` is the longest time in which nothing arrives.
    #[arg(long, env = "IMPRINT_UPLOAD_TIMEOUT_MS", default_value_t = 600_000)]
    pub upload_timeout_ms: u64,

    /// Connections at a time; more wait until one is closed.
    #[arg(long, env = "IMPRINT_MAX_CONNECTIONS", default_value_t = 2_048)]
    pub max_connections: usize,

    /// Longest time that `Prefer: wait=N` is granted, in seconds.
    #[arg(long, env = "IMPRINT_MAX_WAIT_S", default_value_t = 30)]
    pub max_wait_s: u64,

    /// Time between the signal to stop and the last connection that is taken, in seconds: not ready any more, for load
    /// balancers to see it.
    #[arg(long, env = "IMPRINT_DRAIN_DELAY_S", default_value_t = 0)]
    pub drain_delay_s: u64,

    /// Longest time that answers under way are waited for at shutdown, in seconds.
    #[arg(long, env = "IMPRINT_DRAIN_S", default_value_t = 30)]
    pub drain_s: u64,
}

impl Default for HttpConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8080)),
            admin_listen: None,
            admin_token_file: None,
            cors_origins: Origins::None,
            max_body_bytes: 16 << 20,
            max_upload_bytes: 256 << 20,
            max_requests: 512,
            max_bodies_mib: 512,
            max_streams: 1024,
            request_timeout_ms: 60_000,
            header_timeout_ms: 10_000,
            body_timeout_ms: 30_000,
            upload_timeout_ms: 600_000,
            max_connections: 2_048,
            max_wait_s: 30,
            drain_delay_s: 0,
            drain_s: 30,
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Flags {
        #[command(flatten)]
        http: HttpConfig,
    }

    #[test]
    fn flag_defaults_equal_the_struct_defaults() {
        assert_eq!(Flags::parse_from(["imprint"]).http, HttpConfig::default());
    }
}
