#!/usr/bin/env python3
"""A replica is stopped (SIGSTOP) with jobs in its hands until another has taken them over, and goes on (SIGCONT) in the
belief that they are still its own: nothing that it says about them is taken, and none of them is lost.

Leases are short, so that a round takes seconds. `stale` counts adapters that no job that ended well points to."""

import signal
import time

import lab

options = lab.arguments(__doc__, rounds=200, jobs=6, lease=1)
postgres = lab.Postgres()
lab.migrate(options.imprint, postgres)
settings = {"workers": 1, "lease_s": options.lease, "poll_ms": 100, "max_inner_steps": 1000}
job = {"inner_steps": 300}  # long enough to be seen at it
zombie, other = [lab.Replica(options.imprint, postgres.url(), **settings) for _ in range(2)]
zombie.wait()
key = lab.key(options.imprint, postgres.url(), "tenant")


def count(condition):
    return int(postgres.sql(f"SELECT count(*) FROM adaptations WHERE {condition}")[0][0])


# Whoever runs a job while the other is stopped is the zombie.
other.wait().signal(signal.SIGSTOP)
task = lab.Client(zombie.port, key).task(examples=400)
lab.Client(zombie.port, key).ok("POST", task + "/adaptations", job)
while not (names := postgres.sql("SELECT worker FROM adaptations WHERE status = 'running'")):
    pass
its = f"status = 'running' AND worker = '{names[0][0]}'"
other.signal(signal.SIGCONT)
client = lab.Client(other.wait().port, key)
held, seed, rounds, started = 0, 0, 0, time.time()
while rounds < options.rounds:
    for _ in range(options.jobs):
        seed += 1
        client.ok("POST", task + "/adaptations", {**job, "seed": seed})
    while count("status IN ('queued', 'running')") and not count(its):
        pass
    zombie.signal(signal.SIGSTOP)
    holds = count(its)
    rounds, held = rounds + (holds > 0), held + holds
    while count("status IN ('queued', 'running')"):
        time.sleep(0.1)
    zombie.signal(signal.SIGCONT)
zombie.wait()
time.sleep(1)
[[succeeded, pointed]] = postgres.sql("SELECT count(*), count(DISTINCT version) FROM adaptations WHERE status = 'succeeded'")
[[adapters]] = postgres.sql("SELECT count(*) FROM adapters")
[[most]] = postgres.sql("SELECT max(attempt) FROM adaptations")
stale = int(adapters) - int(pointed)
lost = count("status <> 'succeeded'")
lab.report("freeze", options, stale + lost, rounds=rounds, jobs=seed, held_when_frozen=held,
           taken_over=count("attempt > 1"), most_attempts=int(most), stale=stale, lost=lost,
           took_s=round(time.time() - started, 1))
