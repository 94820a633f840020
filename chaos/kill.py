#!/usr/bin/env python3
"""Replicas are killed (SIGKILL) one after another while they work off a queue: no job is lost, none leaves two results,
and one whose worker died is taken up again within lease, poll and a little."""

import random
import threading
import time

import lab

options = lab.arguments(__doc__, jobs=2000, replicas=3, every=2.0, seconds=300)
postgres = lab.Postgres()
lab.migrate(options.imprint, postgres)
replicas = [lab.Replica(options.imprint, postgres.url(), workers=1).wait() for _ in range(options.replicas)]
tenants = [lab.key(options.imprint, postgres.url(), f"tenant-{number}") for number in range(4)]
tasks = {key: lab.Client(replicas[0].port, key).task() for key in tenants}
kills, accepted, lock = [], [], threading.Lock()
rng = random.Random(options.seed)


def kill():
    replica = rng.choice(replicas)
    kills.append(time.time())
    replica.kill()
    replica.start()


def submit(number):
    key = tenants[number % len(tenants)]
    while True:  # a replica that is gone took nothing; the seed makes each job one of its own
        try:
            client = lab.Client(rng.choice(replicas).port, key, timeout=10)
            status, answer = client.call("POST", tasks[key] + "/adaptations", {"seed": number, "inner_steps": 50})
            if status == 202:
                with lock:
                    accepted.append((key, answer["id"]))
                return
        except OSError:
            pass
        time.sleep(0.05)


started = time.time()
killer = lab.Every(options.every, kill)
while len(accepted) < options.jobs and time.time() - started < 10 * options.seconds:
    pace = options.seconds / options.jobs
    submit(len(accepted))
    time.sleep(max(0.0, started + len(accepted) * pace - time.time()))
killer.stop()
lab.note(f"{len(accepted)} jobs, {len(kills)} kills in {time.time() - started:.0f} s")
for replica in replicas:
    replica.wait()
deadline = time.time() + 180
while postgres.sql("SELECT count(*) FROM adaptations WHERE status IN ('queued', 'running')") != [["0"]]:
    if time.time() > deadline:
        break
    time.sleep(0.5)

ids = {adaptation for _, adaptation in accepted}
rows = {row[0]: row[1:] for row in postgres.sql("SELECT id, status, attempt, coalesce(version, 0), task_id FROM adaptations")}
lost = [job for job in ids if rows.get(job, ["absent"])[0] not in ("succeeded", "failed")]
failed = [job for job in ids if rows.get(job, ["absent"])[0] == "failed"]
succeeded = [row for row in rows.values() if row[0] == "succeeded"]
versions = postgres.sql("SELECT task_id, version FROM adapters")
# A request whose server died before it answered was sent again: the second job of one seed finds the first one's adapter.
repeated = len(rows) - len(ids)
duplicates = len(versions) - len({(row[3], row[2]) for row in succeeded})
claims = postgres.sql(
    "SELECT adaptation_id, created_at FROM adaptation_events WHERE news LIKE '%running%' ORDER BY adaptation_id, number")
reclaims = []
for (job, before), (again, after) in zip(claims, claims[1:]):
    if job == again:
        fatal = [moment for moment in kills if int(before) / 1e3 <= moment <= int(after) / 1e3]
        if fatal:
            reclaims.append(int(after) / 1e3 - fatal[0])
# Failed: killed with three servers one after another, and said to be so.
lab.report(
    "kill", options, len(lost) + duplicates, jobs=len(ids), kills=len(kills), lost=len(lost), failed=len(failed),
    duplicates=duplicates, repeated_requests=repeated, reclaimed=len(reclaims), reclaim_p50_s=lab.quantile(reclaims, 0.5),
    reclaim_max_s=lab.quantile(reclaims, 1), extra_attempts=sum(int(row[1]) for row in rows.values()) - len(rows),
    took_s=round(time.time() - started, 1))
