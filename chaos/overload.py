#!/usr/bin/env python3
"""Five times as many requests as a server can answer, for three minutes: it answers as many as it can, turns the others
away at once, keeps its memory, and is well again when it is over. The requests come from the same machine; server and
senders have half of its processors each, so that a flood costs the server no more than what it does about it."""

import json
import os
import subprocess
import threading
import time

import lab

options = lab.arguments(__doc__, times=5.0, seconds=180.0, calm_s=15.0, clients=1000, tenants=64)
postgres = lab.Postgres()
lab.migrate(options.imprint, postgres)
processors = sorted(os.sched_getaffinity(0))
half = max(1, len(processors) // 2)
os.sched_setaffinity(0, processors[:half])  # inherited by what starts from here on
replica = lab.Replica(options.imprint, postgres.url(), bases=("omniglot",)).wait()
os.sched_setaffinity(0, processors[half:] or processors)
keys = [lab.key(options.imprint, postgres.url(), f"tenant-{number}") for number in range(options.tenants)]


def bench(seconds, clients, *flags):
    """What `imprint bench` saw."""
    command = [options.imprint, "bench", "--url", f"http://127.0.0.1:{replica.port}", "--keys", ",".join(keys), "--json",
               "--clients", str(clients), "--tenants", str(options.tenants), "--seconds", str(seconds), *flags]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def rss():
    return int(open(f"/proc/{replica.process.pid}/statm").read().split()[1]) / 256


calm = bench(options.calm_s, 64)
before, seen, over = rss(), [], threading.Event()


def watch():
    while not over.wait(1):
        seen.append(rss())


watching = threading.Thread(target=watch)
watching.start()
flood = bench(options.seconds, options.clients, "--rate", str(options.times * calm["requests_per_second"]))
ended = time.time()
over.set()
watching.join()
# Well again: one client is answered as quickly as on an idle server.
while bench(0.5, 1, "--warm-up", "0")["p50_ms"] > calm["p50_ms"]:
    pass
recovered = time.time() - ended
after = bench(options.calm_s, 64)
turned_away = sum(flood.get("errors", {}).values())
# The first half minute fills what there is to fill: as many bodies as there may be requests.
late = seen[len(seen) // 6:] or [before]
goodput = flood["requests_per_second"] / calm["requests_per_second"]
lab.report("overload", options, int(recovered > 5.0),
           calm_per_s=round(calm["requests_per_second"], 1), calm_p99_ms=round(calm["p99_ms"], 1),
           offered_times=options.times, sent_per_s=round((flood["requests"] + turned_away) / options.seconds, 1),
           goodput_per_s=round(flood["requests_per_second"], 1), goodput_of_calm=round(goodput, 3),
           answered_p99_ms=round(flood["p99_ms"], 1), errors=flood.get("errors", {}),
           rss_mib={"calm": round(before), "least": round(min(late)), "most": round(max(late)), "after": round(rss())},
           recovered_s=round(recovered, 2), after_per_s=round(after["requests_per_second"], 1))
