//! URLs that requests may go to.

use std::net::IpAddr;

use url::{Host as UrlHost, Url};

use super::address;
use crate::config::Reach;

/// Ports that a public place may have: a request to another could speak to something that is no web server.
const PORTS: [u16; 2] = [443, 8443];

/// Longest URL, in bytes.
const LONGEST: usize = 2_048;

/// Why a place is none that requests go to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// It is no URL, or one of another kind.
    #[error("this is not a URL that can be sent to: write https://HOST/PATH")]
    NotAUrl,
    /// It would travel in the open.
    #[error("send to https")]
    NotSecret,
    /// It carries a password.
    #[error("a URL must not carry a user or a password")]
    Credentials,
    /// Its port is not one of those.
    #[error("port {0} is not sent to; 443 and 8443 are")]
    Port(u16),
    /// Its address is not public.
    #[error("the address is not public")]
    Private,
}

/// Whom to connect to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Host {
    /// A name that is to be resolved.
    Name(String),
    /// An address.
    Address(IpAddr),
}

/// A URL in parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Whether by TLS.
    pub is_secret: bool,
    /// Whom to connect to.
    pub host: Host,
    /// At which port.
    pub port: u16,
    /// What the request names as its host.
    pub authority: String,
    /// Path and query.
    pub target: String,
}

impl Place {
    /// Reads a URL as browsers do, so that an address is one however it is written (`0x7f.1`, `2130706433`).
    pub fn parse(url: &str, reach: Reach) -> Result<Self, Refused> {
        if url.len() > LONGEST {
            return Err(Refused::NotAUrl);
        }
        let url = Url::parse(url).map_err(|_| Refused::NotAUrl)?;
        let is_secret = match url.scheme() {
            "https" => true,
            "http" if reach == Reach::Anywhere => false,
            "http" => return Err(Refused::NotSecret),
            _ => return Err(Refused::NotAUrl),
        };
        if !url.username().is_empty() || url.password().is_some() {
            return Err(Refused::Credentials);
        }
        let host = match url.host().ok_or(Refused::NotAUrl)? {
            // A dot at the end would ask the resolver for another name than the certificate's.
            UrlHost::Domain(name) => Host::Name(name.trim_end_matches('.').to_owned()),
            UrlHost::Ipv4(address) => Host::Address(address.into()),
            UrlHost::Ipv6(address) => Host::Address(address.into()),
        };
        let port = url.port_or_known_default().ok_or(Refused::NotAUrl)?;
        if reach == Reach::Public {
            if !PORTS.contains(&port) {
                return Err(Refused::Port(port));
            }
            if matches!(&host, Host::Address(address) if !address::is_public(*address)) {
                return Err(Refused::Private);
            }
            if matches!(&host, Host::Name(name) if !name.contains('.')) {
                return Err(Refused::Private); // a name of the local network
            }
        }
        let authority = url.authority().to_owned();
        let target = url.query().map_or_else(|| url.path().to_owned(), |query| format!("{}?{query}", url.path()));
        Ok(Self { is_secret, host, port, authority, target })
    }
}
