//! What the learner of rankings keeps to: its closed form by hand, weights as copies, stacks as single tasks.

use imprint::domain::{
    BackboneConfig, EncoderRef, InputSchema, Kind, LearnerConfig, Recipe, Rows, SupportSet, Targets,
};
use imprint::meta::model::Architecture;
use imprint::meta::{Episode, Model, Phase, batch, learner};
use imprint::nn::{Params, bridge, checkpoint};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tch::Device;

/// Numbers of an embedding, and the caller's own.
const WIDTH: usize = 3;
const NUMBERS: usize = 2;
/// Numbers of a row.
const ROW: usize = WIDTH + 2 + NUMBERS;

/// A model whose every parameter is something.
fn model() -> Model {
    let encoder = EncoderRef { name: "none".to_owned(), sha256: [].into(), tuning: None };
    let architecture = Architecture {
        input: InputSchema::Item { encoder, width: WIDTH, max_chars: 10, features: NUMBERS },
        kind: Kind::Ranking,
        backbone: BackboneConfig::Items { hidden: vec![5], width: 4 },
        learner: LearnerConfig::PriorRidge {},
    };
    let mut model = Model::fresh(architecture, 5, Device::Cpu).unwrap();
    let rng = &mut ChaCha8Rng::seed_from_u64(6);
    model.theta = model
        .theta
        .map(|_, tensor| {
            let values: Vec<f32> = (0..tensor.numel()).map(|_| rng.random_range(-0.8..0.8)).collect();
            bridge::tensor(&values, &tensor.size(), Device::Cpu)
        })
        .unwrap();
    model
}

fn rows(rng: &mut ChaCha8Rng, count: usize) -> Rows {
    Rows::new(ROW, (0..count * ROW).map(|_| rng.random_range(-1.0..1.0)).collect()).unwrap()
}

fn signals(values: &[f32], weights: &[f32]) -> Targets {
    Targets::Signals { values: values.to_vec(), weights: weights.to_vec() }
}

fn episode(seed: u64, values: &[f32], weights: &[f32]) -> Episode {
    let rng = &mut ChaCha8Rng::seed_from_u64(seed);
    let (support, query) = (rows(rng, values.len()), rows(rng, 6));
    let query_targets = signals(&[1.0, 0.0, 0.0, 1.0, 0.0, 0.0], &[1.0; 6]);
    Episode { support, support_targets: signals(values, weights), query, query_targets, unlabelled: None, names: None }
}

fn set(rows: &Rows, targets: &Targets) -> SupportSet {
    SupportSet::new(rows, targets).unwrap()
}

fn scores(model: &Model, set: &SupportSet, query: &Rows) -> Vec<f32> {
    let adapter = model.adapt(set, &Recipe::default(), Phase::Serve).unwrap();
    model.predict(&adapter, query, Phase::Serve).unwrap().values
}

fn furthest(one: &[f32], other: &[f32]) -> f32 {
    assert_eq!(one.len(), other.len());
    one.iter().zip(other).map(|(one, other)| (one - other).abs()).fold(0.0, f32::max)
}

fn number(theta: &Params, name: &str) -> f32 {
    bridge::values(theta.get(name).unwrap()).unwrap()[0]
}

/// One signal: w = w₀ + x (y − x·w₀) / (x·x + λ), in features that the model itself gives.
#[test]
fn one_signal_moves_the_preference_as_the_formula_says() {
    let model = model();
    let episode = episode(1, &[0.5], &[1.0]);
    let features = |rows: &Rows| {
        let flat = model.features(rows).unwrap();
        flat.chunks_exact(flat.len() / rows.len()).map(<[f32]>::to_vec).collect::<Vec<_>>()
    };
    let dot = |one: &[f32], other: &[f32]| one.iter().zip(other).map(|(a, b)| a * b).sum::<f32>();
    let (x, asked) = (features(&episode.support).remove(0), features(&episode.query));
    // The caller's own numbers, the last features, have no part in what everybody prefers.
    let mut usual = bridge::values(model.theta.get("head.prior").unwrap()).unwrap();
    assert_eq!(usual.len() + NUMBERS, x.len());
    usual.resize(x.len(), 0.0);
    let y = 0.5 * number(&model.theta, "head.slope") + number(&model.theta, "head.offset");
    let step = (y - dot(&x, &usual)) / (dot(&x, &x) + number(&model.theta, "head.log_lambda").exp());
    let scale = number(&model.theta, "head.log_scale").exp();
    let by_hand: Vec<f32> = asked.iter().map(|q| scale * (dot(q, &usual) + step * dot(q, &x))).collect();

    let found = scores(&model, &set(&episode.support, &episode.support_targets), &episode.query);

    assert!(furthest(&found, &by_hand) < 1e-5, "{found:?} {by_hand:?}");
}

#[test]
fn a_signal_of_weight_three_is_three_signals() {
    let model = model();
    let Episode { support, query, .. } = episode(2, &[1.0, -1.0], &[1.0, 1.0]);
    let copies = support.picked(&[0, 0, 0, 1]);

    let weighed = scores(&model, &set(&support, &signals(&[1.0, -1.0], &[3.0, 1.0])), &query);
    let of_copies = scores(&model, &set(&copies, &signals(&[1.0, 1.0, 1.0, -1.0], &[1.0; 4])), &query);
    let plain = scores(&model, &set(&support, &signals(&[1.0, -1.0], &[1.0, 1.0])), &query);

    assert!(furthest(&weighed, &of_copies) < 1e-5, "{weighed:?} {of_copies:?}");
    assert!(furthest(&weighed, &plain) > 1e-3, "the weight counts");
}

#[test]
fn signals_in_another_order_leave_the_same_bytes() {
    let model = model();
    let Episode { support, .. } = episode(3, &[1.0, 0.5, -1.0], &[1.0, 2.0, 1.0]);
    let turned = (support.picked(&[2, 0, 1]), signals(&[-1.0, 1.0, 0.5], &[1.0, 1.0, 2.0]));
    let bytes = |set: &SupportSet| {
        checkpoint::to_bytes(&model.adapt(set, &Recipe::default(), Phase::Serve).unwrap(), &[]).unwrap()
    };

    let (one, other) = (set(&support, &signals(&[1.0, 0.5, -1.0], &[1.0, 2.0, 1.0])), set(&turned.0, &turned.1));

    assert_eq!((one.hash(), bytes(&one)), (other.hash(), bytes(&other)));
    assert_ne!(one.hash(), set(&support, &signals(&[1.0, 0.5, -1.0], &[1.0; 3])).hash());
}

#[test]
fn leave_one_out_is_what_leaving_one_out_gives() {
    let model = model();
    // Few signals are solved in the dual, many in the primal.
    for count in [2, 4, 30] {
        let rng = &mut ChaCha8Rng::seed_from_u64(count);
        let count = usize::try_from(count).unwrap();
        let values: Vec<f32> = (0..count).map(|_| rng.random_range(-1.0..1.0)).collect();
        let weights: Vec<f32> = (0..count).map(|_| rng.random_range(0.5..3.0)).collect();
        let set = set(&rows(rng, count), &signals(&values, &weights));
        let held_out = model.held_out(&set, &Recipe::default(), 0).unwrap().expect("a closed form").outputs;
        let Targets::Signals { values, weights } = set.targets() else { panic!("signals") };
        for index in 0..count {
            let others: Vec<usize> = (0..count).filter(|&other| other != index).collect();
            let of = |numbers: &[f32]| others.iter().map(|&other| numbers[other]).collect::<Vec<_>>();
            let without = SupportSet::new(&set.inputs().picked(&others), &signals(&of(values), &of(weights))).unwrap();
            let direct = scores(&model, &without, &set.inputs().picked(&[index]));
            assert!((held_out.values[index] - direct[0]).abs() < 2e-3, "{count} signals, row {index}");
        }
    }
}

#[test]
fn people_who_are_stacked_have_the_scores_that_they_have_alone() {
    let model = model();
    let episodes =
        [episode(7, &[1.0], &[2.0]), episode(8, &[1.0, -1.0, 0.5], &[1.0; 3]), episode(9, &[0.5, 1.0], &[1.0, 4.0])];
    let (supports, queries) = batch::stack(&episodes, &model.architecture, Device::Cpu).unwrap();
    let stacked = model.learner.adapt(&model.net, &model.theta, &supports, None, Phase::Serve).unwrap();
    let (outputs, _) =
        learner::predict(&model.net, &model.theta, &stacked.tensors, &queries.x, None, Phase::Serve).unwrap();
    for (task, episode) in episodes.iter().enumerate() {
        let alone = scores(&model, &set(&episode.support, &episode.support_targets), &episode.query);
        let own = bridge::values(&outputs.select(0, task as i64)).unwrap();
        assert!(furthest(&own, &alone) < 1e-4, "task {task}: {own:?} {alone:?}");
    }
}

/// The loss of a lesson is the surprise at what was chosen.
#[test]
fn a_lesson_is_about_what_was_chosen_among_all_candidates() {
    let model = model();
    let episode = episode(4, &[1.0, -1.0], &[1.0, 1.0]);
    let found = scores(&model, &set(&episode.support, &episode.support_targets), &episode.query);
    let sum: f32 = found.iter().map(|score| score.exp()).sum();
    let by_hand = -f32::midpoint((found[0].exp() / sum).ln(), (found[3].exp() / sum).ln());
    let (support, query) = batch::stack(&[episode], &model.architecture, Device::Cpu).unwrap();

    let lesson = model.learner.lesson(&model.net, &model.theta, &support, &query, 0.0).unwrap();

    assert!((lesson.loss.double_value(&[]) - f64::from(by_hand)).abs() < 1e-5);
}
