//! A network between a store and its database that a test can hold up: connections stay open, and nothing comes through.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

pub struct Proxy {
    address: SocketAddr,
    is_held: watch::Sender<bool>,
    /// Ends when this is dropped.
    _forwarding: JoinSet<()>,
}

impl Proxy {
    /// To the database that `url` names.
    pub async fn before(url: &str) -> Self {
        let database = authority(url).to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (is_held, held) = watch::channel(false);
        let mut forwarding = JoinSet::new();
        forwarding.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                let (database, held) = (database.clone(), held.clone());
                connections.spawn(async move {
                    let Ok(server) = TcpStream::connect(database).await else { return };
                    let ((from_client, to_client), (from_server, to_server)) =
                        (client.into_split(), server.into_split());
                    tokio::join!(
                        forward(from_client, to_server, held.clone()),
                        forward(from_server, to_client, held.clone())
                    );
                });
            }
        });
        Self { address, is_held, _forwarding: forwarding }
    }

    /// `url` by way of this.
    pub fn url(&self, url: &str) -> String {
        url.replacen(authority(url), &self.address.to_string(), 1)
    }

    pub fn hold(&self) {
        self.is_held.send_replace(true);
    }

    pub fn release(&self) {
        self.is_held.send_replace(false);
    }
}

/// Host and port.
fn authority(url: &str) -> &str {
    let (_, rest) = url.split_once("://").unwrap();
    let place = rest.split(['/', '?']).next().unwrap();
    place.rsplit('@').next().unwrap()
}

async fn forward(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut is_held: watch::Receiver<bool>) {
    let mut piece = vec![0; 16 << 10];
    while let Ok(length @ 1..) = from.read(&mut piece).await {
        let goes_on = is_held.wait_for(|held| !held).await.is_ok();
        if !goes_on || to.write_all(&piece[..length]).await.is_err() {
            return;
        }
    }
}
