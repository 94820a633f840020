//! Small base models with fresh θ: what they answer is beside the point, that they answer is not.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::OnceLock;

use imprint::config::{DeviceSetting, EngineConfig};
use imprint::domain::{
    BackboneConfig, GradOrder, HeadInit, InputSchema, Kind, LearnerConfig, Limits, Manifest, Norm, Polarity, Provenance,
};
use imprint::engine::Engine;
use imprint::meta::model::Architecture;
use imprint::meta::{Model, Tagger, bundle};
use tch::Device;

use super::tiny_encoder;

pub const MAX_SUPPORT: usize = 20;
pub const MAX_LABELS: usize = 4;
pub const MAX_QUERY: usize = 8;
/// Rows and columns of an image.
pub const SIDE: u32 = 16;

/// An engine of two workers that all tests share: it remembers nothing from one command to the next.
pub fn engine() -> Engine {
    static SHARED: OnceLock<Engine> = OnceLock::new();
    SHARED.get_or_init(|| start(2, 256)).clone()
}

/// An engine with those base models.
pub fn start(workers: usize, engine_queue: usize) -> Engine {
    with(&EngineConfig { workers, engine_queue, ..EngineConfig::default() })
}

/// The same with other settings.
pub fn with(config: &EngineConfig) -> Engine {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path());
    let models = folder.path().to_owned();
    let (encoders, device) = (models.clone(), DeviceSetting::Cpu);
    let config = EngineConfig { models, encoders, device, ..config.clone() };
    Engine::start(&config).unwrap()
}

/// Writes the base models `line`, `marks`, `pair`, `plane`, `reach`, `tags`, `taste` and `words`, and the encoder that the
/// last three stand on.
pub fn write(folder: &Path) {
    let closed_form = LearnerConfig::Protonet {};
    let small = BackboneConfig::Mlp { hidden: vec![16] };
    let gradient = LearnerConfig::Maml {
        inner_steps: 2,
        inner_lr: 0.1,
        order: GradOrder::First,
        head_init: HeadInit::Learned { way: 2 },
    };
    let known = LearnerConfig::KnownRidge { classes: ["near", "far"].map(str::to_owned).to_vec() };
    let image =
        InputSchema::Image { channels: 1, height: SIDE as usize, width: SIDE as usize, polarity: Polarity::Ink };
    let conv = BackboneConfig::Conv4 { filters: 4, norm: Norm::Running };
    let text = tiny_encoder::write(&folder.join("tiny"));
    let tags = Architecture {
        input: text.clone(),
        kind: Kind::Tagging,
        backbone: BackboneConfig::Words { channels: 8, table: 64, row: 4, look: 8 },
        learner: LearnerConfig::Tagger { steps: 200, lr: 0.01, words: 1000 },
    };
    let tagger = Tagger::fresh(&tags, 7, Device::Cpu).unwrap();
    bundle::write(&folder.join("tags"), manifest("tags", &tags), &tagger.theta).unwrap();
    let InputSchema::Text { encoder, width, max_chars } = text.clone() else { panic!("an encoder of texts") };
    let items = InputSchema::Item { encoder, width, max_chars, features: 2 };
    let shown = BackboneConfig::Items { hidden: vec![], width: 4 };
    for (name, input, kind, backbone, learner) in [
        ("reach", InputSchema::Vector { width: 2 }, Kind::Classification, small.clone(), known),
        ("line", InputSchema::Vector { width: 1 }, Kind::Regression, small.clone(), LearnerConfig::R2d2 {}),
        ("marks", image, Kind::Classification, conv, closed_form.clone()),
        ("pair", InputSchema::Vector { width: 2 }, Kind::Classification, small.clone(), gradient),
        ("plane", InputSchema::Vector { width: 2 }, Kind::Classification, small.clone(), closed_form.clone()),
        ("taste", items, Kind::Ranking, shown, LearnerConfig::PriorRidge {}),
        ("words", text, Kind::Classification, small, closed_form),
    ] {
        let model = Model::fresh(Architecture { input, kind, backbone, learner }, 7, Device::Cpu).unwrap();
        bundle::write(&folder.join(name), manifest(name, &model.architecture), &model.theta).unwrap();
    }
}

/// Puts other numbers in the place of one of those base models'.
pub fn write_next(folder: &Path, name: &str) {
    let (base, model) = bundle::load_model(&folder.join(name), Device::Cpu).unwrap();
    let next = Model::fresh(model.architecture, 8, Device::Cpu).unwrap();
    bundle::write(&folder.join(name), base.manifest, &next.theta).unwrap();
}

/// Writes a base model whose numbers are none.
pub fn write_unfit(folder: &Path) {
    let (input, kind) = (InputSchema::Vector { width: 2 }, Kind::Classification);
    let (backbone, learner) = (BackboneConfig::Mlp { hidden: vec![4] }, LearnerConfig::Protonet {});
    let mut model = Model::fresh(Architecture { input, kind, backbone, learner }, 7, Device::Cpu).unwrap();
    model.theta = model.theta.map(|_, tensor| Ok(tensor.f_mul_scalar(f64::NAN)?)).unwrap();
    bundle::write(&folder.join("nan"), manifest("nan", &model.architecture), &model.theta).unwrap();
}

fn manifest(name: &str, architecture: &Architecture) -> Manifest {
    Manifest {
        format: bundle::FORMAT,
        name: name.to_owned(),
        version: "1".to_owned(),
        description: "A base model of the tests.".to_owned(),
        input: architecture.input.clone(),
        kinds: vec![architecture.kind],
        backbone: architecture.backbone.clone(),
        learner: architecture.learner.clone(),
        limits: Limits { max_support: MAX_SUPPORT, max_labels: MAX_LABELS, max_query: MAX_QUERY },
        theta_sha256: String::new(), // the writer's to fill in
        provenance: Provenance {
            config: serde_json::Value::Null,
            seed: 7,
            outer_steps: 0,
            best_step: 0,
            data: BTreeMap::new(),
            program: "tests".to_owned(),
            commit: None,
        },
        figures: Vec::new(),
    }
}
