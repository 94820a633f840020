//! What can be seen of a server from outside: its metrics, which are those that `docker/observability` names, and its
//! threads.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use imprint::domain::hex;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;
use serde_json::json;

use crate::cli::{Server, imprint, key};
use crate::http::bases;
use crate::http::samples::{adapt_predict, points};

/// Names of ours in a text, without what Prometheus' histograms add to them.
fn names(text: &str) -> BTreeSet<&str> {
    let words = text.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
    let ours = words.filter(|word| word.starts_with("imprint_"));
    ours.map(|name| ["_bucket", "_sum", "_count"].iter().fold(name, |name, end| name.trim_end_matches(end))).collect()
}

/// The expressions of the dashboard and of the alerts.
fn expressions() -> String {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/docker/observability");
    let dashboard = fs::read_to_string(format!("{folder}/dashboards/imprint.json")).unwrap();
    let rules = fs::read_to_string(format!("{folder}/rules.yml")).unwrap();
    let of = |text: &str, marker: &str| -> Vec<String> {
        text.lines().filter_map(|line| line.split_once(marker)).map(|(_, rest)| rest.to_owned()).collect()
    };
    [of(&dashboard, "\"expr\": "), of(&rules, "expr: ")].concat().join("\n")
}

#[test]
fn every_metric_that_the_dashboard_and_the_alerts_name_is_exported() {
    let folder = tempfile::tempdir().unwrap();
    bases::write(&folder.path().join("models"));
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut command = imprint(folder.path());
    // Without a cache, so that adapters are loaded.
    command.env("IMPRINT_ADMIN_LISTEN", free.to_string()).env("IMPRINT_ADAPTER_CACHE_MIB", "0");
    let mut server = Server::started(command);
    let key = key(folder.path(), "sqlite:imprint.db");
    server.post("/v1/adapt-predict", &key, &adapt_predict());
    let body = json!({"name": "places", "base_model": "plane", "support": points()});
    let task = server.post("/v1/tasks", &key, &body)["id"].as_str().unwrap().to_owned();
    server.post(&format!("/v1/tasks/{task}/adaptations"), &key, &json!({}));
    server.post(&format!("/v1/tasks/{task}/predict"), &key, &json!({"query": [[0, 0]]}));

    server.address = free.to_string();
    let metrics = server.get("/metrics", "");

    let (named, exported) = (expressions(), names(&metrics));
    let named = names(&named);
    assert!(named.len() >= 15, "{named:?}");
    let missing: Vec<_> = named.difference(&exported).collect();
    assert!(missing.is_empty(), "{missing:?} are not in {metrics}");
}

#[test]
fn a_server_has_one_openmp_runtime_and_computes_on_its_workers_threads_alone() {
    let folder = tempfile::tempdir().unwrap();
    bases::write(&folder.path().join("models"));
    let server = Server::started(imprint(folder.path())); // of one worker
    let key = key(folder.path(), "sqlite:imprint.db");
    for _ in 0..3 {
        server.post("/v1/adapt-predict", &key, &adapt_predict());
    }
    let place = format!("/proc/{}", server.process.id());

    let maps = fs::read_to_string(format!("{place}/maps")).unwrap();
    let runtimes: BTreeSet<&str> = maps
        .lines()
        .filter_map(|line| line.split_whitespace().nth(5))
        .filter(|file| ["libgomp", "libiomp", "libomp"].iter().any(|name| file.contains(name)))
        .collect();
    // A thread that OpenMP starts has the name of the one that it is for.
    let names = fs::read_dir(format!("{place}/task")).unwrap().map(|task| {
        let name = fs::read_to_string(task.unwrap().path().join("comm"));
        name.unwrap_or_default().trim().to_owned() // it may have ended
    });
    let workers = names.filter(|name| name.starts_with("imprint-worker")).count();

    assert_eq!(runtimes.len(), 1, "{runtimes:?}");
    assert_eq!(workers, 1);
}

/// Takes what is exported, and answers that it was taken.
fn collector() -> (SocketAddr, Arc<Mutex<Vec<Span>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (address, taken) = (listener.local_addr().unwrap(), Arc::new(Mutex::new(Vec::new())));
    let spans = Arc::clone(&taken);
    std::thread::spawn(move || {
        for connection in listener.incoming() {
            let mut connection = BufReader::new(connection.unwrap());
            let (mut length, mut line) = (0, String::new());
            while connection.read_line(&mut line).unwrap() > 2 {
                let lower = line.to_lowercase();
                if let Some(value) = lower.strip_prefix("content-length:") {
                    length = value.trim().parse().unwrap();
                }
                line.clear();
            }
            let mut body = vec![0; length];
            connection.read_exact(&mut body).unwrap();
            let request = ExportTraceServiceRequest::decode(&body[..]).unwrap();
            let scopes = request.resource_spans.into_iter().flat_map(|resource| resource.scope_spans);
            spans.lock().unwrap().extend(scopes.flat_map(|scope| scope.spans));
            let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
            connection.get_mut().write_all(answer).unwrap();
        }
    });
    (address, taken)
}

#[test]
fn a_collector_gets_the_spans_of_a_request_from_the_door_to_the_engine_in_the_callers_trace() {
    const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
    let folder = tempfile::tempdir().unwrap();
    bases::write(&folder.path().join("models"));
    let (address, spans) = collector();
    let mut command = imprint(folder.path());
    command.env("IMPRINT_OTLP_ENDPOINT", format!("http://{address}")).env("OTEL_BSP_SCHEDULE_DELAY", "50");
    let server = Server::started(command);
    let key = key(folder.path(), "sqlite:imprint.db");
    let line = format!(
        "POST /v1/adapt-predict HTTP/1.1\r\ncontent-type: application/json\r\n\
         traceparent: 00-{TRACE}-b7ad6b7169203331-01\r\n"
    );

    let answer = server.send(&line, &key, &adapt_predict().to_string());

    let of_trace =
        || -> Vec<Span> { spans.lock().unwrap().iter().filter(|span| hex(&span.trace_id) == TRACE).cloned().collect() };
    let of_name = |name: &str| of_trace().into_iter().find(|span| span.name == name);
    let names = ["request", "adapt_predict", "compute"];
    for _ in 0..200 {
        if names.iter().all(|name| of_name(name).is_some()) {
            break;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    let [request, service, engine] =
        names.map(|name| of_name(name).unwrap_or_else(|| panic!("no {name}: {:?}", of_trace())));
    assert_eq!(hex(&request.parent_span_id), "b7ad6b7169203331");
    assert_eq!((&service.parent_span_id, &engine.parent_span_id), (&request.span_id, &service.span_id));
    assert!(answer.contains(&format!("traceparent: 00-{TRACE}-{}-01", hex(&request.span_id))), "{answer}");
}
