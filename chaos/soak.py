#!/usr/bin/env python3
"""Hours of mixed work: the slope of memory and of open files, each with its 95 % interval, after a time to warm up, in
which the clients do not pause: so all that fills once is full before the first sample counts.

`--trace FILE` keeps a line of JSON for every sample: resident memory by kind, threads, and open files by kind, so that
what grows can be told from what only came late (a pool of connections fills when it is first needed)."""

import collections
import json
import os
import pathlib
import random
import statistics
import threading
import time

import lab

options = lab.arguments(__doc__, minutes=120.0, warm_up_minutes=10.0, clients=4, rounds_per_minute=0.0, trace="/dev/null")
pause = 60 * options.clients / options.rounds_per_minute if options.rounds_per_minute else 0  # of one client, on average
postgres = lab.Postgres()
lab.migrate(options.imprint, postgres)
replica = lab.Replica(options.imprint, postgres.url(), workers=1).wait()
over, errors, done, started = threading.Event(), collections.Counter(), [0], time.time()


def work(number):
    client = lab.Client(replica.port, lab.key(options.imprint, postgres.url(), f"tenant-{number}"))
    while not over.is_set():
        try:
            task = client.task(examples=random.randint(2, 40))
            client.ok("POST", task + "/adaptations", {"inner_steps": random.randint(1, 8)}, Prefer="wait=20")
            for _ in range(20):
                rows = random.randint(1, 64)
                client.ok("POST", task + "/predict", {"query": [[random.uniform(-5, 5)] for _ in range(rows)]})
            client.call("POST", task + "/predict", {"query": [["nonsense"]]})
            client.ok("DELETE", task)
            done[0] += 1
            is_warm = time.time() - started > 60 * options.warm_up_minutes
            over.wait(random.expovariate(1 / pause) if pause and is_warm else 0)
        except lab.Refused as error:
            lab.note(error)
            errors[error.kind] += 1
        except OSError as error:
            lab.note(error)
            errors["no answer"] += 1


def slope(points, blocks=12):
    """Per hour, and half of its 95 % interval. What adds up, as memory does, wanders: where it is says where it will be, and
    a line through it would seem surer than it is. So twelve means are taken, and the eleven steps between them are the
    observations: independent of each other if nothing leaks, all of one sign if something does."""
    size = len(points) // blocks
    if size == 0:
        return None, None
    blocked = [points[size * block:size * (block + 1)] for block in range(blocks)]
    means = [[sum(axis) / size for axis in zip(*block)] for block in blocked]
    steps = [(y - before) / (x - earlier) for (earlier, before), (x, y) in zip(means, means[1:])]
    spread = statistics.stdev(steps) / len(steps) ** 0.5
    return round(statistics.mean(steps), 3), round(2.228 * spread, 3)  # Student's t with ten degrees of freedom


def sockets(process):
    """Which ends a socket has, by inode."""
    found = {}
    for table in ("tcp", "tcp6"):
        for line in (process / "net" / table).read_text().splitlines()[1:]:
            fields = line.split()
            ends = [int(end.split(":")[1], 16) for end in fields[1:3]]
            found[fields[9]] = "database" if ends[1] == postgres.port else "client" if ends[1] else "listener"
    return found


def kinds(process):
    """Open files by kind."""
    known, counted = sockets(process), collections.Counter()
    for entry in (process / "fd").iterdir():
        try:
            target = os.readlink(entry)
        except FileNotFoundError:
            continue
        if target.startswith("socket:"):
            target = known.get(target[8:-1], "another socket")
        counted["pipe" if target.startswith("pipe:") else target] += 1
    return dict(sorted(counted.items()))


def sample(process):
    rollup = dict(line.split(":", 1) for line in (process / "smaps_rollup").read_text().splitlines()[1:])
    mib = {name.lower(): int(rollup[name].split()[0]) / 1024 for name in ("Rss", "Anonymous")}
    return {**mib, "threads": len(list((process / "task").iterdir())), "files": kinds(process)}


def seconds(process):
    """Of a processor, used so far."""
    return sum(map(int, (process / "stat").read_text().rsplit(")", 1)[1].split()[11:13])) / os.sysconf("SC_CLK_TCK")


threads = [threading.Thread(target=work, args=(number,), daemon=True) for number in range(options.clients)]
for thread in threads:
    thread.start()
memory, files, process = [], [], pathlib.Path(f"/proc/{replica.process.pid}")
with open(options.trace, "w") as trace:
    while time.time() - started < 60 * options.minutes:
        time.sleep(5)
        hours, seen = (time.time() - started) / 3600, sample(process)
        print(json.dumps({"hours": round(hours, 4), "rounds": done[0], **seen}), file=trace, flush=True)
        if hours * 60 >= options.warm_up_minutes:
            memory.append((hours, seen["rss"]))
            files.append((hours, sum(seen["files"].values())))
used = seconds(process) / (60 * options.minutes)
over.set()
for thread in threads:
    thread.join()
(grows, give), (opens, play) = slope(memory), slope(files)
log = pathlib.Path(replica.log.name).read_text()
lab.report("soak", options, errors.total(), minutes=options.minutes, rounds=done[0], errors=errors,
           database_was_away=log.count("the database is away"), processors=round(used, 3),
           rss_mib=round(memory[-1][1], 1), rss_mib_per_hour=grows, rss_ci95=give, open_files=files[-1][1],
           open_files_per_hour=opens, open_files_ci95=play, files=seen["files"])
