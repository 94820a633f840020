//! Small models and episodes that the tests share.

use imprint::domain::{
    BackboneConfig, GradOrder, HeadInit, InputSchema, Kind, LearnerConfig, Norm, Polarity, Rows, Targets,
};
use imprint::meta::batch::Names;
use imprint::meta::model::Architecture;
use imprint::meta::{Episode, Model};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tch::Device;

/// Every learner. A new variant of [`LearnerConfig`] does not compile until it is listed in [`listed`].
pub fn learners() -> Vec<LearnerConfig> {
    let (inner_steps, inner_lr) = (3, 0.1);
    let (shared, prototype) = (HeadInit::Shared {}, HeadInit::Prototype {});
    let maml = |order, head_init| LearnerConfig::Maml { inner_steps, inner_lr, order, head_init };
    let (first, second) = (GradOrder::First, GradOrder::Second);
    let all = vec![
        maml(second, prototype),
        maml(second, shared),
        maml(first, shared),
        LearnerConfig::Anil { inner_steps, inner_lr, order: second, head_init: prototype },
        LearnerConfig::Anil { inner_steps, inner_lr, order: second, head_init: shared },
        LearnerConfig::MetaSgd { inner_steps, inner_lr, order: second, head_init: shared },
        LearnerConfig::MamlPlusPlus { inner_steps, inner_lr, multi_step: 0.5, first_order: 0.0, head_init: shared },
        LearnerConfig::Reptile { inner_steps, inner_lr, head_init: shared },
        LearnerConfig::Cavia { inner_steps, inner_lr, order: second, contexts: 4, way: 3 },
        LearnerConfig::LearnedOptimizer { inner_steps, hidden: 6, head_init: shared },
        LearnerConfig::FineTune { inner_steps, inner_lr, way: 3 },
        LearnerConfig::Experts { experts: 2, of: Box::new(maml(second, shared)) },
        LearnerConfig::Experts { experts: 3, of: Box::new(LearnerConfig::R2d2 {}) },
        LearnerConfig::Protonet {},
        LearnerConfig::R2d2 {},
        LearnerConfig::KnownRidge { classes: names(2) },
        LearnerConfig::Logistic { steps: 20 },
    ];
    assert!(all.iter().all(listed));
    all
}

fn listed(learner: &LearnerConfig) -> bool {
    match learner {
        LearnerConfig::Maml { .. }
        | LearnerConfig::Anil { .. }
        | LearnerConfig::MetaSgd { .. }
        | LearnerConfig::MamlPlusPlus { .. }
        | LearnerConfig::Reptile { .. }
        | LearnerConfig::Cavia { .. }
        | LearnerConfig::LearnedOptimizer { .. }
        | LearnerConfig::FineTune { .. }
        | LearnerConfig::Experts { .. }
        | LearnerConfig::Protonet {}
        | LearnerConfig::R2d2 {}
        | LearnerConfig::KnownRidge { .. }
        | LearnerConfig::Logistic { .. } => true,
        // These order items, see `preference.rs`, and learn from sentences, see the tests of `meta::tagging`.
        LearnerConfig::PriorRidge {} | LearnerConfig::Tagger { .. } => false,
    }
}

/// What the first classes of an [`episode`] are called.
pub fn names(count: usize) -> Vec<String> {
    (0..count).map(|class| format!("c{class}")).collect()
}

/// A classifier of vectors.
pub fn mlp(learner: LearnerConfig, kind: Kind) -> Model {
    let architecture = Architecture {
        input: InputSchema::Vector { width: 3 },
        kind,
        backbone: BackboneConfig::Mlp { hidden: vec![8, 6] },
        learner,
    };
    Model::fresh(architecture, 5, Device::Cpu).unwrap()
}

/// A classifier of 16×16 images.
pub fn conv4(learner: LearnerConfig) -> Model {
    let norm = if learner.adapts_features() { Norm::Support } else { Norm::Running };
    let input = InputSchema::Image { channels: 1, height: 16, width: 16, polarity: Polarity::AsIs };
    let backbone = BackboneConfig::Conv4 { filters: 4, norm };
    let architecture = Architecture { input, kind: Kind::Classification, backbone, learner };
    Model::fresh(architecture, 5, Device::Cpu).unwrap()
}

/// An episode of `shots.len()` classes whose rows lie around a centre of their own; class c has `shots[c]` support rows.
pub fn episode(width: usize, shots: &[usize], queries: usize, seed: u64) -> Episode {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let centres: Vec<Vec<f32>> =
        shots.iter().map(|_| (0..width).map(|_| rng.random_range(-1.0..1.0)).collect()).collect();
    let mut draw = |counts: &[usize]| {
        let (mut values, mut labels) = (Vec::new(), Vec::new());
        for (class, &count) in counts.iter().enumerate() {
            for _ in 0..count {
                values.extend(centres[class].iter().map(|centre| centre + rng.random_range(-0.4..0.4f32)));
                labels.push(u32::try_from(class).unwrap());
            }
        }
        (Rows::new(width, values).unwrap(), Targets::Classes { labels, way: counts.len() })
    };
    let (support, support_targets) = draw(shots);
    let (query, query_targets) = draw(&vec![queries; shots.len()]);
    let names = Names { labels: names(shots.len()), rows: None };
    Episode { support, support_targets, query, query_targets, unlabelled: None, names: Some(names) }
}
