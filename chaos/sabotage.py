#!/usr/bin/env python3
"""Shows that the tests see what they are there for: takes the protections out of a copy of the source, one at a time, and
runs the test that should notice. A twin that passes is a test that cannot fail.

Most protections are built with a switch each, so that all of them take one build, in which each test must pass first while
nothing is switched; those that are no code (a statement's text, a migration) take a second one, in which all of them are
gone. A test that does not come to an end without its protection has noticed, too. The copy stays in target/sabotage, so
that the next run builds what has changed. `--check` only looks whether every protection is still where it was; `--only
NAME…` runs some."""

import argparse
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import lab

COPY = lab.ROOT / "target/sabotage/source"

# How long a test may take while nothing is switched. While something is, it may take three times what it took then, and as
# long again as the tests themselves wait for what does not come.
LONGEST_S, PATIENCE_S = 1800, 150

# Whether the twin is switched on: a file says which one is, since some tests clear the environment of what they start.
SWITCH = """
#[doc(hidden)]
pub fn is_sabotaged(name: &str) -> bool {
    static NAME: std::sync::OnceLock<String> = std::sync::OnceLock::new();
    let read = || std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/sabotaged")).unwrap_or_default();
    NAME.get_or_init(read) == name
}
"""

# Name, file, what protects, what stands there instead (OFF: whether this twin is switched on), and the tests of which one must
# fail: a target of Cargo's, and a part of their names.
TWINS = [
    ("counted_bodies", "src/http/extract.rs", "        weight::check(bytes)?;\n",
     "        if !OFF { weight::check(bytes)?; }\n", ("it", "bombs")),
    ("decoder_limits", "src/domain/pixels.rs", "max_bytes: 48 << 20", "max_bytes: if OFF { 1 << 40 } else { 48 << 20 }",
     ("it", "bombs")),
    ("last_known", "src/service/answering.rs", "recalled.ok_or(error)", "recalled.filter(|_| !OFF).ok_or(error)",
     ("it", "away::while")),
    ("reach", "src/store/sql/reach.rs", "            () = self.lost() => return Err(StoreError::Away),\n",
     "            () = async { if OFF { std::future::pending().await } else { self.lost().await } } => "
     "return Err(StoreError::Away),\n", ("it", "away::while")),
    ("told_again", "src/service/runner.rs", "Err(error) if Instant::now() < given_up =>",
     "Err(error) if !OFF && Instant::now() < given_up =>", ("it", "away::adaptations")),
    ("told_for_a_minute", "src/service/runner.rs", "Instant::now() + TELL_FOR", "Instant::now() + if OFF { 2 * lease } else { TELL_FOR }",
     ("it", "away::an_end")),
    ("told_of_keys", "src/service/runner.rs", "            Hint::Key(key) => return",
     "            Hint::Key(_) if OFF => return,\n            Hint::Key(key) => return",
     ("it", "away::what_one_process")),
    ("places", "src/store/sql/line.rs", "Ok(own.max(now) + 1)", "Ok(if OFF { 1 } else { own.max(now) + 1 })",
     ("it", "queue::tenants_take_turns")),
    ("tried_alone", "src/store/sql/line.rs", "lost.one.is_some() && may_try_alone(tx, worker, now).await?",
     "lost.one.is_some() && (OFF || may_try_alone(tx, worker, now).await?)", ("it", "queue::what_was_lost")),
    ("checksums", "src/store/sql/adapters.rs", "    AdapterBlob::verified(bytes, ",
     "    if OFF { return Ok(Some(AdapterBlob::new(bytes))); }\n    AdapterBlob::verified(bytes, ",
     ("it", "adapters::one_changed_byte")),
    ("admission", "src/engine/mod.rs", "if cost.is_within(most) {", "if OFF || cost.is_within(most) {",
     ("it", "life::what_would_take_too_much")),
    ("accounting", "src/meta/cost.rs", "rows * (kept + forward) * FLOAT",
     "if OFF { rows * forward / 8 } else { rows * (kept + forward) * FLOAT }", ("maths", "memory")),
    ("transactions_of_their_own", "src/store/sql/mod.rs", "let work = tokio::spawn(work.in_current_span());",
     "let work = async move { let work = work.in_current_span(); "
     "if OFF { Ok(work.await) } else { tokio::spawn(work).await } };", ("it", "cancellation")),
    ("checkup", "src/cli/serve.rs", "engine.check(&*ids).await?;", "if !OFF { engine.check(&*ids).await?; }",
     ("it", "cli::a_server_that_cannot_start")),
    ("panics", "src/engine/worker.rs", "End::Panicked => self.replace(post.number),",
     "End::Panicked if OFF => {}\n            End::Panicked => self.replace(post.number),", ("imprint", "engine::tests")),
    ("hangs", "src/engine/worker.rs", "at.is_replaced = now.saturating_duration_since(since) >= patience;",
     "at.is_replaced = !OFF && now.saturating_duration_since(since) >= patience;", ("imprint", "engine::tests")),
    ("silence", "src/http/listen.rs", "() = silence(&asked, header_timeout) =>",
     "() = async { if OFF { std::future::pending().await } else { silence(&asked, header_timeout).await } } =>",
     ("it", "http::listen")),
    ("panics_in_runners", "src/service/steady.rs", "catch_unwind().await.is_err() {",
     "catch_unwind().await.is_err() && !OFF {", ("it", "http::faults::wherever")),
    ("lost_attempts", "src/service/runner.rs", "tried.map_or(Err(ServiceError::Lost), |tried|",
     "tried.map_or_else(|panic| if OFF { std::panic::resume_unwind(panic) } else { Err(ServiceError::Lost) }, |tried|",
     ("it", "an_attempt_that_panics")),
    ("repeated_requests", "src/http/idempotency.rs", "        request.extensions_mut().insert(Seed(seed));\n",
     "        if !OFF { request.extensions_mut().insert(Seed(seed)); }\n", ("it", "http::faults::wherever")),
]

# The same, without a switch.
TEXTS = [
    ("fence", "src/store/sql/queue.rs", "AND attempt = $3 AND status = 'running'",
     "AND attempt >= $3 - $3 AND status = 'running'", ("it", "interleavings")),
    ("row_level_security", "migrations/postgres/0006_row_level_security.sql", "FORCE ROW LEVEL SECURITY', isolated);",
     "NO FORCE ROW LEVEL SECURITY', isolated);", ("it", "row_level")),
]


def is_there(twin):
    _, file, protection, _, _ = twin
    return protection in (lab.ROOT / file).read_text()


def copy(twins):
    """The source, and all of these taken out of it. What has not changed keeps its time, so that it is not built again."""
    wanted = {}
    listed = subprocess.run(["git", "ls-files", "--cached", "--others", "--exclude-standard"], cwd=lab.ROOT, check=True,
                            capture_output=True, text=True).stdout.splitlines()
    for name in listed:
        if (lab.ROOT / name).is_file():
            wanted[COPY / name] = (lab.ROOT / name).read_bytes()
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
        if (lab.ROOT / name).exists() and not (COPY / name).exists():
            (COPY / name).symlink_to((lab.ROOT / name).resolve())


def borrow():
    """What other crates were built into is the same for the copy, if libtorch is where it was."""
    for part in ("build", "deps", ".fingerprint"):
        built, borrowed = lab.ROOT / "target/debug" / part, COPY.parent / "debug" / part
        if built.exists() and not borrowed.exists():
            shutil.copytree(built, borrowed, symlinks=True, copy_function=os.link)


def build(twins, targets, cargo):
    """The programs of the targets, by name, without these protections."""
    copy(twins)
    flags = [word for target in sorted(targets) for word in (["--lib"] if target == "imprint" else ["--test", target])]
    environment = {"LIBTORCH": str(lab.ROOT / ".libtorch"), **os.environ, "CARGO_TARGET_DIR": str(COPY.parent)}
    words = [cargo, "test", "--locked", "--no-run", "--message-format=json-render-diagnostics", *flags]
    built = subprocess.run(words, cwd=COPY, env=environment, check=True, stdout=subprocess.PIPE, text=True).stdout
    parts = [part for part in map(json.loads, built.splitlines()) if part["reason"] == "compiler-artifact"]
    return {part["target"]["name"]: part["executable"] for part in parts if part["profile"]["test"]}


def run(name, test, programs, limit_s):
    """What the test makes of it while that twin is switched on, and how long it takes."""
    (COPY / "sabotaged").write_text(name)
    target, tests = test
    started = time.time()
    with tempfile.TemporaryFile("w+") as said:
        # What it has started itself goes with it.
        running = subprocess.Popen([programs[target], tests], cwd=COPY, stdout=said, stderr=said, start_new_session=True)
        try:
            status = running.wait(limit_s)
        except subprocess.TimeoutExpired:
            os.killpg(running.pid, signal.SIGKILL)
            running.wait()
            return "hangs", time.time() - started
        said.seek(0)
        text = said.read()
    result = "fails" if status else "does not run" if " 0 passed" in text else "passes"
    if (result == "fails") != bool(name):
        lab.note(text[-3000:])
    return result, time.time() - started


def verdict(twin, programs, unharmed):
    """`noticed`, or what else became of it."""
    name, *_, test = twin
    result, took = unharmed[test]
    if result == "passes":
        result, took = run(name, test, programs, 3 * took + PATIENCE_S)
        is_noticed = result in ("fails", "hangs")
        said = f"noticed: the test {result}" if is_noticed else f"the test {result}"
    else:
        is_noticed, said = False, f"the test {result} anyway"
    lab.note(f"{name}: {said}, after {took:.0f} s")
    return is_noticed, said


parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--check", action="store_true")
parser.add_argument("--only", nargs="+", metavar="NAME")
parser.add_argument("--cargo", default="cargo")
options = parser.parse_args()
gone = [twin[0] for twin in TWINS + TEXTS if not is_there(twin)]
if options.check or gone:
    print(json.dumps({"name": "sabotage", "twins": len(TWINS + TEXTS), "violations": len(gone), "gone": gone}))
    sys.exit(1 if gone else 0)
switched, texts = [[twin for twin in twins if not options.only or twin[0] in options.only] for twins in (TWINS, TEXTS)]
tests = {twin[-1]: None for twin in switched + texts}  # each once, in order
borrow()
programs = build(TWINS, {target for target, _ in tests}, options.cargo)
verdicts, unharmed = {}, {}
for test in tests:
    unharmed[test] = run("", test, programs, LONGEST_S)
    lab.note(f"{' '.join(test)} {unharmed[test][0]} while nothing is taken out, after {unharmed[test][1]:.0f} s")
for twin in switched:
    verdicts[twin[0]] = verdict(twin, programs, unharmed)
if texts:
    programs = build(TEXTS, {target for *_, (target, _) in texts}, options.cargo)
for twin in texts:
    verdicts[twin[0]] = verdict(twin, programs, unharmed)
missed = [name for name, (is_noticed, _) in verdicts.items() if not is_noticed]
results = {name: said for name, (_, said) in verdicts.items()}
print(json.dumps({"name": "sabotage", "violations": len(missed), "twins": len(results), "results": results}))
sys.exit(1 if missed else 0)
