#!/usr/bin/env python3
"""The largest requests that there may be, from more clients than there is room for, on a server that is given as much memory
as in `docker/compose.yaml`: it is never ended for want of memory, and everybody is answered.

Half of the clients send bodies as long as may be that unfold to as many numbers as may be, the others what takes a worker
the most memory. Needs root: a control group holds the server."""

import atexit
import base64
import collections
import json
import os
import pathlib
import threading
import time

import lab

options = lab.arguments(__doc__, minutes=30.0, clients=96, mib=4096)
DRAWINGS = [base64.b64encode(path.read_bytes()).decode() for path in sorted((lab.ROOT / "examples/omniglot").rglob("*.png"))]


class Group:
    """A control group, of either version."""

    def __init__(self, mib):
        root = pathlib.Path("/sys/fs/cgroup")
        is_second = (root / "cgroup.controllers").exists()
        self.folder = (root if is_second else root / "memory") / f"imprint-chaos-{os.getpid()}"
        self.folder.mkdir()
        names = ("max", "peak", "events") if is_second else ("limit_in_bytes", "max_usage_in_bytes", "oom_control")
        self.most, self.peak, self.events = (self.folder / f"memory.{name}" for name in names)
        self.most.write_text(str(mib << 20))

    def take(self, process):
        (self.folder / "cgroup.procs").write_text(str(process.pid))

    def kills(self):
        lines = dict(line.split() for line in self.events.read_text().splitlines())
        return int(lines["oom_kill"])


postgres = lab.Postgres()
lab.migrate(options.imprint, postgres)
group = Group(options.mib)
atexit.register(group.folder.rmdir)
replica = lab.Replica(options.imprint, postgres.url(), ("omniglot-maml", "sinusoid"))
group.take(replica.process)
client = lab.Client(replica.wait().port, lab.key(options.imprint, postgres.url(), "tenant"), timeout=120)


def large():
    """Fifteen MiB of numbers: too many for a query, which is seen when they are there."""
    numbers = ",".join(["0.25"] * (1 << 21))[:-5]
    return f'{{"base_model": "sinusoid", "support": [], "query": [[{numbers}]]{" " * (5 << 20)}}}'


def dear(examples):
    """An adaptation of all that a network has."""
    support = [{"input": {"image": DRAWINGS[number % len(DRAWINGS)]}, "label": f"l{number % 5}", "weight": 1 + number / 1e3}
               for number in range(examples)]
    return json.dumps({"base_model": "omniglot-maml", "support": support, "query": [support[0]["input"]]})


def dearest():
    """As many examples as are let in."""
    least, most = 5, 4096
    while most - least > 8:
        examples = (least + most) // 2
        status, answer = client.call("POST", "/v1/adapt-predict", dear(examples))
        least, most = (least, examples) if status == 422 else (examples, most)
        lab.note(f"{examples} examples: {status} {answer.get('detail', '')}")
    return least


examples = dearest()
bodies, over, answers = (large(), dear(examples)), threading.Event(), collections.Counter()


def ask(body):
    while not over.is_set():
        try:
            status, answer = client.call("POST", "/v1/adapt-predict", body)
            answers[f"{status} {answer.get('code', '')}".strip()] += 1
        except (BrokenPipeError, ConnectionResetError):
            answers["turned away before the body was sent"] += 1
        except OSError as error:
            lab.note(error)
            answers["none"] += 1
        over.wait(0.1)


threads = [threading.Thread(target=ask, args=(bodies[number % 2],), daemon=True) for number in range(options.clients)]
for thread in threads:
    thread.start()
time.sleep(60 * options.minutes)
over.set()
for thread in threads:
    thread.join()
is_same = replica.process.poll() is None
expected = ("200", "422", "429", "503", "504", "turned")
unexpected = sum(count for answer, count in answers.items() if not answer.startswith(expected))
lab.report("heavy", options, group.kills() + (not is_same) + unexpected, minutes=options.minutes,
           clients=options.clients, limit_mib=options.mib, peak_mib=int(group.peak.read_text()) >> 20,
           oom_kills=group.kills(), restarts=int(not is_same), examples_of_the_dearest=examples, answers=answers,
           ready=replica.is_ready())
