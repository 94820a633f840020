//! What goes out goes to public addresses alone. Names come from a resolver of the test's own, which leads all of them
//! to one listener: what reaches it is counted.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use imprint::config::{Reach, WebhookConfig};
use imprint::courier::{Courier, Resolve, SendError};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

/// Leads every name to the same addresses, and counts how often it is asked.
struct Leads {
    to: Vec<SocketAddr>,
    asked: AtomicUsize,
}

#[async_trait]
impl Resolve for Leads {
    async fn resolve(&self, _: &str, _: u16) -> io::Result<Vec<SocketAddr>> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        Ok(self.to.clone())
    }
}

/// A listener that counts who comes, and answers 200.
async fn canary() -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, came) = (listener.local_addr().unwrap(), Arc::new(AtomicUsize::new(0)));
    let counter = Arc::clone(&came);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            counter.fetch_add(1, Ordering::Relaxed);
            let _ = stream.read(&mut [0; 4096]).await;
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
        }
    });
    (address, came)
}

fn courier(reach: Reach, to: Vec<SocketAddr>) -> (Courier, Arc<Leads>) {
    let leads = Arc::new(Leads { to, asked: AtomicUsize::new(0) });
    let config = WebhookConfig { webhook_reach: reach, webhook_timeout_ms: 5_000, ..WebhookConfig::default() };
    (Courier::new(&config, leads.clone()).unwrap(), leads)
}

/// URLs that lead inside, in the ways that have worked on somebody; `PORT` is the listener's.
const HOSTILE: [&str; 66] = [
    "http://127.0.0.1:PORT/",
    "https://127.0.0.1:PORT/",
    "https://127.0.0.1/",
    "https://127.0.0.1:8443/",
    "https://127.1/",
    "https://127.0.1/",
    "https://2130706433/",
    "https://0x7f000001/",
    "https://0x7f.1/",
    "https://017700000001/",
    "https://0177.0.0.1/",
    "https://127.0.0.1./",
    "https://%31%32%37.0.0.1/",
    "https://①②⑦.⓪.⓪.①/",
    "https://127。0。0。1/",
    "https://0/",
    "https://0.0.0.0/",
    "https://0.0.0.0:8443/",
    "https://localhost/",
    "https://LOCALHOST:8443/",
    "https://localhost./",
    "https://intranet/",
    "https://db/",
    "https://[::1]/",
    "https://[::]/",
    "https://[0:0:0:0:0:0:0:1]:8443/",
    "https://[::ffff:127.0.0.1]/",
    "https://[::ffff:7f00:1]/",
    "https://[::ffff:a9fe:a9fe]/",
    "https://[::127.0.0.1]/",
    "https://[64:ff9b::7f00:1]/",
    "https://[64:ff9b:1::a00:1]/",
    "https://[2002:7f00:1::]/",
    "https://[2001:0:7f00:1::]/",
    "https://[fe80::1]/",
    "https://[fc00::1]/",
    "https://[fd00:ec2::254]/",
    "https://[ff02::1]/",
    "https://[fec0::1]/",
    "https://169.254.169.254/latest/meta-data/",
    "https://2852039166/",
    "https://0xa9fea9fe/",
    "https://169.254.170.2/",
    "https://100.100.100.200/",
    "https://168.63.129.16/",
    "https://192.0.0.192/",
    "https://10.0.0.1/",
    "https://172.16.0.1/",
    "https://172.31.255.255/",
    "https://192.168.1.1/",
    "https://198.18.0.1/",
    "https://224.0.0.1/",
    "https://255.255.255.255/",
    "https://user:password@example.com/",
    "https://user@example.com/",
    "http://example.com/",
    "ftp://example.com/",
    "file:///etc/passwd",
    "gopher://example.com:PORT/",
    "https://example.com:PORT/",
    "https://example.com:22/",
    "https://example.com:5432/",
    "https://example.com:80/",
    "https://rebound.example.com/",
    "https://rebound.example.com:8443/x",
    "https://xn--rebound-q2a.example.com/",
];

#[tokio::test(flavor = "multi_thread")]
async fn no_url_leads_inside() {
    let (address, came) = canary().await;
    // A name with a public and an inner address is refused, too: which one is taken is not the name's to say.
    let (courier, _) = courier(Reach::Public, vec!["1.1.1.1:443".parse().unwrap(), address]);

    for url in HOSTILE {
        let url = url.replace("PORT", &address.port().to_string());
        let sent = courier.post(&url, &[], "{}").await;
        assert!(matches!(sent, Err(SendError::Refused(_))), "{url}: {sent:?}");
    }

    assert_eq!(came.load(Ordering::Relaxed), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_check_they_would() {
    let (address, came) = canary().await;
    let (courier, _) = courier(Reach::Anywhere, vec![address]);

    for url in ["http://127.0.0.1:PORT/", "http://2130706433:PORT/", "http://rebound.example.com/"] {
        let url = url.replace("PORT", &address.port().to_string());
        assert_eq!(courier.post(&url, &[], "{}").await.unwrap(), 200, "{url}");
    }

    assert_eq!(came.load(Ordering::Relaxed), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_is_resolved_once_so_that_what_was_checked_is_what_is_connected_to() {
    let (address, _) = canary().await;
    let (courier, leads) = courier(Reach::Anywhere, vec![address]);

    courier.post("http://rebound.example.com/", &[], "{}").await.unwrap();

    assert_eq!(leads.asked.load(Ordering::Relaxed), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn where_one_address_of_a_name_takes_no_connection_the_next_is_tried() {
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let (address, came) = canary().await;
    let (courier, leads) = courier(Reach::Anywhere, vec![closed, address]);

    assert_eq!(courier.post("http://receiver.test/", &[], "{}").await.unwrap(), 200);

    assert_eq!((came.load(Ordering::Relaxed), leads.asked.load(Ordering::Relaxed)), (1, 1));
}

/// A receiver that speaks TLS, with the certificate of `receiver.test`, and answers 201.
async fn secret_receiver() -> SocketAddr {
    let file = |name: &str| Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/certificates").join(name);
    let certificate = CertificateDer::from_pem_file(file("certificate.pem")).unwrap();
    let key = PrivateKeyDer::from_pem_file(file("key.pem")).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    let (acceptor, listener) = (TlsAcceptor::from(Arc::new(config)), TcpListener::bind("127.0.0.1:0").await.unwrap());
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            if let Ok(mut stream) = acceptor.accept(stream).await {
                let _ = stream.read(&mut [0; 4096]).await;
                let _ = stream.write_all(b"HTTP/1.1 201 Created\r\ncontent-length: 0\r\n\r\n").await;
                let _ = stream.shutdown().await;
            }
        }
    });
    address
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_has_to_be_of_an_authority_that_is_trusted_and_of_the_name_that_was_asked() {
    let leads = Arc::new(Leads { to: vec![secret_receiver().await], asked: AtomicUsize::new(0) });
    let webhook_ca = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/certificates/certificate.pem");
    let config = WebhookConfig { webhook_reach: Reach::Anywhere, ..WebhookConfig::default() };
    let stranger = Courier::new(&config, leads.clone()).unwrap();
    let friend = Courier::new(&WebhookConfig { webhook_ca: Some(webhook_ca), ..config }, leads).unwrap();

    assert_eq!(friend.post("https://receiver.test/", &[], "{}").await.unwrap(), 201);
    for (courier, url) in [(&stranger, "https://receiver.test/"), (&friend, "https://other.test/")] {
        let sent = courier.post(url, &[], "{}").await;
        assert!(matches!(sent, Err(SendError::Tls(_))), "{url}: {sent:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_says_nothing_or_never_stops_is_given_up() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (silent, _) = listener.accept().await.unwrap();
        let (mut endless, _) = listener.accept().await.unwrap();
        let _ = endless.write_all(b"HTTP/1.1 200 OK\r\n").await;
        while endless.write_all(&b"x-more: and more\r\n".repeat(100)).await.is_ok() {}
        drop(silent);
    });
    let leads = Arc::new(Leads { to: vec![address], asked: AtomicUsize::new(0) });
    let config = WebhookConfig { webhook_reach: Reach::Anywhere, webhook_timeout_ms: 300, ..WebhookConfig::default() };
    let courier = Courier::new(&config, leads).unwrap();

    let silent = courier.post("http://receiver.test/", &[], "{}").await;
    let endless = courier.post("http://receiver.test/", &[], "{}").await;

    assert!(matches!(silent, Err(SendError::Late(_))), "{silent:?}");
    assert!(matches!(endless, Err(SendError::Broken(_))), "{endless:?}");
}
