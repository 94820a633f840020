//! `imprint data` on a small Omniglot of our own.

use std::fs;
use std::process::Output;

use serde_json::Value;

use crate::training::{folder, imprint, said};

#[test]
fn what_is_drawn_into_a_file_is_what_is_measured_on() {
    let folder = folder();
    let folder = folder.path();
    let training: toml::Table = fs::read_to_string(folder.join("strokes.toml")).unwrap().parse().unwrap();
    fs::write(folder.join("task.toml"), toml::to_string(&training["task"]).unwrap()).unwrap();
    let draw_from = |file: &str, out: &str, seed: &str| {
        let sizes = ["--way", "3", "--shot", "2", "--query", "1", "--episodes", "4", "--seed", seed];
        let drawn = imprint(folder, &["data", "draw", file, out]).args(sizes).output().unwrap();
        assert!(drawn.status.success(), "{}", said(&drawn));
        fs::read(folder.join(out)).unwrap()
    };
    let draw = |out: &str, seed: &str| draw_from("strokes.toml", out, seed);

    let (one, same, other) = (draw("one", "5"), draw("same", "5"), draw("other", "6"));

    assert_eq!(one, same);
    assert_eq!(one, draw_from("task.toml", "alone", "5"));
    assert_ne!(one, other);
    let file = safetensors::SafeTensors::deserialize(&one).unwrap();
    let shape = |name: &str| file.tensor(name).unwrap().shape().to_vec();
    assert_eq!((shape("support"), shape("query")), (vec![4, 6, 1, 28, 28], vec![4, 3, 1, 28, 28]));
    let labels: Vec<u8> = file.tensor("query_targets").unwrap().data().iter().copied().step_by(4).collect();
    assert_eq!(labels, [0, 1, 2].repeat(4));
    assert!(file.tensor("support").unwrap().data().iter().any(|&ink| ink > 200));
}

#[test]
fn checked_data_is_whole_absent_or_no_good_and_only_the_last_is_an_error() {
    let folder = folder();
    let folder = folder.path();
    let check = || imprint(folder, &["data", "check", "--json"]).output().unwrap();
    fs::create_dir_all(folder.join("omniglot")).unwrap();

    let absent = check();
    let whole = fs::read(folder.join("background.zip")).unwrap();
    fs::write(folder.join("omniglot/images_background.zip"), &whole[..whole.len() / 2]).unwrap();
    fs::copy(folder.join("evaluation.zip"), folder.join("omniglot/images_evaluation.zip")).unwrap();
    let damaged = check();

    let rows = |output: &Output| {
        let document: Value = serde_json::from_slice(&output.stdout).unwrap();
        document["files"].as_array().unwrap().clone()
    };
    assert!(absent.status.success(), "{}", said(&absent));
    assert!(rows(&absent).iter().all(|row| row["state"] == "absent"));
    assert_eq!(damaged.status.code(), Some(1));
    assert!(said(&damaged).contains("2 files in . are no good"), "{}", said(&damaged));
    let rows = rows(&damaged);
    let detail =
        |file: &str| rows.iter().find(|row| row["file"] == file).unwrap()["detail"].as_str().unwrap().to_owned();
    assert!(!detail("omniglot/images_background.zip").is_empty());
    let less = detail("omniglot/images_evaluation.zip");
    assert!(less.starts_with("it has 60 drawings of 10 characters of 2 alphabets; the whole is 13180"), "{less}");
}
