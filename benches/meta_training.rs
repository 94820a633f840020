//! Tasks per second of the outer loop, data left out of it: what `benches/meta_training/compare.py` sets beside PyTorch and
//! JAX. Prints one line of JSON.
//!
//! ```text
//! cargo bench --bench meta_training -- conv4|sinusoid [SECONDS [THREADS]]
//! ```

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::Path;
use std::time::Instant;

use imprint::domain::{InputSchema, Kind, Polarity, Rows, Targets};
use imprint::meta::Episode;
use imprint::meta::task::{self, EpisodeSpec, Sources, Split, TaskDistribution, TaskError};
use imprint::trainer::{Begin, Observer, Run, StepReport, TrainConfig, ValidationReport};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use tch::Device;

/// Outer steps that are not counted.
const WARM_UP: u64 = 3;

/// MAML of second order with five inner steps: as in Finn et al. 2017, §5.1 (10 examples, 10 queries, 25 tasks; the step
/// of their code, since five of the paper's leave the finite numbers before anything is learned) and §5.2
/// (5-way 1-shot, 15 queries of a class, here with 64 filters and 16 tasks).
fn training_file(bench: &str) -> String {
    let (backbone, inner_lr, way, shot, query, meta_batch) = match bench {
        "conv4" => (r#"{ kind = "conv4", filters = 64, norm = "support" }"#, 0.1, 5, 1, 15, 16),
        _ => (r#"{ kind = "mlp", hidden = [40, 40] }"#, 0.001, 1, 10, 10, 25),
    };
    format!(
        r#"
        name = "bench"
        version = "1"
        description = "What is timed"
        seed = 1
        task = {{ kind = "sinusoid" }} # conv4 is given pictures of noise
        backbone = {backbone}
        [learner]
        kind = "maml"
        inner_steps = 5
        inner_lr = {inner_lr}
        order = "second"
        head_init = {{ kind = "learned", way = {way} }}
        [episode]
        way = [{way}, {way}]
        shot = [{shot}, {shot}]
        query = {query}
        [outer]
        steps = 1000000
        meta_batch = {meta_batch}
        lr = 1e-4
        final_lr = 1e-4
        [validation]
        every = 1000000
        episodes = 1
        settings = [{{ way = [{way}, {way}], shot = [{shot}, {shot}], query = {query} }}]
        [limits]
        max_support = 100
        max_labels = 10
        max_query = 100
        "#
    )
}

/// Pictures of random numbers, in classes.
struct Noise;

impl TaskDistribution for Noise {
    fn check(&self, _split: Split, _spec: &EpisodeSpec) -> Result<(), TaskError> {
        Ok(())
    }

    fn sample(&self, _split: Split, spec: &EpisodeSpec, rng: &mut ChaCha8Rng) -> Episode {
        let way = *spec.way.start();
        let mut draw = |each: usize| {
            let values = (0..way * each * 28 * 28).map(|_| rng.random::<f32>()).collect();
            let labels =
                (0..way).flat_map(|class| vec![class; each]).map(|class| u32::try_from(class).expect("few classes"));
            (Rows::new(28 * 28, values).expect("finite"), Targets::Classes { labels: labels.collect(), way })
        };
        let (support, support_targets) = draw(*spec.shot.start());
        let (query, query_targets) = draw(spec.query);
        Episode { support, support_targets, query, query_targets, unlabelled: None, names: None }
    }

    fn input(&self) -> InputSchema {
        InputSchema::Image { channels: 1, height: 28, width: 28, polarity: Polarity::AsIs }
    }

    fn kind(&self) -> Kind {
        Kind::Classification
    }

    fn describe(&self, _split: Split) -> String {
        "noise".to_owned()
    }

    fn checksums(&self) -> BTreeMap<String, String> {
        BTreeMap::new()
    }
}

/// Counts tasks from the end of the warm-up until time is over.
struct Stopwatch {
    seconds: f64,
    begun: Option<Instant>,
    tasks: usize,
}

impl Observer for Stopwatch {
    fn stepped(&mut self, report: &StepReport) -> ControlFlow<()> {
        match self.begun {
            None if report.step >= WARM_UP => self.begun = Some(Instant::now()),
            None => {}
            Some(begun) => {
                self.tasks += report.episodes;
                if begun.elapsed().as_secs_f64() >= self.seconds {
                    return ControlFlow::Break(());
                }
            }
        }
        ControlFlow::Continue(())
    }

    fn validated(&mut self, _report: &ValidationReport) {}
}

/// The most memory that this process ever held, in MiB.
fn peak_mib() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.trim().trim_end_matches(" kB").parse::<f64>().ok()? / 1024.0)
}

#[expect(clippy::print_stdout, reason = "the figures are what it is for")]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    imprint::nn::heap::keep(); // as `imprint train` does
    // Cargo adds flags of its own.
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    let bench = arguments.first().map_or("conv4", String::as_str);
    let seconds = arguments.get(1).map_or(Ok(10.0), |text| text.parse())?;
    let threads = arguments
        .get(2)
        .map_or_else(|| Ok(std::thread::available_parallelism().map_or(1, usize::from)), |text| text.parse())?;
    let config: TrainConfig = toml::from_str(&training_file(bench))?;
    let (data, encoders) = (Path::new(""), Path::new(""));
    let sources = Sources { data, encoders, tuning: None, progress: &|_, _| {} };
    let tasks: Box<dyn TaskDistribution> = match bench {
        "conv4" => Box::new(Noise),
        "sinusoid" => task::open(&config.task, &sources)?,
        other => return Err(format!("{other}: it is conv4 or sinusoid").into()),
    };
    let folder = tempfile::tempdir()?;
    let run = Run::open(config, tasks, folder.path(), Begin::New, None, Device::Cpu)?;
    let mut stopwatch = Stopwatch { seconds, begun: None, tasks: 0 };
    run.on_threads(threads).train(&mut stopwatch)?;
    let elapsed = stopwatch.begun.ok_or("nothing was counted")?.elapsed().as_secs_f64();
    let line = serde_json::json!({
        "peer": "imprint",
        "bench": bench,
        "threads": threads,
        "tasks_per_second": stopwatch.tasks as f64 / elapsed,
        "peak_mib": peak_mib(),
    });
    println!("{line}");
    Ok(())
}
