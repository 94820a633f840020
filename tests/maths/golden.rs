//! What PyTorch says to the same inputs: `tests/golden/golden.json`, made by `tests/golden/make.py`.
//!
//! There the tasks are taken one at a time in double precision; here they are stacked, padded and masked.

use std::sync::LazyLock;

use imprint::domain::{BackboneConfig, InputSchema, Kind, LearnerConfig, Norm, Polarity, Rows, Targets};
use imprint::meta::learner::predict;
use imprint::meta::model::Architecture;
use imprint::meta::{Episode, Model, Names, Phase, Query, Support, batch};
use imprint::nn::grad::{Graph, grad};
use imprint::nn::norm::{Normalizer, Statistics};
use imprint::nn::optim::Adam;
use imprint::nn::{Params, bridge, loss, ops};
use serde_json::Value;
use tch::{Device, Kind as Dtype, Tensor};

/// Largest difference between single and double precision, relative to the largest number that is compared.
const TOLERANCE: f32 = 1e-5;
/// The same after an inner loop and the way back through it.
const AFTER_INNER_LOOP: f32 = 3e-5;
/// Reptile's direction is a difference of weights that are nearly equal.
const DIFFERENCE: f32 = 1e-4;
/// The learned optimizer is given small gradients times e¹⁰, and their rounding with them.
const MAGNIFIED: f32 = 1e-3;

static GOLDEN: LazyLock<Value> = LazyLock::new(|| serde_json::from_str(include_str!("../golden/golden.json")).unwrap());

fn shape(value: &Value) -> Vec<i64> {
    value["shape"].as_array().unwrap().iter().map(|side| side.as_i64().unwrap()).collect()
}

fn floats(value: &Value) -> Vec<f32> {
    serde_json::from_value(value["values"].clone()).unwrap()
}

fn labels(value: &Value) -> Vec<u32> {
    value["values"].as_array().unwrap().iter().map(|label| u32::try_from(label.as_u64().unwrap()).unwrap()).collect()
}

fn tensor(value: &Value) -> Tensor {
    bridge::tensor(&floats(value), &shape(value), Device::Cpu).unwrap()
}

/// Each tensor of an object, by `prefix` and its name there.
fn params(value: &Value, prefix: &str) -> Params {
    value.as_object().unwrap().iter().map(|(name, value)| (format!("{prefix}{name}"), tensor(value))).collect()
}

fn assert_close(what: &str, ours: &Tensor, theirs: &Value, tolerance: f32) {
    assert_within(what, ours, theirs, tolerance * largest(theirs));
}

fn assert_within(what: &str, ours: &Tensor, theirs: &Value, bound: f32) {
    assert_eq!(ours.size(), shape(theirs), "{what}");
    let pairs = bridge::values(ours).unwrap().into_iter().zip(floats(theirs));
    let furthest = pairs.map(|(ours, theirs)| (ours - theirs).abs()).fold(0.0, f32::max);
    assert!(furthest <= bound, "{what}: {furthest} and not {bound}");
}

fn largest(value: &Value) -> f32 {
    floats(value).into_iter().map(f32::abs).fold(0.0, f32::max)
}

#[test]
fn linear_layers_and_convolutions_are_those_of_pytorch_with_shared_and_with_own_parameters() {
    for name in ["linear", "linear_own", "conv3x3", "conv3x3_own"] {
        let case = &GOLDEN["layers"][name];
        let layer = params(&case["layer"], "layer.");
        let apply = if name.starts_with("linear") { ops::linear } else { ops::conv3x3 };
        let out = apply(&tensor(&case["x"]), &layer.scope("layer")).unwrap();
        assert_close(name, &out, &case["out"], TOLERANCE);
    }
}

#[test]
fn max_pooling_is_that_of_pytorch_odd_sides_included() {
    let case = &GOLDEN["layers"]["max_pool2"];
    assert_close("max_pool2", &ops::max_pool2(&tensor(&case["x"])).unwrap(), &case["out"], 0.0);
}

#[test]
fn normalisation_is_that_of_pytorch_wherever_its_statistics_come_from() {
    let case = &GOLDEN["layers"]["norm"];
    let (x, layer, given) = (tensor(&case["x"]), params(&case["layer"], "norm."), params(&case["stats"], ""));
    let every_row = Tensor::ones([2, 3], (Dtype::Float, Device::Cpu));
    for (name, statistics) in [
        ("fixed", Statistics::Fixed(&given)),
        ("batch", Statistics::Batch { mask: None }),
        ("batch", Statistics::Batch { mask: Some(&every_row) }),
        ("per_task", Statistics::PerTask { mask: None, keep: false }),
        ("per_task", Statistics::PerTask { mask: None, keep: true }),
        ("per_task", Statistics::PerTask { mask: Some(&every_row), keep: true }),
    ] {
        let out = Normalizer::new(statistics).apply("norm", &x, &layer.scope("norm")).unwrap();
        assert_close(name, &out, &case[name], TOLERANCE);
    }
}

#[test]
fn padded_rows_have_no_part_in_statistics() {
    let case = &GOLDEN["layers"]["norm"];
    let (x, layer) = (tensor(&case["x"]), params(&case["layer"], "norm."));
    let padded = Tensor::cat(&[&x, &(x.narrow(1, 0, 1) * 0.0 + 7.0)], 1);
    let mask = bridge::tensor(&[1.0, 1.0, 1.0, 0.0, 1.0, 1.0, 1.0, 0.0], &[2, 4], Device::Cpu).unwrap();
    for (name, statistics) in [
        ("batch", Statistics::Batch { mask: Some(&mask) }),
        ("per_task", Statistics::PerTask { mask: Some(&mask), keep: false }),
    ] {
        let out = Normalizer::new(statistics).apply("norm", &padded, &layer.scope("norm")).unwrap();
        assert_close(name, &out.narrow(1, 0, 3), &case[name], TOLERANCE);
    }
}

#[test]
fn losses_are_those_of_pytorch() {
    let case = &GOLDEN["layers"]["losses"];
    let every_row = Tensor::ones([2, 4], (Dtype::Float, Device::Cpu));
    let labels: Vec<i64> = labels(&case["labels"]).into_iter().map(i64::from).collect();
    let labels = bridge::index_tensor(&labels, &[2, 4], Device::Cpu).unwrap();
    let ours = loss::cross_entropy(&tensor(&case["logits"]), &labels, &every_row).unwrap();
    assert_close("cross_entropy", &ours, &case["cross_entropy"], TOLERANCE);
    let ours = loss::squared_error(&tensor(&case["values"]), &tensor(&case["targets"]), &every_row).unwrap();
    assert_close("squared_error", &ours, &case["squared_error"], TOLERANCE);
}

#[test]
fn adam_takes_the_steps_of_pytorch() {
    let case = &GOLDEN["adam"];
    let named = |value: &Value| -> Params { [("p".to_owned(), tensor(value))].into_iter().collect() };
    let mut p = named(&case["start"]);
    let mut adam = Adam::new(&p).unwrap();
    for (grads, after) in case["grads"].as_array().unwrap().iter().zip(case["steps"].as_array().unwrap()) {
        p = adam.step(&p, &named(grads), case["lr"].as_f64().unwrap()).unwrap();
        assert_close("adam", p.get("p").unwrap(), after, TOLERANCE);
    }
}

/// A learner on a backbone, with θ, tasks, and what PyTorch makes of them.
struct Case {
    name: String,
    model: Model,
    episodes: Vec<Episode>,
    golden: &'static Value,
    tolerance: f32,
}

impl Case {
    fn all() -> impl Iterator<Item = Self> {
        GOLDEN["learners"].as_array().unwrap().iter().map(Self::of)
    }

    fn of(golden: &'static Value) -> Self {
        let learner: LearnerConfig = serde_json::from_value(golden["learner"].clone()).unwrap();
        let norm = if learner.adapts_features() { Norm::Support } else { Norm::Running };
        let (input, backbone) = match golden["backbone"].as_str().unwrap() {
            "mlp" => (InputSchema::Vector { width: 3 }, BackboneConfig::Mlp { hidden: vec![6, 5] }),
            _ => (
                InputSchema::Image { channels: 1, height: 16, width: 16, polarity: Polarity::AsIs },
                BackboneConfig::Conv4 { filters: 3, norm },
            ),
        };
        let name = format!("{} on {}", golden["learner"], golden["backbone"]);
        let architecture = Architecture { input, kind: Kind::Classification, backbone, learner };
        let model = Model::with_theta(architecture, params(&golden["theta"], ""), Device::Cpu).unwrap();
        model.check_theta().unwrap();
        let episodes = golden["tasks"].as_array().unwrap().iter().map(episode).collect();
        let tolerance = match model.architecture.learner {
            LearnerConfig::LearnedOptimizer { .. } => MAGNIFIED,
            LearnerConfig::Reptile { .. } => DIFFERENCE,
            _ => AFTER_INNER_LOOP,
        };
        Self { name, model, episodes, golden, tolerance }
    }

    fn stacked(&self) -> (Support, Query) {
        batch::stack(&self.episodes, &self.model.architecture, Device::Cpu).unwrap()
    }
}

fn episode(task: &Value) -> Episode {
    let way = usize::try_from(task["way"].as_u64().unwrap()).unwrap();
    let rows = |part: &str| {
        let width = shape(&task[part])[1..].iter().product::<i64>();
        Rows::new(usize::try_from(width).unwrap(), floats(&task[part])).unwrap()
    };
    let targets = |part: &str| Targets::Classes { labels: labels(&task[part]), way };
    Episode {
        support: rows("support"),
        support_targets: targets("support_labels"),
        query: rows("query"),
        query_targets: targets("query_labels"),
        unlabelled: None,
        names: (!task["names"].is_null() || !task["labels"].is_null()).then(|| Names {
            labels: serde_json::from_value(task["labels"].clone()).unwrap_or_default(),
            rows: task.get("names").map(|_| rows("names")),
        }),
    }
}

#[test]
fn every_learner_answers_as_the_same_learner_written_in_pytorch() {
    for case in Case::all() {
        let (support, query) = case.stacked();
        let Model { net, learner, theta, .. } = &case.model;
        let adapted = learner.adapt(net, theta, &support, None, Phase::Serve).unwrap();
        let (outputs, _) = predict(net, theta, &adapted.tensors, &query.x, query.padding(), Phase::Serve).unwrap();
        for (task, theirs) in case.golden["outputs"].as_array().unwrap().iter().enumerate() {
            let (rows, way) = (shape(theirs)[0], shape(theirs)[1]);
            let ours = outputs.select(0, task as i64).narrow(0, 0, rows).narrow(1, 0, way);
            assert_close(&format!("{} task {task}", case.name), &ours, theirs, case.tolerance);
        }
    }
}

#[test]
fn every_learners_outer_gradient_is_that_of_the_same_learner_written_in_pytorch() {
    for case in Case::all() {
        let (support, query) = case.stacked();
        let statistics = case.model.theta.filtered(|name| name.starts_with("stats."));
        let leaves = case.model.trainable().leaves().unwrap();
        let progress = case.golden["progress"].as_f64().unwrap_or(1.0);
        let theta = leaves.overlaid(&statistics);
        let lesson = case.model.learner.lesson(&case.model.net, &theta, &support, &query, progress).unwrap();
        assert_close(&case.name, &lesson.loss.detach(), &case.golden["loss"], case.tolerance);
        let gradient = lesson.gradient.unwrap_or_else(|| grad(&lesson.loss, &leaves, Graph::Free).unwrap());
        let theirs = case.golden["grads"].as_object().unwrap();
        assert_eq!(gradient.len(), theirs.len(), "{}", case.name);
        // Some are zero but for rounding, such as those of a bias before a normalisation.
        let bound = case.tolerance * theirs.values().map(largest).fold(0.0, f32::max);
        for (name, ours) in gradient.iter() {
            assert_within(&format!("{} ∂ {name}", case.name), ours, &theirs[name], bound);
        }
    }
}
