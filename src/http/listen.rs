//! The accept loop: so many connections at a time, and none that keeps its place without sending a request.
//!
//! `axum::serve` is not used because it sets no time limit on headers: a client that sends them a byte at a time would
//! hold its connection for ever.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::sleep;
use tower::ServiceExt;
use tracing::{debug, warn};

use crate::config::HttpConfig;

/// HTTP/2: requests at a time on one connection.
const MAX_STREAMS: u32 = 128;
/// HTTP/2: bytes of one request's headers.
const MAX_HEADER_BYTES: u32 = 16 << 10;
/// HTTP/2: how often a silent connection is asked whether it is there, and how long for an answer.
const PING: (Duration, Duration) = (Duration::from_secs(20), Duration::from_secs(10));
/// Pause after the system gave no connection (too many open files, for one).
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);

/// The other end of a request's connection, among its extensions.
#[derive(Clone, Copy, Debug)]
pub struct Peer(pub SocketAddr);

/// Serves until `shutdown`, then answers what is under way.
pub async fn serve(
    listener: TcpListener,
    app: Router,
    config: &HttpConfig,
    shutdown: impl Future<Output = ()> + Send,
) -> io::Result<()> {
    let header_timeout = Duration::from_millis(config.header_timeout_ms);
    let connections = protocols(header_timeout);
    let places = Arc::new(Semaphore::new(config.max_connections));
    let under_way = GracefulShutdown::new();
    tokio::pin!(shutdown);
    loop {
        let next = async {
            let place = Arc::clone(&places).acquire_owned().await.map_err(io::Error::other)?;
            Ok::<_, io::Error>((place, listener.accept().await?))
        };
        let (place, (stream, peer)) = tokio::select! {
            next = next => match next {
                Ok(next) => next,
                Err(error) => {
                    warn!(%error, "no connection could be taken");
                    sleep(ACCEPT_AGAIN).await;
                    continue;
                }
            },
            () = &mut shutdown => break,
        };
        let asked = Arc::new(AtomicBool::new(false));
        let connection = connections.serve_connection(io(stream), service(app.clone(), Arc::clone(&asked), Peer(peer)));
        let connection = under_way.watch(connection.into_owned());
        tokio::spawn(async move {
            let _place = place;
            tokio::select! {
                ended = connection => if let Err(error) = ended { debug!(%error, "a connection broke off") },
                () = silence(&asked, header_timeout) => debug!("a connection without a request was closed"),
            }
        });
    }
    drop(listener);
    under_way.shutdown().await;
    Ok(())
}

fn protocols(header_timeout: Duration) -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(header_timeout);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(MAX_STREAMS)
        .max_header_list_size(MAX_HEADER_BYTES)
        .keep_alive_interval(PING.0)
        .keep_alive_timeout(PING.1);
    builder
}

fn io(stream: TcpStream) -> TokioIo<TcpStream> {
    // Answers are written whole: there is nothing to wait for. A socket that refuses is slower, and no worse.
    let _ = stream.set_nodelay(true);
    TokioIo::new(stream)
}

/// The application, for one connection; notes that a request has come.
fn service(
    app: Router,
    asked: Arc<AtomicBool>,
    peer: Peer,
) -> impl hyper::service::Service<
    axum::http::Request<Incoming>,
    Response = axum::response::Response,
    Error = std::convert::Infallible,
    Future: Send,
> + Send
+ 'static {
    service_fn(move |mut request: axum::http::Request<Incoming>| {
        request.extensions_mut().insert(peer);
        asked.store(true, Ordering::Relaxed);
        app.clone().oneshot(request)
    })
}

/// Ends if no request has come in time. The protocols' own limits begin with the first bytes of one.
async fn silence(asked: &AtomicBool, longest: Duration) {
    sleep(longest).await;
    if asked.load(Ordering::Relaxed) {
        std::future::pending::<()>().await;
    }
}
