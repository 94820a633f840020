//! What can be worked out on paper.

use imprint::domain::{
    BackboneConfig, GradOrder, HeadInit, InputSchema, Kind, LearnerConfig, Recipe, Rows, SupportSet, Targets,
};
use imprint::meta::model::Architecture;
use imprint::meta::{Model, Phase};
use imprint::nn::{Params, bridge};
use tch::Device;

/// `y = w x + b` with `w = 0.5`, `b = -1`.
fn line(learner: LearnerConfig) -> Model {
    let architecture = Architecture {
        input: InputSchema::Vector { width: 1 },
        kind: Kind::Regression,
        backbone: BackboneConfig::Mlp { hidden: Vec::new() },
        learner,
    };
    let mut theta = Params::new();
    theta.insert("head.weight", bridge::tensor(&[0.5], &[1, 1], Device::Cpu).unwrap());
    theta.insert("head.bias", bridge::tensor(&[-1.0], &[1], Device::Cpu).unwrap());
    Model::with_theta(architecture, theta, Device::Cpu).unwrap()
}

fn points(points: &[(f32, f32)]) -> SupportSet {
    let xs = points.iter().map(|(x, _)| *x).collect();
    let ys = points.iter().map(|(_, y)| *y).collect();
    SupportSet::new(&Rows::new(1, xs).unwrap(), &Targets::Values(ys)).unwrap()
}

/// Weight and bias that the learner leaves for `y = 2 x + 1` at x = 1, 2, 3.
fn adapted(model: &Model, steps: u32) -> (f32, f32) {
    let recipe = Recipe { inner_steps: Some(steps), seed: 0 };
    let adapter = model.adapt(&points(&[(1.0, 3.0), (2.0, 5.0), (3.0, 7.0)]), &recipe, Phase::Serve).unwrap();
    let number = |name: &str| bridge::values(adapter.get(name).unwrap()).unwrap()[0];
    (number("head.weight"), number("head.bias"))
}

/// Residuals w x + b − y are −3.5, −5, −6.5; with L their mean square, ∂L/∂w = 2/3 Σ r x = −22 and
/// ∂L/∂b = 2/3 Σ r = −10. One step of 0.01 leads to w = 0.5 + 0.22, b = −1 + 0.1.
#[test]
fn one_inner_step_of_linear_regression_is_theta_minus_eta_times_the_gradient() {
    let (inner_steps, inner_lr, order) = (1, 0.01, GradOrder::Second);
    let head_init = HeadInit::Learned { way: 1 };
    for learner in [
        LearnerConfig::Maml { inner_steps, inner_lr, order, head_init },
        LearnerConfig::Anil { inner_steps, inner_lr, order, head_init },
        LearnerConfig::Reptile { inner_steps, inner_lr, head_init },
    ] {
        let (weight, bias) = adapted(&line(learner.clone()), 1);
        assert!((weight - 0.72).abs() < 1e-6 && (bias + 0.9).abs() < 1e-6, "{learner:?}: {weight}, {bias}");
    }
}

/// The points lie on a line, and enough steps find it.
#[test]
fn inner_steps_of_linear_regression_lead_to_the_least_squares_solution() {
    let (inner_lr, order, head_init) = (0.1, GradOrder::First, HeadInit::Learned { way: 1 });
    let (weight, bias) = adapted(&line(LearnerConfig::Maml { inner_steps: 1, inner_lr, order, head_init }), 2000);
    assert!((weight - 2.0).abs() < 1e-4 && (bias - 1.0).abs() < 1e-4, "{weight}, {bias}");
}
