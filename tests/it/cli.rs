//! The program itself: keys, a server on a free port, a stop.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::JoinHandle;

use serde_json::{Value, json};

use crate::http::bases;
use crate::http::samples::{adapt_predict, points, with};
use crate::postgres::Database;

pub fn imprint(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_imprint"));
    command.env_clear().current_dir(folder).env("IMPRINT_DATABASE_URL", "sqlite:imprint.db");
    command
}

/// A server that is killed if its test fails.
pub struct Server {
    pub process: Child,
    pub address: String,
    /// What it said before its address.
    pub said: Vec<String>,
    /// Reads what is logged, until the end; or the pipe would fill up.
    log: Option<JoinHandle<String>>,
}

impl Server {
    pub fn start(folder: &Path) -> Self {
        Self::start_on(folder, "sqlite:imprint.db")
    }

    fn start_on(folder: &Path, database_url: &str) -> Self {
        let mut command = imprint(folder);
        command.env("IMPRINT_DATABASE_URL", database_url);
        Self::started(command)
    }

    pub fn started(mut command: Command) -> Self {
        command.args([
            "serve",
            "--listen",
            "127.0.0.1:0",
            "--models",
            "models",
            "--encoders",
            "models",
            "--device",
            "cpu",
            "--workers",
            "1",
        ]);
        let mut process = command.stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(process.stderr.take().unwrap()).lines();
        let mut said = Vec::new();
        let address = loop {
            let line = lines.next().expect("it says its address").unwrap();
            match line.strip_prefix("imprint serves on http://") {
                Some(address) => break address.to_owned(),
                None => said.push(line),
            }
        };
        let log = std::thread::spawn(move || lines.map(|line| line.unwrap() + "\n").collect());
        Self { process, address, said, log: Some(log) }
    }

    fn terminate(&self) {
        // The shell's own: a small system has no program of that name.
        let told = Command::new("sh").args(["-c", &format!("kill -TERM {}", self.process.id())]).status().unwrap();
        assert!(told.success(), "{told}");
    }

    /// Tells it to stop; how it ended, and what it logged since it said its address.
    pub fn stop(mut self) -> (ExitStatus, String) {
        self.terminate();
        (self.process.wait().unwrap(), self.log.take().unwrap().join().unwrap())
    }

    pub fn get(&self, path: &str, key: &str) -> String {
        self.send(&format!("GET {path} HTTP/1.1\r\n"), key, "")
    }

    /// The body of the answer to a request that must succeed.
    pub fn post(&self, path: &str, key: &str, body: &Value) -> Value {
        let line = format!("POST {path} HTTP/1.1\r\ncontent-type: application/json\r\nprefer: wait=20\r\n");
        let answer = self.send(&line, key, &body.to_string());
        assert!(answer.starts_with("HTTP/1.1 20"), "{answer}");
        serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap()
    }

    pub fn send(&self, line: &str, key: &str, body: &str) -> String {
        let mut connection = TcpStream::connect(&self.address).unwrap();
        let length = body.len();
        let headers =
            format!("host: test\r\nauthorization: Bearer {key}\r\nconnection: close\r\ncontent-length: {length}");
        write!(connection, "{line}{headers}\r\n\r\n{body}").unwrap();
        let mut answer = String::new();
        connection.read_to_string(&mut answer).unwrap();
        answer
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended, as it should.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

pub fn key(folder: &Path, database_url: &str) -> String {
    let made = imprint(folder).env("IMPRINT_DATABASE_URL", database_url).args(["keys", "create", "anna"]).output();
    let made = made.unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    String::from_utf8(made.stdout).unwrap().trim().to_owned()
}

/// What a prediction says, as it was written: all but its id, which is fresh each time.
fn said(predicted: &Value) -> String {
    let mut predictions = predicted["predictions"].clone();
    for prediction in predictions.as_array_mut().unwrap() {
        prediction.as_object_mut().unwrap().remove("id").unwrap();
    }
    format!("{predictions} by {} of version {}", predicted["adapter"], predicted["version"])
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_answered_201_outlives_a_kill_and_answers_with_the_same_bytes_on_both_stores() {
    let postgres = Database::create().await;
    let urls = std::iter::once("sqlite:imprint.db".to_owned()).chain(postgres.iter().map(|made| made.url.clone()));
    for url in urls {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        bases::write(&folder.join("models"));
        let mut first = Server::start_on(folder, &url);
        let key = key(folder, &url);
        // One of each kind of adapter: prototypes, a linear solution, all weights.
        let numbers = json!([{"input": [0.0], "value": 0.5}, {"input": [1.0], "value": 2.5}]);
        let tasks = [
            ("plane", points(), json!([[5.0, 5.0], [0.3, 0.1]])),
            ("line", numbers, json!([[0.25], [3.0]])),
            ("pair", points(), json!([[5.0, 5.0], [0.3, 0.1]])),
        ];
        let mut before = Vec::new();
        for (base, support, query) in &tasks {
            let body = json!({"name": base, "base_model": base, "support": support});
            let task = first.post("/v1/tasks", &key, &body)["id"].as_str().unwrap().to_owned();
            let query = json!({"query": query});
            first.post(&format!("/v1/tasks/{task}/adaptations"), &key, &json!({}));
            let path = format!("/v1/tasks/{task}/predict");
            before.push((path.clone(), query.clone(), said(&first.post(&path, &key, &query))));
        }
        // The last adaptation's 201 is the last thing that the server says.
        let last = before[0].0.replace("predict", "adaptations");
        first.post(&last, &key, &json!({"seed": 7}));
        first.process.kill().unwrap(); // SIGKILL
        first.process.wait().unwrap();

        let second = Server::start_on(folder, &url);

        for (path, query, said_before) in before {
            let pinned = json!({"query": query["query"], "version": 1});
            assert_eq!(said(&second.post(&path, &key, &pinned)), said_before, "{url}");
        }
        let task = last.replace("/adaptations", "");
        assert!(second.get(&task, &key).contains("\"active_version\":2"), "{}", second.get(&task, &key));
    }
    if let Some(postgres) = postgres {
        postgres.drop().await;
    }
}

#[test]
fn a_server_says_where_it_is_takes_a_key_that_was_made_beside_it_and_stops_when_told() {
    let folder = tempfile::tempdir().unwrap();
    bases::write(&folder.path().join("models"));
    let server = Server::start(folder.path());

    let key = key(folder.path(), "sqlite:imprint.db");
    let known = server.get("/v1/base-models/plane", &key);
    let unknown = server.get("/v1/base-models/plane", "imprint_0");
    let (ended, _) = server.stop();

    assert!(key.starts_with("imprint_"), "{key}");
    assert!(known.starts_with("HTTP/1.1 200"), "{known}");
    assert!(unknown.starts_with("HTTP/1.1 401"), "{unknown}");
    assert!(ended.success(), "{ended}");
}

#[test]
fn a_second_signal_ends_a_server_that_is_still_draining() {
    let folder = tempfile::tempdir().unwrap();
    bases::write(&folder.path().join("models"));
    let mut command = imprint(folder.path());
    command.env("IMPRINT_DRAIN_DELAY_S", "3600");
    let mut server = Server::started(command);
    let ready = |server: &Server| server.get("/readyz", "").starts_with("HTTP/1.1 200");
    assert!(ready(&server));

    server.terminate();
    while ready(&server) {} // until it has heard
    assert!(server.process.try_wait().unwrap().is_none(), "it drains");
    server.terminate();

    assert_eq!(server.process.wait().unwrap().code(), Some(1));
}

#[test]
fn metrics_are_on_the_operators_listener_and_nowhere_else() {
    let folder = tempfile::tempdir().unwrap();
    bases::write(&folder.path().join("models"));
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut command = imprint(folder.path());
    command.env("IMPRINT_ADMIN_LISTEN", free.to_string());
    let mut server = Server::started(command);
    let key = key(folder.path(), "sqlite:imprint.db");
    server.post("/v1/adapt-predict", &key, &adapt_predict());

    let public = server.get("/metrics", &key);
    server.address = free.to_string();
    let metrics = server.get("/metrics", "");

    assert!(public.starts_with("HTTP/1.1 404"), "{public}");
    for line in [
        r#"imprint_http_requests_total{route="/v1/adapt-predict",status="200"} 1"#,
        r#"imprint_batch_commands_count{lane="adapt"} "#,
        r#"imprint_queue_wait_seconds_count{lane="adapt"} "#,
    ] {
        assert!(metrics.contains(line), "{line} is not in {metrics}");
    }
    assert!(!metrics.contains("\"ten_") && !metrics.contains("\"task_"), "{metrics}");
}

#[test]
fn bench_measures_a_server_of_its_own_and_leaves_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    bases::write(&folder.path().join("models"));
    let place = folder.path().join("scratch");
    std::fs::create_dir(&place).unwrap();
    for work in ["adapt-predict", "predict"] {
        let mut command = imprint(folder.path());
        command.env("TMPDIR", &place).args([
            "bench",
            "--base-model",
            "plane",
            "--models",
            "models",
            "--encoders",
            "models",
            "--device",
            "cpu",
        ]);
        command.args([
            "--workers",
            "1",
            "--clients",
            "4",
            "--tenants",
            "1,2",
            "--tasks",
            "3",
            "--way",
            "3",
            "--shot",
            "2",
        ]);
        command.args(["--seconds", "0.5", "--warm-up", "0.1", "--flood", "2", "--json", "--work", work]);

        let measured = command.output().unwrap();

        assert!(measured.status.success(), "{}", String::from_utf8_lossy(&measured.stderr));
        let lines = String::from_utf8(measured.stdout).unwrap();
        let reports: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(reports.len(), 2, "{lines}");
        for report in reports {
            assert!(report["requests"].as_u64().unwrap() > 0 && report["errors"].is_null(), "{report}");
            assert!(report["p50_ms"].as_f64() <= report["p99_ms"].as_f64(), "{report}");
            assert!(report["batch"][0].as_f64().unwrap() >= 1.0, "{report}");
        }
        assert_eq!(std::fs::read_dir(&place).unwrap().count(), 0);
    }
}

// Of the program itself: within one process, what a thread logs depends on what other threads log at the time.
#[test]
fn a_request_leaves_one_line_without_its_key_and_its_payload() {
    let folder = tempfile::tempdir().unwrap();
    bases::write(&folder.path().join("models"));
    let mut command = imprint(folder.path());
    command.env("IMPRINT_LOG", "trace");
    let server = Server::started(command);
    let key = key(folder.path(), "sqlite:imprint.db");
    let body = with(adapt_predict(), "/support/0/label", json!("sensitive words"));
    let body = with(body, "/query/0", json!([1234.5678, 0]));

    server.post("/v1/adapt-predict", &key, &body);
    let line = "POST /v1/adapt-predict?token=hush HTTP/1.1\r\ncontent-type: application/json\r\n";
    let refused = server.send(line, &key, &with(body, "/base_model", json!("classified")).to_string());
    let (_, log) = server.stop();

    assert!(refused.starts_with("HTTP/1.1 422"), "{refused}");
    let answered: Vec<_> = log.lines().filter(|line| line.contains("answered")).collect();
    assert_eq!(answered.len(), 2, "{log}");
    for (line, status) in answered.iter().zip(["200", "422"]) {
        for part in ["INFO", "POST", "/v1/adapt-predict", "request.id", status, "http.took_ms"] {
            assert!(line.contains(part), "{part} is not in {line}");
        }
    }
    for secret in [&key[30..], "sensitive words", "1234.5678", "hush", "classified"] {
        assert!(!log.contains(secret), "{secret} is in {log}");
    }
}

#[test]
fn a_server_that_cannot_start_says_why_in_one_line() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("models")).unwrap();
    bases::write(&folder.path().join("fit"));
    bases::write_unfit(&folder.path().join("unfit"));
    std::fs::create_dir(folder.path().join("a-folder.db")).unwrap();

    for (flags, reason) in [
        (["--models", "unfit"], "does not work"),
        (["--encoders", "nowhere"], "encoder"),
        (["--database-url", "mysql://host/db"], "sqlite:"),
        (["--database-url", "sqlite:a-folder.db"], "database"),
        (["--database-url", "postgres://nobody@127.0.0.1:1/db"], "database"),
        (["--max-command-mib", "0"], "0"),
        (["--models", "nowhere"], "nowhere"),
        (["--models", "models"], "no base model"),
        (["--log", "imprint=loud"], "--log"),
        (["--device", "cuda:99"], "cuda"),
    ] {
        let tried = imprint(folder.path())
            .env("IMPRINT_MODELS", "fit")
            .env("IMPRINT_ENCODERS", "fit")
            .env("IMPRINT_DEVICE", "cpu")
            .args(["serve", "--listen", "127.0.0.1:0"])
            .args(flags)
            .output()
            .unwrap();
        let said = String::from_utf8(tried.stderr).unwrap();
        assert_eq!((tried.status.code(), said.lines().count()), (Some(1), 1), "{said}");
        assert!(said.to_lowercase().contains(reason), "{said}");
    }
}

/// What `imprint doctor` finds with these arguments: whether a server would start, and each subject with its state.
fn examined(folder: &Path, arguments: &[&str]) -> (bool, Vec<(String, String)>) {
    let examined = imprint(folder).args(["doctor", "--json", "--device", "cpu"]).args(arguments).output().unwrap();
    let lines = String::from_utf8(examined.stdout).unwrap();
    let findings = lines.lines().map(|line| {
        let finding: Value = serde_json::from_str(line).unwrap();
        (finding["subject"].as_str().unwrap().to_owned(), finding["state"].as_str().unwrap().to_owned())
    });
    (examined.status.success(), findings.collect())
}

#[test]
fn the_doctor_says_what_would_fail_and_leaves_no_trace() {
    let folder = tempfile::tempdir().unwrap();
    bases::write(&folder.path().join("models"));
    let state_of = |findings: &[(String, String)], subject: &str| {
        findings.iter().find(|(found, _)| found == subject).map(|(_, state)| state.clone())
    };

    let (is_well, well) = examined(folder.path(), &["--encoders", "models", "--listen", "127.0.0.1:0"]);
    let (is_lost, lost) =
        examined(folder.path(), &["--models", "nowhere", "--database-url", "postgres://nobody@127.0.0.1:1/x"]);

    assert!(is_well, "{well:?}");
    for subject in ["libtorch", "device", "precision", "base model", "adaptation", "database", "address", "webhooks"] {
        assert_eq!(state_of(&well, subject).as_deref(), Some("ok"), "{subject}: {well:?}");
    }
    assert!(!is_lost, "{lost:?}");
    for subject in ["base models", "database"] {
        assert_eq!(state_of(&lost, subject).as_deref(), Some("failed"), "{subject}: {lost:?}");
    }
    assert!(!folder.path().join("imprint.db").exists());
}

#[test]
fn the_doctor_finds_every_base_model_that_ships_well() {
    let folder = tempfile::tempdir().unwrap();
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let (models, encoders) = (here.join("models"), here.join(".imprint/encoders"));

    let of_ours = ["--models", models.to_str().unwrap(), "--encoders", encoders.to_str().unwrap()];
    let (is_well, findings) = examined(folder.path(), &[&of_ours[..], &["--listen", "127.0.0.1:0"]].concat());

    let shipped = std::fs::read_dir(models).unwrap().count();
    for subject in ["base model", "adaptation"] {
        assert_eq!(findings.iter().filter(|(found, _)| found == subject).count(), shipped, "{findings:?}");
    }
    assert!(is_well && findings.iter().all(|(_, state)| state != "failed"), "{findings:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bulk_prediction_goes_on_after_kills_and_no_line_is_lost_or_doubled() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    bases::write(&folder.join("models"));
    let start = || {
        let mut command = imprint(folder);
        Server::started({
            command.env("IMPRINT_LEASE_S", "1").env("IMPRINT_POLL_MS", "20");
            command
        })
    };
    let (mut server, key) = (start(), key(folder, "sqlite:imprint.db"));
    let body = json!({"name": "places", "base_model": "plane", "support": points()});
    let task = server.post("/v1/tasks", &key, &body)["id"].as_str().unwrap().to_owned();
    server.post(&format!("/v1/tasks/{task}/adaptations"), &key, &json!({}));
    let count = 20_000;
    let line = |at: u64| json!({"input": [at % 7, at % 5]}).to_string() + "\n";
    let lines: String = (0..count).map(line).collect();
    let head = format!("POST /v1/tasks/{task}/bulk-predictions HTTP/1.1\r\ncontent-type: application/x-ndjson\r\n");
    let taken = server.send(&head, &key, &lines);
    assert!(taken.starts_with("HTTP/1.1 202"), "{taken}");
    let bulk: Value = serde_json::from_str(taken.split_once("\r\n\r\n").unwrap().1).unwrap();
    let place = format!("/v1/bulk-predictions/{}", bulk["id"].as_str().unwrap());
    let look = |server: &Server| -> Value {
        serde_json::from_str(server.get(&place, &key).split_once("\r\n\r\n").unwrap().1).unwrap()
    };
    let answered = |server: &Server| look(server)["answered"].as_u64().unwrap();

    for _ in 0..3 {
        let before = answered(&server);
        while answered(&server) == before {}
        server.process.kill().unwrap(); // SIGKILL
        server.process.wait().unwrap();
        server = start();
    }
    assert!(answered(&server) < count, "it was over before the last kill");
    while look(&server)["status"] != "succeeded" {}

    let output = server.get(&format!("{place}/output"), &key);
    let indices: Vec<u64> = output
        .lines()
        .filter(|line| line.starts_with('{'))
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["index"].as_u64().unwrap())
        .collect();
    assert_eq!(indices, (0..count).collect::<Vec<_>>());
}
