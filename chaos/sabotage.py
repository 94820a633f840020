#!/usr/bin/env python3
"""Shows that the tests see what they are there for: takes the protections out of a copy of the source, one at a time, and
runs the test that should notice. A twin that passes is a test that cannot fail.

Most protections are built with a switch each, so that all of them take one build; those that are no code (a statement's
text, a migration) take a second one, in which all of them are gone. `--check` only looks whether every protection is still
where it was; `--only NAME` runs one."""

import argparse
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent

# Whether the twin is switched on: a file says which one is, since some tests clear the environment of what they start.
SWITCH = """
#[doc(hidden)]
pub fn is_sabotaged(name: &str) -> bool {
    static NAME: std::sync::OnceLock<String> = std::sync::OnceLock::new();
    let read = || std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/sabotaged")).unwrap_or_default();
    NAME.get_or_init(read) == name
}
"""

# Name, file, what protects, what stands there instead (OFF: whether this twin is switched on), and the test that must fail.
TWINS = [
    ("counted_bodies", "src/http/extract.rs", "        weight::check(bytes)?;\n",
     "        if !OFF { weight::check(bytes)?; }\n", ["--test", "it", "bombs"]),
    ("decoder_limits", "src/domain/pixels.rs", "max_bytes: 48 << 20", "max_bytes: if OFF { 1 << 40 } else { 48 << 20 }",
     ["--test", "it", "bombs"]),
    ("last_known", "src/service/answering.rs", "recalled.ok_or(error)", "recalled.filter(|_| !OFF).ok_or(error)",
     ["--test", "it", "away::while"]),
    ("reach", "src/store/sql/reach.rs", "            () = self.lost() => return Err(StoreError::Away),\n",
     "            () = async { if OFF { std::future::pending().await } else { self.lost().await } } => "
     "return Err(StoreError::Away),\n", ["--test", "it", "away::while"]),
    ("told_again", "src/service/runner.rs", "Err(error) if Instant::now() < given_up =>",
     "Err(error) if !OFF && Instant::now() < given_up =>", ["--test", "it", "away::adaptations"]),
    ("told_of_keys", "src/service/runner.rs", "            Hint::Key(key) => return",
     "            Hint::Key(_) if OFF => return,\n            Hint::Key(key) => return",
     ["--test", "it", "away::what_one_process"]),
    ("places", "src/store/sql/queue.rs", "Ok(own.max(now) + 1)", "Ok(if OFF { 1 } else { own.max(now) + 1 })",
     ["--test", "it", "queue::tenants_take_turns"]),
    ("checksums", "src/store/sql/adapters.rs", "    AdapterBlob::verified(bytes, ",
     "    if OFF { return Ok(Some(AdapterBlob::new(bytes))); }\n    AdapterBlob::verified(bytes, ",
     ["--test", "it", "adapters::one_changed_byte"]),
    ("admission", "src/engine/mod.rs", "if cost.is_within(most) {", "if OFF || cost.is_within(most) {",
     ["--test", "it", "life::what_would_take_too_much"]),
    ("accounting", "src/meta/cost.rs", "rows * (kept + forward) * FLOAT",
     "(if OFF { rows * forward / 8 } else { rows * (kept + forward) * FLOAT })", ["--test", "maths", "memory"]),
    ("transactions_of_their_own", "src/store/sql/mod.rs", "let work = tokio::spawn(work.in_current_span());",
     "let work = async move { let work = work.in_current_span(); "
     "if OFF { Ok(work.await) } else { tokio::spawn(work).await } };", ["--test", "it", "cancellation"]),
    ("checkup", "src/cli/serve.rs", "engine.check(&*ids).await?;", "if !OFF { engine.check(&*ids).await?; }",
     ["--test", "it", "cli::a_server_that_cannot_start"]),
    ("panics", "src/engine/worker.rs", "End::Panicked => self.replace(post.number),",
     "End::Panicked if OFF => {}\n            End::Panicked => self.replace(post.number),", ["--lib", "engine::tests"]),
    ("hangs", "src/engine/worker.rs", "at.is_replaced = now.saturating_duration_since(since) >= patience;",
     "at.is_replaced = !OFF && now.saturating_duration_since(since) >= patience;", ["--lib", "engine::tests"]),
    ("silence", "src/http/listen.rs", "() = silence(&asked, header_timeout) =>",
     "() = async { if OFF { std::future::pending().await } else { silence(&asked, header_timeout).await } } =>",
     ["--test", "it", "http::listen"]),
    ("panics_in_runners", "src/service/steady.rs", "catch_unwind().await.is_err() {",
     "catch_unwind().await.is_err() && !OFF {", ["--test", "it", "http::faults::wherever"]),
    ("lost_attempts", "src/service/runner.rs", "tried.map_or(Err(ServiceError::Lost), |tried|",
     "tried.map_or_else(|panic| if OFF { std::panic::resume_unwind(panic) } else { Err(ServiceError::Lost) }, |tried|",
     ["--test", "it", "http::faults::wherever"]),
    ("repeated_requests", "src/http/idempotency.rs", "        request.extensions_mut().insert(Seed(seed));\n",
     "        if !OFF { request.extensions_mut().insert(Seed(seed)); }\n", ["--test", "it", "http::faults"]),
]

# The same, without a switch.
TEXTS = [
    ("fence", "src/store/sql/queue.rs", "AND attempt = $3 AND status = 'running'",
     "AND attempt >= $3 - $3 AND status = 'running'", ["--test", "it", "interleavings"]),
    ("row_level_security", "migrations/postgres/0006_row_level_security.sql", "FORCE ROW LEVEL SECURITY', isolated);",
     "NO FORCE ROW LEVEL SECURITY', isolated);", ["--test", "it", "row_level"]),
]


def is_there(twin):
    _, file, protection, _, _ = twin
    return protection in (ROOT / file).read_text()


def change(folder, twins):
    """Takes all of them out."""
    for name, file, protection, instead, _ in twins:
        path = folder / file
        instead = instead.replace("OFF", f'crate::is_sabotaged("{name}")')
        path.write_text(path.read_text().replace(protection, instead))


def run(twin, folder, cargo):
    """Whether the test noticed."""
    name, *_, test = twin
    (folder / "sabotaged").write_text(name)
    words = [cargo, "test", "--locked", *test[:-1], "--", test[-1]]
    try:
        done = subprocess.run(words, cwd=folder, capture_output=True, text=True, timeout=1800)
    except subprocess.TimeoutExpired:
        return "noticed"
    text = done.stdout + done.stderr
    if "could not compile" in text:
        print(text[-3000:], file=sys.stderr)
        return "does not compile"
    if "test result: FAILED" in text or "SIG" in done.stderr:
        return "noticed"
    return "missed" if "test result: ok" in text else "did not run"


parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--check", action="store_true")
parser.add_argument("--only")
parser.add_argument("--cargo", default="cargo")
options = parser.parse_args()
gone = [twin[0] for twin in TWINS + TEXTS if not is_there(twin)]
if options.check or gone:
    print(json.dumps({"name": "sabotage", "twins": len(TWINS + TEXTS), "violations": len(gone), "gone": gone}))
    sys.exit(1 if gone else 0)
os.environ.setdefault("CARGO_TARGET_DIR", str(ROOT / "target/sabotage"))
results = {}
for twins in (TWINS, TEXTS):
    wanted = [twin for twin in twins if options.only in (None, twin[0])]
    if not wanted:
        continue
    copy = pathlib.Path(tempfile.mkdtemp(prefix="imprint-sabotage-")) / "imprint"
    shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns("target", ".git"), symlinks=True)
    change(copy, twins)
    library = copy / "src/lib.rs"
    library.write_text(library.read_text() + SWITCH)
    for twin in wanted:
        results[twin[0]] = run(twin, copy, options.cargo)
        print(twin[0], results[twin[0]], file=sys.stderr, flush=True)
    shutil.rmtree(copy.parent)
missed = [name for name, result in results.items() if result != "noticed"]
print(json.dumps({"name": "sabotage", "violations": len(missed), "twins": len(results), "results": results}))
sys.exit(1 if missed else 0)
