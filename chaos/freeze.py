#!/usr/bin/env python3
"""A replica is stopped (SIGSTOP) with jobs in its hands until another has taken them over, and goes on (SIGCONT) in the
belief that they are still its own: nothing that it says about them is taken.

Leases are short, so that a round takes seconds. `stale` counts adapters that no job that ended well points to."""

import signal
import time

import lab

options = lab.arguments(__doc__, rounds=200, jobs=6, lease=1)
postgres = lab.Postgres()
lab.migrate(options.imprint, postgres)
settings = {"workers": 1, "lease_s": options.lease, "poll_ms": 100}
zombie, other = [lab.Replica(options.imprint, postgres.url(), **settings).wait() for _ in range(2)]
key = lab.key(options.imprint, postgres.url(), "tenant")
client = lab.Client(other.port, key)
task = client.task(examples=40)
frozen_with, seed = 0, 0
started = time.time()
for _ in range(options.rounds):
    for _ in range(options.jobs):
        seed += 1
        client.ok("POST", task + "/adaptations", {"seed": seed, "inner_steps": 50})
    time.sleep(0.03)
    zombie.signal(signal.SIGSTOP)
    held = int(postgres.sql("SELECT count(*) FROM adaptations WHERE status = 'running'")[0][0])
    frozen_with += held
    while postgres.sql("SELECT count(*) FROM adaptations WHERE status IN ('queued', 'running')") != [["0"]]:
        time.sleep(0.1)
    zombie.signal(signal.SIGCONT)
zombie.wait()
time.sleep(1)
[[succeeded, pointed]] = postgres.sql("SELECT count(*), count(DISTINCT version) FROM adaptations WHERE status = 'succeeded'")
[[adapters]] = postgres.sql("SELECT count(*) FROM adapters")
[[taken_over]] = postgres.sql("SELECT count(*) FROM adaptations WHERE attempt > 1")
stale = int(adapters) - int(pointed)
lost = seed - int(succeeded)
lab.report("freeze", options, stale + lost, rounds=options.rounds, jobs=seed, held_when_frozen=frozen_with,
           taken_over=int(taken_over), stale=stale, lost=lost, took_s=round(time.time() - started, 1))
