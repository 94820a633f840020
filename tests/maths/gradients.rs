//! Outer gradients against central finite differences.

use imprint::domain::{GradOrder, HeadInit, Kind, LearnerConfig};
use imprint::meta::{Episode, Model, batch};
use imprint::nn::grad::{Graph, grad};
use imprint::nn::{Params, bridge};
use tch::{Device, Tensor};

use crate::models::{episode, mlp, names};

/// Half the distance between the two points: small enough to cross hardly a kink of a ReLU, large enough for 32-bit
/// losses of about 1, whose rounding is 6e-8.
const STEP: f32 = 4e-4;
/// What rounding over that distance leaves, and the third derivative.
const TOLERANCE: f64 = 8e-3;

/// Where in meta-training the lesson is: half-way from the losses of all steps to the last one's, for who asks.
const PROGRESS: f64 = 0.25;

fn query_loss(model: &Model, theta: &Params, episode: &Episode) -> Tensor {
    let (support, query) = batch::stack(std::slice::from_ref(episode), &model.architecture, Device::Cpu).unwrap();
    model.learner.lesson(&model.net, theta, &support, &query, PROGRESS).unwrap().loss
}

/// The largest difference between the outer gradient and finite differences, over a few entries of each parameter,
/// relative to the gradient's own size.
fn worst(model: &Model, episode: &Episode) -> f64 {
    let theta = model.trainable().leaves().unwrap();
    let grads = grad(&query_loss(model, &theta, episode), &theta, Graph::Free).unwrap();
    let scale = grads.tensors().map(|tensor| tensor.abs().max().double_value(&[])).fold(0.0, f64::max);
    let mut worst = 0.0f64;
    for (name, tensor) in theta.iter() {
        let values = bridge::values(tensor).unwrap();
        for index in (0..values.len()).step_by(values.len().div_ceil(5)) {
            let moved = |step: f32| {
                let mut values = values.clone();
                values[index] += step;
                let mut theta = theta.shallow_clone();
                let moved = bridge::tensor(&values, &tensor.size(), Device::Cpu).unwrap();
                theta.insert(name, moved.set_requires_grad(true));
                query_loss(model, &theta, episode).double_value(&[])
            };
            let difference = (moved(STEP) - moved(-STEP)) / f64::from(2.0 * STEP);
            let ours = f64::from(bridge::values(grads.get(name).unwrap()).unwrap()[index]);
            worst = worst.max((ours - difference).abs() / scale);
        }
    }
    worst
}

fn maml(inner_steps: u32, order: GradOrder, head_init: HeadInit) -> Model {
    mlp(LearnerConfig::Maml { inner_steps, inner_lr: 0.3, order, head_init }, Kind::Classification)
}

#[test]
fn the_second_order_outer_gradient_of_maml_matches_finite_differences() {
    let episode = episode(3, &[2, 3, 1], 4, 1);
    for head_init in [HeadInit::Learned { way: 3 }, HeadInit::Prototype {}, HeadInit::Shared {}] {
        for steps in 1..=3 {
            let worst = worst(&maml(steps, GradOrder::Second, head_init), &episode);
            assert!(worst < TOLERANCE, "{head_init:?}, {steps} steps: {worst}");
        }
    }
}

#[test]
fn the_second_order_outer_gradients_of_mamls_relatives_match_finite_differences() {
    let episode = episode(3, &[2, 3, 1], 4, 1);
    let (inner_steps, inner_lr, order) = (3, 0.3, GradOrder::Second);
    for head_init in [HeadInit::Learned { way: 3 }, HeadInit::Prototype {}, HeadInit::Shared {}] {
        for learner in [
            LearnerConfig::Anil { inner_steps, inner_lr, order, head_init },
            LearnerConfig::MetaSgd { inner_steps, inner_lr, order, head_init },
            LearnerConfig::MamlPlusPlus { inner_steps, inner_lr, multi_step: 0.5, first_order: 0.1, head_init },
            LearnerConfig::Cavia { inner_steps, inner_lr, order, contexts: 4, way: 3 },
        ] {
            let worst = worst(&mlp(learner.clone(), Kind::Classification), &episode);
            assert!(worst < TOLERANCE, "{learner:?}: {worst}");
        }
    }
}

#[test]
fn the_first_order_outer_gradient_of_maml_is_another_one() {
    let worst = worst(&maml(3, GradOrder::First, HeadInit::Shared {}), &episode(3, &[2, 3, 1], 4, 1));

    assert!(worst > 3.0 * TOLERANCE, "{worst}");
}

#[test]
fn the_outer_gradients_of_closed_form_learners_match_finite_differences() {
    for learner in [LearnerConfig::Protonet {}, LearnerConfig::R2d2 {}, LearnerConfig::KnownRidge { classes: names(2) }]
    {
        for shots in [&[1, 2, 1][..], &[9, 4, 6]] {
            let worst = worst(&mlp(learner.clone(), Kind::Classification), &episode(3, shots, 4, 2));
            assert!(worst < TOLERANCE, "{} with {shots:?}: {worst}", learner.name());
        }
    }
}
