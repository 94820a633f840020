//! `imprint train` and `imprint eval` on people and what they chose, with an encoder made for the test.

use std::fmt::Write as _;

use serde_json::Value;

use crate::workshop::Workshop;

/// People who rate what is of one letter well and what is of another badly, and everybody likes item 0.
fn workshop() -> Workshop {
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
    let workshop = Workshop::new("tastes", training);
    let letters = ['a', 'h', 'q', 'z'];
    let mut items = "id,title,kind\n0,hit,all|some\n".to_owned();
    for number in 1..=24usize {
        let letter = String::from(letters[number % 4]);
        writeln!(items, "{number},{},{letter}", letter.repeat(1 + number % 5)).unwrap();
    }
    workshop.write("items.csv", &items);
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
    workshop.write("ratings.csv", &ratings);
    workshop
}

#[test]
fn a_base_model_of_tastes_is_trained_and_measured_on_other_people() {
    let workshop = workshop();
    let train = |steps: &str| workshop.train(&["--restart", "--threads", "1", "--steps", steps]);
    train("1");
    let before = workshop.eval(&[]);
    train("200");
    let manifest = workshop.manifest();
    let after = workshop.eval(&["--threads", "2"]);

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
    let workshop = workshop();

    for (is, becomes, says) in [
        ("rating = \"stars\"", "rating = \"rating\"", "there is no column `rating`"),
        ("item = \"item\", rating", "item = \"person\", rating", "is not among the items"),
        ("shot = [3, 3]", "shot = [50, 50]", "has 50 signals and another item"),
        ("kind = \"items\", hidden", "kind = \"mlp\", hidden", "width"),
        ("kind = \"prior_ridge\"", "kind = \"r2d2\"", "ranking for prior_ridge"),
    ] {
        let words = workshop.refusal(is, becomes);
        assert!(words.contains(says), "{words}");
    }
}
