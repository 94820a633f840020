#!/usr/bin/env python3
"""The database hangs (all of its processes are stopped, connections stay open) under load: predictions of known tasks go
on, writes are refused in less than two seconds, liveness stays, readiness goes, and all is well soon after it goes on."""

import threading
import time

import lab

options = lab.arguments(__doc__, seconds=30.0, clients=4)
postgres = lab.Postgres()
lab.migrate(options.imprint, postgres)
replica = lab.Replica(options.imprint, postgres.url()).wait()
key = lab.key(options.imprint, postgres.url(), "tenant")
client = lab.Client(replica.port, key)
task = client.task()
client.ok("POST", task + "/adaptations", {}, Prefer="wait=20")
client.ok("POST", task + "/predict", {"query": [[0.5]]})
pause = [0.0, 0.0]
over = threading.Event()
calls = {"predict": [], "write": [], "livez": []}


def load(kind, call):
    while not over.is_set():
        began = time.time()
        try:
            status = call()
        except OSError:
            status = 0
        calls[kind].append((began, time.time() - began, status))
        time.sleep(0.02)


def count(kind, keep):
    return sum(1 for call in calls[kind] if keep(*call))


acknowledged = []


def write():
    status, answer = client.call("POST", "/v1/tasks", {"name": "kept", "base_model": "sinusoid", "kind": "regression"})
    if status < 300:
        acknowledged.append(answer["id"])
    return status


loads = [("predict", lambda: client.call("POST", task + "/predict", {"query": [[0.5]]})[0])] * options.clients
loads += [("write", write)] * options.clients + [("livez", lambda: client.call("GET", "/livez")[0])]
threads = [threading.Thread(target=load, args=one, daemon=True) for one in loads]
for thread in threads:
    thread.start()
time.sleep(3)
pause[0] = time.time()
postgres.freeze()
time.sleep(options.seconds)
was_ready = replica.is_ready()
postgres.thaw()
pause[1] = time.time()
while not replica.is_ready():
    time.sleep(0.05)
ready_after = time.time() - pause[1]
time.sleep(6)
over.set()
for thread in threads:
    thread.join()
stored = {row[0] for row in postgres.sql("SELECT id FROM tasks")}
lost = [task for task in acknowledged if task not in stored]
is_paused = lambda began, took, status: pause[0] <= began < pause[1]
late = count("predict", lambda *call: call[0] > pause[1] + 5 and call[2] != 200)
late += count("write", lambda *call: call[0] > pause[1] + 5 and call[2] >= 300)
slow = count("write", lambda *call: is_paused(*call) and call[1] > 2.0)
dead = count("livez", lambda *call: call[2] != 200)
predicted = count("predict", lambda *call: is_paused(*call) and call[2] == 200)
unanswered = count("predict", is_paused) - predicted
refusals = [call[1] for call in calls["write"] if is_paused(*call)]
lab.report("pause", options, len(lost) + late + slow + dead + was_ready + (1000 * unanswered > count("predict", is_paused)), paused_s=round(pause[1] - pause[0], 1),
           predictions_while_paused=count("predict", is_paused), of_them_answered=predicted,
           writes_while_paused=len(refusals), refused_p50_s=lab.quantile(refusals, 0.5),
           refused_max_s=lab.quantile(refusals, 1), ready_again_s=round(ready_after, 2), failed_5s_later=late,
           livez_failures=dead, acknowledged=len(acknowledged), lost=len(lost))
