#!/usr/bin/env python3
"""Many clients send one request at the same time under one `Idempotency-Key`, key after key, while the server is killed
(SIGKILL) again and again and started again. Clients repeat the request until it is answered. On both stores: each key has
one effect and one answer, another request under it is refused, and what was answered is replayed."""

import concurrent.futures
import pathlib
import random
import tempfile
import time

import lab

options = lab.arguments(__doc__, keys=100, clients=64, every=7.0)
folder = pathlib.Path(tempfile.mkdtemp(prefix="imprint-repeat-"))


def insist(replica, key, name, body):
    """The answer that a client gets in the end, and how often it was told to come again."""
    told = lost = 0
    while True:
        try:
            client = lab.Client(replica.port, key, timeout=30)
            status, answer = client.call("POST", "/v1/tasks", body, **{"Idempotency-Key": name})
        except OSError:
            lost += 1
            time.sleep(random.uniform(0.05, 0.3))
            continue
        if status in (409, 429, 503):
            told += 1
            time.sleep(random.uniform(0.05, 1.0))
            continue
        return status, answer, told, lost


def run(url):
    replica = lab.Replica(options.imprint, url, workers=1, runners=0, tenant_requests=0).wait()
    key = lab.key(options.imprint, url, "tenant")

    def kill():
        replica.kill()
        kills.append(time.time())
        replica.start()

    kills, different, refused, told, lost, wrong = [], 0, 0, 0, 0, 0
    killer = lab.Every(options.every, kill)
    with concurrent.futures.ThreadPoolExecutor(options.clients) as pool:
        for number in range(options.keys):
            body = {"name": f"n{number}", "base_model": "sinusoid", "kind": "regression",
                    "support": [{"input": [0.1 * number], "value": 1.0}]}
            asked = [pool.submit(insist, replica, key, f"k{number}", body) for _ in range(options.clients)]
            answers = [one.result() for one in asked]
            wrong += sum(status != 201 for status, *_ in answers)
            different += len({answer.get("id") for _, answer, *_ in answers}) != 1
            told, lost = told + sum(one[2] for one in answers), lost + sum(one[3] for one in answers)
            status, answer, *_ = insist(replica, key, f"k{number}", {**body, "name": "another"})
            refused += status == 422 and answer["code"] == "idempotency_key_reused"
    killer.stop()
    replica.wait()
    client, names, after = lab.Client(replica.port, key), [], None
    while True:
        page = client.ok("GET", "/v1/tasks?limit=100" + (f"&after={after}" if after else ""))
        names += [task["name"] for task in page["data"]]
        after = page.get("next_cursor")
        if after is None:
            break
    replica.kill()
    expected = {f"n{number}" for number in range(options.keys)}
    extra = len(names) - len(set(names)) + len(set(names) ^ expected)
    figures = {"kills": len(kills), "told_to_come_again": told, "connections_lost": lost, "refused_others": refused,
               "effects": len(names), "doubled_or_lost": extra, "keys_with_two_answers": different, "not_created": wrong}
    return extra + different + wrong + (options.keys - refused), figures


postgres = lab.Postgres()
lab.migrate(options.imprint, postgres)
started, violations, figures = time.time(), 0, {}
for store, url in {"sqlite": f"sqlite:{folder}/imprint.db", "postgres": postgres.url()}.items():
    lab.note(store)
    found, figures[store] = run(url)
    violations += found
lab.report("repeat", options, violations, keys=options.keys, clients=options.clients, **figures,
           took_s=round(time.time() - started, 1))
