//! `imprint train` and `imprint eval` on a small Omniglot of our own, in the form of the official zips.

use std::fs;
use std::io::{BufRead, BufReader, Cursor, Write};
use std::path::Path;
use std::process::{Command, Output, Stdio};

use image::{DynamicImage, GrayImage, ImageFormat, Luma};
use imprint::meta::task::Sources;
use serde_json::Value;
use tempfile::TempDir;
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

/// Characters of each alphabet.
const CHARACTERS: u32 = 5;
/// Drawings of each character.
const DRAWERS: u32 = 6;

/// A drawing: black strokes on white, 105×105, their slope the character's, their place the drawer's.
fn drawing(alphabet: u32, character: u32, drawer: u32) -> Vec<u8> {
    let slope = 0.3 * f64::from(character) - 0.6;
    let is_ink = |x: u32, y: u32| {
        let (x, y) = (f64::from(x) - 52.0 - f64::from(drawer), f64::from(y) - 52.0 + f64::from(drawer));
        let across = y - slope * x;
        across.abs() < 4.0 || (x + 8.0 * f64::from(alphabet) - 16.0).abs() < 3.0
    };
    let picture = GrayImage::from_fn(105, 105, |x, y| Luma([if is_ink(x, y) { 0 } else { 255 }]));
    let mut file = Cursor::new(Vec::new());
    DynamicImage::ImageLuma8(picture).write_to(&mut file, ImageFormat::Png).unwrap();
    file.into_inner()
}

fn zip(path: &Path, set: &str, alphabets: &[(u32, &str)]) {
    let mut archive = ZipWriter::new(fs::File::create(path).unwrap());
    for (number, alphabet) in alphabets {
        for character in 0..CHARACTERS {
            for drawer in 0..DRAWERS {
                let name = format!("{set}/{alphabet}/character{character:02}/{drawer:02}.png");
                archive.start_file(name, SimpleFileOptions::default()).unwrap();
                archive.write_all(&drawing(*number, character, drawer)).unwrap();
            }
        }
    }
    archive.finish().unwrap();
}

/// A folder with data and a training file, `runs/` and `models/` to come.
pub fn folder() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    zip(&folder.path().join("background.zip"), "images_background", &[(0, "Aleph"), (1, "Beth"), (2, "Gimel")]);
    zip(&folder.path().join("evaluation.zip"), "images_evaluation", &[(3, "Daleth"), (4, "He")]);
    let training = r#"
        name = "strokes"
        version = "1"
        description = "Strokes of a test"
        seed = 3
        task = { kind = "omniglot", background = "background.zip", evaluation = "evaluation.zip", validation_alphabets = ["Gimel"], rotations = true, augment = { shift = 1.0 } }
        backbone = { kind = "conv4", filters = 8, norm = "running" }
        learner = { kind = "r2d2" }
        episode = { way = [3, 5], shot = [1, 2], query = 2 }
        outer = { steps = 60, meta_batch = 2, lr = 1e-2, final_lr = 1e-3, average = 0.9 }
        validation = { every = 10, episodes = 4, settings = [{ way = [3, 3], shot = [1, 1], query = 3 }] }
        limits = { max_support = 100, max_labels = 10, max_query = 100 }
    "#;
    fs::write(folder.path().join("strokes.toml"), training).unwrap();
    folder
}

/// Data in that folder, and no text encoder.
fn sources(data: &Path) -> Sources<'_> {
    Sources { data, encoders: data, tuning: None, progress: &|_, _| {} }
}

pub fn imprint(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_imprint"));
    command.env_clear().current_dir(folder).args(arguments).args(["--data", "."]);
    command
}

fn train(folder: &Path, run: &str, more: &[&str]) -> Command {
    let (run_dir, models) = (format!("runs/{run}"), format!("models/{run}"));
    let arguments =
        ["train", "strokes.toml", "--run-dir", &run_dir, "--models", &models, "--threads", "1", "--test-episodes", "8"];
    let mut command = imprint(folder, &arguments);
    command.args(more);
    command
}

/// θ and manifest of the bundle that a run left.
fn bundle(folder: &Path, run: &str) -> (Vec<u8>, Value) {
    let bundle = folder.join("models").join(run).join("strokes");
    let manifest = fs::read(bundle.join("manifest.json")).unwrap();
    (fs::read(bundle.join("theta.safetensors")).unwrap(), serde_json::from_slice(&manifest).unwrap())
}

pub fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Starts a run and sends it `signal` when it has validated for the third time; what it said after that.
fn stopped(mut command: Command, signal: &str) -> (Option<i32>, String) {
    let mut process = command.stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(process.stderr.take().unwrap()).lines().map(Result::unwrap);
    assert!(lines.any(|line| line.starts_with("validation at step 30")));
    // The shell's own: a small system has no program of that name.
    Command::new("sh").args(["-c", &format!("kill {signal} {}", process.id())]).status().unwrap();
    let rest: Vec<String> = lines.collect();
    (process.wait().unwrap().code(), rest.join("\n"))
}

#[test]
fn a_run_that_was_killed_and_resumed_ends_with_the_bits_of_one_that_was_not() {
    let folder = folder();
    let folder = folder.path();

    let whole = train(folder, "whole", &[]).output().unwrap();
    let (killed, _) = stopped(train(folder, "killed", &[]), "-KILL");
    let resumed = train(folder, "killed", &["--resume"]).output().unwrap();
    let (interrupted, words) = stopped(train(folder, "interrupted", &[]), "-INT");
    let went_on = train(folder, "interrupted", &["--resume"]).output().unwrap();

    assert!(whole.status.success(), "{}", said(&whole));
    assert_eq!(killed, None);
    assert!(resumed.status.success() && said(&resumed).contains("resumed at step"), "{}", said(&resumed));
    assert_eq!(interrupted, Some(1));
    assert!(words.contains("interrupted after step") && words.contains("--resume"), "{words}");
    assert!(went_on.status.success() && said(&went_on).contains("resumed at step"), "{}", said(&went_on));
    let expected = bundle(folder, "whole");
    for run in ["killed", "interrupted"] {
        assert!(bundle(folder, run) == expected, "{run}");
    }
}

#[test]
fn a_learner_whose_tasks_are_taught_apart_ends_with_the_same_bits_on_any_number_of_threads() {
    let folder = folder();
    let folder = folder.path();
    let file = fs::read_to_string(folder.join("strokes.toml")).unwrap();
    let maml =
        r#"{ kind = "maml", inner_steps = 2, inner_lr = 0.1, order = "second", head_init = { kind = "prototype" } }"#;
    let file = file
        .replace(r#"{ kind = "r2d2" }"#, maml)
        .replace(r#"filters = 8, norm = "running""#, r#"filters = 16, norm = "support""#);
    // Two numbers have one sum in any order; seven do not.
    let file = file.replace("meta_batch = 2", "meta_batch = 7");
    fs::write(folder.join("strokes.toml"), file).unwrap();

    let on = |threads: &str| {
        let run = format!("on-{threads}");
        let (run_dir, models) = (format!("runs/{run}"), format!("models/{run}"));
        let arguments = ["train", "strokes.toml", "--run-dir", &run_dir, "--models", &models, "--threads", threads];
        let output = imprint(folder, &arguments).args(["--steps", "3", "--test-episodes", "0"]).output().unwrap();
        assert!(output.status.success(), "{}", said(&output));
        bundle(folder, &run).0
    };

    assert!(on("1") == on("3"));
}

#[test]
fn splits_share_no_alphabet_rotations_are_for_training_alone_and_figures_do_not_depend_on_threads() {
    let folder = folder();
    let folder = folder.path();

    let trained = train(folder, "one", &["--steps", "10"]).output().unwrap();
    let eval = |threads: &str| {
        let arguments = ["eval", "strokes", "--models", "models/one", "--episodes", "12", "--json"];
        let output = imprint(folder, &arguments).args(["--threads", threads]).output().unwrap();
        assert!(output.status.success(), "{}", said(&output));
        serde_json::from_slice::<Value>(&output.stdout).unwrap()
    };
    let (one, two) = (eval("1"), eval("2"));

    let words = said(&trained);
    assert!(words.contains("Omniglot train: 10 characters of 2 alphabets, each in four rotations"), "{words}");
    assert!(words.contains("Omniglot validation: 5 characters of 1 alphabets\n"), "{words}");
    assert!(words.contains("Omniglot test: 10 characters of 2 alphabets\n"), "{words}");
    assert_eq!(one, two);
    assert_eq!(one["figures"][0]["episodes"], 12);
    let (_, manifest) = bundle(folder, "one");
    let figures = manifest["figures"].as_array().unwrap();
    assert_eq!(figures.iter().map(|figure| figure["transductive"] == true).collect::<Vec<_>>(), [false, true]);
    assert_eq!(manifest["provenance"]["data"].as_object().unwrap().len(), 2);
}

#[test]
fn a_training_file_that_cannot_be_run_says_why_before_it_starts() {
    let folder = folder();
    let folder = folder.path();
    let training = fs::read_to_string(folder.join("strokes.toml")).unwrap();

    for (from, to, reason) in [
        ("seed = 3", "seed = 3\ncolour = 1", "unknown field"),
        ("\"Gimel\"", "\"Zayin\"", "there is no alphabet `Zayin`; there are Aleph, Beth, Gimel"),
        ("background.zip", "nowhere.zip", "nowhere.zip"),
        ("way = [3, 5]", "way = [3, 60]", "Omniglot train: it has 40 classes"),
        ("way = [3, 3]", "way = [7, 7]", "Omniglot validation: it has 5 classes"),
        ("query = 2", "query = 5", "a class has 6 images, and 7 are wanted"),
        ("query = 2", "query = 0", "at least 1"),
        ("steps = 60", "steps = 0", "must not be zero"),
        ("kind = \"conv4\", filters = 8, norm = \"running\"", "kind = \"mlp\", hidden = [4]", "takes vectors"),
        ("name = \"strokes\"", "name = \"../strokes\"", "cannot name a folder"),
    ] {
        assert!(training.contains(from), "{from}");
        fs::write(folder.join("strokes.toml"), training.replacen(from, to, 1)).unwrap();
        let tried = train(folder, "tried", &[]).output().unwrap();
        assert_eq!(tried.status.code(), Some(1), "{to}: {}", said(&tried));
        assert!(said(&tried).contains(reason), "{to}: {}", said(&tried));
    }
}

#[test]
fn a_run_that_no_longer_improves_stops_early() {
    let folder = folder();
    let folder = folder.path();
    let training = fs::read_to_string(folder.join("strokes.toml")).unwrap();
    // Steps too small to change any answer: no validation is better than the first.
    let training = training.replace("lr = 1e-2, final_lr = 1e-3", "lr = 1e-30, final_lr = 1e-30");
    let training = training.replace(
        "backbone = { kind = \"conv4\", filters = 8, norm = \"running\" }",
        "backbone = { kind = \"conv4\", filters = 8, norm = \"support\" }",
    );
    fs::write(folder.join("strokes.toml"), training.replace("every = 10,", "every = 5, patience = 2,")).unwrap();

    let trained = train(folder, "one", &[]).output().unwrap();

    assert!(
        said(&trained).contains("validation no longer improves; the best θ is that of step 5"),
        "{}",
        said(&trained)
    );
    let (_, manifest) = bundle(folder, "one");
    assert_eq!((&manifest["provenance"]["outer_steps"], &manifest["provenance"]["best_step"]), (&15.into(), &5.into()));
}

#[test]
fn an_earlier_run_is_neither_replaced_unasked_nor_resumed_with_other_settings() {
    let folder = folder();
    let folder = folder.path();

    let first = train(folder, "one", &["--steps", "10"]).output().unwrap();
    let unasked = train(folder, "one", &["--steps", "10"]).output().unwrap();
    let other = train(folder, "one", &["--steps", "10", "--seed", "4", "--resume"]).output().unwrap();
    let anew = train(folder, "one", &["--steps", "10", "--seed", "4", "--restart"]).output().unwrap();

    assert!(first.status.success(), "{}", said(&first));
    assert_eq!(unasked.status.code(), Some(1));
    assert!(said(&unasked).contains("--resume"), "{}", said(&unasked));
    assert_eq!(other.status.code(), Some(1));
    assert!(said(&other).contains("other settings"), "{}", said(&other));
    assert!(anew.status.success(), "{}", said(&anew));
}

#[test]
fn a_base_model_goes_on_with_its_theta_and_with_nothing_but_its_architecture() {
    let folder = folder();
    let folder = folder.path();
    train(folder, "first", &["--steps", "10"]).output().unwrap();

    let went_on = ["--steps", "1", "--lr", "1e-30", "--continue", "models/first/strokes"];
    let went_on = train(folder, "second", &went_on).output().unwrap();
    let training = fs::read_to_string(folder.join("strokes.toml")).unwrap();
    fs::write(folder.join("strokes.toml"), training.replace("filters = 8", "filters = 4")).unwrap();
    let other = train(folder, "third", &["--continue", "models/first/strokes"]).output().unwrap();

    assert!(went_on.status.success(), "{}", said(&went_on));
    let ((first, before), (second, after)) = (bundle(folder, "first"), bundle(folder, "second"));
    let weights = |theta: &[u8]| {
        let file = safetensors::SafeTensors::deserialize(theta).unwrap();
        file.tensor("backbone.conv0.weight").unwrap().data().to_vec()
    };
    assert_eq!(weights(&first), weights(&second));
    assert_eq!(after["provenance"]["config"]["continues"], before["theta_sha256"]);
    assert_eq!(other.status.code(), Some(1));
    assert!(said(&other).contains("the training file's differ"), "{}", said(&other));
}

#[test]
fn under_another_learner_the_backbone_goes_on_and_the_rest_begins_anew() {
    let folder = folder();
    let folder = folder.path();
    train(folder, "first", &["--steps", "10"]).output().unwrap();
    let training = fs::read_to_string(folder.join("strokes.toml")).unwrap();
    let learner =
        r#"{ kind = "maml", inner_steps = 1, inner_lr = 0.1, order = "first", head_init = { kind = "shared" } }"#;
    let training = training.replace("{ kind = \"r2d2\" }", learner).replace("norm = \"running\"", "norm = \"support\"");
    fs::write(folder.join("strokes.toml"), training).unwrap();

    let went_on = ["--steps", "1", "--lr", "1e-30", "--continue", "models/first/strokes"];
    let went_on = train(folder, "second", &went_on).output().unwrap();

    assert!(went_on.status.success(), "{}", said(&went_on));
    let ((first, _), (second, _)) = (bundle(folder, "first"), bundle(folder, "second"));
    let [before, after] = [&first, &second].map(|theta| safetensors::SafeTensors::deserialize(theta).unwrap());
    for name in ["backbone.conv0.weight", "backbone.norm3.bias"] {
        assert_eq!(before.tensor(name).unwrap().data(), after.tensor(name).unwrap().data(), "{name}");
    }
    assert!(before.names().iter().any(|name| name.starts_with("stats.")));
    assert!(!after.names().iter().any(|name| name.starts_with("stats.")));
    assert!(after.tensor("head.weight").is_ok());
}

#[test]
fn splits_by_character_share_none_and_are_the_same_each_time() {
    let folder = folder();
    let folder = folder.path();
    let training = fs::read_to_string(folder.join("strokes.toml")).unwrap();
    let by_alphabet = "validation_alphabets = [\"Gimel\"]";
    let by_character = |sizes: &str| training.replace(by_alphabet, &format!("characters = {{ {sizes} }}"));
    fs::write(folder.join("strokes.toml"), by_character("train = 14, validation = 5, seed = 2")).unwrap();

    let trained = train(folder, "one", &["--steps", "1"]).output().unwrap();
    let none_left = by_character("train = 20, validation = 5");
    let both = training.replace(by_alphabet, &format!("{by_alphabet}, characters = {{ train = 14, validation = 5 }}"));
    let refusals = [(none_left, "leave none to test on"), (both, "exclude each other")].map(|(training, reason)| {
        fs::write(folder.join("strokes.toml"), training).unwrap();
        (said(&train(folder, "other", &["--steps", "1"]).output().unwrap()), reason)
    });

    assert!(trained.status.success(), "{}", said(&trained));
    for told in ["train: 14 characters", "validation: 5 characters", "test: 6 characters"] {
        assert!(said(&trained).contains(told), "{told}: {}", said(&trained));
    }
    assert!(said(&trained).matches("each in four rotations").count() >= 3, "{}", said(&trained));
    for (told, reason) in refusals {
        assert!(told.contains(reason), "{told}");
    }
}

#[test]
fn a_base_model_is_measured_on_another_task_distribution_if_its_inputs_are_the_same() {
    let folder = folder();
    let folder = folder.path();
    train(folder, "one", &["--steps", "10"]).output().unwrap();
    let other = "kind = \"omniglot\"\nbackground = \"evaluation.zip\"\nvalidation_alphabets = [\"He\"]";
    fs::write(folder.join("other.toml"), other).unwrap();
    fs::write(folder.join("line.toml"), "kind = \"line\"").unwrap();
    let eval = |task: &str| {
        let setting = ["--split", "validation", "--way", "3", "--shot", "1", "--query", "2", "--episodes", "4"];
        imprint(folder, &["eval", "strokes", "--models", "models/one", "--task", task]).args(setting).output().unwrap()
    };

    let (measured, refused) = (eval("other.toml"), eval("line.toml"));

    assert!(measured.status.success(), "{}", said(&measured));
    assert!(said(&measured).contains("Omniglot validation: 5 characters of 1 alphabets"), "{}", said(&measured));
    assert_eq!(refused.status.code(), Some(1));
    assert!(said(&refused).contains("the base model takes"), "{}", said(&refused));
}

#[test]
fn photographs_in_folders_are_classes_and_splits_share_none() {
    use imprint::meta::task::{self, EpisodeSpec, Split, TaskConfig};
    let folder = folder();
    let folders = |validation: &str, test: &str| {
        let (zip, owned) = ("background.zip".into(), |name: &str| vec![name.to_owned()]);
        let config = TaskConfig::Folders { zip, side: 16, validation: owned(validation), test: owned(test) };
        task::open(&config, &sources(folder.path()))
    };

    // Each character's folder is a class, in whichever alphabet it is.
    let tasks = folders("character00", "character03").unwrap();

    assert!(tasks.describe(Split::Train).ends_with("54 images of 3 classes"), "{}", tasks.describe(Split::Train));
    assert!(tasks.describe(Split::Test).ends_with("18 images of 1 classes"), "{}", tasks.describe(Split::Test));
    let spec = |way| EpisodeSpec { way: way..=way, shot: 1..=1, query: 2, unlabelled: 0 };
    let episode = tasks.sample(Split::Train, &spec(3), &mut rand::SeedableRng::seed_from_u64(1));
    assert_eq!((episode.support.len(), episode.support.width(), episode.query.len()), (3, 3 * 16 * 16, 6));
    assert!(tasks.check(Split::Test, &spec(2)).is_err());
    assert!(folders("character00", "character99").is_err());
}

#[test]
fn street_numbers_are_read_from_matlabs_files_and_ten_is_the_digit_zero() {
    use imprint::meta::task::{self, EpisodeSpec, Split, TaskConfig};
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let open =
        |name: &str| task::open(&TaskConfig::Svhn { train: Some(name.into()), test: name.into() }, &sources(&golden));
    let tasks = open("svhn.mat").unwrap();
    let spec = EpisodeSpec { way: 10..=10, shot: 1..=1, query: 1, unlabelled: 0 };

    let episode = tasks.sample(Split::Test, &spec, &mut rand::SeedableRng::seed_from_u64(1));

    let mut inks: Vec<f32> = episode.support.iter().map(|row| row[0] * 255.0).collect();
    assert!(episode.support.iter().all(|row| row.iter().all(|pixel| *pixel == row[0])));
    assert_eq!(inks, episode.query.iter().map(|row| row[0] * 255.0).collect::<Vec<_>>());
    inks.sort_by(f32::total_cmp);
    let expected = (0..10u8).map(|digit| f32::from(20 * digit));
    assert!(inks.iter().zip(expected).all(|(ink, expected)| (ink - expected).abs() < 1e-3), "{inks:?}");
    let refused = open("packed.mat").err().unwrap().to_string();
    assert!(refused.contains("[32, 32, 3, N] is expected"), "{refused}");
}

/// A training file for lines, and a space around it.
fn lines(folder: &Path) {
    let training = r#"
        name = "lines"
        version = "1"
        description = "Lines of a test"
        seed = 3
        task = { kind = "mixture", of = [{ kind = "line" }, { kind = "quadratic" }, { kind = "sinusoid" }] }
        backbone = { kind = "mlp", hidden = [8] }
        learner = { kind = "maml", inner_steps = 1, inner_lr = 0.01, order = "first", head_init = { kind = "learned", way = 1 } }
        episode = { way = [1, 1], shot = [5, 5], query = 5 }
        outer = { steps = 400, meta_batch = 4, lr = 1e-2, final_lr = 1e-3 }
        validation = { every = 20, episodes = 10, settings = [{ way = [1, 1], shot = [5, 5], query = 10 }] }
        limits = { max_support = 100, max_labels = 1, max_query = 100 }
    "#;
    fs::write(folder.join("lines.toml"), training).unwrap();
    let space = "\"outer.lr\" = { log = [1e-4, 1e-1] }\n\"backbone.hidden\" = { of = [[4], [8, 8]] }\n\"learner.inner_steps\" = { uniform = [1, 3] }\n";
    fs::write(folder.join("space.toml"), space).unwrap();
}

fn search(folder: &Path, run: &str) -> Command {
    let numbers = ["--trials", "6", "--steps", "60", "--rungs", "2", "--threads", "1"];
    let mut command = imprint(folder, &["search", "lines.toml", "space.toml"]);
    command.args(numbers).args(["--run-dir", run, "--plot", "scores.png"]);
    command
}

#[test]
fn a_search_that_was_killed_goes_on_and_reports_what_one_that_was_not_reports() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    lines(folder);

    let whole = search(folder, "whole").output().unwrap();
    let mut process = search(folder, "killed").stderr(Stdio::piped()).spawn().unwrap();
    let mut said_lines = BufReader::new(process.stderr.take().unwrap()).lines().map(Result::unwrap);
    assert!(said_lines.any(|line| line.starts_with("rung 0, trial 3")));
    assert!(said_lines.any(|line| line.starts_with("validation at step 20")));
    process.kill().unwrap();
    process.wait().unwrap();
    let went_on = search(folder, "killed").output().unwrap();

    assert!(whole.status.success(), "{}", said(&whole));
    assert!(!said(&went_on).contains("rung 0, trial 2"), "{}", said(&went_on));
    let table = String::from_utf8(whole.stdout).unwrap();
    assert_eq!(table, String::from_utf8(went_on.stdout).unwrap());
    // A header, six trials, and two of them again with three times the steps.
    assert_eq!(table.lines().count(), 1 + 6 + 2, "{table}");
    assert!(table.lines().nth(1).unwrap().trim_start().starts_with('1'), "{table}");
    assert!(image::open(folder.join("scores.png")).unwrap().width() > 1000);
    let best = fs::read_to_string(folder.join("whole/best.toml")).unwrap();
    assert!(best.contains("steps = 400"), "{best}");
    fs::write(folder.join("lines.toml"), best).unwrap();
    let other = search(folder, "whole").output().unwrap();
    assert!(said(&other).contains("another search was begun here"), "{}", said(&other));
}

#[test]
fn a_space_that_does_not_suit_the_training_file_is_refused_before_anything_is_computed() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    lines(folder);

    for (space, reason) in [
        ("\"outer.speed\" = { of = [1] }", "no setting `outer.speed`"),
        ("\"outer.lr\" = { of = [\"fast\"] }", "`outer.lr`"),
        ("\"outer.lr\" = { log = [1.0, 0.1] }", "`log` takes"),
        ("\"outer.lr\" = { some = [1.0] }", "unknown variant"),
        ("", "the space is empty"),
    ] {
        fs::write(folder.join("space.toml"), space).unwrap();
        let tried = search(folder, "tried").output().unwrap();
        assert_eq!(tried.status.code(), Some(1), "{space}");
        assert!(said(&tried).contains(reason), "{space}: {}", said(&tried));
    }
}
