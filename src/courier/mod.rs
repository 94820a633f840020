//! What goes out: requests to places that tenants name.
//!
//! A tenant may name any place, so a request goes to public addresses alone: the name is resolved once, every address
//! that comes of it is checked ([`address`]), and the connection is made to those that were checked, one after the other,
//! not to the name. No redirect is followed, no proxy is asked, and of the answer the status is read and nothing else.
//!
//! Deliberately absent: what is sent, how often, and to whom; connections that are kept (each request has its own, so
//! that none outlives its check).

pub mod address;
#[cfg(test)]
mod fuzz;
mod place;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use hyper::client::conn::http1;
use hyper::header::{CONTENT_TYPE, HOST, USER_AGENT};
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::config::{Reach, WebhookConfig};
use crate::faults::{self, Planned, Site};

pub use place::{Host, Place, Refused};

/// Most bytes of an answer's header.
const LONGEST_HEADER: usize = 16 << 10;

/// Most addresses of one name that are tried.
const MOST_ADDRESSES: usize = 4;

/// Why a request was not answered. Texts are for the tenant, and say nothing about what is inside our network.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// The place is none that requests go to.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// The name has no address.
    #[error("the host's name cannot be resolved")]
    Unresolved,
    /// Nobody takes the connection.
    #[error("no connection: {}", .0.kind())]
    Unreachable(io::Error),
    /// The other side's certificate is not good, or it speaks no TLS.
    #[error("TLS: {0}")]
    Tls(io::Error),
    /// The connection broke off, or what came is no answer.
    #[error("no answer: {0}")]
    Broken(#[from] hyper::Error),
    /// It took too long.
    #[error("no answer in {} ms", .0.as_millis())]
    Late(Duration),
}

impl From<Planned> for SendError {
    /// As if the network failed.
    fn from(planned: Planned) -> Self {
        Self::Unreachable(planned.into())
    }
}

/// Why no courier can be had.
#[derive(Debug, thiserror::Error)]
pub enum CourierError {
    /// There is no TLS.
    #[error("TLS: {0}")]
    Protocols(rustls::Error),
    /// The certificates cannot be read.
    #[error("certificates of {path}: {reason}")]
    Certificates {
        /// The file.
        path: String,
        /// Why not.
        reason: String,
    },
}

/// Where addresses come from.
#[async_trait]
pub trait Resolve: Send + Sync {
    /// All addresses of a name, with the port.
    async fn resolve(&self, name: &str, port: u16) -> io::Result<Vec<SocketAddr>>;
}

/// The machine's resolver.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemResolver;

#[async_trait]
impl Resolve for SystemResolver {
    async fn resolve(&self, name: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        Ok(tokio::net::lookup_host((name, port)).await?.collect())
    }
}

/// Sends requests. Cheap to clone.
#[derive(Clone)]
pub struct Courier {
    reach: Reach,
    longest: Duration,
    tls: Arc<ClientConfig>,
    resolver: Arc<dyn Resolve>,
}

impl Courier {
    /// As the settings say.
    pub fn new(config: &WebhookConfig, resolver: Arc<dyn Resolve>) -> Result<Self, CourierError> {
        let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
        if let Some(path) = &config.webhook_ca {
            let failed = |reason: String| CourierError::Certificates { path: path.display().to_string(), reason };
            for certificate in CertificateDer::pem_file_iter(path).map_err(|error| failed(error.to_string()))? {
                let certificate = certificate.map_err(|error| failed(error.to_string()))?;
                roots.add(certificate).map_err(|error| failed(error.to_string()))?;
            }
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(CourierError::Protocols)?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let longest = Duration::from_millis(config.webhook_timeout_ms);
        Ok(Self { reach: config.webhook_reach, longest, tls: Arc::new(tls), resolver })
    }

    /// POSTs a JSON text; the status that it is answered with.
    pub async fn post(&self, url: &str, headers: &[(&str, String)], body: &str) -> Result<u16, SendError> {
        let sent = async {
            let place = Place::parse(url, self.reach)?;
            let stream = self.connect(&self.addresses(&place).await?).await?;
            if !place.is_secret {
                return exchange(stream, &place, headers, body).await;
            }
            let name = match &place.host {
                Host::Name(name) => ServerName::try_from(name.clone()).map_err(|_| Refused::NotAUrl)?,
                Host::Address(address) => ServerName::from(*address),
            };
            let stream =
                TlsConnector::from(Arc::clone(&self.tls)).connect(name, stream).await.map_err(SendError::Tls)?;
            exchange(stream, &place, headers, body).await
        };
        timeout(self.longest, sent).await.unwrap_or(Err(SendError::Late(self.longest)))
    }

    /// Addresses that were checked. One that is not public is enough to refuse a name.
    async fn addresses(&self, place: &Place) -> Result<Vec<SocketAddr>, SendError> {
        let found = match &place.host {
            Host::Address(address) => vec![SocketAddr::new(*address, place.port)],
            Host::Name(name) => self.resolver.resolve(name, place.port).await.map_err(|_| SendError::Unresolved)?,
        };
        if self.reach == Reach::Public && found.iter().any(|address| !address::is_public(address.ip())) {
            return Err(Refused::Private.into());
        }
        Ok(found)
    }

    /// A connection to the first that takes it. Each has its share of the time, so that one that is silent leaves some
    /// to the others.
    async fn connect(&self, addresses: &[SocketAddr]) -> Result<TcpStream, SendError> {
        let tried = &addresses[..addresses.len().min(MOST_ADDRESSES)];
        let share = self.longest.div_f64(tried.len().max(1) as f64);
        let mut failed = SendError::Unresolved;
        faults::pass(Site::Connect).await?;
        for address in tried {
            match timeout(share, TcpStream::connect(address)).await {
                Ok(Ok(stream)) => return Ok(stream),
                Ok(Err(error)) => failed = SendError::Unreachable(error),
                Err(_) => failed = SendError::Late(share),
            }
        }
        Err(failed)
    }
}

async fn exchange<S>(stream: S, place: &Place, headers: &[(&str, String)], body: &str) -> Result<u16, SendError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) =
        http1::Builder::new().max_buf_size(LONGEST_HEADER).handshake::<_, String>(TokioIo::new(stream)).await?;
    let mut request = Request::builder()
        .method(Method::POST)
        .uri(&place.target)
        .header(HOST, &place.authority)
        .header(USER_AGENT, concat!("imprint/", env!("CARGO_PKG_VERSION")))
        .header(CONTENT_TYPE, "application/json");
    for (name, value) in headers {
        request = request.header(*name, value);
    }
    faults::pass(Site::Exchange).await?;
    let request = request.body(body.to_owned()).map_err(|_| Refused::NotAUrl)?;
    let answered = sender.send_request(request);
    tokio::pin!(connection, answered);
    let answer = tokio::select! {
        answer = &mut answered => answer,
        // Its end may bring the answer, and brings the reason if there is none.
        _ = &mut connection => answered.await,
    };
    Ok(answer?.status().as_u16())
}
