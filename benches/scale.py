#!/usr/bin/env python3
"""Many adapters stored: how long a server takes until it is ready, what memory it takes, and how long predictions wait for
an adapter that is not in memory. Prints one line of JSON for each number of adapters.

    cargo build --release
    benches/scale.py [--store sqlite|postgres] [--adapters 1,100000,1000000] [--predictions 3000] [--cache-mib 16]

One task is made and adapted as a caller would; its rows are then copied in the database under fresh ids. Predictions go
one after another: to tasks that nobody has asked before (cold), then to the last of them again (warm).
"""

import argparse
import http.client
import json
import pathlib
import random
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "chaos"))

import lab  # noqa: E402  a PostgreSQL of its own

LETTERS = "0123456789abcdefghjkmnpqrstvwxyz"
WAY, SHOT = 5, 5


class Sqlite:
    def __init__(self, binary: str):
        self.folder = tempfile.TemporaryDirectory()
        self.path = pathlib.Path(self.folder.name) / "scale.db"
        self.url = f"sqlite:{self.path}"

    def columns(self, table: str) -> list[str]:
        with sqlite3.connect(self.path) as connection:
            return [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]

    def run(self, statements: str) -> None:
        connection = sqlite3.connect(self.path)
        connection.executescript(f"PRAGMA synchronous = OFF; BEGIN; {statements}; COMMIT")
        connection.close()

    def bytes(self) -> int:
        return self.path.stat().st_size

    def close(self) -> None:
        self.folder.cleanup()


class Postgres:
    def __init__(self, binary: str):
        self.server = lab.Postgres()
        lab.migrate(binary, self.server)
        self.url = self.server.url()

    def columns(self, table: str) -> list[str]:
        rows = self.server.sql(
            f"SELECT column_name FROM information_schema.columns WHERE table_name = '{table}' AND is_generated = 'NEVER'")
        return [row[0] for row in rows]

    def run(self, statements: str) -> None:
        self.server.sql(statements)

    def bytes(self) -> int:
        return int(self.server.sql("SELECT pg_database_size('imprint')")[0][0])

    def close(self) -> None:
        self.server.stop()


STORES = {"sqlite": Sqlite, "postgres": Postgres}


class Server:
    """`imprint serve` on a database of its own."""

    def __init__(self, binary: str, url: str, cache_mib: int):
        with socket.socket() as listener, socket.socket() as admin:
            listener.bind(("127.0.0.1", 0))
            admin.bind(("127.0.0.1", 0))
            self.port, self.admin_port = listener.getsockname()[1], admin.getsockname()[1]
        command = [binary, "serve", "--listen", f"127.0.0.1:{self.port}", "--admin-listen", f"127.0.0.1:{self.admin_port}"]
        command += ["--no-auth", "--models", str(ROOT / "models"), "--encoders", str(ROOT / ".imprint/encoders")]
        command += ["--database-url", url, "--adapter-cache-mib", str(cache_mib), "--log", "warn"]
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


def copies(store: Sqlite | Postgres, first: str, count: int) -> list[str]:
    """So many tasks with one adapter each, all alike; their ids."""
    draw = random.Random(7)
    pairs = [(identifier("task", draw), identifier("adp", draw)) for _ in range(count - 1)]
    script = ["CREATE TABLE copies (task TEXT NOT NULL, adapter TEXT NOT NULL)"]
    for start in range(0, len(pairs), 500):
        values = ", ".join(f"('{task}', '{adapter}')" for task, adapter in pairs[start:start + 500])
        script.append(f"INSERT INTO copies VALUES {values}")
    fresh = {"tasks": {"id": "copies.task"}, "adapters": {"id": "copies.adapter", "task_id": "copies.task"},
             "promotions": {"task_id": "copies.task"}}
    for table, instead in fresh.items():
        columns = store.columns(table)
        values = ", ".join(instead.get(column, f"sample.{column}") for column in columns)
        script.append(f"INSERT INTO {table} ({', '.join(columns)}) "
                      f"SELECT {values} FROM (SELECT * FROM {table} LIMIT 1) AS sample CROSS JOIN copies")
    store.run("; ".join([*script, "DROP TABLE copies", "ANALYZE"]))
    return [first, *(task for task, _ in pairs)]


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


def measure(store: Sqlite | Postgres, binary: str, count: int, predictions: int, cache_mib: int) -> dict:
    server = Server(binary, store.url, cache_mib)
    examples = [{"input": drawing(index), "label": f"label {index % WAY}"} for index in range(WAY * SHOT)]
    task = server.post("/v1/tasks", {"name": "first", "base_model": "omniglot", "support": examples})
    server.post(f"/v1/tasks/{task['id']}/adaptations", {}, {"prefer": "wait=30"})
    server.stop()
    tasks = copies(store, task["id"], count)
    server = Server(binary, store.url, cache_mib)
    ready, fresh = server.ready_s, server.rss_mib()
    predict(server, tasks[:1] * 200)  # connections, kernels
    random.Random(3).shuffle(tasks)
    cold = predict(server, tasks[:predictions])
    recent = tasks[: min(len(tasks), predictions)][-500:]
    warm = predict(server, recent)
    result = {
        "adapters": count,
        "database_mib": round(store.bytes() / 2**20),
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
    parser.add_argument("--store", choices=STORES, default="sqlite")
    parser.add_argument("--adapters", default="1,100000,1000000")
    parser.add_argument("--predictions", type=int, default=3000)
    parser.add_argument("--cache-mib", type=int, default=16)
    arguments = parser.parse_args()
    for count in map(int, arguments.adapters.split(",")):
        store = STORES[arguments.store](arguments.imprint)
        figures = measure(store, arguments.imprint, count, arguments.predictions, arguments.cache_mib)
        store.close()
        print(json.dumps({"store": arguments.store, **figures}), flush=True)


if __name__ == "__main__":
    main()
