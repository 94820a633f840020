//! Keys before, beside and without: the first one, those that operators make and end, a server that asks for none.

use crate::cli::{Server, imprint};
use crate::http::bases;

#[test]
fn the_first_start_shows_a_key_that_works_and_no_later_one_does() {
    let folder = tempfile::tempdir().unwrap();
    bases::write(&folder.path().join("models"));
    let shown = |server: &Server| {
        server.said.iter().find_map(|line| Some(line.split_once("first key")?.1.rsplit(' ').next()?.to_owned()))
    };

    let first = Server::start(folder.path());
    let key = shown(&first).unwrap();
    let who = first.get("/v1/whoami", &key);
    first.stop();
    let second = Server::start(folder.path());

    assert!(who.starts_with("HTTP/1.1 200") && who.contains("\"admin\""), "{who}");
    assert_eq!(shown(&second), None);
    assert!(second.get("/v1/whoami", &key).starts_with("HTTP/1.1 200"));
    assert!(second.get("/v1/whoami", "").starts_with("HTTP/1.1 401"));
}

#[test]
fn keys_are_listed_and_ended_beside_the_server() {
    let folder = tempfile::tempdir().unwrap();
    let run = |arguments: &[&str]| {
        let done = imprint(folder.path()).arg("keys").args(arguments).output().unwrap();
        (done.status.success(), String::from_utf8(done.stdout).unwrap() + &String::from_utf8(done.stderr).unwrap())
    };
    run(&["create", "anna", "--scope", "predict", "--name", "phone", "--days", "30"]);
    let (_, list) = run(&["list", "anna"]);
    let id = list.split_whitespace().next().unwrap();

    let ended = run(&["revoke", id]);

    assert!(list.lines().count() == 2 && list.contains("predict") && list.contains("phone"), "{list}");
    assert_eq!(ended, (true, String::new()));
    assert_eq!(run(&["list", "anna"]), (true, String::new()));
    assert!(!run(&["revoke", id]).0 && !run(&["list", "berta"]).0);
}

#[test]
fn without_keys_a_server_is_for_this_machine_alone() {
    let folder = tempfile::tempdir().unwrap();
    bases::write(&folder.path().join("models"));
    let mut open = imprint(folder.path());
    open.env("IMPRINT_NO_AUTH", "true");

    let server = Server::started(open);
    let refused = imprint(folder.path()).args(["serve", "--no-auth", "--listen", "0.0.0.0:0"]).output().unwrap();

    assert_eq!(server.said.iter().filter(|line| line.contains("first key")).count(), 0);
    assert!(server.get("/v1/whoami", "").starts_with("HTTP/1.1 200"));
    let refused = (refused.status.success(), String::from_utf8(refused.stderr).unwrap());
    assert!(!refused.0 && refused.1.contains("--no-auth lets everybody in"), "{}", refused.1);
}
