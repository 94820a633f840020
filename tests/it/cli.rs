//! The program itself: keys, a server on a free port, a stop.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::http::bases;

fn imprint(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_imprint"));
    command.env_clear().current_dir(folder).env("IMPRINT_DATABASE_URL", "sqlite:imprint.db");
    command
}

/// A server that is killed if its test fails.
struct Server {
    process: Child,
    address: String,
}

impl Server {
    fn start(folder: &Path) -> Self {
        let mut command = imprint(folder);
        command.args(["serve", "--listen", "127.0.0.1:0", "--models", "models", "--device", "cpu", "--workers", "1"]);
        let mut process = command.stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(process.stderr.take().unwrap()).lines();
        let address = lines.find_map(|line| line.unwrap().strip_prefix("imprint serves on http://").map(str::to_owned));
        // What is logged from here on must not fill the pipe.
        std::thread::spawn(move || lines.for_each(drop));
        Self { process, address: address.unwrap() }
    }

    fn get(&self, path: &str, key: &str) -> String {
        let mut connection = TcpStream::connect(&self.address).unwrap();
        let headers = format!("host: test\r\nauthorization: Bearer {key}\r\nconnection: close");
        write!(connection, "GET {path} HTTP/1.1\r\n{headers}\r\n\r\n").unwrap();
        let mut answer = String::new();
        connection.read_to_string(&mut answer).unwrap();
        answer
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended, as it should.
        let _ = self.process.kill();
    }
}

#[test]
fn a_server_says_where_it_is_takes_a_key_that_was_made_beside_it_and_stops_when_told() {
    let folder = tempfile::tempdir().unwrap();
    bases::write(&folder.path().join("models"));
    let mut server = Server::start(folder.path());

    let made = imprint(folder.path()).args(["keys", "create", "anna"]).output().unwrap();
    let key = String::from_utf8(made.stdout).unwrap();
    let known = server.get("/v1/base-models/plane", key.trim());
    let unknown = server.get("/v1/base-models/plane", "imprint_0");
    let told = Command::new("kill").args(["-TERM", &server.process.id().to_string()]).status().unwrap();
    let ended = server.process.wait().unwrap();

    assert!(key.starts_with("imprint_") && made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    assert!(known.starts_with("HTTP/1.1 200"), "{known}");
    assert!(unknown.starts_with("HTTP/1.1 401"), "{unknown}");
    assert!(told.success() && ended.success(), "{ended}");
}

#[test]
fn a_server_that_cannot_start_says_why_in_one_line() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("models")).unwrap();

    for (flags, reason) in [
        (["--models", "nowhere"], "nowhere"),
        (["--models", "models"], "no base model"),
        (["--log", "imprint=loud"], "--log"),
        (["--device", "cuda:99"], "cuda"),
    ] {
        let tried = imprint(folder.path()).args(["serve", "--listen", "127.0.0.1:0"]).args(flags).output().unwrap();
        let said = String::from_utf8(tried.stderr).unwrap();
        assert_eq!((tried.status.code(), said.lines().count()), (Some(1), 1), "{said}");
        assert!(said.to_lowercase().contains(reason), "{said}");
    }
}
