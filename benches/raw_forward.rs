//! The limit of the machine for a trunk: rows a second that libtorch pushes through conv4, nothing else being done. What
//! `imprint bench` reaches through HTTP is set beside it. Prints one line of JSON.
//!
//! ```text
//! cargo bench --bench raw_forward -- [SECONDS]
//! ```
//!
//! Convolutions with folded normalisation, channels last, inference only: by one thread of libtorch's on each core, and by
//! all of its threads together; in 32-bit and in 16-bit floats; in batches of several sizes. The best of each is told.

use std::time::{Duration, Instant};

use tch::{Device, Kind, Tensor};

const FILTERS: i64 = 64;

fn parameters(kind: Kind) -> Vec<(Tensor, Tensor)> {
    (0..4)
        .map(|block| {
            let inputs = if block == 0 { 1 } else { FILTERS };
            let weight = Tensor::randn([FILTERS, inputs, 3, 3], (Kind::Float, Device::Cpu)) * 0.05;
            (weight.to_kind(kind), Tensor::randn([FILTERS], (Kind::Float, Device::Cpu)).to_kind(kind))
        })
        .collect()
}

fn forward(parameters: &[(Tensor, Tensor)], x: &Tensor) -> Tensor {
    parameters.iter().fold(x.shallow_clone(), |h, (weight, bias)| {
        h.conv2d(weight, Some(bias), 1, 1, 1, 1).max_pool2d(2, 2, 0, 1, false).relu()
    })
}

/// Rows a second of one thread that does nothing else.
fn rows_a_second(kind: Kind, rows: i64, time: Duration) -> f64 {
    let _guard = tch::no_grad_guard();
    let parameters = parameters(kind);
    let x = Tensor::rand([rows, 28, 28, 1], (Kind::Float, Device::Cpu)).to_kind(kind).permute([0, 3, 1, 2]);
    for _ in 0..5 {
        let _ = forward(&parameters, &x);
    }
    let started = Instant::now();
    let mut passes = 0;
    while started.elapsed() < time {
        let _ = forward(&parameters, &x);
        passes += 1;
    }
    f64::from(passes) * rows as f64 / started.elapsed().as_secs_f64()
}

/// By `workers` at once, each with `threads` of libtorch's.
fn together(kind: Kind, rows: i64, workers: usize, threads: i32, time: Duration) -> f64 {
    std::thread::scope(|scope| {
        let running: Vec<_> = (0..workers)
            .map(|_| {
                scope.spawn(move || {
                    tch::set_num_threads(threads);
                    rows_a_second(kind, rows, time)
                })
            })
            .collect();
        running.into_iter().map(|worker| worker.join().unwrap_or(f64::NAN)).sum()
    })
}

#[expect(clippy::print_stdout, reason = "a line of JSON is what it is for")]
fn main() {
    let seconds = std::env::args().skip(1).find_map(|argument| argument.parse().ok()).unwrap_or(1.0);
    let time = Duration::from_secs_f64(seconds);
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let mut best = serde_json::Map::new();
    for (name, kind) in [("float32", Kind::Float), ("bfloat16", Kind::BFloat16)] {
        let mut tried: Vec<(f64, i64, &str)> = Vec::new();
        for rows in [8, 16, 24, 30, 48, 96, 192] {
            tried.push((together(kind, rows, cores, 1, time), rows, "a thread a core"));
            let threads = i32::try_from(cores).unwrap_or(1);
            tried.push((together(kind, rows, 1, threads, time), rows, "all threads together"));
        }
        if let Some((rate, rows, how)) = tried.into_iter().max_by(|one, other| one.0.total_cmp(&other.0)) {
            best.insert(
                name.to_owned(),
                serde_json::json!({ "rows_per_second": rate.round(), "batch": rows, "by": how }),
            );
        }
    }
    println!("{}", serde_json::Value::Object(best));
}
