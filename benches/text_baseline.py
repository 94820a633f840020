"""What scikit-learn's logistic regression makes of the same embeddings: the figure that the `text` base model has to beat.

    pip install numpy scikit-learn
    imprint train examples/train/text.toml --data DIR          # leaves the embeddings beside the encoder
    python benches/text_baseline.py examples/train/text.toml --data DIR

Episodes are drawn as `imprint eval` draws them to validate and to test: all held-out classes at once, every class with as
many examples, five queries of each. C is chosen on the validation classes, for each number of examples.
"""

import argparse
import csv
import gzip
import hashlib
import json
import struct
import tomllib
import warnings
from pathlib import Path

import numpy as np
from sklearn.linear_model import LogisticRegression

warnings.filterwarnings("ignore")
QUERIES = 5


def lines(path):
    opened = gzip.open(path, "rt", encoding="utf-8", newline="") if path.suffix == ".gz" else open(path, newline="")
    with opened as file:
        return list(csv.DictReader(file))


def embeddings(encoders, encoder, texts):
    """The file that `imprint train` left: named by what it was made from."""
    key = hashlib.sha256()
    for name in ("config.json", "model.safetensors", "tokenizer.json"):
        key.update(hashlib.sha256((encoders / encoder / name).read_bytes()).hexdigest().encode())
    for text in texts:
        key.update(struct.pack("<Q", len(text.encode())) + text.encode())
    data = (encoders / ".embeddings" / f"{key.hexdigest()}.safetensors").read_bytes()
    length = struct.unpack("<Q", data[:8])[0]
    start, end = json.loads(data[8 : 8 + length])["embeddings"]["data_offsets"]
    return np.frombuffer(data[8 + length + start : 8 + length + end], dtype="<f4").reshape(len(texts), -1)


def classes(config, data, encoders):
    """Embeddings of each held-out class, for validation and for the test; tables alone are left out."""
    kept = {"validation": {}, "test": {}}
    for table in config["task"]["tables"]:
        if table.get("alone"):
            continue
        skip = table.get("skip", [])
        rows = [row for row in lines(data / table["file"]) if row[table["label"]] not in skip and row[table["text"]].strip()]
        rows_of = embeddings(encoders, config["task"]["encoder"], [row[table["text"]] for row in rows])
        for row, embedding in zip(rows, rows_of):
            group = row[table.get("group") or table["label"]]
            for split in kept:
                if group in table.get(split, []):
                    kept[split].setdefault((table["file"], group, row[table["label"]]), []).append(embedding)
    return {split: [np.array(rows) for rows in found.values()] for split, found in kept.items()}


def accuracy(classes, shot, c, episodes, seed):
    rng = np.random.default_rng(seed)
    figures = []
    for _ in range(episodes):
        x, y, queries, answers = [], [], [], []
        for label, rows in enumerate(classes):
            drawn = rows[rng.permutation(len(rows))[: shot + QUERIES]]
            x.append(drawn[:shot])
            queries.append(drawn[shot:])
            y += [label] * shot
            answers += [label] * QUERIES
        model = LogisticRegression(C=c, max_iter=1000).fit(np.concatenate(x), y)
        figures.append(100 * np.mean(model.predict(np.concatenate(queries)) == np.array(answers)))
    return np.mean(figures), 1.96 * np.std(figures, ddof=1) / np.sqrt(episodes)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", type=Path)
    parser.add_argument("--data", type=Path, default=Path("data"))
    parser.add_argument("--encoders", type=Path, default=Path(".imprint/encoders"))
    parser.add_argument("--episodes", type=int, default=100)
    arguments = parser.parse_args()
    config = tomllib.loads(arguments.config.read_text())
    kept = classes(config, arguments.data, arguments.encoders)
    print(f"{len(kept['validation'])} classes to choose C by, {len(kept['test'])} to test on")
    for shot in (1, 5, 10):
        tried = {c: accuracy(kept["validation"], shot, c, 10, 1)[0] for c in (1, 3, 10, 30, 100)}
        best = max(tried, key=tried.get)
        mean, interval = accuracy(kept["test"], shot, best, arguments.episodes, 2)
        print(f"{len(kept['test'])}-way {shot}-shot: {mean:.2f} % ± {interval:.2f} (C = {best})", flush=True)


if __name__ == "__main__":
    main()
