#!/usr/bin/env python3
"""Shows that the tests see what they are there for: takes one protection out of the source at a time, in a copy, and runs
the test that should notice. A twin that passes is a test that cannot fail.

`--check` only looks whether every protection is still where it was; `--only NAME` runs one. Each run compiles the
library once more."""

import argparse
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent

# Name, file, what protects, what stands there instead, and the test that must fail.
TWINS = [
    ("counted_bodies", "src/http/extract.rs", "        weight::check(bytes)?;\n", "",
     ["--test", "it", "bombs"]),
    ("decoder_limits", "src/domain/pixels.rs", "max_bytes: 48 << 20", "max_bytes: 1 << 40", ["--test", "it", "bombs"]),
    ("last_known", "src/service/answering.rs", "recalled.ok_or(error)", "recalled.filter(|_| false).ok_or(error)",
     ["--test", "it", "away::while"]),
    ("reach", "src/store/sql/reach.rs", "            () = self.lost() => return Err(StoreError::Away),\n",
     "            () = std::future::pending::<()>() => return Err(StoreError::Away),\n", ["--test", "it", "away::while"]),
    ("told_again", "src/service/runner.rs", "Err(error) if Instant::now() < given_up =>",
     "Err(error) if Instant::now() > given_up =>", ["--test", "it", "away::adaptations"]),
    ("told_of_keys", "src/service/runner.rs", "Hint::Key(key) => return self.keys.invalidate(&key).await,",
     "Hint::Key(_) => return,", ["--test", "it", "away::what_one_process"]),
    ("fence", "src/store/sql/queue.rs", "AND attempt = $3 AND status = 'running'", "AND attempt >= $3 - $3 AND status = 'running'",
     ["--test", "it", "interleavings"]),
    ("places", "src/store/sql/queue.rs", "Ok(own.max(now) + 1)", "Ok(1)", ["--test", "it", "queue::tenants_take_turns"]),
    ("checksums", "src/store/sql/adapters.rs", "AdapterBlob::verified(bytes, fields.get(\"sha256\")?).map(Some).ok_or(StoreError::Corrupt(id))",
     "Ok(Some(AdapterBlob::new(bytes)))", ["--test", "it", "adapters::one_changed_byte"]),
    ("admission", "src/engine/mod.rs", "if cost.is_within(most) { Ok(cost) }", "if cost.bytes > 0 { Ok(cost) }",
     ["--test", "it", "life::what_would_take_too_much"]),
    ("accounting", "src/meta/cost.rs", "rows * (kept + forward) * FLOAT", "rows * forward / 8", ["--test", "maths", "memory"]),
    ("transactions_of_their_own", "src/store/sql/mod.rs", "let work = tokio::spawn(work.in_current_span());",
     "let work = async { Ok::<_, tokio::task::JoinError>(work.in_current_span().await) };", ["--test", "it", "cancellation"]),
    ("checkup", "src/cli/serve.rs", "engine.check(&*ids).await?;", "", ["--test", "it", "cli::a_server_that_cannot_start"]),
    ("panics", "src/engine/worker.rs", "End::Panicked => self.replace(post.number),", "End::Panicked => {}",
     ["--lib", "engine::tests"]),
    ("hangs", "src/engine/worker.rs", "at.is_replaced = now.saturating_duration_since(since) >= patience;",
     "at.is_replaced = since > now + patience;", ["--lib", "engine::tests"]),
    ("panics_in_runners", "src/service/steady.rs", "while AssertUnwindSafe(work()).catch_unwind().await.is_err() {",
     "while AssertUnwindSafe(work()).catch_unwind().await.is_err() && who.is_empty() {", ["--test", "it", "http::faults"]),
    ("repeated_requests", "src/http/idempotency.rs", "request.extensions_mut().insert(Seed(seed));",
     "drop(seed);", ["--test", "it", "http::faults"]),
    ("row_level_security", "migrations/postgres/0006_row_level_security.sql", "FORCE ROW LEVEL SECURITY', isolated);",
     "NO FORCE ROW LEVEL SECURITY', isolated);", ["--test", "it", "row_level"]),
    ("silence", "src/http/listen.rs", "() = silence(&asked, header_timeout) =>", "() = std::future::pending::<()>() =>",
     ["--test", "it", "http::listen"]),
]


def is_there(twin):
    _, file, protection, _, _ = twin
    return protection in (ROOT / file).read_text()


def sabotage(twin, folder, cargo):
    """Whether the test noticed."""
    _, file, protection, instead, test = twin
    path = folder / file
    whole = path.read_text()
    path.write_text(whole.replace(protection, instead))
    try:
        words = [cargo, "test", "--locked", *test[:-1], "--", test[-1]]
        done = subprocess.run(words, cwd=folder, capture_output=True, text=True, timeout=1800)
        text = done.stdout + done.stderr
        if "could not compile" in text:
            print(text[-3000:], file=sys.stderr)
            return "does not compile"
        return "noticed" if "test result: FAILED" in text else "missed"
    except subprocess.TimeoutExpired:
        return "noticed"
    finally:
        path.write_text(whole)


parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--check", action="store_true")
parser.add_argument("--only")
parser.add_argument("--cargo", default="cargo")
options = parser.parse_args()
gone = [twin[0] for twin in TWINS if not is_there(twin)]
if options.check or gone:
    print(json.dumps({"name": "sabotage", "twins": len(TWINS), "violations": len(gone), "gone": gone}))
    sys.exit(1 if gone else 0)
copy = pathlib.Path(tempfile.mkdtemp(prefix="imprint-sabotage-")) / "imprint"
shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns("target", ".git"), symlinks=True)
os.environ.setdefault("CARGO_TARGET_DIR", str(ROOT / "target/sabotage"))
results = {}
for twin in TWINS:
    if options.only in (None, twin[0]):
        results[twin[0]] = sabotage(twin, copy, options.cargo)
        print(twin[0], results[twin[0]], file=sys.stderr, flush=True)
shutil.rmtree(copy.parent)
missed = [name for name, result in results.items() if result != "noticed"]
print(json.dumps({"name": "sabotage", "violations": len(missed), "twins": len(results), "results": results}))
sys.exit(1 if missed else 0)
