//! The conversations in `examples/`, held with a real server on the base model `text` as it ships.

use std::path::Path;
use std::process::Command;

use crate::cli::{Server, imprint, key};

/// What a script says.
fn held(script: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    let (models, here) = (folder.path().join("models"), Path::new(env!("CARGO_MANIFEST_DIR")));
    std::fs::create_dir(&models).unwrap();
    for (from, to) in [("models/text", "text"), (".imprint/encoders/all-MiniLM-L6-v2", "all-MiniLM-L6-v2")] {
        std::os::unix::fs::symlink(here.join(from), models.join(to)).unwrap();
    }
    let key = key(folder.path(), "sqlite:imprint.db");
    let server = Server::started(imprint(folder.path()));
    let address = format!("http://{}", server.address);
    let mut talk = Command::new("python3");
    let said = talk.arg(here.join("examples").join(script)).args(["--server", &address, "--key", &key]).output();
    let said = said.expect("set-up asks for python3");
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
    String::from_utf8(said.stdout).unwrap()
}

#[test]
fn a_shop_is_understood_and_learns_a_new_label_from_two_examples() {
    let said = held("customer_service.py");

    for answer in ["You can follow your parcel", "Print a label at", "Refunds reach your account", "Exchanges are free"]
    {
        assert!(said.contains(answer), "{said}");
    }
    let novel = said.split("Which novel").nth(1).unwrap().lines().nth(1).unwrap();
    assert!(novel.contains("handed on to a person"), "{said}");
}

#[test]
fn a_surge_of_bad_reviews_is_told_and_so_is_its_end() {
    let said = held("sentiment_alert.py");

    let seen = |change: &str| -> u32 {
        let line = said.lines().find(|line| line.contains(&format!(": {change}"))).unwrap_or_else(|| panic!("{said}"));
        line.trim_start_matches("review ").split(':').next().unwrap().parse().unwrap()
    };
    assert!((201..=260).contains(&seen("raised")) && seen("cleared") > 281, "{said}");
    assert_eq!((said.matches(": raised").count(), said.matches(": cleared").count()), (1, 1), "{said}");
}
