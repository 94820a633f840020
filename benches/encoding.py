"""Sentences a second: Imprint's encoder, sentence-transformers and onnxruntime by turns, on the same texts and cores.

    pip install sentence-transformers==6.2.0 torch==2.11.0 onnx onnxruntime
    cargo bench --bench encoding --no-run      # prints the program's path
    cargo build --release
    python benches/encoding.py --data DIR --program PATH [--imprint target/release/imprint] [--rounds 5]

Texts of many lengths: intents, headlines, reviews. Everybody starts from strings, sorts them by length as each of them
does anyhow, and ends at embeddings of length 1; all use all cores. Ratios are taken within a round. Beside each stands
how much its embeddings differ from sentence-transformers' in 32 bits (the least cosine).

With `--imprint` also what surrounds the encoder: `adapt-predict` of 25 intents with 5 examples each and 25 queries through
a server that may not keep embeddings, against the engine's time for encoding the same 150 texts and 25 labels.
"""

import argparse
import csv
import gzip
import http.client
import json
import os
import random
import re
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from onnxruntime.quantization import QuantType, quantize_dynamic
from sentence_transformers import SentenceTransformer

COLUMNS = {"clinc150": "text", "banking77": "text", "sentfin": "title", "uci_sentiment_imdb": "text"}
CORES = os.cpu_count() or 1
BATCH = 32


def rows(data, name):
    return list(csv.DictReader(gzip.open(data / f"{name}.csv.gz", "rt", encoding="utf-8")))


class Child:
    """The engine, in a process of its own that sleeps when it is not asked."""

    def __init__(self, program, *arguments):
        self.process = subprocess.Popen([program, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(self, texts):
        self.process.stdin.write(json.dumps(texts) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def seconds(self, texts):
        return self.ask(texts)["seconds"]


def timed(encode):
    def seconds(texts):
        started = time.perf_counter()
        encode(texts)
        return time.perf_counter() - started

    return seconds


def onnx(folder, model):
    """The same encoder for onnxruntime, in 32-bit floats and with 8-bit matrices."""

    class Mean(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.bert = model[0].auto_model

        def forward(self, ids, mask):
            states = self.bert(input_ids=ids, attention_mask=mask).last_hidden_state
            summed = (states * mask.unsqueeze(-1)).sum(1) / mask.sum(1, keepdim=True)
            return torch.nn.functional.normalize(summed, dim=-1)

    names, axes = ["ids", "mask"], {0: "texts", 1: "pieces"}
    example = (torch.ones(2, 8, dtype=torch.long), torch.ones(2, 8, dtype=torch.long))
    plain, small = f"{folder}/plain.onnx", f"{folder}/small.onnx"
    torch.onnx.export(
        Mean().eval(), example, plain, input_names=names, output_names=["rows"], dynamo=False,
        dynamic_axes={name: axes for name in names}, opset_version=17,
    )
    quantize_dynamic(plain, small, weight_type=QuantType.QInt8)
    return plain, small


def by_onnx(path, tokenizer):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = CORES
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])

    def encode(texts):
        order = sorted(range(len(texts)), key=lambda index: len(texts[index]))
        out = np.empty((len(texts), 384), np.float32)
        for start in range(0, len(texts), BATCH):
            places = order[start : start + BATCH]
            batch = tokenizer([texts[place] for place in places], padding=True, truncation=True, max_length=256, return_tensors="np")
            out[places] = session.run(None, {"ids": batch["input_ids"], "mask": batch["attention_mask"]})[0]
        return out

    return encode


def spread(values):
    return f"{statistics.median(values):.2f} ({min(values):.2f} to {max(values):.2f})"


def throughput(arguments):
    texts = [row[column] for name, column in COLUMNS.items() for row in rows(arguments.data, name)]
    random.Random(0).shuffle(texts)
    texts = texts[: arguments.texts]
    load = lambda **kwargs: SentenceTransformer(arguments.encoder, device="cpu", **kwargs)
    torch.set_num_threads(CORES)
    reference, half = load(), load(model_kwargs={"dtype": torch.bfloat16})
    by_torch = lambda model: lambda texts: model.encode(texts, batch_size=BATCH, convert_to_numpy=True, normalize_embeddings=True)
    with tempfile.TemporaryDirectory() as folder:
        plain, small = (by_onnx(path, reference.tokenizer) for path in onnx(folder, load()))
    peers = {
        "sentence-transformers": by_torch(reference),
        "sentence-transformers, bfloat16": by_torch(half),
        "onnxruntime": plain,
        "onnxruntime, int8": small,
    }
    ours = {f"imprint, {precision}": precision for precision in ("bfloat16", "float32")}
    sample, truth = texts[:256], by_torch(reference)(texts[:256])
    cosine = {name: (encode(sample) * truth).sum(1).min() for name, encode in peers.items()}
    for name, precision in ours.items():
        child = Child(arguments.program, "ranking", precision, "rows")
        cosine[name] = (np.array(child.ask(sample)["rows"]) * truth).sum(1).min()
        child.process.kill()
    children = {name: Child(arguments.program, "ranking", precision) for name, precision in ours.items()}
    runs = {name: child.seconds for name, child in children.items()} | {name: timed(encode) for name, encode in peers.items()}
    for seconds in runs.values():
        seconds(texts[:128])
    taken = {name: [] for name in runs}
    for _ in range(arguments.rounds):
        for name, seconds in runs.items():
            taken[name].append(seconds(texts))
    first = next(iter(runs))
    for name, seconds in taken.items():
        rate = [len(texts) / one for one in seconds]
        ratio = [other / own for own, other in zip(taken[first], seconds)]
        print(f"{name}: {statistics.median(rate):.0f}/s; {first} is {spread(ratio)} times as fast; least cosine {cosine[name]:.5f}")
    for child in children.values():
        child.process.kill()


def conversation(arguments):
    """25 intents, 5 examples and one query each, through HTTP and by the encoder alone."""
    intents = {}
    for row in rows(arguments.data, "clinc150"):
        if row["intent"] != "oos":
            intents.setdefault(row["intent"], []).append(row["text"])
    with tempfile.TemporaryDirectory() as folder:
        run = lambda *words: subprocess.run([arguments.imprint, *words], env=environment, text=True, capture_output=True, check=True)
        environment = os.environ | {"IMPRINT_DATABASE_URL": f"sqlite:{folder}/imprint.db", "IMPRINT_EMBEDDING_CACHE_MIB": "0"}
        key = re.search(r"imprint_\w+", run("keys", "create", "bench").stdout)[0]
        server = subprocess.Popen(
            [arguments.imprint, "serve", "--listen", "127.0.0.1:18080"], env=environment,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )
        bare = Child(arguments.program, "text", "auto")
        connection = http.client.HTTPConnection("127.0.0.1", 18080)
        headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}

        def asked(body):
            started = time.perf_counter()
            connection.request("POST", "/v1/adapt-predict", json.dumps(body), headers)
            answer = connection.getresponse()
            assert answer.status == 200, answer.read()
            answer.read()
            return time.perf_counter() - started

        for _ in range(200):
            try:
                connection.request("GET", "/readyz")
                if connection.getresponse().read() and True:
                    break
            except OSError:
                connection.close()
                time.sleep(0.1)
        whole, alone = [], []
        for seed in range(arguments.requests + 3):
            rng = random.Random(seed)
            support, query = [], []
            for intent in rng.sample(sorted(intents), 25):
                *own, other = rng.sample(intents[intent], 6)
                support += [{"input": text, "label": intent} for text in own]
                query.append(other)
            texts = [one["input"] for one in support] + query + sorted({one["label"].replace("_", " ") for one in support})
            whole.append(asked({"base_model": "text", "support": support, "query": query}))
            alone.append(bare.seconds(texts))
        whole, alone = whole[3:], alone[3:]
        ratio = statistics.median(whole) / statistics.median(alone)
        print(
            f"adapt-predict, 25 intents × 5 examples, 25 queries: p50 {1000 * statistics.median(whole):.1f} ms; "
            f"its texts through the encoder alone {1000 * statistics.median(alone):.1f} ms; ratio {ratio:.2f}"
        )
        bare.process.kill()
        server.terminate()
        server.wait()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--program", required=True)
    parser.add_argument("--imprint")
    parser.add_argument("--encoder", default=".imprint/encoders/all-MiniLM-L6-v2")
    parser.add_argument("--texts", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--requests", type=int, default=40)
    arguments = parser.parse_args()
    throughput(arguments)
    if arguments.imprint:
        conversation(arguments)


if __name__ == "__main__":
    main()
