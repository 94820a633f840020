//! The accept loop against clients that take their time.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use imprint::config::HttpConfig;
use imprint::http;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};

use super::app::{Settings, TestApp};

const SHORT: Duration = Duration::from_millis(400);
/// Far above [`SHORT`], for a machine that is busy.
const LONG: Duration = Duration::from_secs(20);

async fn serve(config: HttpConfig) -> (TestApp, SocketAddr) {
    let app = TestApp::with(Settings { http: config.clone(), ..Settings::idle() }).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, router) = (listener.local_addr().unwrap(), app.router.clone());
    tokio::spawn(async move { http::serve(listener, router, &config, std::future::pending()).await });
    (app, address)
}

fn hasty() -> HttpConfig {
    let millis = u64::try_from(SHORT.as_millis()).unwrap();
    HttpConfig { header_timeout_ms: millis, body_timeout_ms: millis, ..HttpConfig::default() }
}

/// All that the server says until it closes the connection.
async fn rest(connection: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    // A reset is a way to close it, too.
    let _ = timeout(LONG, connection.read_to_end(&mut answer)).await.expect("the server closes the connection");
    String::from_utf8_lossy(&answer).into_owned()
}

async fn livez(address: SocketAddr) -> String {
    let mut connection = TcpStream::connect(address).await.unwrap();
    connection.write_all(b"GET /livez HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n").await.unwrap();
    rest(&mut connection).await
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_send_no_whole_header_are_closed_and_others_are_served_meanwhile() {
    let (_app, address) = serve(hasty()).await;
    let beginnings: [&[u8]; 5] =
        [b"", b"P", b"GET /livez HTTP/1.1\r\nhost: te", b"PRI * HTTP/2.0\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"];
    let mut slow = Vec::new();
    for _ in 0..20 {
        for beginning in beginnings {
            let mut connection = TcpStream::connect(address).await.unwrap();
            connection.write_all(beginning).await.unwrap();
            slow.push((connection, beginning));
        }
    }

    assert!(livez(address).await.starts_with("HTTP/1.1 200"));

    for (mut connection, beginning) in slow {
        let said = rest(&mut connection).await;
        assert!(!said.starts_with("HTTP/1.1 200"), "{:?} was answered {said}", String::from_utf8_lossy(beginning));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_header_that_comes_a_byte_at_a_time_is_cut_off() {
    let (_app, address) = serve(hasty()).await;
    let mut connection = TcpStream::connect(address).await.unwrap();
    connection.write_all(b"GET /livez HTTP/1.1\r\nx: ").await.unwrap();
    let started = Instant::now();

    while connection.write_all(b"x").await.is_ok() {
        assert!(started.elapsed() < LONG, "it goes on for ever");
        sleep(SHORT / 8).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_comes_a_byte_at_a_time_is_refused() {
    let (app, address) = serve(hasty()).await;
    let mut connection = TcpStream::connect(address).await.unwrap();
    let header = format!(
        "POST /v1/tasks HTTP/1.1\r\nhost: test\r\nauthorization: Bearer {}\r\ncontent-type: application/json\r\n\
         content-length: 1000\r\nconnection: close\r\n\r\n{{",
        app.key
    );
    connection.write_all(header.as_bytes()).await.unwrap();
    let (mut reading, mut writing) = connection.into_split();
    let dribble = tokio::spawn(async move {
        while writing.write_all(b" ").await.is_ok() {
            sleep(SHORT / 8).await;
        }
    });

    let mut answer = vec![0; 4_096];
    let length = timeout(LONG, reading.read(&mut answer)).await.expect("an answer").unwrap();
    dribble.abort();

    let answer = String::from_utf8_lossy(&answer[..length]).into_owned();
    assert!(answer.starts_with("HTTP/1.1 408") && answer.contains("body_too_slow"), "{answer}");
    assert_eq!(app.stored().await[0], 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn above_the_cap_a_connection_waits_for_a_place() {
    let (_app, address) = serve(HttpConfig { max_connections: 2, ..HttpConfig::default() }).await;
    let silent = [TcpStream::connect(address).await.unwrap(), TcpStream::connect(address).await.unwrap()];

    assert!(timeout(SHORT, livez(address)).await.is_err(), "both places are taken");
    drop(silent);

    assert!(timeout(LONG, livez(address)).await.unwrap().starts_with("HTTP/1.1 200"));
}
