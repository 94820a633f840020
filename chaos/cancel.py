#!/usr/bin/env python3
"""Clients hang up at random moments of requests that write: no connection to the database is left inside a transaction,
and nothing that was acknowledged afterwards is lost."""

import json
import random
import socket
import time

import lab

options = lab.arguments(__doc__, requests=2000, writes=1000, longest_ms=60)
postgres = lab.Postgres()
lab.migrate(options.imprint, postgres)
# Few connections: what one request leaves is what the next one meets.
replica = lab.Replica(options.imprint, postgres.url(), database_max_connections=2, runners=0).wait()
key = lab.key(options.imprint, postgres.url(), "tenant")
client = lab.Client(replica.port, key)
task = client.task()
started = time.time()
for number in range(options.requests):
    body = json.dumps({"examples": [{"input": [number / 1000], "value": 1.0, "external_id": f"cancelled-{number}"}]})
    head = (f"POST {task}/support HTTP/1.1\r\nhost: chaos\r\nauthorization: Bearer {key}\r\n"
            f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n{body}")
    with socket.create_connection(("127.0.0.1", replica.port)) as connection:
        connection.sendall(head.encode())
        time.sleep(random.uniform(0, options.longest_ms / 1e3))
time.sleep(1)
[[leaked]] = postgres.sql("SELECT count(*) FROM pg_stat_activity WHERE state LIKE 'idle in transaction%'")

errors, acknowledged = 0, []
for number in range(options.writes):
    name = f"kept-{number}"
    status, answer = client.call("POST", "/v1/tasks", {"name": name, "base_model": "sinusoid", "kind": "regression"})
    errors += status >= 500
    if status < 300:
        acknowledged.append(answer["id"])
stored = {row[0] for row in postgres.sql("SELECT id FROM tasks")}
lost = [task for task in acknowledged if task not in stored]
in_failed_transaction = sum("25P02" in line for line in open(replica.log.name))
lab.report("cancel", options, int(leaked) + len(lost) + errors + in_failed_transaction, requests=options.requests,
           leaked_transactions=int(leaked), acknowledged=len(acknowledged), lost_writes=len(lost), errors=errors,
           sqlstate_25P02=in_failed_transaction, took_s=round(time.time() - started, 1))
