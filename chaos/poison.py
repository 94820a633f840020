#!/usr/bin/env python3
"""A job that kills whoever takes it, among others: it dies alone.

The worker is killed (SIGKILL) as soon as it holds the poison, with whatever it holds beside it, and started again, until
the poison has failed. A lock on its task, held by this program, sees to it that it never ends well."""

import subprocess
import time

import lab

options = lab.arguments(__doc__, jobs=200, runners=8, lease=2)
postgres = lab.Postgres()
lab.migrate(options.imprint, postgres)
api = lab.Replica(options.imprint, postgres.url(), role="api", workers=1).wait()
worker = lab.Replica(options.imprint, postgres.url(), role="worker", workers=1, runners=options.runners,
                     lease_s=options.lease, poll_ms=100)
worker.kill()
clients = [lab.Client(api.port, lab.key(options.imprint, postgres.url(), f"tenant-{number}")) for number in range(4)]
tasks = [client.task(examples=400) for client in clients]
poisoned = clients[0].task()
good = []
for number in range(options.jobs):
    if number == options.jobs // 8:
        poison = clients[0].ok("POST", poisoned + "/adaptations", {})["id"]
    client, task = clients[number % 4], tasks[number % 4]
    good.append(client.ok("POST", task + "/adaptations", {"seed": number, "inner_steps": 50})["id"])
lock = subprocess.Popen([postgres.programs / "psql", "-Xq", postgres.url("superuser")], stdin=subprocess.PIPE, text=True,
                        stdout=subprocess.DEVNULL)
lock.stdin.write(f"BEGIN; SELECT id FROM tasks WHERE id = '{poisoned.rsplit('/', 1)[1]}' FOR UPDATE;\n")
lock.stdin.flush()


def status(job):
    return postgres.sql(f"SELECT status, attempt FROM adaptations WHERE id = '{job}'")[0]


started, deaths, beside = time.time(), 0, []
worker.start()
while status(poison)[0] != "failed":
    if status(poison) == ["running", str(deaths + 1)]:
        beside.append(int(postgres.sql("SELECT count(*) FROM adaptations WHERE status = 'running'")[0][0]) - 1)
        worker.kill()
        deaths += 1
        worker.start()
    time.sleep(0.01)
while postgres.sql("SELECT count(*) FROM adaptations WHERE status IN ('queued', 'running')") != [["0"]]:
    time.sleep(0.1)
lock.stdin.close()
ended = [status(job) for job in good]
done = sum(one[0] == "succeeded" for one in ended)
lab.report("poison", options, (done != len(good)) + (deaths != 3), jobs=len(good), done=done, deaths=deaths,
           held_beside=beside, most_attempts=max(int(one[1]) for one in ended),
           poison=postgres.sql(f"SELECT failure::json->>'code' FROM adaptations WHERE id = '{poison}'")[0][0],
           took_s=round(time.time() - started, 1))
