//! `imprint train` and `imprint eval` on tables of texts, with an encoder made for the test.

use std::fmt::Write as _;
use std::fs;

use serde_json::Value;
use sha2::Digest;

use crate::workshop::{Workshop, refusal_of};

/// Texts of one letter each: what the tiny encoder tells apart.
fn table(labels: &[(&str, &str, char)]) -> String {
    let mut lines = "domain,intent,text\n".to_owned();
    for (domain, intent, letter) in labels {
        for number in 0..9u8 {
            let word = String::from(*letter).repeat(1 + usize::from(number) % 3);
            writeln!(lines, "{domain},{intent},\"{word}, {word} {word} {}\"", char::from(b'a' + number)).unwrap();
        }
    }
    lines
}

/// A table of intents, and a training file.
fn workshop() -> Workshop {
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
    let workshop = Workshop::new("letters", training);
    let intents = [("bank", "pay", 'p'), ("bank", "ask", 'a'), ("bank", "owe", 'o'), ("bank", "end", 'e')];
    let held_out = [("home", "hot", 'h'), ("home", "wet", 'w'), ("home", "icy", 'i')];
    let kept = [("car", "jam", 'j'), ("car", "key", 'k'), ("car", "gas", 'g')];
    workshop.write("intents.csv", &table(&[&intents[..], &held_out, &kept, &[("oos", "oos", 'z')]].concat()));
    workshop
}

fn train(workshop: &Workshop, more: &[&str]) {
    workshop.train(&[&["--test-episodes", "20"], more].concat());
}

/// Two programs that need the base model: none of them runs.
fn refused(workshop: &Workshop) -> [String; 2] {
    let eval = workshop.imprint(&["eval", "letters", "--episodes", "5", "--data", "."]);
    let serve = workshop.imprint(&["serve", "--device", "cpu", "--listen", "127.0.0.1:0"]);
    [&eval, &serve].map(refusal_of)
}

#[test]
fn a_base_model_of_texts_is_trained_and_names_its_encoder() {
    let workshop = workshop();

    train(&workshop, &[]);
    let one = workshop.manifest();
    let kept = || fs::read_dir(workshop.path("encoders/.embeddings")).unwrap().count();
    let embeddings = kept();
    train(&workshop, &["--restart"]);

    let encoder = &one["input"]["encoder"];
    assert_eq!((&one["input"]["type"], &encoder["name"]), (&Value::from("text"), &Value::from("tiny")));
    assert_eq!(encoder["sha256"].as_object().unwrap().len(), 3);
    assert_eq!(one["figures"][0]["split"], "test: 27 texts of 3 classes of intents.csv");
    // Of the texts, and of the names of their classes.
    assert_eq!((embeddings, kept()), (2, 2));
    // From the file of embeddings, to the same bits.
    assert_eq!(one["theta_sha256"], workshop.manifest()["theta_sha256"]);
}

#[test]
fn a_base_model_refuses_an_encoder_that_is_another_one() {
    let workshop = workshop();
    train(&workshop, &[]);
    let config = workshop.path("encoders/tiny/config.json");
    let changed = fs::read_to_string(&config).unwrap().replace("1e-12", "1e-5");
    fs::write(&config, changed).unwrap();

    for words in refused(&workshop) {
        assert!(words.contains("encoder") && !words.contains("panicked"), "{words}");
    }
}

#[test]
fn a_table_without_the_column_or_the_group_says_so() {
    let workshop = workshop();

    for (is, becomes, says) in [
        ("label = \"intent\"", "label = \"intents\"", "there is no column `intents` among: domain, intent, text"),
        ("test = [\"car\"]", "test = [\"cars\"]", "there is no `cars` to keep"),
        ("way = [3, 3]", "way = [4, 4]", "there are 3 classes, and 4-way episodes need as many as that"),
    ] {
        let words = workshop.refusal(is, becomes);
        assert!(words.contains(says), "{words}");
    }
}

/// Two blocks: the last one changes, the first one is tapped.
const TUNING: &str =
    "[task.tuning]\nblocks = 1\nrank = 2\ntap = 0\ntap_weight = 0.5\nsteps = 60\ntexts = 12\nlr = 3e-2\nmost = 9\n";

fn tuned() -> Workshop {
    let workshop = workshop();
    workshop.change("[[task.tables]]", &format!("{TUNING}[[task.tables]]"));
    workshop
}

#[test]
fn a_tuned_encoder_is_a_file_of_the_bundle_and_the_same_each_time() {
    let workshop = tuned();
    let tuning = || fs::read(workshop.of_bundle("tuning.safetensors")).unwrap();
    train(&workshop, &[]);
    let (first, one) = (tuning(), workshop.manifest());
    fs::remove_dir_all(workshop.path("encoders/.embeddings")).unwrap();
    train(&workshop, &["--restart"]);

    let named = one["input"]["encoder"]["tuning"].as_str().expect("the manifest names it");
    assert_eq!(named, imprint::domain::hex(&sha2::Sha256::digest(&first)));
    assert_eq!(first, tuning(), "the same texts and settings tune to the same bits");
    let report = workshop.eval(&["--episodes", "20"]);
    assert!(report["figures"][0]["inductive"]["mean"].as_f64().unwrap() > 0.4, "{report}");
}

#[test]
fn a_bundle_whose_tuning_is_another_one_is_refused() {
    let workshop = tuned();
    train(&workshop, &[]);
    let file = workshop.of_bundle("tuning.safetensors");
    let mut bytes = fs::read(&file).unwrap();
    *bytes.last_mut().unwrap() ^= 1;

    for damage in [Some(bytes), None] {
        match damage {
            Some(bytes) => fs::write(&file, bytes).unwrap(),
            None => fs::remove_file(&file).unwrap(),
        }
        for words in refused(&workshop) {
            assert!(words.contains("tuning"), "{words}");
        }
    }
}
