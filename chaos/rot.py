#!/usr/bin/env python3
"""One bit of a stored adapter turns, a thousand times: each time the prediction is refused with `adapter_corrupt`."""

import pathlib
import random
import sqlite3
import tempfile

import lab

options = lab.arguments(__doc__, flips=1000)
folder = pathlib.Path(tempfile.mkdtemp(prefix="imprint-chaos-"))
url = f"sqlite:{folder}/imprint.db"
key = lab.key(options.imprint, url, "tenant")
# Without a cache: every prediction reads the row.
replica = lab.Replica(options.imprint, url, adapter_cache_mib=0).wait()
client = lab.Client(replica.port, key)
task = client.task()
client.ok("POST", task + "/adaptations", {}, Prefer="wait=20")
before = client.said(task, [[0.5], [1.5]])
database = sqlite3.connect(folder / "imprint.db", timeout=20)
[whole] = database.execute("SELECT bytes FROM adapters").fetchone()


def put(content):
    with database:
        database.execute("UPDATE adapters SET bytes = ?", (content,))


detected = 0
for _ in range(options.flips):
    bit = random.randrange(8 * len(whole))
    rotten = bytearray(whole)
    rotten[bit // 8] ^= 1 << bit % 8
    put(bytes(rotten))
    status, answer = client.call("POST", task + "/predict", {"query": [[0.5]]})
    detected += status == 500 and answer["code"] == "adapter_corrupt"
put(whole)
is_whole = client.said(task, [[0.5], [1.5]]) == before
lab.report("rot", options, options.flips - detected + (not is_whole), flips=options.flips, detected=detected,
           adapter_bytes=len(whole), predictions_equal_after_repair=is_whole)
