#!/usr/bin/env python3
"""What one PostgreSQL holds: how long a claim takes with many jobs waiting, how many jobs a second go through, and how many
bytes a task with its examples, jobs and adapter takes.

Jobs are put into the queue by SQL and claimed by a worker with many runners, so that the database is what is measured;
`postgres_processors` says how many processors it used meanwhile, which is what grows with the rate."""

import os
import pathlib
import threading
import time

import lab

options = lab.arguments(__doc__, waiting=100_000, tasks=2_000, tenants=50, seconds=30.0, runners=32, claims=200)
postgres = lab.Postgres()
lab.migrate(options.imprint, postgres)


def processors():
    """Seconds of a processor that the server has used so far."""
    ticks = 0
    for process in postgres.processes():
        try:
            fields = pathlib.Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()
            ticks += sum(map(int, fields[11:15]))  # its own, and those of children that have ended
        except FileNotFoundError:
            continue
    return ticks / os.sysconf("SC_CLK_TCK")


def claim_ms():
    """Of the statement that finds the next job, as the server measures it."""
    plan = postgres.sql(
        "EXPLAIN (ANALYZE, FORMAT TEXT) SELECT a.tenant_id, a.id, a.place FROM adaptations AS a WHERE a.status = 'queued' "
        "AND a.not_before <= 9000000000000 ORDER BY a.place, a.created_at, a.id LIMIT 1 FOR UPDATE OF a SKIP LOCKED")
    return float([line[0] for line in plan if "Execution Time" in line[0]][0].split()[2])


def finished():
    return int(postgres.sql("SELECT count(*) FROM adaptations WHERE status = 'succeeded'")[0][0])


api = lab.Replica(options.imprint, postgres.url(), workers=1, runners=0).wait()
clients = [lab.Client(api.port, lab.key(options.imprint, postgres.url(), f"tenant-{number}"))
           for number in range(options.tenants)]
empty = int(postgres.sql("SELECT pg_database_size('imprint')")[0][0])


def make(client):
    for _ in range(options.tasks // options.tenants):
        client.task(examples=10)


threads = [threading.Thread(target=make, args=(client,)) for client in clients]
started = time.time()
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
made_s = time.time() - started
bytes_task = (int(postgres.sql("SELECT pg_database_size('imprint')")[0][0]) - empty) / options.tasks
claims_few = sorted(claim_ms() for _ in range(options.claims))
# Each tenant's jobs have places after each other, as if they had come one by one, by turns.
postgres.sql(
    "INSERT INTO adaptations (tenant_id, id, task_id, recipe, promote, promotion, status, attempt, created_at, place) "
    "SELECT tenant_id, 'adpt_' || lpad(to_hex(n), 26, '0'), id, '{\"seed\": ' || n || '}', 1, 'always', 'queued', 0, "
    f"1700000000000 + n, 1 + n / {options.tenants} FROM (SELECT tenant_id, id, row_number() OVER (ORDER BY id) - 1 AS r "
    f"FROM tasks) AS t CROSS JOIN LATERAL generate_series(r, {options.waiting} - 1, {options.tasks}) AS n")
postgres.sql("ANALYZE adaptations")
waiting = int(postgres.sql("SELECT count(*) FROM adaptations WHERE status = 'queued'")[0][0])
claims_many = sorted(claim_ms() for _ in range(options.claims))

worker = lab.Replica(options.imprint, postgres.url(), workers=2, runners=options.runners, role="worker",
                     database_max_connections=options.runners).wait()
time.sleep(3)
before, used, started = finished(), processors(), time.time()
time.sleep(options.seconds)
took = time.time() - started
done, used = finished() - before, processors() - used
job_bytes = int(postgres.sql("SELECT pg_total_relation_size('adaptations') + pg_total_relation_size('adaptation_events')")[0][0])
adapters, adapter_bytes = map(int, postgres.sql("SELECT count(*), pg_total_relation_size('adapters') FROM adapters")[0])
lab.report("sizes", options, 0 if waiting == options.waiting else 1, waiting=waiting,
           claim_ms_few=lab.quantile(claims_few, 0.5), claim_ms_many=lab.quantile(claims_many, 0.5),
           claim_ms_many_p99=lab.quantile(claims_many, 0.99), tasks=options.tasks, tasks_per_s=round(options.tasks / made_s, 1),
           bytes_of_a_task=round(bytes_task), jobs_per_s=round(done / took, 1), postgres_processors=round(used / took, 2),
           postgres_ms_a_job=round(1000 * used / max(1, done), 2), bytes_of_a_job=round(job_bytes / waiting),
           adapters=adapters, bytes_of_an_adapter=round(adapter_bytes / max(1, adapters)))
