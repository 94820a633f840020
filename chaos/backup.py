#!/usr/bin/env python3
"""The drill: pg_dump while the server runs, restore into an empty database, another server on it: the same predictions,
to the last digit, and it takes new work."""

import random
import subprocess
import time

import lab

options = lab.arguments(__doc__, tasks=50)
postgres = lab.Postgres()
lab.migrate(options.imprint, postgres)
replica = lab.Replica(options.imprint, postgres.url()).wait()
key = lab.key(options.imprint, postgres.url(), "tenant")
client = lab.Client(replica.port, key)
query = [[round(random.uniform(-5, 5), 3)] for _ in range(20)]
tasks = [client.task(examples=random.randint(3, 20)) for _ in range(options.tasks)]
for task in tasks:
    client.ok("POST", task + "/adaptations", {}, Prefer="wait=20")
before = {task: client.said(task, query) for task in tasks}

started = time.time()
dump = postgres.folder / "imprint.dump"
postgres.run("pg_dump", "--format=custom", "--file", dump, postgres.url("superuser"))
dumped = time.time()
postgres.create("restored")
postgres.run("pg_restore", "--exit-on-error", "--dbname", postgres.url("superuser", "restored"), dump)
# The role's rights come with the dump; a database that was restored elsewhere gets them from `imprint migrate`.
subprocess.run([options.imprint, "migrate", "--for-role", "imprint", "--database-url", postgres.url("owner", "restored")],
               check=True, stdout=subprocess.DEVNULL)
second = lab.Replica(options.imprint, postgres.url(database="restored")).wait()
restored = time.time()
other = lab.Client(second.port, key)
different = sum(other.said(task, query) != before[task] for task in tasks)
fresh = other.task()
takes_work = other.ok("POST", fresh + "/adaptations", {}, Prefer="wait=20")["status"] == "succeeded"
lab.report("backup", options, different + (not takes_work), tasks=len(tasks), predictions=len(tasks) * len(query),
           different=different, takes_new_work=takes_work, dump_bytes=dump.stat().st_size,
           dump_s=round(dumped - started, 2), restore_s=round(restored - dumped, 2))
