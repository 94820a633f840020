//! The main job as a client sees it: five characters that the base model never met, three drawings of each to adapt to,
//! three more to recognise. `make demo` starts a server and runs this against it.
//!
//! Reads `IMPRINT_URL` (default `http://127.0.0.1:8080`) and the key in the file `IMPRINT_KEY_FILE` (default `.imprint/demo.key`).

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "it reports to the person who started it")]

use std::error::Error;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};
use std::{env, fs, thread};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

type Failure = Box<dyn Error>;

const DRAWINGS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/omniglot");

struct Client {
    agent: ureq::Agent,
    url: String,
    key: String,
}

impl Client {
    fn new(url: &str, key: &str) -> Self {
        // A refusal is worth reading: its body says what is wrong, so statuses are looked at here.
        let agent = ureq::Agent::config_builder().proxy(None).http_status_as_error(false).build().new_agent();
        Self { agent, url: url.to_owned(), key: format!("Bearer {}", key.trim()) }
    }

    fn get(&self, path: &str) -> Result<Value, Failure> {
        read(path, self.agent.get(format!("{}{path}", self.url)).header("Authorization", &self.key).call()?)
    }

    fn post(&self, path: &str, body: &Value) -> Result<Value, Failure> {
        let request = self.agent.post(format!("{}{path}", self.url)).header("Authorization", &self.key);
        // `Prefer: wait` asks for the result in this answer; calls that have nothing to wait for take no notice.
        let request = request.header("Prefer", "wait=10").content_type("application/json");
        read(path, request.send(body.to_string())?)
    }
}

fn read(path: &str, mut response: ureq::http::Response<ureq::Body>) -> Result<Value, Failure> {
    let status = response.status();
    let body = response.body_mut().read_to_string()?;
    if status.is_success() {
        Ok(serde_json::from_str(&body)?)
    } else {
        Err(format!("{path} answers {status}: {body}").into())
    }
}

struct Drawing {
    file: String,
    character: String,
    input: Value,
}

/// The drawings of one folder, in the order of their names `<alphabet>-<character>-<drawer>.png`.
fn drawings(folder: &str) -> Result<Vec<Drawing>, Failure> {
    let mut found = Vec::new();
    for entry in fs::read_dir(Path::new(DRAWINGS).join(folder))? {
        let entry = entry?;
        let file = entry.file_name().to_string_lossy().into_owned();
        let (character, _) = file.rsplit_once('-').ok_or_else(|| format!("{file} is not named after a drawer"))?;
        let input = json!({ "image": BASE64_STANDARD.encode(fs::read(entry.path())?) });
        found.push(Drawing { character: character.to_owned(), input, file });
    }
    found.sort_by(|a, b| a.file.cmp(&b.file));
    Ok(found)
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("demo: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Failure> {
    let url = env::var("IMPRINT_URL").unwrap_or_else(|_| "http://127.0.0.1:8080".to_owned());
    let key_file = env::var("IMPRINT_KEY_FILE").unwrap_or_else(|_| ".imprint/demo.key".to_owned());
    let key = fs::read_to_string(&key_file).map_err(|error| format!("{key_file}: {error}"))?;
    let client = Client::new(&url, &key);

    let bases = client.get("/v1/base-models")?;
    let names: Vec<&str> =
        bases["data"].as_array().into_iter().flatten().filter_map(|base| base["name"].as_str()).collect();
    println!("Base models on {url}: {}\n", names.join(", "));

    let task = client
        .post("/v1/tasks", &json!({ "name": "mongolian", "base_model": "omniglot", "kind": "classification" }))?;
    let task = task["id"].as_str().ok_or("the new task has no id")?;
    let examples: Vec<Value> = drawings("support")?
        .into_iter()
        .map(|drawing| json!({ "input": drawing.input, "label": drawing.character }))
        .collect();
    client.post(&format!("/v1/tasks/{task}/support"), &json!({ "examples": examples }))?;

    let start = Instant::now();
    let adaptation = adapt(&client, task)?;
    let adapting = start.elapsed();

    let queries = drawings("query")?;
    let inputs: Vec<&Value> = queries.iter().map(|drawing| &drawing.input).collect();
    let start = Instant::now();
    let answer = client.post(&format!("/v1/tasks/{task}/predict"), &json!({ "query": inputs, "top_k": 3 }))?;
    let predicting = start.elapsed();

    let predictions = answer["predictions"].as_array().ok_or("the answer has no predictions")?;
    let right = print_table(&queries, predictions);
    println!("\n{right} of {} drawings recognised, after {} examples.", queries.len(), examples.len());
    print_estimate(&adaptation["result"]["quality"]);
    println!(
        "Adapted in {adapting:.1?}, answered {} drawings in {predicting:.1?}, HTTP and storage included.",
        queries.len()
    );
    print_next_steps(&url, &key_file, task, &queries[0].file);
    Ok(())
}

/// Runs an adaptation to its end, also when it takes longer than one request may.
fn adapt(client: &Client, task: &str) -> Result<Value, Failure> {
    let mut adaptation = client.post(&format!("/v1/tasks/{task}/adaptations"), &json!({}))?;
    while matches!(adaptation["status"].as_str(), Some("queued" | "running")) {
        thread::sleep(Duration::from_millis(200));
        adaptation =
            client.get(&format!("/v1/adaptations/{}", adaptation["id"].as_str().ok_or("the adaptation has no id")?))?;
    }
    if adaptation["status"] == "succeeded" {
        Ok(adaptation)
    } else {
        Err(format!("the adaptation went wrong: {adaptation}").into())
    }
}

/// Prints a line for each drawing and counts the right ones.
fn print_table(queries: &[Drawing], predictions: &[Value]) -> usize {
    println!("{:<21}  {:<12}  {:<12}  probability", "drawing", "is", "predicted");
    let mut right = 0;
    for (query, prediction) in queries.iter().zip(predictions) {
        let label = prediction["label"].as_str().unwrap_or("(abstains)");
        let confidence = prediction["confidence"].as_f64().unwrap_or(f64::NAN);
        let mark = if label == query.character { "right" } else { "WRONG" };
        right += usize::from(label == query.character);
        println!("{:<21}  {:<12}  {label:<12}  {confidence:>11.3}  {mark}", query.file, query.character);
    }
    right
}

fn print_estimate(quality: &Value) {
    if let Some(accuracy) = quality["accuracy"].as_f64() {
        let [low, high] = [0, 1].map(|end| quality["accuracy_ci95"][end].as_f64().unwrap_or(f64::NAN));
        println!("The service's own estimate, from the examples alone: {accuracy:.2} (95 %: {low:.2} to {high:.2}).");
    }
}

fn print_next_steps(url: &str, key_file: &str, task: &str, drawing: &str) {
    println!(
        r#"
The server stays up on {url}, its key is in {key_file}. What to try next:

  KEY=$(cat {key_file})
  curl -H "Authorization: Bearer $KEY" {url}/v1/tasks/{task}
  curl -H "Authorization: Bearer $KEY" -H "Content-Type: application/json" {url}/v1/tasks/{task}/predict \
    -d "{{\"query\": [{{\"image\": \"$(base64 -w0 examples/omniglot/query/{drawing})\"}}], \"top_k\": 3}}"

Every operation, with examples: {url}/docs"#
    );
}
