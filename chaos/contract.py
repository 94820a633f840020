#!/usr/bin/env python3
"""Every operation of the contract, on both stores, with requests that schemathesis makes up and links between operations
followed: no server error, nothing that the contract does not say.

Needs schemathesis 4 (PyPI): --schemathesis names the program."""

import os
import pathlib
import re
import subprocess
import tempfile

import lab

CHECKS = [
    "not_a_server_error", "status_code_conformance", "content_type_conformance", "response_headers_conformance",
    "response_schema_conformance", "unsupported_method", "use_after_free", "ensure_resource_availability", "ignored_auth",
]

#: What the base model `ranking` stands on (`make setup`).
ENCODERS = lab.ROOT / ".imprint/encoders"

options = lab.arguments(__doc__, schemathesis="schemathesis", examples=30)
folder = pathlib.Path(tempfile.mkdtemp(prefix="imprint-contract-"))
postgres = lab.Postgres()
lab.migrate(options.imprint, postgres)
figures, violations = {}, 0
for store, url in {"sqlite": f"sqlite:{folder}/imprint.db", "postgres": postgres.url()}.items():
    replica = lab.Replica(options.imprint, url, ("omniglot", "ranking", "sinusoid"), encoders=ENCODERS, workers=1).wait()
    key = lab.key(options.imprint, url, "tenant")
    command = [
        options.schemathesis, "run", f"http://127.0.0.1:{replica.port}/openapi.json", "--no-color",
        "--header", f"Authorization: Bearer {key}", "--request-timeout", "30", "--checks", ",".join(CHECKS),
        "--max-examples", str(options.examples), "--seed", str(options.seed),
    ]
    hooks = {"SCHEMATHESIS_HOOKS": "schemathesis_hooks", "PYTHONPATH": str(pathlib.Path(__file__).parent)}
    done = subprocess.run(command, env={**os.environ, **hooks}, cwd=folder, capture_output=True, text=True)
    if done.returncode:
        lab.note(done.stdout + done.stderr)
        violations += 1
    counted = re.search(r"(\d+) generated, (\d+) passed", done.stdout)
    operations = re.search(r"Tested: (\d+)", done.stdout)
    figures[store] = {
        "operations": int(operations[1]) if operations else 0,
        "requests": int(counted[1]) if counted else 0,
        "passed": int(counted[2]) if counted else 0,
    }
    violations += not counted
    replica.kill()
lab.report("contract", options, violations, **figures)
