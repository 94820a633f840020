#!/usr/bin/env python3
"""Two replicas behind HAProxy, restarted one after the other (SIGTERM) under load and with event streams open: no
request fails, every stream can be taken up again. HAProxy runs with the configuration of `docker/haproxy.cfg`."""

import http.client
import pathlib
import re
import shutil
import signal
import subprocess
import tempfile
import threading
import time

import lab

options = lab.arguments(__doc__, rate=200, streams=50, restarts=4, threads=8)
if not shutil.which("haproxy"):
    raise SystemExit("rolling.py: needs haproxy (apt-get install haproxy)")
postgres = lab.Postgres()
lab.migrate(options.imprint, postgres)
replicas = [lab.Replica(options.imprint, postgres.url(), role="api", drain_delay_s=3).wait() for _ in range(2)]
worker = lab.Replica(options.imprint, postgres.url(), role="worker").wait()
key = lab.key(options.imprint, postgres.url(), "tenant")
front = lab.free_port()
text = (lab.ROOT / "docker/haproxy.cfg").read_text()
text = re.sub(r"bind :8080", f"bind 127.0.0.1:{front}", text)
servers = "\n".join(f"    server s{number} 127.0.0.1:{replica.port} check" for number, replica in enumerate(replicas))
text = re.sub(r"(?m)^    server-template .*$", servers, text)
text = re.sub(r"(?ms)^resolvers .*?(?=^\S|\Z)", "", text)
file = pathlib.Path(tempfile.mkdtemp(prefix="imprint-chaos-")) / "haproxy.cfg"
file.write_text(text)
balancer = subprocess.Popen(["haproxy", "-f", file, "-q"], stderr=subprocess.DEVNULL)
client = lab.Client(front, key)
time.sleep(3)
task = client.task()
client.ok("POST", task + "/adaptations", {}, Prefer="wait=20")
results, lock, over = [], threading.Lock(), threading.Event()


def load():
    pause = options.threads / options.rate
    following = time.time()
    while not over.is_set():
        following += pause
        began = time.time()
        try:
            status = client.call("POST", task + "/predict", {"query": [[0.5]]})[0]
        except OSError:
            status = 0
        with lock:
            results.append((status, time.time() - began))
        time.sleep(max(0.0, following - time.time()))


# Without a worker the jobs wait, and their streams stay open.
worker.signal(signal.SIGTERM)
worker.process.wait()
waiting = [client.ok("POST", task + "/adaptations", {"seed": 1000 + number})["id"] for number in range(options.streams)]
ended, resumed = [0], [0]


def follow(adaptation):
    """Follows to the end, coming back with the last event's id as a browser does."""
    last, tries = "0", 0
    while not over.is_set() and tries < 100:
        tries += 1
        try:
            connection = http.client.HTTPConnection("127.0.0.1", front, timeout=30)
            headers = {"Authorization": "Bearer " + key, "Accept": "text/event-stream", "Last-Event-ID": last}
            connection.request("GET", f"/v1/adaptations/{adaptation}/events", headers=headers)
            for line in connection.getresponse():
                line = line.decode().strip()
                if line.startswith("id:"):
                    last = line[3:].strip()
                if line == "event: done":
                    with lock:
                        ended[0] += 1
                    return
        except (OSError, http.client.HTTPException):
            pass
        with lock:
            resumed[0] += 1
        time.sleep(0.2)


threads = [threading.Thread(target=load, daemon=True) for _ in range(options.threads)]
streams = [threading.Thread(target=follow, args=(one,), daemon=True) for one in waiting]
for thread in threads + streams:
    thread.start()
time.sleep(3)
drains = []
for number in range(options.restarts):
    replica = replicas[number % 2]
    began = time.time()
    replica.signal(signal.SIGTERM)
    replica.process.wait()
    drains.append(time.time() - began)
    replica.start()
    replica.wait()
    time.sleep(3)
worker.start()
for stream in streams:
    stream.join(timeout=30)
over.set()
for thread in threads:
    thread.join()
balancer.terminate()
failed = sum(status != 200 for status, _ in results)
latencies = [took for _, took in results]
lab.report("rolling", options, failed + options.streams - ended[0], requests=len(results), failed=failed,
           restarts=options.restarts, drain_p50_s=lab.quantile(drains, 0.5), drain_max_s=lab.quantile(drains, 1),
           streams=options.streams, streams_ended=ended[0], streams_resumed=resumed[0],
           p50_s=lab.quantile(latencies, 0.5), p99_s=lab.quantile(latencies, 0.99))
