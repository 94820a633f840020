//! What computations take, against what they were predicted to take: memory at the peak, for every learner over a grid of
//! sizes.
//!
//! Measured in a process of its own, which gives memory back to the system at once, by the system's own high-water mark.

use std::fs;
use std::process::{Command, Stdio};

use imprint::domain::{
    BackboneConfig, GradOrder, HeadInit, InputSchema, Kind, LearnerConfig, Norm, Polarity, Precision, Recipe, Rows,
    Size, SupportSet, Targets,
};
use imprint::meta::cost::Accounting;
use imprint::meta::model::Architecture;
use imprint::meta::split::Split;
use imprint::meta::{Model, Phase};
use tch::Device;

use crate::models::names;

/// By how much a prediction may be too small.
const UNDER: f64 = 1.1;

/// From so many bytes on the slack that every prediction has does not matter.
const LARGE: f64 = 33_554_432.0;

/// Inner loops of an estimate: one after the other, so that more of them take no more memory.
const FOLDS: usize = 2;

/// Examples, classes and queries: half of them, unless `IMPRINT_GRID=wide` asks for all, which takes minutes.
const SIZES: [(usize, usize, usize); 8] =
    [(10, 2, 5), (60, 20, 256), (368, 2, 5), (400, 100, 50), (5, 5, 1), (25, 5, 75), (150, 3, 400), (800, 40, 20)];

fn sizes() -> &'static [(usize, usize, usize)] {
    let is_wide = std::env::var("IMPRINT_GRID").is_ok_and(|grid| grid == "wide");
    if is_wide { &SIZES } else { &SIZES[..SIZES.len() / 2] }
}

/// Tells the test binary that it is a process of its own, and which models are its part.
const ALONE: &str = "IMPRINT_MEASURED_ALONE";

/// Processes at a time, each with its own part of the models.
const PROCESSES: usize = 2;

#[test]
fn no_computation_takes_a_tenth_more_memory_than_predicted() {
    let measure = |part: usize| {
        Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "memory::measured_alone", "--ignored", "--nocapture", "--test-threads", "1"])
            .env(ALONE, part.to_string())
            // Whatever is freed goes back at once, and counts again when it is taken again.
            .env("MALLOC_MMAP_THRESHOLD_", "65536")
            .env("MALLOC_TRIM_THRESHOLD_", "65536")
            .env("MALLOC_ARENA_MAX", "1")
            .stdout(Stdio::piped())
            .spawn()
            .unwrap()
    };
    let measuring: Vec<_> = (0..PROCESSES).map(measure).collect();
    let ended = measuring.into_iter().map(|process| process.wait_with_output().unwrap());
    let text: String = ended.map(|output| String::from_utf8(output.stdout).unwrap()).collect();
    let figures: Vec<(&str, f64, f64)> = text.lines().filter_map(figure).collect();

    assert!(figures.len() >= 20 * sizes().len(), "{text}");
    let under: Vec<_> = figures.iter().filter(|(_, predicted, taken)| *taken > UNDER * predicted).collect();
    assert!(under.is_empty(), "{under:#?}");
    // An upper bound that is no use would be easy.
    let large: Vec<f64> = figures.iter().filter(|figure| figure.2 > LARGE).map(|figure| figure.1 / figure.2).collect();
    let mean = large.iter().sum::<f64>() / large.len() as f64;
    assert!(large.len() >= 10 && mean < 3.0, "{} large ones, predicted {mean:.2} times too much", large.len());
}

fn figure(line: &str) -> Option<(&str, f64, f64)> {
    let (name, rest) = line.split_once(" predicted ")?;
    let (predicted, taken) = rest.split_once(" taken ")?;
    Some((name, predicted.parse().ok()?, taken.parse().ok()?))
}

#[test]
#[ignore = "started by the test above, in a process of its own"]
#[expect(clippy::print_stdout, reason = "the figures go to the test above")]
fn measured_alone() {
    let part = std::env::var(ALONE).ok().and_then(|part| part.parse().ok());
    let part: usize = part.expect("run no_computation_takes_a_tenth_more_memory_than_predicted");
    tch::set_num_threads(1);
    for model in models().into_iter().skip(part).step_by(PROCESSES) {
        let split = Split::of(&model, Precision::Float32);
        let accounting = Accounting::of_model(&model, split.is_some());
        for &(support, outputs, query) in sizes() {
            let outputs = model.architecture.learner.fixed_way().unwrap_or(outputs);
            let taken = taken(&model, split.as_ref(), [support, outputs, query]);
            let size = Size { support, unlabelled: 0, query, outputs, inner_steps: None, folds: FOLDS };
            let (learner, backbone) = (model.architecture.learner.name(), &model.architecture.backbone);
            println!("{learner} on {backbone:?}, {size:?} predicted {} taken {taken}", accounting.cost(size).bytes);
        }
    }
}

/// Every learner on images, and most on vectors.
fn models() -> Vec<Model> {
    let (inner_steps, inner_lr, order) = (5, 0.01, GradOrder::First);
    let (shared, prototype) = (HeadInit::Shared {}, HeadInit::Prototype {});
    let maml = |head_init| LearnerConfig::Maml { inner_steps, inner_lr, order, head_init };
    let of_images = [
        maml(shared),
        maml(prototype),
        LearnerConfig::Anil { inner_steps, inner_lr, order, head_init: prototype },
        LearnerConfig::MetaSgd { inner_steps, inner_lr, order, head_init: shared },
        LearnerConfig::MamlPlusPlus { inner_steps, inner_lr, multi_step: 0.5, first_order: 0.0, head_init: shared },
        LearnerConfig::Reptile { inner_steps, inner_lr, head_init: shared },
        LearnerConfig::Cavia { inner_steps, inner_lr, order, contexts: 4, way: 5 },
        LearnerConfig::LearnedOptimizer { inner_steps, hidden: 8, head_init: shared },
        LearnerConfig::FineTune { inner_steps, inner_lr, way: 5 },
        LearnerConfig::Experts { experts: 2, of: Box::new(maml(shared)) },
        LearnerConfig::Experts { experts: 2, of: Box::new(LearnerConfig::R2d2 {}) },
        LearnerConfig::Protonet {},
        LearnerConfig::R2d2 {},
        LearnerConfig::KnownRidge { classes: names(5) },
        LearnerConfig::Logistic { steps: 20 },
    ];
    let of_vectors = of_images.iter().filter(|learner| learner.experts() == 1).cloned();
    let vectors = of_vectors.map(|learner| (InputSchema::Vector { width: 32 }, mlp(), learner)).collect::<Vec<_>>();
    let images = of_images.iter().map(|learner| {
        let norm = if learner.adapts_features() { Norm::Support } else { Norm::Running };
        (image(), BackboneConfig::Conv4 { filters: 32, norm }, learner.clone())
    });
    // A support set's own statistics under a closed form: rows do not go in tiles.
    let own = BackboneConfig::Conv4 { filters: 32, norm: Norm::Support };
    images
        .chain(vectors)
        .chain([(image(), own, LearnerConfig::Protonet {})])
        .map(|(input, backbone, learner)| {
            let architecture = Architecture { input, kind: Kind::Classification, backbone, learner };
            Model::fresh(architecture, 1, Device::Cpu).unwrap()
        })
        .collect()
}

fn mlp() -> BackboneConfig {
    BackboneConfig::Mlp { hidden: vec![256, 128] }
}

fn image() -> InputSchema {
    InputSchema::Image { channels: 1, height: 28, width: 28, polarity: Polarity::AsIs }
}

/// Bytes at the peak of an adaptation and a prediction with what it leaves, as the engine's workers do both.
fn taken(model: &Model, split: Option<&Split>, [support, outputs, query]: [usize; 3]) -> u64 {
    let width = model.architecture.input.row_width();
    let rows = |count: usize| {
        let values = (0..count * width).map(|index| (index * 7919 % 1009) as f32 / 1009.0).collect();
        Rows::new(width, values).unwrap()
    };
    let labels = (0..support).map(|row| u32::try_from(row % outputs).unwrap()).collect();
    let set = SupportSet::new(&rows(support), &Targets::Classes { labels, way: outputs }).unwrap();
    let query = rows(query);
    let compute = || match split {
        Some(split) => {
            let mut features = split.trunk.features(&[set.inputs(), &query]).unwrap();
            let rows = |values| Rows::new(split.trunk.width(), values).unwrap();
            let asked = rows(features.remove(1));
            let seen = set.with_rows(rows(features.remove(0)), None);
            finish(&split.head, &seen, &asked)
        }
        None => finish(model, &set, &query),
    };
    compute(); // what libtorch makes once and keeps
    fs::write("/proc/self/clear_refs", "5").unwrap();
    let before = status("VmRSS:");
    let file = compute();
    let peak = status("VmHWM:");
    drop(file);
    peak.saturating_sub(before)
}

fn finish(model: &Model, set: &SupportSet, query: &Rows) -> Vec<u8> {
    let tensors = model.adapt(set, &Recipe::default(), Phase::Serve).unwrap();
    model.held_out(set, &Recipe::default(), FOLDS).unwrap();
    let file = imprint::nn::checkpoint::to_bytes(&tensors, &[]).unwrap();
    model.predict(&tensors, query, Phase::Serve).unwrap();
    file
}

/// A figure of this process's, in bytes.
fn status(name: &str) -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    1024 * line.trim().trim_end_matches(" kB").parse::<u64>().unwrap()
}
