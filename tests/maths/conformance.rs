//! One table: what every learner keeps to.

use imprint::domain::{Kind, LearnerConfig, Recipe, Rows, SupportSet, Targets};
use imprint::meta::eval::score;
use imprint::meta::{Episode, Model, Phase, batch, learner};
use imprint::nn::{Params, bridge, checkpoint};
use tch::Device;

use crate::models::{conv4, episode, learners, mlp, names};

/// Largest difference between a task that is stacked with others and the same task alone: sums in another order.
const STACKING: f32 = 2e-3;
/// Largest difference between a closed form and what it stands for.
const CLOSED_FORM: f32 = 2e-3;

/// Every learner on every backbone that suits it, with the width of its rows.
fn table() -> Vec<(Model, usize)> {
    let vectors = learners().into_iter().map(|learner| (mlp(learner, Kind::Classification), 3));
    vectors.chain(learners().into_iter().map(|learner| (conv4(learner), 256))).collect()
}

fn name(model: &Model) -> String {
    format!("{:?} on {:?}", model.architecture.learner, model.architecture.backbone)
}

/// Those of `shots` that the learner can serve: one with a head of its own number of classes gets that many.
fn served(model: &Model, shots: &[usize]) -> Vec<usize> {
    let way = model.architecture.learner.fixed_way().unwrap_or(shots.len());
    shots.iter().copied().cycle().take(way).collect()
}

fn support(episode: &Episode) -> SupportSet {
    SupportSet::new(&episode.support, &episode.support_targets).unwrap()
}

fn bytes(params: &Params) -> Vec<u8> {
    checkpoint::to_bytes(params, &[]).unwrap()
}

fn adapted(model: &Model, episode: &Episode) -> Params {
    model.adapt(&support(episode), &Recipe::default(), Phase::Serve).unwrap()
}

#[test]
fn any_number_of_classes_and_uneven_shots_are_served() {
    for (model, width) in table() {
        for shots in [&[1, 1][..], &[3, 1, 2], &[1, 2, 3, 4, 5, 6, 1]] {
            let shots = served(&model, shots);
            let episode = episode(width, &shots, 2, 3);
            let outputs = model.predict(&adapted(&model, &episode), &episode.query, Phase::Serve).unwrap();
            assert_eq!((outputs.width, outputs.rows().len()), (shots.len(), 2 * shots.len()), "{}", name(&model));
            assert!(outputs.values.iter().all(|value| value.is_finite()), "{}", name(&model));
        }
    }
}

#[test]
fn the_same_support_set_in_another_order_leaves_the_same_bytes() {
    for (model, width) in table() {
        let episode = episode(width, &[2, 3, 1], 2, 4);
        let Targets::Classes { labels, way } = &episode.support_targets else { panic!("classes") };
        let reversed: Vec<usize> = (0..labels.len()).rev().collect();
        let rows = reversed.iter().flat_map(|&row| episode.support.row(row).to_vec()).collect();
        let turned = Episode {
            support: Rows::new(width, rows).unwrap(),
            support_targets: Targets::Classes { labels: reversed.iter().map(|&row| labels[row]).collect(), way: *way },
            ..episode.clone()
        };
        assert_eq!(bytes(&adapted(&model, &episode)), bytes(&adapted(&model, &turned)), "{}", name(&model));
    }
}

#[test]
fn adapting_leaves_theta_unchanged_and_no_graph_behind() {
    for (model, width) in table() {
        let before = bytes(&model.theta);
        let adapter = adapted(&model, &episode(width, &served(&model, &[2, 2]), 2, 5));
        assert_eq!(before, bytes(&model.theta), "{}", name(&model));
        assert!(adapter.tensors().all(|tensor| !tensor.requires_grad()), "{}", name(&model));
    }
}

#[test]
fn a_query_rows_answer_does_not_depend_on_its_neighbours() {
    for (model, width) in table() {
        let episode = episode(width, &[2, 3, 1], 4, 6);
        let adapter = adapted(&model, &episode);
        let together = model.predict(&adapter, &episode.query, Phase::Serve).unwrap();
        for (index, row) in together.rows().enumerate() {
            let alone = Rows::new(width, episode.query.row(index).to_vec()).unwrap();
            let alone = model.predict(&adapter, &alone, Phase::Serve).unwrap();
            let furthest = row.iter().zip(&alone.values).map(|(one, other)| (one - other).abs()).fold(0.0, f32::max);
            assert!(furthest < STACKING, "{}: {furthest}", name(&model));
        }
    }
}

#[test]
fn tasks_that_are_stacked_have_the_numbers_that_they_have_alone() {
    for (model, width) in table() {
        let drawn = |shots: &[usize], queries, seed| episode(width, &served(&model, shots), queries, seed);
        let episodes = [drawn(&[1, 2], 3, 7), drawn(&[3, 1, 2, 2], 2, 8), drawn(&[2, 2, 2], 4, 9)];
        let (supports, queries) = batch::stack(&episodes, &model.architecture, Device::Cpu).unwrap();
        let stacked = model.learner.adapt(&model.net, &model.theta, &supports, None, Phase::Serve).unwrap();
        let (outputs, _) =
            learner::predict(&model.net, &model.theta, &stacked.tensors, &queries.x, None, Phase::Serve).unwrap();
        for (task, episode) in episodes.iter().enumerate() {
            let (support, query) =
                batch::stack(std::slice::from_ref(episode), &model.architecture, Device::Cpu).unwrap();
            let alone = model.learner.adapt(&model.net, &model.theta, &support, None, Phase::Serve).unwrap();
            let (alone, _) =
                learner::predict(&model.net, &model.theta, &alone.tensors, &query.x, None, Phase::Serve).unwrap();
            let (rows, way) = (alone.size()[1], alone.size()[2]);
            let own = outputs.select(0, task as i64);
            let furthest = (own.narrow(0, 0, rows).narrow(1, 0, way) - alone.squeeze_dim(0)).abs().max();
            assert!(furthest.double_value(&[]) < f64::from(STACKING), "{} task {task}: {furthest}", name(&model));
            let padding = own.narrow(1, way, own.size()[1] - way);
            assert!(bridge::values(&padding).unwrap().iter().all(|score| *score == f32::NEG_INFINITY));
        }
    }
}

/// Experts in closed form choose one of them by held-out rows, and may choose another one without some rows, or beside
/// copies of some.
fn one_theta((model, _): &(Model, usize)) -> bool {
    let learner = &model.architecture.learner;
    learner.experts() == 1 || learner.inner_steps().is_some()
}

/// What `set` is without some of its rows.
fn without(set: &SupportSet, out: &[usize]) -> SupportSet {
    let Targets::Classes { labels, way } = set.targets() else { panic!("classes") };
    let others: Vec<usize> = (0..set.len()).filter(|row| !out.contains(row)).collect();
    let rows = others.iter().flat_map(|&row| set.inputs().row(row).to_vec()).collect();
    let targets = Targets::Classes { labels: others.iter().map(|&row| labels[row]).collect(), way: *way };
    let rows = Rows::new(set.inputs().width(), rows).unwrap();
    match set.weights() {
        Some(weights) => {
            let weights: Vec<f32> = others.iter().map(|&row| weights[row]).collect();
            SupportSet::weighted(&rows, &targets, &weights).unwrap()
        }
        None => SupportSet::new(&rows, &targets).unwrap(),
    }
}

/// The set with what its classes are called, for learners that know some of them.
fn named(model: &Model, set: SupportSet) -> SupportSet {
    match model.architecture.learner.known(&names(set.targets().outputs())) {
        Some(known) => set.with_names(&known).unwrap(),
        None => set,
    }
}

/// Rows that are held out with `row`: the ones in the same place among the rows of their classes, round and round.
fn held_out_with(set: &SupportSet, row: usize, folds: usize) -> Vec<usize> {
    let Targets::Classes { labels, way } = set.targets() else { panic!("classes") };
    let of_class = |class: usize| (0..set.len()).filter(|&other| labels[other] as usize == class).collect::<Vec<_>>();
    let own = of_class(labels[row] as usize);
    let fold = own.iter().position(|&other| other == row).unwrap() % own.len().min(folds);
    let rows = (0..*way).flat_map(|class| {
        let rows = of_class(class);
        let groups = rows.len().min(folds);
        let is_out = move |&(place, _): &(usize, usize)| groups > 1 && place % groups == fold % groups;
        rows.into_iter().enumerate().filter(is_out).map(|(_, row)| row)
    });
    rows.collect()
}

#[test]
fn what_is_held_out_is_what_an_adapter_without_it_says() {
    for (model, width) in table().into_iter().filter(one_theta) {
        // Few rows are solved in the dual, many in the primal; classes are uneven, and one has a single example.
        for shots in [&[2, 3, 1][..], &[9, 5, 4]] {
            let plain = support(&episode(width, &served(&model, shots), 1, 10));
            let weights: Vec<f32> = (0..plain.len()).map(|row| if row % 4 == 1 { 2.5 } else { 1.0 }).collect();
            let weighted = SupportSet::weighted(plain.inputs(), plain.targets(), &weights).unwrap();
            for set in [plain, weighted].map(|set| named(&model, set)) {
                let held_out = model.held_out(&set, &Recipe::default(), 3).unwrap().expect("folds");
                let Targets::Classes { labels, .. } = set.targets() else { panic!("classes") };
                let alone = |row: usize| labels.iter().filter(|&&label| label == labels[row]).count() == 1;
                for (row, scores) in held_out.outputs.rows().enumerate().filter(|(row, _)| !alone(*row)) {
                    let rest = named(&model, without(&set, &held_out_with(&set, row, held_out.folds)));
                    let adapter = model.adapt(&rest, &Recipe::default(), Phase::Serve).unwrap();
                    let query = Rows::new(width, set.inputs().row(row).to_vec()).unwrap();
                    let direct = model.predict(&adapter, &query, Phase::Serve).unwrap().values;
                    // Class scores of prototypes are known up to what all classes share.
                    let gaps = |scores: &[f32]| scores.iter().map(|score| score - scores[0]).collect::<Vec<f32>>();
                    let furthest = gaps(scores)
                        .iter()
                        .zip(gaps(&direct))
                        .map(|(one, other)| (one - other).abs())
                        .fold(0.0, f32::max);
                    assert!(furthest < CLOSED_FORM, "{} {shots:?} row {row}: {furthest}", name(&model));
                }
            }
        }
    }
}

#[test]
fn an_example_of_weight_two_counts_twice_and_one_of_weight_zero_is_not_there() {
    for (model, width) in table().into_iter().filter(one_theta) {
        let set = support(&episode(width, &served(&model, &[2, 3, 2]), 2, 11));
        let Targets::Classes { labels, way } = set.targets() else { panic!("classes") };
        let scores = |support: &batch::Support| {
            let adapted = model.learner.adapt(&model.net, &model.theta, support, None, Phase::Serve).unwrap().tensors;
            let query = batch::stack_rows(
                std::iter::once(set.inputs()),
                set.len(),
                &model.architecture.input.row_shape(),
                Device::Cpu,
            );
            let (outputs, _) =
                learner::predict(&model.net, &model.theta, &adapted, &query.unwrap(), None, Phase::Serve).unwrap();
            bridge::values(&outputs).unwrap()
        };
        let single =
            |set: &SupportSet| batch::Support::single(set, &model.architecture.input.row_shape(), Device::Cpu).unwrap();
        let near = |one: &[f32], other: &[f32], what: &str| {
            let furthest = one.iter().zip(other).map(|(one, other)| (one - other).abs()).fold(0.0, f32::max);
            assert!(furthest < STACKING, "{} {what}: {furthest}", name(&model));
        };

        let twice = {
            let rows = [set.inputs().values(), set.inputs().row(0)].concat();
            let labels = labels.iter().copied().chain([labels[0]]).collect();
            SupportSet::new(&Rows::new(width, rows).unwrap(), &Targets::Classes { labels, way: *way }).unwrap()
        };
        let weights: Vec<f32> = (0..set.len()).map(|row| if row == 0 { 2.0 } else { 1.0 }).collect();
        let weighted = SupportSet::weighted(set.inputs(), set.targets(), &weights).unwrap();
        near(&scores(&single(&weighted)), &scores(&single(&twice)), "twice");
        let plain = scores(&single(&set));
        let changed = plain.iter().zip(scores(&single(&weighted))).any(|(one, other)| (one - other).abs() > 1e-5);
        assert!(changed, "{}: a weight changes nothing", name(&model));

        let mut absent = single(&set);
        let kept: Vec<f32> = (0..set.len()).map(|row| f32::from(u8::from(row != 0))).collect();
        absent.weights = Some(bridge::tensor(&kept, &[1, set.len() as i64], Device::Cpu).unwrap());
        near(&scores(&absent), &scores(&single(&without(&set, &[0]))), "absent");
    }
}

#[test]
fn a_class_is_known_by_its_name_wherever_it_stands() {
    let learner = LearnerConfig::KnownRidge { classes: names(3) };
    let model = mlp(learner.clone(), Kind::Classification);
    let outputs = |labels: &[&str]| {
        // Class n of the support set is what stood at place `order[n]`, and is called `labels[n]`.
        let order = labels.iter().map(|label| label.trim().trim_start_matches('c').parse::<u32>().unwrap());
        let places: Vec<u32> = order.collect();
        let drawn = episode(3, &[1, 2, 1, 1], 3, 11);
        let Targets::Classes { labels: given, way } = &drawn.support_targets else { panic!() };
        let renumbered = |class: &u32| u32::try_from(places.iter().position(|place| place == class).unwrap()).unwrap();
        let targets = Targets::Classes { labels: given.iter().map(renumbered).collect(), way: *way };
        let called: Vec<String> = labels.iter().map(|label| (*label).to_owned()).collect();
        let set = SupportSet::new(&drawn.support, &targets).unwrap();
        let set = set.with_names(&learner.known(&called).unwrap()).unwrap();
        let adapter = model.adapt(&set, &Recipe::default(), Phase::Serve).unwrap();
        let outputs = model.predict(&adapter, &drawn.query, Phase::Serve).unwrap();
        let by_place = |row: &[f32]| (0..4).map(|place| row[renumbered(&place) as usize]).collect::<Vec<_>>();
        outputs.rows().flat_map(by_place).collect::<Vec<_>>()
    };
    let furthest =
        |one: &[f32], other: &[f32]| one.iter().zip(other).map(|(one, other)| (one - other).abs()).fold(0.0, f32::max);

    let in_order = outputs(&["c0", "c1", "c2", "c3"]);
    assert!(furthest(&in_order, &outputs(&["c3", "c1", "c0", "c2"])) < CLOSED_FORM);
    // Class 3 is none of those that are known; all of what is known of another makes a difference.
    assert!(furthest(&in_order, &outputs(&["c0", "c1", " c2", "c3"])) < CLOSED_FORM);
    assert!(furthest(&in_order, &outputs(&["c00", "c1", "c2", "c3"])) > 100.0 * CLOSED_FORM);
}

#[test]
fn unlabelled_rows_show_where_a_class_is() {
    for learner in [LearnerConfig::Protonet {}] {
        let model = mlp(learner.clone(), Kind::Classification);
        let hits = |set: &SupportSet, episode: &Episode| {
            let adapter = model.adapt(set, &Recipe::default(), Phase::Serve).unwrap();
            score(&model.predict(&adapter, &episode.query, Phase::Serve).unwrap(), &episode.query_targets)
        };
        let (mut alone, mut with) = (0.0, 0.0);
        for seed in 0..30 {
            let episode = episode(3, &[1, 1, 1], 10, seed);
            let set = support(&episode);
            alone += hits(&set, &episode);
            with += hits(&set.with_unlabelled(&episode.query).unwrap(), &episode);
        }
        assert!(with > alone + 0.5, "{}: {alone} alone, {with} with them", learner.name());
    }
}

#[test]
fn unlabelled_rows_that_are_stacked_and_padded_give_what_they_give_alone() {
    for learner in [LearnerConfig::Protonet {}, LearnerConfig::R2d2 {}] {
        let model = conv4(learner.clone());
        let drawn = |shots: &[usize], unlabelled: usize, seed| {
            let rows = (unlabelled > 0).then(|| episode(256, shots, unlabelled, seed + 100).query);
            Episode { unlabelled: rows, ..episode(256, shots, 2, seed) }
        };
        let episodes = [drawn(&[1, 2], 3, 12), drawn(&[2, 1, 2], 0, 13), drawn(&[2, 2], 5, 14)];
        let (supports, _) = batch::stack(&episodes, &model.architecture, Device::Cpu).unwrap();
        let stacked = model.learner.adapt(&model.net, &model.theta, &supports, None, Phase::Serve).unwrap().tensors;
        for (task, episode) in episodes.iter().enumerate() {
            let (support, _) = batch::stack(std::slice::from_ref(episode), &model.architecture, Device::Cpu).unwrap();
            let alone = model.learner.adapt(&model.net, &model.theta, &support, None, Phase::Serve).unwrap().tensors;
            let alone = alone.get("head.weight").unwrap().squeeze_dim(0);
            let own = stacked.get("head.weight").unwrap().select(0, task as i64).narrow(0, 0, alone.size()[0]);
            let furthest = (own - alone).abs().max();
            assert!(furthest.double_value(&[]) < f64::from(STACKING), "{} task {task}: {furthest}", learner.name());
        }
    }
}
