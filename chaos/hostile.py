#!/usr/bin/env python3
"""Episodes that lie: numbers that are none, labels, shapes and files that are not what they say, members that are missing,
doubled, of another type. Each is refused with 4xx and none of them reaches a tensor, by the server's own count of what
its workers took. Then episodes at the edge of what is allowed are adapted to, and no adapter that is stored holds a number
that is not finite."""

import base64
import http.client
import json
import math
import pathlib
import random
import sqlite3
import struct
import tempfile
import threading
import time
import urllib.request
import zlib

import lab

options = lab.arguments(__doc__, episodes=100_000, threads=4, edges=300)
folder = pathlib.Path(tempfile.mkdtemp(prefix="imprint-chaos-"))
url, admin = f"sqlite:{folder}/imprint.db", lab.free_port()
key = lab.key(options.imprint, url, "tenant")
replica = lab.Replica(options.imprint, url, ("omniglot", "sinusoid"), admin_listen=f"127.0.0.1:{admin}").wait()


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(rng, width=28, height=28):
    rows = b"".join(b"\0" + bytes(rng.randrange(256) for _ in range(width)) for _ in range(height))
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


PICTURE = png(random.Random(1))


def picture(data=PICTURE):
    return {"image": base64.b64encode(data).decode()}


def numbers(count=2):
    return {"base_model": "sinusoid", "query": [[0.5]],
            "support": [{"input": [0.1 * place], "value": 0.3} for place in range(count)]}


def drawings():
    return {"base_model": "omniglot", "query": [picture()],
            "support": [{"input": picture(), "label": label} for label in ("a", "b")]}


def example(body, rng):
    return rng.choice(body["support"])


BAD_NUMBERS = [1e39, -1e39, 1e10, -2e9, "1", None, True, [1.0], {}, float("nan"), float("inf"), 1e308]
BAD_LABELS = [None, "", "a\0", "\n", "a" * 129, 7, [], {}, True, "a\u007f"]
BAD_SHAPES = [[1, 28, 27], [28, 28], [-1, 28, 28], [1, 28.5, 28], [2**32, 2**32, 1], [], [0], "1,28,28", [1, 28, 28, 1], [2**64]]
BAD_COUNTS = [-1, 51, 2**31, 2**64, "5", 1.5, [], True]
BAD_FILES = [b"", b"GIF89a" + bytes(20), b"\xff\xd8\xff\xe0" + bytes(40), b"RIFF\x10\0\0\0WEBPVP8 ", PICTURE[:60],
             PICTURE[:-20], b"<svg/>", b"II*\0", bytes(500), PICTURE.replace(b"IDAT", b"IDAX")]
BAD_NAMES = ["", "nothing", "omniglot\0", "../../etc/passwd", "a" * 10_000, "\u202e", 5, None, ["omniglot"]]


# Each makes a body that no server may take.
def bad_number(body, rng):
    if body["base_model"] == "sinusoid":
        place = rng.choice(["input", "value", "query"])
        bad = rng.choice(BAD_NUMBERS)
        if place == "query":
            body["query"][0][0] = bad
        elif place == "input":
            example(body, rng)["input"][0] = bad
        else:
            example(body, rng)["value"] = bad
    else:
        values = [0.5] * 784
        values[rng.randrange(784)] = rng.choice(BAD_NUMBERS)
        example(body, rng)["input"] = {"shape": [1, 28, 28], "values": values}


def bad_width(body, rng):
    if body["base_model"] == "sinusoid":
        example(body, rng)["input"] = [0.5] * rng.choice([0, 2, 3, 100])
    else:
        example(body, rng)["input"] = {"shape": [1, 28, 28], "values": [0.5] * rng.choice([0, 1, 783, 785])}


def bad_shape(body, rng):
    body["query"] = [{"shape": rng.choice(BAD_SHAPES), "values": [0.5] * 784}]


def bad_label(body, rng):
    if body["base_model"] == "sinusoid":
        example(body, rng)["label"] = rng.choice(["a", 7, [], {}])
    else:
        example(body, rng)["label"] = rng.choice(BAD_LABELS)


def bad_file(body, rng):
    place = rng.choice(["support", "query"])
    lie = picture(rng.choice(BAD_FILES)) if rng.random() < 0.8 else {"image": rng.choice(["!!!!", "a", 5, None, [], "ä"])}
    body["base_model"], body["support"] = "omniglot", drawings()["support"]
    body["query"] = [picture()]
    if place == "query":
        body["query"] = [lie]
    else:
        example(body, rng)["input"] = lie


def bad_recipe(body, rng):
    if body["base_model"] == "sinusoid":
        body["recipe"] = {"inner_steps": rng.choice(BAD_COUNTS)}
    else:
        body["recipe"] = rng.choice([{"inner_steps": 5}, {"learning_rate": 0.1}, [], "fast", 7])


def bad_support(body, rng):
    body["support"] = rng.choice([[], None, {}, "all", [None], [[]], [{}], [{"input": [0.5]}], 5,
                                  [{"value": 1.0}], [{"input": [0.5], "value": 1.0, "label": "a"}]])


def bad_query(body, rng):
    body["query"] = rng.choice([[], None, {}, "all", [None], [[[]]], [[]], 5, [True], [{"values": [1]}], [{"shape": [1]}]])


def bad_name(body, rng):
    body["base_model"] = rng.choice(BAD_NAMES)


def bad_member(body, rng):
    body[rng.choice(["tenant_id", "weights", "Support", "__proto__", "quer\u00fd", ""])] = rng.choice([1, None, "x", []])


def missing(body, rng):
    del body[rng.choice(["base_model", "support", "query"])]


def bad_choice(body, rng):
    name, values = rng.choice([("kind", ["policy", "Classification", 5, {}]), ("top_k", [0, -1, 1.5, "1", 2**70]),
                               ("abstain", ["yes", 1, []]), ("unlabelled", ["x", {}, [[]], 5])])
    body[name] = rng.choice(values)


LIES = [bad_number, bad_width, bad_shape, bad_label, bad_file, bad_recipe, bad_support, bad_query, bad_name, bad_member,
        missing, bad_choice]


def broken(text, rng):
    """What is no JSON."""
    kind = rng.randrange(5)
    if kind == 0:
        return text[: rng.randrange(1, len(text))]
    if kind == 1:
        return text + rng.choice([",", "}", "x", text])
    if kind == 2:
        return text.replace(":", "=", 1)
    if kind == 3:
        return rng.choice(["\ufeff", "/**/", "'", "[", "\0"]) + text
    return text.replace('"', "\\\"", 1)


def hostile(number):
    rng = random.Random(f"{options.seed}-{number}")
    body = numbers(rng.randrange(1, 5)) if rng.random() < 0.6 else drawings()
    lie = rng.choice(LIES)
    lie(body, rng)
    text = json.dumps(body)
    name = lie.__name__
    if rng.random() < 0.1:
        text, name = broken(json.dumps(numbers()), rng), "broken"
    return name, text


def commands():
    """How many commands the workers have taken."""
    with urllib.request.urlopen(f"http://127.0.0.1:{admin}/metrics") as page:
        lines = page.read().decode().splitlines()
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith("imprint_batch_commands_count"))


client = lab.Client(replica.port, key, timeout=60)
for body in (numbers(), drawings()):
    client.ok("POST", "/v1/adapt-predict", body)
before, rows = commands(), [0]
wrong, statuses, lock = [], {}, threading.Lock()


def work(first):
    connection = http.client.HTTPConnection("127.0.0.1", replica.port, timeout=60)
    headers = {"Authorization": "Bearer " + key, "Content-Type": "application/json"}
    for number in range(first, options.episodes, options.threads):
        name, text = hostile(number)
        connection.request("POST", "/v1/adapt-predict", text.encode("utf-8", "surrogatepass"), headers)
        answer = connection.getresponse()
        said = answer.read()
        with lock:
            statuses[answer.status] = statuses.get(answer.status, 0) + 1
            if not 400 <= answer.status < 500 and len(wrong) < 20:
                wrong.append((name, answer.status, text[:300], said[:200].decode(errors="replace")))


started = time.time()
threads = [threading.Thread(target=work, args=(first,)) for first in range(options.threads)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
took = time.time() - started
reached = commands() - before
for one in wrong:
    lab.note(one)

# At the edge of what is allowed.
rng, stored = random.Random(options.seed), 0
for number in range(options.edges):
    extreme = lambda: rng.choice([1e9, -1e9, 1e-38, 0.0, -0.0, 1e8, rng.uniform(-1e9, 1e9)])
    support = [{"input": [extreme()], "value": extreme()} for _ in range(rng.randrange(1, 30))]
    status, made = client.call("POST", "/v1/tasks", {"name": "edge", "base_model": "sinusoid", "support": support})
    if status == 201:
        path = f"/v1/tasks/{made['id']}/adaptations"
        status, made = client.call("POST", path, {"inner_steps": rng.choice([1, 5, 50])}, Prefer="wait=20")
        stored += status == 201


def is_finite(blob):
    length = struct.unpack("<Q", blob[:8])[0]
    tensors = json.loads(blob[8:8 + length])
    spans = [tensor["data_offsets"] for name, tensor in tensors.items() if name != "__metadata__"]
    data = blob[8 + length:]
    return all(math.isfinite(value) for begin, end in spans for (value,) in struct.iter_unpack("<f", data[begin:end]))


blobs = [row[0] for row in sqlite3.connect(folder / "imprint.db").execute("SELECT bytes FROM adapters")]
infinite = sum(not is_finite(blob) for blob in blobs)
refused = sum(count for status, count in statuses.items() if 400 <= status < 500)
lab.report("hostile", options, (options.episodes - refused) + int(reached) + infinite, episodes=options.episodes,
           refused=refused, statuses=statuses, commands_that_reached_a_worker=int(reached), took_s=round(took, 1),
           edge_episodes=options.edges, adapters_stored=len(blobs), not_finite=infinite, lives=replica.is_ready())
