#!/usr/bin/env python3
"""The disk that the database is on fills up and is given room again, on SQLite and on PostgreSQL (whose log is elsewhere):
what cannot be written is refused and says why, predictions of known tasks go on, the server stays, and afterwards all that
was acknowledged is there and whole.

Needs root: the small disk is a file system in memory."""

import collections
import pathlib
import sqlite3
import subprocess
import tempfile
import time

import lab

options = lab.arguments(__doc__, mib=24, full_s=15.0)


# For all to be well again.
PATIENCE_S = 60.0


class Disk:
    """A file system of a few MiB."""

    def __init__(self, mib):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="imprint-chaos-disk-"))
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={mib}m", "none", self.folder], check=True)
        self.ballast = self.folder / "ballast"

    def fill(self):
        """To the last byte."""
        with open(self.ballast, "ab", buffering=0) as ballast:
            for size in (1 << 20, 4096, 1):
                try:
                    while ballast.write(b"\0" * size) == size:
                        pass
                except OSError:
                    continue

    def give_room(self):
        self.ballast.unlink(missing_ok=True)

    def remove(self):
        subprocess.run(["umount", "--lazy", self.folder], check=True)
        self.folder.rmdir()


def story(name, disk, url, key):
    """Fills the disk under a server, and what came of it."""
    replica = lab.Replica(options.imprint, url, workers=1, runners=2, poll_ms=100, lease_s=5).wait()
    client = lab.Client(replica.port, key)
    known = client.task(examples=20)
    client.ok("POST", known + "/adaptations", {}, Prefer="wait=20")
    before = client.said(known, [[0.5], [1.5]])
    waiting = [client.ok("POST", known + "/adaptations", {"seed": seed, "inner_steps": 50, "promote": "never"})["id"] for seed in range(1, 6)]
    made, refused, answered, longest = [known], collections.Counter(), [0, 0], 0.0
    disk.fill()
    started, seed = time.time(), 0
    while time.time() - started < options.full_s:
        disk.fill()  # what others free is not given back yet
        asked, seed = time.time(), seed + 1
        status, body = client.call("POST", "/v1/tasks", {
            "name": "full", "base_model": "sinusoid", "kind": "regression",
            "support": [{"input": [seed + index / 500], "value": 1.0} for index in range(100)]})
        longest = max(longest, time.time() - asked)
        if status == 201:
            made.append(f"/v1/tasks/{body['id']}")
        else:
            refused[f"{status} {body['code']}"] += 1
        answered[0] += 1
        answered[1] += client.call("POST", known + "/predict", {"query": [[0.5], [1.5]]})[0] == 200
    lives = client.call("GET", "/livez")[0] == 200
    room = time.time()
    disk.give_room()
    room_made = {"name": "room", "base_model": "sinusoid", "kind": "regression"}
    while client.call("POST", "/v1/tasks", room_made)[0] != 201 and time.time() - room < PATIENCE_S:
        time.sleep(0.05)
    recovery = time.time() - room
    lost = sum(client.call("GET", task)[0] != 200 for task in made)
    failed = 0
    for adaptation in waiting:
        while not (end := client.ok("GET", "/v1/adaptations/" + adaptation)).get("finished_at"):
            if time.time() - room > PATIENCE_S:
                break
            time.sleep(0.1)
        failed += end["status"] != "succeeded"
    different = int(client.said(known, [[0.5], [1.5]]) != before)
    restarts = int(replica.process.poll() is not None)
    unclear = sum(count for kind, count in refused.items() if kind != "503 store_full")
    return {"refused": dict(refused), "refused_otherwise": unclear, "longest_refusal_s": round(longest, 3),
            "predictions": answered[0], "predictions_answered": answered[1], "lives": lives, "restarts": restarts,
            "recovery_s": round(recovery, 2), "acknowledged": len(made), "acknowledged_lost": lost,
            "jobs_not_done": failed, "predictions_different": different,
            "violations": (recovery > PATIENCE_S / 2) + unclear + lost + failed + different + restarts + (not lives) + (not refused)}, replica


results = {}
disk = Disk(options.mib)
url = f"sqlite:{disk.folder}/imprint.db"
results["sqlite"], replica = story("sqlite", disk, url, lab.key(options.imprint, url, "tenant"))
replica.kill()
check = sqlite3.connect(disk.folder / "imprint.db").execute("PRAGMA integrity_check").fetchall()
results["sqlite"]["integrity"] = check[0][0]
disk.remove()

postgres, disk = lab.Postgres(), Disk(options.mib + 16)
subprocess.run(["chown", "postgres:postgres", disk.folder], check=True)
postgres.sql(f"CREATE TABLESPACE small LOCATION '{disk.folder}'", database="postgres")
postgres.sql("CREATE DATABASE small OWNER owner TABLESPACE small", database="postgres")
lab.migrate(options.imprint, postgres, "small")
url = postgres.url(database="small")
results["postgres"], replica = story("postgres", disk, url, lab.key(options.imprint, url, "tenant"))
replica.kill()
corrupt = subprocess.run([postgres.programs / "pg_dump", "--file", "/dev/null", postgres.url("superuser", "small")]).returncode
results["postgres"]["integrity"] = "ok" if corrupt == 0 else "pg_dump fails"
postgres.stop()
disk.remove()
violations = sum(result["violations"] + (result["integrity"] != "ok") for result in results.values())
lab.report("full", options, violations, **results)
