//! What can be seen of a server from outside: its metrics, which are those that `docker/observability` names, and its
//! threads.

use std::collections::BTreeSet;
use std::fs;

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
