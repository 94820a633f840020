//! The rules of the house (`ARCHITECTURE.md`), checked on every `cargo test`: which layer may know what, how long a file
//! may be, and that both databases have the same migrations.
//!
//! It reads text, not syntax: `//` comments are cut off, and the forms that would hide a layer from it (`use crate::{…}`,
//! `super::super::`) are not allowed.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

struct Layer {
    name: &'static str,
    /// The layers that it may import.
    below: &'static [&'static str],
    /// The guarded crates that it may name.
    crates: &'static [&'static str],
}

const LAYERS: &[Layer] = &[
    Layer { name: "config", below: &[], crates: &["clap"] },
    Layer { name: "faults", below: &[], crates: &["tokio"] },
    Layer { name: "fuzz", below: &[], crates: &[] },
    Layer { name: "domain", below: &[], crates: &[] },
    Layer { name: "nn", below: &["config", "domain", "faults"], crates: &["tch"] },
    Layer { name: "meta", below: &["config", "domain", "nn"], crates: &["tch", "tokenizers"] },
    Layer { name: "trainer", below: &["config", "domain", "meta", "nn"], crates: &["tch"] },
    Layer { name: "engine", below: &["config", "domain", "faults", "meta", "nn"], crates: &["tch", "tokio"] },
    Layer { name: "store", below: &["config", "domain", "faults"], crates: &["sqlx", "tokio"] },
    Layer { name: "courier", below: &["config", "faults"], crates: &["tokio"] },
    Layer {
        name: "service",
        below: &["config", "courier", "domain", "engine", "faults", "store", "telemetry"],
        crates: &["tokio"],
    },
    Layer {
        name: "http",
        below: &["config", "domain", "faults", "service", "telemetry"],
        crates: &["axum", "tokio", "tower", "tower_http", "utoipa", "utoipa_axum"],
    },
    Layer { name: "telemetry", below: &["config", "domain"], crates: &[] },
];

/// These compose the layers: they may import and name everything.
const ROOTS: &[&str] = &["cli", "lib", "main"];

/// What the tests of every layer may import.
const FOR_TESTS: &str = "fuzz";

const GUARDED: &[&str] = &[
    "axum",
    "clap",
    "sqlx",
    "tch",
    "tokenizers",
    "tokio",
    "torch_sys",
    "tower",
    "tower_http",
    "utoipa",
    "utoipa_axum",
];

const MAX_LINES: usize = 500;

/// The Rust files under `root/folder` with their paths from `root`.
fn rust_files(root: &Path, folder: &str) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    let mut folders = vec![root.join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("the folder is readable") {
            let path = entry.expect("the entry is readable").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).expect("sources are UTF-8");
                found.push((path.strip_prefix(root).expect("it was found under root").to_path_buf(), text));
            }
        }
    }
    found.sort();
    found
}

fn too_long(path: &Path, text: &str) -> Option<String> {
    let lines = text.lines().count();
    (lines > MAX_LINES).then(|| format!("{}: {lines} lines, {MAX_LINES} are allowed", path.display()))
}

/// Identifiers that follow `crate::` in `code`; empty for a grouped import.
fn crate_imports(code: &str) -> impl Iterator<Item = &str> {
    code.match_indices("crate::").filter(|(at, _)| !ends_in_name(&code[..*at])).map(|(at, marker)| {
        let rest = &code[at + marker.len()..];
        &rest[..rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len())]
    })
}

/// Whether `code` names the outside crate, as in `tch::Tensor`, `::tch::Tensor`, `use tch;` or `use tch as torch;`.
fn names_crate(code: &str, name: &str) -> bool {
    code.contains(&format!("use {name};"))
        || code.contains(&format!("use {name} as "))
        || code.match_indices(&format!("{name}::")).any(|(at, _)| {
            let before = &code[..at];
            !ends_in_name(before.strip_suffix("::").unwrap_or(before))
        })
}

fn ends_in_name(text: &str) -> bool {
    text.ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == '$')
}

/// What one file of `src` does that its layer may not.
fn trespasses(path: &Path, text: &str) -> Vec<String> {
    let name = path.iter().nth(1).expect("src/<layer>").to_string_lossy();
    let name = name.trim_end_matches(".rs");
    if ROOTS.contains(&name) {
        return Vec::new();
    }
    let Some(layer) = LAYERS.iter().find(|layer| layer.name == name) else {
        return vec![format!("{}: `{name}` is in no layer; add it to LAYERS", path.display())];
    };
    let mut found = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let code = line.split("//").next().unwrap_or_default();
        let mut report = |what: String| found.push(format!("{}:{}: {what}", path.display(), index + 1));
        for import in crate_imports(code) {
            if import.is_empty() {
                report("`crate::{` hides the layers that it imports".to_owned());
            } else if import != name && import != FOR_TESTS && !layer.below.contains(&import) {
                report(format!("`{name}` may not import `{import}`"));
            }
        }
        if code.contains("super::super::") {
            report("`super::super::` hides the layer that it imports".to_owned());
        }
        for guarded in GUARDED.iter().filter(|guarded| !layer.crates.contains(guarded)) {
            if names_crate(code, guarded) {
                report(format!("`{name}` may not name the crate `{guarded}`"));
            }
        }
    }
    found
}

fn here() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn layers_import_only_from_below() {
    let files = rust_files(here(), "src");

    let found: Vec<String> = files.iter().flat_map(|(path, text)| trespasses(path, text)).collect();

    assert!(found.is_empty(), "\n{}\n", found.join("\n"));
}

#[test]
fn files_are_short() {
    let files = ["src", "tests", "examples", "benches"].into_iter().filter(|folder| here().join(folder).exists());

    let found: Vec<String> =
        files.flat_map(|folder| rust_files(here(), folder)).filter_map(|(path, text)| too_long(&path, &text)).collect();

    assert!(found.is_empty(), "\n{}\n", found.join("\n"));
}

/// Names of the bodies that a file describes in the contract.
fn described(text: &str) -> Vec<String> {
    let lines: Vec<&str> = text.lines().collect();
    let derives =
        lines.iter().enumerate().filter(|(_, line)| line.starts_with("#[derive(") && line.contains("ToSchema"));
    let name = |(place, _): (usize, &&str)| {
        let rest = lines[place..].iter().flat_map(|line| line.split_whitespace());
        let mut words = rest.skip_while(|word| *word != "struct" && *word != "enum");
        words
            .nth(1)
            .map(|name| name.trim_end_matches([';', '{']).split(['<', '(']).next().unwrap_or_default().to_owned())
    };
    derives.filter_map(name).collect()
}

/// Of two bodies of one name the contract would show one.
#[test]
fn no_two_bodies_of_the_contract_have_one_name() {
    let mut seen = BTreeSet::new();
    let names: Vec<String> = rust_files(here(), "src").iter().flat_map(|(_, text)| described(text)).collect();

    let twice: Vec<&String> = names.iter().filter(|name| !seen.insert(*name)).collect();

    assert!(names.len() > 100 && twice.is_empty(), "{} bodies, of one name: {twice:?}", names.len());
}

#[test]
fn both_databases_have_the_same_migrations() {
    let names = |folder: &str| -> BTreeSet<String> {
        let entries = fs::read_dir(here().join("migrations").join(folder)).expect("the folder is readable");
        entries.map(|entry| entry.expect("the entry is readable").file_name().to_string_lossy().into_owned()).collect()
    };

    assert!(!names("postgres").is_empty());
    assert_eq!(names("postgres"), names("sqlite"));
}

/// Cargo refuses a manifest that names what is not there, built or not; what sources embed must be there, too.
#[test]
fn the_image_is_built_from_all_that_it_needs() {
    let read = |name: &str| fs::read_to_string(here().join(name)).expect("it is readable");
    let (manifest, dockerfile, context) = (read("Cargo.toml"), read("docker/Dockerfile"), read(".dockerignore"));
    let named = [("[[bench]]", "benches"), ("[[example]]", "examples"), ("[[test]]", "tests")];
    let named = named.into_iter().filter(|(section, _)| manifest.contains(section));
    let mut needed: BTreeSet<String> = named.map(|(_, folder)| folder.to_owned()).collect();
    for (path, text) in rust_files(here(), "src") {
        needed.extend(embedded(&path, &text).into_iter().filter(|folder| folder != "tests")); // what tests embed
    }

    assert!(needed.contains("openapi"), "{needed:?}");
    for folder in needed {
        assert!(dockerfile.contains(&format!("COPY {folder} {folder}\n")), "{folder} in docker/Dockerfile");
        assert!(context.lines().any(|line| line.starts_with(&format!("!{folder}"))), "{folder} in .dockerignore");
    }
}

/// The folders beside `src` from which a file of it embeds something.
fn embedded(path: &Path, text: &str) -> Vec<String> {
    let above = "../".repeat(path.components().count() - 1);
    let files = text.split("include_").skip(1).filter_map(|rest| {
        let (file, _) = rest.split_once("!(\"")?.1.split_once('"')?;
        file.strip_prefix(&above)?.split('/').next().map(str::to_owned)
    });
    files.collect()
}

/// The rules, seen to fail: each case is a file that breaks one, or one that only looks as if it did.
mod the_checker {
    use super::*;

    fn finds(path: &str, text: &str) -> usize {
        trespasses(Path::new(path), text).len()
    }

    #[test]
    fn sees_an_import_from_above() {
        assert_eq!(finds("src/http/routes/tasks.rs", "use crate::nn::Params;"), 1);
        assert_eq!(finds("src/engine/worker.rs", "let jobs = crate::store::open();"), 1);
        assert_eq!(finds("src/domain/mod.rs", "use crate::domain::Task;\nuse crate::nn::Params;"), 1);
    }

    #[test]
    fn allows_an_import_from_below_and_from_the_same_layer() {
        assert_eq!(finds("src/meta/model.rs", "use crate::nn::Params;\nuse crate::meta::batch::Batch;"), 0);
        assert_eq!(finds("src/cli/serve.rs", "use crate::{http, store};\nuse axum::Router;"), 0);
    }

    #[test]
    fn sees_a_guarded_crate() {
        for guarded in ["tokio", "tch", "sqlx", "axum"] {
            assert_eq!(finds("src/domain/task.rs", &format!("use {guarded}::thing;")), 1, "{guarded}");
            assert_eq!(finds("src/domain/task.rs", &format!("fn f(x: &::{guarded}::Thing) {{}}")), 1, "{guarded}");
            assert_eq!(finds("src/domain/task.rs", &format!("use {guarded} as other;")), 1, "{guarded}");
        }
        assert_eq!(finds("src/service/adapt.rs", "fn f(x: tch::Tensor) {}"), 1);
        assert_eq!(finds("src/http/mod.rs", "async fn f(pool: sqlx::PgPool) {}"), 1);
    }

    #[test]
    fn is_not_misled_by_comments_and_longer_names() {
        assert_eq!(finds("src/domain/task.rs", "// as tch::Tensor does, see crate::nn"), 0);
        assert_eq!(finds("src/domain/task.rs", "//! [`crate::engine`] reads this"), 0);
        assert_eq!(finds("src/service/mod.rs", "use self::patch::Patch; use crate::domain::tch::X; my_tch::f()"), 0);
    }

    #[test]
    fn sees_the_forms_that_hide_a_layer() {
        assert_eq!(finds("src/http/mod.rs", "use crate::{domain, nn};"), 1);
        assert_eq!(finds("src/http/routes/tasks.rs", "use super::super::super::nn::Params;"), 1);
    }

    #[test]
    fn sees_a_module_in_no_layer() {
        assert_eq!(finds("src/utils.rs", ""), 1);
        assert_eq!(finds("src/helpers/mod.rs", ""), 1);
    }

    #[test]
    fn sees_a_file_that_is_too_long() {
        assert!(too_long(Path::new("src/nn/ops.rs"), &"\n".repeat(MAX_LINES + 1)).is_some());
        assert!(too_long(Path::new("src/nn/ops.rs"), &"\n".repeat(MAX_LINES)).is_none());
    }
}
