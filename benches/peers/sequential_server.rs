//! What a user would build instead, in Rust: a plain axum server around `tch`, one request after another on all of
//! torch's threads. Same base model, same request and answer; nothing of Imprint's but the base model's files.
//!
//! ```text
//! cargo bench --bench sequential_server -- --model models/omniglot --port 8092
//! ```

use std::io::Cursor;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use axum::extract::State;
use axum::routing::{get, post};
use axum::{Json, Router};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tch::nn::{self, ModuleT};
use tch::{Device, Kind, Tensor};

const SIDE: u32 = 28;

#[derive(Deserialize)]
struct Body {
    support: Vec<Example>,
    query: Vec<Picture>,
}

#[derive(Deserialize)]
struct Example {
    input: Picture,
    label: String,
}

#[derive(Deserialize)]
struct Picture {
    image: String,
}

#[derive(Serialize)]
struct Score {
    label: String,
    score: f64,
}

struct Served {
    _vars: nn::VarStore,
    backbone: nn::SequentialT,
}

/// conv4 with running statistics.
fn load(folder: &Path) -> Served {
    let mut vars = nn::VarStore::new(Device::Cpu);
    let root = vars.root();
    let mut backbone = nn::seq_t();
    for block in 0..4 {
        let inputs = if block == 0 { 1 } else { 64 };
        let conv = nn::ConvConfig { padding: 1, ..Default::default() };
        backbone = backbone
            .add(nn::conv2d(&root / format!("conv{block}"), inputs, 64, 3, conv))
            .add(nn::batch_norm2d(&root / format!("norm{block}"), 64, nn::BatchNormConfig::default()))
            .add_fn(|x| x.relu().max_pool2d_default(2));
    }
    let _guard = tch::no_grad_guard();
    let theta = Tensor::read_safetensors(folder.join("theta.safetensors")).expect("the base model's θ");
    for (name, mut variable) in vars.variables() {
        let stored = name.replace("running_mean", "mean").replace("running_var", "var");
        let prefix = if stored == name { "backbone." } else { "stats." };
        let wanted = format!("{prefix}{stored}");
        let (_, value) = theta.iter().find(|(own, _)| *own == wanted).unwrap_or_else(|| panic!("θ has no {wanted}"));
        variable.copy_(value);
    }
    vars.freeze();
    Served { _vars: vars, backbone }
}

fn pixels(picture: &Picture) -> Vec<f32> {
    let bytes = STANDARD.decode(&picture.image).expect("base64");
    let image = image::ImageReader::new(Cursor::new(bytes)).with_guessed_format().expect("a picture");
    let grey = image.decode().expect("a picture").to_luma8();
    let small = image::imageops::thumbnail(&grey, SIDE, SIDE);
    let values: Vec<f32> = small.pixels().map(|pixel| f32::from(pixel.0[0]) / 255.0).collect();
    let side = SIDE as usize;
    let border = (0..side)
        .flat_map(|i| [values[i], values[(side - 1) * side + i], values[i * side], values[i * side + side - 1]]);
    let is_light = border.sum::<f32>() / (4 * side) as f32 > 0.5;
    values.into_iter().map(|value| if is_light { 1.0 - value } else { value }).collect()
}

fn answer(served: &Served, body: &Body) -> Value {
    let mut labels: Vec<&str> = Vec::new();
    let mut classes = Vec::new();
    for example in &body.support {
        let place = labels.iter().position(|label| *label == example.label).unwrap_or_else(|| {
            labels.push(&example.label);
            labels.len() - 1
        });
        classes.push(place as i64);
    }
    let (way, rows) = (labels.len() as i64, classes.len() as i64);
    let pictures = body.support.iter().map(|example| &example.input).chain(&body.query);
    let values: Vec<f32> = pictures.flat_map(pixels).collect();
    let _guard = tch::no_grad_guard();
    let x = Tensor::from_slice(&values).view([-1, 1, i64::from(SIDE), i64::from(SIDE)]);
    let features = served.backbone.forward_t(&x, false).flatten(1, -1);
    let (support, query) = (features.narrow(0, 0, rows), features.narrow(0, rows, features.size()[0] - rows));
    let one_hot = Tensor::from_slice(&classes).one_hot(way).to_kind(Kind::Float);
    let counts = one_hot.sum_dim_intlist([0i64].as_slice(), false, Kind::Float);
    let prototypes = one_hot.tr().matmul(&support) / counts.unsqueeze(1);
    let distances = |x: &Tensor| Tensor::cdist(x, &prototypes, 2.0, None).square();
    let scores = (-distances(&query)).softmax(-1, Kind::Float);
    // Leave-one-out: without itself, a class's mean is farther by (n / (n - 1)).
    let factor = (&counts / (&counts - 1.0).clamp_min(1.0)).square();
    let own: Tensor = &one_hot * factor + (1.0 - &one_hot);
    let held_out: Tensor = distances(&support) * own;
    let right = held_out.argmin(-1, false).eq_tensor(&Tensor::from_slice(&classes)).to_kind(Kind::Float);
    let accuracy = right.mean(Kind::Float).double_value(&[]);
    let predictions: Vec<Value> = (0..body.query.len() as i64)
        .map(|row| {
            let mut ranked: Vec<Score> = labels
                .iter()
                .zip(0..)
                .map(|(label, class)| Score { label: (*label).to_owned(), score: scores.double_value(&[row, class]) })
                .collect();
            ranked.sort_by(|one, other| other.score.total_cmp(&one.score));
            json!({ "label": ranked[0].label, "confidence": ranked[0].score, "scores": ranked })
        })
        .collect();
    json!({ "predictions": predictions, "quality": { "method": "leave_one_out", "accuracy": accuracy } })
}

type Shared = Arc<Mutex<Served>>;

async fn adapt_predict(State(served): State<Shared>, Json(body): Json<Body>) -> Json<Value> {
    let work = move || answer(&served.lock().expect("no handler panics"), &body);
    Json(tokio::task::spawn_blocking(work).await.expect("no handler panics"))
}

#[tokio::main]
async fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let given = |flag: &str| arguments.iter().position(|own| own == flag).and_then(|at| arguments.get(at + 1));
    let folder = PathBuf::from(given("--model").map_or("models/omniglot", String::as_str));
    let port = given("--port").map_or("8092", String::as_str);
    let manifest = std::fs::read(folder.join("manifest.json")).expect("a base model's folder");
    let manifest: Value = serde_json::from_slice(&manifest).expect("a manifest");
    let described = Json(json!({ "name": "omniglot", "input": manifest["input"] }));
    let app = Router::new()
        .route("/v1/base-models/{name}", get(|| async { described }))
        .route("/v1/adapt-predict", post(adapt_predict))
        .with_state(Arc::new(Mutex::new(load(&folder))));
    let listener = tokio::net::TcpListener::bind(format!("127.0.0.1:{port}")).await.expect("a free port");
    axum::serve(listener, app).await.expect("a server");
}
