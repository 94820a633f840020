//! Adaptations a second with MAML, as a server makes them: five inner steps of conv4 with 64 filters, a thread a core.
//! `benches/meta_training/compare.py --bench adapt1 --bench adapt5` sets it beside PyTorch and JAX. Prints one line of JSON.
//!
//! ```text
//! cargo bench --bench adaptations -- adapt1|adapt5 [SECONDS [THREADS]]
//! ```
//!
//! The limit of the machine is told, too: multiply-adds a second that matrix products of 1024³ reach on as many threads, and
//! what part of them the adaptations are. Three passes a row and step are counted (forward, and backward to features and to
//! weights), but no pass back to the pixels, and nothing but convolutions and the head.

use std::time::{Duration, Instant};

use imprint::domain::{
    BackboneConfig, GradOrder, HeadInit, InputSchema, Kind, LearnerConfig, Norm, Polarity, Recipe, Rows, SupportSet,
    Targets,
};
use imprint::meta::model::Architecture;
use imprint::meta::{Model, Phase};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tch::{Device, Tensor};

const WAY: usize = 5;
const STEPS: u32 = 5;
const FILTERS: u64 = 64;
const WARM_UP: Duration = Duration::from_secs(1);

fn model() -> Result<Model, String> {
    let architecture = Architecture {
        input: InputSchema::Image { channels: 1, height: 28, width: 28, polarity: Polarity::AsIs },
        kind: Kind::Classification,
        backbone: BackboneConfig::Conv4 { filters: 64, norm: Norm::Support },
        learner: LearnerConfig::Maml {
            inner_steps: STEPS,
            inner_lr: 0.1,
            order: GradOrder::First,
            head_init: HeadInit::Learned { way: WAY },
        },
    };
    Model::fresh(architecture, 1, Device::Cpu)
}

/// A support set of noise.
fn support(seed: u64, shot: usize) -> SupportSet {
    let rng = &mut ChaCha8Rng::seed_from_u64(seed);
    let values = (0..WAY * shot * 28 * 28).map(|_| rng.random::<f32>()).collect();
    let labels = (0..WAY * shot).map(|row| u32::try_from(row % WAY).expect("few classes")).collect();
    let rows = Rows::new(28 * 28, values).expect("finite");
    SupportSet::new(&rows, &Targets::Classes { labels, way: WAY }).expect("valid")
}

/// Counts how often `work` is done in `time` by each of `threads`, after a warm-up; times a second.
fn rate<S>(threads: usize, time: Duration, start: impl Fn(u64) -> S + Sync, work: impl Fn(&mut S) + Sync) -> f64 {
    let from = Instant::now() + WARM_UP;
    let (start, work) = (&start, &work);
    std::thread::scope(|scope| {
        let running: Vec<_> = (0..threads as u64)
            .map(|thread| {
                scope.spawn(move || {
                    tch::set_num_threads(1);
                    let mut state = start(thread);
                    while Instant::now() < from {
                        work(&mut state);
                    }
                    let (begun, mut count) = (Instant::now(), 0u32);
                    while begun.elapsed() < time {
                        work(&mut state);
                        count += 1;
                    }
                    f64::from(count) / begun.elapsed().as_secs_f64()
                })
            })
            .collect();
        running.into_iter().map(|thread| thread.join().unwrap_or(f64::NAN)).sum()
    })
}

/// Multiply-adds of one adaptation.
fn multiply_adds(shot: usize) -> f64 {
    let (mut side, mut channels, mut of_row) = (28u64, 1u64, 0u64);
    for block in 0..4 {
        let forward = side * side * FILTERS * channels * 9;
        of_row += if block == 0 { 2 } else { 3 } * forward;
        (side, channels) = (side / 2, FILTERS);
    }
    of_row += 3 * FILTERS * WAY as u64;
    (of_row * (WAY * shot) as u64 * u64::from(STEPS)) as f64
}

#[expect(clippy::print_stdout, reason = "the figures are what it is for")]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    imprint::nn::heap::keep();
    // Cargo adds flags of its own.
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    let bench = arguments.first().map_or("adapt1", String::as_str);
    let shot = match bench {
        "adapt1" => 1,
        "adapt5" => 5,
        other => return Err(format!("{other}: it is adapt1 or adapt5").into()),
    };
    let time = Duration::from_secs_f64(arguments.get(1).map_or(Ok(5.0), |text| text.parse())?);
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = arguments.get(2).map_or(Ok(cores), |text| text.parse())?;
    let start = |thread: u64| {
        let model = model().expect("the architecture is valid");
        (model, (0..16).map(|task| support(100 * thread + task, shot)).collect::<Vec<_>>(), 0)
    };
    let adaptations = rate(threads, time, start, |(model, sets, next)| {
        let adapter = model.adapt(&sets[*next % sets.len()], &Recipe::default(), Phase::Serve);
        assert!(adapter.is_ok(), "noise is adapted to");
        *next += 1;
    });
    let square = |_| Tensor::rand([1024, 1024], (tch::Kind::Float, Device::Cpu));
    let products = rate(threads, time / 4, square, |square| drop(square.matmul(square)));
    let peak = products * 1024f64.powi(3);
    let status = std::fs::read_to_string("/proc/self/status")?;
    let high =
        status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB")?.parse::<f64>().ok());
    let line = serde_json::json!({
        "peer": "imprint",
        "bench": bench,
        "threads": threads,
        "tasks_per_second": adaptations,
        "peak_mib": high.map(|kib| kib / 1024.0),
        "peak_gigaflops": 2e-9 * peak,
        "part_of_peak": adaptations * multiply_adds(shot) / peak,
    });
    println!("{line}");
    Ok(())
}
