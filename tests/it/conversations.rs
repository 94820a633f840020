//! The conversations in `examples/` and in the README, held with a real server on base models as they ship.

use std::net::TcpListener;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use crate::cli::{Server, imprint, key};

/// What a script says, with a server that has this base model.
fn held(script: &str, base_model: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    let models = folder.path().join("models");
    std::fs::create_dir(&models).unwrap();
    for from in [&format!("models/{base_model}"), ".imprint/encoders/all-MiniLM-L6-v2"].map(Path::new) {
        symlink(here().join(from), models.join(from.file_name().unwrap())).unwrap();
    }
    let key = key(folder.path(), "sqlite:imprint.db");
    let server = Server::started(imprint(folder.path()));
    let address = format!("http://{}", server.address);
    let mut talk = Command::new(if script == "curl.sh" { "bash" } else { "python3" });
    talk.arg(here().join("examples").join(script)).args(["--server", &address, "--key", &key]);
    said(talk)
}

fn here() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// What a program says that succeeds.
fn said(mut program: Command) -> String {
    let said = program.output().expect("set-up asks for python3, bash and curl");
    let out = String::from_utf8(said.stdout).unwrap();
    assert!(said.status.success(), "{out}\n{}", String::from_utf8_lossy(&said.stderr));
    out
}

/// The commands of the README's tour, word for word but for the build and the port.
fn tour() -> String {
    let readme = std::fs::read_to_string(here().join("README.md")).unwrap();
    let tour = readme.split("\n## ").find_map(|part| part.strip_prefix("Ten minutes\n")).unwrap();
    let blocks = tour.split("```sh\n").skip(1).map(|rest| rest.split("```").next().unwrap());
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let commands = blocks.collect::<String>();
    assert!(commands.contains("make build\n") && commands.contains("127.0.0.1:8090"), "{commands}");
    commands.replace("make build\n", "").replace("127.0.0.1:8090", &format!("127.0.0.1:{port}"))
}

#[test]
fn the_readmes_tour_goes_as_it_is_written() {
    let folder = tempfile::tempdir().unwrap();
    for made in ["target/release", ".imprint"] {
        std::fs::create_dir_all(folder.path().join(made)).unwrap();
    }
    for (from, to) in [
        (here().join("models"), "models"),
        (here().join(".imprint/encoders"), ".imprint/encoders"),
        (env!("CARGO_BIN_EXE_imprint").into(), "target/release/imprint"),
    ] {
        symlink(from, folder.path().join(to)).unwrap();
    }
    let mut reader = Command::new("bash");
    let commands = format!("set -e; trap 'kill $(jobs -p)' EXIT\n{}", tour());
    reader.args(["-c", &commands]).current_dir(folder.path());
    let said = said(reader);

    for answer in [
        r#""added":6"#,
        r#""status":"succeeded""#,
        r#""version":1,"#,
        r#""method":"k_fold","n":6,"accuracy":1.0"#,
        r#""label":"delivery""#,
        r#""abstained":true"#,
        r#""value":1.28"#,
        r#""value":2.70"#,
    ] {
        assert!(said.contains(answer), "no {answer} in {said}");
    }
}

#[test]
fn the_life_of_a_task_in_curl() {
    let said = held("curl.sh", "text");

    for answer in [
        r#""duplicates":[{"index":2,"#,
        r#""status":"queued""#,
        "event: done",
        "idempotent-replayed: true",
        r#""abstained":true"#,
        r#""was_right":true"#,
        r#""code":"changed""#,
        r#""agreement":1.0"#,
        r#"{"index":1,"prediction":{"label":"refund""#,
        r#""datatype":"BYTES","data":["refund"]"#,
        r#""prediction":"fruit""#,
        r#""object":"receipt""#,
    ] {
        assert!(said.contains(answer), "no {answer} in {said}");
    }
    assert!(said.ends_with("gone\n"), "{said}");
}

#[test]
fn a_shop_is_understood_and_learns_a_new_label_from_two_examples() {
    let said = held("customer_service.py", "text");

    for answer in ["You can follow your parcel", "Print a label at", "Refunds reach your account", "Exchanges are free"]
    {
        assert!(said.contains(answer), "{said}");
    }
    let open = said.split("Are your wool coats").nth(1).unwrap().lines().nth(1).unwrap();
    assert!(open.contains("handed on to a person"), "{said}");
}

#[test]
fn a_surge_of_bad_reviews_is_told_and_so_is_its_end() {
    let said = held("sentiment_alert.py", "text");

    let seen = |change: &str| -> u32 {
        let line = said.lines().find(|line| line.contains(&format!(": {change}"))).unwrap_or_else(|| panic!("{said}"));
        line.trim_start_matches("review ").split(':').next().unwrap().parse().unwrap()
    };
    assert!((201..=260).contains(&seen("raised")) && seen("cleared") > 281, "{said}");
    assert_eq!((said.matches(": raised").count(), said.matches(": cleared").count()), (1, 1), "{said}");
}

#[test]
fn a_wholesaler_finds_in_orders_what_twelve_of_them_taught() {
    let said = held("tagging.py", "tagging");

    for found in ["person: Peter Novak", "town: Buenos Aires", "town: Valparaiso", "product: dark chocolate"] {
        assert!(said.contains(found), "{found} is not in {said}");
    }
    let saturdays = said.split("on Saturdays?").nth(1).unwrap().lines().nth(1).unwrap();
    assert_eq!(saturdays.trim(), "nothing to find", "{said}");
    assert!(said.contains("carrier: cargo ship") && said.contains("person: Anna Kowalska"), "{said}");
}

#[test]
fn a_meter_is_read_better_with_every_photograph() {
    let said = held("digits.py", "digits");

    let right =
        |line: &str| -> u32 { line.split(" reads ").nth(1).unwrap().split(' ').next().unwrap().parse().unwrap() };
    let read: Vec<u32> = said.lines().filter(|line| line.contains(" reads ")).map(right).collect();
    let [one, three, ten] = read[..] else { panic!("{said}") };
    assert!(one > 100 && one < three && three < ten && ten > 170, "of 200: {said}");
}

#[test]
fn a_bookshops_shelf_is_put_in_order_again_with_each_signal() {
    let said = held("recommendation.py", "ranking");

    let shelves: Vec<Vec<&str>> = said
        .split("\n\n")
        .filter(|shelf| !shelf.is_empty())
        .map(|shelf| shelf.lines().filter(|line| line.starts_with("  ") && !line.starts_with("     ")).collect())
        .collect();
    let versions: Vec<&str> = said.lines().filter(|line| line.contains(": version ")).collect();
    assert_eq!((shelves.len(), versions.len()), (3, 3), "{said}");
    let of = |shelf: &[&str], words: [&str; 2]| {
        shelf.iter().filter(|line| words.iter().any(|word| line.contains(word))).count()
    };
    let [first, second, third] = &shelves[..] else { panic!("{said}") };
    assert!(of(&first[..2], ["colony", "Andromeda"]) >= 1, "space after space: {said}");
    assert!(of(&second[..4], ["soups", "vegetarian"]) >= 1, "cookery after cookery: {said}");
    assert!(first != second && second != third, "{said}");
    assert!(versions.iter().zip(1..).all(|(line, number)| line.ends_with(&format!("version {number}"))), "{said}");
}
