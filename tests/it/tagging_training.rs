//! `imprint train` and `imprint eval` on tagged sentences, with an encoder made for the test.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;
use sha2::Digest;
use tempfile::TempDir;

use crate::http::tiny_encoder;

/// Sentences in which words that begin with `letter` are names.
fn corpus(path: &Path, letter: char, label: &str) {
    let mut lines = String::new();
    for sentence in 0..30u8 {
        for word in 0..4 + sentence % 3 {
            let (text, tag) = match (sentence + word) % 4 {
                0 => (format!("{letter}{}", char::from(b'a' + sentence % 20)), format!("B-{label}")),
                at => (String::from(char::from(b'a' + 5 * at)).repeat(1 + usize::from(word)), "O".to_owned()),
            };
            writeln!(lines, "{text}\t{tag}").unwrap();
        }
        lines.push('\n');
    }
    fs::write(path, lines).unwrap();
}

/// A folder with two corpora, an encoder and a training file that tunes it.
fn folder() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    tiny_encoder::write(&folder.path().join("encoders/tiny"));
    corpus(&folder.path().join("towns.conll"), 't', "town");
    corpus(&folder.path().join("names.conll"), 'n', "name");
    let training = r#"
        name = "words"
        version = "1"
        description = "Words of a test"
        seed = 3
        backbone = { kind = "words", channels = 8, table = 64, row = 4, look = 8 }
        learner = { kind = "tagger", steps = 60, lr = 0.01, words = 2000 }
        outer = { steps = 6, meta_batch = 4, lr = 1e-2, final_lr = 1e-3 }
        validation = { every = 3, episodes = 1, settings = [{ way = [1, 1], shot = [5, 5], query = 1 }] }
        limits = { max_support = 50, max_labels = 10, max_query = 10 }
        [task]
        kind = "sentences"
        encoder = "tiny"
        max_chars = 100
        hold_out = ["names"]
        tuning = { blocks = 1, rank = 2 }
        [[task.corpora]]
        name = "towns"
        train = ["towns.conll"]
        [[task.corpora]]
        name = "names"
        train = ["names.conll"]
        test = ["names.conll"]
    "#;
    fs::write(folder.path().join("words.toml"), training).unwrap();
    folder
}

fn imprint(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_imprint"));
    command.env_clear().current_dir(folder).args(arguments).args(["--data", ".", "--encoders", "encoders"]);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output
}

fn tuning(folder: &Path) -> Vec<u8> {
    fs::read(folder.join("models/words/tuning.safetensors")).unwrap()
}

#[test]
fn a_tagger_tunes_its_encoder_to_a_file_of_the_bundle_and_to_the_same_bits() {
    let folder = folder();

    imprint(folder.path(), &["train", "words.toml", "--test-episodes", "1"]);
    let first = tuning(folder.path());
    imprint(folder.path(), &["train", "words.toml", "--test-episodes", "1", "--restart"]);
    let manifest = fs::read(folder.path().join("models/words/manifest.json")).unwrap();
    let manifest: Value = serde_json::from_slice(&manifest).unwrap();

    assert_eq!(first, tuning(folder.path()));
    assert_eq!(manifest["input"]["encoder"]["tuning"], imprint::domain::hex(&sha2::Sha256::digest(&first)));
    // What the manifest says of the corpus that was held out is what the bundle says when it is read again.
    let measured = imprint(folder.path(), &["eval", "words", "--episodes", "1", "--seed", "1000", "--json"]);
    let report: Value = serde_json::from_slice(&measured.stdout).unwrap();
    assert_eq!(report["figures"][0]["entity_f1"]["mean"], manifest["figures"][0]["mean"]);
    assert!(manifest["figures"][0]["mean"].as_f64().unwrap() > 0.8, "{manifest}");
}
