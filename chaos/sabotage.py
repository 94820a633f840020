#!/usr/bin/env python3
"""Shows that the tests see what they are there for: takes the protections out of a copy of the source, one at a time, and
runs the test that should notice. A twin that passes is a test that cannot fail.

Most protections are built with a switch each, so that all of them take one build, in which each test must pass first while
nothing is switched; those that are no code (a statement's text, a migration) take a second one, in which all of them are
gone. The copy stays in target/sabotage, so that the next run builds what has changed. `--check` only looks whether every
protection is still where it was; `--only NAME…` runs some."""

import argparse
import json
import os
import pathlib
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
COPY = ROOT / "target/sabotage/source"

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
    ("told_for_a_minute", "src/service/runner.rs", "Instant::now() + TELL_FOR", "Instant::now() + if OFF { 2 * lease } else { TELL_FOR }",
     ["--test", "it", "away::an_end"]),
    ("told_of_keys", "src/service/runner.rs", "            Hint::Key(key) => return",
     "            Hint::Key(_) if OFF => return,\n            Hint::Key(key) => return",
     ["--test", "it", "away::what_one_process"]),
    ("places", "src/store/sql/line.rs", "Ok(own.max(now) + 1)", "Ok(if OFF { 1 } else { own.max(now) + 1 })",
     ["--test", "it", "queue::tenants_take_turns"]),
    ("tried_alone", "src/store/sql/line.rs", "lost.one.is_some() && may_try_alone(tx, now).await?",
     "lost.one.is_some() && (OFF || may_try_alone(tx, now).await?)", ["--test", "it", "queue::what_was_lost"]),
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


def copy(twins):
    """The source, and all of these taken out of it. What has not changed keeps its time, so that it is not built again."""
    wanted = {}
    listed = subprocess.run(["git", "ls-files", "--cached", "--others", "--exclude-standard"], cwd=ROOT, check=True,
                            capture_output=True, text=True).stdout.splitlines()
    for name in listed:
        if (ROOT / name).is_file():
            wanted[COPY / name] = (ROOT / name).read_bytes()
    for name, file, protection, instead, _ in twins:
        instead = instead.replace("OFF", f'crate::is_sabotaged("{name}")')
        wanted[COPY / file] = wanted[COPY / file].replace(protection.encode(), instead.encode())
    wanted[COPY / "src/lib.rs"] += SWITCH.encode()
    for path in [path for path in COPY.rglob("*") if path.is_file() and path not in wanted and not path.is_symlink()]:
        path.unlink()
    for path, content in wanted.items():
        if not path.exists() or path.read_bytes() != content:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
    for name in (".libtorch", ".imprint"):
        if (ROOT / name).exists() and not (COPY / name).exists():
            (COPY / name).symlink_to((ROOT / name).resolve())


def run(name, test, cargo):
    """What the test makes of it while that twin is switched on."""
    (COPY / "sabotaged").write_text(name)
    words = [cargo, "test", "--locked", *test[:-1], "--", test[-1]]
    try:
        done = subprocess.run(words, cwd=COPY, capture_output=True, text=True, timeout=1800)
    except subprocess.TimeoutExpired:
        return "fails"
    text = done.stdout + done.stderr
    if "could not compile" in text:
        print(text[-3000:], file=sys.stderr)
        return "does not compile"
    if "test result: FAILED" in text or "SIG" in done.stderr:
        return "fails"
    return "passes" if "test result: ok" in text and " 0 passed" not in text else "does not run"


def verdict(twin, cargo, passed):
    """`noticed`, or what else became of it."""
    name, *_, test = twin
    began = time.time()
    if passed.setdefault(str(test), run("", test, cargo) if twin in TWINS else "passes") != "passes":
        return f"the test {passed[str(test)]} anyway"
    result = run(name, test, cargo)
    print(name, result, f"{time.time() - began:.0f} s", file=sys.stderr, flush=True)
    return "noticed" if result == "fails" else f"the test {result}"


parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--check", action="store_true")
parser.add_argument("--only", nargs="+", metavar="NAME")
parser.add_argument("--cargo", default="cargo")
options = parser.parse_args()
gone = [twin[0] for twin in TWINS + TEXTS if not is_there(twin)]
if options.check or gone:
    print(json.dumps({"name": "sabotage", "twins": len(TWINS + TEXTS), "violations": len(gone), "gone": gone}))
    sys.exit(1 if gone else 0)
os.environ.setdefault("CARGO_TARGET_DIR", str(COPY.parent))
results, passed = {}, {}
for twins in (TWINS, TEXTS):
    wanted = [twin for twin in twins if not options.only or twin[0] in options.only]
    if wanted:
        copy(twins)
    for twin in wanted:
        results[twin[0]] = verdict(twin, options.cargo, passed)
missed = [name for name, result in results.items() if result != "noticed"]
print(json.dumps({"name": "sabotage", "violations": len(missed), "twins": len(results), "results": results}))
sys.exit(1 if missed else 0)
