#!/usr/bin/env python3
"""A thousand connections that send a header a byte at a time, and a hundred that send a body so: each is cut off in time
(10 s for a header, 30 s for a body), and others are answered as quickly as before."""

import collections
import selectors
import socket
import threading
import time

import lab

options = lab.arguments(__doc__, sockets=1000, bodies=100, calm_s=10.0)
postgres = lab.Postgres()
lab.migrate(options.imprint, postgres)
replica = lab.Replica(options.imprint, postgres.url(), workers=1).wait()
key = lab.key(options.imprint, postgres.url(), "tenant")
client = lab.Client(replica.port, key)
task = client.task()
client.ok("POST", task + "/adaptations", {}, Prefer="wait=20")
over, times, failed = threading.Event(), [], [0]


def ask():
    while not over.is_set():
        started = time.time()
        try:
            client.ok("POST", task + "/predict", {"query": [[0.5]]})
        except (OSError, RuntimeError) as error:
            lab.note(error)
            failed[0] += 1
        times.append(time.time() - started)
        over.wait(0.02)


def rss():
    return int(open(f"/proc/{replica.process.pid}/statm").read().split()[1]) / 256


def dribble():
    """How long each lasted, by kind, in seconds."""
    begun = {"header": b"POST /v1/tasks HTTP/1.1\r\nHost: a\r\nX-Slow: ",
             "body": f"POST /v1/tasks HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {key}\r\n"
                     f"Content-Type: application/json\r\nContent-Length: 1000\r\n\r\n".encode()}
    lasted, open_sockets, watch = collections.defaultdict(list), {}, selectors.DefaultSelector()
    kinds = ["header"] * options.sockets + ["body"] * options.bodies
    for kind in kinds:
        try:
            connection = socket.create_connection(("127.0.0.1", replica.port), timeout=5)
            connection.sendall(begun[kind])
            connection.setblocking(False)
            open_sockets[connection] = (kind, time.time())
            watch.register(connection, selectors.EVENT_READ)
        except OSError:
            lasted["refused"].append(0.0)
    sent = time.time()
    while open_sockets and time.time() - sent < 60:
        for ready, _ in watch.select(timeout=0.1):
            connection = ready.fileobj
            try:
                text = connection.recv(4096)
            except OSError:
                text = b""
            if not text:
                kind, since = open_sockets.pop(connection)
                lasted[kind].append(time.time() - since)
                watch.unregister(connection)
                connection.close()
        if int(time.time() - sent) % 5 == 0:
            for connection in list(open_sockets):
                try:
                    connection.send(b" ")
                except OSError:
                    pass
            time.sleep(1)
    lasted["left"] = [0.0] * len(open_sockets)
    return lasted


asking = threading.Thread(target=ask, daemon=True)
asking.start()
time.sleep(options.calm_s)
calm, before = list(times), rss()
times.clear()
lasted = dribble()
under, grown = list(times), rss() - before
over.set()
asking.join()
late = sum(lasted_s > 11.5 for lasted_s in lasted["header"]) + sum(lasted_s > 32 for lasted_s in lasted["body"])
calm_p99, under_p99 = lab.quantile(calm, 0.99), lab.quantile(under, 0.99)
lab.report("slow", options, late + len(lasted["left"]) + failed[0], sockets=options.sockets, bodies=options.bodies,
           closed_headers=len(lasted["header"]), longest_header_s=lab.quantile(lasted["header"], 1),
           closed_bodies=len(lasted["body"]), longest_body_s=lab.quantile(lasted["body"], 1), refused=len(lasted["refused"]),
           left=len(lasted["left"]), others=len(under), others_failed=failed[0], p50_calm_s=lab.quantile(calm, 0.5),
           p50_s=lab.quantile(under, 0.5), p99_calm_s=calm_p99, p99_s=under_p99, rss_grew_mib=round(grown, 1))
