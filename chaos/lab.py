"""What the programs beside this file share: a PostgreSQL server of their own, replicas of `imprint serve` on it, a
client, and one JSON line of figures at the end. Standard library only.

Every program takes `--imprint PATH` (default: target/release/imprint) and `--seed`, and ends with status 1 if a figure
that must be 0 is not."""

import argparse
import atexit
import http.client
import json
import os
import pathlib
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent


def arguments(description, **defaults):
    """The common flags, and one for each default that is given."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--imprint", default=str(ROOT / "target/release/imprint"))
    parser.add_argument("--seed", type=int, default=1)
    for name, default in defaults.items():
        parser.add_argument("--" + name.replace("_", "-"), type=type(default), default=default)
    options = parser.parse_args()
    random.seed(options.seed)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what was started is ended, too
    return options


def report(name, options, violations, **figures):
    """The one line, and the exit status."""
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True).stdout.strip()
    print(json.dumps({"name": name, "commit": commit, "seed": options.seed, "violations": violations, **figures}))
    sys.exit(1 if violations else 0)


def note(text):
    print(text, file=sys.stderr, flush=True)


def quantile(values, share):
    values = sorted(values)
    return round(values[min(len(values) - 1, int(share * len(values)))], 4) if values else None


def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def postgres_programs():
    found = sorted(pathlib.Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name))
    return found[-1] if found else pathlib.Path(shutil.which("initdb")).parent


class Postgres:
    """A server in a folder of its own, with the two roles of production: `owner`, and `imprint`, which owns nothing."""

    def __init__(self):
        self.programs = postgres_programs()
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="imprint-chaos-"))
        self.port = free_port()
        self.prefix = []
        if os.getuid() == 0:
            shutil.chown(self.folder, "postgres", "postgres")
            self.prefix = ["setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups"]
        data = self.folder / "data"
        self.run("initdb", "--pgdata", data, "--username=superuser", "--auth=trust", "--encoding=UTF8", "--no-sync")
        self.server = subprocess.Popen(
            [*self.prefix, self.programs / "postgres", "-D", data, "-p", str(self.port), "-h", "127.0.0.1", "-N", "200",
             "-k", self.folder], cwd=self.folder, stdout=subprocess.DEVNULL, stderr=open(self.folder / "log", "w"))
        atexit.register(self.stop)
        while subprocess.run([self.programs / "pg_isready", "-q", "-h", "127.0.0.1", "-p", str(self.port)]).returncode:
            time.sleep(0.1)
        self.sql("CREATE ROLE owner LOGIN; ", database="postgres")
        self.sql("CREATE ROLE imprint LOGIN; ", database="postgres")
        self.create("imprint")

    def run(self, program, *words):
        subprocess.run([*self.prefix, self.programs / program, *map(str, words)], cwd=self.folder, check=True,
                       stdout=subprocess.DEVNULL)

    def create(self, database):
        self.sql(f"CREATE DATABASE {database} OWNER owner", database="postgres")

    def url(self, role="imprint", database="imprint"):
        return f"postgres://{role}@127.0.0.1:{self.port}/{database}"

    def sql(self, statement, database="imprint"):
        """Rows as lists of texts, seen by the superuser."""
        words = [self.programs / "psql", "-XqAt", "-F", "\t", "-v", "ON_ERROR_STOP=1", self.url("superuser", database)]
        done = subprocess.run(words, input=statement, check=True, capture_output=True, text=True)
        return [line.split("\t") for line in done.stdout.splitlines()]

    def processes(self):
        """The server and its backends."""
        children = pathlib.Path(f"/proc/{self.server.pid}/task/{self.server.pid}/children").read_text().split()
        return [self.server.pid, *map(int, children)]

    def freeze(self):
        """As a machine that hangs: connections stay open, nobody answers."""
        for process in self.processes():
            os.kill(process, signal.SIGSTOP)

    def thaw(self):
        for process in self.processes():
            os.kill(process, signal.SIGCONT)

    def stop(self):
        if self.server.poll() is None:
            self.thaw()
            self.server.send_signal(signal.SIGQUIT)
            self.server.wait()
        shutil.rmtree(self.folder, ignore_errors=True)


class Replica:
    """One `imprint serve`, with few base models, so that it is soon ready."""

    def __init__(self, imprint, database_url, bases=("sinusoid",), **settings):
        self.imprint, self.database_url, self.settings = imprint, database_url, settings
        self.models = pathlib.Path(tempfile.mkdtemp(prefix="imprint-chaos-models-"))
        for name in bases:
            (self.models / name).symlink_to(ROOT / "models" / name)
        self.port = free_port()
        self.log = open(pathlib.Path(tempfile.gettempdir()) / f"imprint-chaos-{self.port}.log", "w")
        atexit.register(self.kill)
        self.start()

    def start(self):
        environment = {
            "PATH": os.environ["PATH"],
            "LD_LIBRARY_PATH": os.environ.get("LD_LIBRARY_PATH", ""),  # for a binary that was moved from where it was built
            "IMPRINT_DATABASE_URL": self.database_url,
            "IMPRINT_LISTEN": f"127.0.0.1:{self.port}",
            "IMPRINT_MODELS": str(self.models),
            "IMPRINT_DEVICE": "cpu",
            **{f"IMPRINT_{name.upper()}": str(value) for name, value in self.settings.items()},
        }
        self.process = subprocess.Popen([self.imprint, "serve"], env=environment, stderr=self.log, stdout=self.log)

    def is_ready(self):
        try:
            return Client(self.port, None, timeout=2).call("GET", "/readyz")[0] == 200
        except OSError:
            return False

    def wait(self):
        while not self.is_ready():
            if self.process.poll() is not None:
                raise RuntimeError(f"a replica ended: see {self.log.name}")
            time.sleep(0.05)
        return self

    def signal(self, number):
        self.process.send_signal(number)

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()


class Refused(RuntimeError):
    """An answer that is no success: its status, and the problem's code."""

    def __init__(self, call, status, answer):
        super().__init__(f"{call} answers {status}: {answer}")
        self.kind = f"{status} {answer.get('code') if isinstance(answer, dict) else answer}"


class Client:
    """One connection after another; every call has a time limit."""

    def __init__(self, port, key, timeout=30):
        self.port, self.key, self.timeout = port, key, timeout

    def call(self, method, path, body=None, **headers):
        """Status and JSON. A body that is text is JSON already."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=self.timeout)
        try:
            headers = {name.replace("_", "-"): value for name, value in headers.items()}
            if self.key:
                headers["Authorization"] = "Bearer " + self.key
            if body is not None:
                headers["Content-Type"] = "application/json"
                body = body if isinstance(body, str) else json.dumps(body)
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            text = answer.read()
            is_json = "json" in (answer.getheader("Content-Type") or "")
            return answer.status, json.loads(text) if is_json else text
        except http.client.HTTPException as error:
            raise OSError(str(error)) from error
        finally:
            connection.close()

    def ok(self, method, path, body=None, **headers):
        status, answer = self.call(method, path, body, **headers)
        if status >= 400:
            raise Refused(f"{method} {path}", status, answer)
        return answer

    def task(self, examples=10):
        """A regression task of the `sinusoid` base; its path."""
        support = [{"input": [round(random.uniform(-5, 5), 3)], "value": round(random.uniform(-3, 3), 3)}
                   for _ in range(examples)]
        made = self.ok("POST", "/v1/tasks", {"name": "chaos", "base_model": "sinusoid", "kind": "regression",
                                             "support": support})
        return f"/v1/tasks/{made['id']}"

    def said(self, path, query):
        """What predictions say: all but their ids, which are fresh each time."""
        answer = self.ok("POST", path + "/predict", {"query": query})
        return [{key: value for key, value in one.items() if key != "id"} for one in answer["predictions"]]


def migrate(imprint, postgres, database="imprint"):
    command = [imprint, "migrate", "--for-role", "imprint", "--database-url", postgres.url("owner", database)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def key(imprint, database_url, tenant):
    command = [imprint, "keys", "create", tenant, "--database-url", database_url]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


class Every(threading.Thread):
    """Does something at intervals until it is stopped."""

    def __init__(self, seconds, action):
        super().__init__(daemon=True)
        self.seconds, self.action, self.over = seconds, action, threading.Event()
        self.start()

    def run(self):
        while not self.over.wait(self.seconds):
            self.action()

    def stop(self):
        self.over.set()
        self.join()
