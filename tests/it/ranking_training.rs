//! `imprint train` and `imprint eval` on people and what they chose, with an encoder made for the test.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;
use tempfile::TempDir;

use crate::http::tiny_encoder;

/// People who rate what is of one letter well and what is of another badly, and everybody likes item 0.
fn folder() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    tiny_encoder::write(&folder.path().join("encoders/tiny"));
    let letters = ['a', 'h', 'q', 'z'];
    let mut items = "id,title,kind\n0,hit,all|some\n".to_owned();
    for number in 1..=24usize {
        let letter = String::from(letters[number % 4]);
        writeln!(items, "{number},{},{letter}", letter.repeat(1 + number % 5)).unwrap();
    }
    fs::write(folder.path().join("items.csv"), items).unwrap();
    let mut ratings = "person,item,stars\n".to_owned();
    for person in 0..80usize {
        writeln!(ratings, "p{person},0,5").unwrap();
        for number in (1..=24).filter(|number| (number + person) % 3 > 0) {
            let stars = if number % 4 == person % 4 { 5 } else { 1 };
            if stars == 5 || number % 2 == 0 {
                writeln!(ratings, "p{person},{number},{stars}").unwrap();
            }
        }
    }
    fs::write(folder.path().join("ratings.csv"), ratings).unwrap();
    let training = r#"
        name = "tastes"
        version = "1"
        description = "Tastes of a test"
        seed = 3
        backbone = { kind = "items", hidden = [], width = 4 }
        learner = { kind = "prior_ridge" }
        episode = { way = [1, 1], shot = [1, 4], query = 20 }
        outer = { steps = 200, meta_batch = 8, lr = 3e-2, final_lr = 1e-3 }
        validation = { every = 100, episodes = 100, settings = [{ way = [1, 1], shot = [3, 3], query = 20 }] }
        limits = { max_support = 50, max_labels = 1, max_query = 50 }
        [task]
        kind = "preferences"
        encoder = "tiny"
        max_chars = 100
        features = 3
        tenths = [4, 2]
        items = { file = "items.csv", id = "id", text = ["title", "kind"] }
        signals = { file = "ratings.csv", person = "person", item = "item", rating = "stars" }
    "#;
    fs::write(folder.path().join("tastes.toml"), training).unwrap();
    folder
}

fn imprint(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_imprint"));
    command.env_clear().current_dir(folder).args(arguments).args(["--data", ".", "--encoders", "encoders"]);
    command.output().unwrap()
}

fn eval(folder: &Path, more: &[&str]) -> Value {
    let measured = imprint(folder, &[&["eval", "tastes", "--json"], more].concat());
    assert!(measured.status.success(), "{}", String::from_utf8_lossy(&measured.stderr));
    serde_json::from_slice(&measured.stdout).expect("a report")
}

#[test]
fn a_base_model_of_tastes_is_trained_and_measured_on_other_people() {
    let folder = folder();
    let train = |steps: &str| {
        let trained =
            imprint(folder.path(), &["train", "tastes.toml", "--restart", "--threads", "1", "--steps", steps]);
        assert!(trained.status.success(), "{}", String::from_utf8_lossy(&trained.stderr));
    };
    train("1");
    let before = eval(folder.path(), &[]);
    train("200");
    let manifest = fs::read(folder.path().join("models/tastes/manifest.json")).unwrap();
    let manifest: Value = serde_json::from_slice(&manifest).unwrap();
    let after = eval(folder.path(), &["--threads", "2"]);

    let figure = &after["figures"][0];
    assert_eq!((&figure["measure"], &figure["setting"]), (&Value::from("ndcg_at_10"), &Value::from("3-shot")));
    let each = figure["each"].as_array().unwrap();
    assert_eq!(figure["episodes"], Value::from(each.len()), "each person once");
    let hits = each.iter().map(|person| person[1].as_f64().unwrap()).sum::<f64>() / each.len() as f64;
    assert!((figure["hit_rate_at_10"]["mean"].as_f64().unwrap() - hits).abs() < 1e-12);
    assert_eq!(figure["inductive"]["mean"], manifest["figures"][0]["mean"], "the manifest's figures are these");
    let mean = |report: &Value| report["figures"][0]["inductive"]["mean"].as_f64().unwrap();
    assert!(mean(&after) > mean(&before) + 0.03, "{} after {}", mean(&after), mean(&before));
    let split = manifest["figures"][0]["split"].as_str().unwrap();
    assert!(split.starts_with("test: ") && split.contains("on 25 items"), "{split}");
}

#[test]
fn tables_that_do_not_fit_say_so() {
    let folder = folder();
    let path = folder.path().join("tastes.toml");
    let right = fs::read_to_string(&path).unwrap();

    for (is, becomes, says) in [
        ("rating = \"stars\"", "rating = \"rating\"", "there is no column `rating`"),
        ("item = \"item\", rating", "item = \"person\", rating", "is not among the items"),
        ("shot = [3, 3]", "shot = [50, 50]", "has 50 signals and another item"),
        ("kind = \"items\", hidden", "kind = \"mlp\", hidden", "width"),
        ("kind = \"prior_ridge\"", "kind = \"r2d2\"", "ranking for prior_ridge"),
    ] {
        fs::write(&path, right.replace(is, becomes)).unwrap();
        let refused = imprint(folder.path(), &["train", "tastes.toml"]);
        let words = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(!refused.status.success() && words.contains(says), "{words}");
    }
}
