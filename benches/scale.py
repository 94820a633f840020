#!/usr/bin/env python3
"""Many adapters stored, in SQLite: how long a server takes until it is ready, what memory it takes, and how long
predictions wait for an adapter that is not in memory. Prints one line of JSON for each number of adapters.

    cargo build --release
    benches/scale.py [--adapters 1,100000,1000000] [--predictions 3000] [--cache-mib 16]

One task is made and adapted as a caller would; its rows are then copied in the database under fresh ids. Predictions go
one after another: to tasks that nobody has asked before (cold), then to the last of them again (warm).
"""

import argparse
import http.client
import json
import os
import pathlib
import random
import socket
import sqlite3
import subprocess
import tempfile
import time

ROOT = pathlib.Path(__file__).parent.parent
LETTERS = "0123456789abcdefghjkmnpqrstvwxyz"
WAY, SHOT = 5, 5


class Server:
    """`imprint serve` on a database of its own."""

    def __init__(self, binary: str, database: pathlib.Path, cache_mib: int):
        with socket.socket() as listener, socket.socket() as admin:
            listener.bind(("127.0.0.1", 0))
            admin.bind(("127.0.0.1", 0))
            self.port, self.admin_port = listener.getsockname()[1], admin.getsockname()[1]
        command = [binary, "serve", "--listen", f"127.0.0.1:{self.port}", "--admin-listen", f"127.0.0.1:{self.admin_port}"]
        command += ["--no-auth", "--models", str(ROOT / "models"), "--encoders", str(ROOT / ".imprint/encoders")]
        command += ["--database-url", f"sqlite:{database}", "--adapter-cache-mib", str(cache_mib), "--log", "warn"]
        started = time.monotonic()
        self.process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        self.connection = http.client.HTTPConnection("127.0.0.1", self.port)
        while True:
            try:
                self.connection.request("GET", "/readyz")
                answer = self.connection.getresponse()
                answer.read()
                if answer.status == 200:
                    break
            except OSError:
                self.connection.close()
                if self.process.poll() is not None:
                    raise SystemExit("the server has ended") from None
            time.sleep(0.01)
        self.ready_s = time.monotonic() - started

    def post(self, path: str, body: dict, headers: dict | None = None) -> dict:
        self.connection.request("POST", path, json.dumps(body), {"content-type": "application/json", **(headers or {})})
        answer = self.connection.getresponse()
        data = json.loads(answer.read())
        if answer.status >= 300:
            raise SystemExit(f"{path}: {answer.status} {data}")
        return data

    def rss_mib(self) -> float:
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.split("VmRSS:")[1].split()[0]) / 1024

    def metric(self, name: str) -> float:
        connection = http.client.HTTPConnection("127.0.0.1", self.admin_port)
        connection.request("GET", "/metrics")
        lines = connection.getresponse().read().decode().splitlines()
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(name))

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait()


def drawing(seed: int) -> dict:
    draw = random.Random(seed)
    return {"shape": [1, 28, 28], "values": [round(draw.random(), 3) for _ in range(784)]}


def identifier(prefix: str, draw: random.Random) -> str:
    return f"{prefix}_{draw.choice(LETTERS[:8])}" + "".join(draw.choices(LETTERS, k=25))


def copies(database: pathlib.Path, count: int) -> list[str]:
    """So many tasks with one adapter each, all alike; their ids."""
    connection = sqlite3.connect(database)
    connection.execute("PRAGMA synchronous = OFF")
    draw, ids = random.Random(7), []
    columns = {}
    for table in ("tasks", "adapters", "promotions"):
        columns[table] = [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]
    samples = {table: connection.execute(f"SELECT * FROM {table}").fetchone() for table in columns}
    first = dict(zip(columns["tasks"], samples["tasks"]))["id"]
    for _ in range(count - 1):
        ids.append(identifier("task", draw))
    for table, own in columns.items():
        fields = dict(zip(own, samples[table]))
        key = "id" if table == "tasks" else "task_id"

        def rows():
            for task in ids:
                row = {**fields, key: task}
                if table == "adapters":
                    row["id"] = identifier(fields["id"].split("_")[0], draw)
                yield tuple(row[name] for name in own)

        connection.executemany(f"INSERT INTO {table} VALUES ({','.join('?' * len(own))})", rows())
    connection.commit()
    connection.close()
    return [first, *ids]


def quantiles(took: list[float]) -> dict:
    took = sorted(took)
    return {f"p{percent}_ms": round(1e3 * took[min(len(took) - 1, len(took) * percent // 100)], 2) for percent in (50, 99)}


def predict(server: Server, tasks: list[str]) -> list[float]:
    body, took = {"query": [drawing(99)]}, []
    for task in tasks:
        started = time.monotonic()
        server.post(f"/v1/tasks/{task}/predict", body)
        took.append(time.monotonic() - started)
    return took


def measure(binary: str, count: int, predictions: int, cache_mib: int) -> dict:
    with tempfile.TemporaryDirectory() as folder:
        database = pathlib.Path(folder) / "scale.db"
        server = Server(binary, database, cache_mib)
        examples = [{"input": drawing(index), "label": f"label {index % WAY}"} for index in range(WAY * SHOT)]
        task = server.post("/v1/tasks", {"name": "first", "base_model": "omniglot", "support": examples})
        server.post(f"/v1/tasks/{task['id']}/adaptations", {}, {"prefer": "wait=30"})
        server.stop()
        tasks = copies(database, count)
        server = Server(binary, database, cache_mib)
        ready, fresh = server.ready_s, server.rss_mib()
        predict(server, tasks[:1] * 200)  # connections, kernels
        random.Random(3).shuffle(tasks)
        cold = predict(server, tasks[:predictions])
        recent = tasks[: min(len(tasks), predictions)][-500:]
        warm = predict(server, recent)
        result = {
            "adapters": count,
            "database_mib": round(os.path.getsize(database) / 2**20),
            "ready_s": round(ready, 2),
            "rss_ready_mib": round(fresh),
            "rss_after_mib": round(server.rss_mib()),
            "cold": quantiles(cold),
            "warm": quantiles(warm),
            "cache_mib": round(server.metric("imprint_adapter_cache_bytes") / 2**20, 2),
            "cache_limit_mib": cache_mib,
        }
        server.stop()
        return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--imprint", default=str(ROOT / "target/release/imprint"))
    parser.add_argument("--adapters", default="1,100000,1000000")
    parser.add_argument("--predictions", type=int, default=3000)
    parser.add_argument("--cache-mib", type=int, default=16)
    arguments = parser.parse_args()
    for count in map(int, arguments.adapters.split(",")):
        print(json.dumps(measure(arguments.imprint, count, arguments.predictions, arguments.cache_mib)), flush=True)


if __name__ == "__main__":
    main()
