"""What scikit-learn's logistic regression makes of the encoder as it ships: the figure that the `text` base model has to beat.

    pip install numpy scikit-learn transformers torch
    python benches/text_baseline.py examples/train/text.toml --data DIR

Episodes are drawn as `imprint eval` draws them to validate and to test: all held-out classes at once, every class with as
many examples, five queries of each; for tables that stand alone their classes, fifty queries of each. C is chosen on the
validation classes, for each number of examples.
"""

import argparse
import csv
import gzip
import hashlib
import tomllib
import warnings
from pathlib import Path

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from transformers import AutoModel, AutoTokenizer

warnings.filterwarnings("ignore")


def lines(path):
    opened = gzip.open(path, "rt", encoding="utf-8", newline="") if path.suffix == ".gz" else open(path, newline="")
    with opened as file:
        return list(csv.DictReader(file))


class Encoder:
    """The mean over pieces of the last block, of length 1; texts of one length at a time, so that nothing is padded."""

    def __init__(self, folder):
        self.tokenizer, self.model = AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder).eval()

    @torch.no_grad()
    def __call__(self, texts):
        pieces = [self.tokenizer(text, truncation=True, max_length=256)["input_ids"] for text in texts]
        rows = np.zeros((len(texts), self.model.config.hidden_size), dtype=np.float32)
        for length in sorted({len(ids) for ids in pieces}):
            places = [place for place, ids in enumerate(pieces) if len(ids) == length]
            for start in range(0, len(places), 64):
                some = places[start : start + 64]
                states = self.model(torch.tensor([pieces[place] for place in some])).last_hidden_state
                rows[some] = torch.nn.functional.normalize(states.mean(1), dim=-1).numpy()
        return rows


def split_of(table, row):
    if table.get("alone"):
        return {3: "validation", 4: "test"}.get(hashlib.sha256(row[table["text"]].encode()).digest()[0] % 5)
    group = row[table.get("group") or table["label"]]
    return next((split for split in ("test", "validation") if group in table.get(split, [])), None)


def classes(tables, data, encode):
    """Embeddings of each held-out class, for validation and for the test."""
    kept = {"validation": {}, "test": {}}
    for table in tables:
        rows = [row for row in lines(data / table["file"]) if row[table["label"]] not in table.get("skip", [])]
        rows = [(split, row) for row in rows if row[table["text"]].strip() and (split := split_of(table, row))]
        about = lambda row: f"{row[table['about']]}: " if "about" in table else ""
        for (split, row), embedding in zip(rows, encode([about(row) + row[table["text"]] for _, row in rows])):
            kept[split].setdefault((table["file"], row[table["label"]]), []).append(embedding)
    return {split: [np.array(rows) for rows in found.values()] for split, found in kept.items()}


def accuracy(classes, shot, asked, c, episodes, seed):
    rng = np.random.default_rng(seed)
    figures = []
    for _ in range(episodes):
        x, y, queries, answers = [], [], [], []
        for label, rows in enumerate(classes):
            drawn = rows[rng.permutation(len(rows))[: shot + asked]]
            x.append(drawn[:shot])
            queries.append(drawn[shot:])
            y += [label] * shot
            answers += [label] * asked
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
    encode = Encoder(arguments.encoders / config["task"]["encoder"])
    tables = config["task"]["tables"]
    report([table for table in tables if not table.get("alone")], (1, 5, 10), 5, arguments, encode)
    for table in tables:
        if table.get("alone") and "about" in table:
            report([table], (8, 32), 50, arguments, encode)


def report(tables, shots, asked, arguments, encode):
    kept = classes(tables, arguments.data, encode)
    for shot in shots:
        tried = {c: accuracy(kept["validation"], shot, asked, c, 20, 1)[0] for c in (1, 3, 10, 30, 100)}
        best = max(tried, key=tried.get)
        mean, interval = accuracy(kept["test"], shot, asked, best, arguments.episodes, 2)
        print(f"{len(kept['test'])}-way {shot}-shot: {mean:.2f} % ± {interval:.2f} (C = {best})", flush=True)


if __name__ == "__main__":
    main()
