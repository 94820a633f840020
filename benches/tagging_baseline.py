"""The baseline of docs/tagging.md: a linear tagger on the encoder's features, fitted to the sentences alone.

    pip install torch==2.11.0 transformers scikit-learn && \
    python benches/tagging_baseline.py --data DIR --encoder .imprint/encoders/all-MiniLM-L6-v2 --corpus wnut17

Logistic regression on the last block's output for each word (the mean over its pieces), one class a tag, decoded under the
constraints of IOB2. Sentences are drawn as `imprint eval` draws them: the rarest label's first, until each label stands in
K of them. C is the best of four on the test sentences themselves, in the baseline's favour.
"""

import argparse
import gzip
import random
from collections import Counter
from pathlib import Path

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from transformers import AutoModel, AutoTokenizer

FILES = {"wnut17": (["wnut17_train", "wnut17_dev"], ["wnut17_test"])}


def read(path):
    text = gzip.open(path, "rt", encoding="utf-8").read()
    rows = [[line.split() for line in block.splitlines() if line] for block in text.split("\n\n") if block.strip()]
    return [([row[0] for row in block], [row[-1] for row in block]) for block in rows]


def spans(tags):
    found, start = set(), None
    for index, tag in enumerate([*tags, "O"]):
        if start is not None and tag != f"I-{start[1]}":
            found.add((start[0], index, start[1]))
            start = None
        if start is None and tag != "O":
            start = (index, tag[2:])
    return found


def best(scores, tags):
    """Viterbi where an `I-` only follows a tag of its own label."""
    allowed = np.array([[0.0 if b[0] != "I" or a[2:] == b[2:] and a != "O" else -np.inf for b in tags] for a in tags])
    total = scores[0] + np.array([-np.inf if tag[0] == "I" else 0.0 for tag in tags])
    back = []
    for row in scores[1:]:
        steps = total[:, None] + allowed
        back.append(steps.argmax(0))
        total = steps.max(0) + row
    path = [int(total.argmax())]
    for step in reversed(back):
        path.append(int(step[path[-1]]))
    return [tags[tag] for tag in reversed(path)]


def sample(sentences, least, seed):
    order = list(range(len(sentences)))
    random.Random(seed).shuffle(order)
    labels = [{tag[2:] for tag in tags if tag != "O"} for _, tags in sentences]
    holders = Counter(label for own in labels for label in own)
    taken, counts = [], Counter()
    for label in sorted(holders, key=lambda label: (holders[label], label)):
        for index in order:
            if counts[label] >= least:
                break
            if label in labels[index] and index not in taken:
                taken.append(index)
                counts.update(labels[index])
    return taken


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--data", type=Path, required=True)
    arguments.add_argument("--encoder", required=True)
    arguments.add_argument("--corpus", choices=FILES, default="wnut17")
    options = arguments.parse_args()
    tokenizer, encoder = AutoTokenizer.from_pretrained(options.encoder), AutoModel.from_pretrained(options.encoder).eval()

    @torch.no_grad()
    def features(words):
        batch = tokenizer(words, is_split_into_words=True, truncation=True, max_length=256, return_tensors="pt")
        pieces = encoder(**batch).last_hidden_state[0].numpy()
        rows = np.zeros((len(words), pieces.shape[1]), np.float32)
        owners = batch.word_ids(0)
        for word in range(len(words)):
            own = [index for index, owner in enumerate(owners) if owner == word]
            rows[word] = pieces[own].mean(0) if own else 0.0
        return rows

    part = lambda names: [one for name in names for one in read(options.data / "ner" / f"{name}.conll.gz")]
    train, test = map(part, FILES[options.corpus])
    asked = [features(words) for words, _ in test]
    for least in (5, 20):
        figures = {c: [] for c in (0.1, 0.3, 1.0, 3.0)}
        for seed in range(5):
            places = sample(train, least, seed)
            x = np.concatenate([features(train[place][0]) for place in places])
            y = [tag for place in places for tag in train[place][1]]
            for c, f1 in figures.items():
                model = LogisticRegression(C=c, max_iter=500).fit(x, y)
                right = answered = there = 0
                for (_, truth), rows in zip(test, asked):
                    found = spans(best(model.predict_log_proba(rows), list(model.classes_)))
                    truth = spans(truth)
                    right, answered, there = right + len(found & truth), answered + len(found), there + len(truth)
                f1.append(200 * right / max(1, answered + there))
        c, f1 = max(figures.items(), key=lambda item: np.mean(item[1]))
        print(f"{least} sentences of each label: {np.mean(f1):.1f} ± {1.96 * np.std(f1, ddof=1) / 5**0.5:.1f} (C = {c})", flush=True)


main()
