//! `imprint train` and `imprint eval` on tagged sentences, with an encoder made for the test.

use std::fmt::Write as _;
use std::fs;

use sha2::Digest;

use crate::workshop::Workshop;

/// Sentences in which words that begin with `letter` are names.
fn corpus(letter: char, label: &str) -> String {
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
    lines
}

/// Two corpora, and a training file that tunes the encoder.
fn workshop() -> Workshop {
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
    let workshop = Workshop::new("words", training);
    workshop.write("towns.conll", &corpus('t', "town"));
    workshop.write("names.conll", &corpus('n', "name"));
    workshop
}

#[test]
fn a_tagger_tunes_its_encoder_to_a_file_of_the_bundle_and_to_the_same_bits() {
    let workshop = workshop();
    let tuning = || fs::read(workshop.of_bundle("tuning.safetensors")).unwrap();

    workshop.train(&["--test-episodes", "1"]);
    let first = tuning();
    workshop.train(&["--test-episodes", "1", "--restart"]);
    let manifest = workshop.manifest();

    assert_eq!(first, tuning());
    assert_eq!(manifest["input"]["encoder"]["tuning"], imprint::domain::hex(&sha2::Sha256::digest(&first)));
    // What the manifest says of the corpus that was held out is what the bundle says when it is read again.
    let report = workshop.eval(&["--episodes", "1", "--seed", "1000"]);
    assert_eq!(report["figures"][0]["entity_f1"]["mean"], manifest["figures"][0]["mean"]);
    assert!(manifest["figures"][0]["mean"].as_f64().unwrap() > 0.8, "{manifest}");
}
