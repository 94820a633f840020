//! `imprint train` and `imprint eval` on tables of texts, with an encoder made for the test.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;
use sha2::Digest;
use tempfile::TempDir;

use crate::http::tiny_encoder;

/// Texts of one letter each: what the tiny encoder tells apart.
fn table(path: &Path, labels: &[(&str, &str, char)]) {
    let mut lines = "domain,intent,text\n".to_owned();
    for (domain, intent, letter) in labels {
        for number in 0..9u8 {
            let word = String::from(*letter).repeat(1 + usize::from(number) % 3);
            writeln!(lines, "{domain},{intent},\"{word}, {word} {word} {}\"", char::from(b'a' + number)).unwrap();
        }
    }
    fs::write(path, lines).unwrap();
}

/// A folder with two tables, an encoder and a training file.
fn folder() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    tiny_encoder::write(&folder.path().join("encoders/tiny"));
    let intents = [("bank", "pay", 'p'), ("bank", "ask", 'a'), ("bank", "owe", 'o'), ("bank", "end", 'e')];
    let held_out = [("home", "hot", 'h'), ("home", "wet", 'w'), ("home", "icy", 'i')];
    let kept = [("car", "jam", 'j'), ("car", "key", 'k'), ("car", "gas", 'g')];
    table(&folder.path().join("intents.csv"), &[&intents[..], &held_out, &kept, &[("oos", "oos", 'z')]].concat());
    let training = r#"
        name = "letters"
        version = "1"
        description = "Letters of a test"
        seed = 3
        backbone = { kind = "mlp", hidden = [8] }
        learner = { kind = "protonet" }
        episode = { way = [2, 10], shot = [1, 3], query = 2 }
        outer = { steps = 6, meta_batch = 2, lr = 1e-3, final_lr = 1e-4 }
        validation = { every = 3, episodes = 4, settings = [{ way = [3, 3], shot = [1, 1], query = 2 }] }
        limits = { max_support = 50, max_labels = 10, max_query = 10 }
        [task]
        kind = "texts"
        encoder = "tiny"
        max_chars = 100
        [[task.tables]]
        file = "intents.csv"
        text = "text"
        label = "intent"
        group = "domain"
        skip = ["oos"]
        validation = ["home"]
        test = ["car"]
    "#;
    fs::write(folder.path().join("letters.toml"), training).unwrap();
    folder
}

fn imprint(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_imprint"));
    command.env_clear().current_dir(folder).args(arguments).args(["--data", ".", "--encoders", "encoders"]);
    command.output().unwrap()
}

fn train(folder: &Path, more: &[&str]) -> Output {
    imprint(folder, &[&["train", "letters.toml", "--test-episodes", "20"], more].concat())
}

fn manifest(folder: &Path) -> Value {
    serde_json::from_slice(&fs::read(folder.join("models/letters/manifest.json")).unwrap()).unwrap()
}

#[test]
fn a_base_model_of_texts_is_trained_and_names_its_encoder() {
    let folder = folder();

    let first = train(folder.path(), &[]);
    assert!(first.status.success(), "{}", String::from_utf8_lossy(&first.stderr));
    let one = manifest(folder.path());
    let kept = || fs::read_dir(folder.path().join("encoders/.embeddings")).unwrap().count();
    let embeddings = kept();
    let again = train(folder.path(), &["--restart"]);
    assert!(again.status.success(), "{}", String::from_utf8_lossy(&again.stderr));

    let encoder = &one["input"]["encoder"];
    assert_eq!((&one["input"]["type"], &encoder["name"]), (&Value::from("text"), &Value::from("tiny")));
    assert_eq!(encoder["sha256"].as_object().unwrap().len(), 3);
    assert_eq!(one["figures"][0]["split"], "test: 27 texts of 3 classes of intents.csv");
    // Of the texts, and of the names of their classes.
    assert_eq!((embeddings, kept()), (2, 2));
    // From the file of embeddings, to the same bits.
    assert_eq!(one["theta_sha256"], manifest(folder.path())["theta_sha256"]);
}

#[test]
fn a_base_model_refuses_an_encoder_that_is_another_one() {
    let folder = folder();
    let trained = train(folder.path(), &[]);
    assert!(trained.status.success(), "{}", String::from_utf8_lossy(&trained.stderr));
    let config = folder.path().join("encoders/tiny/config.json");
    let changed = fs::read_to_string(&config).unwrap().replace("1e-12", "1e-5");
    fs::write(&config, changed).unwrap();

    let measured = imprint(folder.path(), &["eval", "letters", "--episodes", "5"]);
    let mut serve = Command::new(env!("CARGO_BIN_EXE_imprint"));
    serve.env_clear().current_dir(folder.path());
    let served =
        serve.args(["serve", "--device", "cpu", "--listen", "127.0.0.1:0", "--encoders", "encoders"]).output().unwrap();

    for refused in [measured, served] {
        assert!(!refused.status.success());
        let words = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(words.contains("encoder") && !words.contains("panicked"), "{words}");
    }
}

#[test]
fn a_table_without_the_column_or_the_group_says_so() {
    let folder = folder();
    let path = folder.path().join("letters.toml");
    let right = fs::read_to_string(&path).unwrap();

    for (is, becomes, says) in [
        ("label = \"intent\"", "label = \"intents\"", "there is no column `intents` among: domain, intent, text"),
        ("test = [\"car\"]", "test = [\"cars\"]", "there is no `cars` to keep"),
        ("way = [3, 3]", "way = [4, 4]", "there are 3 classes, and 4-way episodes need as many as that"),
    ] {
        fs::write(&path, right.replace(is, becomes)).unwrap();
        let refused = train(folder.path(), &[]);
        let words = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(!refused.status.success() && words.contains(says), "{words}");
    }
}

/// Two blocks: the last one changes, the first one is tapped.
const TUNING: &str =
    "[task.tuning]\nblocks = 1\nrank = 2\ntap = 0\ntap_weight = 0.5\nsteps = 60\ntexts = 12\nlr = 3e-2\nmost = 9\n";

fn tuned_folder() -> TempDir {
    let folder = folder();
    let path = folder.path().join("letters.toml");
    let training = fs::read_to_string(&path).unwrap();
    fs::write(&path, training.replace("[[task.tables]]", &format!("{TUNING}[[task.tables]]"))).unwrap();
    folder
}

#[test]
fn a_tuned_encoder_is_a_file_of_the_bundle_and_the_same_each_time() {
    let folder = tuned_folder();
    let trained = train(folder.path(), &[]);
    assert!(trained.status.success(), "{}", String::from_utf8_lossy(&trained.stderr));
    let file = folder.path().join("models/letters/tuning.safetensors");
    let (first, one) = (fs::read(&file).unwrap(), manifest(folder.path()));
    fs::remove_dir_all(folder.path().join("encoders/.embeddings")).unwrap();
    let again = train(folder.path(), &["--restart"]);
    assert!(again.status.success(), "{}", String::from_utf8_lossy(&again.stderr));

    let named = one["input"]["encoder"]["tuning"].as_str().expect("the manifest names it");
    assert_eq!(named, imprint::domain::hex(&sha2::Sha256::digest(&first)));
    assert_eq!(first, fs::read(&file).unwrap(), "the same texts and settings tune to the same bits");
    let measured = imprint(folder.path(), &["eval", "letters", "--episodes", "20", "--json"]);
    let report: Value = serde_json::from_slice(&measured.stdout).expect("a report");
    assert!(report["figures"][0]["inductive"]["mean"].as_f64().unwrap() > 0.4, "{report}");
}

#[test]
fn a_bundle_whose_tuning_is_another_one_is_refused() {
    let folder = tuned_folder();
    let trained = train(folder.path(), &[]);
    assert!(trained.status.success(), "{}", String::from_utf8_lossy(&trained.stderr));
    let file = folder.path().join("models/letters/tuning.safetensors");
    let mut bytes = fs::read(&file).unwrap();
    *bytes.last_mut().unwrap() ^= 1;

    for damage in [Some(bytes), None] {
        match damage {
            Some(bytes) => fs::write(&file, bytes).unwrap(),
            None => fs::remove_file(&file).unwrap(),
        }
        let mut serve = Command::new(env!("CARGO_BIN_EXE_imprint"));
        serve.env_clear().current_dir(folder.path());
        let served = serve.args(["serve", "--device", "cpu", "--listen", "127.0.0.1:0", "--encoders", "encoders"]);
        for refused in [served.output().unwrap(), imprint(folder.path(), &["eval", "letters", "--episodes", "5"])] {
            let words = String::from_utf8_lossy(&refused.stderr).into_owned();
            assert!(!refused.status.success() && words.contains("tuning"), "{words}");
        }
    }
}
