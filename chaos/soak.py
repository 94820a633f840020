#!/usr/bin/env python3
"""Hours of mixed work: the slope of memory and of open files, each with its 95 % interval, after a time to warm up."""

import os
import pathlib
import random
import threading
import time

import lab

options = lab.arguments(__doc__, minutes=120.0, warm_up_minutes=10.0, clients=4)
postgres = lab.Postgres()
lab.migrate(options.imprint, postgres)
replica = lab.Replica(options.imprint, postgres.url(), workers=1).wait()
over, errors, done = threading.Event(), [0], [0]


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
        except (OSError, RuntimeError) as error:
            lab.note(error)
            errors[0] += 1


def slope(points):
    """Per hour, and half of its 95 % interval. Neighbouring samples are alike: every tenth counts."""
    points = points[:: max(1, len(points) // 60)]
    count = len(points)
    if count < 3:
        return None, None
    mean_x, mean_y = (sum(axis) / count for axis in zip(*points))
    spread = sum((x - mean_x) ** 2 for x, _ in points)
    gain = sum((x - mean_x) * (y - mean_y) for x, y in points) / spread
    rest = sum((y - mean_y - gain * (x - mean_x)) ** 2 for x, y in points) / (count - 2)
    return round(gain, 3), round(1.96 * (rest / spread) ** 0.5, 3)


threads = [threading.Thread(target=work, args=(number,), daemon=True) for number in range(options.clients)]
for thread in threads:
    thread.start()
started, memory, files = time.time(), [], []
while time.time() - started < 60 * options.minutes:
    time.sleep(2)
    hours = (time.time() - started) / 3600
    if hours * 60 < options.warm_up_minutes:
        continue
    process = pathlib.Path(f"/proc/{replica.process.pid}")
    pages = int((process / "statm").read_text().split()[1])
    memory.append((hours, pages * os.sysconf("SC_PAGE_SIZE") / 2**20))
    files.append((hours, len(list((process / "fd").iterdir()))))
over.set()
for thread in threads:
    thread.join()
(grows, give), (opens, play) = slope(memory), slope(files)
lab.report("soak", options, errors[0], minutes=options.minutes, rounds=done[0], errors=errors[0],
           rss_mib=round(memory[-1][1], 1), rss_mib_per_hour=grows, rss_ci95=give, open_files=files[-1][1],
           open_files_per_hour=opens, open_files_ci95=play)
