//! Whether estimates are honest: what an adapter says of itself, against what it does on drawings that it has not seen.
//!
//! Characters are of alphabets that the base model was never trained on. Tasks differ in ways and shots.

use std::path::{Path, PathBuf};

use imprint::domain::{
    Calibration, ESTIMATE_FOLDS, Outputs, Quality, Recipe, Rows, SupportSet, Targets, accuracy_interval, argmax,
    calibration_error,
};
use imprint::meta::eval::episode;
use imprint::meta::task::{self, EpisodeSpec, Sources, Split, TaskConfig, TaskDistribution};
use imprint::meta::{Episode, Model, Phase, bundle};
use imprint::trainer::{Honesty, in_order};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tch::Device;

const TASKS: u64 = 200;
const SPEC: EpisodeSpec = EpisodeSpec { way: 5..=15, shot: 4..=8, query: 10, unlabelled: 0 };
/// One example in so many is labelled wrong, where some are.
const ONE_WRONG_IN: u32 = 10;
/// One example in so many is of none of the labels, where some are.
const ONE_STRANGE_IN: u32 = 20;

#[expect(clippy::print_stdout, reason = "figures are for whoever runs this with --nocapture")]
fn say(text: &str) {
    println!("{text}");
}

/// Omniglot's files, if they are here.
fn data() -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data");
    if folder.join("omniglot").is_dir() {
        return Some(folder);
    }
    assert!(std::env::var_os("CI").is_none(), "CI has Omniglot in {}", folder.display());
    say(&format!("skipped: there is no Omniglot in {}", folder.display()));
    None
}

fn base() -> Model {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/omniglot");
    bundle::load_model(&folder, Device::Cpu).unwrap().1
}

fn tasks(data: &Path) -> Box<dyn TaskDistribution> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/omniglot");
    let (base, _) = bundle::load_model(&folder, Device::Cpu).unwrap();
    let config: TaskConfig = serde_json::from_value(base.manifest.provenance.config["task"].clone()).unwrap();
    task::open(&config, &Sources { data, encoders: data, tuning: None, progress: &|_, _| {} }).unwrap()
}

/// What one task shows.
struct Shown {
    quality: Quality,
    /// Accuracy on drawings that were not in the support set.
    truth: f64,
    /// Confidence and rightness of each query, without a temperature and with the fitted one.
    plain: Vec<(f64, bool)>,
    fitted: Vec<(f64, bool)>,
    /// Places of the examples that were labelled wrong.
    wrong: Vec<usize>,
}

fn show(model: &Model, episode: &Episode, wrong: Vec<usize>) -> Shown {
    let set = SupportSet::new(&episode.support, &episode.support_targets).unwrap();
    let names: Vec<String> = (0..set.targets().outputs()).map(|class| class.to_string()).collect();
    let adapter = model.adapt(&set, &Recipe::default(), Phase::Serve).unwrap();
    let held_out = model.held_out(&set, &Recipe::default(), ESTIMATE_FOLDS).unwrap().unwrap();
    let quality = Quality::of(&held_out, set.targets(), &names, set.order()).unwrap();
    let outputs = model.predict(&adapter, &episode.query, Phase::Serve).unwrap();
    let fitted = quality.calibration.clone().unwrap();
    let plain = Calibration { temperature: 1.0, ..fitted.clone() };
    let (plain, fitted) =
        (judged(&outputs, &episode.query_targets, &plain), judged(&outputs, &episode.query_targets, &fitted));
    let truth = plain.iter().filter(|(_, is_right)| *is_right).count() as f64 / plain.len() as f64;
    Shown { quality, truth, plain, fitted, wrong }
}

fn judged(outputs: &Outputs, targets: &Targets, calibration: &Calibration) -> Vec<(f64, bool)> {
    let Targets::Classes { labels, .. } = targets else { panic!("classes") };
    let answer = |(row, label): (&[f32], &u32)| {
        let best = argmax(row);
        (calibration.probabilities(row)[best], best == *label as usize)
    };
    outputs.rows().zip(labels).map(answer).collect()
}

/// Gives some examples another label.
fn mislabelled(mut episode: Episode, rng: &mut ChaCha8Rng) -> (Episode, Vec<usize>) {
    let Targets::Classes { labels, way } = &mut episode.support_targets else { panic!("classes") };
    let (way, mut wrong) = (u32::try_from(*way).unwrap(), Vec::new());
    for (place, label) in labels.iter_mut().enumerate() {
        if rng.next_u32().is_multiple_of(ONE_WRONG_IN) {
            *label = (*label + 1 + rng.next_u32() % (way - 1)) % way;
            wrong.push(place);
        }
    }
    (episode, wrong)
}

fn shown(tasks: &dyn TaskDistribution, seed: u64, is_clean: bool) -> Vec<Shown> {
    let open = || {
        tch::set_num_threads(1);
        Ok::<_, std::convert::Infallible>(base())
    };
    in_order(TASKS, 2, &|_| {}, open, |model, index| {
        let episode = episode(tasks, Split::Test, &SPEC, seed, index);
        let mut rng = ChaCha8Rng::seed_from_u64(index);
        let (episode, wrong) = if is_clean { (episode, Vec::new()) } else { mislabelled(episode, &mut rng) };
        Ok(show(model, &episode, wrong))
    })
    .unwrap()
}

/// Whether estimate and measurement may be of one accuracy, at 95 %: both are shares of some examples, and the interval
/// of their difference (Newcombe 1998, method 10) holds 0.
fn agrees(task: &Shown) -> bool {
    let (estimate, [low, high]) = (task.quality.accuracy.unwrap(), task.quality.accuracy_ci95.unwrap());
    let hits = task.plain.iter().filter(|(_, is_right)| *is_right).count();
    let [least, most] = accuracy_interval(hits as f64, task.plain.len());
    let difference = estimate - task.truth;
    let below = (estimate - low).hypot(most - task.truth);
    let above = (high - estimate).hypot(task.truth - least);
    difference - below <= 0.0 && difference + above >= 0.0
}

fn sorted(mut judged: Vec<(f64, bool)>) -> Vec<(f64, bool)> {
    judged.sort_by(|(one, _), (other, _)| other.total_cmp(one));
    judged
}

#[test]
fn intervals_cover_the_truth_as_often_as_they_say_and_confidence_is_accuracy() {
    let Some(data) = data() else { return };
    let shown = shown(&*tasks(&data), 1, true);

    let covered = shown
        .iter()
        .filter(|task| {
            let (estimate, interval) = (task.quality.accuracy.unwrap(), task.quality.accuracy_ci95.unwrap());
            let (n, per_label, queries) = (task.quality.n, task.quality.per_label.clone(), task.plain.len());
            Honesty { n, estimate, interval, per_label, accuracy: task.truth, queries }.covers()
        })
        .count() as f64
        / shown.len() as f64;
    let agreed = shown.iter().filter(|task| agrees(task)).count() as f64 / shown.len() as f64;
    let mean = |figure: &dyn Fn(&Shown) -> f64| shown.iter().map(figure).sum::<f64>() / shown.len() as f64;
    let (estimate, truth) = (mean(&|task| task.quality.accuracy.unwrap()), mean(&|task| task.truth));
    let all =
        |pick: &dyn Fn(&Shown) -> Vec<(f64, bool)>| calibration_error(&sorted(shown.iter().flat_map(pick).collect()));
    let (plain, fitted) = (all(&|task| task.plain.clone()), all(&|task| task.fitted.clone()));
    let answered: Vec<bool> = shown
        .iter()
        .flat_map(|task| {
            let line = task.quality.calibration.as_ref().unwrap().abstain_below;
            task.fitted.iter().filter(move |(confidence, _)| *confidence >= line).map(|(_, is_right)| *is_right)
        })
        .collect();
    let precision = answered.iter().filter(|is_right| **is_right).count() as f64 / answered.len() as f64;
    let coverage = answered.len() as f64 / shown.iter().map(|task| task.fitted.len()).sum::<usize>() as f64;
    say(&format!("{TASKS} tasks: covered {covered:.3}, agreed {agreed:.3}, estimate {estimate:.4}, truth {truth:.4}"));
    say(&format!("calibration error {plain:.4} without, {fitted:.4} with the fitted temperature"));
    say(&format!("with abstain: {precision:.4} right of {coverage:.3} answered"));

    // The stated rate by 3 points, and one more above it: nearly all is right here.
    assert!((0.92..=0.99).contains(&covered), "{covered}");
    assert!(agreed >= 0.92, "{agreed}");
    assert!((estimate - truth).abs() < 0.01, "{estimate} {truth}");
    assert!(fitted < 0.02 && fitted <= plain, "{fitted} {plain}");
    assert!(precision >= 0.95 && coverage > 0.5, "{precision} of {coverage}");
}

#[test]
fn examples_that_were_labelled_wrong_are_suspect() {
    let Some(data) = data() else { return };
    let shown = shown(&*tasks(&data), 2, false);

    let (mut found, mut named, mut planted) = (0usize, 0usize, 0usize);
    for task in &shown {
        planted += task.wrong.len();
        named += task.quality.suspects.len();
        found += task.quality.suspects.iter().filter(|suspect| task.wrong.contains(&suspect.place)).count();
    }
    let (precision, recall) = (found as f64 / named as f64, found as f64 / planted as f64);
    say(&format!(
        "{planted} of the examples of {TASKS} tasks labelled wrong: precision {precision:.3}, recall {recall:.3}"
    ));

    assert!(precision >= 0.9 && recall >= 0.9, "{precision} {recall}");
}

/// Puts drawings of other characters among the examples, under the labels that are there.
fn with_strangers(mut episode: Episode, others: &Episode, rng: &mut ChaCha8Rng) -> (Episode, Vec<usize>) {
    let width = episode.support.width();
    let (mut values, mut strange) = (episode.support.values().to_vec(), Vec::new());
    for place in 0..episode.support.len() {
        if rng.next_u32().is_multiple_of(ONE_STRANGE_IN) {
            let other = rng.next_u32() as usize % others.query.len();
            values[place * width..(place + 1) * width].copy_from_slice(others.query.row(other));
            strange.push(place);
        }
    }
    episode.support = Rows::new(width, values).unwrap();
    (episode, strange)
}

#[test]
fn drawings_of_none_of_the_characters_stand_out() {
    let Some(data) = data() else { return };
    let (tasks, split) = (tasks(&data), Split::Test);
    let open = || {
        tch::set_num_threads(1);
        Ok::<_, std::convert::Infallible>(base())
    };
    let shown = in_order(TASKS, 2, &|_| {}, open, |model, index| {
        let own = episode(&*tasks, split, &SPEC, 3, index);
        // Of a thousand characters, these are others.
        let others = episode(&*tasks, split, &SPEC, 4, index);
        let (episode, strange) = with_strangers(own, &others, &mut ChaCha8Rng::seed_from_u64(index));
        Ok(show(model, &episode, strange))
    })
    .unwrap();

    let (mut found, mut named, mut planted, mut either) = (0usize, 0usize, 0usize, 0usize);
    for task in &shown {
        let is_named = |place: &usize| task.quality.outliers.iter().any(|outlier| outlier.place == *place);
        let is_suspect = |place: &usize| task.quality.suspects.iter().any(|suspect| suspect.place == *place);
        planted += task.wrong.len();
        named += task.quality.outliers.len();
        found += task.wrong.iter().filter(|place| is_named(place)).count();
        either += task.wrong.iter().filter(|place| is_named(place) || is_suspect(place)).count();
    }
    let (precision, recall) = (found as f64 / named as f64, found as f64 / planted as f64);
    let either = either as f64 / planted as f64;
    say(&format!(
        "{planted} strange examples of {TASKS} tasks: precision {precision:.3}, recall {recall:.3}, with suspects {either:.3}"
    ));

    assert!(precision >= 0.5 && either >= 0.9, "{precision} {recall} {either}");
}
